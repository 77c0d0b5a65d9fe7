# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint64_t

from .csrc cimport cyn_timer, cyn_timers, cyn_timers_count


cdef class Handle:
    cdef object callback
    cdef tuple args
    cdef bint is_cancelled
    cdef bint is_checked  # of a timer: made in debug mode, so that no other thread may cancel it while the loop runs
    cdef int run(self) except -1
    cdef int let_go(self) except -1


cdef class TimerHandle(Handle):
    cdef Calls calls
    cdef cyn_timer timer
    cdef double at
    cdef Py_ssize_t kept_at
    cdef int check_thread(self) except -1


cdef class Calls:
    cdef object owner     # a weak reference to the loop, if a timer is to be checked; else None
    cdef list queued
    cdef list batch       # the calls of the tick in progress, taken from `queued`
    cdef Py_ssize_t at    # the place in it of the next call
    cdef list kept
    cdef Py_ssize_t kept_count  # handles in it; the places after them are None
    cdef cyn_timers timers
    cdef int add(self, Handle handle) except -1
    cdef int begin(self) except -1
    cdef Handle next(self)
    cdef TimerHandle add_timer(self, double when, object callback, tuple args, int64_t earliest)
    cdef int put_timer(self, TimerHandle handle, double when, int64_t earliest) except -1
    cdef int stop_timer(self, TimerHandle handle) except -1
    cdef TimerHandle due(self, int64_t now, uint64_t newer)
    cdef int forget(self, TimerHandle handle) except -1
    cdef int clear(self) except -1
    cdef int64_t next_due(self)


cdef inline bint has_timers(Calls calls) noexcept:
    return cyn_timers_count(&calls.timers) > 0


cdef inline bint are_queued(Calls calls) noexcept:
    return len(calls.queued) > 0 or calls.at < len(calls.batch)
