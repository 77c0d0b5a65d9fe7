# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint32_t

from .csrc cimport cyn_event
from .predicates cimport Predicates
from .watcher cimport Watcher

cdef enum:
    BATCH = 256         # events that one wait returns at most


cdef class Dispatch(Predicates):
    cdef readonly unsigned long _stops  # counts calls of `stop`
    cdef int stopping                 # true: `stop` was called
    cdef list late               # failures from a batch that ended early: (fd, generation, errno)

    cdef unsigned long closely   # ticks whose number has none of these bits go through `dispatch_closely`
    cdef object spins            # the channels that may fire without end: a Spins
    cdef dict suspects           # of `spins`
    cdef int chosen_last         # the descriptor that a round has begun to suspect last
    cdef bint looks_soon         # the next tick is looked at, because a pause has ended
    cdef bint waits_on           # a tick that is looked at waits for events, if there are none
    cdef unsigned long pauses_ended  # the calls of `_end_pause`
    cdef unsigned long fruitless  # the last tick in which handlers were seen to do nothing; 0: none
    cdef bint spins_on           # such a channel was named, and nobody looks at it any more

    cdef int dispatch_closely(self, cyn_event *events, int count, unsigned long number) except -1
    cdef int dispatch_one(self, cyn_event *event, unsigned long number, bint is_looked_at) except -1
    cdef int slow(self, Watcher watcher, int fd, object suspect) except -1
    cdef int go_on(self) except -1
    cdef int give_interest(self, Watcher watcher) except -1
    cdef bint has_run_others(self, cyn_event *events, int count, unsigned long number) except -1
    cdef int close_spinning(self, Watcher watcher, int fd) except -1
    cdef int choose(self, cyn_event *events, int count, unsigned long number) except -1
    cdef int dispatch_batch(self, cyn_event *events, int count, unsigned long number) except -1
    cdef int keep_failures(self, cyn_event *events, int at, int count) except -1
    cdef int take_late(self, cyn_event *events) except -1
    cdef bint is_live(self, Watcher watcher, cyn_event *event) noexcept
    cdef bint is_still_in_map(self, Watcher watcher, cyn_event *event) except -1
    cdef int dispatch_event(self, Watcher watcher, cyn_event *event) except -1
    cdef int hung_up(self, Watcher watcher, cyn_event *event, uint32_t ready, int unread) except -1
    cdef int drop_bad(self, Watcher watcher, cyn_event *event) except -1
