# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""OutboxChannel: a channel whose `send` keeps what the socket does not take now.

A program may override `initiate_send`, assign `out_buffer`, or do either in a handle_close that a send has called: so
the short way, past the buffer, is taken only where nobody has a say in it, and the buffer is compared after every send.
What the socket has not taken is in the buffer before anybody is told that it failed: a handle_close that connects again
finds it there, and what a send raises loses nothing.
"""

import os

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno

from .channel cimport BufferedChannel, Channel
from .csrc cimport MSG_DONTWAIT, MSG_NOSIGNAL, cyn_send
from .internals cimport cyn_type_version
from .plain_socket cimport fileno_of
from .traits cimport OWN_OUT, class_of_role, traits_of
from .watcher cimport DIRECT, DISCONNECTED, LEAVING, OUTPUT

from .. import _rules

cdef Py_ssize_t CHUNK = _rules.CHUNK


cdef type _dispatcher = None    # the engine's `dispatcher`, whose `send` is called
cdef unsigned _version = 0      # version of `dispatcher` when its send was read last
cdef bint _is_channels = False  # is that send Channel's own?


cdef bint _sends_itself() except -1:
    """Returns True if ``dispatcher.send`` is Channel's. A program may have replaced it."""
    global _dispatcher, _version, _is_channels
    if _dispatcher is None:
        _dispatcher = class_of_role("dispatcher")
        if _dispatcher is None:
            return True  # no class that derives from it was used yet
    if _version == 0 or _version != cyn_type_version(_dispatcher):
        _is_channels = _dispatcher.send is Channel.send
        _version = cyn_type_version(_dispatcher)
    return _is_channels


cdef bytearray _out(BufferedChannel channel):
    """Returns what waits to be sent. It is made here, because a class may never call our __init__."""
    if channel.out is None:
        channel.out = bytearray()
    return channel.out


cdef bint _is_own(BufferedChannel channel):
    """Returns True if the class has its own `out_buffer`. That is the buffer then, and its changes are not noticed."""
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

    _cyncore_role = "outbox"

    @property
    def out_buffer(self):
        """What waits to be sent. A copy: bytes may be assigned, but to append, call `send`."""
        return b"" if self.out is None else bytes(self.out)

    @out_buffer.setter
    def out_buffer(self, data):
        self.out = bytearray(data) if len(data) else None
        self.output_waits(self.out is not None)

    cdef bint has_output(self) except -1:
        if _is_own(self):
            return bool(self.out_buffer)
        return self.flags & OUTPUT != 0

    def initiate_send(self):
        """Sends what the socket takes now."""
        cdef bytearray out
        cdef Py_ssize_t sent = 0
        if _is_own(self):
            buffer = _own_buffer(self)[:CHUNK]
            count = self.send_some(buffer) if _sends_itself() else _dispatcher.send(self, buffer)
            self.out_buffer = _own_buffer(self)[count:]
            return
        out = _out(self)
        chunk = PyBytes_FromStringAndSize(PyByteArray_AS_STRING(out), min(PyByteArray_GET_SIZE(out), CHUNK))
        try:
            sent = self.send_some(chunk) if _sends_itself() else _dispatcher.send(self, chunk)
        finally:  # what a socket that failed did not take is sent when there is room
            if out is self.out:  # handle_close, called by send, may have given us another buffer
                # Removing from the front of a bytearray only moves its start, so the whole stays linear.
                del out[:sent]
                self.output_waits(PyByteArray_GET_SIZE(out) > 0)

    def handle_write(self):
        """There is room: `initiate_send`."""
        self.initiate_send()

    def send(self, data):
        """Queues ``data`` (bytes-like) and sends what the socket takes now.

        What the socket raises, if it is more than that it has no room, is raised; ``data`` is queued all the same.
        """
        cdef bytearray out
        cdef Py_ssize_t sent
        cdef int fd, error
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
            or not self.flags & DIRECT
            or not _sends_itself()
        ):
            _queue(self, data)
            return
        # Nothing waits before it: what the socket takes at once need not go through the buffer.
        fd = fileno_of(self.sock)
        sent = -1
        error = EAGAIN
        if fd >= 0:
            sent = cyn_send(fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_DONTWAIT | MSG_NOSIGNAL)
            error = errno
        if sent == PyBytes_GET_SIZE(data):
            return
        if sent < 0 and (error == EAGAIN or error == EINTR):
            _queue(self, data)  # the socket is closed or has a time-out: its own `send` knows what to do
            return
        out += memoryview(data)[max(sent, 0):]
        self.output_waits(True)
        if sent >= 0:
            return
        if error not in DISCONNECTED:
            raise OSError(error, os.strerror(error))
        if not self.flags & LEAVING:
            self.handle_close()


cdef int _queue(OutboxChannel self, object data) except -1:
    cdef bytearray out = self.out
    out += data
    try:
        self.initiate_send()
    finally:  # a class's own initiate_send may have sent nothing
        if out is self.out:
            self.output_waits(PyByteArray_GET_SIZE(out) > 0)
    return 0


cdef object _initiate_send = OutboxChannel.initiate_send
