# SPDX-License-Identifier: MIT
"""Loop: ticks over a map of channels, and calls.

A tick runs what is due, sends what was left to be sent, has the registry ask the predicates, waits, and dispatches the
events. docs/design.md has the rules.
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

from .._patched import is_patched, wait
from .._report import ERROR, WARNING, report
from .._rules import (
    DISCONNECTED,
    EXITS,
    LOG_INTERVAL,
    NOTHING_TO_RUN,
    OUT_OF_DESCRIPTORS,
    SLOW_CALL,
    SLOW_HANDLERS,
    SLOW_IN_DEBUG_MODE,
    TIMED_EVENTS,
    TIMED_EVERY,
    TIMERS_AT_ONCE,
    TIMERS_SHARE,
    backend_name,
    check_map,
    closed_loop,
    debug_wanted,
    failure,
    number,
    rounds,
    slow_limit,
    spinning,
    thread_name,
    wrong_thread,
)
from .._spin import CANDIDATES, LOOK_EVERY, ROUND, Spins, Suspect, check_guard
from . import maps
from .calls import Calls, Handle, TimerHandle
from .channel import Channel, tell_of_assignments, timed
from .descriptor import Alarm, Descriptor
from .inspection import Inspection
from .maps import NOT_OURS, SEND_NOW, SENT_LATER, loop_of, registry_of, socket_map
from .poller import ERR, GONE, NVAL, POLLERS, PRI, READ, WRITE, Wake, gone_now
from .slot import ALL, Slot, is_connecting, reads
from .stream import StreamChannel
from .turn import Turn

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BACKENDS", "Loop", "socket_map"]

BACKENDS: Final[tuple[str, ...]] = ("python", *POLLERS)  # "python": the best of the others


_network: Any = None


def set_network(make: Callable[[Any], Any]) -> None:
    """Sets what makes the network of a loop: its servers and clients, which are built on this module."""
    global _network
    _network = make


class Loop(Inspection):
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
        super().__init__(map)
        if self.debug:
            self.slow_handler_limit = SLOW_IN_DEBUG_MODE
        self._poller = next(iter(POLLERS.values())) if self._backend == "python" else POLLERS[self._backend]
        self._backed_off: list[Slot] = []  # listeners that are out of descriptors
        self._calls = Calls()
        self._turn = Turn()
        self._stops = self._stops_done = 0  # stop() calls, and those that have ended something
        self._spins = Spins()
        self._chosen_last = -1  # the descriptor that a round has begun to suspect last
        self._gathered: list[
            tuple[Any, Callable[[], None]]
        ] = []  # channels with output to be sent before the next wait
        self._gathered_pid = self._tick_pid = _pid
        self._flushing = False
        self.network: Any = None  # its servers and clients, made at their first use
        self.hosting: Any = None  # by which another loop serves this one; it is stopped when this one closes
        self.resolver: Any = None
        self._waiting = False
        self._descriptor: Descriptor | None = None  # that a host watches
        self._alarm: Alarm | None = None  # rings for timers, where the host does not look at `next_deadline`
        self._rung = False  # was the host told since the last tick that there is something to do?
        self._woken = False  # did something else than an event, or the time, end the last wait?
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
                if isinstance(channel, Channel) and channel._loop is self:
                    channel._loop = None
            self._slots.clear()
            self._taken = None
            self._backed_off.clear()
        finally:
            self._turn.give_back()

    def fileno(self, *, timers: bool = True) -> int:
        """A descriptor for another loop to watch, which hosts this one: it is readable when `poll` has work.

        ``timers``: False where the host looks at `next_deadline` after each `poll`; else a thread waits for timers.
        From now on epoll waits, and assignments to attributes of channels cost a call. OSError (EOPNOTSUPP) where
        Python has no epoll; RuntimeError while another thread runs the loop.
        """
        self._check("fileno")
        if not self._turn.take(0):
            raise RuntimeError(f"{self!r} cannot be hosted while it runs, in thread {thread_name(self._turn.owner)}")
        self._enter()
        try:
            descriptor = self._descriptor
            if descriptor is None:
                descriptor = self._descriptor = Descriptor(self)
                self._poller = descriptor
                self._wants.kernel = descriptor
                tell_of_assignments()
                if self._backend != "python":
                    self._backend = descriptor.backend
            if timers and self._alarm is None:
                self._alarm = Alarm(self._wake)
            elif not timers and self._alarm is not None:
                self._alarm.close()
                self._alarm = None
            self._settle(descriptor)
            return descriptor.fileno()
        finally:
            self._turn.leave()

    # Calls

    def time(self) -> float:
        """Seconds on the clock that timers go by."""
        return time.monotonic()

    def next_deadline(self) -> float | None:
        """The moment at which the loop has something to do even if no descriptor becomes ready; None: never."""
        self._check_open("next_deadline")
        if self._calls.queued() or self._is_always_ready() or any(slot.holds_data() for slot in self._slots.values()):
            return self.time()
        return min(self._moments(), default=None)

    def _is_always_ready(self) -> bool:
        return self._descriptor is not None and bool(self._descriptor.always)

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

    # Servers and clients, which are above the engine

    def _services(self) -> Any:
        if self.network is None:
            self.network = _network(self)
        return self.network

    def listen(self, address: Any, factory: Any, **options: Any) -> Any:
        """Listens on ``address``, and makes a stream by ``factory()`` for each connection. Returns the server."""
        self._check("listen")
        return self._services().listen(address, factory, **options)

    def connect(self, address: Any, factory: Any, **options: Any) -> Any:
        """Connects to ``address``, for a stream made by ``factory()``. Returns the stream at once."""
        self._check("connect")
        return self._services().connect(address, factory, **options)

    def open_pipe(self, file: Any, factory: Any) -> Any:
        """Serves a pipe, a terminal or a file, by a stream made by ``factory()``. Returns the stream at once."""
        self._check("open_pipe")
        return self._services().open_pipe(file, factory)

    def spawn(self, args: Any, factory: Any, **options: Any) -> Any:
        """Starts a program, and returns the process that ``factory()`` has made."""
        self._check("spawn")
        return self._services().spawn(args, factory, **options)

    def bind(self, address: Any, factory: Any, **options: Any) -> Any:
        """Opens a socket of datagrams at ``address``, for a `Datagram` made by ``factory()``, which it returns."""
        self._check("bind")
        return self._services().bind(address, factory, **options)

    def drain(self, seconds: float) -> None:
        """Ends the work in order: no new connections, the idle closed, what is left after ``seconds`` aborted."""
        self._check("drain")
        self._services().drain(seconds)

    def drain_on_signals(self, seconds: float) -> None:
        """Has SIGTERM and SIGINT drain the loop and then end its run; a second one ends it now. Main thread only."""
        self._check("drain_on_signals")
        self._services().drain_on_signals(seconds)

    def serve_stats(self, address: Any = None, **options: Any) -> Any:
        """Shows the figures and the channels by HTTP, to this machine alone. Returns the server of it.

        ``address``: a host and port of the loopback interface, or the path of a Unix socket, which only this user can
        open; None: a socket that ``python -m cyncore top PID`` finds. ``interval``: seconds between two looks, while
        somebody watches. ``max_viewers``: how many may watch at once. ValueError for an address of another interface,
        OSError where it cannot listen.
        """
        self._check("serve_stats")
        return self._services().serve_stats(address, **options)

    def add_signal_handler(self, number: int, callback: Callable[..., object], *args: Any) -> None:
        """Has ``callback(*args)`` called in the next tick when the signal ``number`` comes. In the main thread only."""
        self._check("add_signal_handler")
        self._services().signals.add(number, callback, args)

    def remove_signal_handler(self, number: int) -> bool:
        """Takes back what `add_signal_handler` has added. Returns True if there was any. In the main thread only."""
        self._check("remove_signal_handler")
        found: bool = self._services().signals.remove(number)
        return found

    def handle_exception(self, error: BaseException, handle: Handle) -> None:
        """A queued call raised ``error``: logs it. To be overridden; what it raises leaves the loop."""
        report(ERROR, "%r failed", handle, error=error)

    # For a host

    def _changed(self) -> None:
        if self._descriptor is not None and not self._turn.depth and not self._rung and not self._closed:
            self._rung = True
            self._wake.set()

    def _settle(self, descriptor: Descriptor) -> None:
        """Before the host waits: the kernel is given what the channels want by now."""
        if self._predicates_stale or self._dirty or not self._is_map_as_read():
            self._prepare(False)
        if self._gathered:  # a predicate has written
            self._flush_gathered()
        self._pending = self._arm_all()
        if self._wants.get(self._wake.fd) != READ:
            self._wants.put(self._wake.fd, READ)
        descriptor.tell(self._wants)
        if self._alarm is not None:
            self._alarm.set(self.next_deadline())

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

    # One tick

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
        stops = self._stops
        self._rung = False
        self._run_due(stops)
        if self._stops != stops:
            return 0
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
        delivered = self._dispatch_batch(events, stops)
        is_idle = not (events or self._woken or self._calls.queued()) and self._stops == stops
        if is_idle and self._calls.timer_due(self.time()):
            self._run_due(stops)  # what ended the wait need not wait for the next tick
        return delivered

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
        return [(slots[fd], mask) for fd, mask in ready.items()]

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

    # Dispatch

    def _dispatch_batch(self, events: list[tuple[Slot, int]], stops: int) -> int:
        this_wait = self._waits
        delivered = 0
        looks = this_wait % LOOK_EVERY == 0 and bool(self._spins.suspects or this_wait % ROUND == 0)
        looked_at = self._choose(events) if looks else set()
        timed_ones = TIMED_EVENTS if this_wait % TIMED_EVERY == 0 else 0
        for slot, ready in events:
            if self._stops != stops:
                break  # the rest is pending in the kernel still
            if not self._is_live(slot) or slot.served > this_wait:
                continue  # gone, or a loop inside a handler has served it since
            slot.served = this_wait
            self._predicates_stale = True
            self._figures.begun_events += 1
            timed_ones -= 1
            if self._slow_after is not None or timed_ones >= 0 or slot.key_fd in looked_at:
                count = self._dispatch_closely(slot, ready, slot.key_fd in looked_at)
            else:
                count = self._dispatch_event(slot, ready)
            delivered += count
            self._figures.events += count
            if slot.backed_off_until > 0.0:
                self._backed_off.append(slot)
        if looks:
            self._spins.finish(this_wait)
        return delivered

    def _choose(self, events: list[tuple[Slot, int]]) -> set[int]:
        """The descriptors that are to be looked at: those of suspects, and in a new round those of some others."""
        chosen = {slot.key_fd for slot, _ in events if slot.key_fd in self._spins.suspects}
        if self._waits % ROUND == 0:  # by their descriptors, so that everybody's turn comes
            others = sorted(slot.key_fd for slot, _ in events if slot.key_fd > self._chosen_last)[:CANDIDATES]
            chosen.update(others)
            self._chosen_last = others[-1] if len(others) == CANDIDATES else -1
        return chosen

    def _dispatch_closely(self, slot: Slot, ready: int, is_looked_at: bool) -> bool:
        """`_dispatch_event`, and looks how long the handlers take, and whether they do anything."""
        obj, fd, tick = slot.obj, slot.key_fd, self._waits
        if is_looked_at and fd not in self._spins.suspects:
            self._spins.add(fd, obj, tick)
        if is_looked_at:
            self._spins.begin(fd, obj)
        begin = time.monotonic()
        delivered = self._dispatch_event(slot, ready)
        seconds = time.monotonic() - begin
        if tick == self._waits:
            self._figures.handlers.note(seconds)
        if self._is_slow(seconds, tick):
            report(WARNING, SLOW_HANDLERS, obj, fd, seconds)
        if is_looked_at and delivered and tick == self._waits and not slot.gone:
            suspect = self._spins.end(fd, obj, tick, seconds, begin, ready & ~WRITE != 0)
            if suspect is not None:
                self._slow(slot, suspect)
        return delivered

    @property
    def spin_guard(self) -> str | None:
        """What is done with a channel that fires without end and was named: "slow", "close" or None.

        ValueError for anything else.
        """
        return self._spins.guard

    @spin_guard.setter
    def spin_guard(self, value: str | None) -> None:
        self._spins.guard = check_guard(value)

    def _slow(self, slot: Slot, suspect: Suspect) -> None:
        """A channel fires without end: takes its interest away for a while, or closes it."""
        if self._spins.closes(suspect):
            self._close_spinning(slot)
            return
        slot.slowed = WRITE if suspect.is_output else ALL
        slot.slow_timer = self._calls.add_timer(self.time() + suspect.pause, self._go_on, (slot, suspect))
        self._interest_changed(slot.key_fd)

    def _go_on(self, slot: Slot, suspect: Suspect) -> None:
        """The pause of a channel is over."""
        slot.slowed, slot.slow_timer = 0, None
        if self._is_live(slot):
            self._spins.go_on(suspect, self._waits)
            self._interest_changed(slot.key_fd)

    def _close_spinning(self, slot: Slot) -> None:
        obj = slot.obj
        try:
            if isinstance(obj, StreamChannel):
                obj._end(spinning(obj))
            else:
                obj.close()
        except EXITS:
            raise
        except BaseException as error:
            self._failed(obj, error)
        if self._is_live(slot):  # a close() of its own has left it where it was
            del self._map[slot.key_fd]
            self._detach(slot.key_fd)
            if isinstance(obj, Channel):
                obj._loop = None

    def _dispatch_event(self, slot: Slot, ready: int) -> bool:
        """One event to one channel, as asyncore.readwrite did it. Returns False where it was not wanted any more."""
        obj = slot.obj
        slot.touch()
        try:
            return self._call_handlers(slot, ready)
        except EXITS:
            raise
        except BaseException as error:
            self._failed(obj, error)
        finally:
            if ready & NVAL and self._is_live(slot):  # the descriptor was closed behind our back
                del self._map[slot.key_fd]
                self._detach(slot.key_fd)
        return True

    def _call_handlers(self, slot: Slot, ready: int) -> bool:
        """Calls the handlers for one event, and handle_close after a hang-up. Returns False if it was not wanted."""
        obj = slot.obj
        if ready & NVAL:
            _hung_up(obj)
            return True
        wanted = slot.interest()
        # An error by itself may be a datagram's (ICMP): reading tells of it, and then it is over.
        failed = ready & GONE == ERR and not (isinstance(obj, Channel) and is_connecting(obj))
        unread = slot.unread() if ready & GONE else 0
        was_readable = ready & READ
        if failed:
            ready |= READ
        ready &= wanted | GONE
        if not ready:
            return False  # another channel's handler has paused this one
        if ready & READ:
            self._dispatch_read(slot)
        if ready & WRITE and not slot.gone:
            if isinstance(obj, Channel) and (deadlines := timed(obj)) is not None:
                deadlines.output_at = time.monotonic()
            obj.handle_write_event()
        if ready & PRI and not slot.gone:
            obj.handle_expt_event()
        if ready & GONE and not slot.gone:
            if ready & READ:
                self._hung_up_reading(slot, was_readable, unread, failed)
            elif not wanted & READ and unread > 0 and not (isinstance(obj, Channel) and obj._takes_errors):
                slot.hold()  # until it wants to read again
            else:
                _hung_up(obj)
        return True

    def _hung_up_reading(self, slot: Slot, was_readable: int, unread: int, failed: bool) -> None:
        """Its read handler was called, and has perhaps read: then the rest, and the end, come with the next events."""
        reads_on = isinstance(slot.obj, Channel) and slot.obj._last_recv in ("data", "end")
        if was_readable and (reads_on or slot.unread() < unread):
            return
        if not failed or gone_now(slot.key_fd):
            _hung_up(slot.obj)

    def _dispatch_read(self, slot: Slot) -> None:
        obj = slot.obj
        if not isinstance(obj, Channel):
            obj.handle_read_event()
            return
        obj._last_recv = ""
        obj._accept_errno = 0
        accepts = bool(obj.accepting)
        try:
            obj.handle_read_event()
        except OSError as error:
            if isinstance(error, BlockingIOError) and obj._last_recv == "again":
                return  # a spurious event: there was nothing to read
            if not (accepts and error.errno in OUT_OF_DESCRIPTORS and error.errno == obj._accept_errno):
                raise
        if accepts and obj._accept_errno in OUT_OF_DESCRIPTORS:  # whether or not its own handler has caught the error
            self._back_off(slot, obj._accept_errno)  # the connection waits in the backlog until there is room
            return
        slot.accepted()
        if not accepts and not obj._last_recv and not reads(obj):
            obj._muted_in = obj._state()
        slot.pending = False  # also where asking fails, which is told once
        slot.pending = slot.pending_bytes() > 0

    def _back_off(self, slot: Slot, error: int) -> None:
        global _logged_at
        pause = slot.back_off()
        now = time.monotonic()
        if now - _logged_at >= LOG_INTERVAL:
            _logged_at = now
            report(
                WARNING,
                "%r fd %d cannot accept: %s; trying again every %d ms",
                *(slot.obj, slot.key_fd, OSError(error, os.strerror(error)), pause),
            )

    def _failed(self, channel: Any, error: BaseException) -> None:
        """What left a handler of the channel; called with the exception being handled."""
        is_new = isinstance(channel, Channel) and channel._tells_interest
        if isinstance(error, OSError) and error.errno in DISCONNECTED and not is_new:
            channel.handle_close()
            return
        self._figures.errors += 1
        if is_new:
            channel._fail(error)
        else:
            channel.handle_error()

    def _occupied(self) -> bool:
        return bool(self._map) or self._calls.queued() or self._calls.next_timer() is not None


def _hung_up(obj: Any) -> None:
    if isinstance(obj, Channel) and obj._tells_interest:
        obj._on_close()
    else:
        obj.handle_close()


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
_pid = os.getpid()  # of this process; kept, because it is a system call that every tick would need
_thread = threading.local()  # .ticking: the loop whose tick is in progress in this thread, the innermost one
_logged_at = -LOG_INTERVAL  # when running out of descriptors was logged last


def _after_fork() -> None:
    global _pid
    maps.after_fork()
    _pid = os.getpid()
    for loop in list(_everyone):
        loop._after_fork()


def _before_fork() -> None:
    """What the parent has gathered must not leave twice."""
    ticking = getattr(_thread, "ticking", None)
    if ticking is not None:
        ticking._flush_gathered()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
