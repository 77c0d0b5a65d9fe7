# SPDX-License-Identifier: MIT
from libc.stdint cimport uint16_t

from .csrc cimport cyn_name, cyn_peer

cdef enum:
    KNOWN_BITS = 10
    KNOWN = 1 << KNOWN_BITS  # addresses that are remembered
    INTERNET = 28            # bytes of the longest address of the Internet

cdef struct known:
    unsigned size            # of the name; 0: this place is free
    char name[28]            # as the kernel has it
    void *address            # the tuple; a reference


cdef class Addresses:
    cdef known by_name[1024]
    cdef uint16_t by_object[1024]     # the place in `by_name`, by where the tuple is in memory
    cdef object last                  # what was written otherwise than the kernel does, and its name
    cdef cyn_name last_name
    cdef int last_family
    cdef cyn_peer told                # the last address that a datagram was sent to, and what handlers get for it
    cdef object told_object

    cdef object find(self, const cyn_name *name)
    cdef object remember(self, const cyn_name *name, object address)
    cdef const known *place(self, object address) noexcept
    cdef int read(self, cyn_name *name, int family, object address) except -1
    cdef object destination(self, const cyn_peer *told)


cdef object address_of_name(const cyn_name *name)
cdef int read_source(cyn_peer *source, int family, object given) except -1
