# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""OutboxChannel: a channel whose `send` keeps what the socket does not take now.

A program may override `initiate_send`, assign `out_buffer`, or do either in a handle_close that a send has called: so
the short way, past the buffer, is taken only where nobody has a say in it, and the buffer is compared after every send.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_FromStringAndSize

from ._channel cimport OUTPUT, BufferedChannel, Channel
from ._traits cimport OWN_OUT, cyn_type_version, traits_of

from . import _traits

cdef Py_ssize_t CHUNK = 65536  # bytes offered to one send(2): what a socket buffer takes at once


_dispatcher = None
cdef unsigned _version = 0      # of `dispatcher` when its send was looked at last
cdef bint _is_channels = False  # is it Channel's own?


def set_dispatcher(kind):
    """Tells the class whose `send` sends: `dispatcher`, which is built on this module."""
    global _dispatcher
    _dispatcher = kind


cdef object _send(BufferedChannel channel, object data):
    """``dispatcher.send(channel, data)``: a program may have put another function there."""
    global _version, _is_channels
    if _version == 0 or _version != cyn_type_version(_dispatcher):
        _is_channels = _dispatcher.send is Channel.send
        _version = cyn_type_version(_dispatcher)
    return channel.send_some(data) if _is_channels else _dispatcher.send(channel, data)


cdef bytearray _out(BufferedChannel channel):
    """What waits to be sent. Made at its first use, as the __init__ of a class between may never come here."""
    if channel.out is None:
        channel.out = bytearray()
    return channel.out


cdef bint _is_own(BufferedChannel channel):
    """Has the class an attribute in the way of `out_buffer`? That is the buffer then, whose changes nobody tells of."""
    if channel.out is not None:
        return False
    return (channel.defines if channel.loop is not None else traits_of(type(channel)).flags) & OWN_OUT != 0


cdef object _own_buffer(BufferedChannel channel):
    buffer = channel.out_buffer
    if not hasattr(buffer, "__getitem__"):
        raise TypeError(f"{type(channel).__qualname__}.out_buffer is {buffer!r}: bytes to send are wanted")
    return buffer


cdef class OutboxChannel(BufferedChannel):
    """What `dispatcher_with_send` is made of."""

    @property
    def out_buffer(self):
        """What waits to be sent. A copy: bytes may be assigned, but to append, call `send`."""
        return b"" if self.out is None else bytes(self.out)

    @out_buffer.setter
    def out_buffer(self, data):
        self.out = bytearray(data) if len(data) else None
        self._output_waits(self.out is not None)

    cdef bint has_output(self) except -1:
        if _is_own(self):
            return bool(self.out_buffer)
        return self.flags & OUTPUT != 0

    def initiate_send(self):
        """Sends what the socket takes now."""
        cdef bytearray out
        if _is_own(self):
            count = _send(self, _own_buffer(self)[:CHUNK])
            self.out_buffer = _own_buffer(self)[count:]
            return
        out = _out(self)
        chunk = PyBytes_FromStringAndSize(PyByteArray_AS_STRING(out), min(PyByteArray_GET_SIZE(out), CHUNK))
        cdef Py_ssize_t sent = _send(self, chunk)
        if out is self.out:  # handle_close, called by send, may have given us another buffer
            # Removing from the front of a bytearray only moves its start, so the whole stays linear.
            del out[:sent]
            self._output_waits(PyByteArray_GET_SIZE(out) > 0)

    def handle_write(self):
        """There is room: `initiate_send`."""
        self.initiate_send()

    def send(self, data):
        """Queues ``data`` (bytes-like) and sends what the socket takes now."""
        cdef bytearray out
        cdef Py_ssize_t sent
        if self.debug:
            self.log_info(f"sending {data!r}")
        if _is_own(self):
            self.out_buffer = _own_buffer(self) + data
            self.initiate_send()
            return
        out = _out(self)
        if (
            PyByteArray_GET_SIZE(out)
            or not PyBytes_CheckExact(data)
            or type(self).initiate_send is not _initiate_send
        ):
            out += data
            self.initiate_send()
            return
        # Nothing waits before it: what the socket takes at once need not go through the buffer.
        sent = _send(self, data)
        if sent < len(data) and out is self.out:
            out[:0] = memoryview(data)[sent:]  # before what handle_close, called by send, may have queued
            if not self.flags & OUTPUT:
                self._output_waits(True)


_traits.set_outbox(OutboxChannel)
cdef object _initiate_send = OutboxChannel.initiate_send
