# SPDX-License-Identifier: MIT
from libc.stdint cimport uint64_t

from .dispatch cimport Dispatch
from .watcher cimport Watcher


cdef class Inspection(Dispatch):
    cdef uint64_t bytes_of_all(self, bint is_input) noexcept
    cdef object info_of(self, Watcher watcher, double now, object infos)
