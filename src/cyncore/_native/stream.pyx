# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""StreamChannel: a channel that reads and writes by itself, and hands what it has read to handlers.

Facts that shape it:
- A handler may close, abort or pause its stream, change its framing, or run the loop. After every call into Python the
  state is looked at again, and nothing that was read from the loop's scratch before is used.
- What handlers write waits for the end of the tick, so that it leaves in one system call a stream.
- A session (TLS) may hold input that the kernel reports no event for, and must be given output again as it was when
  the kernel had no room for it.
- Most streams need neither a session nor a step: these are in `Extra`, so that an idle stream stays small.

What it offers to the layers above is listed in `_python/stream.py`, which has the same interface.
"""

import os
import socket as _socket
from collections import deque

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, EPIPE, errno
from libc.string cimport memchr, memcpy

from .channel cimport Channel
from .csrc cimport CYN_READ, CYN_WRITE, MSG_DONTWAIT, MSG_NOSIGNAL, cyn_clock, cyn_memmem, cyn_recv, cyn_send
from .internals cimport cyn_type_version
from .plain_socket cimport fileno_of, is_plain
from .registry cimport NOT_OURS, SCRATCH, SEND_NOW, SENT_LATER, Registry, registry_of, tick_time
from .watcher cimport (
    CONNECTED,
    CONNECTING,
    DIRECT,
    FLUSH_QUEUED,
    HELD,
    OUTPUT,
    PAUSED,
    STREAM,
)

from .. import _framing
from .. import _rules
from .endpoint cimport watch

cdef extern from "Python.h":
    object PyObject_CallMethodNoArgs(object self, object name)
    object PyObject_CallMethodOneArg(object self, object name, object argument)
    object PyObject_CallOneArg(object function, object argument)
    object PyMemoryView_FromMemory(char *memory, Py_ssize_t size, int flags)
    int PyBUF_READ, PyBUF_WRITE

cdef enum:  # how frames are found
    NO_FRAMES
    LINES
    PREFIXED
    EXACTLY
    OTHER_FRAMES

cdef enum:
    WANT_READ = 2       # SSL_ERROR_WANT_READ and SSL_ERROR_WANT_WRITE: the errno of the errors of these names
    WANT_WRITE = 3
    ZERO_RETURN = 6     # SSL_ERROR_ZERO_RETURN: the peer has sent close_notify
    HELD_RECORDS = 64   # records that are taken, at most, before close_notify is sent
    RECORDS = 8         # records of a session that are read for one event
    OFFERED = 65536     # bytes that a session is given at once

cdef object EXITS = _rules.EXITS
cdef object LimitExceeded = _rules.LimitExceeded
cdef object Lines = _framing.Lines
cdef object Prefixed = _framing.Prefixed
cdef object Exactly = _framing.Exactly

cdef frozenset SETTINGS = frozenset(("framing", "high_water", "low_water", "max_output", "get_buffer"))
cdef frozenset DEADLINES = frozenset(
    f"{kind}_deadline" for kind in ("connect", "handshake", "first_byte", "idle", "write", "life")
)
watch(SETTINGS | DEADLINES)

cdef dict _settings = {}  # class -> its Settings


cdef class Settings:

    cdef int read(self, object owner) except -1:
        """Reads them from a stream, or from its class."""
        self.high = owner.high_water
        self.low = owner.low_water
        most = owner.max_output
        self.most = -1 if most is None else most
        self.has_buffer = getattr(owner, "get_buffer", None) is not None
        return self.set_framing(owner.framing)

    cdef int set_framing(self, object framing) except -1:
        self.framing = framing
        if framing is None:
            self.kind = NO_FRAMES
        elif type(framing) is Lines:
            self.kind = LINES
            self.end = framing.end
            self.limit = framing.limit
        elif type(framing) is Prefixed:
            self.kind = PREFIXED
            self.count = framing.size
            self.limit = framing.limit
            self.is_little = framing.order == "little"
        elif type(framing) is Exactly:
            self.kind = EXACTLY
            self.count = framing.count
        else:
            _framing.check(framing)
            self.kind = OTHER_FRAMES
        return 0


cdef Settings settings_of(StreamChannel stream):
    """Returns the settings of the stream's class, read again if the class has changed."""
    cdef type kind = type(stream)
    cdef unsigned version = cyn_type_version(kind)
    cdef Settings found = _settings.get(kind)
    if found is None or version == 0 or found.version != version:
        found = Settings.__new__(Settings)
        found.read(stream)
        found.version = cyn_type_version(kind)  # looking attributes up has given the class a version
        stream._check_class()
        _settings[kind] = found
    return found


cdef object _scratch_view(Registry loop):
    """Returns the loop's scratch as a memoryview."""
    if loop.scratch_view is None:
        loop.scratch_view = PyMemoryView_FromMemory(loop.scratch, SCRATCH, PyBUF_WRITE)
    return loop.scratch_view


# Frames

cdef enum:  # results of find_frame
    INCOMPLETE = 0
    FOUND = 1
    TOO_LONG = 2

cdef struct frame:
    Py_ssize_t begin, end, after


cdef int find_line(Settings settings, const char *data, Py_ssize_t size, Py_ssize_t searched, frame *found) noexcept:
    cdef Py_ssize_t width = PyBytes_GET_SIZE(settings.end), start = max(searched - width + 1, 0)
    cdef const char *end = PyBytes_AS_STRING(settings.end)
    cdef const char *at
    if width == 1:
        at = <const char *> memchr(data + start, end[0], size - start)
    else:
        at = <const char *> cyn_memmem(data + start, size - start, end, width)
    if at is NULL:
        return TOO_LONG if size - width + 1 > settings.limit else INCOMPLETE
    found.begin = 0
    found.end = at - data
    found.after = found.end + width
    return TOO_LONG if found.end > settings.limit else FOUND


cdef int find_prefixed(Settings settings, const char *data, Py_ssize_t size, frame *found) noexcept:
    cdef unsigned long long length = 0
    cdef Py_ssize_t at, width = settings.count
    if size < width:
        return INCOMPLETE
    for at in range(width):
        length = length << 8 | <unsigned char> data[width - 1 - at if settings.is_little else at]
    if length > <unsigned long long> settings.limit:
        found.end = <Py_ssize_t> min(length, <unsigned long long> 0x7FFFFFFFFFFFFFFF)
        return TOO_LONG
    found.begin = width
    found.end = found.after = width + <Py_ssize_t> length
    return FOUND if size >= found.end else INCOMPLETE


cdef int find_frame(Settings settings, const char *data, Py_ssize_t size, Py_ssize_t searched, frame *found) noexcept:
    """Finds the frame at the beginning of ``data``. ``searched``: bytes in which an earlier call has found no end."""
    if settings.kind == LINES:
        return find_line(settings, data, size, searched, found)
    if settings.kind == PREFIXED:
        return find_prefixed(settings, data, size, found)
    found.begin = 0
    found.end = found.after = settings.count
    return FOUND if size >= settings.count else INCOMPLETE


cdef object too_long(Settings settings, frame *found):
    if settings.kind == LINES:
        return LimitExceeded(f"a line is longer than {settings.limit} bytes")
    return LimitExceeded(f"a frame of {found.end} bytes is longer than {settings.limit} bytes")


cdef class StreamChannel(Channel):
    """The engine's part of `Stream`: reads, cuts the input up, queues output and sends it."""

    _cyncore_role = "stream"

    framing = None
    high_water = 65536
    low_water = 16384
    max_output = None

    def __cinit__(self):
        self.flags |= STREAM

    # What it is

    @property
    def loop(self):
        """The loop that serves it, or served it last; None before it has one."""
        return self.its_loop()

    cdef Registry its_loop(self):
        if self.loop is not None:
            return self.loop
        return None if self.map is None else registry_of(self.map)

    def _adopt(self, Registry loop not None):
        """The stream belongs to ``loop`` from now on; its socket comes later, with `_open`."""
        self.map = loop.map

    @property
    def socket(self):
        """The socket, or None before there is one. To look at; what is sent through it mixes with the output."""
        return self.sock

    @property
    def closing(self):
        """True after `close` or `abort`, and when the connection is gone."""
        return self.life & (CLOSE_WANTED | GONE) != 0

    @property
    def output_size(self):
        """The bytes that wait to be sent. Parts of files do not count."""
        return self.waiting

    @property
    def unread(self):
        """The bytes that were received and given to no handler yet."""
        return b"" if self.held is None else bytes(self.held)

    @property
    def reading(self):
        """False after `pause_reading` until `resume_reading`, and when no more input comes."""
        return not self.flags & PAUSED and not self.life & (EOF_RECEIVED | CLOSE_WANTED | GONE)

    @property
    def busy(self):
        """True while the program works on a request: set by the program, for a loop that drains."""
        return self.life & BUSY != 0

    @busy.setter
    def busy(self, value):
        if value:
            self.life |= BUSY
        else:
            self.life &= ~BUSY
            if self.life & DRAINING:
                self.close()

    cdef Extra extras(self):
        if self.extra is None:
            self.extra = Extra.__new__(Extra)
        return self.extra

    cdef object its_socket(self):
        return self.sock

    cdef int classify(self) except -1:
        self.defines = self.traits.flags
        return 0

    cdef int attribute_changed(self, object name, bint is_set) except -1:
        cdef Settings own
        if name in DEADLINES:
            self._deadline_changed()
            return 0
        if name not in SETTINGS:
            return Channel.attribute_changed(self, name, is_set)
        if self.life & OWN_SETTINGS and name == "framing" and is_set:
            return self.settings.set_framing(self.framing)
        own = Settings.__new__(Settings)
        own.read(self)
        self.settings = own
        self.life |= OWN_SETTINGS
        return 0

    cdef Settings its_settings(self):
        if self.settings is None:
            self.settings = settings_of(self)
        return self.settings

    # Its life

    def _open(self, sock, Registry loop not None):
        """Takes a non-blocking socket, and joins the loop."""
        if not self.life & OWN_SETTINGS:
            self.settings = settings_of(self)
        self.map = loop.map
        self.sock = sock
        if is_plain(sock):
            self.flags |= DIRECT
        else:
            self.flags &= ~DIRECT
        self.life |= OPENED
        self.fileno = sock.fileno()
        self.put(loop, self.fileno)

    def _replace_socket(self, sock):
        """Takes another socket object for the same descriptor, as TLS makes one."""
        self.sock = sock
        if is_plain(sock):
            self.flags |= DIRECT
        else:
            self.flags &= ~DIRECT

    def _ready(self):
        """The connection is ready: tells the program, and sends what has waited for that."""
        if self.life & GONE:
            return
        self.life = self.life & ~STEPPING | READY
        self.flags = self.flags & ~CONNECTING | CONNECTED
        if self.extra is not None:
            self.extra.step = None
        self.arm()
        self._deadlines_started("open")
        if not self.life & CLOSE_WANTED:
            try:
                self.handle_connect()
            except BaseException as error:
                self.caught(error)
        if self.life & (READY | GONE | STEPPING) == READY:
            self.flush_later()
            self.deliver_pending()

    def _set_step(self, step, unsigned wants=0):
        cdef Extra extra = self.extras()
        extra.step = step
        extra.step_wants = wants
        if step is None:
            self.life &= ~STEPPING
        else:
            self.life |= STEPPING
        self.arm()

    def _hold_input(self, on=True):
        """Takes no input, until TLS has begun."""
        self.life = self.life | INPUT_HELD if on else self.life & ~INPUT_HELD
        self.arm()

    def _flush_now(self):
        """Sends what the socket takes now. Returns True if nothing waits any more."""
        if self.life & (READY | STEPPING | GONE) == READY and not self.flags & OUTPUT:
            self.flush(True)
        return self.head is None

    def _take_unread(self):
        """Forgets what was received and given to no handler: a pipe has taken it."""
        self.held = None

    def _cut_soon(self):
        """Delivers what is held, in the next tick."""
        if self.held is not None or self.life & (EOF_RECEIVED | EOF_TOLD) == EOF_RECEIVED:
            self.cut_later()

    def _note_progress(self, is_input):
        """A pipe has moved bytes."""
        if self.life & TIMED and self.extra is not None:
            if is_input:
                self.extra.input_at = cyn_clock() / 1e9
            else:
                self.extra.output_at = cyn_clock() / 1e9

    def _session_cannot_write(self, error):
        """The session has raised ``error`` to a part that is sent. Returns True if the stream has ended."""
        if error.errno == WANT_READ:
            self.life |= WRITE_NEEDS_READ
        elif error.errno != WANT_WRITE:
            self._session_failed(error)
            return True
        return False

    @property
    def _is_gone(self):
        return self.life & GONE != 0

    @property
    def _step_wants(self):
        return 0 if self.extra is None else self.extra.step_wants

    @property
    def _step(self):
        return None if self.extra is None else self.extra.step

    @property
    def _session(self):
        """What encrypts: an object with ``read(size, buffer)``, ``write(data)`` and ``pending()``; or None."""
        return None if self.extra is None else self.extra.session

    @_session.setter
    def _session(self, session):
        cdef Extra extra = self.extras()
        extra.session = session
        extra.session_read = None if session is None else session.read
        extra.session_write = None if session is None else session.write
        extra.session_pending = None if session is None else session.pending

    @property
    def _draining(self):
        return self.life & DRAINING != 0

    @_draining.setter
    def _draining(self, value):
        self.life = self.life | DRAINING if value else self.life & ~DRAINING

    @property
    def _timed(self):
        return self.life & TIMED != 0

    @_timed.setter
    def _timed(self, value):
        self.life = self.life | TIMED if value else self.life & ~TIMED
        if value:
            self.extras()

    @property
    def _input_at(self):
        return 0.0 if self.extra is None else self.extra.input_at

    @_input_at.setter
    def _input_at(self, double value):
        self.extras().input_at = value

    @property
    def _output_at(self):
        return 0.0 if self.extra is None else self.extra.output_at

    @_output_at.setter
    def _output_at(self, double value):
        self.extras().output_at = value

    def close(self):
        """Stops reading, and closes the connection when everything queued is sent. Does nothing the second time."""
        if self.life & (CLOSE_WANTED | GONE):
            return
        self.take_crossing()
        self.life |= CLOSE_WANTED
        if self.head is None and self.life & (READY | STEPPING) != READY:
            self.end(None)  # nothing waits for the connection
            return
        self.flush_later()
        self.arm()

    def abort(self):
        """Closes the connection now, and drops what is queued. Does nothing when it is gone already."""
        self.end(None)

    def _end(self, error):
        """Closes the connection, and has ``handle_close(error)`` called in the next tick. The first call counts."""
        self.end(error)

    cdef int end(self, object error) except -1:
        cdef Registry loop = self.its_loop()
        cdef Extra extra = self.extra
        cdef int fd = self.fileno
        if self.life & GONE:
            return 0
        self.life = self.life & ~(STEPPING | READY | FULL | READ_NEEDS_WRITE | WRITE_NEEDS_READ) | GONE
        self.flags &= ~(CONNECTED | CONNECTING | OUTPUT | FLUSH_QUEUED)
        parts = _parts(self)
        self.head = self.rest = None
        self.head_sent = self.waiting = 0
        sock = self.sock
        self.fileno = -1
        if fd >= 0:
            self.leave(self.map, fd)
        if extra is not None:
            extra.step = extra.retry = extra.crossing = None
            self._session = None
        if sock is not None:
            self._close_socket(sock)
        for part in parts:
            part.close()
        self._gone()
        if loop is not None and not loop.is_closed:
            loop.queue(self._tell_close, (error,))
        return 0

    def _close_socket(self, sock):
        sock.close()

    def _tell_close(self, error):
        try:
            self.handle_close(error)
        except BaseException as failure:
            self.caught(failure)

    cdef int caught(self, object error) except -1:
        """A handler has raised ``error``, which is being handled."""
        if isinstance(error, EXITS):
            raise error
        self._fail(error)
        return 0

    cdef int failed(self, object error) except -1:
        return self.caught(error)

    def del_channel(self, map=None):
        """Leaves the loop. Streams do this when they close; for old code that takes channels out of a map."""
        self.end(None)

    # What the loop calls

    cdef unsigned interest(self) except? 0xFFFFFFFF:
        cdef unsigned life = self.life, wanted = 0
        if life & (STEPPING | GONE):
            return self.extra.step_wants if life & STEPPING else 0
        if life & CLOSE_WANTED:
            if not life & EOF_RECEIVED:
                wanted = CYN_READ
        elif not life & (EOF_RECEIVED | CUT_QUEUED | INPUT_HELD) and not self.flags & PAUSED:
            wanted = CYN_READ
        if self.flags & OUTPUT and not life & WRITE_NEEDS_READ or life & READ_NEEDS_WRITE:
            wanted |= CYN_WRITE
        if life & WRITE_NEEDS_READ:
            wanted |= CYN_READ
        return wanted

    cdef int on_read(self) except -1:
        if self.life & (STEPPING | CLOSE_WANTED | WRITE_NEEDS_READ | GONE) or self.extra is not None:
            return self.read_specially()
        if self.settings.has_buffer:
            return self.read_into_buffer()
        return self.read_some()

    cdef int read_specially(self) except -1:
        if self.life & STEPPING:
            self.extra.step(CYN_READ)
            return 0
        if self.life & WRITE_NEEDS_READ:
            self.life &= ~WRITE_NEEDS_READ
            self.send_waiting()
            self.arm()
        if self.life & GONE:
            return 0
        if self.life & CLOSE_WANTED:
            return self.discard_some()
        if self.flags & PAUSED or self.life & EOF_RECEIVED:
            return 0
        if self.settings.has_buffer and self.held is None:
            return self.read_into_buffer()
        if self.extra is not None and self.extra.session is not None:
            return self.read_session()
        return self.read_some()

    cdef int on_write(self) except -1:
        if self.life & STEPPING:
            self.extra.step(CYN_WRITE)
            return 0
        if self.life & READ_NEEDS_WRITE:
            self.life &= ~READ_NEEDS_WRITE
            self.arm()
            self.read_specially()
        if not self.life & GONE:
            self.send_waiting()
            self.arm()
        return 0

    cdef int on_close(self) except -1:
        """The kernel reports a hang-up, or an error."""
        if self.life & STEPPING:
            self.extra.step(CYN_READ | CYN_WRITE)
            return 0
        error = self._socket_error()
        if error is None and not self.life & (EOF_TOLD | CLOSE_WANTED):  # both ends were closed, after the last byte
            self.life |= EOF_RECEIVED
            if self.flags & PAUSED or self.held is not None and self.life & (CUTTING | CUT_QUEUED):
                self.flags |= HELD  # the program is told when it has taken what came before
                return self.arm()
            self.tell_eof()
        if error is None and self.head is not None:
            error = BrokenPipeError(EPIPE, os.strerror(EPIPE))
        return self.end(error)

    def _socket_error(self):
        try:
            number = self.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        except OSError as error:
            return error
        return OSError(number, os.strerror(number)) if number else None

    cdef int pending(self) except -1:
        cdef Extra extra = self.extra
        if extra is None or extra.session is None or self.life & (STEPPING | GONE):
            return 0
        return extra.session_pending()

    # Reading

    cdef int read_some(self) except -1:
        cdef Registry loop = self.loop
        cdef Py_ssize_t got
        cdef int error
        if self.flags & DIRECT:
            while True:
                got = cyn_recv(fileno_of(self.sock), loop.scratch, SCRATCH, MSG_DONTWAIT)
                if got >= 0:
                    break
                error = errno
                if error == EAGAIN:
                    return 0
                if error != EINTR:
                    return self.end(OSError(error, os.strerror(error)))
            if got == 0:
                return self.input_ended()
            return self.received(loop.scratch, got)
        try:
            data = self.sock.recv(SCRATCH)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as failure:
            return self.end(failure)
        if not data:
            return self.input_ended()
        return self.received(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int discard_some(self) except -1:
        """Reads what nobody wants any more, because the stream closes. What is left unread makes the kernel reset the
        connection (RFC 2525, 2.17), and the peer may then lose what was sent to it last.
        """
        cdef Py_ssize_t got
        cdef int error
        if self.flags & DIRECT:
            got = cyn_recv(fileno_of(self.sock), self.loop.scratch, SCRATCH, MSG_DONTWAIT)
            if got < 0:
                error = errno
                return 0 if error == EAGAIN or error == EINTR else self.end(OSError(error, os.strerror(error)))
        else:
            try:
                if self.extra is not None and self.extra.session is not None:
                    got = self.extra.session_read(SCRATCH, _scratch_view(self.loop))
                else:
                    got = len(self.sock.recv(SCRATCH))
            except OSError as failure:
                if isinstance(failure, (BlockingIOError, InterruptedError)) or failure.errno in (WANT_READ, WANT_WRITE):
                    return 0
                got = 0  # there is no input any more; whether output can leave, sending tells
        if got == 0:
            self.life |= EOF_RECEIVED
            self.arm()
        return 0

    cdef int read_session(self) except -1:
        cdef Registry loop
        cdef Py_ssize_t got
        cdef int _record
        cdef Extra extra = self.extra
        for _record in range(RECORDS):
            loop = self.loop
            try:
                got = extra.session_read(SCRATCH, _scratch_view(loop))
            except OSError as failure:
                return self.read_failed(failure)
            if got == 0:
                return self.input_ended()
            self.received(loop.scratch, got)
            if self.life & NO_INPUT or self.flags & PAUSED or self.loop is None:
                break
            if extra.session is None or <int> extra.session_pending() == 0:
                return 0
        if not self.life & (GONE | STEPPING) and self.loop is not None:
            self.deliver_pending()
        return 0

    cdef int hold_session(self) except -1:
        """Takes the input that is there, for later: OpenSSL throws away what comes between close_notify and its answer
        if it looks for that answer, and CPython's ssl module has it look.
        """
        cdef Py_ssize_t got
        cdef int _record
        for _record in range(HELD_RECORDS):
            try:
                got = self.extra.session_read(SCRATCH, _scratch_view(self.loop))
            except OSError as failure:
                if failure.errno == ZERO_RETURN:
                    self.life |= EOF_RECEIVED
                elif failure.errno != WANT_READ and failure.errno != WANT_WRITE:
                    self._session_failed(failure)
                break
            if got == 0:
                self.life |= EOF_RECEIVED
                break
            if self.held is None:
                self.held = bytearray()
            self.held += PyBytes_FromStringAndSize(self.loop.scratch, got)
        self._cut_soon()
        return 0

    cdef int read_into_buffer(self) except -1:
        cdef Py_buffer buffer
        cdef Py_ssize_t got
        cdef int error = 0
        target = self.get_buffer(SCRATCH)
        if self.life & (GONE | CLOSE_WANTED) or self.loop is None:
            return 0
        if self.extra is not None and self.extra.session is not None or not self.flags & DIRECT:
            view = memoryview(target).cast("B")
            if not len(view):
                raise ValueError(f"{self!r}: get_buffer returned an empty buffer")
            try:
                if self.extra is not None and self.extra.session is not None:
                    got = self.extra.session_read(len(view), view)
                else:
                    got = self.sock.recv_into(view)
            except OSError as failure:
                return self.read_failed(failure)
        else:
            PyObject_GetBuffer(target, &buffer, PyBUF_WRITABLE)
            try:
                if buffer.len == 0:
                    raise ValueError(f"{self!r}: get_buffer returned an empty buffer")
                got = cyn_recv(fileno_of(self.sock), buffer.buf, buffer.len, MSG_DONTWAIT)
                error = errno
            finally:
                PyBuffer_Release(&buffer)
            if got < 0:
                if error == EAGAIN or error == EINTR:
                    return 0
                return self.end(OSError(error, os.strerror(error)))
        if got == 0:
            return self.input_ended()
        self.note_input()
        self.buffer_updated(got)
        if self.extra is not None and self.extra.session is not None and self.loop is not None:
            self.deliver_pending()
        return 0

    cdef int read_failed(self, object failure) except -1:
        if self.extra is None or self.extra.session is None:
            if isinstance(failure, (BlockingIOError, InterruptedError)):
                return 0
            return self.end(failure)
        if failure.errno == WANT_READ:
            return 0
        if failure.errno == ZERO_RETURN:
            return self.input_ended()
        if failure.errno == WANT_WRITE:
            self.life |= READ_NEEDS_WRITE
            return self.arm()
        self._session_failed(failure)
        return 0

    cdef int received(self, const char *data, Py_ssize_t size) except -1:
        """Input came. A class in Cython may take it here, as long as it does not run the loop."""
        cdef bytes got = PyBytes_FromStringAndSize(data, size)
        if self.settings.kind == NO_FRAMES and self.held is None:
            if self.life & TIMED:
                self.note_input()
            PyObject_CallMethodOneArg(self, "handle_data", got)
            return 0
        return self.take_framed(got)

    cdef int note_input(self) except -1:
        if self.life & TIMED and self.loop is not None:
            self.extra.input_at = tick_time(self.loop) / 1e9
        return 0

    cdef int input_ended(self) except -1:
        self.life |= EOF_RECEIVED
        self.arm()
        return self.tell_eof()

    cdef int tell_eof(self) except -1:
        """Calls `handle_eof`, once, after everything that came before the end."""
        if self.life & (EOF_RECEIVED | EOF_TOLD | NO_INPUT) != EOF_RECEIVED or self.flags & PAUSED:
            return 0
        self.life |= EOF_TOLD
        self.handle_eof()
        return self.end_if_over()

    cdef int end_if_over(self) except -1:
        if self.life & (EOF_TOLD | EOF_SENT) == EOF_TOLD | EOF_SENT:
            self.end(None)
        return 0

    def pause_reading(self):
        """Stops the input until `resume_reading`. Does nothing the second time."""
        Channel.pause_reading(self)

    def resume_reading(self):
        """Goes on with the input, first with what was received before. Does nothing if reading is not paused."""
        if not self.flags & PAUSED:
            return
        if self.held is not None or self.life & (EOF_RECEIVED | EOF_TOLD) == EOF_RECEIVED:
            self.cut_later()
        Channel.resume_reading(self)

    # Frames

    cdef int take_framed(self, bytes data) except -1:
        cdef const char *start = PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data), at = 0
        cdef frame found
        cdef int result = INCOMPLETE
        cdef Settings settings
        if self.held is not None or self.life & CUTTING or self.settings.kind == OTHER_FRAMES:
            if self.held is None:
                self.held = bytearray(data)
            else:
                self.held += data
            return self.cut_held()
        self.life |= CUTTING
        try:
            while at < size and not self.flags & PAUSED and not self.life & NO_INPUT:
                settings = self.settings
                if settings.kind == NO_FRAMES or settings.kind == OTHER_FRAMES:
                    break
                result = find_frame(settings, start + at, size - at, 0, &found)
                if result != FOUND:
                    break
                piece = PyBytes_FromStringAndSize(start + at + found.begin, found.end - found.begin)
                at += found.after
                if self.life & TIMED:
                    self.note_input()
                PyObject_CallMethodOneArg(self, "handle_frame", piece)
                result = INCOMPLETE
        finally:
            self.life &= ~CUTTING
            if at < size and not self.life & GONE and result != TOO_LONG:
                # A loop that a handler ran may have received more: it comes behind the rest of this.
                rest = bytearray(data[at:])
                if self.held is not None:
                    rest += self.held
                self.held = rest
                self.searched = 0
        if result == TOO_LONG:
            return self.end(too_long(settings, &found))
        if self.held is not None:
            if result == INCOMPLETE and at < size and settings is self.settings and settings.kind != NO_FRAMES:
                self.searched = 0
            return self.cut_held()
        return 0

    cdef int cut_held(self) except -1:
        """Delivers what is held, in frames where there are some."""
        cdef Py_ssize_t at = 0, size
        cdef frame found
        cdef const char *start
        cdef Settings settings
        cdef int result
        if self.life & CUTTING or self.held is None:
            return 0
        self.life |= CUTTING
        try:
            while not self.flags & PAUSED and not self.life & NO_INPUT:
                size = PyByteArray_GET_SIZE(self.held)
                if at >= size:
                    break
                settings = self.settings
                if settings.kind == NO_FRAMES:
                    piece = PyBytes_FromStringAndSize(PyByteArray_AS_STRING(self.held) + at, size - at)
                    at = size
                    self.searched = 0
                    self.note_input()
                    self.handle_data(piece)
                    continue
                if settings.kind == OTHER_FRAMES:
                    begin, end, after = settings.framing.find(self.held, at, at + self.searched)
                    result = INCOMPLETE if begin < 0 else FOUND
                    if result == FOUND:
                        found.begin = begin - at
                        found.end = end - at
                        found.after = after - at
                else:
                    start = PyByteArray_AS_STRING(self.held) + at
                    result = find_frame(settings, start, size - at, self.searched, &found)
                if result == TOO_LONG:
                    self.end(too_long(settings, &found))
                    break
                if result == INCOMPLETE:
                    self.searched = size - at
                    break
                piece = PyBytes_FromStringAndSize(
                    PyByteArray_AS_STRING(self.held) + at + found.begin, found.end - found.begin
                )
                at += found.after
                self.searched = 0
                self.note_input()
                PyObject_CallMethodOneArg(self, "handle_frame", piece)
        except LimitExceeded as error:
            self.end(error)
        finally:
            self.life &= ~CUTTING
            if at >= PyByteArray_GET_SIZE(self.held):
                self.held = None
            elif at:
                del self.held[:at]
        return 0

    cdef int cut_later(self) except -1:
        cdef Registry loop = self.its_loop()
        if not self.life & (CUT_QUEUED | GONE) and loop is not None:
            self.life |= CUT_QUEUED
            loop.queue(self._cut_again, ())
        return 0

    def _cut_again(self):
        self.life &= ~CUT_QUEUED
        if self.life & GONE:
            return
        try:
            self.cut_held()
            self.tell_eof()
        except BaseException as error:
            self.caught(error)
        self.arm()

    # Writing

    def write(self, data):
        """Queues ``data`` (bytes, bytearray or memoryview), to be sent at the end of the tick. Any thread.

        TypeError for anything else. RuntimeError after `write_eof`. Dropped after `close`, or when the connection is
        gone.
        """
        cdef Py_ssize_t size
        cdef int turn
        if not PyBytes_CheckExact(data):
            data = _rules.check_bytes(data)
        if self.life & NO_WRITING:
            if self.life & EOF_WANTED:
                raise RuntimeError(f"{self!r}: write() after write_eof()")
            return
        size = PyBytes_GET_SIZE(data)
        if size == 0:
            return
        if self.loop is None:
            self.put_output(data, size)
            return
        turn = self.loop.sending()
        if turn == SENT_LATER and (self.extra is None or self.extra.crossing is None):
            self.put_output(data, size)
            return
        self.put_outside(data, size, turn)

    def writelines(self, pieces):
        """Queues each of ``pieces``, an iterable of bytes. Any thread. Raises what `write` raises."""
        self.write(b"".join(pieces))

    def write_eof(self):
        """Ends the output when everything queued is sent; reading goes on. Does nothing the second time."""
        if self.life & NO_WRITING:
            return
        self.take_crossing()
        self.life |= EOF_WANTED
        self.flush_later()

    def _queue_part(self, part):
        if self.life & EOF_WANTED:
            raise RuntimeError(f"{self!r}: output after write_eof()")
        if self.life & NO_WRITING:
            part.close()
            return
        self.take_crossing()
        self.put_output(part, 0)

    cdef int put_output(self, object data, Py_ssize_t size) except -1:
        if self.head is None:
            self.head = data
            if self.life & TIMED:
                self.extra.output_at = cyn_clock() / 1e9
        elif self.rest is None:
            self.rest = [data]
            self.rest_at = 0
        else:
            self.rest.append(data)
        self.waiting += size
        if self.waiting > self.its_settings().high or self.settings.most >= 0:
            self.over_marks()
        if not self.flags & (FLUSH_QUEUED | OUTPUT):
            return self.flush_later()
        return 0

    cdef int over_marks(self) except -1:
        if 0 <= self.settings.most < self.waiting:
            return self.end(LimitExceeded(f"{self!r}: more than {self.settings.most} bytes wait to be sent"))
        if self.waiting > self.settings.high and not self.life & FULL:
            self.life |= FULL
            loop = self.its_loop()
            if loop is not None:
                (<Registry> loop).queue(self._tell_full, ())
        return 0

    def _tell_full(self):
        if self.life & (FULL | FULL_TOLD | CLOSE_WANTED | GONE) != FULL:
            return
        self.life |= FULL_TOLD
        try:
            self.handle_full()
        except BaseException as error:
            self.caught(error)

    cdef int put_outside(self, object data, Py_ssize_t size, int turn) except -1:
        """Queues output where this thread is not in a tick of the loop, or another thread has written."""
        cdef Registry loop = self.loop
        cdef Extra extra
        if turn == NOT_OURS:
            extra = self.extras()
            if extra.crossing is None:
                extra.crossing = deque()
            extra.crossing.append(data)
            loop.call_soon_threadsafe(self._take_crossing)
            return 0
        try:
            self.take_crossing()
            if not self.life & NO_WRITING:
                self.put_output(data, size)
            if turn == SEND_NOW and self.life & (READY | STEPPING | GONE) == READY and not self.flags & OUTPUT:
                try:
                    self.flush(True)
                except BaseException as error:
                    self.caught(error)
        finally:
            if turn == SEND_NOW:
                loop.sent()
        return 0

    def _take_crossing(self):
        try:
            self.take_crossing()
        except BaseException as error:
            self.caught(error)

    cdef int take_crossing(self) except -1:
        """Queues what other threads have written."""
        cdef object crossing
        if self.extra is None or self.extra.crossing is None:
            return 0
        crossing = self.extra.crossing
        while crossing:
            data = crossing.popleft()
            if self.life & NO_WRITING:
                continue
            self.put_output(data, PyBytes_GET_SIZE(data))
        return 0

    cdef int flush_later(self) except -1:
        """Has what waits sent before the loop waits next."""
        cdef Registry loop = self.loop
        if self.life & (READY | STEPPING | GONE) != READY or self.flags & FLUSH_QUEUED or loop is None:
            return 0
        self.flags |= FLUSH_QUEUED
        if loop.is_sending_later():
            loop.gather(self)
        else:
            loop.call_soon_threadsafe(self._flush_queued)
        return 0

    def _flush_queued(self):
        if self.flags & FLUSH_QUEUED:
            try:
                self.flush(True)
            except BaseException as error:
                self.caught(error)

    cdef int flush(self, bint at_end) except -1:
        self.flags &= ~FLUSH_QUEUED
        if self.life & (READY | STEPPING | GONE) != READY:
            return 0
        self.send_waiting()
        if self.flags & OUTPUT or self.life & (CLOSE_WANTED | WRITE_NEEDS_READ):
            self.arm()
        return 0

    cdef int flush_leaving(self) except -1:
        return 0

    cdef int send_waiting(self) except -1:
        """Sends what the socket takes now."""
        cdef bint has_room = True
        if self.life & (READY | STEPPING | GONE) != READY:
            return 0
        while has_room and self.head is not None:
            if not PyBytes_CheckExact(self.head):
                has_room = self.send_part()
            elif self.extra is not None and self.extra.session is not None:
                has_room = self.send_session()
            else:
                has_room = self.send_plain()
            if self.life & (READY | STEPPING | GONE) != READY:
                return 0
            if self.life & FULL and self.waiting <= self.settings.low:
                self.life &= ~FULL
                if self.life & (FULL_TOLD | CLOSE_WANTED) == FULL_TOLD:
                    self.life &= ~FULL_TOLD
                    self.handle_drained()
                if self.life & (READY | STEPPING | GONE) != READY:
                    return 0
        if self.head is not None:
            self.flags |= OUTPUT
            return 0
        if self.flags & OUTPUT:
            self.flags &= ~OUTPUT
            self.arm()
        if self.life & (CLOSE_WANTED | EOF_WANTED):
            return self.output_done()
        return 0

    cdef int output_done(self) except -1:
        """Everything was sent: closes, or ends the output, where that is wanted."""
        if self.life & CLOSE_WANTED:
            if self.extra is not None and self.extra.session is not None:
                self._session_closing()
            return self.end(None)
        if not self.life & EOF_SENT:
            self.life |= EOF_SENT
            self._send_eof()
            return self.end_if_over()
        return 0

    def _send_eof(self):
        if self._session is not None:
            self.hold_session()
            if not self.life & GONE:
                self._session_closing()
            return
        try:
            self.sock.shutdown(_socket.SHUT_WR)
        except OSError as error:
            self.end(error)

    cdef int send_plain(self) except -1:
        """Offers bytes of the queue to the socket. Returns 0 if it takes no more now, or the connection is gone."""
        cdef const char *data = PyBytes_AS_STRING(self.head) + self.head_sent
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self.head) - self.head_sent, sent
        cdef int error
        if self.rest is not None and size < SCRATCH:
            size = self.join_pieces(size)
            data = self.loop.scratch
        if not self.flags & DIRECT:
            return self.send_by_method(PyBytes_FromStringAndSize(data, size))
        sent = cyn_send(fileno_of(self.sock), data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            error = errno
            if error == EINTR:
                return 1
            if error != EAGAIN:
                self.end(OSError(error, os.strerror(error)))
            return 0
        self.sent(sent)
        return sent == size

    cdef int send_by_method(self, bytes data) except -1:
        cdef Py_ssize_t sent
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self.end(error)
            return 0
        self.sent(sent)
        return sent == PyBytes_GET_SIZE(data)

    cdef Py_ssize_t join_pieces(self, Py_ssize_t size) except -1:
        """Copies what waits into the loop's scratch, as many whole pieces as fit behind the head. Returns the size."""
        cdef char *scratch = self.loop.scratch
        cdef Py_ssize_t at, count, total = size
        memcpy(scratch, PyBytes_AS_STRING(self.head) + self.head_sent, size)
        for at in range(self.rest_at, len(self.rest)):
            piece = self.rest[at]
            if not PyBytes_CheckExact(piece):
                break
            count = PyBytes_GET_SIZE(piece)
            if total + count > SCRATCH:
                break
            memcpy(scratch + total, PyBytes_AS_STRING(piece), count)
            total += count
        return total

    cdef int send_session(self) except -1:
        """Does what `send_plain` does, through the session."""
        cdef Extra extra = self.extra
        cdef Py_ssize_t size, sent
        if extra.retry is None:
            size = PyBytes_GET_SIZE(self.head) - self.head_sent
            if size >= OFFERED:
                extra.retry = memoryview(self.head)[self.head_sent:self.head_sent + OFFERED]
            elif self.rest is not None:
                size = self.join_pieces(size)
                extra.retry = PyBytes_FromStringAndSize(self.loop.scratch, size)
            elif self.head_sent:
                extra.retry = memoryview(self.head)[self.head_sent:]
            else:
                extra.retry = self.head
        try:
            sent = PyObject_CallOneArg(extra.session_write, extra.retry)
        except OSError as failure:
            if failure.errno == WANT_READ:
                self.life |= WRITE_NEEDS_READ
            elif failure.errno != WANT_WRITE:
                self._session_failed(failure)
            return 0
        extra.retry = None
        self.sent(sent)
        return 1

    cdef int send_part(self) except -1:
        """Sends of the part of a file that is next. Returns 0 if it is not done yet, or the connection is gone."""
        part = self.head
        if not part.send(self):
            return 0
        if self.head is part:
            self.next_head()
        return not self.life & GONE

    cdef int sent(self, Py_ssize_t count) except -1:
        """Takes so many bytes from the front of the queue."""
        cdef Py_ssize_t size
        self.waiting -= count
        if self.life & TIMED:
            self.extra.progress += count
            if self.extra.progress >= SCRATCH or self.head is None:
                self.extra.progress = 0
                self.extra.output_at = cyn_clock() / 1e9
        if self.rest is None:
            if count + self.head_sent == PyBytes_GET_SIZE(self.head):
                self.head = None
                self.head_sent = 0
            else:
                self.head_sent += count
            return 0
        count += self.head_sent
        while self.head is not None and PyBytes_CheckExact(self.head):
            size = PyBytes_GET_SIZE(self.head)
            if count < size:
                break
            count -= size
            self.next_head()
        self.head_sent = count
        return 0

    cdef int next_head(self) except -1:
        self.head_sent = 0
        if self.rest is None:
            self.head = None
            return 0
        self.head = self.rest[self.rest_at]
        self.rest[self.rest_at] = None
        self.rest_at += 1
        if self.rest_at == <unsigned> len(self.rest):
            self.rest = None
        elif self.rest_at >= 1024:
            del self.rest[:self.rest_at]
            self.rest_at = 0
        return 0


cdef list _parts(StreamChannel stream):
    """Returns the parts of files that are queued."""
    cdef list found = []
    if stream.head is not None and not PyBytes_CheckExact(stream.head):
        found.append(stream.head)
    if stream.rest is not None:
        found += [item for item in stream.rest if item is not None and not PyBytes_CheckExact(item)]
    return found
