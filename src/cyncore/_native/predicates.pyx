# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Predicates: when a loop asks the predicates of its channels, and how it takes over changes of the map.

A predicate is the program's code and may read anything. So its answer may have changed for any of these reasons:

1. The channel had an event.
2. An attribute of the channel was set. After either of these it is `dirty`, and is asked before the next wait.
3. An object that an attribute holds (a list, a counter) was changed by a handler, or by a thread that woke the loop.
   For this, channels that were active lately are `recent`: they are asked before each wait that blocks, and after it.
4. Anything else has changed. For this, a sweep asks all polled channels in pieces. It takes all of the time when there
   are no events, and a twentieth of it when there are. `runs` counts how often Python code ran. When every channel was
   asked since the last run, the sweep ends, and none is asked until Python code runs again.

Predicates may close channels, add some, or run the loop. So lists are walked by index; see `watcher`.
"""

import os

from libc.errno cimport EBADF
from libc.limits cimport INT_MAX
from libc.stdint cimport int64_t

from .channel cimport Channel
from .csrc cimport cyn_clock, cyn_poller_refused, cyn_times_note
from .internals cimport cyn_dict_version, cyn_see_int
from .registry cimport Registry, failure, is_map_changed, tick_time
from .traits cimport Traits, revision
from .watcher cimport (
    DIRTY,
    EXITS,
    FOREIGN,
    RECENT_PASSES,
    Foreign,
    Watcher,
    close_polled,
    close_recent,
    detach,
    renumber_dirty,
)

from .. import _rules
from .._report import WARNING, report

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()

cdef int AUDIT_COUNT = 64              # descriptors that one audit checks
cdef int64_t AUDIT_EVERY = 10_000_000  # ns between two audits, while there are events
cdef int64_t SWEEP_SHARE = 19          # under load, after a piece that took t there is none for 19 t
cdef int64_t PIECE = 50_000            # ns that a piece of a sweep takes; then the loop polls for events
cdef int64_t PAUSE = 50_000            # ns for which other threads may have the GIL, between pieces of a sweep
cdef int PIECES = 8                    # pieces between two such pauses, if no other thread takes the GIL
cdef int SWEEPS_MOST = 8               # sweeps nested in one another at most, since each takes some of the stack
cdef int DIRTY_ROUNDS = 3              # rounds in which channels are asked that predicates made dirty


cdef class Predicates(Registry):
    """A registry that keeps the interest of its channels up to date.

    `prepare` is called in every tick: it takes over the map, asks predicates and gives the kernel the differences. The
    loop also calls `ask_recent` and `sweep` while it waits. It relies on `Watcher` to change the lists it walks.
    """

    cdef int prepare(self, bint sweep_all) except -1:
        """Takes over the map, asks the predicates that must be asked, and gives the kernel the differences.

        `sweep_all`: all predicates are asked.
        """
        cdef int64_t now
        cdef int audit = 0
        cdef bint share = False
        if is_map_changed(self) or not self.tells:
            self.read_map()
        if self.runs != self.prepared_runs:
            self.prepared_runs = self.runs
            now = tick_time(self)
            if self.figures.since:
                cyn_times_note(&self.figures.lag, now - self.figures.since)
                self.figures.since = 0
            if now >= self.audit_at:
                self.audit_at = now + AUDIT_EVERY
                audit = AUDIT_COUNT
                self.check_kinds()
            share = self.polled and not sweep_all and now >= self.sweep_at
        if sweep_all:
            self.check_kinds()
        if self.polled or self.dirty:
            self.ask_those(sweep_all, share)
        self.apply(audit)
        cdef int refused_fd
        cdef int refusal = cyn_poller_refused(&self.poller, &refused_fd)
        if refusal:
            self.tell_refusal(refusal, refused_fd)
        return 0

    cdef int ask_those(self, bint sweep_all, bint share) except -1:
        """Asks those that must be asked. `share`: the sweep may have its share of the time."""
        cdef int rounds = 0
        if sweep_all and not self.is_asking():
            self.runs += 1  # so that channels that were asked a moment ago are asked again
        if self.dirty:
            self.ask_dirty()  # first, because who was asked since the last run is not asked again below
            rounds = 1
        if sweep_all:
            self.sweep(-1)
        elif share:
            self.awoke = False
            self.ask_recent()
            self.sweep(PIECE)
        elif self.awoke:
            self.awoke = False
            self.ask_recent()
        while self.dirty and rounds < DIRTY_ROUNDS:
            self.ask_dirty()
            rounds += 1
        return 0

    cdef int tell_refusal(self, int error, int fd) except -1:
        """Logs, once a second at most, that the kernel has no memory to watch a descriptor, and that it is retried."""
        cdef int64_t now = cyn_clock()
        if self.refusal_told and now - self.refusal_told < 1_000_000_000:
            return 0
        self.refusal_told = now
        owner = self.owners[fd] if fd < len(self.owners) else None
        report(WARNING, "%r fd %d cannot be watched yet: %s; trying again every 100 ms",
               self if owner is None else owner, fd, os.strerror(error))
        return 0

    cdef int ask_dirty(self) except -1:
        """Asks the dirty channels. One that becomes dirty meanwhile is asked in the next round."""
        cdef list dirty = self.dirty
        cdef Py_ssize_t at = 0
        cdef Watcher watcher
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
                    watcher = <Watcher> entry
                    watcher.flags &= ~DIRTY
                    if watcher.loop is self:
                        self.ask(watcher)
                        self.note_active(watcher)
        finally:
            self.asking = before
            if at < len(dirty):
                self.dirty = dirty[at:] + self.dirty
                renumber_dirty(self)
        return 0

    cdef bint ask(self, Watcher watcher) except -1:
        """Asks one watcher, and gives the poller its interest. Returns True if its answer has changed."""
        cdef unsigned before = watcher.answers
        try:
            if watcher.polled_index >= 0:
                watcher.polled_run = self.runs
                watcher.answered(self.ask_timed(watcher) if self.slow_after else watcher.ask())
            else:
                watcher.arm()
        except EXITS:
            raise
        except BaseException:  # it ended the loop of the old module; here handle_error of the channel is called
            watcher.on_error()
        return watcher.answers != before

    cdef unsigned ask_timed(self, Watcher watcher) except? 0xFFFFFFFF:
        """Asks a watcher, and logs it if its predicates are slow."""
        cdef int fd = watcher.key_fd
        cdef unsigned long waits = self.waits
        cdef int64_t begin = cyn_clock(), end
        cdef unsigned answers = watcher.ask()
        end = cyn_clock()
        if end - begin >= self.slow_after and waits == self.waits:
            report(WARNING, _rules.SLOW_PREDICATES, watcher, fd, (end - begin) / 1e9)
        return answers

    cdef int note_active(self, Watcher watcher) except -1:
        """Makes it recent, after an event, an assignment or a new answer."""
        if watcher.loop is self and watcher.polled_index >= 0:  # its predicate may have moved it to another loop
            watcher.recent_add()
        return 0

    cdef bint ask_recent(self) except -1:
        """Asks the recent channels, if Python code ran since they were asked. Returns True if an answer has changed."""
        cdef Watcher watcher
        cdef Py_ssize_t at = 0
        cdef bint idle = False, news = False
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
                watcher = <Watcher> entry
                if watcher.polled_run != self.runs:
                    if self.ask(watcher):
                        news = True
                        watcher.idle_passes = 0
                    else:
                        watcher.idle_passes += 1
                        idle = idle or watcher.idle_passes > RECENT_PASSES
        finally:
            self.asking_recent = False
            if idle or self.recent_gaps:
                close_recent(self)
        return news

    cdef bint is_stale(self) noexcept:
        """Returns True if the sweep is not complete: Python code ran after some channel was asked."""
        if self.sweeping >= SWEEPS_MOST or not self.polled:
            return False
        return self.sweep_left > 0 or self.sweep_runs != self.runs

    cdef bint is_asking(self) noexcept:
        """Returns True if a predicate is being asked: then the caller runs inside it."""
        return self.sweeping > 0 or self.asking_recent or self.asking is not None

    cdef int sweep(self, int64_t most) except -1:
        """Asks the polled channels that were not asked since Python code ran last, for about `most` ns; -1: all.

        Predicates may close channels, add some, or run the loop, which sweeps too.
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
            if self.sweep_left <= 0:
                self.figures.sweeps += 1
        finally:
            self.sweeping -= 1
            if self.sweeping == 0:
                close_polled(self)
            self.sweep_at = cyn_clock()
            self.sweep_at += SWEEP_SHARE * (self.sweep_at - start)
            self.now = 0
        return 0

    cdef int sweep_piece(self, int64_t start, int64_t most) except -1:
        cdef Watcher watcher
        cdef unsigned answers, count = 0
        while self.sweep_left > 0 and self.polled:
            if self.sweep_next >= len(self.polled):
                self.sweep_next = 0
            item = self.polled[self.sweep_next]
            self.sweep_next += 1
            self.sweep_left -= 1
            if item is None:
                continue  # a gap: its watcher left during this sweep
            watcher = <Watcher> item
            if watcher.polled_run == self.sweep_runs:
                continue
            watcher.polled_run = self.sweep_runs
            try:
                answers = self.ask_timed(watcher) if self.slow_after else watcher.ask()
                if answers != watcher.answers and watcher.loop is self:
                    watcher.answered(answers)
                    self.note_active(watcher)
            except EXITS:
                raise
            except BaseException:  # as in ask()
                watcher.on_error()
            count += 1
            if count % 16 == 0 and most >= 0 and cyn_clock() - start >= most:
                break
        if not self.polled:
            self.sweep_left = 0
        return 0

    cdef int check_kinds(self) except -1:
        """Reads those classes in use again that have changed. If any has, classifies all channels again."""
        cdef Traits traits
        cdef bint unused = False
        for traits in self.kinds:
            if cyn_see_int(&traits.users) <= 0:
                unused = True
            else:
                traits.check()
        if unused:
            self.kinds = [traits for traits in self.kinds if cyn_see_int(&traits.users) > 0]
        if self.kinds_revision != revision():
            self.kinds_revision = revision()
            for owner in list(self.owners):
                if owner is not None and (<Watcher> owner).loop is self:
                    (<Watcher> owner).classify()
                    (<Watcher> owner).interest_changed()
        return 0

    # The map

    cdef int read_map(self) except -1:
        """Takes over the map after a change by hand: one that neither add_channel nor del_channel has made."""
        self.map_changed = False
        if not self.watched and isinstance(self.map, dict):
            self.map_version = cyn_dict_version(self.map)
        cdef Py_ssize_t fd
        for fd in range(len(self.owners)):
            if self.owners[fd] is not None and fd not in self.map:
                detach(self, <int> fd)
        for key, obj in list(self.map.items()):
            self.read_entry(key, obj)
        return 0

    cdef int read_entry(self, object key, object obj) except -1:
        cdef Watcher known = None, watcher
        if key is None:
            return 0  # a channel that has no descriptor yet
        if not isinstance(key, int) or key < 0 or key > INT_MAX:
            return self.refuse_entry(key, obj)
        cdef int fd = key
        if fd < len(self.owners):
            known = self.owners[fd]
        if known is not None and (known is obj or (known.flags & FOREIGN and (<Foreign> known).target is obj)):
            return 0
        if isinstance(obj, Channel) and (<Watcher> obj).loop is None:
            watcher = <Watcher> obj
        else:
            watcher = Foreign.__new__(Foreign)
            (<Foreign> watcher).target = obj
            watcher.flags |= FOREIGN
        try:
            return watcher.enter(self, fd)
        except OSError:
            return self.refuse_entry(key, obj)

    cdef int refuse_entry(self, object key, object obj) except -1:
        """Removes an entry whose key is no open descriptor, and calls handle_error of its object."""
        self.map.pop(key, None)
        try:
            raise failure(EBADF, f"{key!r}, the key of {obj!r} in the map, is no open file descriptor")
        except OSError:
            obj.handle_error()
        return 0

    cdef bint is_in_map(self, Watcher watcher) except -1:
        """Returns True if the map still holds it. Called for maps that are no dict: their changes are not noticed."""
        entry = self.map.get(watcher.key_fd)
        return entry is watcher or (watcher.flags & FOREIGN and entry is (<Foreign> watcher).target)

    cdef int leave_map(self) except -1:
        cdef int fd
        for fd in range(<int> len(self.owners)):
            detach(self, fd)
        return Registry.leave_map(self)

    cdef int check_fork(self) except -1:
        if self.epoch == self.fork_epoch():
            return 0
        if self.owner_thread != PyThread_get_thread_ident():  # the thread that walked the lists is not here
            self.sweeping = 0
            self.asking_recent = False
            self.asking = None
            self.runs += 1
            close_polled(self)
            close_recent(self)
        return Registry.check_fork(self)
