# SPDX-License-Identifier: MIT
"""What a mail server may set against peers that take too long, and against too many of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any
from weakref import WeakSet

from cyncore._engine import Loop, TimerHandle


class Visitors:
    """The connections of a server, and how many of them each peer has.

    A connection counts until it leaves, or until nothing refers to it any more: a program that never closes one
    cannot make the count wrong for good.
    """

    def __init__(self) -> None:
        self._all: WeakSet[Any] = WeakSet()
        self._of: dict[Hashable, WeakSet[Any]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def count_of(self, host: Hashable) -> int:
        return len(self._of.get(host, ()))

    def enter(self, visitor: object, host: Hashable) -> None:
        self._all.add(visitor)
        self._of.setdefault(host, WeakSet()).add(visitor)

    def leave(self, visitor: object, host: Hashable) -> None:
        """Does nothing for one that has left already."""
        self._all.discard(visitor)
        same = self._of.get(host)
        if same is not None:
            same.discard(visitor)
            if not same:
                del self._of[host]


class Deadlines:
    """By when a peer must have done what it is at. All times are in seconds, and None sets no limit.

    ``idle``: from one command to the end of the next, and in a message from one piece to the next. ``command``: from
    the first byte of a command to its last. ``data``: a whole message. Bytes that drip in move none of them but
    ``idle`` within a message. ``expired`` is called once, in the loop, when one has passed.

    Reading the clock is all that a command costs: there is one timer, which goes off no later than the earliest
    deadline can, looks whether one has passed, and sets itself again.
    """

    def __init__(
        self,
        loop: Loop,
        idle: float | None,
        command: float | None,
        data: float | None,
        expired: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._idle = idle
        self._command = command
        self._data = data
        self._expired = expired
        self._now = loop.time
        self._since = self._now()
        self._line_since: float | None = None
        self._data_since: float | None = None
        self._timer: TimerHandle | None = None
        self._set(self._since)

    def came(self) -> None:
        """Bytes came: of a command, or of a message once that has begun."""
        if self._data_since is not None:
            self._since = self._now()
        elif self._line_since is None:
            self._line_since = self._now()

    def ended(self) -> None:
        """A command, or a message, is complete."""
        self._since = self._now()
        self._line_since = self._data_since = None

    def data_begins(self) -> None:
        """What comes from now on is a message."""
        self._data_since = self._now()

    def cancel(self) -> None:
        """No more of this. May be called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._expired = _nothing

    def _set(self, now: float) -> None:
        # A line or a message that begins only after this is not late before `now` and its whole time.
        ends = []
        if self._idle is not None:
            ends.append(self._since + self._idle)
        if self._command is not None:
            ends.append((now if self._line_since is None else self._line_since) + self._command)
        if self._data is not None:
            ends.append((now if self._data_since is None else self._data_since) + self._data)
        self._timer = self._loop.call_at(min(ends), self._look)

    def _look(self) -> None:
        now = self._now()
        line, data = self._line_since, self._data_since
        if (
            (self._idle is not None and now >= self._since + self._idle)
            or (self._command is not None and line is not None and now >= line + self._command)
            or (self._data is not None and data is not None and now >= data + self._data)
        ):
            expired = self._expired
            self.cancel()
            expired()
        else:
            self._set(now)


def _nothing() -> None:
    pass
