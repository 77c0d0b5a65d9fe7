# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Loop: the methods that programs call, and the tick: due calls, predicates, the wait, the events, the flush.

The rules are in docs/design.md, "One tick". Any handler may close any channel, change the map, run the loop again,
fork, or raise. So nothing that was read before a call into Python is trusted after it.
"""

import os
import select
from _thread import TIMEOUT_MAX

from cpython.dict cimport PyDict_GetItemWithError
from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_GET_ITEM, PyList_SET_ITEM
from cpython.long cimport PyLong_AsLongAndOverflow
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EAGAIN, EINTR
from libc.limits cimport LONG_MAX
from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.stdlib cimport free, malloc

from .calls cimport Calls, Handle, TimerHandle, are_queued, has_timers
from .channel cimport Channel
from .csrc cimport (
    CYN_NVAL,
    CYN_READ,
    CYN_STAMP,
    cyn_clock,
    cyn_event,
    cyn_nap,
    cyn_others_blocked,
    cyn_poller_is_busy,
    cyn_poller_wanted,
    cyn_probe_call,
    cyn_timers_mark,
    cyn_times_note,
    cyn_wake_fd,
    cyn_yield,
)
from .dispatch cimport BATCH
from .inspection cimport Inspection
from .internals cimport cyn_dict_version, cyn_has_threads, cyn_see_int, cyn_set_int, cyn_set_thread
from .predicates cimport PAUSE, PIECE, PIECES, SWEEP_SHARE
from .registry cimport (
    ASK_AGAIN,
    ASK_SELDOM,
    SCRATCH,
    failure,
    is_map_changed,
    map_size,
    registry_of,
    tick_time,
    ticking_here,
)
from .watcher cimport EXITS, FLUSH_QUEUED

from .. import _patched
from .. import _rules
from .._report import ERROR, WARNING, report
from .._spin import LOOK_EVERY
from .registry import BACKENDS, make_loops_with
from .traits import guard

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()
    bint PyCFunction_CheckExact(object thing)

cdef enum:
    WHILE_CHANNELS = 1  # a tick waits only while the map has channels
    WHILE_ANYTHING = 2  # a tick waits only while the map has channels, or a call or a timer is left

cdef enum:
    TIMED_EVERY = 128  # as in `_rules`

cdef unsigned POLL_FIRST_EVERY = 16   # every so many ticks, one polls without blocking first in any case

cdef Py_ssize_t FEW = 256             # asking so many channels takes less time than releasing the GIL
cdef int64_t LONG_WAIT = 10_000_000   # ns; in a wait that may be longer, no signal may be missed
cdef int TIMERS_AT_ONCE = _rules.TIMERS_AT_ONCE
cdef int64_t TIMERS_SHARE = <int64_t> (_rules.TIMERS_SHARE * 1e9)
cdef int64_t WANTED = 20_000          # ns; if it takes longer to get the GIL back after a wait, another thread had it
cdef long NAP_MORE = 10_000           # ns that a nap is longer after one in which nobody has blocked
cdef int MOST_QUIET = 8               # of these
cdef int64_t HOLD = 100_000           # ns for which a busy loop keeps the GIL from threads that want it for a moment
cdef int64_t HOLD_MORE = 500_000      # ns; the same at most, where offers are not seen to be taken
cdef int64_t HOLD_INTERVAL = 6_000_000  # ns; in this time Python takes the GIL away for a thread that waits
cdef int MOST_MISSES = 16             # offers that nobody was seen to take, until there are none for that time
cdef int64_t LOOK_SHARE = 50          # after a look for such threads that took t there is none for 50 t
cdef int64_t COMPUTES = 4_000_000     # ns; a thread that keeps the GIL for so long computes: all of a switch interval
cdef unsigned long SPINS_FOR = 4096   # ticks; a loop in which handlers were seen to do nothing is doubted for so long
cdef int64_t HOLD_LONG = 50_000_000   # ns for which nothing is offered to such a thread: it takes its share by itself

socket_map = {}
cdef Loop _socket_map_loop = None  # the loop of socket_map, which is kept for good


cdef object _network = None  # makes the network of a loop


def set_network(make):
    """Sets what makes the network of a loop: its servers and clients, which are built on this module."""
    global _network
    _network = make


cdef dict _of_select = vars(select)
cdef unsigned long long _select_version = 0  # the version of that dict when it was read last
cdef bint _elsewhere = False                 # whether select.select was replaced by then


cdef inline bint waits_elsewhere() except -1:
    """Returns True if gevent, or a library like it, has replaced `select.select` by a wait of its own."""
    cdef unsigned long long version = cyn_dict_version(_of_select)
    return look_at_select(version) if version == 0 or version != _select_version else _elsewhere


cdef bint look_at_select(unsigned long long version) except -1:
    global _elsewhere, _select_version
    cdef PyObject *found = PyDict_GetItemWithError(_of_select, "select")
    cdef bint elsewhere = found is not NULL and not PyCFunction_CheckExact(<object> found)
    if version:  # 0: not known, and then this is asked each time; so it is in a build without the GIL
        _elsewhere = elsewhere
        _select_version = version
    return elsewhere


cdef int64_t _nanoseconds(object seconds, str what) except -2:
    """Seconds as nanoseconds; None, which means without end, as -1. ValueError below zero."""
    cdef double value
    cdef int beyond = 0  # 1: the integer is above those of C; -1: below
    if seconds is None:
        return -1
    if type(seconds) is int:
        value = PyLong_AsLongAndOverflow(seconds, &beyond)
        if beyond > 0:
            return -1
    else:
        value = seconds if type(seconds) is float else _rules.number(what, seconds)
    if not value >= 0.0:
        raise ValueError(f"{what} must not be below zero: {seconds!r}")
    return <int64_t> (value * 1e9) if value < 9e9 else -1


cdef long _rounds(object count) except? -1:
    cdef int beyond = 0
    cdef long left
    if type(count) is not int:
        return _rules.rounds(count)
    left = PyLong_AsLongAndOverflow(count, &beyond)
    return LONG_MAX if beyond > 0 else left


cdef int _check_map(object map) except -1:
    _rules.check_map(map)
    return 0


cdef inline bint is_owing(Loop loop) noexcept:
    """Returns True if output must be sent before the next wait."""
    return loop.gathered_at < loop.gathered_count


cdef inline Channel next_gathered(Loop loop):
    """Takes the next channel out of those whose output is gathered."""
    cdef Channel channel = <Channel> PyList_GET_ITEM(loop.gathered, loop.gathered_at)
    Py_INCREF(None)
    PyList_SET_ITEM(loop.gathered, loop.gathered_at, None)
    Py_DECREF(channel)  # that of the list; `channel` holds one of its own
    loop.gathered_at += 1
    if loop.gathered_at == loop.gathered_count:
        loop.gathered_at = loop.gathered_count = 0
    return channel


cdef class Loop(Inspection):
    """An event loop over a map of channels.

    ``map``: the dict (fd -> channel) to serve; None: one of its own. ``backend``: the name of a poller from `BACKENDS`;
    None: that of ``CYNCORE_BACKEND`` in the environment, else the best. ``debug``: check that calls come from the
    loop's own thread; None: as ``CYNCORE_DEBUG`` or Python's development mode says.

    A loop belongs to the thread that runs it. Other threads may call `call_soon_threadsafe`, `wake` and `stop`.
    ValueError for an unknown backend, and for a map that has a loop already. OSError where the poller cannot be opened.
    """

    def __init__(self, map=None, *, backend=None, debug=None):
        global _socket_map_loop
        if self.calls is not None:
            raise RuntimeError(f"{self!r} is initialised already")
        backend = _rules.backend_name(backend, BACKENDS)
        if debug is None:
            debug = _rules.debug_wanted()
        if map is None:
            map = {}
        _check_map(map)
        if registry_of(map) is not None:
            raise ValueError(f"the map has a loop already: {registry_of(map)!r}")
        self.debug = debug
        if debug:
            self.slow_handler_limit = _rules.SLOW_IN_DEBUG_MODE
        if self.scratch is NULL:  # else one that did not succeed was before
            self.scratch = <char *> malloc(SCRATCH)
        if self.scratch is NULL:
            raise MemoryError
        calls = Calls()
        self.late = []
        if self.calls is not None:  # what was called above may be the program's, and may have called this
            raise RuntimeError(f"{self!r} is initialised already")
        self.serve(map, backend)
        self.calls = calls  # no other thread can run before this, and find a loop that is not finished
        self.is_closed = False
        if map is socket_map:
            _socket_map_loop = self

    def __dealloc__(self):
        free(self.scratch)
        free(self.lent)
        free(self.arena)

    @staticmethod
    def of(map):
        """Returns the loop that serves ``map``, and makes it at its first use.

        It lives while a channel is in the map, or while there is a reference to it. The loop of `socket_map` lives for
        good.
        """
        cdef Loop loop = <Loop> registry_of(map)
        if loop is None:
            _check_map(map)
            try:
                return Loop(map)
            except ValueError:
                loop = <Loop> registry_of(map)  # made by another thread just now
                if loop is None:
                    raise
        return loop

    @property
    def backend(self):
        """The name of the poller in use."""
        return self.backend_name

    @property
    def closed(self):
        """True after `close`."""
        return self.is_closed

    @property
    def running(self):
        """True while a tick is in progress, in any thread."""
        if not self.is_closed:
            self.check_fork()
        return cyn_see_int(&self.depth) > 0

    @property
    def slow_handler_limit(self):
        """Seconds after which a handler, a predicate or a callback is slow, and is logged; None: none is.

        ValueError if it is set to zero or below.
        """
        return self.slow_after / 1e9 if self.slow_after else None

    @slow_handler_limit.setter
    def slow_handler_limit(self, seconds):
        limit = _rules.slow_limit(seconds)
        self.slow_after = 0 if limit is None else <int64_t> max(1.0, min(limit, 9e9) * 1e9)
        self.closely = 0 if self.slow_after else <unsigned long> LOOK_EVERY - 1

    def __repr__(self):
        if self.is_closed:
            return f"<cyncore.Loop closed at {<size_t> <PyObject *> self:#x}>"
        return f"<cyncore.Loop {self.backend} {self.owner_count} channels at {<size_t> <PyObject *> self:#x}>"

    def __enter__(self):
        self.check("__enter__")
        return self

    def __exit__(self, kind, error, trace):
        self.close()

    # Running

    def run(self, *, forever=False):
        """Serves until `stop`; unless ``forever``, also until there is no channel, no queued call and no timer left.

        RuntimeError if the loop runs already or is closed. ExitNow, KeyboardInterrupt and SystemExit from a handler or
        callback end it and are raised here, as is whatever ``handle_error`` raises.
        """
        self.check("run")
        if cyn_see_int(&self.depth):
            raise RuntimeError(f"{self!r} runs already, in thread {_rules.thread_name(self.owner_thread)}")
        cdef bint once = self.take_stop()
        turn = self.turn
        turn.acquire()
        if not (forever or once or self.waits or self.owners or self.is_left(WHILE_ANYTHING)):
            if cyn_timers_mark(&self.calls.timers) == 0:
                report(WARNING, _rules.NOTHING_TO_RUN, self)
        try:
            while True:
                self.tick(0 if once else -1, False, 0 if forever else WHILE_ANYTHING)
                if once or cyn_see_int(&self.stopping) or not (forever or self.is_left(WHILE_ANYTHING)):
                    return
        finally:
            self.leave(turn)

    def run_map(self, timeout=30.0, count=None):
        """Serves while the map is not empty, in rounds that wait at most ``timeout`` seconds (None: without end).

        ``count``: how many rounds at most. This is what ``asyncore.loop`` does. A handler may call it again; a second
        thread waits for its turn. `stop` ends it. ValueError for a timeout below zero, RuntimeError where the loop is
        closed.
        """
        cdef int64_t limit = _nanoseconds(timeout, "timeout")
        cdef bint counted = count is not None, once
        cdef long left = _rounds(count) if counted else 1
        self.check("run_map")
        once = self.take_stop()
        turn = self.turn
        while left > 0 and map_size(self.map):
            if not turn.acquire(True, -1 if limit < 0 else min(limit / 1e9, TIMEOUT_MAX)):
                left -= counted  # another thread served the map for all of the timeout
                continue
            try:
                while left > 0 and map_size(self.map):
                    self.tick(0 if once else limit, counted, WHILE_CHANNELS)
                    left -= counted
                    if once or cyn_see_int(&self.stopping):
                        return
            finally:
                self.leave(turn)

    def poll(self, timeout=0.0):
        """One tick, waiting at most ``timeout`` seconds (None: without end). Returns how many events were delivered.

        Runs the calls and timers that are due, too. ValueError for a timeout below zero, RuntimeError where the loop is
        closed.
        """
        cdef int64_t limit = _nanoseconds(timeout, "timeout")
        cdef bint is_done = False
        self.check("poll")
        turn = self.turn
        if not turn.acquire(True, -1 if limit < 0 else min(limit / 1e9, TIMEOUT_MAX)):
            return 0
        self.take_stop()  # an earlier stop is meant for `run`; its wake-up ends the wait of this tick all the same
        try:
            delivered = self.tick(limit, True, 0)
            if self.hosted:
                # Before the host waits, the kernel must have every interest that handlers have changed.
                self.prepare_outside(self.is_stale() and not self.is_asking())
                if self.late:
                    self.wake()
            is_done = True
            return delivered
        finally:
            if self.hosted and not is_done and not self.is_closed:
                self.wake()  # the host may go on, and what the rest of the tick was to do is still to be done
            self.leave(turn)

    cdef bint take_stop(self) noexcept:
        """Clears a stop that came before the loop ran, and returns True: then one tick is made, which does not wait."""
        cdef bint once = cyn_see_int(&self.stopping) and self.depth == 0
        if once:
            cyn_set_int(&self.stopping, False)
        return once

    cdef int leave(self, object turn) except -1:
        if self.figures.since and self.depth == 0:
            cyn_times_note(&self.figures.lag, cyn_clock() - self.figures.since)
            self.figures.since = 0
        if self.depth == 0:
            cyn_set_int(&self.stopping, False)
            if self.is_told:
                try:
                    self.stop_hearing()
                finally:
                    turn.release()
                return 0
        turn.release()
        return 0

    def stop(self):
        """Ends `run` or `run_map` after the present handler or callback. The rest stays pending. Any thread."""
        if not self.is_closed:
            self._stops += 1
            cyn_set_int(&self.stopping, True)
            self.wake()

    def close(self):
        """Closes the poller, and drops the queued calls and the timers. The map and its channels stay as they are.

        Does nothing the second time. RuntimeError while the loop runs.
        """
        if self.is_closed:
            return
        if self.depth:
            raise RuntimeError(f"{self!r} cannot be closed while it runs")
        self.check_fork()
        global _socket_map_loop
        if self.hosting is not None:
            self.hosting.stop()  # while the host can still let go of the descriptor
        if self.network is not None:
            self.network.closed()
        self.end_watch()
        self.leave_map()
        self.calls.clear()
        if _socket_map_loop is self:
            _socket_map_loop = None

    def fileno(self, *, timers=True):
        """Returns a descriptor for another loop to watch, which hosts this one. It is readable when `poll` has work.

        There is work if events wait, a timer is due, a call is queued, or a channel was changed outside of `poll`. The
        child of a fork must call this again. ``timers``: False if the host asks for `next_deadline` after each
        `poll`, which saves system calls; then the descriptor tells of no timers.

        A loop over poll or select goes on with epoll or kqueue. OSError (ENOTSUP) if this platform has neither,
        RuntimeError if that change is needed while another thread runs the loop.
        """
        self.check("fileno")
        cdef int fd = self.poller_fd()
        if fd < 0 and fd != -EAGAIN:  # EAGAIN: the child of a fork has not prepared yet
            if not self.turn.acquire(False):
                raise RuntimeError(f"{self!r} cannot be hosted while it runs, in thread "
                                   f"{_rules.thread_name(self.owner_thread)}")
            try:
                self.have_descriptor()
            finally:
                self.turn.release()
        self.hosted = True
        self.poller.tries = False  # a host waits for what the kernel tells
        self.rings = timers
        if not self.runs_elsewhere():
            self.prepare_outside(True)
        return self.poller_fd()

    cdef int prepare_outside(self, bint sweep_all) except -1:
        """Calls `prepare` outside of a tick. It counts as running, so that no predicate can close the loop."""
        cyn_set_int(&self.depth, self.depth + 1)
        cyn_set_thread(&self.owner_thread, PyThread_get_thread_ident())
        try:
            self.prepare(sweep_all)
        finally:
            cyn_set_int(&self.depth, self.depth - 1)
            self.now = 0
        if self.hosted:
            self.set_alarm()
        return 0

    def next_deadline(self):
        """Returns when `poll` next has work though no event comes, in seconds of `time`; None: never.

        That is when the next timer is due, or at once if a call is queued. It changes with every `poll` and every call
        that sets a timer.
        """
        self.check_open("next_deadline")
        if are_queued(self.calls):
            return self.time()
        cdef int64_t due = self.calls.next_due()
        if self.hosted:
            due = min(due, self.work_at)
        return None if due == INT64_MAX else due / 1e9

    def time(self):
        """Returns the time now, in seconds of the monotonic clock. Any thread."""
        return cyn_clock() / 1e9

    # Calls

    def call_soon(self, callback, *args):
        """Calls ``callback(*args)`` in the next tick. Returns a `Handle`. TypeError if it cannot be called."""
        self.check("call_soon")
        return self.queue(callback, args)

    def call_soon_threadsafe(self, callback, *args):
        """Does what `call_soon` does, from any thread, and ends a wait in progress."""
        self.check_open("call_soon_threadsafe")
        handle = self.queue(callback, args)
        self.wake()
        return handle

    def call_later(self, seconds, callback, *args):
        """Calls ``callback(*args)`` once, after ``seconds``. Returns a `TimerHandle`. ValueError if below zero."""
        self.check("call_later")
        cdef double delay = seconds if type(seconds) is float else _rules.number("seconds", seconds)
        if not delay >= 0.0:
            raise ValueError(f"call_later: seconds must not be below zero: {seconds!r}")
        if self.debug:
            return self.have_checked(self.add_timer(cyn_clock() / 1e9 + delay, callback, args))
        return self.add_timer(cyn_clock() / 1e9 + delay, callback, args)

    def call_at(self, when, callback, *args):
        """Calls ``callback(*args)`` once, at ``when`` in seconds of `time`; if that has passed, in the next tick."""
        self.check("call_at")
        cdef double moment = when if type(when) is float else _rules.number("when", when)
        if self.debug:
            return self.have_checked(self.add_timer(moment, callback, args))
        return self.add_timer(moment, callback, args)

    cdef TimerHandle have_checked(self, TimerHandle handle):
        """Has `cancel` of a timer look which thread calls it."""
        if self.calls.owner is None:
            from weakref import ref

            self.calls.owner = ref(self)
        handle.is_checked = True
        return handle

    def _check_cancel(self):
        self.check("TimerHandle.cancel")

    # Servers and clients, which are above the engine

    cdef object services(self):
        if self.network is None:
            self.network = _network(self)
        return self.network

    def listen(self, address, factory, **options):
        """Listens on ``address``, and makes a stream by ``factory()`` for each connection. Returns the server."""
        self.check("listen")
        return self.services().listen(address, factory, **options)

    def connect(self, address, factory, **options):
        """Connects to ``address``, for a stream made by ``factory()``. Returns the stream at once."""
        self.check("connect")
        return self.services().connect(address, factory, **options)

    def open_pipe(self, file, factory):
        """Serves a pipe, a terminal or a file, by a stream made by ``factory()``. Returns the stream at once.

        ``file``: a descriptor or an open file, which the stream takes over and closes. Descriptors 0, 1 and 2 stay
        open, and do not become non-blocking. TypeError for what is none of these, ValueError for a socket or a folder,
        OSError for what is not open, NotImplementedError on Windows.
        """
        self.check("open_pipe")
        return self.services().open_pipe(file, factory)

    def spawn(self, args, factory, **options):
        """Starts a program, and returns the `Process` that ``factory()`` has made. It blocks until the program runs.

        ``args``: the words, as `subprocess.Popen` takes them. ``stdin``, ``stdout``, ``stderr``: a class of streams,
        or what is called for one, makes a pipe; the rest is that of Popen: None (inherited), DEVNULL, an open file, a
        descriptor, or STDOUT. The other options are Popen's, too: ``cwd``, ``env``, ``shell``, ``start_new_session``
        ... OSError if it cannot be started, TypeError for what makes no sense, RuntimeError outside of the main thread
        if the system has no pidfd, NotImplementedError on Windows.
        """
        self.check("spawn")
        return self.services().spawn(args, factory, **options)

    def bind(self, address, factory, **options):
        """Opens a socket of datagrams at ``address``, for a `Datagram` made by ``factory()``, which it returns."""
        self.check("bind")
        return self.services().bind(address, factory, **options)

    def drain(self, seconds):
        """Ends the work in order: no new connections, the idle closed, what is left after ``seconds`` aborted."""
        self.check("drain")
        self.services().drain(seconds)

    def drain_on_signals(self, seconds):
        """Has SIGTERM and SIGINT drain the loop and then end its run; a second one ends it now. Main thread only."""
        self.check("drain_on_signals")
        self.services().drain_on_signals(seconds)

    def serve_stats(self, address=None, **options):
        """Shows the figures and the channels by HTTP, to this machine alone. Returns the server of it.

        ``address``: a host and port of the loopback interface, or the path of a Unix socket, which only this user can
        open; None: a socket that ``python -m cyncore top PID`` finds. ``interval``: seconds between two looks, while
        somebody watches. ``max_viewers``: how many may watch at once. ValueError for an address of another interface,
        OSError where it cannot listen.
        """
        self.check("serve_stats")
        return self.services().serve_stats(address, **options)

    def add_signal_handler(self, number, callback, *args):
        """Has ``callback(*args)`` called in the next tick when the signal ``number`` comes, which ends a wait at once.

        To be called in the main thread; the loop may run in another one. A handler of the program that was set before
        is called first; SIG_DFL, SIG_IGN and Python's own handler of SIGINT are not. RuntimeError in another thread,
        TypeError if it cannot be called, ValueError or OSError for a signal that there is none of, or that nobody can
        handle.
        """
        self.check("add_signal_handler")
        self.services().signals.add(number, callback, args)

    def remove_signal_handler(self, number):
        """Takes back all that `add_signal_handler` has added for the signal ``number``; what was before is put back.

        Returns True if there was any. To be called in the main thread: RuntimeError in another one.
        """
        self.check("remove_signal_handler")
        return self.services().signals.remove(number)

    def handle_exception(self, error, handle):
        """Called when a callback has raised ``error``. It logs that; a subclass may do something else."""
        report(ERROR, "%r failed", handle, error=error)

    cdef int flush_gathered(self) except -1:
        """Flushes the gathered channels. If one fails, the others are flushed all the same."""
        cdef Channel channel
        cdef object leaving = None
        self.now = 0
        cdef bint within = self.flushing  # a flush may run a handler that runs the loop or forks
        self.flushing = True
        try:
            while is_owing(self):
                channel = next_gathered(self)
                try:
                    while True:  # within one try, which costs as much as a small flush
                        if channel.flags & FLUSH_QUEUED:
                            channel.flush(True)
                            if channel.loop is self and channel.polled_index >= 0:
                                channel.ask_soon()
                        if not is_owing(self):
                            break
                        channel = next_gathered(self)
                    continue
                except EXITS as error:
                    leaving = error
                except BaseException as error:
                    try:
                        channel.failed(error)
                    except BaseException as error:  # as if the handler had raised it that pushed the output
                        leaving = error
                if channel.loop is self and channel.polled_index >= 0:
                    channel.ask_soon()
        finally:
            self.flushing = within
        if leaving is not None:
            raise leaving
        return 0

    cdef int run_due(self) except -1:
        cdef Handle handle
        cdef int64_t now
        cdef bint first = True
        cdef int made = 0
        cdef uint64_t newer = cyn_timers_mark(&self.calls.timers)  # timers that a call adds wait for the next tick
        self.runs += 1
        if self.figures.since == 0:
            self.figures.since = tick_time(self)
        if are_queued(self.calls):
            self.now = 0
            self.calls.begin()
            while first or not cyn_see_int(&self.stopping):
                handle = self.calls.next()
                if handle is None:
                    break
                self.run_call(handle)
                first = False
        if has_timers(self.calls):
            now = tick_time(self)
            self.now = 0
            self.earliest = now  # a timer that a call adds for the past comes after those that are due
            try:
                while first or not cyn_see_int(&self.stopping):
                    handle = self.calls.due(now, newer)
                    if handle is None:
                        break
                    self.run_call(handle)
                    first = False
                    made += 1
                    if made % TIMERS_AT_ONCE == 0 and cyn_clock() - now > TIMERS_SHARE:
                        break  # events have waited long enough; the next tick goes on
            finally:
                self.earliest = 0
        return 0

    cdef int run_call(self, Handle handle) except -1:
        cdef int64_t begin = 0, end
        cdef unsigned long waits = self.waits
        self.figures.calls += 1
        cyn_probe_call(<void *> handle)
        if self.slow_after or self.figures.calls % TIMED_EVERY == 1:
            begin = cyn_clock()
        try:
            handle.run()
        except EXITS:
            raise
        except BaseException as error:  # a callback that fails does not end the loop
            self.figures.errors += 1
            self.handle_exception(error, handle)
        if begin and waits == self.waits:
            end = cyn_clock()
            cyn_times_note(&self.figures.handlers, end - begin)
            if 0 < self.slow_after <= end - begin:
                report(WARNING, _rules.SLOW_CALL, handle, (end - begin) / 1e9)
        return 0

    # One tick

    cdef bint is_left(self, int need) except -1:
        """Returns True if there is still something to run for: `need` says what counts."""
        return map_size(self.map) > 0 or (
            need == WHILE_ANYTHING and (are_queued(self.calls) or has_timers(self.calls))
        )

    cdef int tick(self, int64_t limit, bint sweep_all, int need) except -1:
        cdef cyn_event events[BATCH]
        cdef int count, delivered
        cdef unsigned long number
        cdef int64_t moved
        cdef Loop outer = None
        cdef void **ticking = ticking_here()  # one for each thread; a greenlet stays in its thread
        PyErr_CheckSignals()  # otherwise a tick in which no Python code runs would delay Ctrl-C
        if ticking[0] is not NULL:
            outer = <Loop> ticking[0]
            if is_owing(outer):
                outer.flush_gathered()  # the handler that runs this tick may wait for the answer to what it pushed
        if self.is_closed:  # perhaps just now, by the handler of a signal, or by what was sent
            raise RuntimeError(f"{self!r} is closed")
        cdef unsigned long calls = 0  # one more than were made before; 0 where nobody is slowed
        if self.slowed_count:
            calls = self.figures.calls - self.pauses_ended + 1
        cyn_set_int(&self.depth, self.depth + 1)
        self.now = 0
        cyn_set_thread(&self.owner_thread, PyThread_get_thread_ident())
        ticking[0] = <void *> self
        try:
            self.check_fork()
            self.tick_epoch = self.epoch
            if are_queued(self.calls) or has_timers(self.calls):
                if are_queued(self.calls) or self.calls.next_due() <= tick_time(self):
                    self.run_due()
            if self.slowed_count and (
                (limit == 0 and not self.hosted) or self.figures.calls - self.pauses_ended + 1 != calls
            ):
                self.go_on()
            if is_owing(self):
                self.flush_gathered()
            self.prepare(sweep_all)
            if is_owing(self):  # a predicate has sent something
                self.flush_gathered()
                self.prepare(False)
            if need and limit != 0 and not self.is_left(need):
                limit = 0  # due calls or predicates have closed the last channel: nothing is left to wait for
            self.waits += 1
            count = self.take_late(events) if self.late else self.fetch(events, limit, need)
            number = self.waits
            moved = self.moved() if self.fruitless else 0
            if count > 0:
                self.figures.since = tick_time(self)
                self.figures.stamp = <unsigned> (self.figures.since >> CYN_STAMP)
                if self.figures.since >= self.held_until:
                    self.offer(False)
            if number & self.closely:
                delivered = self.dispatch_batch(events, count, number)
            else:
                self.waits_on = limit != 0 or self.hosted  # a host waits for it
                delivered = self.dispatch_closely(events, count, number)
            if self.fruitless and count > 0 and moved == self.moved() and self.figures.since >= self.spins_until:
                if self.spins_on or number - self.fruitless < SPINS_FOR:
                    self.offer(True)
            if count == 0 and has_timers(self.calls) and not are_queued(self.calls):
                if self.calls.next_due() <= tick_time(self):
                    self.run_due()
            if self.slowed_count and (
                (calls and self.figures.calls - self.pauses_ended + 1 != calls)
                or self.has_run_others(events, count, number)
            ):
                self.go_on()
            return delivered
        finally:
            try:
                if is_owing(self):
                    self.flush_gathered()
            finally:
                cyn_set_int(&self.depth, self.depth - 1)
                ticking[0] = <void *> outer if outer is not None and outer.depth else NULL
                self.now = 0  # a tick around this one must read the clock again

    cdef int fetch(self, cyn_event *events, int64_t limit, int need) except -1:
        """Polls for events, or waits for them, and returns how many there are."""
        cdef int count
        cdef unsigned blocks
        if _elsewhere or (self.waits % POLL_FIRST_EVERY == 0 and waits_elsewhere()):
            self.wait_elsewhere(0)  # lets greenlets run as often as the old loop did
            self.is_calm = False
        if limit == 0 or not self.is_calm or self.must_poll_first():
            count = self.take_events(events, BATCH, 0)
            if count > 0 or limit == 0:
                self.is_calm = False
                return count if count >= 0 else self.wait_failed(count)
            count = self.wait(events, limit, need)
            self.is_calm = count <= 1
            return count
        blocks = self.blocks
        count = self.wait(events, limit, need)
        if count > 1:
            self.is_calm = False
        elif count == 0 and self.blocks == blocks:  # a timer or a call was due, so it did not wait
            count = self.take_events(events, BATCH, 0)
        return count if count >= 0 else self.wait_failed(count)

    cdef int64_t moved(self) noexcept:
        """Returns a number that every byte, connection and call changes, if it went through a channel or this loop."""
        return <int64_t> (self.figures.received + self.figures.sent + self.figures.accepts + self.figures.calls)

    cdef int offer(self, bint spins) except -1:
        """Lets other threads have the GIL, if any has been awake since the last offer.

        A busy loop releases the GIL nowhere: it polls, receives and sends without. A thread that wants it for a moment
        would wait for a switch interval, 5 ms, each time. It also needs some time to wake, so that it gets the GIL only
        if that stays free for so long. One that wakes too late begins a new interval; so after some offers that nobody
        was seen to take, there are none for longer than an interval.

        `spins`: this tick has done nothing, and handlers were seen to do nothing before. Such a loop waits for others,
        so that it offers the GIL in each tick: the old loop released it in each.
        """
        cdef int64_t begin = cyn_clock(), woken, back, hold
        cdef long blocked
        if self.hosted or not cyn_has_threads():  # a host lets go of the GIL itself
            self.held_until = self.spins_until = begin + HOLD
            return 0
        blocked = cyn_others_blocked()
        if blocked == self.others_blocked and blocked >= 0:
            back = cyn_clock()
            if not spins:
                self.held_until = back + max(HOLD, LOOK_SHARE * (back - begin))
            return 0
        self.others_blocked = blocked
        with nogil:
            if not cyn_yield(blocked):
                cyn_nap(1 + NAP_MORE * min(self.quiet_naps, MOST_QUIET))
            woken = cyn_clock()
        back = cyn_clock()
        self.quiet_naps = self.quiet_naps + 1 if blocked == cyn_others_blocked() and blocked >= 0 else 0
        if back - woken > WANTED:
            self.misses = 0
            hold = HOLD if back - woken < COMPUTES else HOLD_LONG
        elif spins:
            hold = HOLD
        else:
            self.misses += 1
            hold = min(HOLD * self.misses, HOLD_MORE)
            if self.misses >= MOST_MISSES:
                self.misses = 0
                hold = HOLD_INTERVAL
        self.held_until = back + hold
        self.spins_until = 0 if hold <= HOLD_MORE else self.held_until
        self.awoke = True
        self.now = 0
        return 0

    cdef bint must_poll_first(self) noexcept:
        """Returns True if this tick must poll without blocking before it waits.

        A wait without a poll before it saves a system call, but releases the GIL. A poll keeps the GIL. Where many
        channels have predicates, a poll finds events before all of those are asked.
        """
        return (
            self.waits % POLL_FIRST_EVERY == 0 or are_queued(self.calls) or (len(self.polled) > FEW and self.is_stale())
        )

    cdef int wait(self, cyn_event *events, int64_t limit, int need) except -1:
        """Blocks for events, at most `limit` ns (-1: without end), and without the GIL."""
        cdef int64_t start = tick_time(self), left
        cdef int count = 0, rounds = 0
        cdef bint stale
        while not self.must_return():
            if self.prepare_wait(rounds > 0) and ((need and not self.is_left(need)) or self.must_return()):
                return 0
            rounds += 1
            if is_owing(self):
                self.flush_answers()
                if self.must_return():
                    return 0
            stale = self.is_stale()
            left = self.time_left(start, limit, stale)
            if cyn_poller_is_busy(&self.poller):  # takes events without the GIL only where it blocks
                left = 0
                stale = True
            if left > 0:
                count = self.block(events, left, stale)
            elif stale:  # between two pieces of the sweep
                count = self.take_events(events, BATCH, 0)
                if count < 0:
                    count = self.wait_failed(count)
            if count > 0:
                return count
            self.now = 0
            if limit >= 0 and tick_time(self) - start >= limit:
                break
            if has_timers(self.calls) and self.calls.next_due() <= tick_time(self):
                break
        if not self.is_asking():  # else a predicate that runs the loop would be asked for ever
            self.runs += 1  # predicates may depend on what happened outside meanwhile
        return 0

    cdef bint must_return(self) noexcept:
        """Returns True if a wait must end without an event, because of a stop or of a queued call."""
        return cyn_see_int(&self.stopping) or are_queued(self.calls)

    cdef int flush_answers(self) except -1:
        """Sends what predicates have pushed, and gives the kernel the interest that this has changed."""
        self.flush_gathered()
        self.prepare(False)
        if is_owing(self):  # once more; a channel whose interest this changes is dirty, and comes before the next wait
            self.flush_gathered()
        return 0

    cdef int64_t time_left(self, int64_t start, int64_t limit, bint stale) except? -1:
        """Returns for how many ns the wait that began at `start` may block now; INT64_MAX: without end."""
        cdef int64_t now = tick_time(self)
        cdef int64_t left = INT64_MAX if limit < 0 else limit - (now - start)
        if has_timers(self.calls):
            left = min(left, self.calls.next_due() - now)
        if self.dirty:
            left = min(left, self.again)
            self.again = min(self.again * 2, ASK_SELDOM)
        if stale:
            left = min(left, max(self.pause_until - now, 0))
        return left

    cdef bint prepare_wait(self, bint again) except -1:
        """Asks the channels that must be asked before a wait. Returns True if anything has changed since `prepare`."""
        cdef unsigned long known = self.kinds_revision
        cdef bint asked = False, news = False
        if self.kinds_runs != self.runs:
            self.kinds_runs = self.runs
            self.again = ASK_AGAIN
            self.check_kinds()
        if self.polled:
            if self.recent and self.recent_runs != self.runs:
                news = self.ask_recent()
                asked = True
            # Among many channels one with a new answer is likely to be ready, so that the wait comes before the sweep.
            if self.is_stale() and not (news and len(self.polled) > FEW):
                self.sweep_on(tick_time(self))
                asked = True
        if again or asked or self.dirty or self.kinds_revision != known or is_map_changed(self):
            self.prepare(False)
            return True
        return False

    cdef int sweep_on(self, int64_t now) except -1:
        """Makes a piece of the sweep while no event waits. With many channels, it pauses for other threads."""
        if now < self.pause_until:
            return 0
        if self.pieces <= 0 and len(self.polled) > FEW and cyn_has_threads():
            self.pieces = PIECES
            self.pause_until = now + PAUSE
            return 0
        self.pieces -= 1
        return self.sweep(PIECE)

    cdef int block(self, cyn_event *events, int64_t left, bint pauses) except -1:
        """Blocks for `left` ns at most. `pauses`: a sweep goes on; it pauses if another thread takes the GIL."""
        cdef int count
        cdef int64_t woken = 0
        cdef bint hears = False
        self.blocks += 1
        if waits_elsewhere():
            self.wait_elsewhere(left)
            pauses = False
            left = 0
        if left > LONG_WAIT and not self.is_told and self.untold_thread != self.owner_thread:
            hears, left = True, LONG_WAIT  # a busy loop does without: hearing takes system calls that release the GIL
        self.waiting = True  # from here on any change wakes the loop, also one by a signal handler
        try:
            PyErr_CheckSignals()
            if self.poller.dirty_count:  # a handler of a signal has run a tick, which took what this one had tried
                self.apply(0)
            if cyn_poller_is_busy(&self.poller):
                count = self.take_events(events, BATCH, 0)
            else:
                with nogil:
                    count = self.take_events(events, BATCH, -1 if left == INT64_MAX else left)
                    if pauses:
                        woken = cyn_clock()
        finally:
            self.waiting = False
            self.awoke = True
            self.now = 0  # what comes now has not come before the wait
        if pauses and cyn_clock() - woken > WANTED:
            self.pieces = 1
            self.pause_until = cyn_clock() + SWEEP_SHARE * PIECE
        self.held_until = tick_time(self) + HOLD
        if count == 0 and hears:
            self.hear_signals()
        if count < 0:
            return self.wait_failed(count)
        if self.is_told and (count > 1 or events[0].fd == self.bell_fd) and count:
            return self.without_bell(events, count)
        return count

    cdef int without_bell(self, cyn_event *events, int count) except -1:
        """Takes the event of the bell out, as a signal does not end a wait, and runs the handlers if none is left."""
        cdef int at, other
        for at in range(count):
            if events[at].fd == self.bell_fd and not events[at].ready & CYN_NVAL:
                self.bell.empty()
                for other in range(at + 1, count):
                    events[other - 1] = events[other]
                count -= 1
                break
        else:
            return count
        self.runs += 1
        if count == 0:
            PyErr_CheckSignals()  # else the next tick does, after these events
        return count

    cdef int wait_elsewhere(self, int64_t left) except -1:
        """Waits with the function that has replaced `select`. The caller must poll for the events afterwards."""
        self.poller.tries = False  # other greenlets may run ticks meanwhile, and take what was tried for this one
        if self.poller.dirty_count:
            self.apply(0)
        cdef int fd = self.poller_fd()
        cdef dict wants = {}
        cdef unsigned wanted
        if fd >= 0:
            wants[fd] = CYN_READ
        else:
            for fd in range(<int> len(self.owners)):
                wanted = cyn_poller_wanted(&self.poller, fd)
                if wanted:
                    wants[fd] = wanted
            wants[cyn_wake_fd(&self.wake_fds)] = CYN_READ
        self.waiting = True
        try:
            _patched.wait(None if left == INT64_MAX else left / 1e9, wants)
        finally:
            self.waiting = False
            self.runs += 1  # other greenlets have run
        return 0

    cdef int wait_failed(self, int rc) except -1:
        if rc != -EINTR:
            raise failure(-rc, f"{self!r} cannot wait")
        if self.is_told:
            self.bell.empty()  # else the next wait would end at once
        PyErr_CheckSignals()
        self.runs += 1
        return 0


def _before_fork():
    """Sends what was gathered, so that parent and child do not both send it."""
    cdef void *ticking = ticking_here()[0]
    if ticking is not NULL and is_owing(<Loop> ticking):
        (<Loop> ticking).flush_gathered()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
make_loops_with(Loop.of)
guard(Loop)
