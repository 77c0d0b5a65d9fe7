# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint32_t

from ._calls cimport Calls, Handle, TimerHandle
from ._channel cimport Channel, LoopBase
from ._csrc cimport cyn_event, cyn_poller, cyn_wake


cdef class Loop(LoopBase):
    cdef object __weakref__
    cdef public bint debug
    cdef list owners                  # fd -> what the map held when it was read last, as channels
    cdef list asked                   # channels whose predicates must be asked; None: left during a sweep
    cdef list touched                 # channels to be looked at in the next settle
    cdef list kinds                   # traits of the classes in use
    cdef Calls calls
    cdef object turn                  # held by the thread that runs the loop
    cdef cyn_poller poller
    cdef cyn_wake wake_fds
    cdef Py_ssize_t channel_count
    cdef unsigned epoch               # cyn_fork_epoch when the wake-up was opened
    cdef unsigned long kinds_revision
    cdef unsigned long waits          # how many there were: a nested one makes the outer batch stale
    cdef unsigned long long map_version
    cdef unsigned long owner_thread   # that runs the loop, or ran it last
    cdef int64_t audit_at, sweep_at   # when the next one is allowed
    cdef int depth                    # ticks in progress, nested ones counted
    cdef bint map_changed, own_change, watched
    cdef bint is_closed, is_open, stopping, waiting, wake_pending, sweeping
    cdef bint owed                    # Python code ran since the predicates were asked last

    cdef int open_poller(self, object backend) except -1
    cdef int open_wake(self) except -1
    cdef int leave(self, object turn) except -1
    cdef Handle queue(self, object callback, tuple args)
    cdef TimerHandle add_timer(self, double when, object callback, tuple args)
    cdef int run_due(self) except -1
    cdef int run_call(self, Handle handle) except -1

    cdef int tick(self, int64_t limit, bint ask_all) except -1
    cdef int wait(self, cyn_event *events, int64_t limit) except -1
    cdef int wait_failed(self, int rc) except -1
    cdef int deliver(self, cyn_event *events, int count, unsigned long number) except -1
    cdef bint is_live(self, Channel channel, cyn_event *event)
    cdef int dispatch(self, Channel channel, cyn_event *event) except -1
    cdef int hung_up(self, Channel channel, cyn_event *event, uint32_t ready, int unread) except -1
    cdef int drop_bad(self, Channel channel, cyn_event *event) except -1
    cdef int deliver_pending(self, Channel channel) except -1
    cdef int failed(self, Channel channel, object error) except -1

    cdef int settle(self, bint ask_all) except -1
    cdef int ask_touched(self) except -1
    cdef int sweep(self) except -1
    cdef int close_gaps(self) except -1
    cdef int check_kinds(self) except -1
    cdef int changed(self) except -1

    cdef int read_map(self) except -1
    cdef int read_entry(self, object key, object obj) except -1
    cdef int refuse_entry(self, object key, object obj) except -1
    cdef bint begin_change(self)
    cdef int end_change(self, bint in_step) except -1
    cdef int attach(self, int fd, Channel channel) except -1
    cdef int let_go(self, Channel channel) except -1

    cdef int check_open(self, str what) except -1
    cdef int check(self, str what) except -1
    cdef int check_fork(self) except -1
