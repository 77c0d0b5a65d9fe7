# SPDX-License-Identifier: MIT
"""Tick: one round of the loop: due calls, the questions, the wait, the events, and the output that these have left.

docs/design.md has the rules.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._patched import is_patched, wait
from .._report import WARNING, report
from .._rules import EXITS, SLOW_CALL, TIMED_EVERY, TIMERS_AT_ONCE, TIMERS_SHARE
from .calls import Handle, TimerHandle
from .inspection import Inspection
from .maps import NOT_OURS, SEND_NOW, SENT_LATER
from .poller import READ, WRITE, Wake
from .slot import Slot

_pid = os.getpid()  # of this process; kept, because it is a system call that every tick would need
_thread = threading.local()  # .ticking: the loop whose tick is in progress in this thread, the innermost one


def _only_writes(event: tuple[Slot, int]) -> bool:
    """Can it only be written, and not read as well?"""
    return event[1] == WRITE


class Tick(Inspection):
    """A loop as far as one round of it. `Loop` derives from it."""

    _poller: Any
    _wake: Wake
    _stops_done: int

    if TYPE_CHECKING:  # the loop's

        def handle_exception(self, error: BaseException, handle: Handle) -> None: ...

    def __init__(self, map: Any) -> None:
        super().__init__(map)
        # channels with output to be sent before the next wait
        self._gathered: list[tuple[Any, Callable[[], None]]] = []
        self._gathered_pid = self._tick_pid = _pid
        self._flushing = False
        self._waiting = False
        self._is_hosted = False  # another loop waits for its descriptor
        self._rung = False  # was the host told since the last tick that there is something to do?
        self._woken = False  # did something else than an event, or the time, end the last wait?

    def _tick(self, timeout: float | None, sweep: bool, alive: Callable[[], bool]) -> int:
        """Calls, asks, waits, dispatches. ``sweep``: ask all predicates; ``alive``: is there a reason to wait?"""
        outer = getattr(_thread, "ticking", None)
        if outer is not None:
            outer._flush_gathered()  # whoever made this tick may wait for the answer
        _thread.ticking = self
        self._tick_pid = _pid
        try:
            return self._steps(timeout, sweep, alive)
        finally:
            try:
                self._flush_gathered()
            finally:
                _thread.ticking = outer

    def _steps(self, timeout: float | None, sweep: bool, alive: Callable[[], bool]) -> int:
        stops, calls = self._stops, self._figures.calls - self._pauses_ended
        self._rung = False
        self._run_due(stops)
        if self._stops != stops:
            return 0
        waits_on = timeout != 0 or self._is_hosted  # a host waits for it
        if self._slowed and (not waits_on or self._figures.calls - self._pauses_ended != calls):
            self._go_on()
        self._flush_gathered()
        with self._wake.told_of_signals():
            self._prepare(sweep)
            if self._gathered:  # a predicate has written
                self._flush_gathered()
                self._ask(False)
            self._waiting = True  # what a signal handler pushes leaves at once
            self._figures.end_work()
            try:
                events = self._fetch(timeout, alive)
            finally:
                self._waiting = False
            if events or self._woken:
                self._figures.begin_work()
        self._waits_on = waits_on
        tick = self._waits
        delivered = self._dispatch_batch(events, stops)
        is_idle = not (events or self._woken or self._calls.queued()) and self._stops == stops
        if is_idle and self._calls.timer_due(self.time()):
            self._run_due(stops)  # what ended the wait need not wait for the next tick
        if self._slowed and (
            (self._woken and not self._is_hosted)  # the alarm of a hosted loop wakes it, too
            or self._figures.calls - self._pauses_ended != calls
            or self._has_run_others(events, tick)
        ):
            self._go_on()
        return delivered

    # Due calls

    def _run_due(self, stops: int) -> None:
        if self._calls.empty():
            return
        if self._calls.queued() or self._calls.timer_due(self.time()):
            self._figures.begin_work()
        calls, mark, now, timers = self._calls, self._calls.begin(), self.time(), 0
        earliest, calls.earliest = calls.earliest, now
        try:
            while self._stops == stops and (handle := calls.take(mark, now)) is not None:
                self._predicates_stale = True
                self._run_call(handle)
                timers += isinstance(handle, TimerHandle)
                if timers and timers % TIMERS_AT_ONCE == 0 and self.time() - now > TIMERS_SHARE:
                    break  # events have waited long enough; the next tick goes on
        finally:
            calls.earliest = earliest

    def _run_call(self, handle: Handle) -> None:
        waits, begin = self._waits, None
        self._figures.calls += 1
        if self._slow_after is not None or self._figures.calls % TIMED_EVERY == 1:
            begin = time.monotonic()
        try:
            handle._run()
        except EXITS:
            raise
        except BaseException as error:  # asyncore knew no calls; the contract says: to handle_exception
            self._figures.errors += 1
            self.handle_exception(error, handle)
        if begin is not None and waits == self._waits:
            self._figures.handlers.note(seconds := time.monotonic() - begin)
            if self._is_slow(seconds, waits):
                report(WARNING, SLOW_CALL, handle, seconds)

    # The wait

    def _fetch(self, timeout: float | None, alive: Callable[[], bool]) -> list[tuple[Slot, int]]:
        """Waits at most ``timeout`` seconds. A signal does not end that, but may have changed what to wait for."""
        end = math.inf if timeout is None else self.time() + timeout
        while (events := self._wait_once(timeout, alive)) is None:
            timeout = None if timeout is None else max(0.0, end - self.time())
            self._prepare(False)
        return events

    def _wait_once(self, timeout: float | None, alive: Callable[[], bool]) -> list[tuple[Slot, int]] | None:
        """What is ready; None: nothing, but a signal came."""
        slots = dict(self._slots)
        pending, self._pending = self._pending, None
        if pending is None or self._dirty:
            pending = self._arm_all()
        self._waits += 1
        limit = 0.0 if pending or not alive() else self._longest_wait(timeout)
        ready, woken = self._ask_kernel(limit)
        if limit != 0.0 and not ready:
            self._predicates_stale = True  # other threads had the time to change what predicates say
        self._woken = woken is not None
        self._predicates_stale = self._predicates_stale or self._woken
        for fd in pending:
            ready[fd] = ready.get(fd, 0) | READ
        if woken is False and not ready:
            return None
        for fd in ready.keys() - slots.keys():  # pragma: no cover - another thread has taken it out at this moment
            self._wants.put(fd, 0)
            del ready[fd]
        events = [(slots[fd], mask) for fd, mask in ready.items()]
        events.sort(key=_only_writes)  # who reads may have something to write for those that can write
        return events

    def _ask_kernel(self, timeout: float | None) -> tuple[dict[int, int], bool | None]:
        """What is ready, and whether `wake` was called; False: a signal came, None: neither."""
        wake = self._wake.fd
        if self._wants.get(wake) != READ:
            self._wants.put(wake, READ)
        if is_patched():  # others who share the thread have their turn
            wait(timeout, dict(self._wants))
            timeout = 0.0
        ready = self._poller(self._wants, timeout)
        if not ready.pop(wake, 0):
            return ready, None
        return ready, self._wake.clear()

    def _longest_wait(self, timeout: float | None) -> float | None:
        if self._calls.queued() or self._stops != self._stops_done:
            return 0.0
        moments = self._moments()
        if not moments:
            return timeout
        left = max(0.0, min(moments) - self.time())
        return left if timeout is None else min(left, timeout)

    def _moments(self) -> list[float]:
        """When something is to be done even if nothing is ready: the next timer, and the ends of listeners' pauses."""
        moments = []
        if self._backed_off:
            now = self.time()
            self._backed_off = [slot for slot in self._backed_off if slot.backed_off_until > now and not slot.gone]
            moments = [slot.backed_off_until for slot in self._backed_off]
        timer = self._calls.next_timer()
        return moments if timer is None else [timer, *moments]

    # Output that handlers have left to be sent

    def _sending(self) -> str:
        """When is output to leave that this thread has for a channel? SEND_NOW takes the turn until `_sent`."""
        if self._sending_now():
            return SENT_LATER
        return SEND_NOW if self._turn.take(0) else NOT_OURS

    def _sent(self) -> None:
        self._turn.give_back()

    def _sending_now(self) -> bool:
        """Is this thread in a tick of this loop, at whose end what is gathered leaves?"""
        ticking = getattr(_thread, "ticking", None) is self and self._tick_pid == _pid
        return ticking and not self._waiting and not self._flushing

    def _gather(self, channel: Any, flush: Callable[[], None]) -> None:
        self._gathered_pid = _pid
        self._gathered.append((channel, flush))

    def _is_copy(self) -> bool:
        """Was what is gathered gathered by another thread of the parent, before a fork?"""
        return bool(self._gathered) and self._gathered_pid != _pid

    def _flush_gathered(self) -> None:
        """One channel's trouble does not keep the others' output back."""
        if not self._gathered:
            return
        within, self._flushing = self._flushing, True  # a handler of a flush runs the loop, or forks: it goes on
        leaving: BaseException | None = None
        try:
            while self._gathered:
                channel, flush = self._gathered.pop(0)
                try:
                    self._flush_one(channel, flush)
                except BaseException as error:  # the others first
                    leaving = error
        finally:
            self._flushing = within
        if leaving is not None:
            raise leaving

    def _flush_one(self, channel: Any, flush: Callable[[], None]) -> None:
        try:
            flush()
        except EXITS:
            raise
        except BaseException as error:  # as if it had left the handler that wrote
            self._failed(channel, error)
        slot = self._slots.get(channel._fileno)
        if slot is not None:
            slot.touch()


def before_fork() -> None:
    """What the parent has gathered must not leave twice."""
    ticking = getattr(_thread, "ticking", None)
    if ticking is not None:
        ticking._flush_gathered()


def after_fork() -> None:
    """In the child: it is another process."""
    global _pid
    _pid = os.getpid()
