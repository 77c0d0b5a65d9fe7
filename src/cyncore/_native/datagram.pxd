# SPDX-License-Identifier: MIT
from .datagram_output cimport Datagrams, DatagramOutput, Inbound


cdef class DatagramChannel(DatagramOutput):
    cdef int read_settings(self) except -1
    cdef int deliver_each(self, Datagrams shared, Inbound inbound, int count) except -1
    cdef int deliver_batch(self, Datagrams shared, Inbound inbound, int count) except -1
    cdef list listed(self, Datagrams shared, Inbound inbound, int at, int count, size_t offset, list cut)
    cdef int hold(self, list rest) except -1
    cdef int read_failed(self, int error) except -1
