# SPDX-License-Identifier: MIT

cdef enum:
    ASK_READ = 1       # defines readable
    ASK_WRITE = 2      # defines writable
    BUFFERED = 4       # knows from its own buffer whether it wants to write
    READS = 8          # defines handle_read or handle_read_event
    WRITES = 16        # defines handle_write or handle_write_event
    URGENT = 32        # defines handle_expt or handle_expt_event
    READ_EVENT = 64    # defines handle_read_event
    WRITE_EVENT = 128  # defines handle_write_event
    ACCEPTS = 256      # defines handle_accept
    STATE = 512        # has one of the state attributes at class level


cdef class Traits:
    cdef type kind
    cdef unsigned flags
    cdef unsigned version
    cdef Py_ssize_t users  # channels in a loop
    cdef object readable
    cdef object writable
    cdef object handle_read
    cdef object handle_write
    cdef int read_class(self) except -1
    cdef int check(self) except -1
    cdef bint is_current(self) noexcept


cdef Traits traits_of(type kind)
cdef unsigned traits_of_instance(object channel, unsigned flags) except? 0xFFFFFFFF
cdef unsigned long revision() noexcept
