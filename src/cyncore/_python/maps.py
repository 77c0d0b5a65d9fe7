# SPDX-License-Identifier: MIT
"""Which loop serves which map. Channels find their loop here, so that they need not import it.

A channel keeps its loop alive and a loop its map, so an address in the table is never that of another map.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

from .._rules import check_map
from .figures import Figures
from .turn import Turn

socket_map: dict[int, Any] = {}


class Serving(Protocol):
    """What a channel needs of its loop."""

    _turn: Turn
    _figures: Figures
    debug: bool

    @property
    def map(self) -> Any: ...

    @property
    def closed(self) -> bool: ...

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> Any: ...

    def _check(self, method: str) -> None:
        """RuntimeError where the loop is closed, or, in debug mode, where another thread runs it."""

    def _detach(self, fd: int) -> None:
        """Forgets the descriptor: the same number may be another file from now on."""

    def _interest_changed(self, fd: int | None) -> None:
        """What the channel under that descriptor wants may have changed without a question to its predicates."""

    def _changed(self) -> None:
        """An attribute of a channel was set: a host of the loop, if there is one, must have it ask again."""

    def _wants_to_write(self, fd: int | None) -> bool:
        """Does the channel under that descriptor want write events, as far as is known?"""

    def _sending(self) -> str:
        """When is output to leave that this thread has for a channel? Where it is SEND_NOW, `_sent` must follow."""

    def _sent(self) -> None:
        """Ends a `_sending` that was answered with SEND_NOW."""

    def _gather(self, channel: Any, flush: Callable[[], None]) -> None:
        """Has ``flush`` called before the loop waits next. A failure is the channel's."""

    def _sending_now(self) -> bool:
        """Is this thread in a tick of the loop, at whose end what is gathered leaves?"""

    def _is_copy(self) -> bool:
        """Did another thread of the parent, before a fork, gather the output that is gathered?"""


# What `Serving._sending` answers.
SEND_NOW: Final = "now"  # nobody would send it later; no other thread can run the loop until `_sent`
SENT_LATER: Final = "later"  # the loop will, before it waits next
NOT_OURS: Final = "not ours"  # the loop is running in another thread

serving: WeakValueDictionary[int, Serving] = WeakValueDictionary()
"""The loop of every map in use, by the address of the map. To be changed with `lock` held."""

lock = threading.RLock()

make: Any = None
"""Makes the loop of a map. It is `Loop`, which says so itself, as it is built on this module."""


def registry_of(map: Any) -> Any:
    """The loop that serves ``map``, or None."""
    return serving.get(id(map))


def loop_of(map: Any) -> Any:
    """The loop that serves ``map``, made on first use. TypeError where ``map`` is no map."""
    with lock:
        found = registry_of(map)
        if found is None:
            check_map(map)
            found = make(map)
        return found


def after_fork() -> None:
    """In the child: the lock may have been a thread's that is not here."""
    global lock
    lock = threading.RLock()
