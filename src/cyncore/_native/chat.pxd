# SPDX-License-Identifier: MIT

from .fifo cimport Fifo
from .chat_input cimport ChatInput


cdef class ChatChannel(ChatInput):
    cdef Fifo fifo                 # once something was pushed
    cdef void *fifo_at             # the same, for as long as it lives
    cdef bint is_sending
    cdef object handed             # what other threads have pushed,
    cdef Py_ssize_t handed_size    # so many bytes
    cdef bint is_refusing          # is to be told that this is too much
    cdef object other_queue        # what a program has put in place of it

    cdef Fifo queue(self)
    cdef int take_queue(self, Fifo fifo) except -1
    cdef int hand_over(self, object item, Py_ssize_t size) except -1
    cdef int put_handed(self, int when) except -1
    cdef int queue_handed(self) except -1
    cdef int put_item(self, object item, Py_ssize_t size, int when) except -1
    cdef int put_here(self, object item, Py_ssize_t size, int when, bint gathers) except -1
    cdef int tell_failed(self, int error) except -1
    cdef int send_now(self, bytes data, Py_ssize_t size) except -1
    cdef bint can_write(self) except -1
    cdef bint has_room_for(self, Py_ssize_t size) except -1
    cdef bint output_left(self) except -1
    cdef int send_all(self) except -1
    cdef int send_queue(self, bint connected, bint room, bint closes) except -1
    cdef int send_fifo(self, bint room, bint closes) except -1
    cdef int send_front(self, Py_ssize_t most) except -2
    cdef int send_directly(self, Py_ssize_t most) except -2
    cdef int send_through(self, Py_ssize_t most) except -2
    cdef int send_failed(self, int error) except -2
    cdef int prepare(self, Py_ssize_t most) except -1
    cdef int resolve(self, Py_ssize_t at, Py_ssize_t most) except -1
