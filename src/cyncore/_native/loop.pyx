# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Loop: calls that are due, the wait, and the dispatch of events. docs/design.md has the rules that this file follows.

Any handler may close any channel, change the map, run the loop again, fork, or raise. So nothing that was read from an
event before a call into Python is trusted after it: the generation of the event and the count of waits are compared
again.
"""

import os
import select
from _thread import TIMEOUT_MAX

from cpython.dict cimport PyDict_GetItemWithError
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EBADF, EINTR
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from .calls cimport Calls, Handle, TimerHandle, are_queued
from .channel cimport (
    ACCEPTING,
    RECV_EAGAIN,
    CONNECTED,
    CONNECTING,
    DIRECT,
    DISCONNECTED,
    FLUSH_QUEUED,
    HELD,
    INSTANCE,
    MUTED,
    NOT_OURS,
    PENDING,
    PENDING_LATER,
    ACCEPT_EMFILE,
    SCRATCH,
    SEND_NOW,
    SENT_LATER,
    DIRTY,
    Channel,
)
from .csrc cimport (
    CYN_ERR,
    CYN_HUP,
    CYN_NVAL,
    CYN_PRI,
    CYN_READ,
    CYN_WRITE,
    FIONREAD,
    cyn_clock,
    cyn_event,
    cyn_ioctl,
    cyn_poll,
    cyn_slot,
    cyn_slot_at,
    cyn_slot_of,
    pollfd,
)
from .registry cimport (
    PAUSE,
    PIECE,
    PIECES,
    SWEEP_SHARE,
    Registry,
    cyn_map_version,
    failure,
    is_map_changed,
    map_size,
    registry_of,
    tick_time,
)
from .traits cimport READ_EVENT, READS, STATE, is_current

from .. import _patched
from .. import _rules
from .channel import set_loop_of
from .registry import BACKENDS
from .._report import ERROR, report

cdef extern from *:
    """
    /* The loop whose tick is in progress in this thread, the innermost, or NULL. A tick holds its own loop and the one
     * that it has put aside. It puts that back only while that ticks still: ticks of greenlets end in any order. */
    static __thread void *cyn_ticking;
    """
    void *cyn_ticking

cdef extern from *:
    """
    /* Has this interpreter more threads than the one that asks? */
    static inline int cyn_has_threads(void) {
        return PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get())) != NULL;
    }
    """
    bint cyn_has_threads() noexcept

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()
    bint PyCFunction_CheckExact(object thing)

cdef enum:
    BATCH = 256         # events taken from the kernel at once
    WHILE_CHANNELS = 1  # what a tick has to wait for: something in the map,
    WHILE_ANYTHING = 2  # or a call or a timer

cdef int64_t PROBE = 30_000           # ns that the loop looks for events with the GIL held, where others compute;
cdef int64_t PROBE_MOST = 500_000     # up to so many where the last wait would have been found needless by that
cdef int64_t LATE = 1_000_000         # ns from a wake-up to the GIL that show that somebody does
cdef int64_t PROBE_FIRST = 50_000_000  # ns for which that is believed, doubled when it was right
cdef int64_t PROBE_LAST = 1_600_000_000
cdef unsigned LOOKED = 16             # one of so many ticks looks before it waits, whatever the last ones found
cdef unsigned JUDGED = 8              # one of so many waits is looked at for it: two readings of the clock

cdef int64_t ASK_AGAIN = 1_000_000  # ns until those are asked whom predicates go on touching, doubled each time
cdef int64_t RETRY = 100_000_000      # ns until the kernel is asked again for what it had no room for
cdef int64_t ASK_SELDOM = 1_000_000_000  # up to so many
cdef Py_ssize_t FEW = 256             # channels that are asked faster than it takes to give the GIL away
cdef int64_t WANTED = 20_000          # ns from a wake-up to the GIL that show that another thread has taken it

cdef tuple EXITS = _rules.EXITS

socket_map = {}
cdef Loop _socket_map_loop = None  # the loop of socket_map, which is kept for good


cdef dict _of_select = vars(select)
cdef unsigned long long _select_version = 0  # of that dict, when it was looked at last
cdef bint _elsewhere = False                 # what was found


cdef inline bint waits_elsewhere() except -1:
    """Has gevent, or its like, put a wait of its own in the place of `select.select`?"""
    cdef unsigned long long version = cyn_map_version(_of_select)
    return look_at_select(version) if version == 0 or version != _select_version else _elsewhere


cdef bint look_at_select(unsigned long long version) except -1:
    global _elsewhere, _select_version
    cdef PyObject *found = PyDict_GetItemWithError(_of_select, "select")
    _elsewhere = found is not NULL and not PyCFunction_CheckExact(<object> found)
    _select_version = version
    return _elsewhere


cdef int _cores() except -1:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


cdef int64_t _nanoseconds(object seconds, str what) except -2:
    """-1 for None: without end."""
    cdef double value
    if seconds is None:
        return -1
    value = seconds if type(seconds) is float or type(seconds) is int else _rules.number(what, seconds)
    if not value >= 0.0:
        raise ValueError(f"{what} must not be below zero: {seconds!r}")
    return <int64_t> (value * 1e9) if value < 9e9 else -1


cdef int _check_map(object map) except -1:
    _rules.check_map(map)
    return 0


cdef inline bint is_owing(Loop loop) noexcept:
    """Is there output to be sent before the next wait?"""
    return loop.gathered_at < loop.gathered_count


cdef class Loop(Registry):
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
        self.scratch = <char *> malloc(SCRATCH)
        if self.scratch is NULL:
            raise MemoryError
        calls = Calls()
        self.late = []
        self.gathered = []
        self.again = ASK_AGAIN
        self.serve(map, backend)
        self.again = ASK_AGAIN
        self.calls = calls  # nothing in between lets another thread run, which might find it by its map
        self.is_closed = False
        if map is socket_map:
            _socket_map_loop = self

    def __dealloc__(self):
        free(self.scratch)

    @staticmethod
    def of(map):
        """The loop that serves ``map``, made on first use.

        It lives as long as a channel in the map, or a reference to it, does; the one of `socket_map` for good.
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
        """Was `close` called?"""
        return self.is_closed

    @property
    def running(self):
        """Is a tick in progress, in whatever thread?"""
        if not self.is_closed:
            self.check_fork()
        return self.depth > 0

    def __repr__(self):
        if self.is_closed:
            return f"<cyncore.Loop closed at {<size_t> <PyObject *> self:#x}>"
        return f"<cyncore.Loop {self.backend} {self.channel_count} channels at {<size_t> <PyObject *> self:#x}>"

    def __enter__(self):
        self.check("__enter__")
        return self

    def __exit__(self, kind, error, trace):
        self.close()

    # Running

    def run(self, *, forever=False):
        """Serves until `stop`; unless ``forever``, also until there is no channel, no queued call and no timer left.

        RuntimeError where the loop runs already or is closed. Raises what a handler's or a callback's
        ExitNow, KeyboardInterrupt or SystemExit, or a failing ``handle_error``, brings.
        """
        self.check("run")
        if self.depth:
            raise RuntimeError(f"{self!r} runs already, in thread {_rules.thread_name(self.owner_thread)}")
        cdef bint once = self.take_stop()
        turn = self.turn
        turn.acquire()
        try:
            while True:
                self.tick(0 if once else -1, False, 0 if forever else WHILE_ANYTHING)
                if once or self.stopping or not (forever or self.is_left(WHILE_ANYTHING)):
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
        cdef long left = 1 if not counted else count if type(count) is int else _rules.rounds(count)
        self.check("run_map")
        once = self.take_stop()
        turn = self.turn
        while left > 0 and map_size(self.map):
            if not turn.acquire(True, -1 if limit < 0 else min(limit / 1e9, TIMEOUT_MAX)):
                left -= counted  # another thread served the map all this while
                continue
            try:
                while left > 0 and map_size(self.map):
                    self.tick(0 if once else limit, counted, WHILE_CHANNELS)
                    left -= counted
                    if once or self.stopping:
                        return
            finally:
                self.leave(turn)

    def poll(self, timeout=0.0):
        """One tick, waiting at most ``timeout`` seconds (None: without end). Returns how many events were delivered.

        Runs the calls and timers that are due, too. ValueError for a timeout below zero, RuntimeError where the loop is
        closed.
        """
        cdef int64_t limit = _nanoseconds(timeout, "timeout")
        self.check("poll")
        turn = self.turn
        if not turn.acquire(True, -1 if limit < 0 else min(limit / 1e9, TIMEOUT_MAX)):
            return 0
        self.take_stop()  # it was meant for a run, and keeps no event from this tick
        try:
            delivered = self.tick(limit, True, 0)
            if self.hosted:
                # So that the other loop sees what is wanted now: what handlers have changed of others, too.
                self.prepare_outside(self.is_stale() and not self.is_asking())
            return delivered
        finally:
            self.leave(turn)

    cdef bint take_stop(self) noexcept:
        """A stop that came before the loop ran allows one tick, which does not wait."""
        cdef bint once = self.stopping and self.depth == 0
        if once:
            self.stopping = False
        return once

    cdef int leave(self, object turn) except -1:
        turn.release()
        if self.depth == 0:
            self.stopping = False
        return 0

    def stop(self):
        """Ends `run` or `run_map` after the handler or callback that runs now; what is pending stays so. Any thread."""
        if not self.is_closed:
            self.stopping = True
            self.wake()

    def close(self):
        """Lets go of the poller, the queued calls and the timers. The map and its channels stay as they are.

        Does nothing the second time. RuntimeError while the loop runs.
        """
        if self.is_closed:
            return
        if self.depth:
            raise RuntimeError(f"{self!r} cannot be closed while it runs")
        self.check_fork()
        global _socket_map_loop
        self.leave_map()
        self.calls.clear()
        if _socket_map_loop is self:
            _socket_map_loop = None

    def fileno(self):
        """The descriptor that is readable whenever ``poll(0)`` has something to do, for another loop to host this one.

        That is: where events wait, a timer is due, a call is queued, or a channel was changed outside of `poll`. In the
        child of a fork ask for it again. OSError (ENOTSUP) with the poll and select backends.
        """
        self.check("fileno")
        cdef int fd = self.poller_fd()
        if fd < 0 and fd != -EAGAIN:  # EAGAIN: in the child of a fork, before its first prepare
            raise failure(-fd, f"the {self.backend} backend has no descriptor of its own")
        self.hosted = True
        if self.depth == 0 or self.owner_thread == PyThread_get_thread_ident():
            self.prepare_outside(True)
        return self.poller_fd()

    cdef int prepare_outside(self, bint sweep_all) except -1:
        """`prepare`, but not as a part of a tick. Predicates run in it, so the loop must not be closed meanwhile."""
        self.depth += 1
        self.owner_thread = PyThread_get_thread_ident()
        try:
            self.prepare(sweep_all)
        finally:
            self.depth -= 1
            self.now = 0
        if self.hosted:
            self.set_alarm()
        return 0

    cdef int set_alarm(self) except -1:
        """Hosted: our descriptor becomes readable when `poll` has something to do, whether or not there is an event."""
        cdef int64_t due = self.calls.next_due() if self.calls.timers.count else INT64_MAX
        if are_queued(self.calls):
            due = 1  # at once: on the kernel's clock that has passed
        elif self.dirty:
            due = min(due, cyn_clock() + self.again)
            self.again = min(self.again * 2, ASK_SELDOM)
        else:
            self.again = ASK_AGAIN
        if self.is_refused():
            due = min(due, cyn_clock() + RETRY)
        cdef int rc = self.ring_at(due)
        if rc < 0:
            raise failure(-rc, f"{self!r} cannot set the alarm for the loop that hosts it")
        return 0

    def next_deadline(self):
        """The earliest time, in seconds of `time`, at which something is due without an event, or None."""
        self.check_open("next_deadline")
        if are_queued(self.calls):
            return self.time()
        cdef int64_t due = self.calls.next_due()
        return None if due == INT64_MAX else due / 1e9

    def time(self):
        """Now, in seconds of the monotonic clock. Any thread."""
        return cyn_clock() / 1e9

    # Calls

    def call_soon(self, callback, *args):
        """Calls ``callback(*args)`` at the next tick. Returns a `Handle`. TypeError where it cannot be called."""
        self.check("call_soon")
        return self.queue(callback, args)

    def call_soon_threadsafe(self, callback, *args):
        """As `call_soon`, from any thread; ends a wait in progress."""
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
        return self.add_timer(cyn_clock() / 1e9 + delay, callback, args)

    def call_at(self, when, callback, *args):
        """Calls ``callback(*args)`` once, at ``when`` seconds of `time`; where that has passed, at the next tick."""
        self.check("call_at")
        return self.add_timer(when if type(when) is float else _rules.number("when", when), callback, args)

    def handle_exception(self, error, handle):
        """A callback raised: override it to do otherwise than to log it. The loop goes on."""
        report(ERROR, "%r failed", handle, error=error)

    cdef Handle queue(self, object callback, tuple args):
        cdef Handle handle
        if not callable(callback):
            raise TypeError(f"the callback cannot be called: {callback!r}")
        handle = Handle.__new__(Handle)
        handle.callback = callback
        handle.args = args
        self.calls.add(handle)
        if self.hosted and self.depth == 0:
            self.wake()
        return handle

    cdef TimerHandle add_timer(self, double when, object callback, tuple args):
        if not callable(callback):
            raise TypeError(f"the callback cannot be called: {callback!r}")
        handle = self.calls.add_timer(when, callback, args, self.earliest)
        if self.hosted and self.depth == 0:
            self.set_alarm()
        return handle

    cdef int read_ahead(self, Channel channel) except -1:
        return self.deliver_pending(channel)

    cdef int sending(self) except -1:
        """When is output to leave that this thread has for a channel of ours?"""
        self.check_fork()
        if cyn_ticking is <void *> self and not self.waiting and not self.flushing and self.tick_epoch == self.epoch:
            return SENT_LATER  # not in a child that was forked meanwhile, which may never see the end of the tick
        if (self.depth and self.owner_thread != PyThread_get_thread_ident()) or not self.turn.acquire(False):
            return NOT_OURS
        return SEND_NOW

    cdef int sent(self) except -1:
        if self.turn._is_owned():  # in the child of a fork it is another
            self.turn.release()
        return 0

    cdef int gather(self, Channel channel) except -1:
        if not channel.flags & FLUSH_QUEUED:
            if self.gathered_count < len(self.gathered):
                self.gathered[self.gathered_count] = channel
            else:
                self.gathered.append(channel)
            self.gathered_epoch = self.epoch
            self.gathered_count += 1
            channel.flags |= FLUSH_QUEUED
        return 0

    cdef bint is_copy(self) noexcept:
        """Was what is gathered gathered by another thread of the parent, before a fork?"""
        return self.gathered_epoch != self.fork_epoch()

    cdef int flush_gathered(self) except -1:
        """Sends what handlers have left to be sent. One channel's trouble does not keep the others' back."""
        cdef Channel channel
        cdef object leaving = None
        self.now = 0
        cdef bint within = self.flushing  # a handler of a flush runs the loop, or forks: it goes on with the rest
        self.flushing = True
        try:
            while is_owing(self):
                channel = <Channel> self.gathered[self.gathered_at]
                self.gathered[self.gathered_at] = None
                self.gathered_at += 1
                if self.gathered_at == self.gathered_count:
                    self.gathered_at = self.gathered_count = 0
                if channel.flags & FLUSH_QUEUED:
                    try:
                        channel.flush(True)
                    except EXITS as error:
                        leaving = error
                    except BaseException as error:
                        try:
                            self.failed(channel, error)
                        except BaseException as error:  # as if it had left the handler that wrote
                            leaving = error
                    if channel.loop is self and channel.polled_index >= 0:
                        self.ask_soon(channel)
        finally:
            self.flushing = within
        if leaving is not None:
            raise leaving
        return 0

    cdef int later(self, int64_t milliseconds, object callback) except -1:
        self.add_timer(cyn_clock() / 1e9 + milliseconds / 1e3, callback, ())
        return 0

    cdef int run_due(self) except -1:
        cdef Handle handle
        cdef int64_t now
        cdef bint first = True
        cdef uint64_t newer = self.calls.timers.next_order  # what a call adds now waits for the next tick
        self.runs += 1
        if are_queued(self.calls):
            self.now = 0
            self.calls.begin()
            while first or not self.stopping:
                handle = self.calls.next()
                if handle is None:
                    break
                self.run_call(handle)
                first = False
        if self.calls.timers.count:
            now = tick_time(self)
            self.now = 0
            self.earliest = now  # so that what a call adds for the past does not come before the others
            try:
                while first or not self.stopping:
                    handle = self.calls.due(now, newer)
                    if handle is None:
                        break
                    self.run_call(handle)
                    first = False
            finally:
                self.earliest = 0
        return 0

    cdef int run_call(self, Handle handle) except -1:
        try:
            handle.run()
        except EXITS:
            raise
        except BaseException as error:  # one callback's trouble is not the loop's
            self.handle_exception(error, handle)
        return 0

    # One tick

    cdef bint is_left(self, int need) except -1:
        """Is there still what the loop was to run for?"""
        return map_size(self.map) > 0 or (
            need == WHILE_ANYTHING and (are_queued(self.calls) or self.calls.timers.count > 0)
        )

    cdef int tick(self, int64_t limit, bint sweep_all, int need) except -1:
        cdef cyn_event events[BATCH]
        cdef int count, delivered
        cdef unsigned long number
        cdef Loop outer = None
        cdef void **ticking = &cyn_ticking  # the thread's, which a greenlet does not leave
        if self.is_closed:
            raise RuntimeError(f"{self!r} is closed")
        PyErr_CheckSignals()  # a tick in which no Python code runs must not put off Ctrl-C
        if ticking[0] is not NULL:
            outer = <Loop> ticking[0]
            if is_owing(outer):
                outer.flush_gathered()  # whoever made this tick may wait for the answer
        self.depth += 1
        self.now = 0
        self.owner_thread = PyThread_get_thread_ident()
        ticking[0] = <void *> self
        try:
            self.check_fork()
            self.tick_epoch = self.epoch
            if are_queued(self.calls) or self.calls.timers.count:
                if are_queued(self.calls) or self.calls.next_due() <= tick_time(self):
                    self.run_due()
            if is_owing(self):
                self.flush_gathered()
            self.prepare(sweep_all)
            if is_owing(self):  # a predicate has written
                self.flush_gathered()
                self.prepare(False)
            if need and limit != 0 and not self.is_left(need):
                limit = 0  # nothing to wait for: what was due, or a predicate's, was the last of it
            self.waits += 1
            count = self.take_late(events) if self.late else self.fetch(events, limit, need)
            number = self.waits
            delivered = self.dispatch_batch(events, count, number)
            if count == 0 and self.calls.timers.count and not are_queued(self.calls):
                if self.calls.next_due() <= tick_time(self):
                    self.run_due()
            return delivered
        finally:
            try:
                if is_owing(self):
                    self.flush_gathered()
            finally:
                self.depth -= 1
                ticking[0] = <void *> outer if outer is not None and outer.depth else NULL
                self.now = 0  # a tick around this one has its own time

    cdef int fetch(self, cyn_event *events, int64_t limit, int need) except -1:
        """The events that are there; where there are none, those that it waits for."""
        cdef int count
        cdef unsigned blocks
        if _elsewhere or (self.waits % LOOKED == 0 and waits_elsewhere()):
            self.wait_elsewhere(0)  # others have their turn, as often as they had it with the old loop
            self.is_calm = False
        if limit == 0 or not self.is_calm or self.must_look():
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
        elif count == 0 and self.blocks == blocks:  # a timer or a call kept it from waiting
            count = self.take_events(events, BATCH, 0)
        return count if count >= 0 else self.wait_failed(count)

    cdef bint must_look(self) noexcept:
        """Must this tick look for events without blocking first? A direct wait saves that system call.

        A look keeps the GIL, and finds what there is under load. Beside many predicates it comes before they are asked.
        """
        return (
            self.waits % LOOKED == 0 or self.probe_until > 0 or are_queued(self.calls)
            or (len(self.polled) > FEW and self.is_stale())
        )

    cdef int wait(self, cyn_event *events, int64_t limit, int need) except -1:
        """Blocks for events, at most `limit` ns (-1: without end), and without the GIL."""
        cdef int64_t start = tick_time(self), now = start, left
        cdef int count = 0, rounds = 0
        cdef bint stale
        while not (self.stopping or are_queued(self.calls)):
            if self.prepare_wait(rounds > 0):
                now = tick_time(self)
                if need and not self.is_left(need):
                    return 0
                if self.stopping or are_queued(self.calls):
                    return 0
            rounds += 1
            if is_owing(self):  # a predicate has written
                self.flush_gathered()
                self.prepare(False)
                if is_owing(self):  # once more: what it wants of the kernel now is told soon (`dirty`)
                    self.flush_gathered()
                if self.stopping or are_queued(self.calls):
                    return 0
            left = INT64_MAX if limit < 0 else limit - (now - start)
            if self.calls.timers.count:
                left = min(left, self.calls.next_due() - now)
            if self.dirty:
                left = min(left, self.again)
                self.again = min(self.again * 2, ASK_SELDOM)
            stale = self.is_stale()
            if stale:
                left = min(left, max(self.pause_until - now, 0))
            if left > 0:
                if now < self.probe_until and left > self.look:
                    count = self.probe(events)
                    if count > 0:
                        return count
                count = self.block(events, left, stale)
                if count > 0:
                    return count
            elif stale:  # between two pieces of the sweep
                count = self.take_events(events, BATCH, 0)
                if count > 0:
                    return count
                if count < 0:
                    self.wait_failed(count)
            self.now = 0
            now = tick_time(self)
            if limit >= 0 and now - start >= limit:
                break
            if self.calls.timers.count and self.calls.next_due() <= now:
                break
        if not self.is_asking():  # else the wait of a predicate would have everyone asked, and so itself, without end
            self.runs += 1  # whatever happened outside meanwhile, the predicates may know of it
        return 0

    cdef bint prepare_wait(self, bint again) except -1:
        """Looks at what has changed since the last `prepare`, and asks who must be asked. Was there anything to do?"""
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
            if self.is_stale() and not (news and len(self.polled) > FEW):  # what has changed is likely to be ready
                self.sweep_on(tick_time(self))
                asked = True
        if again or asked or self.dirty or self.kinds_revision != known or is_map_changed(self):
            self.prepare(False)
            return True
        return False

    cdef int sweep_on(self, int64_t now) except -1:
        """A piece of the sweep, while nothing is ready; and, among many channels, some time for other threads."""
        if now < self.pause_until:
            return 0
        if self.pieces <= 0 and len(self.polled) > FEW and cyn_has_threads():
            self.pieces = PIECES
            self.pause_until = now + PAUSE
            return 0
        self.pieces -= 1
        return self.sweep(PIECE)

    cdef int block(self, cyn_event *events, int64_t left, bint pauses) except -1:
        """`pauses`: in a sweep, which goes on slowly if another thread turns out to want the GIL."""
        cdef int count
        cdef int64_t woken = 0, began = cyn_clock() if self.probe_until else 0
        self.blocks += 1
        cdef bint judged = self.blocks % JUDGED == 0 or self.probe_until or pauses
        if waits_elsewhere():
            self.wait_elsewhere(left)
            judged = pauses = False
            left = 0
        self.waiting = True  # from here on a change wakes us, one by a signal handler too
        try:
            PyErr_CheckSignals()
            with nogil:
                count = self.take_events(events, BATCH, -1 if left == INT64_MAX else left)
                if judged:
                    woken = cyn_clock()
        finally:
            self.waiting = False
            self.awoke = True
        if judged:
            self.judge(began, woken)
            if pauses and cyn_clock() - woken > WANTED:
                self.pieces = 1
                self.pause_until = cyn_clock() + SWEEP_SHARE * PIECE
        return count if count >= 0 else self.wait_failed(count)

    cdef int wait_elsewhere(self, int64_t left) except -1:
        """Waits by what stands in the place of `select`; what is ready is to be looked for afterwards."""
        cdef int fd = self.poller_fd()
        cdef dict wants = {}
        cdef const cyn_slot *slot
        if fd >= 0:
            wants[fd] = CYN_READ
        else:
            for fd in range(<int> len(self.owners)):
                slot = cyn_slot_at(&self.poller, fd)
                if slot is not NULL and slot.wanted:
                    wants[fd] = slot.wanted
            wants[self.wake_fds.read_fd] = CYN_READ
        self.waiting = True
        try:
            _patched.wait(None if left == INT64_MAX else left / 1e9, wants)
        finally:
            self.waiting = False
            self.runs += 1  # others have run
        return 0

    cdef int judge(self, int64_t began, int64_t woken) except -1:
        """Has the GIL come back late? A thread that computes keeps it for a switch interval, 5 ms, each time."""
        cdef int64_t now = cyn_clock()
        self.look = PROBE
        if began and 2 * (woken - began) < PROBE_MOST:
            self.look = max(2 * (woken - began), PROBE)
        if now - woken >= LATE and (self.probe_span or _cores() > 1):  # on one core nobody brings events while we look
            self.probe_span = min(max(self.probe_span * 2, PROBE_FIRST), PROBE_LAST)
            self.probe_until = now + self.probe_span
        elif now >= self.probe_until:
            self.probe_until = self.probe_span = 0
        return 0

    cdef int probe(self, cyn_event *events) except -1:
        """Looks a little longer before the wait that lets go of the GIL: it would come back a switch interval later.

        The other threads get their share all the same, as handlers give way to them like any Python code.
        """
        cdef int count
        cdef int64_t end = cyn_clock() + self.look
        while True:
            count = self.take_events(events, BATCH, 0)
            if count < 0:
                return self.wait_failed(count)
            if count > 0 or cyn_clock() >= end:
                return count

    cdef int wait_failed(self, int rc) except -1:
        if rc != -EINTR:
            raise failure(-rc, f"{self!r} cannot wait")
        PyErr_CheckSignals()
        self.runs += 1
        return 0

    cdef int dispatch_batch(self, cyn_event *events, int count, unsigned long number) except -1:
        cdef int at = 0, delivered = 0
        cdef cyn_event *event
        cdef const cyn_slot *slot
        cdef Channel channel
        try:
            # A nested tick has served, or will be told again, whatever is left of this batch.
            while at < count and number == self.waits and not (self.stopping and at):
                event = &events[at]
                at += 1
                if is_map_changed(self):  # by hand, in a handler of this batch
                    self.read_map()
                slot = cyn_slot_of(&self.poller, event)
                if slot is NULL:
                    continue
                self.runs += 1
                if slot.owner is <void *> self:
                    self.woken(event.ready & CYN_NVAL)
                    continue
                channel = <Channel> slot.owner  # held: a handler may drop the last reference to it
                if not self.tells:
                    if not self.is_in_map(channel):
                        continue
                    slot = cyn_slot_of(&self.poller, event)  # the map's own code has run
                    if slot is NULL or slot.owner is not <void *> channel:
                        continue
                if (
                    event.ready == CYN_READ
                    and slot.wanted & CYN_READ
                    and channel.flags & (CONNECTED | ACCEPTING | DIRECT | INSTANCE) == CONNECTED | DIRECT
                    and channel.defines & (READS | READ_EVENT | STATE) == READS
                    and channel.polled_index < 0
                    and (is_current(channel.traits) or channel.traits.is_same())
                ):
                    delivered += self.dispatch_read(channel, event)
                else:
                    delivered += self.dispatch_event(channel, event)
        finally:
            while at < count:
                if events[at].ready & CYN_NVAL:  # told once only, by the kernel as by the poller
                    self.late.append((events[at].fd, events[at].generation, events[at].error))
                at += 1
        return delivered

    cdef int take_late(self, cyn_event *events) except -1:
        """Failures that a batch cut short has left."""
        cdef int count = 0
        while self.late and count < BATCH:
            events[count].ready = CYN_NVAL
            events[count].fd, events[count].generation, events[count].error = self.late.pop(0)
            count += 1
        return count

    cdef inline bint is_live(self, Channel channel, cyn_event *event) noexcept:
        cdef const cyn_slot *slot = cyn_slot_of(&self.poller, event)
        return slot is not NULL and slot.owner is <void *> channel

    cdef int dispatch_read(self, Channel channel, cyn_event *event) except -1:
        """`dispatch_event` in the usual case: a connection on a plain socket, which wants to read, can be read."""
        channel.flags &= ~(RECV_EAGAIN | ACCEPT_EMFILE)
        try:
            channel.on_data()
            if not channel.flags & DIRECT and self.is_live(channel, event):
                self.deliver_pending(channel)
        except EXITS:
            raise
        except BaseException as error:
            self.failed(channel, error)
        return 1

    cdef int dispatch_event(self, Channel channel, cyn_event *event) except -1:
        """One event to one channel, as asyncore.readwrite did it; docs/design.md, "Dispatch". 0: it was not wanted."""
        cdef uint32_t ready = event.ready
        cdef int unread = -1
        cdef uint32_t wanted
        channel.traits.check()
        if channel.polled_index >= 0 and not channel.flags & DIRTY:
            self.ask_soon(channel)
        channel.flags &= ~(RECV_EAGAIN | ACCEPT_EMFILE)
        try:
            if ready & (CYN_READ | CYN_WRITE | CYN_PRI | CYN_ERR):
                wanted = channel.interest()
                if ready & (CYN_READ | CYN_WRITE | CYN_PRI) & ~wanted:
                    channel.arm()  # what it wants has changed without a word: the kernel would go on telling
                if ready & (CYN_HUP | CYN_ERR) == CYN_ERR and not channel.flags & CONNECTING:
                    ready |= CYN_READ  # an error that a read takes: of a datagram that came to nobody
                ready &= wanted | CYN_ERR | CYN_HUP | CYN_NVAL
                if not ready:
                    return 0  # another channel's handler has paused this one
            if ready & CYN_READ:
                if ready & (CYN_HUP | CYN_ERR):
                    unread = _unread(channel, event.fd)
                channel.on_read()
                if not self.is_live(channel, event):
                    return 1
            if ready & CYN_WRITE:
                channel.on_write()
                if not self.is_live(channel, event):
                    return 1
            if ready & CYN_PRI:
                channel.on_urgent()
                if not self.is_live(channel, event):
                    return 1
            if ready & CYN_READ and not channel.flags & DIRECT:
                self.deliver_pending(channel)
                if not self.is_live(channel, event):
                    return 1
            if ready & (CYN_HUP | CYN_ERR | CYN_NVAL):
                self.hung_up(channel, event, ready, unread)
        except EXITS:
            raise
        except BaseException as error:
            self.failed(channel, error)
            if ready & CYN_NVAL:
                self.drop_bad(channel, event)
        return 1

    cdef int hung_up(self, Channel channel, cyn_event *event, uint32_t ready, int unread) except -1:
        cdef int now
        if ready & (CYN_HUP | CYN_ERR | CYN_NVAL | CYN_READ) == CYN_ERR | CYN_READ and not _is_broken(event.fd):
            return 0  # the read handler took the error
        if ready & CYN_NVAL:
            if event.error != EBADF:
                raise failure(event.error, f"{channel!r} fd {event.fd} cannot be watched")
        elif ready & CYN_READ:
            now = _unread(channel, event.fd)
            if now > 0 and now != unread:
                return 0  # it reads: the rest, and then the end, come with the next events
        elif not channel.flags & MUTED and _unread(channel, event.fd) > 0:
            if self.is_live(channel, event):
                channel.flags |= HELD  # until it wants to read again
                channel.arm()
            return 0
        channel.on_close()
        if ready & CYN_NVAL:
            self.drop_bad(channel, event)
        return 0

    cdef int drop_bad(self, Channel channel, cyn_event *event) except -1:
        """A descriptor that cannot be watched has no place in the map, whatever handle_close did or left undone."""
        if self.is_live(channel, event):
            self.map.pop(event.fd, None)
            self.detach(event.fd)
        return 0

    cdef int deliver_pending(self, Channel channel) except -1:
        """A TLS socket may hold bytes that it has read already and that no event will tell of."""
        if channel.key_fd >= 0 and not channel.flags & PENDING and _pending(channel) > 0:
            channel.flags |= PENDING
            self.queue(_read_pending, (channel, channel.its_socket()))
        return 0

    cdef int failed(self, Channel channel, object error) except -1:
        """What left a handler of the channel; called with the exception being handled."""
        if isinstance(error, OSError):
            if channel.flags & ACCEPT_EMFILE:
                return 0  # out of descriptors: the listener has backed off
            if channel.flags & RECV_EAGAIN and isinstance(error, BlockingIOError):
                return 0  # a spurious event: there was nothing to read
            if error.errno in DISCONNECTED:
                return channel.on_close()
        return channel.on_error()


def _read_pending(Channel channel, sock):
    """Delivers another read event for bytes that are in the TLS socket already."""
    cdef Loop loop = <Loop> channel.loop
    channel.flags &= ~PENDING
    if loop is None or channel.its_socket() is not sock:
        return
    if not channel.interest() & CYN_READ:
        channel.flags |= PENDING_LATER  # arm() comes back to it when reading is wanted
        return
    channel.flags &= ~(RECV_EAGAIN | ACCEPT_EMFILE)
    try:
        channel.on_read()
        if channel.loop is loop and channel.its_socket() is sock:
            loop.deliver_pending(channel)
    except EXITS:
        raise
    except BaseException as error:
        loop.failed(channel, error)
    if channel.loop is loop and channel.polled_index >= 0:
        loop.ask_soon(channel)


cdef int _pending(Channel channel) except -1:
    """Bytes that a TLS socket, or what behaves like one, has read from the kernel and not given out."""
    pending = getattr(channel.its_socket(), "pending", None)
    if not callable(pending):
        return 0
    count = pending()
    return count if isinstance(count, int) and count > 0 else 0


cdef bint _is_broken(int fd):
    """Does the kernel still report an error, or a hang-up?"""
    cdef pollfd one
    one.fd = fd
    one.events = one.revents = 0
    return cyn_poll(&one, 1, 0) > 0


cdef int _unread(Channel channel, int fd) except -1:
    """Bytes that wait in the kernel, and in a socket that reads ahead; 0 where neither says."""
    cdef int count = 0
    if cyn_ioctl(fd, FIONREAD, &count) != 0:
        count = 0
    return count if channel.flags & DIRECT else count + _pending(channel)


def _before_fork():
    """What the parent has gathered must not leave twice."""
    if cyn_ticking is not NULL and is_owing(<Loop> cyn_ticking):
        (<Loop> cyn_ticking).flush_gathered()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
set_loop_of(Loop.of)
