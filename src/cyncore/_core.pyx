# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Loop and Channel: settle, wait, dispatch. docs/design.md has the rules that this file follows.

Facts that shape it:
- The map is the users' dict. What `add_channel` and `del_channel` put there we know; what a program changes by hand is told
  by a dict watcher (3.12 on) or the dict's version number (before). Other mappings are read anew at every tick.
- A slot of the poller points to a channel without owning it; `owners` owns it where the garbage collector can see it.
- Any handler may close any channel, change the map, run the loop again, fork, or raise. So nothing that was read from
  a slot or a list before a call into Python is trusted after it: generations, places and counters are compared again.
- A blocked wait looks at no slot, so other threads may add and remove channels meanwhile; `waiting` tells them to end it.
"""

import logging
import os
import sys
import threading
import weakref

from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from libc.errno cimport EBADF, ECONNABORTED, ECONNRESET, EINTR, ENOTCONN, EPIPE, ESHUTDOWN
from libc.limits cimport INT_MAX
from libc.stdint cimport INT64_MAX, int64_t, uint32_t
from libc.stdlib cimport free, malloc

from ._calls cimport Calls, Handle, TimerHandle
from ._channel cimport AGAIN, DIRECT, FOREIGN, HELD, MUTED, REFUSED, TOUCHED, Channel, Foreign, LoopBase
from ._csrc cimport (
    CYN_ERR,
    CYN_HUP,
    CYN_NVAL,
    CYN_PRI,
    CYN_READ,
    CYN_WRITE,
    FIONREAD,
    cyn_clock,
    cyn_event,
    cyn_fork_epoch,
    cyn_ioctl,
    cyn_poller,
    cyn_poller_add,
    cyn_poller_close,
    cyn_poller_fd,
    cyn_poller_names,
    cyn_poller_open,
    cyn_poller_owner,
    cyn_poller_remove,
    cyn_poller_settle,
    cyn_poller_wait,
    cyn_poller_want,
    cyn_wake,
    cyn_wake_close,
    cyn_wake_drain,
    cyn_wake_open,
    cyn_wake_signal,
)
from ._traits cimport Traits, revision, traits_of

from ._calls import Handle, TimerHandle
from ._channel import BufferedChannel, Channel, ExitNow, set_loop_of

cdef extern from *:
    """
    /* Who tells that a dict was changed by hand: a dict watcher from Python 3.12 on, the dict's version number before. */
    typedef void (*cyn_map_listener)(PyObject *);
    #if PY_VERSION_HEX >= 0x030C0000
    static cyn_map_listener cyn_map_listens;
    static int cyn_map_event(PyDict_WatchEvent event, PyObject *map, PyObject *key, PyObject *value) {
        (void)key, (void)value;
        if (event != PyDict_EVENT_DEALLOCATED) cyn_map_listens(map);
        return 0;
    }
    static int cyn_map_watcher(cyn_map_listener listener) {
        cyn_map_listens = listener;
        int watcher = PyDict_AddWatcher(cyn_map_event);
        if (watcher < 0) PyErr_Clear(); /* all eight are taken: the map is read at every tick instead */
        return watcher;
    }
    static int cyn_map_watch(int watcher, PyObject *map) { return PyDict_Watch(watcher, map); }
    static void cyn_map_unwatch(int watcher, PyObject *map) {
        if (PyDict_Unwatch(watcher, map) < 0) PyErr_Clear();
    }
    static unsigned long long cyn_map_version(PyObject *map) { (void)map; return 0; }
    #else
    static int cyn_map_watcher(cyn_map_listener listener) { (void)listener; return -1; }
    static int cyn_map_watch(int watcher, PyObject *map) { (void)watcher, (void)map; return 0; }
    static void cyn_map_unwatch(int watcher, PyObject *map) { (void)watcher, (void)map; }
    static unsigned long long cyn_map_version(PyObject *map) { return ((PyDictObject *)map)->ma_version_tag; }
    #endif
    """
    int cyn_map_watcher(void (*listener)(PyObject *) noexcept)
    int cyn_map_watch(int watcher, object map) except -1
    void cyn_map_unwatch(int watcher, object map)
    unsigned long long cyn_map_version(object map)

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()

cdef enum:
    BATCH = 256        # events taken from the kernel at once
    SCRATCH = 65536    # bytes that recv can read without an allocation
    AUDIT_COUNT = 64   # descriptors checked at once for having been closed behind our back

cdef int64_t AUDIT_EVERY = 10_000_000  # ns of activity between two audits
cdef int64_t SWEEP_SHARE = 9           # a sweep that took t is not repeated within 9 t: a tenth of the time

cdef frozenset DISCONNECTED = frozenset({ECONNRESET, ENOTCONN, ESHUTDOWN, ECONNABORTED, EPIPE, EBADF})
cdef object log = logging.getLogger("cyncore")
cdef tuple LEAVING = (ExitNow, KeyboardInterrupt, SystemExit)

socket_map = {}
BACKENDS = ()
cdef int _at = 0
while cyn_poller_names[_at] is not NULL:
    BACKENDS += (cyn_poller_names[_at].decode(),)
    _at += 1

# The loop of every map in use, found by the map's address. A channel keeps its loop alive and a loop its map, so an address
# in here is never that of another dict. Only the default map's loop is kept for good.
cdef dict _serving = {}
cdef Loop _home = None
cdef int _watcher = -1


cdef object _failure(int error, str what):
    return OSError(error, f"{os.strerror(error)}: {what}")


def _forget_loop(reference):
    if _serving.get(reference.key) is reference:
        del _serving[reference.key]


cdef Loop _loop_of(object map):
    reference = _serving.get(<size_t> <PyObject *> map)
    return None if reference is None else reference()


cdef void _map_changed(PyObject *map) noexcept with gil:
    """A watched dict is about to change."""
    cdef Loop loop
    reference = _serving.get(<size_t> map)
    if reference is not None:
        loop = reference()
        if loop is not None:
            if loop.own_change:
                loop.own_change = False
            else:
                loop.map_changed = True
                if loop.waiting:
                    loop.wake()


cdef int64_t _nanoseconds(object seconds, str what) except -2:
    """-1 for None: without end."""
    cdef double value
    if seconds is None:
        return -1
    value = seconds
    if not value >= 0.0:
        raise ValueError(f"{what} must not be below zero: {seconds!r}")
    return <int64_t> (value * 1e9) if value < 9e9 else -1


cdef class Loop(LoopBase):
    """An event loop over a map of channels.

    ``map``: the dict (fd -> channel) to serve; None: one of its own. ``backend``: the name of a poller from `BACKENDS`; None: that of
    ``CYNCORE_BACKEND`` in the environment, else the best. ``debug``: check that calls come from the loop's own thread; None: as
    ``CYNCORE_DEBUG`` or Python's development mode says.

    A loop belongs to the thread that runs it. Other threads may call `call_soon_threadsafe`, `wake` and `stop`.
    ValueError for an unknown backend, and for a map that has a loop already. OSError where the poller cannot be opened.
    """

    def __cinit__(self):
        self.wake_fds.read_fd = self.wake_fds.write_fd = -1

    def __init__(self, map=None, *, backend=None, debug=None):
        global _home, _watcher
        if self.owners is not None:
            raise RuntimeError(f"{self!r} is initialised already")
        if backend is None:
            backend = os.environ.get("CYNCORE_BACKEND") or None
        if backend is not None and backend not in BACKENDS:
            raise ValueError(f"no such backend: {backend!r}; there are: {', '.join(BACKENDS)}")
        if debug is None:
            debug = os.environ.get("CYNCORE_DEBUG", "0") not in ("", "0") or sys.flags.dev_mode
        if map is None:
            map = {}
        if _loop_of(map) is not None:
            raise ValueError(f"the map has a loop already: {_loop_of(map)!r}")
        self.debug = debug
        self.map = map
        self.owners = []
        self.asked = []
        self.touched = []
        self.kinds = []
        self.calls = Calls()
        self.turn = threading.RLock()
        self.map_changed = True
        self.scratch = <char *> malloc(SCRATCH)
        if self.scratch is NULL:
            raise MemoryError
        self.open_poller(backend)
        _serving[<size_t> <PyObject *> map] = weakref.KeyedRef(self, _forget_loop, <size_t> <PyObject *> map)
        if isinstance(map, dict):
            if _watcher < 0:
                _watcher = cyn_map_watcher(_map_changed)
            if _watcher >= 0:
                self.watched = True
                cyn_map_watch(_watcher, map)
        if map is socket_map:
            _home = self

    def __dealloc__(self):
        if self.is_open:
            cyn_poller_close(&self.poller)
        cyn_wake_close(&self.wake_fds)
        free(self.scratch)

    cdef int open_poller(self, object backend) except -1:
        cdef bytes name = b"" if backend is None else backend.encode()
        cdef int rc = cyn_poller_open(&self.poller, <char *> name if name else NULL)
        if rc < 0:
            raise _failure(-rc, f"cannot open the {backend or 'default'} poller")
        self.is_open = True
        self.epoch = cyn_fork_epoch
        self.open_wake()
        return 0

    cdef int open_wake(self) except -1:
        cdef int rc = cyn_wake_open(&self.wake_fds)
        if rc >= 0:
            rc = cyn_poller_add(&self.poller, self.wake_fds.read_fd, <void *> self)
        if rc >= 0:
            rc = cyn_poller_want(&self.poller, self.wake_fds.read_fd, CYN_READ)
        if rc < 0:
            raise _failure(-rc, "cannot open the wake-up descriptor")
        return 0

    @staticmethod
    def of(map):
        """The loop that serves ``map``, made on first use.

        It lives as long as a channel in the map, or a reference to it, does; the one of `socket_map` for good.
        """
        cdef Loop loop = _loop_of(map)
        return Loop(map) if loop is None else loop

    @property
    def backend(self):
        """The name of the poller in use."""
        return self.poller.backend.name.decode()

    @property
    def closed(self):
        """Was `close` called?"""
        return self.is_closed

    @property
    def running(self):
        """Is a tick in progress, in whatever thread?"""
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
            raise RuntimeError(f"{self!r} runs already, in thread {self.owner_thread}")
        turn = self.turn
        turn.acquire()
        try:
            while True:
                self.tick(0 if self.stopping else -1, False)
                if self.stopping or not (forever or len(self.map) or self.calls.queued or self.calls.timers.count):
                    return
        finally:
            self.leave(turn)

    def run_map(self, timeout=30.0, count=None):
        """Serves while the map is not empty, in rounds that wait at most ``timeout`` seconds (None: without end).

        ``count``: how many rounds at most. This is what ``asyncore.loop`` does. A handler may call it again; a second thread waits
        for its turn. `stop` ends it. ValueError for a timeout below zero, RuntimeError where the loop is closed.
        """
        cdef int64_t limit = _nanoseconds(timeout, "timeout")
        cdef long left = -1 if count is None else count
        self.check("run_map")
        turn = self.turn
        while left and len(self.map):
            if not turn.acquire(True, -1 if limit < 0 else min(limit / 1e9, threading.TIMEOUT_MAX)):
                left -= left > 0  # another thread served the map all this while
                continue
            try:
                while left and len(self.map):
                    self.tick(0 if self.stopping else limit, count is not None)
                    left -= left > 0
                    if self.stopping:
                        return
            finally:
                self.leave(turn)

    def poll(self, timeout=0.0):
        """One tick, waiting at most ``timeout`` seconds (None: without end). Returns how many events were delivered.

        Runs the calls and timers that are due, too. ValueError for a timeout below zero, RuntimeError where the loop is closed.
        """
        cdef int64_t limit = _nanoseconds(timeout, "timeout")
        self.check("poll")
        turn = self.turn
        if not turn.acquire(True, -1 if limit < 0 else min(limit / 1e9, threading.TIMEOUT_MAX)):
            return 0
        try:
            delivered = self.tick(limit, True)
            self.settle(False)  # so that another loop that hosts this one sees what is wanted now
            return delivered
        finally:
            self.leave(turn)

    cdef int leave(self, object turn) except -1:
        turn.release()
        if self.depth == 0:
            self.stopping = False
        return 0

    def stop(self):
        """Ends `run` or `run_map` after the handler or callback that runs now; what is pending stays pending. Any thread."""
        if not self.is_closed:
            self.stopping = True
            self.wake()

    def wake(self):
        """Ends the wait in progress, or the next one. Any thread."""
        self.check_open("wake")
        self.check_fork()
        if not self.wake_pending:
            self.wake_pending = True
            cyn_wake_signal(&self.wake_fds)

    def close(self):
        """Lets go of the poller, the queued calls and the timers. The map and its channels stay as they are.

        Does nothing the second time. RuntimeError while the loop runs.
        """
        if self.is_closed:
            return
        if self.depth:
            raise RuntimeError(f"{self!r} cannot be closed while it runs")
        self.check_fork()
        global _home
        cdef int fd
        for fd in range(len(self.owners)):
            self.detach(fd)
        self.calls.clear()
        self.is_closed = True
        self.is_open = False
        cyn_poller_close(&self.poller)
        cyn_wake_close(&self.wake_fds)
        if self.watched:
            cyn_map_unwatch(_watcher, self.map)
        _serving.pop(<size_t> <PyObject *> self.map, None)
        if _home is self:
            _home = None

    def fileno(self):
        """The descriptor that is readable when events wait, for another loop to host this one with ``poll(0)``.

        Deadlines are not in it: see `next_deadline`. OSError (ENOTSUP) with the poll and select backends.
        """
        self.check("fileno")
        self.settle(True)
        cdef int fd = cyn_poller_fd(&self.poller)
        if fd < 0:
            raise _failure(-fd, f"the {self.backend} backend has no descriptor of its own")
        return fd

    def next_deadline(self):
        """The earliest time, in seconds of `time`, at which something is due without an event, or None."""
        self.check_open("next_deadline")
        if self.calls.queued:
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
        """Calls ``callback(*args)`` once, after ``seconds``. Returns a `TimerHandle`. ValueError for a time below zero."""
        self.check("call_later")
        cdef double delay = seconds
        if not delay >= 0.0:
            raise ValueError(f"call_later: seconds must not be below zero: {seconds!r}")
        return self.add_timer(cyn_clock() / 1e9 + delay, callback, args)

    def call_at(self, when, callback, *args):
        """Calls ``callback(*args)`` once, at ``when`` seconds of `time`; where that has passed, at the next tick."""
        self.check("call_at")
        return self.add_timer(when, callback, args)

    def handle_exception(self, error, handle):
        """A callback raised: override it to do otherwise than to log it. The loop goes on."""
        log.error("%r failed", handle, exc_info=(type(error), error, error.__traceback__))

    cdef Handle queue(self, object callback, tuple args):
        cdef Handle handle
        if not callable(callback):
            raise TypeError(f"the callback cannot be called: {callback!r}")
        handle = Handle.__new__(Handle)
        handle.callback = callback
        handle.args = args
        self.calls.add(handle)
        return handle

    cdef TimerHandle add_timer(self, double when, object callback, tuple args):
        if not callable(callback):
            raise TypeError(f"the callback cannot be called: {callback!r}")
        return self.calls.add_timer(when, callback, args)

    cdef int run_due(self) except -1:
        cdef list batch
        cdef Py_ssize_t at = 0
        cdef Handle handle
        cdef int64_t now
        self.owed = True
        if self.calls.queued:
            batch = self.calls.take()
            try:
                while at < len(batch) and not (self.stopping and at):
                    handle = <Handle> batch[at]
                    at += 1
                    self.run_call(handle)
            finally:
                if at < len(batch):
                    self.calls.put_back(batch, at)
        if self.calls.timers.count:
            now = cyn_clock()
            while not self.stopping:
                handle = self.calls.due(now)
                if handle is None:
                    break
                self.run_call(handle)
        return 0

    cdef int run_call(self, Handle handle) except -1:
        try:
            handle.run()
        except LEAVING:
            raise
        except BaseException as error:  # one callback's trouble is not the loop's
            self.handle_exception(error, handle)
        return 0

    # One tick

    cdef int tick(self, int64_t limit, bint ask_all) except -1:
        cdef cyn_event events[BATCH]
        cdef int count, delivered
        cdef unsigned long number
        if self.is_closed:
            raise RuntimeError(f"{self!r} is closed")
        self.depth += 1
        self.owner_thread = PyThread_get_thread_ident()
        try:
            self.check_fork()
            if self.calls.queued or self.calls.timers.count:
                if self.calls.queued or self.calls.next_due() <= cyn_clock():
                    self.run_due()
            self.settle(ask_all)
            self.waits += 1
            count = cyn_poller_wait(&self.poller, events, BATCH, 0)
            if count <= 0 and limit != 0:
                count = self.wait(events, limit)
            elif count < 0:
                count = self.wait_failed(count)
            number = self.waits
            delivered = self.deliver(events, count, number)
            if count == 0 and self.calls.timers.count and self.calls.next_due() <= cyn_clock():
                self.run_due()
            return delivered
        finally:
            self.depth -= 1

    cdef int wait(self, cyn_event *events, int64_t limit) except -1:
        """Blocks for events, at most `limit` ns (-1: without end), and without the GIL."""
        cdef int64_t start = cyn_clock(), now = start, left
        cdef int count = 0, milliseconds
        while not (self.stopping or self.calls.queued):
            left = INT64_MAX if limit < 0 else limit - (now - start)
            if self.owed and self.asked:
                if now >= self.sweep_at:
                    self.settle(True)
                    if self.calls.queued or self.stopping:
                        return 0
                    count = cyn_poller_wait(&self.poller, events, BATCH, 0)
                    if count > 0:
                        return count
                    now = cyn_clock()
                else:
                    left = min(left, self.sweep_at - now)
            if self.calls.timers.count:
                left = min(left, self.calls.next_due() - now)
            if left <= 0:
                break
            # Rounded up: a timer is never early, and a wait below a millisecond is no busy loop.
            milliseconds = -1 if left == INT64_MAX else <int> min((left + 999_999) // 1_000_000, <int64_t> INT_MAX)
            PyErr_CheckSignals()
            self.waiting = True
            with nogil:
                count = cyn_poller_wait(&self.poller, events, BATCH, milliseconds)
            self.waiting = False
            if count > 0:
                return count
            if count < 0:
                self.wait_failed(count)
            if self.map_changed or self.touched:  # by another thread, which woke us
                self.settle(False)
            now = cyn_clock()
            if count == 0 and limit >= 0 and now - start >= limit:
                break
            if self.calls.timers.count and self.calls.next_due() <= now:
                break
        self.owed = True  # whatever happened outside meanwhile, the predicates may know of it
        return 0

    cdef int wait_failed(self, int rc) except -1:
        if rc != -EINTR:
            raise _failure(-rc, f"{self!r} cannot wait")
        PyErr_CheckSignals()
        self.owed = True
        return 0

    cdef int deliver(self, cyn_event *events, int count, unsigned long number) except -1:
        cdef int at, delivered = 0
        cdef void *owner
        for at in range(count):
            # A nested tick has served, or will be told again, whatever is left of this batch.
            if number != self.waits or (self.stopping and at):
                break
            owner = cyn_poller_owner(&self.poller, &events[at])
            if owner is NULL:
                continue
            self.owed = True
            if owner is <void *> self:
                cyn_wake_drain(&self.wake_fds)
                self.wake_pending = False
                continue
            delivered += 1
            self.dispatch(<Channel> owner, &events[at])
        return delivered

    cdef inline bint is_live(self, Channel channel, cyn_event *event):
        return cyn_poller_owner(&self.poller, event) is <void *> channel

    cdef int dispatch(self, Channel channel, cyn_event *event) except -1:
        """One event to one channel, as asyncore.readwrite did it; docs/design.md, "Dispatch"."""
        cdef uint32_t ready = event.ready
        cdef int unread = -1
        channel.traits.check()
        if ready & (CYN_READ | CYN_WRITE | CYN_PRI):
            ready &= channel.interest() | CYN_ERR | CYN_HUP | CYN_NVAL
        if channel.asked_at >= 0 and not channel.flags & TOUCHED:
            self.touch(channel)
        channel.flags &= ~(AGAIN | REFUSED)
        try:
            if ready & CYN_READ:
                if ready & (CYN_HUP | CYN_ERR):
                    unread = _unread(event.fd)
                channel.on_read()
                if not self.is_live(channel, event):
                    return 0
            if ready & CYN_WRITE:
                channel.on_write()
                if not self.is_live(channel, event):
                    return 0
            if ready & CYN_PRI:
                channel.on_urgent()
                if not self.is_live(channel, event):
                    return 0
            if ready & (CYN_HUP | CYN_ERR | CYN_NVAL):
                self.hung_up(channel, event, ready, unread)
            elif ready & CYN_READ and not channel.flags & DIRECT:
                self.deliver_pending(channel)
        except LEAVING:
            raise
        except BaseException as error:
            self.failed(channel, error)
            if ready & CYN_NVAL:
                self.drop_bad(channel, event)
        return 0

    cdef int hung_up(self, Channel channel, cyn_event *event, uint32_t ready, int unread) except -1:
        cdef int now
        if ready & CYN_NVAL:
            if event.error != EBADF:
                raise _failure(event.error, f"{channel!r} fd {event.fd} cannot be watched")
        elif ready & CYN_READ:
            now = _unread(event.fd)
            if now > 0 and now != unread:
                return 0  # it reads: the rest, and then the end, come with the next events
        elif not channel.flags & MUTED and _unread(event.fd) > 0:
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
        pending = getattr(channel.sock, "pending", None)
        if pending is not None and channel.fd >= 0 and pending() > 0:
            self.queue(_read_pending, (channel, channel.sock, channel.fd))
        return 0

    cdef int failed(self, Channel channel, object error) except -1:
        """What left a handler of the channel; called with the exception being handled."""
        if isinstance(error, OSError):
            if channel.flags & REFUSED:
                return 0  # out of descriptors: the listener has backed off
            if channel.flags & AGAIN and isinstance(error, BlockingIOError):
                return 0  # a spurious event: there was nothing to read
            if error.errno in DISCONNECTED:
                return channel.on_close()
        return channel.on_error()

    # What the channels want

    cdef int settle(self, bint ask_all) except -1:
        """Takes over the map, asks the predicates that must be asked and gives the kernel the differences."""
        cdef int64_t now
        cdef int audit = 0, rc
        if not self.watched or self.map_changed:
            self.read_map()
        if self.owed:
            now = cyn_clock()
            if now >= self.audit_at:
                self.audit_at = now + AUDIT_EVERY
                audit = AUDIT_COUNT
                self.check_kinds()
            if self.asked and now >= self.sweep_at:
                ask_all = True
        if ask_all:
            self.check_kinds()
            if self.asked:
                self.sweep()
        self.ask_touched()
        rc = cyn_poller_settle(&self.poller, audit)
        if rc < 0:
            raise _failure(-rc, f"{self!r} cannot reopen its poller after a fork")
        return 0

    cdef int ask_touched(self) except -1:
        """Asks the channels that had an event or were changed. What that touches waits for the next settle."""
        cdef list touched = self.touched
        cdef Channel channel
        if not touched:
            return 0
        self.touched = []
        for channel in touched:
            channel.flags &= ~TOUCHED
            if channel.loop is self and channel.asked_at >= 0:
                channel.ask()
            if channel.loop is self:
                channel.arm()
        return 0

    cdef int sweep(self) except -1:
        """Asks every channel that must be asked. Predicates may close channels, add some, or run the loop."""
        cdef int64_t start
        cdef Py_ssize_t at = 0
        cdef Channel channel
        if self.sweeping:
            return 0
        self.sweeping = True
        self.owed = False
        start = cyn_clock()
        try:
            while at < len(self.asked):
                channel = <Channel> self.asked[at]
                if channel is not None:  # left meanwhile; its place is closed up below
                    channel.ask()
                    if channel.loop is self:
                        channel.arm()
                at += 1
        finally:
            self.sweeping = False
            self.close_gaps()
            self.sweep_at = cyn_clock()
            self.sweep_at += SWEEP_SHARE * (self.sweep_at - start)
        return 0

    cdef int close_gaps(self) except -1:
        cdef Py_ssize_t at
        cdef Channel channel
        if None in self.asked:
            self.asked = [channel for channel in self.asked if channel is not None]
            for at in range(len(self.asked)):
                channel = <Channel> self.asked[at]
                channel.asked_at = at
        return 0

    cdef int check_kinds(self) except -1:
        """Were methods put into a class of ours, or taken out, since it was read?"""
        cdef Traits traits
        cdef bint unused = False
        for traits in self.kinds:
            if traits.users <= 0:
                unused = True
            else:
                traits.check()
        if unused:
            self.kinds = [traits for traits in self.kinds if (<Traits> traits).users > 0]
        if self.kinds_revision != revision():
            self.kinds_revision = revision()
            for owner in list(self.owners):
                if owner is not None:
                    (<Channel> owner).classify()
                    (<Channel> owner).settle()
        return 0

    cdef int touch(self, Channel channel) except -1:
        if not channel.flags & TOUCHED:
            channel.flags |= TOUCHED
            self.touched.append(channel)
        return self.changed()

    cdef int changed(self) except -1:
        if self.waiting:  # then this is another thread than the loop's
            self.wake()
        return 0

    # The map

    cdef int read_map(self) except -1:
        """Compares the map with what we know of it, after a change that was not ours."""
        cdef unsigned long long version = 0
        if not self.watched and isinstance(self.map, dict):
            version = cyn_map_version(self.map)
            if version != 0 and version == self.map_version and not self.map_changed:
                return 0
        self.map_changed = False
        self.map_version = version
        cdef Py_ssize_t fd
        for fd in range(len(self.owners)):
            if self.owners[fd] is not None and fd not in self.map:
                self.detach(<int> fd)
        for key, obj in list(self.map.items()):
            self.read_entry(key, obj)
        return 0

    cdef int read_entry(self, object key, object obj) except -1:
        cdef Channel known = None, channel
        if not isinstance(key, int) or key < 0 or key > INT_MAX:
            return self.refuse_entry(key, obj)
        cdef int fd = key
        if fd < len(self.owners):
            known = self.owners[fd]
        if known is not None and (known is obj or (known.flags & FOREIGN and (<Foreign> known).target is obj)):
            return 0
        if isinstance(obj, Channel) and (<Channel> obj).loop is None:
            channel = <Channel> obj
        else:
            channel = Foreign.__new__(Foreign)
            (<Foreign> channel).target = obj
            channel.flags |= FOREIGN
        return self.attach(fd, channel)

    cdef int refuse_entry(self, object key, object obj) except -1:
        """An entry that is not a descriptor costs its object, not the loop."""
        self.map.pop(key, None)
        try:
            raise _failure(EBADF, f"{key!r}, the key of {obj!r} in the map, is no file descriptor")
        except OSError:
            obj.handle_error()
        return 0

    cdef int put(self, int fd, Channel channel) except -1:
        """add_channel: into the map and into the loop."""
        self.check("add_channel")
        self.check_fork()
        if channel.fd >= 0 and channel.fd != fd:
            self.detach(channel.fd)
        self.attach(fd, channel)
        # Kept until the change is noted: its end may run code that changes the map again.
        before = self.map.get(fd)
        cdef bint in_step = self.begin_change()
        try:
            self.map[fd] = channel
        finally:
            self.end_change(in_step)
        return 0

    cdef int take_out(self, int fd) except -1:
        """del_channel: out of the loop and out of the map."""
        before = self.map.get(fd)
        self.detach(fd)
        cdef bint in_step = self.begin_change()
        try:
            del self.map[fd]
        finally:
            self.end_change(in_step)
        return 0

    cdef bint begin_change(self):
        """A change of ours to the map begins. Was the map known up to here?"""
        self.own_change = self.watched
        return not self.watched and isinstance(self.map, dict) and self.map_version == cyn_map_version(self.map)

    cdef int end_change(self, bint in_step) except -1:
        self.own_change = False
        if in_step:
            self.map_version = cyn_map_version(self.map)
        return self.changed()

    cdef int want(self, int fd, unsigned mask) except -1:
        if cyn_poller_want(&self.poller, fd, mask) < 0:
            raise MemoryError
        return self.changed()

    cdef int renew(self, Channel channel) except -1:
        """The channel has another socket: nothing of what the kernel was told counts."""
        if cyn_poller_add(&self.poller, channel.fd, <void *> channel) < 0:
            raise MemoryError
        channel.flags &= ~(HELD | MUTED)
        return channel.settle()

    cdef int later(self, int64_t milliseconds, object callback) except -1:
        self.add_timer(cyn_clock() / 1e9 + milliseconds / 1e3, callback, ())
        return 0

    cdef int attach(self, int fd, Channel channel) except -1:
        cdef int rc = cyn_poller_add(&self.poller, fd, <void *> channel)
        cdef Channel known
        if rc < 0:
            raise _failure(-rc, f"{channel!r} fd {fd} cannot be added")
        while len(self.owners) <= fd:
            self.owners.append(None)
        known = self.owners[fd]
        self.owners[fd] = channel
        if known is not None:
            self.let_go(known)
        self.channel_count += 1
        channel.loop = self
        channel.fd = fd
        channel.said = 0
        channel.flags &= ~(HELD | MUTED)
        channel.traits = traits_of(type(channel))
        channel.traits.users += 1
        if channel.traits not in self.kinds:
            self.kinds.append(channel.traits)
        channel.classify()
        return channel.settle()

    cdef int detach(self, int fd) except -1:
        cdef Channel known
        if fd >= len(self.owners) or self.owners[fd] is None:
            return 0
        known = self.owners[fd]
        self.owners[fd] = None
        cyn_poller_remove(&self.poller, fd)
        return self.let_go(known)

    cdef int let_go(self, Channel channel) except -1:
        self.channel_count -= 1
        self.leave_asked(channel)
        channel.loop = None
        channel.fd = -1
        channel.traits.users -= 1
        return 0

    cdef int join_asked(self, Channel channel) except -1:
        if channel.asked_at < 0:
            channel.asked_at = len(self.asked)
            self.asked.append(channel)
        return 0

    cdef int leave_asked(self, Channel channel) except -1:
        cdef Channel last
        if channel.asked_at < 0:
            return 0
        if self.sweeping:
            self.asked[channel.asked_at] = None
        else:
            last = <Channel> self.asked[len(self.asked) - 1]
            self.asked[channel.asked_at] = last
            last.asked_at = channel.asked_at
            self.asked.pop()
        channel.asked_at = -1
        return 0

    # Checks

    cdef int check_open(self, str what) except -1:
        if self.is_closed:
            raise RuntimeError(f"{what}: {self!r} is closed")
        return 0

    cdef int check(self, str what) except -1:
        if self.is_closed:
            raise RuntimeError(f"{what}: {self!r} is closed")
        if self.debug and self.depth and self.owner_thread != PyThread_get_thread_ident():
            raise RuntimeError(f"{what}: called in thread {PyThread_get_thread_ident()}, but {self!r} runs in "
                               f"thread {self.owner_thread}; use call_soon_threadsafe")
        return 0

    cdef int check_fork(self) except -1:
        """In the child of a fork: a wake-up of its own. The poller sees to itself, at its first use."""
        if self.epoch == cyn_fork_epoch:
            return 0
        self.epoch = cyn_fork_epoch
        self.waits += 1
        self.wake_pending = False
        self.turn = threading.RLock()
        cyn_poller_remove(&self.poller, self.wake_fds.read_fd)
        cyn_wake_close(&self.wake_fds)
        self.open_wake()
        return 0


def _read_pending(Channel channel, sock, int fd):
    """Delivers another read event for bytes that are in the TLS socket already."""
    cdef Loop loop = channel.loop
    if loop is None or channel.sock is not sock or channel.fd != fd or not channel.interest() & CYN_READ:
        return
    channel.flags &= ~(AGAIN | REFUSED)
    try:
        channel.on_read()
    except LEAVING:
        raise
    except BaseException as error:
        loop.failed(channel, error)
    if channel.loop is loop and channel.fd == fd:
        if channel.asked_at >= 0:
            loop.touch(channel)
        if channel.sock is sock:
            loop.deliver_pending(channel)


cdef int _unread(int fd):
    """Bytes that wait in the kernel, 0 where it does not say."""
    cdef int count = 0
    return count if cyn_ioctl(fd, FIONREAD, &count) == 0 else 0


set_loop_of(Loop.of)
