# SPDX-License-Identifier: MIT
from .settings cimport frame
from .stream_output cimport StreamOutput


cdef struct hand:  # a stream that delivers the frames of one read, on the stack of the thread that runs the loop
    void *stream
    hand *outer                    # the one whose handler runs the loop; NULL: none
    const char *data               # what was read
    Py_ssize_t at, size            # where the frame in hand ends, and all of it


cdef class StreamInput(StreamOutput):
    cdef int handle_bytes(self, const char *data, Py_ssize_t size) except? -1
    cdef int handle_frame_bytes(self, const char *data, Py_ssize_t size) except? -1

    cdef int received_bytes(self, bytes data) except -1
    cdef int read_some(self) except -1
    cdef int read_natively(self) except -1
    cdef int read_session(self) except -1
    cdef int hold_session(self) except -1
    cdef int read_into_buffer(self) except -1
    cdef int read_failed(self, object failure) except -1
    cdef int discard_some(self) except -1
    cdef int input_ended(self) except -1
    cdef int tell_eof(self) except -1
    cdef int note_input(self) except -1

    cdef int take_framed(self, const char *data, Py_ssize_t size) except -1
    cdef int take_batch(self, const char *data, Py_ssize_t size) except -1
    cdef int hold(self, const char *data, Py_ssize_t size) except -1
    cdef int cut_held(self) except -1
    cdef int deliver(self, object piece, int kind) except -1
    cdef object take_held(self)
    cdef int deliver_natively(self, bytes piece, int kind) except -1
    cdef bint find_held(self, Py_ssize_t at, frame *found) except -1
    cdef int cut_later(self) except -1
    cdef int cut_ended(self) except -1
