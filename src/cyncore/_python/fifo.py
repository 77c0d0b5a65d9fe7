# SPDX-License-Identifier: MIT
"""Fifo in plain Python: a deque that knows how many bytes wait in it, whoever changes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from .._plain_chat import size_of


class Fifo(deque[Any]):
    """`producer_fifo`: bytes, producers and None (which closes the channel)."""

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(items)
        self._counted: int | None = None  # None: the bytes have to be counted

    @property
    def waiting(self) -> int:
        """The bytes that wait, without those that producers have not given yet."""
        if self._counted is None:
            self._counted = sum(map(size_of, list(self)))
        return self._counted

    def _add(self, size: int) -> None:
        if self._counted is not None:
            self._counted += size

    # The methods that every push, or send, uses keep the count. After the others the bytes are counted on demand.

    def append(self, item: Any) -> None:
        super().append(item)
        self._add(size_of(item))

    def appendleft(self, item: Any) -> None:
        super().appendleft(item)
        self._add(size_of(item))

    def pop(self) -> Any:  # type: ignore[override]
        item = super().pop()
        self._add(-size_of(item))
        return item

    def popleft(self) -> Any:
        item = super().popleft()
        self._add(-size_of(item))
        return item

    def __setitem__(self, at: Any, item: Any) -> None:
        before = size_of(self[at])
        super().__setitem__(at, item)
        self._add(size_of(item) - before)

    def __delitem__(self, at: Any) -> None:
        before = size_of(self[at])
        super().__delitem__(at)
        self._add(-before)

    def clear(self) -> None:
        super().clear()
        self._counted = 0

    def extend(self, items: Iterable[Any]) -> None:
        self._counted = None
        super().extend(items)

    def extendleft(self, items: Iterable[Any]) -> None:
        self._counted = None
        super().extendleft(items)

    def insert(self, at: int, item: Any) -> None:
        self._counted = None
        super().insert(at, item)

    def remove(self, item: Any) -> None:
        self._counted = None
        super().remove(item)

    def __iadd__(self, items: Iterable[Any]) -> Fifo:
        self.extend(items)
        return self

    def __imul__(self, count: int) -> Fifo:
        self._counted = None
        super().__imul__(count)
        return self
