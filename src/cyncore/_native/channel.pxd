# SPDX-License-Identifier: MIT
from .csrc cimport cyn_peer
from .registry cimport Registry
from .watcher cimport Watcher


cdef class Channel(Watcher):
    cdef unsigned backoff             # milliseconds that a listener without descriptors waited last
    cdef object map                   # _map
    cdef object address               # addr, once it was asked for or assigned
    cdef cyn_peer peer                # what `addr` is made of when somebody asks; family 0: nothing

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
    cdef int on_accept(self) except -1
    cdef int on_data(self) except -1
    cdef int on_room(self) except -1
    cdef int flush(self, bint at_end) except -1
    cdef int flush_leaving(self) except -1
    cdef int read_default(self) except -1
    cdef int write_default(self) except -1
    cdef int connect_ended(self) except -1
    cdef int back_off(self, object error) except -1
    cdef int unmute(self) except -1
    cdef object accept_some(self)
    cdef object recv_some(self, object buffer_size)
    cdef object recv_through(self, object buffer_size)
    cdef object send_some(self, object data)


cdef class BufferedChannel(Channel):
    cdef bytearray out  # of OutboxChannel; here, so that a class may derive from that and from another kind of these
    cdef bint has_output(self) except -1
    cdef int output_waits(self, bint waits) except -1
    cdef int output_changed(self) except -1


cdef int watch(object names) except -1
