# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t

from .csrc cimport cyn_peer
from .internals cimport cyn_socket_fd
from .traits cimport Traits

cdef enum:
    CONNECTED = 1
    ACCEPTING = 2
    CONNECTING = 4
    CLOSING = 8
    PAUSED = 16       # pause_reading
    MUTED = 32        # read events have no handler of the class's own
    BACKED_OFF = 64   # a listener that ran out of descriptors
    OUTPUT = 128      # a buffered channel has something to send
    HELD = 256        # hung up, with bytes unread that are not wanted now
    DIRECT = 512      # `sock` is exactly a plain socket: system calls instead of its methods
    RECV_EAGAIN = 1024      # recv has just met EAGAIN
    ACCEPT_EMFILE = 2048    # accept has just run out of descriptors
    INSTANCE = 4096   # the instance may have handlers of its own
    DIRTY = 8192    # in loop.dirty
    PENDING = 32768   # a read event for bytes that the socket holds is queued
    PENDING_LATER = 65536  # the same, once reading is wanted
    FOREIGN = 16384   # stands for an object that is not a Channel
    FLUSH_QUEUED = 131072  # has output that the loop sends before it waits next
    CROSS_THREAD = 524288   # other threads have pushed what the loop's has not seen
    UNSENT = 655360   # FLUSH_QUEUED | CROSS_THREAD
    OWN_STEPS = 1048576  # the instance has a set_socket or add_channel of its own
    LEAVING = 262144  # is being closed: what fails now need not be told
    RECENT = 2097152  # in loop.recent
    ASKING = 4194304  # its predicates are being called

    NAMELESS = 8388608  # was added without a descriptor: it is in a map under None

cdef enum:
    SCRATCH = 65536   # bytes that recv can read without an allocation: LoopBase.scratch

cdef enum:            # what LoopBase.sending answers
    SEND_NOW = 0      # nobody would send it later; no other thread can run the loop until sent()
    SENT_LATER = 1    # the loop will, before it waits next
    NOT_OURS = 2      # the loop is running in another thread


cdef class LoopBase:
    """What a channel needs of its loop; `Loop` supplies it."""

    cdef readonly object map          # fd -> channel, as its users see it
    cdef char *scratch                # recv reads into it
    cdef int depth                    # ticks in progress, nested ones counted
    cdef int put(self, int fd, Channel channel) except -1
    cdef int take_out(self, int fd) except -1
    cdef int detach(self, int fd) except -1
    cdef int want(self, int fd, unsigned mask) except -1
    cdef int renew(self, Channel channel) except -1
    cdef int ask_soon(self, Channel channel) except -1
    cdef int dirty_add(self, Channel channel) except -1
    cdef int polled_add(self, Channel channel) except -1
    cdef int polled_remove(self, Channel channel) except -1
    cdef int read_ahead(self, Channel channel) except -1
    cdef int reclass(self, Channel channel) except -1
    cdef int check(self, str what) except -1
    cdef int later(self, int64_t milliseconds, object callback) except -1
    cdef int sending(self) except -1
    cdef int sent(self) except -1
    cdef bint is_copy(self) noexcept
    cdef int gather(self, Channel channel) except -1


cdef extern from *:
    ctypedef class cyncore._native.traits.Root [object PyObject]:
        pass


cdef class Channel(Root):
    # What every event needs comes first, behind the object's own header: 64 bytes with it.
    cdef LoopBase loop
    cdef Traits traits
    cdef object sock
    cdef unsigned flags
    cdef unsigned defines             # of _traits: what it or its class defines
    cdef int polled_index                 # place in loop.polled, -1: not there
    cdef int key_fd                     # its key in the loop's map, -1: in none
    cdef int fileno                   # _fileno, -1: None
    cdef int dirty_index               # place in loop.dirty, or in the part of it that is being asked
    cdef unsigned answers                # what its predicates answered last
    cdef unsigned own                 # which of _traits.OWN_NAMES it carries itself
    cdef unsigned polled_run           # loop.runs when they were asked last
    cdef int recent_index                # place in loop.recent
    cdef unsigned idle_passes         # how often they were asked as one of those without another answer
    cdef unsigned backoff             # milliseconds that a listener without descriptors waited last
    cdef object map                   # _map
    cdef object address               # addr, once it was asked for or assigned
    cdef cyn_peer peer                # what `addr` is made of when somebody asks; family 0: nothing

    cdef int attribute_changed(self, object name, bint is_set) except -1
    cdef object its_socket(self)
    cdef object its_map(self)
    cdef object method_of_socket(self, str name)
    cdef int join(self, object map, int fd) except -1
    cdef int leave(self, object map, int fd) except -1
    cdef int move_socket(self) except -1
    cdef bint is_as_before(self, object sock) except -1
    cdef bint state(self, unsigned flag, str name) except -1
    cdef int set_state(self, unsigned flag, bint on) except -1
    cdef int classify(self) except -1
    cdef int ask(self) except -1
    cdef unsigned interest(self) except? 0xFFFFFFFF
    cdef int arm(self) except -1
    cdef int interest_changed(self) except -1
    cdef object call(self, object method, str name)
    cdef int on_read(self) except -1
    cdef int on_write(self) except -1
    cdef int on_accept(self) except -1
    cdef int on_urgent(self) except -1
    cdef int on_close(self) except -1
    cdef int on_error(self) except -1
    cdef int on_data(self) except -1
    cdef int on_room(self) except -1
    cdef int flush(self, bint at_end) except -1
    cdef int flush_leaving(self) except -1
    cdef int read_default(self) except -1
    cdef int write_default(self) except -1
    cdef int connect_ended(self) except -1
    cdef int back_off(self, object error) except -1
    cdef int unmute(self) except -1
    cdef object accept_some(self)
    cdef object recv_some(self, object buffer_size)
    cdef object recv_through(self, object buffer_size)
    cdef object send_some(self, object data)


cdef class BufferedChannel(Channel):
    cdef bytearray out  # of OutboxChannel; here, so that a class may derive from that and from another kind of these
    cdef bint has_output(self) except -1
    cdef int output_changed(self) except -1


cdef class Foreign(Channel):
    cdef object target


cdef frozenset DISCONNECTED  # errnos of a connection that is lost

cdef int watch(object names) except -1


cdef inline int _fileno(object plain_socket) noexcept:
    """The descriptor of a socket that is DIRECT, -1 where it is closed: its ``fileno()`` without a call."""
    return cyn_socket_fd(plain_socket)
