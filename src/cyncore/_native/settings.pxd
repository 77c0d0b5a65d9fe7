# SPDX-License-Identifier: MIT
cdef enum:  # how frames are found
    NO_FRAMES
    LINES
    PREFIXED
    EXACTLY
    OTHER_FRAMES

cdef enum:  # results of find_frame
    INCOMPLETE = 0
    FOUND = 1
    TOO_LONG = 2

cdef enum:
    BATCH = 65536  # bytes of input whose frames are delivered at once, at most

cdef struct frame:  # counted from where the search began
    Py_ssize_t begin, end  # what is delivered
    Py_ssize_t after       # where the next frame begins
    unsigned long long length  # what a prefix says, of a frame that is too long


cdef enum:  # the deadlines
    CONNECT_LIMIT
    HANDSHAKE_LIMIT
    FIRST_BYTE_LIMIT
    IDLE_LIMIT
    WRITE_LIMIT
    LIFE_LIMIT
    KINDS  # how many there are


cdef class Limits:
    cdef double seconds[6]
    cdef unsigned kinds               # those that are set: one bit each


cdef class Settings:
    cdef unsigned version             # of the class when they were read
    cdef Py_ssize_t high, low         # the water marks
    cdef Py_ssize_t most              # max_output; -1: none
    cdef object framing
    cdef int kind                     # how frames are found
    cdef Py_ssize_t limit, count      # of the framing: the longest frame; the size of a prefix, or of a frame
    cdef bytes end
    cdef bint is_little
    cdef bint has_buffer              # the class receives into buffers of its own
    cdef bint is_native               # its handlers may be in Cython: see `has_native_handlers`
    cdef bint has_batches             # it takes the frames of one read together
    cdef bint reads_specially         # one of the three
    cdef Limits limits                # the deadlines of the class; None: each stream is asked

    cdef int read(self, object owner) except -1
    cdef int set_framing(self, object framing) except -1


cdef Settings settings_of(object stream)
cdef Limits limits_of_stream(object stream)
cdef bint has_native_handlers(type kind) except -1
cdef int find_frame(Settings settings, const char *data, Py_ssize_t size, Py_ssize_t searched, frame *found) noexcept
cdef list find_frames(
    Settings settings, const char *data, Py_ssize_t size, Py_ssize_t *after, int *result, frame *found
)
cdef object too_long(object stream, Settings settings, frame *found)
