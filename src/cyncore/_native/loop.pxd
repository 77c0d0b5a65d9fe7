# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t

from .calls cimport Handle, TimerHandle
from .csrc cimport cyn_event
from .inspection cimport Inspection


cdef class Loop(Inspection):
    cdef unsigned blocks         # how many waits have released the GIL
    cdef int64_t pause_until     # ns; the sweep pauses until then, for other threads
    cdef int pieces              # pieces of the sweep until its next pause
    cdef unsigned kinds_runs     # `runs` when the classes were checked last
    cdef int64_t held_until      # ns; a busy loop offers the GIL to other threads then
    cdef int64_t spins_until     # ns; the same for one that only spins
    cdef long others_blocked     # how often these had blocked at the last offer
    cdef int misses              # offers since one was seen to be taken
    cdef int quiet_naps          # naps one after another in which no other thread has blocked
    cdef bint is_calm            # events are few: the last poll found none, and no wait since found more than one

    cdef bint take_stop(self) noexcept
    cdef int leave(self, object turn) except -1
    cdef TimerHandle have_checked(self, TimerHandle handle)
    cdef object services(self)
    cdef int run_due(self) except -1
    cdef int run_call(self, Handle handle) except -1

    cdef int prepare_outside(self, bint sweep_all) except -1
    cdef int flush_gathered(self) except -1
    cdef bint is_left(self, int need) except -1
    cdef int tick(self, int64_t limit, bint sweep_all, int need) except -1
    cdef int fetch(self, cyn_event *events, int64_t limit, int need) except -1
    cdef int offer(self, bint spins) except -1
    cdef int64_t moved(self) noexcept
    cdef bint must_poll_first(self) noexcept
    cdef int wait(self, cyn_event *events, int64_t limit, int need) except -1
    cdef bint must_return(self) noexcept
    cdef int flush_answers(self) except -1
    cdef int64_t time_left(self, int64_t start, int64_t limit, bint stale) except? -1
    cdef bint prepare_wait(self, bint again) except -1
    cdef int sweep_on(self, int64_t now) except -1
    cdef int block(self, cyn_event *events, int64_t left, bint pauses) except -1
    cdef int without_bell(self, cyn_event *events, int count) except -1
    cdef int wait_elsewhere(self, int64_t left) except -1
    cdef int wait_failed(self, int rc) except -1
