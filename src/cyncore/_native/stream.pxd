# SPDX-License-Identifier: MIT
from .stream_input cimport StreamInput


cdef class StreamChannel(StreamInput):
    cdef int read_specially(self) except -1
    cdef int read_last(self) except -1
