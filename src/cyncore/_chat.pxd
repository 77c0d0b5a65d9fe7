# SPDX-License-Identifier: MIT

from ._channel cimport BufferedChannel
from ._fifo cimport Fifo

cdef enum:
    OWN_RECV = 1        # has a recv of its own
    OWN_SEND = 2        # has a send of its own
    OWN_INITIATE = 4    # has an initiate_send of its own
    OWN_READ = 8        # has a handle_read of its own
    OWN_WRITE = 16      # has a handle_write of its own
    PLAIN_COLLECT = 32  # collects into `incoming`
    OTHER_QUEUE = 64    # `producer_fifo` is an object of the program's
    SLOWLY = 128        # has an attribute or a get_terminator in the way of what is done here
    INSTANCE_WAYS = 256  # the instance has some of this, not its class

cdef enum:              # kinds of terminator
    UNSET = 0
    UNENDING = 1        # None and everything else that is false
    COUNTED = 2         # so many bytes more
    TEXT = 3            # bytes
    IMPOSSIBLE = 4


cdef class ChatTraits:
    cdef type kind
    cdef unsigned version
    cdef unsigned ways
    cdef object collect            # plain functions, or None: to be looked up
    cdef object found
    cdef Py_ssize_t in_size, out_size
    cdef Py_ssize_t max_incoming, max_outgoing  # -1: none
    cdef int read_class(self) except -1


cdef class ChatChannel(BufferedChannel):
    cdef ChatTraits chat
    cdef unsigned ways
    cdef unsigned ways_version     # of the class when `ways` was taken from it
    cdef object in_data            # what was received and not handed on begins at in_at
    cdef Py_ssize_t in_at
    cdef Py_ssize_t collected      # bytes handed on since the last terminator; -1: the rest of the line is dropped
    cdef object collecting         # `incoming`, once there is one
    cdef object until              # `terminator`
    cdef bytes until_text          # the same, as bytes to be searched for
    cdef int until_kind
    cdef Py_ssize_t until_size     # its length, or the bytes that are left
    cdef Fifo fifo                 # once something was pushed
    cdef void *fifo_at             # the same, for as long as it lives
    cdef bint is_sending
    cdef object handed             # what other threads have pushed,
    cdef Py_ssize_t handed_size    # so many bytes
    cdef bint is_refusing          # is to be told that this is too much
    cdef object other_queue        # what a program has put in place of it

    cdef int refresh(self) except -1
    cdef int look_again(self) except -1
    cdef Py_ssize_t size_of(self, str name, Py_ssize_t usual) except -2
    cdef object received(self)
    cdef int read_chat(self) except -1
    cdef int parse(self, bint was_open) except -1
    cdef Py_ssize_t find(self, char *data, Py_ssize_t size) except -2
    cdef Py_ssize_t partial(self, char *data, Py_ssize_t size) except -1
    cdef int collect(self, object data) except -1
    cdef int found(self) except -1
    cdef int _take(self, object data) except -1
    cdef int too_much(self, str what, Py_ssize_t most) except -1
    cdef int set_until(self, object value) except -1
    cdef Fifo queue(self)
    cdef int take_queue(self, Fifo fifo) except -1
    cdef int hand_over(self, object item, Py_ssize_t size) except -1
    cdef int put_handed(self, int when) except -1
    cdef int put_item(self, object item, Py_ssize_t size) except -1
    cdef int put_here(self, object item, Py_ssize_t size, int when) except -1
    cdef bint output_left(self) except -1
    cdef int send_queue(self, bint connected, bint room, bint closes) except -1
    cdef int prepare(self, Py_ssize_t most) except -1
    cdef int resolve(self, Py_ssize_t at, Py_ssize_t most) except -1
    cdef int send_fifo(self, bint room, bint closes) except -1
    cdef int send_front(self, Py_ssize_t most) except -2
    cdef int send_directly(self, Py_ssize_t most) except -2
    cdef int send_through(self, Py_ssize_t most) except -2
