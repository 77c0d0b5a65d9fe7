# SPDX-License-Identifier: MIT
"""The engine in plain Python: where nothing is compiled, and the oracle of the tests.

The rules are those of docs/design.md, kept in a plain way: every tick compares the map with what it was and asks
everyone if Python code ran, in one pass that also says what each is to be watched for. The files beside this one hold
a noun each: `registry` (an entry of the map), `channel`, `calls`, `poller`, `turn` (whose thread it is) and
`arguments`.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from errno import EBADF, EOPNOTSUPP
from operator import is_
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet, WeakValueDictionary

from .._patched import is_patched, wait
from .._report import ERROR, report
from .arguments import (
    ELSEWHERE,
    LATER,
    NOW,
    backend_name,
    checked_callback,
    debug_wanted,
    limit,
    mapping,
    number,
)
from .calls import RERAISED, Calls, ExitNow, Handle, TimerHandle
from .channel import DISCONNECTED, BufferedChannel, Channel
from .poller import NVAL, POLLERS, READ, Wake, Wants
from .registry import Kinds, Slot, interests, survey
from .turn import Turn

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BACKENDS", "BufferedChannel", "Channel", "ExitNow", "Handle", "Loop", "TimerHandle", "socket_map"]

BACKENDS: Final[tuple[str, ...]] = ("python", *POLLERS)  # "python": the best of the others

socket_map: dict[int, Any] = {}

_ROUNDS: Final = 4  # of questions before a wait, where predicates change the map: they must not keep the loop from it

_LAST_FD: Final = 2**31 - 1  # a descriptor is an int of C


class Loop:
    """Serves the channels of one map, and calls that were queued for it.

    ``map``: the dict of channels; None: one of its own. ``backend``: a name of `BACKENDS`; None: what CYNCORE_BACKEND
    says, else the best. ``debug``: are calls from a wrong thread to be refused; None: what CYNCORE_DEBUG and ``-X dev``
    say.
    ValueError for an unknown backend, and for a map that has a loop already.
    """

    def __init__(self, map: Any = None, *, backend: str | None = None, debug: bool | None = None) -> None:
        self._closed = True  # until there is something to close
        self._backend = backend_name(backend, BACKENDS)
        self._map: Any = {} if map is None else mapping(map)
        self._poller = next(iter(POLLERS.values())) if self._backend == "python" else POLLERS[self._backend]
        self.debug = debug_wanted() if debug is None else bool(debug)
        self._slots: dict[int, Slot] = {}
        self._taken: tuple[list[int], list[Any]] | None = None  # descriptors and channels that the slots were made of
        self._kinds = Kinds()
        self._states_known = False  # do the slots hold the states in which the channels were asked last?
        self._wants = Wants()
        self._held: list[int] | None = None  # sockets that hold data; None: `_wants` is not up to date
        self._touched = False  # has a predicate changed what others want?
        self._quiet: list[Slot] = []  # listeners that have paused
        self._calls = Calls()
        self._turn = Turn()
        self._stops = self._stops_done = 0  # stop() calls, and those that have ended something
        self._waits = 0
        self._owed = False  # has Python code run since everyone was asked?
        self._gathered: list[Any] = []  # channels with output to be sent before the next wait
        self._gathered_pid = self._tick_pid = _pid
        self._flushing = False
        self._waiting = False
        self._wake_lock = threading.RLock()  # the descriptor must not be closed under a thread that writes to it
        with _table_lock:
            if _loops.get(id(self._map)) is not None:
                raise ValueError(f"the map has {_loops[id(self._map)]!r} already")
            self._wake = Wake()
            self._closed = False
            _loops[id(self._map)] = self
            _everyone.add(self)
            if self._map is socket_map:
                _kept[:] = [self]

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(list(self._map.items()))} channels"
        return f"<cyncore.{type(self).__name__} {self._backend} {state} at {id(self):#x}>"

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def of(map: Any) -> Loop:
        """The loop that serves ``map``, made on first use. The channels in the map keep it."""
        with _table_lock:
            return Loop._known(map) or Loop(mapping(map))

    @staticmethod
    def _known(map: Any) -> Loop | None:
        return _loops.get(id(map))

    @property
    def map(self) -> Any:
        return self._map

    @property
    def backend(self) -> str:
        return self._backend

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def running(self) -> bool:
        """Is a thread in `run`, `run_map` or `poll`?"""
        return self._turn.depth > 0

    # Running

    def run(self, *, forever: bool = False) -> None:
        """Handles events and calls until `stop`, or, unless ``forever``, until no channel, call or timer is left.

        RuntimeError where the loop runs already.
        """
        self._check_open()
        self._check_thread("run")
        if not self._turn.take_first():
            raise RuntimeError(f"{self!r} runs already, in thread {self._turn.owner_name!r}")
        self._enter()
        try:
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
        seconds = limit(timeout)
        left = math.inf if count is None else number("count", count)
        self._check_open()
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
        seconds = limit(timeout)
        self._check_open()
        self._check_thread("poll")
        if not self._turn.take(seconds):
            return 0
        self._enter()
        try:
            return self._tick(seconds, True, lambda: True)
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
            self._check_open()
            self._wake.set()

    def close(self) -> None:
        """Drops what is queued and lets go of the channels, which stay open and in the map.

        RuntimeError while it runs.
        """
        if not self._turn.take_first():
            raise RuntimeError(f"{self!r} cannot be closed while it runs")
        try:
            with self._wake_lock, _table_lock:
                if self._closed:
                    return
                self._closed = True
                self._wake.close()
                del _loops[id(self._map)]
                _everyone.discard(self)
                if self in _kept:
                    _kept.clear()
            self._calls.clear()
            for _, channel in list(self._map.items()):
                if isinstance(channel, Channel) and channel._loop is self:
                    channel._loop = None
            self._slots.clear()
            self._taken = None
            self._quiet.clear()
        finally:
            self._turn.give_back()

    def fileno(self) -> int:
        """OSError (EOPNOTSUPP): there is no descriptor that would tell that something is ready."""
        self._check_open()
        raise OSError(EOPNOTSUPP, f"{self!r} has no descriptor: its poller is rebuilt at every tick")

    # Calls

    def time(self) -> float:
        """Seconds on the clock that timers go by."""
        return time.monotonic()

    def next_deadline(self) -> float | None:
        """The moment at which the loop has something to do even if no descriptor becomes ready; None: never."""
        self._check_open()
        if self._calls.queued() or any(slot.holds_data() for slot in self._slots.values()):
            return self.time()
        return min(self._moments(), default=None)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Handle:
        """Calls ``callback(*args)`` in the next tick, after what was queued before."""
        self._check_open()
        self._check_thread("call_soon")
        handle = Handle(checked_callback(callback), args)
        self._calls.add(handle)
        return handle

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> Handle:
        """`call_soon` for other threads and for signal handlers: ends the wait, too."""
        handle = Handle(checked_callback(callback), args)
        with self._wake_lock:
            self._check_open()
            self._calls.add(handle)
            self._wake.set()
        return handle

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Calls ``callback(*args)`` once ``seconds`` have gone by."""
        self._check_open()
        self._check_thread("call_later")
        delay = number("seconds", seconds)
        if not 0 <= delay < math.inf:
            raise ValueError(f"seconds must be a finite number from 0 on, not {seconds!r}")
        return self._add_timer(self.time() + delay, callback, args)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Calls ``callback(*args)`` when `time` has reached ``when``; in the next tick if it has already."""
        self._check_open()
        self._check_thread("call_at")
        moment = number("when", when)
        if not math.isfinite(moment):
            raise ValueError(f"when must be a finite number, not {when!r}")
        return self._add_timer(moment, callback, args)

    def _add_timer(self, when: float, callback: Callable[..., object], args: tuple[Any, ...]) -> TimerHandle:
        handle = TimerHandle(when, checked_callback(callback), args)
        self._calls.add_timer(handle)
        return handle

    def handle_exception(self, error: BaseException, handle: Handle) -> None:
        """A queued call raised ``error``: logs it. To be overridden; what it raises leaves the loop."""
        report(ERROR, "a call of %r failed", handle, error=error)

    # Turns, forks and threads

    def _enter(self) -> None:
        """The turn is ours: from here to `_leave` the loop runs."""
        if self._closed:  # while we waited for our turn
            self._turn.give_back()
            self._check_open()
        self._turn.enter()

    def _leave(self) -> None:
        if self._turn.depth == 1:
            self._stops_done = self._stops
        self._turn.leave()

    def _after_fork(self) -> None:
        """In the child: the wake-up must not reach the parent, and another thread's turn will never end."""
        self._wants.put(self._wake.fd, 0)
        self._wake.close()
        self._wake = Wake()
        self._wake_lock = threading.RLock()
        self._turn.after_fork()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"{self!r} is closed")

    def _check_thread(self, method: str) -> None:
        if self.debug and self._turn.is_foreign():
            here, owner = threading.current_thread().name, self._turn.owner_name
            raise RuntimeError(f"{method}() of {self!r} was called in thread {here!r}, but it runs in thread {owner!r}")

    # One tick

    def _tick(self, timeout: float | None, sweep: bool, alive: Callable[[], bool]) -> int:
        """Calls, settles, waits, dispatches. ``sweep``: ask all predicates; ``alive``: is there a reason to wait?"""
        outer = getattr(_thread, "ticking", None)
        if outer is not None:
            outer._flush()  # whoever made this tick may wait for the answer
        _thread.ticking = self
        self._tick_pid = _pid
        try:
            return self._steps(timeout, sweep, alive)
        finally:
            try:
                self._flush()
            finally:
                _thread.ticking = outer

    def _steps(self, timeout: float | None, sweep: bool, alive: Callable[[], bool]) -> int:
        stops = self._stops
        self._run_calls(stops)
        if self._stops != stops:
            return 0
        self._flush()
        with self._wake.told_of_signals():
            self._settle(sweep)
            if self._gathered:  # a predicate has written
                self._flush()
                self._ask(False)
            waits = not self._calls.queued()
            self._waiting = True  # what a signal handler pushes leaves at once
            try:
                events = self._wait(timeout, alive)
            finally:
                self._waiting = False
        if (
            waits
            and not events
            and self._stops == stops
            and not self._calls.empty()
            and self._calls.timer_due(self.time())
        ):
            self._run_calls(stops)  # what ended the wait need not wait for the next tick
        return self._dispatch(events, stops)

    def _run_calls(self, stops: int) -> None:
        if self._calls.empty():
            return
        mark = self._calls.begin(self.time())
        while self._stops == stops and (handle := self._calls.take(mark)) is not None:
            self._owed = True
            try:
                handle._run()
            except RERAISED:
                raise
            except BaseException as error:  # asyncore knew no calls; the contract says: to handle_exception
                self.handle_exception(error, handle)

    # Output that handlers have left to be sent

    def _sending(self) -> str:
        """When is output to leave that this thread has for a channel? NOW: the turn is taken until `_sent`."""
        ticking = getattr(_thread, "ticking", None) is self and self._tick_pid == _pid
        if ticking and not self._waiting and not self._flushing:
            return LATER
        return NOW if self._turn.take(0) else ELSEWHERE

    def _sent(self) -> None:
        self._turn.give_back()

    def _gather(self, channel: Any) -> None:
        self._gathered_pid = _pid
        self._gathered.append(channel)

    def _is_copy(self) -> bool:
        """Was what is gathered gathered by another thread of the parent, before a fork?"""
        return bool(self._gathered) and self._gathered_pid != _pid

    def _flush(self) -> None:
        """One channel's trouble does not keep the others' output back."""
        if not self._gathered:
            return
        within, self._flushing = self._flushing, True  # a handler of a flush runs the loop, or forks: it goes on
        leaving: BaseException | None = None
        try:
            while self._gathered:
                channel = self._gathered.pop(0)
                if not channel._ChatChannel__flush_queued:
                    continue
                try:
                    self._flush_one(channel)
                except BaseException as error:  # the others first
                    leaving = error
        finally:
            self._flushing = within
        if leaving is not None:
            raise leaving

    def _flush_one(self, channel: Any) -> None:
        try:
            channel._ChatChannel__flush_at_end()
        except RERAISED:
            raise
        except OSError as error:
            if error.errno in DISCONNECTED:
                channel.handle_close()
            else:
                channel.handle_error()
        except BaseException:  # as if it had left the handler that wrote
            channel.handle_error()
        slot = self._slots.get(channel._fileno)
        if slot is not None:
            slot.touch()

    def _settle(self, sweep: bool) -> None:
        """Takes over the map as it is, and asks the predicates that are to be asked."""
        self._kinds = Kinds()
        self._read_map()
        everyone, self._owed = sweep or self._owed, False
        for _ in range(_ROUNDS):
            self._ask(everyone)
            if not self._read_map():
                break  # else a predicate has added channels or taken some out, and others may know of it

    def _read_map(self) -> bool:
        """Makes the slots those of the map. Returns whether that changed any."""
        if self._is_taken():
            return False
        items = {fd: channel for fd, channel in list(self._map.items()) if fd is not None}  # no descriptor yet
        changed = False
        for fd, channel in list(items.items()):
            if not isinstance(fd, int) or not 0 <= fd <= _LAST_FD:
                self._refuse(items.pop(fd), fd)
                continue
            slot = self._slots.get(fd)
            if slot is None or slot.obj is not channel:
                changed = True
                self._forget(fd)
                self._slots[fd] = Slot(fd, channel)
                if isinstance(channel, Channel) and channel._loop is None:
                    channel._loop = self
        for fd in self._slots.keys() - items.keys():
            changed = True
            self._forget(fd)
        self._taken = list(items), list(items.values())
        return changed

    def _is_taken(self) -> bool:
        """Is the map as it was when it was read last? Compared by identity: channels may be equal to others."""
        if self._taken is None or type(self._map) is not dict:
            return False
        fds, channels = self._taken
        if not len(fds) == len(self._map) == len(self._slots):
            return False
        return fds == list(self._map) and all(map(is_, channels, list(self._map.values())))

    def _ask(self, everyone: bool) -> None:
        if everyone:
            self._states_known = self._touched = False
            self._held = survey(self._slots, self._map, self._kinds, self._wants)
            return
        self._held = None
        everyone, self._states_known = not self._states_known, True
        for slot in list(self._slots.values()):
            if self._current(slot):
                slot.settle(everyone)

    def _refuse(self, channel: Any, key: object) -> None:
        """A key that is no descriptor costs its channel, not the loop."""
        del self._map[key]
        try:
            raise OSError(EBADF, f"{key!r}, the key of {channel!r} in the map, is no descriptor")
        except OSError:  # so that handle_error() finds an exception being handled, as ever
            channel.handle_error()

    def _wait(self, timeout: float | None, alive: Callable[[], bool]) -> list[tuple[Slot, int]]:
        """Waits at most ``timeout`` seconds. A signal does not end that, but may have changed what to wait for."""
        end = math.inf if timeout is None else self.time() + timeout
        while (events := self._wait_once(timeout, alive)) is None:
            timeout = None if timeout is None else max(0.0, end - self.time())
            self._settle(False)
        return events

    def _wait_once(self, timeout: float | None, alive: Callable[[], bool]) -> list[tuple[Slot, int]] | None:
        """What is ready; None: nothing, but a signal came."""
        slots = dict(self._slots)
        held, self._held = self._held, None
        if held is None or self._touched:
            held = interests(slots, self._wants)
        self._waits += 1
        limit = 0.0 if held or not alive() else self._longest_wait(timeout)
        ready, woken = self._ask_kernel(limit)
        if limit != 0.0 and not ready:
            self._owed = True  # other threads had the time to change what predicates say
        self._owed = self._owed or woken is not None
        for fd in held:
            ready[fd] = ready.get(fd, 0) | READ
        if woken is False and not ready:
            return None
        for fd in ready.keys() - slots.keys():  # another thread has taken it out meanwhile
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
        if self._quiet:
            now = self.time()
            self._quiet = [slot for slot in self._quiet if slot.quiet_until > now and self._is_known(slot)]
            moments = [slot.quiet_until for slot in self._quiet]
        timer = self._calls.next_timer()
        return moments if timer is None else [timer, *moments]

    def _dispatch(self, events: list[tuple[Slot, int]], stops: int) -> int:
        this_wait = self._waits
        delivered = 0
        for slot, ready in events:
            if self._stops != stops:
                break  # the rest is pending in the kernel still
            if not self._current(slot) or slot.served > this_wait:
                continue  # gone, or a loop inside a handler has served it since
            slot.served = this_wait
            self._owed = True
            if ready & NVAL:
                self._remove(slot)
                delivered += 1
            else:
                delivered += slot.deliver(ready, self._current)
                if slot.quiet_until > 0.0:
                    self._quiet.append(slot)
        return delivered

    def _remove(self, slot: Slot) -> None:
        """The descriptor was closed behind our back."""
        try:
            slot.obj.handle_close()
        finally:
            if self._current(slot):
                del self._map[slot.fd]
                self._forget(slot.fd)

    def _current(self, slot: Slot) -> bool:
        return self._is_known(slot) and self._map.get(slot.fd) is slot.obj

    def _is_known(self, slot: Slot) -> bool:
        return self._slots.get(slot.fd) is slot

    def _forget(self, fd: int) -> None:
        slot = self._slots.pop(fd, None)
        if slot is not None:
            slot.gone = True
            self._wants.put(fd, 0)
        self._taken = None

    def _touch(self, fd: int | None) -> None:
        """What the channel wants has changed without a question."""
        self._touched = True
        slot = self._slots.get(-1 if fd is None else fd)
        if slot is not None:
            slot.usual = False

    def _occupied(self) -> bool:
        return bool(self._map) or self._calls.queued() or self._calls.next_timer() is not None


_loops: WeakValueDictionary[int, Loop] = WeakValueDictionary()  # by the id of their map
_kept: list[Loop] = []  # the one of socket_map
_everyone: WeakSet[Loop] = WeakSet()
_table_lock = threading.RLock()
_pid = os.getpid()  # of this process; kept, because it is a system call that every tick would need
_thread = threading.local()  # .ticking: the loop whose tick is in progress in this thread, the innermost one


def _after_fork() -> None:
    global _table_lock, _pid
    _table_lock = threading.RLock()
    _pid = os.getpid()
    for loop in list(_everyone):
        loop._after_fork()


def _before_fork() -> None:
    """What the parent has gathered must not leave twice."""
    ticking = getattr(_thread, "ticking", None)
    if ticking is not None:
        ticking._flush()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
