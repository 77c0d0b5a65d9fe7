# SPDX-License-Identifier: MIT
from cpython.dict cimport PyDict_CheckExact, PyDict_Size
from libc.stdint cimport int64_t

from .calls cimport Calls, Handle, TimerHandle
from .csrc cimport cyn_clock, cyn_event, cyn_poller, cyn_wake
from .internals cimport cyn_dict_version

cdef enum:
    SCRATCH = 65536   # bytes that recv can read without an allocation: the size of Registry.scratch

cdef enum:            # what Registry.sending answers
    SEND_NOW = 0      # nobody would send it later; no other thread can run the loop until sent()
    SENT_LATER = 1    # the loop will, before it waits next
    NOT_OURS = 2      # the loop is running in another thread


cdef class Registry:
    cdef object __weakref__
    cdef readonly object map          # fd -> channel, as its users see it
    cdef public bint debug            # check that calls come from the loop's own thread
    cdef char *scratch                # recv reads into it
    cdef int depth                    # ticks in progress, nested ones counted
    cdef str backend_name
    cdef Calls calls                  # that are queued or timed
    cdef object turn                  # a lock, held by the thread that runs the loop
    cdef unsigned long owner_thread   # that runs the loop, or ran it last
    cdef cyn_poller poller
    cdef cyn_wake wake_fds
    cdef unsigned epoch               # cyn_fork_epoch when the wake-up was opened
    cdef unsigned long waits          # how many there were: a nested one makes the outer batch stale
    cdef int64_t now                  # the clock as this tick read it, 0: not since something took time; see tick_time
    cdef int64_t earliest             # of timers added now: not before those that are being made
    cdef int64_t again                # ns until those are asked whom predicates have made dirty
    cdef bint is_closed, is_open, waiting, wake_pending
    cdef bint hosted                  # another loop waits for our descriptor

    # By descriptor. Python objects, which `watcher` knows as its own.
    cdef list owners                  # fd -> its watcher, or None
    cdef Py_ssize_t owner_count       # those that are not None
    cdef list kinds                   # traits of the classes in use

    # The map's changes
    cdef unsigned long long map_version
    cdef bint map_changed, own_change, watched
    cdef bint tells                   # is a change by hand noticed without reading the map? A dict tells

    # Lists of watchers. `watcher` alone adds and removes; `predicates` walks them, during which None marks a gap.
    cdef list polled                  # whose predicates must be asked
    cdef list dirty                   # to be looked at before the next wait
    cdef list recent                  # those of `polled` that were active lately
    cdef list asking                  # the part of `dirty` that is being looked at, or None
    cdef Py_ssize_t polled_gaps, dirty_gaps
    cdef bint recent_gaps
    cdef bint asking_recent           # is somebody walking over `recent`?
    cdef int sweeping                 # walks over `polled` in progress: a predicate may run the loop, which sweeps, too
    cdef Py_ssize_t sweep_left        # places of `polled` that the sweep has still to pass
    cdef int recent_next              # place in `recent` that was taken from an idle one last
    cdef unsigned runs                # how often Python code ran of which a predicate might know

    # Output to be sent before the next wait
    cdef list gathered                # its channels, from `gathered_at` to `gathered_count`; None elsewhere
    cdef Py_ssize_t gathered_at, gathered_count
    cdef unsigned gathered_epoch      # cyn_fork_epoch when that was gathered
    cdef unsigned tick_epoch          # the same, when the tick began
    cdef bint flushing

    cdef int serve(self, object map, object backend) except -1
    cdef int leave_map(self) except -1
    cdef int open_poller(self, object backend) except -1
    cdef int open_wake(self) except -1
    cdef int woken(self, bint lost) except -1
    cdef int changed(self) except -1

    cdef int take_events(self, cyn_event *events, int room, int64_t timeout) noexcept nogil
    cdef bint is_refused(self) noexcept
    cdef int poller_fd(self) noexcept
    cdef int set_alarm(self) except -1

    cdef object register(self, int fd, object owner)
    cdef object unregister(self, int fd)
    cdef int renew(self, int fd, object owner) except -1
    cdef int want(self, int fd, unsigned mask) except -1
    cdef int apply(self, int audit) except -1
    cdef int note_kind(self, object traits) except -1

    cdef bint begin_change(self) noexcept
    cdef int end_change(self, bint in_step) except -1
    cdef int map_put(self, int fd, object owner) except -1
    cdef int map_remove(self, int fd) except -1

    cdef Handle queue(self, object callback, tuple args)
    cdef TimerHandle add_timer(self, double when, object callback, tuple args)
    cdef int later(self, int64_t milliseconds, object callback, tuple args) except -1

    cdef int sending(self) except -1
    cdef int sent(self) except -1
    cdef int gather(self, object channel) except -1
    cdef bint is_copy(self) noexcept

    cdef int check_open(self, str what) except -1
    cdef int check(self, str what) except -1
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


cdef int64_t ASK_AGAIN, ASK_SELDOM

cdef void **ticking_here() noexcept
cdef object failure(int error, str what)
cdef Registry registry_of(object map)
cdef Registry registry_for(object map)
