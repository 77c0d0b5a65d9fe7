# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Registry: the base of a loop. It keeps the poller, the owners of descriptors, the program's map and queued calls.

Facts that shape it:
- The map is the program's dict. `add_channel` and `del_channel` report their changes. A change by hand is noticed by a
  dict watcher from Python 3.12 on, and by the dict's version number before. Other mappings are read at every tick.
- A slot of the poller points to its owner but holds no reference. The list `owners` holds it, where the garbage
  collector can see it.
- A blocked wait reads no slot, so other threads may add and remove channels during it. They see `waiting`, and wake it.
- This module does not know what a channel is. `watcher` builds on it, and `predicates`, `dispatch` and `loop` on both.
"""

import os
from _thread import RLock
from _weakref import ref

import cython

from cpython.dict cimport PyDict_Check
from cpython.list cimport PyList_GET_SIZE, PyList_SET_ITEM
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport INT64_MAX, int64_t

from .bell cimport Bell, is_main_thread
from .calls cimport Handle, TimerHandle, are_queued, has_timers
from .csrc cimport (
    CYN_READ,
    cyn_clock,
    cyn_event,
    cyn_fork_epoch,
    cyn_poller_add,
    cyn_poller_backend,
    cyn_poller_refused,
    cyn_poller_alarm,
    cyn_poller_apply,
    cyn_poller_close,
    cyn_poller_fd,
    cyn_poller_host,
    cyn_poller_is_busy,
    cyn_poller_names,
    cyn_poller_open,
    cyn_poller_remove,
    cyn_poller_wait,
    cyn_poller_want,
    cyn_poller_wanted,
    cyn_wake_close,
    cyn_wake_drain,
    cyn_wake_fd,
    cyn_wake_forget,
    cyn_wake_open,
    cyn_wake_signal,
)
from .internals cimport (
    CYN_DICT_FREED,
    CYN_DICTS_HAVE_VERSIONS,
    CYN_FREE_THREADS,
    cyn_dict_event,
    cyn_dict_version,
    cyn_see_int,
    cyn_see_thread,
    cyn_set_int,
    cyn_ticking,
    cyn_unwatch,
    cyn_watch,
    cyn_watcher_add,
)

from .. import _rules

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()

cdef int64_t RETRY = 100_000_000       # ns until a change is tried again for which the kernel had no memory
ASK_AGAIN = 1_000_000                  # ns until the channels are asked that predicates made dirty; doubled each time
ASK_SELDOM = 1_000_000_000             # and at most this

BACKENDS = ()
cdef int _at = 0
while cyn_poller_names[_at] is not NULL:
    BACKENDS += (cyn_poller_names[_at].decode(),)
    _at += 1

# Weak references to the registry of every map in use, by the map's address. A registry keeps its map alive, so no other
# dict can have an address that is in here.
cdef dict _serving = {}
cdef void *_last = NULL  # the registry that was found last; its __dealloc__ resets this
cdef int _watcher = -1


cdef object failure(int error, str what):
    return OSError(error, f"{os.strerror(error)}: {what}")


class _KeyedRef(ref):
    """A weak reference that knows its key, as weakref.KeyedRef does; that module takes long to import."""

    __slots__ = ("key",)


def _forget_registry(reference):
    if _serving.get(reference.key) is reference:
        del _serving[reference.key]


cdef Registry registry_of(object map):
    """Returns the registry that serves ``map``, or None; `registry_for` makes one."""
    global _last
    cdef Registry found
    if not CYN_FREE_THREADS and _last is not NULL and (<Registry> _last).map is map:
        return <Registry> _last
    reference = _serving.get(<size_t> <PyObject *> map)
    found = None if reference is None else reference()
    if found is not None and not CYN_FREE_THREADS:
        _last = <void *> found
    return found


cdef object _make_loop = None


def make_loops_with(make):
    """Sets the function that makes the loop of a map. `loop`, which builds on this module, calls it once."""
    global _make_loop
    _make_loop = make


cdef Registry registry_for(object map):
    """Returns the loop that serves ``map``, and makes it at its first use."""
    cdef Registry found = registry_of(map)
    return <Registry> _make_loop(map) if found is None else found


cdef void **ticking_here() noexcept:
    """Returns where this thread keeps its loop whose tick is in progress."""
    return cyn_ticking()


cdef int _map_changes(cyn_dict_event event, PyObject *map, PyObject *key, PyObject *value) noexcept:
    """Called when a watched dict is about to change."""
    cdef Registry registry
    if event == CYN_DICT_FREED:
        return 0
    reference = _serving.get(<size_t> map)
    if reference is not None:
        registry = reference()
        if registry is not None:
            if registry.own_change:
                registry.own_change = False
            else:
                registry.map_changed = True
                registry.changed()
    return 0


cdef class Registry:
    """The base of `Loop`, and all of it that channels use.

    It owns the poller, the wake-up, the queued calls and the lists of watchers, and serves one map. It relies on csrc,
    and on its subclasses to walk the lists and to run the loop.
    """

    def __cinit__(self):
        cyn_wake_forget(&self.wake_fds)
        self.bell_fd = -1
        self.owners = []
        self.polled = []
        self.dirty = []
        self.recent = []
        self.kinds = []
        self.gathered = []
        self.timed = {}
        self.slowed = {}
        self.turn = RLock()
        self.again = ASK_AGAIN
        self.work_at = INT64_MAX
        self.map_changed = True
        self.is_closed = True  # until `serve` has given it a map
        self.figures.begun = cyn_clock()

    def __dealloc__(self):
        global _last
        if _last is <void *> self:
            _last = NULL
        if self.is_open:
            cyn_poller_close(&self.poller)
        cyn_wake_close(&self.wake_fds)

    cdef int serve(self, object map, object backend) except -1:
        """Opens the poller and becomes the loop of the map. ValueError if the map has one already."""
        global _watcher
        self.open_poller(backend)
        self.map = map
        # Made before the check, because making it may run Python code. Between the check and the entry none may run.
        reference = _KeyedRef(self, _forget_registry)
        reference.key = <size_t> <PyObject *> map
        if registry_of(map) is not None:  # another thread has made one meanwhile
            cyn_poller_close(&self.poller)
            cyn_wake_close(&self.wake_fds)
            self.is_closed = True
            self.is_open = False
            raise ValueError(f"the map has a loop already: {registry_of(map)!r}")
        _serving[<size_t> <PyObject *> map] = reference
        if isinstance(map, dict):
            if _watcher < 0:
                _watcher = cyn_watcher_add(_map_changes)
            if _watcher >= 0:
                self.watched = True
                cyn_watch(_watcher, map)
        self.tells = self.watched or (CYN_DICTS_HAVE_VERSIONS and PyDict_Check(map))
        return 0

    cdef int leave_map(self) except -1:
        """Closes the poller and gives up the map, whose contents stay as they are."""
        global _last
        if _last is <void *> self:
            _last = NULL
        with cython.critical_section(self):
            self.is_closed = True
            self.is_open = False
            cyn_poller_close(&self.poller)
            cyn_wake_close(&self.wake_fds)
        if self.bell is not None:
            self.bell.close()
        if self.watched:
            cyn_unwatch(_watcher, self.map)
        _serving.pop(<size_t> <PyObject *> self.map, None)
        return 0

    cdef int open_poller(self, object backend) except -1:
        cdef bytes name = b"" if backend is None else backend.encode()
        cdef int rc = cyn_poller_open(&self.poller, <char *> name if name else NULL)
        if rc < 0:
            raise failure(-rc, f"cannot open the {backend or 'default'} poller")
        self.poller.tries = True
        self.is_open = True
        self.backend_name = cyn_poller_backend(&self.poller).decode()
        self.epoch = cyn_fork_epoch
        self.open_wake()
        return 0

    cdef int open_wake(self) except -1:
        cdef int rc = cyn_wake_open(&self.wake_fds)
        if rc >= 0:
            rc = cyn_poller_add(&self.poller, cyn_wake_fd(&self.wake_fds), <void *> self)
        if rc >= 0:
            rc = cyn_poller_want(&self.poller, cyn_wake_fd(&self.wake_fds), CYN_READ)
        if rc < 0:
            raise failure(-rc, "cannot open the wake-up descriptor")
        return 0

    def wake(self):
        """Ends the wait in progress, or the next one. Any thread."""
        # Without the GIL: `woken` must not drain what is signalled here, nor `close` take the descriptor away.
        with cython.critical_section(self):
            self.check_open("wake")
            self.check_fork()
            if not self.wake_pending:
                self.wake_pending = True
                cyn_wake_signal(&self.wake_fds)

    cdef int woken(self, int fd, bint lost) except -1:
        """Called for an event of the wake-up descriptor, or of the bell. `lost`: the program has closed it by mistake.
        """
        if fd == self.bell_fd:
            if lost:
                return self.drop_bell(True)
            self.bell.empty()
            return 0
        with cython.critical_section(self):
            self.wake_pending = False
            if not lost:
                cyn_wake_drain(&self.wake_fds)
                return 0
            cyn_poller_remove(&self.poller, cyn_wake_fd(&self.wake_fds))
            cyn_wake_forget(&self.wake_fds)  # its numbers may belong to other files by now
            return self.open_wake()

    # Signals

    cdef int hear_signals(self) except -1:
        """From now on a signal ends the wait, until `stop_hearing`. Does nothing outside of the main thread."""
        if self.untold_thread == self.owner_thread:
            return 0
        if is_main_thread() and (self.bell is None or not self.hang_bell()):
            self.drop_bell(True)  # it is none, or was closed behind our back
            if self.open_bell():
                self.hang_bell()
        if not self.is_told:
            self.untold_thread = self.owner_thread
        return 0

    cdef bint hang_bell(self) except -1:
        try:
            self.bell.hang()
        except (OSError, ValueError):  # its descriptor is closed, or another file's
            return False
        self.is_told = True
        return True

    cdef int open_bell(self) except -1:
        """Makes the bell, and has it watched. Returns 0 if the process has no descriptors left: then it does without.
        """
        cdef Bell bell
        try:
            bell = Bell()
            bell.leave_numbers_of(self.owners)
        except OSError:
            return 0
        if cyn_poller_add(&self.poller, bell.reader, <void *> self) < 0:
            return 0
        if cyn_poller_want(&self.poller, bell.reader, CYN_READ) < 0:
            cyn_poller_remove(&self.poller, bell.reader)
            return 0
        self.bell = bell
        self.bell_fd = bell.reader
        self.apply(0)
        return 1

    cdef int stop_hearing(self) except -1:
        self.is_told = False
        self.bell.take_down()
        return 0

    cdef int drop_bell(self, bint lost) except -1:
        """Does without the bell: it belongs to the parent of a fork, or is `lost`, as in `woken`."""
        if self.bell is None:
            return 0
        if self.is_told:
            self.stop_hearing()
        cyn_poller_remove(&self.poller, self.bell_fd)
        self.bell_fd = -1
        cdef Bell bell = self.bell
        self.bell = None
        if lost:
            bell.forget()
        else:
            bell.close()
        return 0

    cdef int take_events(self, cyn_event *events, int room, int64_t timeout) noexcept nogil:
        return cyn_poller_wait(&self.poller, events, room, timeout)

    cdef bint is_refused(self) noexcept:
        cdef int fd
        return cyn_poller_refused(&self.poller, &fd) != 0

    cdef int poller_fd(self) noexcept:
        return cyn_poller_fd(&self.poller)

    cdef int have_descriptor(self) except -1:
        """Has a loop over poll or select go on with epoll or kqueue, whose descriptor a host can watch."""
        cdef int rc = cyn_poller_host(&self.poller)
        if rc < 0:
            raise failure(-rc, f"{self!r} cannot be hosted: there is no descriptor that tells of its events")
        self.backend_name = cyn_poller_backend(&self.poller).decode()
        return 0

    cdef int set_alarm(self) except -1:
        """Notes when `poll` next has work without an event. For a loop that is hosted: `fileno()` then is readable."""
        cdef int64_t due = INT64_MAX
        if are_queued(self.calls) or cyn_poller_is_busy(&self.poller):
            due = 1  # at once: a moment that has passed
        elif self.dirty:
            due = min(due, cyn_clock() + self.again)
            self.again = min(self.again * 2, ASK_SELDOM)
        else:
            self.again = ASK_AGAIN
        if self.is_refused():
            due = min(due, cyn_clock() + RETRY)
        self.work_at = due
        if not self.rings:
            return 0
        if has_timers(self.calls):
            due = min(due, self.calls.next_due())
        cdef int rc = cyn_poller_alarm(&self.poller, due)
        if rc < 0:
            raise failure(-rc, f"{self!r} cannot set the alarm for the loop that hosts it")
        return 0

    cdef int changed(self) except -1:
        # While the loop waits, only another thread can come here, and must wake it. A host must poll its loop.
        if self.waiting or (self.hosted and self.depth == 0):
            self.wake()
        return 0

    # By descriptor

    cdef object register(self, int fd, object owner):
        """Makes ``owner`` the owner of ``fd``, and returns the owner before, or None.

        If it raises for want of memory, no slot points to ``owner``.
        """
        cdef int rc = cyn_poller_add(&self.poller, fd, <void *> owner)
        if rc < 0:
            raise failure(-rc, f"{owner!r} fd {fd} cannot be added")
        try:
            while len(self.owners) <= fd:
                self.owners.append(None)
        except BaseException:
            cyn_poller_remove(&self.poller, fd)
            raise
        before = self.owners[fd]
        self.owners[fd] = owner
        self.owner_count += before is None
        return before

    cdef object unregister(self, int fd):
        """Removes the owner of ``fd``, and returns it, or None if there was none."""
        if not 0 <= fd < len(self.owners) or self.owners[fd] is None:
            return None
        before = self.owners[fd]
        self.owners[fd] = None
        self.owner_count -= 1
        cyn_poller_remove(&self.poller, fd)
        return before

    cdef int renew(self, int fd, object owner) except -1:
        """Has the kernel told everything of ``fd`` again, as it may be another open file description now (epoll(7))."""
        if cyn_poller_add(&self.poller, fd, <void *> owner) < 0:
            raise MemoryError
        return 0

    cdef int want(self, int fd, unsigned mask) except -1:
        # A host need not be told where nothing is new: what its code writes has mostly been sent at once.
        cdef bint is_news = self.waiting or cyn_poller_wanted(&self.poller, fd) != mask
        if cyn_poller_want(&self.poller, fd, mask) < 0:
            raise MemoryError
        return self.changed() if is_news else 0

    cdef int apply(self, int audit) except -1:
        """Gives the kernel the differences, and checks whether ``audit`` of the descriptors are still open."""
        cdef int rc = cyn_poller_apply(&self.poller, audit)
        if rc < 0:
            raise failure(-rc, f"{self!r} cannot reopen its poller after a fork")
        return 0

    cdef int note_kind(self, object traits) except -1:
        if traits not in self.kinds:
            self.kinds.append(traits)
        return 0

    # The map

    cdef int map_put(self, int fd, object owner) except -1:
        """Puts ``owner`` into the map. The loop does not count this as a change by hand."""
        # The entry before is kept alive until the change is noted, since its finalizer may change the map again.
        _before = self.map.get(fd)
        cdef bint in_step = self.begin_change()
        try:
            self.map[fd] = owner
        finally:
            self.end_change(in_step)
        return 0

    cdef int map_remove(self, int fd) except -1:
        _before = self.map.get(fd)
        cdef bint in_step = self.begin_change()
        try:
            del self.map[fd]
        finally:
            self.end_change(in_step)
        return 0

    cdef bint begin_change(self) noexcept:
        """Begins a change that the loop makes to the map. Returns True if the map had no change by hand before it."""
        self.own_change = self.watched
        return not self.watched and isinstance(self.map, dict) and self.map_version == cyn_dict_version(self.map)

    cdef int end_change(self, bint in_step) except -1:
        self.own_change = False
        if in_step:
            self.map_version = cyn_dict_version(self.map)
        return self.changed()

    # Calls

    cdef Handle queue(self, object callback, tuple args):
        cdef Handle handle
        if not callable(callback):
            raise _rules.not_callable(callback)
        handle = Handle.__new__(Handle)
        handle.callback = callback
        handle.args = args
        self.calls.add(handle)
        if self.hosted and self.depth == 0:
            self.wake()
        return handle

    cdef TimerHandle add_timer(self, double when, object callback, tuple args):
        if not callable(callback):
            raise _rules.not_callable(callback)
        cdef int64_t before = self.calls.next_due() if self.hosted else 0
        handle = self.calls.add_timer(when, callback, args, self.earliest)
        if self.hosted and self.depth == 0:
            self.timer_set(before)
        return handle

    cdef int set_timer(self, TimerHandle handle, double when) except -1:
        """Sets a timer that its owner keeps, and that is not set."""
        self.check_open("call_at")
        cdef int64_t before = self.calls.next_due() if self.hosted else 0
        self.calls.put_timer(handle, when, self.earliest)
        if self.hosted and self.depth == 0:
            self.timer_set(before)
        return 0

    cdef int timer_set(self, int64_t before) except -1:
        """A timer was set outside of a tick. `before`: when the next one was due until then."""
        if self.rings:
            self.set_alarm()
        elif self.calls.next_due() < before:
            self.wake()  # the host asks again for the next deadline
        return 0

    cdef int later(self, int64_t milliseconds, object callback, tuple args) except -1:
        self.add_timer(cyn_clock() / 1e9 + milliseconds / 1e3, callback, args)
        return 0

    # Output

    cdef bint is_sending_later(self) except -1:
        """Returns True if this thread is in a tick of this loop, at whose end what is gathered is sent."""
        if self.epoch != cyn_fork_epoch:
            self.check_fork()
        # Not so in the child of a fork, which may never reach the end of this tick.
        return (
            cyn_ticking()[0] is <void *> self and not self.waiting and not self.flushing
            and self.tick_epoch == self.epoch
        )

    cdef bint runs_elsewhere(self) noexcept:
        """Returns True if a thread other than this one is in a tick of the loop."""
        return cyn_see_int(&self.depth) and cyn_see_thread(&self.owner_thread) != PyThread_get_thread_ident()

    cdef int sending(self) except -1:
        """Returns who sends output that this thread has for a channel: SEND_NOW, SENT_LATER or NOT_OURS."""
        if self.is_sending_later():
            return SENT_LATER
        if self.runs_elsewhere() or not self.turn.acquire(False):
            return NOT_OURS
        return SEND_NOW

    cdef int sent(self) except -1:
        if self.turn._is_owned():  # after a fork in between, the child has a new lock that nobody holds
            self.turn.release()
        return 0

    cdef int gather(self, object channel) except -1:
        """Has `flush` of the channel called before the next wait of the loop."""
        if self.gathered_count < PyList_GET_SIZE(self.gathered):
            Py_INCREF(channel)
            PyList_SET_ITEM(self.gathered, self.gathered_count, channel)
            Py_DECREF(None)  # which was there
        else:
            self.gathered.append(channel)
        self.gathered_epoch = self.epoch
        self.gathered_count += 1
        return 0

    cdef bint is_copy(self) noexcept:
        """Returns True in the child of a fork if the output was gathered before it: then the parent sends it."""
        return self.gathered_epoch != cyn_fork_epoch

    # Checks

    cdef int check_open(self, str what) except -1:
        if self.is_closed:
            raise _rules.closed_loop(what, self, self.calls is not None)
        return 0

    cdef int check(self, str what) except -1:
        if self.is_closed:
            raise _rules.closed_loop(what, self, self.calls is not None)
        self.check_fork()
        if self.debug and self.runs_elsewhere():
            raise _rules.wrong_thread(what, self, cyn_see_thread(&self.owner_thread))
        return 0

    cdef int check_caller(self, str what, object channel) except -1:
        """In debug mode: is this the thread that runs the loop?"""
        if self.runs_elsewhere():
            _rules.called_elsewhere(what, channel, self, cyn_see_thread(&self.owner_thread))
        return 0

    cdef int check_fork(self) except -1:
        """In the child of a fork, opens a wake-up of its own. The poller reopens itself at its first use."""
        if self.epoch == cyn_fork_epoch:
            return 0
        self.epoch = cyn_fork_epoch
        self.waits += 1
        self.wake_pending = self.waiting = False
        self.turn = RLock()
        if self.owner_thread != PyThread_get_thread_ident():
            cyn_set_int(&self.depth, 0)  # the thread that ran the loop is not here
        cyn_poller_remove(&self.poller, cyn_wake_fd(&self.wake_fds))
        cyn_wake_close(&self.wake_fds)
        self.untold_thread = 0
        self.drop_bell(False)
        return self.open_wake()

    cdef unsigned fork_epoch(self) noexcept:
        return cyn_fork_epoch
