# SPDX-License-Identifier: MIT
from .registry cimport Registry
from .traits cimport Traits

cdef enum:
    # Its life, as the attributes of these names show it
    CONNECTED = 1 << 0
    ACCEPTING = 1 << 1
    CONNECTING = 1 << 2
    CLOSING = 1 << 3
    # Brakes: read events are not wanted, whatever the predicates answer
    PAUSED = 1 << 4          # pause_reading was called
    MUTED = 1 << 5           # the class handles no read events: it got one, and nobody took what came
    BACKED_OFF = 1 << 6      # a listener that ran out of descriptors waits
    HELD = 1 << 7            # hung up, with bytes unread that are not wanted now: out of the poller
    BRAKES = PAUSED | MUTED | BACKED_OFF
    # Its nature
    DIRECT = 1 << 8          # its socket is exactly a plain one: system calls in place of its methods
    INSTANCE = 1 << 9        # the instance may have handlers of its own
    OWN_STEPS = 1 << 10      # the instance has a set_socket or add_channel of its own
    FOREIGN = 1 << 11        # it stands for an object that is no Channel
    NAMELESS = 1 << 12       # it was added without a descriptor: it is in a map under None
    # Lists of the loop that it is in; `polled_index` tells of one more
    DIRTY = 1 << 13
    RECENT = 1 << 14
    # The call that is in progress, or that was the last
    ASKING = 1 << 15         # its predicates are being called
    LEAVING = 1 << 16        # it is being closed: nobody need be told what fails now
    RECV_EAGAIN = 1 << 17    # recv has just met EAGAIN
    ACCEPT_EMFILE = 1 << 18  # accept has just run out of descriptors
    PENDING = 1 << 19        # a read event for bytes that the socket object holds is queued
    PENDING_LATER = 1 << 20  # the same, once reading is wanted
    # Its output
    OUTPUT = 1 << 21         # a buffered channel has something to send
    FLUSH_QUEUED = 1 << 22   # it has output that the loop sends before it waits next
    CROSS_THREAD = 1 << 23   # other threads have pushed what the loop's has not seen
    UNSENT = FLUSH_QUEUED | CROSS_THREAD


cdef extern from *:
    ctypedef class cyncore._native.traits.Root [object PyObject]:
        pass


cdef class Watcher(Root):
    # What every event needs comes first, behind the object's own header: 64 bytes with it.
    cdef Registry loop
    cdef Traits traits
    cdef object sock                  # the socket, or what stands for one, or None
    cdef unsigned flags
    cdef unsigned defines             # flags of `traits`: what it or its class defines
    cdef int polled_index             # its place in loop.polled, -1: not there
    cdef int key_fd                   # its key in the loop's map, -1: in none
    cdef int fileno                   # its own descriptor, -1: none
    cdef int dirty_index              # its place in loop.dirty, or in the part of that which is being asked
    cdef unsigned answers             # of its predicates, when they were asked last
    cdef unsigned own                 # which of traits.OWN_NAMES it carries itself
    cdef unsigned polled_run          # loop.runs when they were asked last
    cdef int recent_index             # its place in loop.recent
    cdef unsigned idle_passes         # how often it was asked as one of those, and answered as before

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


cdef class Foreign(Watcher):
    cdef object target


cdef frozenset DISCONNECTED  # errnos of a connection that is lost
cdef unsigned RECENT_PASSES   # that a watcher stays among the recent ones, without an event or another answer
cdef tuple EXITS             # the exceptions that leave the loop

cdef int detach(Registry loop, int fd) except -1
cdef int take_out(Registry loop, int fd) except -1
cdef int close_polled(Registry loop) except -1
cdef int close_recent(Registry loop) except -1
cdef int renumber_dirty(Registry loop) except -1
