# SPDX-License-Identifier: MIT
"""Calls that wait for their turn: those queued with `call_soon`, and timers.

A batch is fixed before its first call runs: what a call queues, an overdue timer included, belongs to a later batch.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count

from .._rules import ExitNow as ExitNow


class Handle:
    """A queued call. `cancel` takes it back."""

    def __init__(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self._cancelled = False

    def __repr__(self) -> str:
        state = "cancelled" if self._cancelled else repr(self._callback)
        return f"<cyncore.{type(self).__name__} {state} at {id(self):#x}>"

    def cancel(self) -> None:
        """Takes the call back and lets go of the callback and its arguments. Harmless once it has run."""
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
    """A queued call that has a moment."""

    def __init__(self, when: float, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        super().__init__(callback, args)
        self._when = when

    def when(self) -> float:
        """The moment on the clock of `Loop.time`."""
        return self._when


class Calls:
    """What a loop has queued. `add` may be called by any thread, the rest by the loop's.

    The calls of a batch stay queued until each is taken, so that a loop run by one of them takes the others.
    """

    def __init__(self) -> None:
        self._order = count()  # first come, first served, among equal deadlines too
        self._soon: deque[tuple[int, Handle]] = deque()
        self._timers: list[tuple[float, int, TimerHandle]] = []

    def add(self, handle: Handle) -> None:
        self._soon.append((next(self._order), handle))

    def add_timer(self, handle: TimerHandle) -> None:
        heapq.heappush(self._timers, (handle.when(), next(self._order), handle))

    def begin(self, now: float) -> int:
        """Queues the timers that are due behind the calls, and returns the mark at which the batch ends."""
        while self._timers and self._timers[0][0] <= now:
            self.add(heapq.heappop(self._timers)[2])
        return next(self._order)

    def take(self, mark: int) -> Handle | None:
        """The next call of the batch, or None at its end."""
        if self._soon and self._soon[0][0] < mark:
            return self._soon.popleft()[1]
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

    def timer_due(self, now: float) -> bool:
        moment = self.next_timer()
        return moment is not None and moment <= now

    def clear(self) -> None:
        self._soon.clear()
        self._timers.clear()
