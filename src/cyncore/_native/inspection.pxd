# SPDX-License-Identifier: MIT
from libc.stdint cimport uint64_t

from .dispatch cimport Dispatch
from .watcher cimport Watcher


cdef class Inspection(Dispatch):
    cdef object watchdog              # watches for handlers that do not return; None: nobody does

    cdef int end_watch(self) except -1
    cdef uint64_t bytes_of_all(self, bint is_input) except? 0xFFFFFFFFFFFFFFFF
    cdef object info_of(self, Watcher watcher, double now, object infos)
