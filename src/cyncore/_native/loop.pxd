# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint32_t

from .calls cimport Calls, Handle, TimerHandle
from .channel cimport Channel
from .csrc cimport cyn_event
from .registry cimport Registry


cdef class Loop(Registry):
    cdef Calls calls
    cdef bint stopping
    cdef list late               # failures that a batch cut short has left: (fd, generation, errno)
    cdef int64_t earliest        # of timers added now: not before those that are being made
    cdef list gathered           # channels with output to be sent before the next wait, from `gathered_at`
    cdef Py_ssize_t gathered_at, gathered_count  # to there; outside is None: the list keeps its length
    cdef unsigned gathered_epoch  # fork_epoch() when that was gathered
    cdef unsigned tick_epoch     # the same, when the tick began
    cdef bint flushing
    cdef unsigned blocks         # waits that let go of the GIL
    cdef int64_t again           # ns until those are asked whom predicates have touched
    cdef int64_t pause_until     # between two pieces of a sweep, for other threads
    cdef int pieces              # of a sweep, until the next pause
    cdef unsigned kinds_runs     # `runs` when the classes were looked at last
    cdef bint is_calm            # the last poll found nothing, and no wait since then more than one event

    cdef bint take_stop(self) noexcept
    cdef int leave(self, object turn) except -1
    cdef Handle queue(self, object callback, tuple args)
    cdef TimerHandle add_timer(self, double when, object callback, tuple args)
    cdef int run_due(self) except -1
    cdef int run_call(self, Handle handle) except -1

    cdef int prepare_outside(self, bint sweep_all) except -1
    cdef int set_alarm(self) except -1
    cdef int flush_gathered(self) except -1
    cdef bint is_left(self, int need) except -1
    cdef int tick(self, int64_t limit, bint sweep_all, int need) except -1
    cdef int fetch(self, cyn_event *events, int64_t limit, int need) except -1
    cdef bint must_look(self) noexcept
    cdef int wait(self, cyn_event *events, int64_t limit, int need) except -1
    cdef bint must_return(self) noexcept
    cdef int flush_answers(self) except -1
    cdef int64_t time_left(self, int64_t start, int64_t limit, bint stale) except? -1
    cdef bint prepare_wait(self, bint again) except -1
    cdef int sweep_on(self, int64_t now) except -1
    cdef int block(self, cyn_event *events, int64_t left, bint pauses) except -1
    cdef int wait_elsewhere(self, int64_t left) except -1
    cdef int take_late(self, cyn_event *events) except -1
    cdef int wait_failed(self, int rc) except -1
    cdef int dispatch_batch(self, cyn_event *events, int count, unsigned long number) except -1
    cdef bint is_live(self, Channel channel, cyn_event *event) noexcept
    cdef int dispatch_read(self, Channel channel, cyn_event *event) except -1
    cdef int dispatch_event(self, Channel channel, cyn_event *event) except -1
    cdef int hung_up(self, Channel channel, cyn_event *event, uint32_t ready, int unread) except -1
    cdef int drop_bad(self, Channel channel, cyn_event *event) except -1
    cdef int deliver_pending(self, Channel channel) except -1
    cdef int failed(self, Channel channel, object error) except -1
