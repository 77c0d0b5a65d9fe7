# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""OutboxChannel: a channel whose `send` keeps what the socket does not take now.

A program may override `initiate_send` and assign `out_buffer`, also in a handle_close that a send has called. So data
go to the socket past the buffer only if the class overrides nothing, and the buffer is compared after every send. What
the socket did not take is in the buffer before handle_close is called or an error is raised, so that it is not lost.
"""

import os

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno

from .channel cimport BufferedChannel, Channel, count_sent
from .csrc cimport MSG_DONTWAIT, MSG_NOSIGNAL, cyn_send
from .internals cimport cyn_type_version
from .plain_socket cimport fileno_of
from .traits cimport OWN_OUT, flags_of, traits_of
from .watcher cimport CHECKED, DIRECT, DISCONNECTED, LEAVING, OUTPUT

from .. import _rules
from .traits import guard

cdef Py_ssize_t CHUNK = _rules.CHUNK


cdef type _dispatcher = None    # the class `dispatcher`, whose `send` is called
cdef unsigned _version = 0      # version of that class when its `send` was read last
cdef bint _is_channels = False  # true if that `send` is Channel's


def set_dispatcher(kind):
    """Sets the class whose `send` an OutboxChannel calls: `dispatcher`, which is built on this module."""
    global _dispatcher, _version
    _dispatcher = kind
    _version = 0


cdef bint _sends_itself() except -1:
    """Returns True if ``dispatcher.send`` is Channel's. A program may have replaced it."""
    global _version, _is_channels
    if _version == 0 or _version != cyn_type_version(_dispatcher):
        _is_channels = _dispatcher.send is Channel.send
        _version = cyn_type_version(_dispatcher)
    return _is_channels


cdef bytearray _out(BufferedChannel channel):
    """Returns the buffer, and makes it at its first use: a class may not call our __init__."""
    if channel.out is None:
        channel.out = bytearray()
    return channel.out


cdef bint _is_own(BufferedChannel channel):
    """Returns True if the class has an `out_buffer` of its own, which is then used instead of ours."""
    if channel.out is not None:
        return False
    return (channel.defines if channel.loop is not None else flags_of(traits_of(type(channel)))) & OWN_OUT != 0


cdef object _own_buffer(BufferedChannel channel):
    buffer = channel.out_buffer
    if not hasattr(buffer, "__getitem__"):
        raise TypeError(f"{type(channel).__qualname__}.out_buffer is {buffer!r}: bytes to send are wanted")
    return buffer


cdef class OutboxChannel(BufferedChannel):
    """The engine's part of `dispatcher_with_send`: a buffer of output in front of the socket."""

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
        finally:  # what the socket did not take, even if it failed, stays in the buffer
            if out is self.out:  # handle_close, which send may call, may have assigned another buffer
                # A bytearray only moves its start for this, so sending all of it takes linear time.
                del out[:sent]
                self.output_waits(PyByteArray_GET_SIZE(out) > 0)

    def handle_write(self):
        """Calls `initiate_send`, since the socket has room."""
        self.initiate_send()

    def send(self, data):
        """Queues ``data`` (bytes-like) and sends what the socket takes now.

        Raises the OSError of the socket, unless it only means that there is no room. ``data`` is queued all the same.
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
            or self.flags & CHECKED
            or not _sends_itself()
        ):
            _queue(self, data)
            return
        # The buffer is empty, so the data go to the socket directly.
        fd = fileno_of(self.sock)
        sent = -1
        error = EAGAIN
        if fd >= 0:
            sent = cyn_send(fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_DONTWAIT | MSG_NOSIGNAL)
            error = errno
            if sent > 0:
                count_sent(self, sent)
        if sent == PyBytes_GET_SIZE(data):
            return
        if sent < 0 and (error == EAGAIN or error == EINTR):
            _queue(self, data)  # there is no room, or the socket is closed: `initiate_send` handles that
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
    if isinstance(data, str):
        raise TypeError(_rules.not_bytes(data))
    out += data
    try:
        self.initiate_send()
    finally:  # an initiate_send of the class's own may have sent nothing
        if out is self.out:
            self.output_waits(PyByteArray_GET_SIZE(out) > 0)
    return 0


cdef object _initiate_send = OutboxChannel.initiate_send
traits_of(OutboxChannel)  # by which the roles of all classes are known, before a second thread reads a class
guard(OutboxChannel)
