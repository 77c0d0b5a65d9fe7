# SPDX-License-Identifier: MIT


cdef class Bell:
    cdef int reader      # -1: closed
    cdef int writer
    cdef bint is_hung    # signals are written to it
    cdef object others   # the descriptor to which the program wants them to be written; -1: none

    cdef int leave_numbers_of(self, list owners) except -1
    cdef int hang(self) except -1
    cdef int take_down(self) except -1
    cdef int empty(self) except -1
    cdef int forget(self) except -1
    cdef int close(self) except -1


cdef bint is_main_thread() except -1
