# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Channel: an endpoint that handles its events, and its accept, recv and send.

On a plain socket it makes the system calls itself; on any other it calls the methods of the socket. A handler may close
its own channel or give it another socket, so the socket is compared after every call into Python.
"""

import os
import time

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno

from .csrc cimport (
    CYN_HAVE_ACCEPT4,
    CYN_WRITE,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    cyn_clock,
    cyn_recv,
    cyn_send,
)
from .internals cimport cyn_call_one
from .plain_socket cimport accept_plain, fileno_of, is_readable
from .registry cimport SCRATCH
from .traits cimport (
    ACCEPTS,
    ASK_READ,
    READ_EVENT,
    READS,
    STATE,
    WRITE_EVENT,
)
from .watcher cimport (
    ACCEPT_EMFILE,
    ACCEPTING,
    BACKED_OFF,
    CHECKED,
    CONNECTED,
    CONNECTING,
    DIRECT,
    DISCONNECTED,
    INSTANCE,
    LEAVING,
    MUTED,
    OUTPUT,
    PAUSED,
    RECV_EAGAIN,
    TIMED,
    UNSENT,
)

from .. import _rules
from .._report import WARNING, report

cdef extern from "Python.h":
    object PyObject_CallMethodNoArgs(object self, object name)

cdef int BURST = _rules.ACCEPT_BURST
cdef unsigned BACKOFF_FIRST = _rules.BACKOFF_FIRST
cdef unsigned BACKOFF_LAST = _rules.BACKOFF_LAST
cdef double LOG_INTERVAL = _rules.LOG_INTERVAL
cdef frozenset EARLIER = _rules.EARLIER
cdef int EARLIER_MOST = _rules.EARLIER_MOST
cdef frozenset OUT_OF_DESCRIPTORS = _rules.OUT_OF_DESCRIPTORS
cdef frozenset LOST_IN_BACKLOG = _rules.LOST_IN_BACKLOG
cdef double _logged_at = -1.0  # when running out of descriptors was logged last


cdef class Channel(Endpoint):
    """A descriptor in a map, with handlers for its events. Programs derive from `dispatcher`, which adds the rest.

    It turns read and write events into calls of the handlers, and implements accept, recv and send. `Endpoint`, its
    base, has the socket and the state.
    """

    _cyncore_role = "channel"

    # Events

    cdef int on_read(self) except -1:
        if self.defines & READ_EVENT:
            self.handle_read_event()
            return 0
        return self.read_default()

    cdef int on_write(self) except -1:
        if self.flags & TIMED:
            note_time(self, "output_at")
        if self.defines & WRITE_EVENT:
            self.handle_write_event()
            return 0
        return self.write_default()

    cdef int read_default(self) except -1:
        cdef unsigned flags = self.flags
        if flags & (CONNECTED | ACCEPTING) != CONNECTED or self.defines & STATE:
            if self.state(ACCEPTING, "accepting"):
                return self.on_accept()
            if not self.connect_ended():
                return 0
        self.on_data()
        if not self.defines & READS and self.loop is not None:
            # Readiness is level-triggered: nobody reads the input, so the same event would be reported for ever.
            self.flags |= MUTED
            self.arm()
        return 0

    cdef int write_default(self) except -1:
        if self.flags & (CONNECTED | ACCEPTING) != CONNECTED or self.defines & STATE:
            if self.state(ACCEPTING, "accepting") or not self.connect_ended():
                return 0
        return self.on_room()

    cdef int on_data(self) except -1:
        if self.traits is not None and self.traits.handle_read is not None and not self.flags & INSTANCE:
            cyn_call_one(self.traits.handle_read, self)
        else:
            PyObject_CallMethodNoArgs(self, "handle_read")
        return 0

    cdef int on_room(self) except -1:
        self.call(None if self.traits is None else self.traits.handle_write, "handle_write")
        return 0

    cdef int connect_ended(self) except -1:
        """Ends a connect in progress. Returns 0 if a handler has closed the channel or given it another socket."""
        cdef object sock
        if not self.state(CONNECTED, "connected") and self.state(CONNECTING, "connecting"):
            sock = self.its_socket()
            self.handle_connect_event()
            if self.flags & TIMED:
                note_connected(self)
            return self.is_as_before(sock)
        return 1

    cdef int on_accept(self) except -1:
        cdef int taken
        cdef object sock = self.sock
        if self.defines & ACCEPTS or not self.flags & DIRECT or self.loop is None:
            self.handle_accept()
            return 0
        for taken in range(BURST):
            if taken and (self.flags & (PAUSED | BACKED_OFF) or self.defines & ASK_READ or not is_readable(sock)):
                break  # a class with a readable() of its own is asked again before the next one
            pair = self.accept()
            if pair is None:
                break
            self.handle_accepted(*pair)
            if not self.is_as_before(sock):
                break  # handle_accepted has closed the listener
        return 0

    def handle_read_event(self):
        """Called when the socket is readable: accepts, ends a connect, or calls `handle_read`."""
        self.read_default()

    def handle_write_event(self):
        """Called when the socket is writable: ends a connect, and calls `handle_write`."""
        self.write_default()

    # Input and output

    def accept(self):
        """Accepts a connection: ``(socket, address)``, or None if none is there, or it was lost in the backlog.

        OSError for anything else. If that is EMFILE or another lack of descriptors, a listener in a loop also pauses:
        for 100 ms first, then for twice as long each time, up to 1 s.
        """
        try:
            pair = self.accept_some()
        except TypeError:
            return None  # as in the old module: accept() of what stands for a socket returned no pair
        except OSError as error:
            if error.errno in LOST_IN_BACKLOG:
                return None
            if error.errno in OUT_OF_DESCRIPTORS and self.loop is not None:
                self.back_off(error)
            raise
        if pair is not None:
            self.backoff = 0
            if self.loop is not None:
                self.loop.figures.accepts += 1
        return pair

    cdef object accept_some(self):
        if CYN_HAVE_ACCEPT4 and self.flags & DIRECT and self.sock.gettimeout() == 0.0:
            return accept_plain(self.sock)
        return self.method_of_socket("accept")()

    cdef int back_off(self, object error) except -1:
        global _logged_at
        self.backoff = min(max(self.backoff * 2, BACKOFF_FIRST), BACKOFF_LAST)
        self.flags |= BACKED_OFF | ACCEPT_EMFILE
        self.interest_changed()
        if self.loop is not None:
            self.loop.later(self.backoff, _accept_again, (self,))
        now = time.monotonic()
        if _logged_at < 0 or now - _logged_at >= LOG_INTERVAL:
            _logged_at = now
            report(WARNING, "%r fd %d cannot accept: %s; trying again every %d ms",
                   self, self.key_fd, error, self.backoff)
        return 0

    def recv(self, buffer_size):
        """Reads at most ``buffer_size`` bytes. At the end of the stream, or if the connection is lost, it calls
        `handle_close` and returns ``b""``.

        BlockingIOError if there is nothing to read yet; OSError for any error but a lost connection.
        """
        return Channel.recv_some(self, buffer_size)

    cdef object checked(self, str what, object argument):
        """Does in debug mode what `recv_some` and `send_some` do, and tells of a wrong thread."""
        if self.loop is not None:
            self.loop.check_caller(what, self)
        self.flags &= ~CHECKED
        try:
            return self.recv_some(argument) if what == "recv" else self.send_some(argument)
        finally:
            self.flags |= CHECKED

    cdef object recv_some(self, object buffer_size):
        cdef Py_ssize_t size = buffer_size, got
        cdef int fd, error
        if self.flags & CHECKED:
            return self.checked("recv", buffer_size)
        if self.flags & DIRECT and self.loop is not None and 0 < size <= SCRATCH:
            fd = fileno_of(self.sock)
            if fd >= 0:
                while True:
                    got = cyn_recv(fd, self.loop.scratch, <size_t> size, MSG_DONTWAIT)
                    if got > 0:
                        count_received(self, self.loop, got)
                        data = PyBytes_FromStringAndSize(self.loop.scratch, got)
                        if self.flags & (MUTED | TIMED):
                            took_input(self)
                        return data
                    error = errno
                    if got == 0 or error != EINTR:
                        break
                if got == 0 or error in DISCONNECTED:
                    self.handle_close()
                    return b""
                if error != EAGAIN:
                    raise OSError(error, os.strerror(error))
                # The method decides what EAGAIN means: a socket with a timeout waits.
        return self.recv_through(buffer_size)

    cdef object recv_through(self, object buffer_size):
        try:
            data = self.method_of_socket("recv")(buffer_size)
        except OSError as error:
            if error.errno in DISCONNECTED:
                self.handle_close()
                return b""
            if error.errno == EAGAIN:
                self.flags |= RECV_EAGAIN
            raise
        if self.flags & (MUTED | TIMED):
            took_input(self)
        if not data:
            self.handle_close()
            return b""
        if self.loop is not None:
            count_received(self, self.loop, len(data))
        return data

    def recvfrom(self, buffer_size):
        """Receives a datagram of at most ``buffer_size`` bytes, and returns it with the address of its sender.

        An empty one is no end, and `handle_close` is never called. BlockingIOError if there is none yet. OSError for
        any other error; but while the channel is not connected, the errors of datagrams that were sent earlier are
        passed over.
        """
        pair = self.call_on_datagram("recvfrom", (buffer_size,))
        if self.loop is not None:
            count_received(self, self.loop, len(pair[0]))
        if self.flags & (MUTED | TIMED):
            took_input(self)
        return pair

    def sendto(self, data, address):
        """Sends ``data`` (bytes-like) to ``address`` as one datagram, and returns its size; 0 if there is no room now.

        OSError for any other error; but while the channel is not connected, the errors of datagrams that were sent
        earlier are passed over, and this one is sent.
        """
        try:
            sent = self.call_on_datagram("sendto", (data, address))
        except BlockingIOError:
            return 0
        count_sent(self, sent)
        return sent

    cdef object call_on_datagram(self, str name, tuple arguments):
        """Calls a method of the socket, and again where it has only told of an earlier datagram."""
        cdef int tries
        for tries in range(EARLIER_MOST + 1):
            try:
                return self.method_of_socket(name)(*arguments)
            except OSError as error:
                if error.errno == EAGAIN and name == "recvfrom":
                    self.flags |= RECV_EAGAIN
                if tries == EARLIER_MOST or error.errno not in EARLIER or self.state(CONNECTED, "connected"):
                    raise

    cdef int unmute(self) except -1:
        """Clears MUTED, because the program reads after all."""
        self.flags &= ~MUTED
        return 0 if self.loop is None else self.interest_changed()

    def send(self, data):
        """Sends what the socket takes now of ``data`` (bytes-like) and returns how many bytes that was, perhaps 0.

        If the connection is lost, it calls `handle_close` and returns 0. OSError for any other error.
        """
        if self.flags & UNSENT:
            self.flush(False)  # what was pushed before comes first
        return Channel.send_some(self, data)

    cdef object send_some(self, object data):
        """Sends once, and returns how many bytes the socket took. 0: it has no room, or the connection is lost."""
        cdef Py_buffer view
        cdef Py_ssize_t sent = -1
        cdef int fd, error
        if self.flags & CHECKED:
            return self.checked("send", data)
        if self.flags & DIRECT:
            fd = fileno_of(self.sock)
            if fd >= 0:
                if PyBytes_CheckExact(data):
                    sent = cyn_send(fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_DONTWAIT | MSG_NOSIGNAL)
                    if sent >= 0:
                        count_sent(self, sent)
                        return sent
                    error = errno
                else:
                    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
                    fd = fileno_of(self.sock) if self.flags & DIRECT else -1  # a `__buffer__` may have closed it
                    sent = cyn_send(fd, view.buf, view.len, MSG_DONTWAIT | MSG_NOSIGNAL)
                    error = errno
                    PyBuffer_Release(&view)
                if sent >= 0:
                    count_sent(self, sent)
                    return sent
                if error in DISCONNECTED:
                    if not self.flags & LEAVING:
                        self.handle_close()
                    return 0
                if error != EAGAIN and error != EINTR:
                    raise OSError(error, os.strerror(error))
                # A socket with a time-out waits for room, which its own method does.
        try:
            count = self.method_of_socket("send")(data)
            if type(count) is int:
                count_sent(self, count)
            return count
        except OSError as failure:
            if failure.errno == EAGAIN:
                return 0
            if failure.errno in DISCONNECTED:
                if not self.flags & LEAVING:
                    self.handle_close()
                return 0
            raise


def _accept_again(Channel listener not None):
    listener.set_state(BACKED_OFF, False)


cdef int took_input(Channel channel) except -1:
    if channel.flags & MUTED:
        channel.unmute()
    if channel.flags & TIMED:
        note_time(channel, "input_at")
    return 0


# Deadlines of dispatchers

cdef int note_time(Channel channel, str name) except -1:
    """Tells the deadlines of a channel, which has some, when an event came."""
    if channel.loop is not None:
        setattr(channel.loop.timed[channel.key_fd], name, cyn_clock() / 1e9)
    return 0


def note_connected(Channel channel not None):
    """Tells the deadlines of a channel, if it has some, that a connect has succeeded."""
    if channel.flags & TIMED:
        channel.loop.timed[channel.key_fd].opened()


def set_timed(Channel channel not None, deadlines):
    """Has the times of the channel's events noted in ``deadlines``; None: no more. RuntimeError if it has no socket.

    Deadlines that it had before are cancelled.
    """
    if deadlines is not None and channel.loop is None:
        raise _rules.no_deadlines(channel)
    if channel.flags & TIMED:
        channel.flags &= ~TIMED
        channel.loop.timed.pop(channel.key_fd).cancel()
    if deadlines is not None:
        channel.loop.timed[channel.key_fd] = deadlines
        channel.flags |= TIMED


def has_deadlines(Channel channel not None, deadlines):
    """Returns True if ``deadlines`` are those of the channel now."""
    return channel.flags & TIMED != 0 and channel.loop.timed[channel.key_fd] is deadlines


def wants_to_write(Channel channel not None):
    """Returns True if the channel wants write events, as far as its predicates have said."""
    return channel.loop is not None and channel.interest() & CYN_WRITE != 0


def is_paused(Channel channel not None):
    """Returns True if `pause_reading` was called, and `resume_reading` not since."""
    return channel.flags & PAUSED != 0


cdef class BufferedChannel(Channel):
    """A channel with an output buffer, whose interest in writing follows from the buffer and not from a predicate.

    `OutboxChannel` and `ChatOutput` derive from it, and call `output_waits` or set OUTPUT when their buffer changes.
    """

    _cyncore_role = "buffered"

    cdef int output_waits(self, bint waits) except -1:
        """Notes whether the buffer holds something to send."""
        if waits != (self.flags & OUTPUT != 0):
            self.set_state(OUTPUT, waits)
        return 0

    def writable(self):
        """Returns True if there is something to send, or a connect to end."""
        return not self.connected or self.has_output()

    cdef bint has_output(self) except -1:
        return self.flags & OUTPUT != 0

    cdef Py_ssize_t output_waiting(self) except -1:
        return 0 if self.out is None else len(self.out)

    cdef int output_changed(self) except -1:
        return 0
