# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t

from .registry cimport Registry
from .watcher cimport Watcher

cdef int64_t PIECE, PAUSE, SWEEP_SHARE
cdef int PIECES


cdef class Predicates(Registry):
    cdef unsigned prepared_runs, recent_runs, sweep_runs  # `runs` when that was last done
    cdef unsigned long kinds_revision
    cdef int64_t audit_at, sweep_at   # ns; when the next audit, and piece of a sweep, may come while there are events
    cdef int64_t refusal_told         # ns; when a refusal of the kernel was logged last
    cdef Py_ssize_t sweep_next        # the place in `polled` where the sweep goes on
    cdef bint awoke                   # a wait has ended, and the recent channels were not asked since

    cdef int prepare(self, bint sweep_all) except -1
    cdef int ask_those(self, bint sweep_all, bint share) except -1
    cdef int tell_refusal(self, int error, int fd) except -1
    cdef int ask_dirty(self) except -1
    cdef bint ask(self, Watcher watcher) except -1
    cdef unsigned ask_timed(self, Watcher watcher) except? 0xFFFFFFFF
    cdef int note_active(self, Watcher watcher) except -1
    cdef bint ask_recent(self) except -1
    cdef bint is_stale(self) noexcept
    cdef bint is_asking(self) noexcept
    cdef int sweep(self, int64_t most) except -1
    cdef int sweep_piece(self, int64_t start, int64_t most) except -1
    cdef int check_kinds(self) except -1
    cdef int read_map(self) except -1
    cdef int read_entry(self, object key, object obj) except -1
    cdef int refuse_entry(self, object key, object obj) except -1
    cdef bint is_in_map(self, Watcher watcher) except -1
