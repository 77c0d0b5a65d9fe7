# SPDX-License-Identifier: MIT
from .endpoint cimport Endpoint
from .registry cimport Registry


cdef class Channel(Endpoint):
    cdef int on_accept(self) except -1
    cdef int on_data(self) except -1
    cdef int on_room(self) except -1
    cdef int read_default(self) except -1
    cdef int write_default(self) except -1
    cdef int connect_ended(self) except -1
    cdef int back_off(self, object error) except -1
    cdef int unmute(self) except -1
    cdef object call_on_datagram(self, str name, tuple arguments)
    cdef object accept_some(self)
    cdef object checked(self, str what, object argument)
    cdef object recv_some(self, object buffer_size)
    cdef object recv_through(self, object buffer_size)
    cdef object send_some(self, object data)


cdef int note_time(Channel channel, str name) except -1


cdef inline void count_received(Channel channel, Registry loop, Py_ssize_t size) noexcept:
    """Counts bytes that the channel of that loop has received."""
    channel.received_size += size
    channel.active = loop.figures.stamp


cdef inline void count_sent(Channel channel, Py_ssize_t size) noexcept:
    """Counts bytes that the channel has sent. It may be in no loop."""
    channel.sent_size += size
    if channel.loop is not None:
        channel.active = channel.loop.figures.stamp


cdef class BufferedChannel(Channel):
    cdef bytearray out  # the buffer of OutboxChannel; here, so that a class may derive from it and from a chat
    cdef bint has_output(self) except -1
    cdef int output_waits(self, bint waits) except -1
    cdef int output_changed(self) except -1
