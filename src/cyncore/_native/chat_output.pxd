# SPDX-License-Identifier: MIT

from .fifo cimport Fifo
from .chat_input cimport ChatInput

cdef enum Why:         # why the queue is sent
    PROGRAM = 0        # the program pushes, or calls initiate_send
    ROOM = 1           # a write event says that the socket has room
    TICK_END = 2       # the handlers of this tick, or of the input that came in one read, have returned
    BEFORE_ACTION = 3  # the program does something that must not happen before its output has left

cdef enum Wait:          # whether an item that is pushed waits for more output
    NO_WAIT = 0
    WAIT_IF_MORE = 1     # it waits if more output is expected
    WAIT_ALWAYS = 2      # it waits, since nobody blocks until it has left


cdef class ChatOutput(ChatInput):
    cdef Fifo fifo                       # None: nothing was queued yet
    cdef void *fifo_at                   # the same, also after the collector has cleared `fifo`; NULL: it is gone
    cdef object other_queue              # an object of the program's that takes the place of `fifo`, or None
    cdef bint is_sending                 # send_queue is running

    cdef object cross_thread_items       # a deque of what other threads have pushed; None: not used yet
    cdef Py_ssize_t cross_thread_size    # bytes in it
    cdef bint cross_thread_refused       # a push was refused, and handle_error is about to be called for it

    # When, and how, what was pushed leaves: in this order.
    cdef int put_outside(self, object item, Py_ssize_t size, int turn) except -1
    cdef int put_here(self, object item, Py_ssize_t size, Wait wait) except -1
    cdef int send_queue(self, Why why) except -1
    cdef bint send_items(self, Why why) except -1
    cdef int send_front(self, Py_ssize_t most) except -2

    cdef int make_queue(self) except -1
    cdef int set_queue(self, Fifo fifo) except -1
    cdef bint output_left(self) except -1
    cdef bint has_room_for(self, Py_ssize_t size) except -1
    cdef int send_failed(self, int error) except -2
    cdef object refill(self, Py_ssize_t most)
    cdef int refill_step(self, Py_ssize_t at, Py_ssize_t most) except -1
    cdef int cross_thread_put(self, object item, Py_ssize_t size) except -1
    cdef int cross_thread_take(self, Wait wait) except -1
    cdef int cross_thread_queue(self) except -1
