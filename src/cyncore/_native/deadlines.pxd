# SPDX-License-Identifier: MIT
from .calls cimport TimerHandle
from .settings cimport Limits
from .stream_output cimport StreamOutput

cdef enum:  # the phases of the life of a stream
    UNKNOWN
    CONNECT
    HANDSHAKE
    OPEN


cdef class Deadlines(TimerHandle):
    cdef StreamOutput stream
    cdef Limits limits                 # of its class, or its own
    cdef int phase
    cdef bint is_patient               # it was due, and input that waits in the kernel gets the chance to be read
    # When each began, in seconds of Loop.time
    cdef readonly double begun         # the phase
    cdef double life, first_byte, idle, write

    cdef int start(self, int phase) except -1
    cdef int set(self) except -1
    cdef int look(self) except -1
    cdef int began_again(self, int kind, double now) except -1
    cdef unsigned find(self, double now, double *earliest) except? 0xFFFFFFFF


cdef int start_deadlines(StreamOutput stream, int phase) except -1
cdef int deadline_changed(StreamOutput stream) except -1
cdef int phase_named(str name) except -1
