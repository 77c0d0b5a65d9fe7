# SPDX-License-Identifier: MIT
from cpython.dict cimport PyDict_CheckExact, PyDict_Size
from libc.stdint cimport int64_t

from .channel cimport Channel, LoopBase
from .csrc cimport cyn_clock, cyn_event, cyn_poller, cyn_wake
from .internals cimport cyn_dict_version


cdef class Registry(LoopBase):
    cdef object __weakref__
    cdef public bint debug
    cdef str backend_name
    cdef list owners                  # fd -> what the map held when it was read last, as channels
    cdef list polled                   # channels whose predicates must be asked; None: left during a sweep
    cdef list dirty                 # channels to be looked at in the next `prepare`
    cdef list recent                  # channels with predicates that were active lately; None: left meanwhile
    cdef list asking                  # those that are being looked at, or None
    cdef list kinds                   # traits of the classes in use
    cdef object turn                  # held by the thread that runs the loop
    cdef cyn_poller poller
    cdef cyn_wake wake_fds
    cdef Py_ssize_t channel_count
    cdef Py_ssize_t gaps              # Nones in `polled`
    cdef Py_ssize_t dirty_gaps      # Nones in `dirty`: channels that have left the map
    cdef unsigned epoch               # cyn_fork_epoch when the wake-up was opened
    cdef unsigned long kinds_revision
    cdef unsigned long waits          # how many there were: a nested one makes the outer batch stale
    cdef unsigned long long map_version
    cdef unsigned long owner_thread   # that runs the loop, or ran it last
    cdef int64_t now                  # the clock as this tick read it, 0: not since something took time; see tick_time
    cdef int64_t refusal_told         # when a refusal of the kernel's was logged last
    cdef int64_t audit_at, sweep_at   # when the next audit, or piece of a sweep, is allowed while events keep coming
    cdef unsigned runs                # how often Python code ran of which a predicate might know
    cdef unsigned prepared_runs, recent_runs, sweep_runs  # `runs` when that was done last
    cdef int recent_next              # place in `recent` that was taken from an idle one last
    cdef Py_ssize_t sweep_next        # place in `polled` where the sweep goes on
    cdef Py_ssize_t sweep_left        # places that it has still to pass
    cdef bint map_changed, own_change, watched
    cdef bint tells                   # is a change by hand noticed without reading the map? A dict tells
    cdef bint is_closed, is_open, waiting, wake_pending, asking_recent
    cdef int sweeping                 # sweeps in progress: a predicate may run the loop, which sweeps, too
    cdef bint recent_gaps             # are there Nones in `recent`?
    cdef bint awoke                   # a wait has ended since the recent channels were asked
    cdef bint hosted                  # another loop waits for our descriptor

    cdef int serve(self, object map, object backend) except -1
    cdef int leave_map(self) except -1
    cdef int open_poller(self, object backend) except -1
    cdef int open_wake(self) except -1
    cdef int woken(self, bint lost) except -1
    cdef int take_events(self, cyn_event *events, int room, int64_t timeout) noexcept nogil
    cdef bint is_refused(self) noexcept
    cdef int ring_at(self, int64_t when) noexcept
    cdef int poller_fd(self) noexcept

    cdef int prepare(self, bint sweep_all) except -1
    cdef int tell_refusal(self, int error, int fd) except -1
    cdef int ask_dirty(self) except -1
    cdef int dirty_renumber(self) except -1
    cdef int dirty_remove(self, Channel channel) except -1
    cdef int ask(self, Channel channel) except -1
    cdef int recent_add(self, Channel channel) except -1
    cdef int recent_remove(self, Channel channel) except -1
    cdef bint ask_recent(self) except -1
    cdef int close_recent(self) except -1
    cdef bint is_stale(self) noexcept
    cdef bint is_asking(self) noexcept
    cdef int ask_everyone(self) except -1
    cdef int sweep(self, int64_t most) except -1
    cdef int sweep_piece(self, int64_t start, int64_t most) except -1
    cdef int close_gaps(self) except -1
    cdef int check_kinds(self) except -1
    cdef int changed(self) except -1

    cdef int read_map(self) except -1
    cdef int read_entry(self, object key, object obj) except -1
    cdef bint is_in_map(self, Channel channel) except -1
    cdef int refuse_entry(self, object key, object obj) except -1
    cdef bint begin_change(self) noexcept
    cdef int end_change(self, bint in_step) except -1
    cdef int attach(self, int fd, Channel channel) except -1
    cdef int let_go(self, Channel channel) except -1

    cdef int check_open(self, str what) except -1
    cdef int check_fork(self) except -1
    cdef unsigned fork_epoch(self) noexcept


cdef inline int64_t tick_time(Registry registry) noexcept:
    """Now, read from the clock once for all that a tick does without calling Python."""
    if registry.now == 0:
        registry.now = cyn_clock()
    return registry.now


cdef inline Py_ssize_t map_size(object map) except -1:
    return PyDict_Size(map) if PyDict_CheckExact(map) else len(map)


cdef inline bint is_map_changed(Registry registry) noexcept:
    """Was the map changed by hand since it was read? Only where it `tells`."""
    if registry.watched or registry.map_changed:
        return registry.map_changed
    return registry.tells and registry.map_version != cyn_dict_version(registry.map)


cdef int64_t PIECE, PAUSE, SWEEP_SHARE
cdef int PIECES

cdef object failure(int error, str what)
cdef Registry registry_of(object map)
