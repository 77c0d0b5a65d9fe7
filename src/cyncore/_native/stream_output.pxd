# SPDX-License-Identifier: MIT
from .calls cimport TimerHandle
from .channel cimport Channel
from .registry cimport Registry
from .settings cimport Settings

cdef enum:
    # Its life
    OPENED = 1 << 0          # a loop has it, or had it
    READY = 1 << 1           # the program may use the connection: output may leave
    GONE = 1 << 2            # the connection is closed
    CLOSE_WANTED = 1 << 3    # close was called
    DRAINING = 1 << 4        # the loop drains: it closes when it is not busy
    BUSY = 1 << 5            # the program works on a request
    # The end of the input, and of the output
    EOF_RECEIVED = 1 << 6
    EOF_TOLD = 1 << 7        # handle_eof was called
    EOF_WANTED = 1 << 8      # write_eof was called
    EOF_SENT = 1 << 9
    # Input
    STEPPING = 1 << 10       # events go to a step: see Extra.step
    CUTTING = 1 << 11        # frames are being delivered
    CUT_QUEUED = 1 << 12     # frames that are held are delivered by a queued call
    # Output
    FULL = 1 << 13           # more than high_water bytes wait, or no less than low_water since
    READ_NEEDS_WRITE = 1 << 14  # the session cannot read before it has written
    WRITE_NEEDS_READ = 1 << 15
    # For deadlines
    TIMED = 1 << 16          # times of input and output are kept
    OWN_SETTINGS = 1 << 17   # `settings` is its own, not that of its class
    FULL_TOLD = 1 << 19      # handle_full was called
    INPUT_HELD = 1 << 18     # TLS begins when the output before it has left: no input is taken until then
    CUT_NESTED = 1 << 20     # input came while a handler of a frame ran the loop
    LOST = 1 << 21           # output has failed: what has come is read, and then the stream ends
    DISCARDED = 1 << 22      # input came after close()
    OWN_DEADLINES = 1 << 23  # it has set one of its deadlines itself
    NO_INPUT = STEPPING | INPUT_HELD | CLOSE_WANTED | GONE  # no handler for input is called
    NO_WRITING = EOF_WANTED | CLOSE_WANTED | GONE | LOST


cdef enum:  # the errno of the errors of a session
    WANT_READ = 2       # SSL_ERROR_WANT_READ
    WANT_WRITE = 3      # SSL_ERROR_WANT_WRITE
    ZERO_RETURN = 6     # SSL_ERROR_ZERO_RETURN: the peer has sent close_notify


cdef class Extra:
    """What only some streams need."""
    cdef object step                  # called with what is ready, instead of reading and writing
    cdef unsigned step_wants
    cdef object session               # what encrypts
    cdef object session_read, session_write, session_pending
    cdef object retry                 # what the session must be given again, as it was
    cdef object failure               # the error that output has failed with
    cdef object linger                # the timer of a stream that waits for its peer to close
    cdef TimerHandle deadlines        # a Deadlines
    cdef object crossing              # a deque: what other threads have written
    cdef double input_at, output_at   # seconds of Loop.time
    cdef Py_ssize_t progress          # bytes sent since `output_at`


cdef class StreamOutput(Channel):
    cdef Settings settings
    cdef public object server         # what has accepted it, or None
    cdef Extra extra                  # made at its first use
    cdef object head                  # what is sent next: bytes, or a part of a file; None: nothing waits
    cdef list rest                    # what comes after it
    cdef bytearray held               # received, and given to no handler yet; None: nothing
    cdef Py_ssize_t searched          # bytes of `held` in which no frame ends
    cdef Py_ssize_t head_sent         # bytes of `head` that were sent
    cdef Py_ssize_t waiting           # bytes that wait to be sent
    cdef unsigned life                # of the flags above
    cdef unsigned rest_at             # the place in `rest` of what comes after `head`

    cdef Registry its_loop(self)
    cdef int check_thread(self, str what) except -1
    cdef Extra extras(self)
    cdef object crossing(self)
    cdef Settings its_settings(self)
    cdef int end(self, object error) except -1
    cdef int end_if_over(self) except -1
    cdef int lost(self, object error) except -1
    cdef int caught(self, object error) except -1

    cdef int write_bytes(self, const char *data, Py_ssize_t size) except -1
    cdef int leave_arena(self) except -1
    cdef int put_output(self, object data, Py_ssize_t size, bint in_tick) except -1
    cdef int put_early(self, object data, Py_ssize_t size) except -1
    cdef int put_outside(self, object data, Py_ssize_t size, int turn) except -1
    cdef int take_crossing(self) except -1
    cdef int over_marks(self) except -1
    cdef int flush_later(self, bint in_tick=*) except -1
    cdef int send_waiting(self) except -1
    cdef int send_plain(self) except -1
    cdef int send_by_method(self, bytes data) except -1
    cdef Py_ssize_t join_pieces(self, Py_ssize_t size) except -1
    cdef int send_session(self) except -1
    cdef int send_part(self) except -1
    cdef int output_done(self) except -1
    cdef int sent(self, Py_ssize_t count) except -1
    cdef int note_progress(self, Py_ssize_t count, bint is_all) except -1
    cdef int next_head(self) except -1
