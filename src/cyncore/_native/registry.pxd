# SPDX-License-Identifier: MIT
from cpython.dict cimport PyDict_CheckExact, PyDict_Size
from libc.stdint cimport int64_t

from .bell cimport Bell
from .calls cimport Calls, Handle, TimerHandle
from .csrc cimport cyn_clock, cyn_event, cyn_figures, cyn_poller, cyn_wake
from .internals cimport cyn_dict_version

cdef enum:
    SCRATCH = 65536   # bytes that recv can read without an allocation: the size of Registry.scratch
    ARENA = 262144    # bytes that handlers in Cython can write in a tick without an object

cdef enum:            # results of Registry.sending
    SEND_NOW = 0      # the caller does, and then calls sent(): until then no other thread runs the loop
    SENT_LATER = 1    # the loop sends it, before its next wait
    NOT_OURS = 2      # the loop runs in another thread, which sends it


cdef class Registry:
    cdef object __weakref__
    cdef readonly object map          # the program's map: fd -> channel
    cdef public bint debug            # check that calls come from the loop's own thread
    cdef char *scratch                # SCRATCH bytes, into which recv reads
    cdef object scratch_view          # the same as a memoryview; None: nobody has needed it yet
    cdef char *lent                   # SCRATCH bytes for input that a handler in Cython looks at; NULL: none are free
    cdef char *arena                  # ARENA bytes of output that such handlers have written in this tick; or NULL
    cdef Py_ssize_t arena_used       # the bytes of it that are taken
    cdef Py_ssize_t arena_users      # how many streams have output there
    cdef void *in_hand                # the streams that deliver frames now; see stream_input.pxd
    cdef object datagrams             # a Datagrams: what all channels of datagrams share; None: there was none yet
    cdef public object network        # the servers and clients of this loop, made at their first use
    cdef public object hosting        # by which another loop serves this one; it is stopped when this one closes
    cdef public object resolver       # finds the addresses of a host; None: socket.getaddrinfo does
    cdef int depth                    # ticks in progress, nested ones counted
    cdef str backend_name
    cdef Calls calls                  # queued calls and timers
    cdef dict timed                   # descriptor -> the deadlines of its dispatcher
    cdef int slowed_count
    cdef dict slowed                  # descriptor of one that fires without end -> timer of its pause, watcher, Suspect
    cdef object turn                  # a lock, held by the thread that runs the loop
    cdef unsigned long owner_thread   # the thread that runs the loop, or ran it last
    cdef cyn_poller poller
    cdef cyn_wake wake_fds
    cdef unsigned epoch               # cyn_fork_epoch when the wake-up was opened
    cdef Bell bell                    # a Bell, by which signals end waits; None: it was not needed yet
    cdef int bell_fd                  # the end of it that is watched; -1: none
    cdef bint is_told                 # it hangs: signals are written to it now
    cdef unsigned long untold_thread  # the thread that is known to get no signals; 0: none
    cdef unsigned long waits          # counts waits: one in a nested tick makes the outer tick's batch stale
    cdef int64_t now                  # ns; the time as read last, 0: it must be read again. See tick_time
    cdef int64_t earliest             # ns; a new timer is due no earlier: it comes after those due now
    cdef int64_t again                # ns until the watchers are asked that predicates have made dirty
    cdef bint is_closed, is_open, waiting, wake_pending
    cdef int64_t slow_after           # ns; what runs for so long is logged. 0: nothing is
    cdef bint hosted                  # another loop waits for `fileno()`
    cdef cyn_figures figures          # what `Loop.stats` tells
    cdef bint rings                   # `fileno()` is readable when a timer is due, too
    cdef int64_t work_at              # ns; when a hosted loop has work that is neither an event nor a timer

    # The watchers, by descriptor. They are plain objects here: this module does not know the class.
    cdef list owners                  # fd -> its watcher, or None
    cdef Py_ssize_t owner_count       # how many of `owners` are not None
    cdef list kinds                   # traits of the classes in use

    # The map's changes
    cdef unsigned long long map_version
    cdef bint map_changed, own_change, watched
    cdef bint tells                   # changes by hand are noticed without reading the map: it is a dict

    # Lists of watchers. Only `watcher` adds and removes; `predicates` walks them. During a walk None marks a gap.
    cdef list polled                  # those whose predicates must be asked
    cdef list dirty                   # those to be asked, or armed, before the next wait
    cdef list recent                  # those of `polled` that were active lately
    cdef list asking                  # the former `dirty`, while it is being walked; else None
    cdef Py_ssize_t polled_gaps, dirty_gaps
    cdef bint recent_gaps
    cdef bint asking_recent           # true while `recent` is being walked
    cdef int sweeping                 # sweeps in progress: more than one if a predicate runs the loop
    cdef Py_ssize_t sweep_left        # places of `polled` that the sweep has yet to visit
    cdef int recent_next              # the place in `recent` that an idle watcher lost last
    cdef unsigned runs                # counts runs of Python code that may have changed what predicates answer

    # Channels with output that is sent before the next wait
    cdef list gathered                # they are at places `gathered_at` to `gathered_count`; elsewhere it is None
    cdef Py_ssize_t gathered_at, gathered_count
    cdef unsigned gathered_epoch      # cyn_fork_epoch when the last of them was gathered
    cdef unsigned tick_epoch          # `epoch` when the tick began
    cdef bint flushing

    cdef int serve(self, object map, object backend) except -1
    cdef int leave_map(self) except -1
    cdef int open_poller(self, object backend) except -1
    cdef int open_wake(self) except -1
    cdef int woken(self, int fd, bint lost) except -1
    cdef int hear_signals(self) except -1
    cdef bint hang_bell(self) except -1
    cdef int open_bell(self) except -1
    cdef int drop_bell(self, bint lost) except -1
    cdef int stop_hearing(self) except -1
    cdef int changed(self) except -1

    cdef int take_events(self, cyn_event *events, int room, int64_t timeout) noexcept nogil
    cdef bint is_refused(self) noexcept
    cdef int poller_fd(self) noexcept
    cdef int have_descriptor(self) except -1
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
    cdef int set_timer(self, TimerHandle handle, double when) except -1
    cdef int timer_set(self, int64_t before) except -1
    cdef TimerHandle add_timer(self, double when, object callback, tuple args)
    cdef int later(self, int64_t milliseconds, object callback, tuple args) except -1

    cdef bint runs_elsewhere(self) noexcept
    cdef int sending(self) except -1
    cdef bint is_sending_later(self) except -1
    cdef int sent(self) except -1
    cdef int gather(self, object channel) except -1
    cdef bint is_copy(self) noexcept

    cdef int check_open(self, str what) except -1
    cdef int check(self, str what) except -1
    cdef int check_caller(self, str what, object channel) except -1
    cdef int check_fork(self) except -1
    cdef unsigned fork_epoch(self) noexcept


cdef inline int64_t tick_time(Registry registry) noexcept:
    """Returns the time in ns. The clock is read only if `now` is 0: after Python code ran, or a wait."""
    if registry.now == 0:
        registry.now = cyn_clock()
    return registry.now


cdef inline Py_ssize_t map_size(object map) except -1:
    return PyDict_Size(map) if PyDict_CheckExact(map) else len(map)


cdef inline bint is_map_changed(Registry registry) noexcept:
    """Returns True if the map was changed by hand since it was read. Only for a map with `tells` set."""
    if registry.watched or registry.map_changed:
        return registry.map_changed
    return registry.tells and registry.map_version != cyn_dict_version(registry.map)


cdef int64_t ASK_AGAIN, ASK_SELDOM

cdef void **ticking_here() noexcept
cdef object failure(int error, str what)
cdef Registry registry_of(object map)
cdef Registry registry_for(object map)
