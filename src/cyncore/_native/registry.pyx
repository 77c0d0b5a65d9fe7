# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Registry: which channel serves which descriptor of a map, and what the kernel is told of it.

Facts that shape it:
- The map is the users' dict. What `add_channel` and `del_channel` put there we know; what a program changes by hand is
  told by a dict watcher (3.12 on) or the dict's version number (before). Other mappings are read anew at every tick.
- A slot of the poller points to a channel without owning it; `owners` owns it where the garbage collector can see it.
- Predicates are user code: they may close channels, add some, or run the loop. Lists are walked by index, and a channel
  that leaves during a sweep leaves a gap.
- A blocked wait looks at no slot, so other threads may add and remove channels meanwhile; `waiting` tells them to end
  it.
"""

import os
from _thread import RLock
from _weakref import ref

from cpython.dict cimport PyDict_Check
from cpython.object cimport PyObject
from libc.errno cimport EBADF, errno
from libc.limits cimport INT_MAX
from libc.stdint cimport int64_t

from .channel cimport (
    RECV_EAGAIN,
    BACKED_OFF,
    DIRECT,
    FOREIGN,
    HELD,
    MUTED,
    PENDING,
    PENDING_LATER,
    ACCEPT_EMFILE,
    RECENT,
    DIRTY,
    Channel,
    Foreign,
    LoopBase,
    _fileno,
)
from .csrc cimport (
    CYN_READ,
    F_GETFD,
    cyn_clock,
    cyn_event,
    cyn_fcntl,
    cyn_fork_epoch,
    cyn_poller_add,
    cyn_poller_backend,
    cyn_poller_refused,
    cyn_poller_alarm,
    cyn_poller_close,
    cyn_poller_fd,
    cyn_poller_names,
    cyn_poller_open,
    cyn_poller_remove,
    cyn_poller_apply,
    cyn_poller_wait,
    cyn_poller_want,
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
    cyn_unwatch,
    cyn_watch,
    cyn_watcher_add,
)
from .traits cimport Traits, revision, traits_of

from .channel import ExitNow
from .._report import WARNING, report

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()

cdef int AUDIT_COUNT = 64              # descriptors checked at once for having been closed behind our back
cdef int64_t AUDIT_EVERY = 10_000_000  # ns of activity between two audits
cdef int64_t SWEEP_SHARE = 19          # under load a piece that took t waits for 19 t: a twentieth of the time
cdef int64_t PIECE = 50_000            # ns that a piece of a sweep takes, between two looks for events
cdef int64_t PAUSE = 50_000            # ns that other threads get the GIL for, between the pieces of a sweep
cdef int PIECES = 8                    # pieces between two such pauses, where nobody was seen to want the GIL
cdef Py_ssize_t RECENT_MOST = 64       # channels that are asked before all others
cdef unsigned RECENT_PASSES = 100      # that a channel stays one of them, without an event or another answer
cdef int SWEEPS_MOST = 8               # within one another: each takes some of the stack
cdef int DIRTY_ROUNDS = 3            # what predicates touch is asked at once, and what those touch, but no further
cdef tuple EXITS = (ExitNow, KeyboardInterrupt, SystemExit)

BACKENDS = ()
cdef int _at = 0
while cyn_poller_names[_at] is not NULL:
    BACKENDS += (cyn_poller_names[_at].decode(),)
    _at += 1

# The registry of every map in use, found by the map's address. A channel keeps its loop alive and a loop its map, so an
# address in here is never that of another dict.
cdef dict _serving = {}
cdef void *_last = NULL  # the one that was found last; it takes itself out at its end
cdef int _watcher = -1


cdef object failure(int error, str what):
    return OSError(error, f"{os.strerror(error)}: {what}")


class _KeyedRef(ref):
    """A reference that knows its key: weakref's own, without the import of that module."""

    __slots__ = ("key",)


def _forget_registry(reference):
    if _serving.get(reference.key) is reference:
        del _serving[reference.key]


cdef Registry registry_of(object map):
    global _last
    cdef Registry found
    if _last is not NULL and (<Registry> _last).map is map and not CYN_FREE_THREADS:
        return <Registry> _last
    reference = _serving.get(<size_t> <PyObject *> map)
    found = None if reference is None else reference()
    if found is not None:
        _last = <void *> found
    return found


cdef int _map_changes(cyn_dict_event event, PyObject *map, PyObject *key, PyObject *value) noexcept:
    """A watched dict is about to change."""
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


cdef class Registry(LoopBase):
    """What a `Loop` keeps of its map: the channels by descriptor, their interest, and the poller."""

    def __cinit__(self):
        cyn_wake_forget(&self.wake_fds)
        self.owners = []
        self.polled = []
        self.dirty = []
        self.recent = []
        self.kinds = []
        self.turn = RLock()
        self.map_changed = True
        self.is_closed = True  # until it has a map

    def __dealloc__(self):
        global _last
        if _last is <void *> self:
            _last = NULL
        if self.is_open:
            cyn_poller_close(&self.poller)
        cyn_wake_close(&self.wake_fds)

    cdef int serve(self, object map, object backend) except -1:
        """Opens the poller and takes the map on."""
        global _watcher
        self.open_poller(backend)
        self.map = map
        # Made before the look, as Python code runs in it: between the look and the entry no other thread has its turn.
        reference = _KeyedRef(self, _forget_registry)
        reference.key = <size_t> <PyObject *> map
        if registry_of(map) is not None:  # another thread was quicker
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
        """Lets go of the map, which stays as it is, and closes the poller."""
        cdef int fd
        for fd in range(len(self.owners)):
            self.detach(fd)
        global _last
        if _last is <void *> self:
            _last = NULL
        self.is_closed = True
        self.is_open = False
        cyn_poller_close(&self.poller)
        cyn_wake_close(&self.wake_fds)
        if self.watched:
            cyn_unwatch(_watcher, self.map)
        _serving.pop(<size_t> <PyObject *> self.map, None)
        return 0

    cdef int open_poller(self, object backend) except -1:
        cdef bytes name = b"" if backend is None else backend.encode()
        cdef int rc = cyn_poller_open(&self.poller, <char *> name if name else NULL)
        if rc < 0:
            raise failure(-rc, f"cannot open the {backend or 'default'} poller")
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
        self.check_open("wake")
        self.check_fork()
        if not self.wake_pending:
            self.wake_pending = True
            cyn_wake_signal(&self.wake_fds)

    cdef int woken(self, bint lost) except -1:
        """The wake-up descriptor fired. `lost`: a program that closes what it has not opened has closed it."""
        self.wake_pending = False
        if not lost:
            cyn_wake_drain(&self.wake_fds)
            return 0
        cyn_poller_remove(&self.poller, cyn_wake_fd(&self.wake_fds))
        cyn_wake_forget(&self.wake_fds)  # whose these numbers are now, nobody knows
        return self.open_wake()

    cdef int take_events(self, cyn_event *events, int room, int64_t timeout) noexcept nogil:
        return cyn_poller_wait(&self.poller, events, room, timeout)

    cdef bint is_refused(self) noexcept:
        cdef int fd
        return cyn_poller_refused(&self.poller, &fd) != 0

    cdef int ring_at(self, int64_t when) noexcept:
        return cyn_poller_alarm(&self.poller, when)

    cdef int poller_fd(self) noexcept:
        return cyn_poller_fd(&self.poller)

    # What the channels want

    # Predicates are the program's code over any state of the program's. An answer can have changed for four reasons:
    # 1. something has happened to the channel, and 2. an attribute was set on it: then it is in `dirty`, and asked
    # before the next wait. 3. What an attribute holds was changed (a list, a counter), by a handler or by a thread that
    # then woke the loop: channels that were active lately are `recent`, and asked before each wait that would block and
    # after each that did. 4. Anything else: a sweep asks all of the others, in pieces: at once where there is nothing
    # else to do, and in a twentieth of the time where there is. It is complete, and nobody need be asked, when
    # everyone was asked since Python code ran last: `runs` counts that.

    cdef int prepare(self, bint sweep_all) except -1:
        """Takes over the map, asks the predicates that must be asked and gives the kernel the differences."""
        cdef int64_t now
        cdef int audit = 0, rc, rounds = 0
        if is_map_changed(self) or not self.tells:
            self.read_map()
        if self.runs != self.prepared_runs:
            self.prepared_runs = self.runs
            now = tick_time(self)
            if now >= self.audit_at:
                self.audit_at = now + AUDIT_EVERY
                audit = AUDIT_COUNT
                self.check_kinds()
            if self.polled and not sweep_all and now >= self.sweep_at:
                self.ask_recent()
                self.sweep(PIECE)
        if sweep_all:
            self.check_kinds()
            if self.polled:
                self.ask_everyone()
        elif self.awoke:
            self.awoke = False
            self.ask_recent()
        while self.dirty and rounds < DIRTY_ROUNDS:
            self.ask_dirty()
            rounds += 1
        rc = cyn_poller_apply(&self.poller, audit)
        if rc < 0:
            raise failure(-rc, f"{self!r} cannot reopen its poller after a fork")
        cdef int refused_fd
        cdef int refusal = cyn_poller_refused(&self.poller, &refused_fd)
        if refusal:
            self.tell_refusal(refusal, refused_fd)
        return 0

    cdef int tell_refusal(self, int error, int fd) except -1:
        """Logs, once a second, that the kernel has no room for what is wanted of a descriptor, and is asked again."""
        cdef int64_t now = cyn_clock()
        if self.refusal_told and now - self.refusal_told < 1_000_000_000:
            return 0
        self.refusal_told = now
        owner = self.owners[fd] if fd < len(self.owners) else None
        report(WARNING, "%r fd %d cannot be watched yet: %s; trying again every 100 ms",
               self if owner is None else owner, fd, os.strerror(error))
        return 0

    cdef int ask_dirty(self) except -1:
        """Asks the channels that had an event or were changed. What that touches waits for the next round."""
        cdef list dirty = self.dirty
        cdef Py_ssize_t at = 0
        cdef Channel channel
        self.now = 0
        cdef list before = self.asking
        self.dirty = []
        self.dirty_gaps = 0
        self.asking = dirty
        try:
            while at < len(dirty):
                entry = dirty[at]
                at += 1
                if entry is not None:
                    channel = <Channel> entry
                    channel.flags &= ~DIRTY
                    if channel.loop is self:
                        self.ask(channel)
                        self.recent_add(channel)
        finally:
            self.asking = before
            if at < len(dirty):
                self.dirty = dirty[at:] + self.dirty
                self.dirty_renumber()
        return 0

    cdef int dirty_renumber(self) except -1:
        self.dirty = [entry for entry in self.dirty if entry is not None]
        self.dirty_gaps = 0
        for at, entry in enumerate(self.dirty):
            (<Channel> entry).dirty_index = at
        return 0

    cdef int dirty_remove(self, Channel channel) except -1:
        """It has left the map: where somebody else polls that, no tick would ever let go of it."""
        cdef Py_ssize_t at = channel.dirty_index
        if at < len(self.dirty) and self.dirty[at] is channel:
            self.dirty[at] = None
            self.dirty_gaps += 1
            if self.dirty_gaps > 16 and self.dirty_gaps * 2 > len(self.dirty):
                self.dirty_renumber()
        elif self.asking is not None and at < len(self.asking) and self.asking[at] is channel:
            self.asking[at] = None
        return 0

    cdef int ask(self, Channel channel) except -1:
        """Asks one channel, and notes what it wants now."""
        try:
            if channel.polled_index >= 0:
                channel.polled_run = self.runs
                channel.ask()
            channel.arm()
        except EXITS:
            raise
        except BaseException:  # the old loop died of it; it is one channel's trouble
            channel.on_error()
        return 0

    cdef int recent_add(self, Channel channel) except -1:
        """It was active: an event, an assignment, another answer than before."""
        cdef Channel other
        cdef int _tries
        if channel.loop is not self or channel.polled_index < 0:
            return 0  # its predicate has taken it elsewhere
        channel.idle_passes = 0
        if channel.flags & RECENT:
            return 0
        if len(self.recent) < RECENT_MOST:
            self.recent.append(channel)
            channel.recent_index = <int> len(self.recent) - 1
            channel.flags |= RECENT
            return 0
        if self.asking_recent:
            return 0
        for _tries in range(4):  # in the place of one that had nothing to say when it was asked last
            self.recent_next = (self.recent_next + 1) % <int> len(self.recent)
            other = <Channel> self.recent[self.recent_next]
            if other.idle_passes:
                other.flags &= ~RECENT
                self.recent[self.recent_next] = channel
                channel.recent_index = self.recent_next
                channel.flags |= RECENT
                break
        return 0

    cdef int recent_remove(self, Channel channel) except -1:
        cdef Channel last
        channel.flags &= ~RECENT
        if self.asking_recent:  # somebody walks over the list
            self.recent[channel.recent_index] = None
            self.recent_gaps = True
            return 0
        last = <Channel> self.recent[len(self.recent) - 1]
        self.recent[channel.recent_index] = last
        last.recent_index = channel.recent_index
        self.recent.pop()
        return 0

    cdef bint ask_recent(self) except -1:
        """Asks the channels that were active lately, those that were asked since Python code ran excepted. Has one of
        them another answer?
        """
        cdef Channel channel
        cdef Py_ssize_t at = 0
        cdef bint idle = False, news = False
        cdef unsigned answers
        if self.recent_runs == self.runs or self.asking_recent:
            return False
        self.recent_runs = self.runs
        if not self.recent:
            return False
        self.asking_recent = True
        self.now = 0
        try:
            while at < len(self.recent):
                entry = self.recent[at]
                at += 1
                if entry is None:
                    continue
                channel = <Channel> entry
                if channel.polled_run != self.runs:
                    answers = channel.answers
                    self.ask(channel)
                    if channel.answers != answers:
                        news = True
                        channel.idle_passes = 0
                    else:
                        channel.idle_passes += 1
                        idle = idle or channel.idle_passes > RECENT_PASSES
        finally:
            self.asking_recent = False
            if idle or self.recent_gaps:
                self.close_recent()
        return news

    cdef int close_recent(self) except -1:
        """Drops those that have left, and those that were idle for long."""
        cdef Channel channel
        cdef list kept = [
            entry for entry in self.recent if entry is not None and (<Channel> entry).idle_passes <= RECENT_PASSES
        ]
        for entry in self.recent:
            if entry is not None:
                (<Channel> entry).flags &= ~RECENT
        self.recent = kept
        self.recent_gaps = False
        for at, entry in enumerate(kept):
            channel = <Channel> entry
            channel.flags |= RECENT
            channel.recent_index = at
        return 0

    cdef bint is_stale(self) noexcept:
        """Is there somebody who was not asked since Python code ran last?"""
        if self.sweeping >= SWEEPS_MOST or not self.polled:
            return False
        return self.sweep_left > 0 or self.sweep_runs != self.runs

    cdef bint is_asking(self) noexcept:
        """Is a predicate being asked, which runs the loop?"""
        return self.sweeping > 0 or self.asking_recent or self.asking is not None

    cdef int ask_everyone(self) except -1:
        """A whole sweep, at once."""
        if not self.polled:
            return 0
        if not self.is_asking():
            self.runs += 1  # also those who were asked a moment ago
        return self.sweep(-1)

    cdef int sweep(self, int64_t most) except -1:
        """Asks those that were not asked since Python code ran last, for about `most` ns, -1: all of them.

        Predicates may close channels, add some, or run the loop.
        """
        cdef int64_t start
        if self.sweeping >= SWEEPS_MOST:
            return 0
        if self.sweep_runs != self.runs:
            self.sweep_runs = self.runs
            self.sweep_left = len(self.polled)
        if self.sweep_left <= 0:
            return 0
        self.sweeping += 1
        start = cyn_clock()
        try:
            self.sweep_piece(start, most)
        finally:
            self.sweeping -= 1
            if self.sweeping == 0:
                self.close_gaps()
            self.sweep_at = cyn_clock()
            self.sweep_at += SWEEP_SHARE * (self.sweep_at - start)
            self.now = 0
        return 0

    cdef int sweep_piece(self, int64_t start, int64_t most) except -1:
        cdef Channel channel
        cdef unsigned answers, count = 0
        while self.sweep_left > 0 and self.polled:
            if self.sweep_next >= len(self.polled):
                self.sweep_next = 0
            item = self.polled[self.sweep_next]
            self.sweep_next += 1
            self.sweep_left -= 1
            if item is None:
                continue  # left during this sweep
            channel = <Channel> item
            if channel.polled_run == self.sweep_runs:
                continue
            channel.polled_run = self.sweep_runs
            answers = channel.answers
            try:
                channel.ask()
                if channel.answers != answers and channel.loop is self:
                    channel.arm()
                    self.recent_add(channel)
            except EXITS:
                raise
            except BaseException:  # as in ask()
                channel.on_error()
            count += 1
            if count % 16 == 0 and most >= 0 and cyn_clock() - start >= most:
                break
        if not self.polled:
            self.sweep_left = 0
        return 0

    cdef int close_gaps(self) except -1:
        cdef Py_ssize_t at
        if self.gaps:
            self.polled = [channel for channel in self.polled if channel is not None]
            self.gaps = 0
            for at in range(len(self.polled)):
                (<Channel> self.polled[at]).polled_index = <int> at
            if self.sweep_left > 0:
                self.sweep_left = len(self.polled)  # places have changed: once round from here
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
                if owner is not None and (<Channel> owner).loop is self:
                    (<Channel> owner).classify()
                    (<Channel> owner).interest_changed()
        return 0

    cdef int ask_soon(self, Channel channel) except -1:
        if not channel.flags & DIRTY:
            self.dirty_add(channel)
        return self.changed()

    cdef int dirty_add(self, Channel channel) except -1:
        """It is asked before the next wait. A wait in progress goes on: an assignment never ended one."""
        if CYN_FREE_THREADS and self.owner_thread != PyThread_get_thread_ident() and self.depth:
            return 0  # nothing guards the list there; a thread that wakes the loop has the recent channels asked
        self.dirty.append(channel)
        channel.dirty_index = <int> len(self.dirty) - 1
        channel.flags |= DIRTY
        if self.hosted and self.depth == 0:
            self.wake()
        return 0

    cdef int changed(self) except -1:
        # While the loop waits this is another thread than its own; where it is hosted, its host must poll it.
        if self.waiting or (self.hosted and self.depth == 0):
            self.wake()
        return 0

    # The map

    cdef int put(self, int fd, Channel channel) except -1:
        """add_channel: into the map and into the loop."""
        self.check("add_channel")
        self.check_fork()
        if channel.its_socket() is None or (channel.flags & DIRECT and _fileno(channel.sock) != fd):
            if cyn_fcntl(fd, F_GETFD) < 0:  # what stands for a socket may have made its number up
                raise failure(errno, f"{channel!r} fd {fd} cannot be added")
        if channel.key_fd >= 0 and channel.key_fd != fd:
            if self.map.get(channel.key_fd) is channel:
                self.take_out(channel.key_fd)
            else:
                self.detach(channel.key_fd)
        self.attach(fd, channel)
        # Kept until the change is noted: its end may run code that changes the map again.
        _before = self.map.get(fd)
        cdef bint in_step = self.begin_change()
        try:
            self.map[fd] = channel
        finally:
            self.end_change(in_step)
        return 0

    cdef int take_out(self, int fd) except -1:
        """del_channel: out of the loop and out of the map."""
        _before = self.map.get(fd)
        self.detach(fd)
        cdef bint in_step = self.begin_change()
        try:
            del self.map[fd]
        finally:
            self.end_change(in_step)
        return 0

    cdef bint begin_change(self) noexcept:
        """A change of ours to the map begins. Was the map known up to here?"""
        self.own_change = self.watched
        return not self.watched and isinstance(self.map, dict) and self.map_version == cyn_dict_version(self.map)

    cdef int end_change(self, bint in_step) except -1:
        self.own_change = False
        if in_step:
            self.map_version = cyn_dict_version(self.map)
        return self.changed()

    cdef int want(self, int fd, unsigned mask) except -1:
        if cyn_poller_want(&self.poller, fd, mask) < 0:
            raise MemoryError
        return self.changed()

    cdef int renew(self, Channel channel) except -1:
        """The channel has another socket: nothing of what the kernel was told counts."""
        if cyn_poller_add(&self.poller, channel.key_fd, <void *> channel) < 0:
            raise MemoryError
        channel.flags &= ~(HELD | MUTED)
        return channel.interest_changed()

    cdef int attach(self, int fd, Channel channel) except -1:
        """All that may fail for want of memory comes before the slot points to the channel, or is taken back."""
        cdef Traits traits = traits_of(type(channel))
        cdef Channel known
        cdef int rc
        if traits not in self.kinds:
            self.kinds.append(traits)
        rc = cyn_poller_add(&self.poller, fd, <void *> channel)
        if rc < 0:
            raise failure(-rc, f"{channel!r} fd {fd} cannot be added")
        try:
            while len(self.owners) <= fd:
                self.owners.append(None)
        except BaseException:
            cyn_poller_remove(&self.poller, fd)
            raise
        known = self.owners[fd]
        self.owners[fd] = channel
        if known is not None:
            self.let_go(known)
        self.channel_count += 1
        channel.loop = self
        channel.key_fd = fd
        channel.answers = 0
        channel.polled_run = self.runs - 1
        if known is not channel:  # what an earlier loop had promised is lost with it
            if channel.flags & PENDING:
                channel.flags |= PENDING_LATER
            channel.flags &= ~(BACKED_OFF | PENDING | RECV_EAGAIN | ACCEPT_EMFILE)
        channel.flags &= ~(HELD | MUTED)
        channel.traits = traits
        traits.users += 1
        try:
            channel.classify()
            return channel.interest_changed()
        except BaseException:  # all or nothing: the caller is told
            self.detach(fd)
            raise

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
        if channel.flags & DIRTY:
            channel.flags &= ~DIRTY
            self.dirty_remove(channel)
        if channel.flags & RECENT:
            self.recent_remove(channel)
        self.polled_remove(channel)
        channel.loop = None
        channel.key_fd = -1
        channel.traits.users -= 1
        return 0

    cdef int polled_add(self, Channel channel) except -1:
        if channel.polled_index < 0:
            self.polled.append(channel)
            channel.polled_index = <int> len(self.polled) - 1
        return 0

    cdef int polled_remove(self, Channel channel) except -1:
        cdef Channel last
        if channel.polled_index < 0:
            return 0
        if self.sweeping:
            self.polled[channel.polled_index] = None
            self.gaps += 1
        else:
            last = <Channel> self.polled[len(self.polled) - 1]
            self.polled[channel.polled_index] = last
            last.polled_index = channel.polled_index
            self.polled.pop()
            if self.sweep_left > 0:
                self.sweep_left = len(self.polled)  # the last one may have come to a place that is behind the cursor
        channel.polled_index = -1
        return 0

    cdef int read_map(self) except -1:
        """Compares the map with what we know of it, after a change that was not ours."""
        self.map_changed = False
        if not self.watched and isinstance(self.map, dict):
            self.map_version = cyn_dict_version(self.map)
        cdef Py_ssize_t fd
        for fd in range(len(self.owners)):
            if self.owners[fd] is not None and fd not in self.map:
                self.detach(<int> fd)
        for key, obj in list(self.map.items()):
            self.read_entry(key, obj)
        return 0

    cdef int read_entry(self, object key, object obj) except -1:
        cdef Channel known = None, channel
        if key is None:
            return 0  # it was added without a descriptor, and has none yet
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
        try:
            return self.attach(fd, channel)
        except OSError:
            return self.refuse_entry(key, obj)

    cdef int refuse_entry(self, object key, object obj) except -1:
        """An entry that is not a descriptor costs its object, not the loop."""
        self.map.pop(key, None)
        try:
            raise failure(EBADF, f"{key!r}, the key of {obj!r} in the map, is no open file descriptor")
        except OSError:
            obj.handle_error()
        return 0

    cdef int reclass(self, Channel channel) except -1:
        """The channel is of another class now."""
        channel.traits.users -= 1
        channel.traits = traits_of(type(channel))
        channel.traits.users += 1
        if channel.traits not in self.kinds:
            self.kinds.append(channel.traits)
        channel.classify()
        return channel.interest_changed()

    cdef bint is_in_map(self, Channel channel) except -1:
        """Is it still what the map, which is no dict and tells of no change, holds for its descriptor?"""
        entry = self.map.get(channel.key_fd)
        return entry is channel or (channel.flags & FOREIGN and entry is (<Foreign> channel).target)

    # Checks

    cdef int check_open(self, str what) except -1:
        if self.is_closed:
            raise RuntimeError(f"{what}: {self!r} is closed")
        return 0

    cdef int check(self, str what) except -1:
        if self.is_closed:
            raise RuntimeError(f"{what}: {self!r} is closed")
        self.check_fork()
        if self.debug and self.depth and self.owner_thread != PyThread_get_thread_ident():
            raise RuntimeError(f"{what}: called in thread {PyThread_get_thread_ident()}, but {self!r} runs in "
                               f"thread {self.owner_thread}; use call_soon_threadsafe")
        return 0

    cdef unsigned fork_epoch(self) noexcept:
        return cyn_fork_epoch

    cdef int check_fork(self) except -1:
        """In the child of a fork: a wake-up of its own. The poller sees to itself, at its first use."""
        if self.epoch == cyn_fork_epoch:
            return 0
        self.epoch = cyn_fork_epoch
        self.waits += 1
        self.wake_pending = self.waiting = False
        self.turn = RLock()
        if self.owner_thread != PyThread_get_thread_ident():
            self.depth = 0  # the thread that ran the loop is not here, nor is the sweep that it may have been in
            self.sweeping = 0
            self.asking_recent = False
            self.asking = None
            self.runs += 1
            self.close_gaps()
            self.close_recent()
        cyn_poller_remove(&self.poller, cyn_wake_fd(&self.wake_fds))
        cyn_wake_close(&self.wake_fds)
        self.open_wake()
        return 0
