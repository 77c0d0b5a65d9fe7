# SPDX-License-Identifier: MIT
from libc.stdint cimport uint16_t, uint64_t

from .registry cimport Registry
from .traits cimport Traits

cdef enum:
    # The state of the connection, as the attributes of these names show it
    CONNECTED = 1 << 0
    ACCEPTING = 1 << 1
    CONNECTING = 1 << 2
    CLOSING = 1 << 3
    # Brakes: read events are not wanted, whatever the predicates answer
    PAUSED = 1 << 4          # pause_reading was called
    MUTED = 1 << 5           # a read event came, and the class handles none: input waits until somebody reads
    BACKED_OFF = 1 << 6      # a listener ran out of descriptors and accepts again after a pause
    HELD = 1 << 7            # hung up while reading is not wanted and input waits: out of the poller till then
    BRAKES = PAUSED | MUTED | BACKED_OFF
    # Brakes of a channel that fires without end, for a while
    SLOWED = 1 << 26         # it has no events
    SLOWED_OUTPUT = 1 << 27  # it has no write events
    # What it is, and what it carries
    DIRECT = 1 << 8          # its socket is a plain one: the engine makes the system calls itself
    INSTANCE = 1 << 9        # the instance itself carries handlers or predicates
    OWN_STEPS = 1 << 10      # the instance itself carries set_socket or add_channel
    FOREIGN = 1 << 11        # it is a Foreign, which stands for another object
    NAMELESS = 1 << 12       # it was added without a descriptor: it is in a map under None
    STREAM = 1 << 24         # it reads by itself: a read event that comes alone goes straight to on_read
    TIMED = 1 << 25          # it is a dispatcher with deadlines: the times of its events are noted
    DATAGRAM = 1 << 28       # its socket has no connection: an error that the kernel reports is no hang-up
    CHECKED = 1 << 29        # its loop was in debug mode when it joined: calls in other threads are told
    VALUED = 1 << 30         # its dict tells of a state that was assigned and is no bool, or of a deleted socket
    # The lists of the loop that it is in; for `polled` see `polled_index`
    DIRTY = 1 << 13
    RECENT = 1 << 14
    # The call in progress, or the last one
    ASKING = 1 << 15         # its predicates are being called
    LEAVING = 1 << 16        # it is being closed: errors of its last output are not reported
    RECV_EAGAIN = 1 << 17    # recv has just met EAGAIN
    ACCEPT_EMFILE = 1 << 18  # accept has just run out of descriptors
    PENDING = 1 << 19        # a read event for bytes that the socket object holds is queued
    PENDING_LATER = 1 << 20  # there are such bytes, and the event is queued when reading is wanted
    # Its output
    OUTPUT = 1 << 21         # a buffered channel has something to send
    FLUSH_QUEUED = 1 << 22   # it has output that the loop sends before it waits next
    CROSS_THREAD = 1 << 23   # other threads have pushed items that the loop's thread has not queued yet
    UNSENT = FLUSH_QUEUED | CROSS_THREAD


cdef extern from *:
    ctypedef class cyncore._native.traits.Root [object PyObject]:
        pass


cdef class Watcher(Root):
    # The fields down to `key_fd` are read for every event. With the object's header they take 64 bytes, a cache line.
    cdef Registry loop
    cdef Traits traits
    cdef object sock                  # the socket, or what stands for one, or None
    cdef unsigned flags
    cdef unsigned defines             # flags of traits.pxd: what its class, or it itself, defines
    cdef int polled_index             # its place in loop.polled; -1: it is not polled
    cdef int key_fd                   # its key in the loop's map; -1: it is in no loop
    cdef int fileno                   # its own descriptor; -1: it has none
    cdef int dirty_index              # its place in loop.dirty, or in loop.asking
    cdef unsigned answers             # what its predicates answered last: a mask
    cdef unsigned own                 # bits: which of traits.OWN_NAMES it carries itself
    cdef unsigned polled_run          # loop.runs when its predicates were asked last
    cdef int recent_index             # its place in loop.recent
    cdef uint16_t idle_passes         # how often in a row, while recent, it was asked and gave the same answer
    cdef uint16_t backoff             # the last pause of a listener that ran out of descriptors, in ms
    cdef unsigned entered             # when it joined the loop: a stamp, see cyn_figures.h
    cdef uint64_t received_size       # the bytes that it has received since
    cdef uint64_t sent_size           # and sent

    cdef int enter(self, Registry loop, int fd) except -1
    cdef int leave_loop(self) except -1
    cdef int leave_lists(self) except -1
    cdef int put(self, Registry loop, int fd) except -1
    cdef int reclass(self) except -1
    cdef int classify(self) except -1

    cdef int polled_add(self) except -1
    cdef int polled_remove(self) except -1
    cdef int dirty_add(self) except -1
    cdef int dirty_remove(self) except -1
    cdef int recent_add(self) except -1
    cdef int recent_remove(self) except -1

    cdef object subject(self)
    cdef object its_socket(self)
    cdef unsigned ask(self) except? 0xFFFFFFFF
    cdef unsigned interest(self) except? 0xFFFFFFFF
    cdef int arm(self) except -1
    cdef int answered(self, unsigned answers) except -1
    cdef int ask_soon(self) except -1
    cdef int interest_changed(self) except -1

    cdef int on_read(self) except -1
    cdef int on_write(self) except -1
    cdef int on_urgent(self) except -1
    cdef int on_close(self) except -1
    cdef int on_error(self) except -1
    cdef int failed(self, object error) except -1
    cdef int pending(self) except -1
    cdef int deliver_pending(self) except -1
    cdef Py_ssize_t output_waiting(self) except -1


cdef class Foreign(Watcher):
    cdef object target


cdef frozenset DISCONNECTED  # errnos of a connection that is lost
cdef unsigned RECENT_PASSES   # passes after which a watcher with no event and no new answer is not recent any more
cdef tuple EXITS             # the exceptions that leave the loop

cdef int lost(Watcher watcher) except -1
cdef int detach(Registry loop, int fd) except -1
cdef int take_out(Registry loop, int fd) except -1
cdef int close_polled(Registry loop) except -1
cdef int close_recent(Registry loop) except -1
cdef int renumber_dirty(Registry loop) except -1
