# SPDX-License-Identifier: MIT
"""Loop: its life, how it runs, and the calls that are queued for it.

What it does in each round is in `tick`, what it does for a host in `hosted`, and its servers and clients are in
`services`. docs/design.md has the rules.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet, ref

from .._report import ERROR, WARNING, report
from .._rules import (
    NOTHING_TO_RUN,
    SLOW_IN_DEBUG_MODE,
    backend_name,
    check_map,
    closed_loop,
    debug_wanted,
    failure,
    number,
    rounds,
    slow_limit,
    thread_name,
    wrong_thread,
)
from . import maps, tick
from .calls import Calls, Handle, TimerHandle
from .channel import Channel
from .descriptor import Alarm
from .hosted import Hosted
from .maps import loop_of, registry_of, socket_map
from .poller import POLLERS, Wake
from .services import Services, set_network
from .turn import Turn

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BACKENDS", "Loop", "set_network", "socket_map"]

BACKENDS: Final[tuple[str, ...]] = ("python", *POLLERS)  # "python": the best of the others


class Loop(Hosted, Services):
    """Serves the channels of one map, and calls that were queued for it.

    ``map``: the dict of channels; None: one of its own. ``backend``: a name of `BACKENDS`; None: what CYNCORE_BACKEND
    says, else the best. ``debug``: are calls from a wrong thread to be refused; None: what CYNCORE_DEBUG and ``-X dev``
    say.
    ValueError for an unknown backend, and for a map that has a loop already. OSError where no wake-up descriptor can be
    opened.
    """

    _closed = True  # until there is something to close

    def __init__(self, map: Any = None, *, backend: str | None = None, debug: bool | None = None) -> None:
        if hasattr(self, "_wake"):
            raise RuntimeError(f"{self!r} is initialised already")
        self._backend: str = backend_name(backend, BACKENDS) or BACKENDS[0]
        self.debug = debug_wanted() if debug is None else bool(debug)
        if map is None:
            map = {}
        check_map(map)
        if hasattr(self, "_wake"):  # what was called above may be the program's, and may have called this
            raise RuntimeError(f"{self!r} is initialised already")
        super().__init__(map)
        if self.debug:
            self.slow_handler_limit = SLOW_IN_DEBUG_MODE
        self._poller = next(iter(POLLERS.values())) if self._backend == "python" else POLLERS[self._backend]
        self._calls = Calls()
        self._turn = Turn()
        self._stops = self._stops_done = 0  # stop() calls, and those that have ended something
        self.hosting: Any = None  # by which another loop serves this one; it is stopped when this one closes
        self.resolver: Any = None
        self._wake_lock = threading.RLock()  # the descriptor must not be closed under a thread that writes to it
        with maps.lock:
            if registry_of(map) is not None:
                raise ValueError(f"the map has a loop already: {registry_of(map)!r}")
            self._wake = _open_wake()
            self._closed = False
            maps.serving[id(map)] = self
            _everyone.add(self)
            if map is socket_map:
                _kept[:] = [self]

    def __repr__(self) -> str:
        if self._closed:
            return f"<cyncore.Loop closed at {id(self):#x}>"
        return f"<cyncore.Loop {self._backend} {len(self._slots)} channels at {id(self):#x}>"

    def __enter__(self) -> Self:
        self._check("__enter__")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def of(map: Any) -> Loop:
        """The loop that serves ``map``, made on first use. The channels in the map keep it."""
        found: Loop = loop_of(map)
        return found

    @property
    def backend(self) -> str:
        return self._backend

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def slow_handler_limit(self) -> float | None:
        """Seconds after which a handler, a predicate or a callback is slow, and is logged; None: none is."""
        return self._slow_after

    @slow_handler_limit.setter
    def slow_handler_limit(self, seconds: float | None) -> None:
        self._slow_after = slow_limit(seconds)

    @property
    def running(self) -> bool:
        """Is a thread in `run`, `run_map` or `poll`?"""
        return self._turn.depth > 0

    # Running

    def run(self, *, forever: bool = False) -> None:
        """Handles events and calls until `stop`, or, unless ``forever``, until no channel, call or timer is left.

        RuntimeError where the loop runs already.
        """
        self._check("run")
        if not self._turn.take_first():
            raise RuntimeError(f"{self!r} runs already, in thread {thread_name(self._turn.owner)}")
        self._enter()
        try:
            was_used = self._waits or self._was_used or self._map or not self._calls.empty()
            if not (forever or was_used) and self._stops == self._stops_done:
                report(WARNING, NOTHING_TO_RUN, self)
                self._was_used = True  # once is enough
            while forever or self._stops != self._stops_done or self._occupied():
                self._tick(None, False, lambda: forever or self._occupied())
                if self._stops != self._stops_done:
                    break
        finally:
            self._leave()

    def run_map(self, timeout: float | None = 30.0, count: int | None = None) -> None:
        """What ``asyncore.loop`` does: ticks that wait at most ``timeout`` seconds, while the map is not empty.

        ``count``: at most so many ticks. In a second thread it waits for its turn, at most ``timeout`` seconds a tick.
        """
        seconds = _seconds(timeout)
        left = math.inf if count is None else rounds(count)
        self._check("run_map")
        while self._map and left > 0 and not self._turn.take(seconds):
            left -= 1
        if not self._map or left <= 0:
            return
        self._enter()
        try:
            while self._map and left > 0:
                self._tick(seconds, count is not None, lambda: bool(self._map))
                left -= 1
                if self._stops != self._stops_done:
                    break
        finally:
            self._leave()

    def poll(self, timeout: float | None = 0.0) -> int:
        """One tick, waiting at most ``timeout`` seconds (None: without end). Returns how many channels had an event."""
        seconds = _seconds(timeout)
        self._check("poll")
        if not self._turn.take(seconds):
            return 0
        self._enter()
        try:
            delivered = self._tick(seconds, True, lambda: True)
            if self._descriptor is not None:
                self._settle(self._descriptor)
            return delivered
        except BaseException:
            if self._descriptor is not None:
                self._wake.set()  # the host may go on, and what the rest of the tick was to do is still to be done
            raise
        finally:
            self._leave()

    def stop(self) -> None:
        """Ends the `run` or `run_map` going on, or the next one after a tick that does not wait. From any thread."""
        self._stops += 1
        with self._wake_lock:
            if not self._closed:
                self._wake.set()

    def wake(self) -> None:
        """Ends the wait that is going on, or the next one. From any thread."""
        with self._wake_lock:
            self._check_open("wake")
            self._wake.set()

    def close(self) -> None:
        """Drops what is queued and lets go of the channels, which stay open and in the map.

        RuntimeError while it runs.
        """
        if not self._turn.take_first():
            raise RuntimeError(f"{self!r} cannot be closed while it runs")
        try:
            if self.hosting is not None:
                self.hosting.stop()  # while the host can still let go of the descriptor
            if self.network is not None and not self._closed:
                self.network.closed()
            self._end_watch()
            with self._wake_lock, maps.lock:
                if self._closed:
                    return
                self._closed = True
                self._wake.close()
                self._wants.kernel = None
                for part in (self._descriptor, self._alarm):
                    if part is not None:
                        part.close()
                maps.serving.pop(id(self._map), None)  # a weak one: the garbage collector may have been quicker
                _everyone.discard(self)
                if self in _kept:
                    _kept.clear()
            self._calls.clear()
            for _, channel in list(self._map.items()):
                if isinstance(channel, Channel) and channel._cyncore_loop is self:
                    channel._cyncore_loop = None
            self._slots.clear()
            self._taken = None
            self._backed_off.clear()
        finally:
            self._turn.give_back()

    def _occupied(self) -> bool:
        return bool(self._map) or self._calls.queued() or self._calls.next_timer() is not None

    # Calls

    def time(self) -> float:
        """Seconds on the clock that timers go by."""
        return time.monotonic()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Handle:
        """Calls ``callback(*args)`` in the next tick, after what was queued before."""
        self._check("call_soon")
        handle = self._calls.add(callback, args)
        self._changed()
        return handle

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> Handle:
        """`call_soon` for other threads and for signal handlers: ends the wait, too."""
        with self._wake_lock:
            self._check_open("call_soon_threadsafe")
            handle = self._calls.add(callback, args)
            self._wake.set()
        return handle

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Calls ``callback(*args)`` once ``seconds`` have gone by. ValueError if below zero, or beyond all clocks."""
        self._check("call_later")
        delay = number("seconds", seconds)
        if not delay >= 0:
            raise ValueError(f"call_later: seconds must not be below zero: {seconds!r}")
        return self._add_timer(self.time() + delay, callback, args)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Calls ``callback(*args)`` when `time` has reached ``when``; in the next tick if it has already."""
        self._check("call_at")
        return self._add_timer(number("when", when), callback, args)

    def _add_timer(self, when: float, callback: Callable[..., object], args: tuple[Any, ...]) -> TimerHandle:
        handle = self._calls.add_timer(when, callback, args)
        if self.debug:
            handle._owner = ref(self)
        if self._descriptor is not None and not self._turn.depth and self._calls.is_next(handle):
            if self._alarm is not None:
                self._alarm.set(handle.when())
            else:
                self._changed()  # the host asks again for the next deadline
        return handle

    def handle_exception(self, error: BaseException, handle: Handle) -> None:
        """A queued call raised ``error``: logs it. To be overridden; what it raises leaves the loop."""
        report(ERROR, "%r failed", handle, error=error)

    # Turns, forks and threads

    def _enter(self) -> None:
        """The turn is ours: from here to `_leave` the loop runs."""
        if self._closed:  # pragma: no cover - another thread has closed it while we waited for our turn
            self._turn.give_back()
            raise RuntimeError(f"{self!r} is closed")
        self._turn.enter()

    def _leave(self) -> None:
        if self._turn.depth == 1:
            self._stops_done = self._stops
            self._figures.end_work()
        self._turn.leave()

    def _after_fork(self) -> None:
        """In the child: the wake-up must not reach the parent, and another thread's turn will never end."""
        if self._descriptor is not None:
            self._descriptor.after_fork()  # first: what is taken out of that one, is taken out of the parent's
        self._wants.put(self._wake.fd, 0)
        self._wake.close()
        self._wake = Wake()
        self._wake_lock = threading.RLock()
        self._turn.after_fork()
        self._rung = False
        if self._alarm is not None:
            self._alarm = Alarm(self._wake)

    def _check_open(self, method: str) -> None:
        if self._closed:
            raise closed_loop(method, self, hasattr(self, "_wake"))

    def _check(self, method: str) -> None:
        self._check_open(method)
        if self.debug and self._turn.is_foreign():
            raise wrong_thread(method, self, self._turn.owner)

    def _check_cancel(self) -> None:
        self._check("TimerHandle.cancel")


def _open_wake() -> Wake:
    try:
        return Wake()
    except OSError as error:
        raise failure(error.errno or 0, "cannot open the wake-up descriptor") from None


def _seconds(timeout: float | None) -> float | None:
    """A timeout as the poller takes it: None for one that never ends. ValueError where it is below zero."""
    if timeout is None:
        return None
    seconds = number("timeout", timeout)
    if not seconds >= 0:
        raise ValueError(f"timeout must not be below zero: {timeout!r}")
    return None if seconds == math.inf else seconds


maps.make = Loop

_kept: list[Loop] = []  # the one of socket_map
_everyone: WeakSet[Loop] = WeakSet()


def _after_fork() -> None:
    maps.after_fork()
    tick.after_fork()
    for loop in list(_everyone):
        loop._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=tick.before_fork, after_in_child=_after_fork)
