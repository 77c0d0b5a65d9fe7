# SPDX-License-Identifier: MIT
from .csrc cimport cyn_peer
from .watcher cimport Watcher


cdef class Endpoint(Watcher):
    cdef object map                   # `_map`
    cdef object address               # `addr`, after it was read or assigned
    cdef cyn_peer peer                # what `addr` is made of when it is first read; family 0: there is nothing
    cdef unsigned active              # when bytes moved last: a stamp, see cyn_figures.h; 0: none have

    cdef int attribute_changed(self, object name, bint is_set) except -1
    cdef object its_map(self)
    cdef object method_of_socket(self, str name)
    cdef int join(self, object map, int fd) except -1
    cdef int leave(self, object map, int fd) except -1
    cdef int renew(self) except -1
    cdef int move_socket(self) except -1
    cdef bint is_as_before(self, object sock) except -1
    cdef bint state(self, unsigned flag, str name) except -1
    cdef int set_state(self, unsigned flag, bint on) except -1
    cdef object call(self, object method, str name)
    cdef int flush(self, bint at_end) except -1
    cdef int flush_leaving(self) except -1


cdef int watch(object names) except -1
