# SPDX-License-Identifier: MIT
"""Calls that wait for their turn: those queued with `call_soon`, and timers.

A batch is fixed before its first call runs: what a call queues, an overdue timer included, belongs to a later batch.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

from .._rules import LATEST, bad_time, not_callable

_FEW = 64  # timers for which nobody looks whether they were cancelled


class Handle:
    """A call that was asked for. Made by the loop's ``call_`` methods."""

    _callback: Callable[..., object] | None
    _args: tuple[object, ...]
    _cancelled: bool

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} is made by a loop's call_ methods")

    def __repr__(self) -> str:
        what = "cancelled" if self._cancelled else repr(self._callback)
        return f"<cyncore.{type(self).__name__} {what}>"

    def cancel(self) -> None:
        """The call is not made, and what it referred to is let go. Does nothing the second time."""
        self._cancelled = True
        self._callback = None
        self._args = ()

    def cancelled(self) -> bool:
        """Was `cancel` called?"""
        return self._cancelled

    def _run(self) -> None:
        if self._callback is not None:
            self._callback(*self._args)


class TimerHandle(Handle):
    """A call that was asked for at a time."""

    _when: float
    _owner: Callable[[], Any] | None = None  # a weak reference to the loop, if it was made in debug mode

    def cancel(self) -> None:
        """The call is not made, and what it referred to is let go. Does nothing the second time.

        RuntimeError in debug mode, if another thread runs the loop.
        """
        if self._owner is not None:
            loop = self._owner()
            if loop is not None and not loop.closed:
                loop._check_cancel()
        self._cancelled = True
        self._callback = None
        self._args = ()

    def when(self) -> float:
        """The time of the call, in seconds of `Loop.time`."""
        return self._when


_Made = TypeVar("_Made", bound=Handle)


def _make(kind: type[_Made], callback: Callable[..., object], args: tuple[object, ...]) -> _Made:
    if not callable(callback):
        raise not_callable(callback)
    handle = kind.__new__(kind)
    handle._callback = callback
    handle._args = args
    handle._cancelled = False
    return handle


class Calls:
    """What a loop has queued. `add` may be called by any thread, the rest by the loop's.

    The calls of a batch stay queued until each is taken, so that a loop run by one of them takes the others.
    """

    def __init__(self) -> None:
        self._order = count()  # first come, first served, among equal deadlines too
        self._soon: deque[tuple[int, Handle]] = deque()
        self.earliest = -math.inf  # in a batch, its time: a timer for the past must not come before the others in it
        self._timers: list[tuple[float, int, TimerHandle]] = []
        self._most = _FEW  # timers at which those that were cancelled are dropped

    def add(self, callback: Callable[..., object], args: tuple[object, ...]) -> Handle:
        """TypeError where the callback cannot be called."""
        handle = _make(Handle, callback, args)
        self._soon.append((next(self._order), handle))
        return handle

    def add_timer(self, when: float, callback: Callable[..., object], args: tuple[object, ...]) -> TimerHandle:
        """TypeError as `add`; ValueError where no clock ever shows that time."""
        handle = _make(TimerHandle, callback, args)
        if not math.isfinite(when) or when > LATEST:
            raise bad_time(when)
        handle._when = when
        if len(self._timers) >= self._most:
            self._drop_cancelled()
        heapq.heappush(self._timers, (max(when, self.earliest), next(self._order), handle))
        return handle

    def _drop_cancelled(self) -> None:
        self._timers[:] = [entry for entry in self._timers if not entry[2].cancelled()]
        heapq.heapify(self._timers)
        self._most = max(_FEW, 2 * len(self._timers))  # so that all of this costs each timer no more than a constant

    def begin(self) -> int:
        """Begins a batch: what is queued now, and then the timers that are due. Returns the mark at which it ends."""
        return next(self._order)

    def take(self, mark: int, now: float) -> Handle | None:
        """The next call of the batch, which began at the time ``now``; None at its end."""
        if self._soon and self._soon[0][0] < mark:
            return self._soon.popleft()[1]
        if self._timers and self._timers[0][0] <= now and self._timers[0][1] < mark:
            return heapq.heappop(self._timers)[2]
        return None

    def empty(self) -> bool:
        """Is there neither a call nor a timer?"""
        return not self._soon and not self._timers

    def queued(self) -> bool:
        """Is there a call for the next batch, whatever the time?"""
        return bool(self._soon)

    def next_timer(self) -> float | None:
        """The earliest deadline of a timer that is not cancelled."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def is_next(self, timer: TimerHandle) -> bool:
        return bool(self._timers) and self._timers[0][2] is timer

    def timer_due(self, now: float) -> bool:
        moment = self.next_timer()
        return moment is not None and moment <= now

    def count_queued(self) -> int:
        return len(self._soon)

    def count_timers(self) -> int:
        """Timers that are set. Any thread."""
        return sum(not entry[2].cancelled() for entry in list(self._timers))

    def clear(self) -> None:
        self._soon.clear()
        self._timers.clear()
