# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""StreamChannel: a channel that reads and writes by itself. Its state, its events, and what the layers above use.

Most streams need neither a session nor a step: these are in `Extra`, so that an idle stream stays small. What is
offered to the layers above is listed in `_python/stream.py`, which has the same interface.
"""

import os
import socket as _socket

from libc.errno cimport EPIPE

from .channel cimport Channel, count_received, count_sent
from .csrc cimport CYN_READ, CYN_WRITE, FIONREAD, cyn_clock, cyn_ioctl, cyn_peer_find
from .deadlines cimport OPEN, deadline_changed, phase_named, start_deadlines
from .endpoint cimport watch
from .plain_socket cimport is_plain
from .registry cimport Registry
from .settings cimport Settings, has_native_handlers, settings_of
from .stream_input cimport StreamInput
from .stream_output cimport (
    BUSY,
    CLOSE_WANTED,
    CUT_NESTED,
    CUT_QUEUED,
    CUTTING,
    DISCARDED,
    DRAINING,
    EOF_RECEIVED,
    EOF_SENT,
    EOF_TOLD,
    FULL,
    GONE,
    INPUT_HELD,
    LOST,
    NO_INPUT,
    OPENED,
    OWN_SETTINGS,
    READ_NEEDS_WRITE,
    READY,
    STEPPING,
    TIMED,
    WANT_READ,
    WANT_WRITE,
    WRITE_NEEDS_READ,
    Extra,
)
from .traits cimport flags_of
from .watcher cimport CONNECTED, CONNECTING, DIRECT, HELD, OUTPUT, PAUSED, STREAM

from .. import _rules
from .._descriptor import Descriptor
from .traits import guard

cdef int LAST_READS = _rules.LAST_READS
cdef double LINGER = _rules.LINGER

cdef frozenset SETTINGS = frozenset(("framing", "high_water", "low_water", "max_output", "get_buffer", "handle_frames"))
cdef frozenset DEADLINES = frozenset(
    f"{kind}_deadline" for kind in ("connect", "handshake", "first_byte", "idle", "write", "life")
)
watch(SETTINGS | DEADLINES)


cdef class StreamChannel(StreamInput):
    """The engine's part of `Stream`: reads, cuts the input up, queues output and sends it."""

    _cyncore_role = "stream"

    framing = None
    high_water = 65536
    low_water = 16384
    max_output = None

    def __cinit__(self):
        self.flags |= STREAM

    def __init__(self, *_args, **_named):
        name = type(self).__qualname__
        raise TypeError(
            f"{name} is not whole: it carries handlers in Cython for a cyncore.Stream. "
            f"Derive from both, and make that: class My{name}({name}, cyncore.Stream): pass"
        )

    # What it is

    @property
    def loop(self):
        """The loop that serves it, or served it last; None before it has one."""
        return self.its_loop()

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

    cdef int classify(self) except -1:
        self.defines = flags_of(self.traits)
        self.its_settings()  # which `_open` has read, unless the program has put the stream into the map by hand
        return 0

    cdef int attribute_changed(self, object name, bint is_set) except -1:
        cdef Settings own
        if name in DEADLINES or name in SETTINGS:
            self.check_thread(name)
        if name in DEADLINES:
            return deadline_changed(self)
        if name not in SETTINGS:
            return Channel.attribute_changed(self, name, is_set)
        if name == "framing" and self.held is not None:
            self.searched = 0
            if not self.life & CUTTING:
                self.cut_later()
        if self.life & OWN_SETTINGS and name == "framing" and is_set:
            return self.settings.set_framing(self.framing)
        own = Settings.__new__(Settings)
        own.is_native = has_native_handlers(type(self)) if self.settings is None else self.settings.is_native
        own.read(self)
        self.settings = own
        self.life |= OWN_SETTINGS
        return 0

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
        if self.address is None and cyn_peer_find(self.fileno, &self.peer) < 0:
            self.peer.family = 0
        self.put(loop, self.fileno)

    def _note_peer(self, addr):
        """``addr`` is the address of the peer. One of TCP takes less memory as `_open` has found it."""
        if not self.peer.family:
            self.address = addr

    def _encrypted(self):
        """A session reads and writes the descriptor from now on: nothing passes by it any more."""
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
        start_deadlines(self, OPEN)
        if not self.life & CLOSE_WANTED:
            try:
                self.handle_connect()
            except BaseException as error:
                self.caught(error)
        if self.life & (FULL | GONE) == FULL and self.loop is not None:  # since before there was a loop, perhaps
            self.loop.queue(self._tell_full, ())
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

    def _without_input(self):
        """There is no input, and no end of it to be told."""
        self.life |= EOF_RECEIVED | EOF_TOLD
        self.arm()

    def _flush_now(self):
        """Sends what the socket takes now. Returns True if nothing waits any more."""
        if self.life & (READY | STEPPING | GONE) == READY and not self.flags & OUTPUT:
            self.flush(True)
        return self.head is None

    def _note_progress(self, is_input):
        """A pipe has moved bytes."""
        if self.life & TIMED and self.extra is not None:
            if is_input:
                self.extra.input_at = cyn_clock() / 1e9
            else:
                self.extra.output_at = cyn_clock() / 1e9

    def _note_bytes(self, Py_ssize_t received, Py_ssize_t sent):
        """Bytes have passed by the stream: those of a file, or of a pipe."""
        if received and self.loop is not None:
            count_received(self, self.loop, received)
        count_sent(self, sent)

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
    def _output_waits(self):
        return self.head is not None

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

    def _deadlines_started(self, str phase not None):
        """A phase of its life begins: "connect", "handshake" or "open"."""
        start_deadlines(self, phase_named(phase))

    @property
    def _deadlines(self):
        return None if self.extra is None else self.extra.deadlines

    @property
    def _input_at(self):
        return 0.0 if self.extra is None else self.extra.input_at

    @property
    def _output_at(self):
        return 0.0 if self.extra is None else self.extra.output_at

    def close(self):
        """Stops reading, and closes the connection when everything queued is sent. Does nothing the second time.

        Input is discarded from now on. Where the peer still sends, the connection stays open, in one direction, until
        the peer closes it too, at most two seconds after the last output: see `_finish`.
        """
        if self.life & (CLOSE_WANTED | GONE):
            return
        self.check_thread("close")
        self.take_crossing()
        self.life |= CLOSE_WANTED
        if self.head is None and self.life & (READY | STEPPING) != READY:
            self.end(None)  # nothing waits for the connection
            return
        if self.life & OPENED and self.loop is None:  # the loop is closed
            self.end(None)
            return
        self.flush_later()
        self.arm()

    def abort(self):
        """Closes the connection now, and drops what is queued. Does nothing when it is gone already."""
        self.check_thread("abort")
        self.end(None)

    def _end(self, error):
        """Closes the connection, and has ``handle_close(error)`` called in the next tick. The first call counts."""
        self.end(error)

    def del_channel(self, map=None):
        """Leaves the loop. Streams do this when they close; for old code that takes channels out of a map."""
        self.end(None)

    def _read_last(self):
        """Reads what the kernel holds, and ends with the error that is known."""
        if self.life & (CUTTING | GONE) or self.extra is None:
            return  # a handler of a frame runs the loop: `cut_ended` comes back to this
        failure = self.extra.failure
        try:
            self.read_last()
        except BaseException as error:
            self.caught(error)
        finally:
            self.end(failure)

    cdef int read_last(self) except -1:
        cdef int count, _at
        self.cut_held()
        for _at in range(LAST_READS):
            if self.flags & PAUSED or self.life & (EOF_RECEIVED | NO_INPUT) or self.loop is None:
                break
            count = 0
            cyn_ioctl(self.fileno, FIONREAD, &count)
            count += self.pending()
            self.on_read()
            if count == 0:
                break  # that has told of the end
        return 0

    # What the loop calls

    cdef unsigned interest(self) except? 0xFFFFFFFF:
        cdef unsigned life = self.life, wanted = 0
        if life & (STEPPING | GONE):
            return self.extra.step_wants if life & STEPPING else 0
        if life & CLOSE_WANTED:
            if not life & (EOF_RECEIVED | READ_NEEDS_WRITE):
                wanted = CYN_READ
        elif not life & (EOF_RECEIVED | CUT_QUEUED | CUT_NESTED | INPUT_HELD | READ_NEEDS_WRITE) \
                and not self.flags & PAUSED:
            wanted = CYN_READ
        if self.flags & OUTPUT and not life & WRITE_NEEDS_READ or life & READ_NEEDS_WRITE:
            wanted |= CYN_WRITE
        if life & WRITE_NEEDS_READ:
            wanted |= CYN_READ
        return wanted

    cdef int on_read(self) except -1:
        if self.life & (STEPPING | CLOSE_WANTED | WRITE_NEEDS_READ | GONE) or self.extra is not None:
            return self.read_specially()
        if self.settings.reads_specially:
            return self.read_into_buffer() if self.settings.has_buffer else self.read_natively()
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
        return self.read_natively() if self.settings.is_native or self.settings.has_batches else self.read_some()

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
        cdef bint is_behind = self.life & (CUTTING | CUT_QUEUED) != 0  # told when what came before was taken
        error = self.extra.failure if self.life & LOST else self._socket_error()
        if error is not None and is_behind and not self.life & CLOSE_WANTED:
            self.flags |= HELD
            self.lost(error)
            return self.arm()
        if error is None and not self.life & (EOF_TOLD | CLOSE_WANTED):  # both ends were closed, after the last byte
            self.life |= EOF_RECEIVED
            if self.flags & PAUSED or is_behind:
                self.life |= EOF_SENT  # nothing can be sent any more: `tell_eof` is followed by the end
                self.flags |= HELD
                return self.arm()
            self.tell_eof()
        if error is None and self.head is not None and not self._end_waits:
            error = BrokenPipeError(EPIPE, os.strerror(EPIPE))
        return self.end(error)

    def _socket_error(self):
        try:
            number = self.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        except OSError as error:
            return error
        return OSError(number, os.strerror(number)) if number else None

    def _finish(self):
        """Everything was sent: closes the connection of a stream that is to close.

        Input that is left unread, or that comes later, makes the kernel reset the connection (RFC 2525, 2.17), and the
        peer may then lose what was sent to it last. So where input has come since `close`, or waits now, only the
        output is ended, and input is discarded until the peer closes too.
        """
        if self.extra is not None and self.extra.linger is not None and not self._end_waits:
            return
        if self.extra is not None and self.extra.session is not None and not self._session_closing():
            self._linger_on()
            return
        if not self.life & (EOF_RECEIVED | GONE):
            self.discard_some()
        if self.life & GONE:
            return
        if self.life & (EOF_RECEIVED | DISCARDED) != DISCARDED or isinstance(self.sock, Descriptor):
            self.end(None)
            return
        try:
            _socket.socket.shutdown(self.sock, _socket.SHUT_WR)  # not the method of a TLS socket: it drops its session
        except OSError as error:
            self.end(error)
            return
        self._linger_on()
        self.arm()

    def _linger_on(self):
        """The peer has so long from now, whatever it waits for."""
        if self.extras().linger is None:
            self.extra.linger = self.loop.call_later(LINGER, self._end, None)

    def _send_eof(self):
        if self._session is not None:
            self.hold_session()
            if not self.life & GONE and not self._session_closing():
                self.life &= ~EOF_SENT
            return
        if isinstance(self.sock, Descriptor) and not self.sock.can_read:
            self.end(None)  # it has no other way
            return
        try:
            self.sock.shutdown(_socket.SHUT_WR)
        except OSError as error:
            self.end(error)


guard(StreamChannel)
