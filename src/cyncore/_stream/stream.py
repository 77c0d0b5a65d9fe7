# SPDX-License-Identifier: MIT
"""Stream: the class that new programs derive from. The engine's StreamChannel, below it, reads and writes."""

from __future__ import annotations

import os
from errno import ENOTSUP

from .._descriptor import Descriptor
from .._engine import StreamChannel
from .._report import ERROR, WARNING, report
from .._rules import EXITS
from .start_tls import StartTls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any
else:
    Any = object

READ = 1  # what a step can wait for, as the engine has it
WRITE = 2

HANDLERS = (
    *("handle_connect", "handle_data", "handle_frame", "handle_frames", "handle_eof", "handle_full"),
    *(
        "handle_drained",
        "handle_timeout",
        "handle_drain",
        "handle_error",
        "handle_close",
        "get_buffer",
        "buffer_updated",
    ),
)
_COROUTINE = 0x80 | 0x200  # CO_COROUTINE and CO_ASYNC_GENERATOR, flags of a code object


_loaded: list[Any] = []


def tls_module() -> Any:
    """The module `tls`, which is imported when it is needed first: `ssl` takes long."""
    if not _loaded:
        from . import tls

        _loaded.append(tls)
    return _loaded[0]


def _peer_of(sock: Any) -> Any:
    """The address at the other end of a socket that a program hands over, or None."""
    try:
        return sock.getpeername()
    except (AttributeError, OSError):  # no socket, or not connected any more
        return None


class Absent:
    """A method of dispatchers that streams lack. Whoever calls it is told what they have in its place."""

    def __init__(self, cure: str) -> None:
        self.cure = cure

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, stream: Any, kind: type) -> Any:
        if stream is None:
            return self
        raise AttributeError(f"a stream has no {self.name}(): {self.cure}")


class Stream(StreamChannel):
    """A connection. Derive from it, and define the handlers that you need, such as `handle_data`.

    ``sock``: a connected `socket.socket` to take over, which is made non-blocking; None: `Loop.listen` or
    `Loop.connect` give it one. ``loop``: the loop that serves it. Unless a docstring says otherwise, a method is to be
    called from the thread that runs the loop.
    """

    __module__ = "cyncore"

    connect_deadline: float | None = None
    """Seconds from `Loop.connect` to a connection; None: any time. So with the others."""

    handshake_deadline: float | None = None
    """Seconds for the PROXY header and the TLS handshake."""

    first_byte_deadline: float | None = None
    """Seconds from `handle_connect` to the first byte, or the first frame."""

    idle_deadline: float | None = None
    """Seconds without input, or without a whole frame."""

    write_deadline: float | None = None
    """Seconds in which the peer takes all that waits, or 64 KiB of it."""

    life_deadline: float | None = None
    """Seconds for the whole connection."""

    _tls_wanted: Any = None  # of a client: the context, the name and the session of its TLS
    _tls: Any = None  # the SSLObject
    _race: Any = None  # the connects that are going on
    _proxy: Any = None  # the address of the proxy, where its header was read
    _pipe: Any = None
    _process: Any = None  # the child whose pipe it is
    _peer_key: Any = None  # what the server counts it under
    _is_server_side = False
    _is_tls_ready = False
    _is_end_said = False  # close_notify was sent
    _end_waits = False  # there was no room for it

    def __init__(self, sock: Any = None, *, loop: Any = None) -> None:
        if sock is None:
            return
        if loop is None:
            raise TypeError(
                f"{type(self).__qualname__}(sock) needs its loop: {type(self).__qualname__}(sock, loop=loop)"
            )
        sock.setblocking(False)
        self._open(sock, loop)
        self._note_peer(_peer_of(sock))
        loop.call_soon(self._ready)

    # Handlers

    def handle_connect(self) -> None:
        """The connection is ready for use."""

    def handle_data(self, data: bytes) -> None:
        """``data`` came: 1 to 65,536 bytes."""
        self._discarded("handle_data")

    def handle_frame(self, frame: bytes) -> None:
        """A whole frame came, without what frames it."""
        self._discarded("handle_frame")

    if TYPE_CHECKING:  # only a class that wants it defines it

        def handle_frames(self, frames: list[bytes]) -> None:
            """Whole frames came, in place of a call of `handle_frame` for each: one or more, of at most 64 KiB."""

    def handle_eof(self) -> None:
        """The peer has sent its last byte. Closes the stream; a class that answers later defines it."""
        self.close()

    def handle_full(self) -> None:
        """More than `high_water` bytes wait to be sent."""

    def handle_drained(self) -> None:
        """No more than `low_water` bytes wait, after `handle_full`."""

    def handle_timeout(self, kind: str) -> None:
        """A deadline has passed: ``kind`` is "connect", "handshake", "first_byte", "idle", "write" or "life"."""
        self._end(TimeoutError(f"{self!r}: {kind} deadline"))

    def handle_drain(self) -> None:
        """The loop drains. Closes the stream, unless `busy` is true."""
        if not self.busy:
            self.close()

    def handle_error(self, error: BaseException) -> None:
        """A handler has raised ``error``: logs it, and ends the stream with it."""
        report(ERROR, "%r: a handler failed", self, error=error)
        self._end(error)

    def handle_close(self, error: BaseException | None) -> None:
        """The connection is gone: the last call. ``error``: why; None: it was closed in order."""

    # Facts

    def __repr__(self) -> str:
        words = [f"{type(self).__module__}.{type(self).__qualname__}"]
        if self.closing:
            words.append("closing")
        elif self.connected:
            words.append("connected")
        if self.addr:
            words.append(f"to {self.addr!r}")
        return f"<{' '.join(words)} at {id(self):#x}>"

    if not TYPE_CHECKING:  # who writes one of these is told
        send = Absent("write() queues bytes, and loses none")
        recv = Absent("what came is given to handle_data()")
        accept = Absent("Loop.listen() accepts")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Returns a fact about the connection, or ``default``.

        The names are those of asyncio: "socket", "peername", "sockname", "ssl_object", "sslcontext", "cipher",
        "compression" and "peercert"; and "alpn", "session" and "proxy", the address of the proxy whose header was read.
        """
        if name == "proxy":
            return default if self._proxy is None else self._proxy
        sock = self.socket
        if sock is None:
            return default
        if name == "socket":
            return sock
        try:
            if name == "peername":
                return sock.getpeername()
            if name == "sockname":
                return sock.getsockname()
        except OSError:
            return default
        if self._session is None:
            return default
        found = tls_module().extra_info(getattr(self._session, "facts", self._tls), name)
        return default if found is None else found

    # Files and pipes

    def write_eof(self) -> None:
        """Ends the output when everything queued is sent; reading goes on. Does nothing the second time.

        A pipe that is only written is closed then. OSError (ENOTSUP) for a terminal, and for whatever else goes both
        ways and is no socket: there `close` is what ends the output.
        """
        sock = self.socket
        if isinstance(sock, Descriptor) and sock.can_read and sock.can_write:
            raise OSError(ENOTSUP, f"{os.strerror(ENOTSUP)}: the output of {self!r} cannot end before its input")
        super().write_eof()

    def pause_reading(self) -> None:
        """Stops the input until `resume_reading`. Does nothing the second time."""
        if self._pipe is None:
            super().pause_reading()
        else:
            self._pipe.pause(self, True)

    def resume_reading(self) -> None:
        """Goes on with the input, first with what was received before. Does nothing if reading is not paused."""
        if self._pipe is None:
            super().resume_reading()
        else:
            self._pipe.pause(self, False)

    def close(self) -> None:
        """Stops reading, and closes the connection when everything queued is sent. Does nothing the second time.

        One that is joined with another by `pipe` ends together with it, when what was taken for either has left.
        """
        if self._pipe is None or not self._pipe.finish():
            super().close()

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> None:
        """Queues ``count`` bytes (None: the rest) of a regular file from ``offset`` on. The kernel sends them.

        ``file``: an object with ``fileno()``, or a descriptor. It may be closed after the call: the stream has a
        descriptor of its own. ValueError for what is no regular file, OSError for what is not open. If the file becomes
        shorter meanwhile, the stream ends with an OSError.
        """
        from .file_part import FilePart

        self._check_thread("sendfile")
        part = FilePart(file, offset, count)
        try:
            self._queue_part(part)
        except BaseException:
            part.close()
            raise

    def pipe(self, other: Stream) -> None:
        """Joins two streams: what one receives, the other sends, and the end of each is passed on.

        It begins when both are connected, and what was written to them before has left. The handlers for input are not
        called any more. If one stream ends, so does the other. RuntimeError if one is joined already, or after
        `write_eof`. TypeError if ``other`` is no other stream.
        """
        if other is self or not hasattr(other, "_queue_part"):
            raise TypeError(f"{self!r}: pipe() joins it with another cyncore.Stream, not {other!r}")
        self._check_thread("pipe")
        for stream in (self, other):
            if stream._pipe is not None:
                raise RuntimeError(f"{stream!r} is joined with another stream already")
        if self.closing or other.closing:
            self.close()
            other.close()
            return
        from .pipe import Pipe

        Pipe(self, other).open()

    # TLS

    def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        session: Any = None,
    ) -> None:
        """Begins TLS on the connection. `handle_connect` is called again when the handshake has ended.

        What was written before leaves first, as it would have without this call: in the clear, or inside of the TLS
        that the connection has. RuntimeError if there is no connection, or a handshake goes on; TypeError for what is
        no context, or no name.
        """
        if not self.connected or self.closing or self._step is not None:
            raise RuntimeError(f"{self!r}: start_tls() needs a connection")
        self._check_thread("start_tls")
        if isinstance(self.socket, Descriptor):
            raise RuntimeError(f"{self!r}: start_tls() needs a socket, and not {self.socket!r}")
        if not hasattr(context, "wrap_socket"):
            raise TypeError(f"{self!r}: start_tls() needs an ssl.SSLContext, not {context!r}")
        if not isinstance(server_hostname, (str, bytes, type(None))):
            raise TypeError(f"{self!r}: start_tls() needs a name as its server_hostname, not {server_hostname!r}")
        self._queue_part(StartTls(context, server_side, server_hostname, session))
        if not self._flush_now():
            self._hold_input()  # until the part has begun the handshake: what comes now is not in the clear

    def _begin_tls(self, context: Any, server_side: bool, server_hostname: str | None, session: Any) -> None:
        """Puts TLS on the socket, and shakes hands."""
        self._is_server_side = server_side
        self._is_tls_ready = False
        self._deadlines_started("handshake")
        try:
            self._tls = tls_module().begin(self.socket, context, server_side, server_hostname, session)
        except (OSError, ValueError, TypeError) as error:
            self._tls_failed(error, True)
            return
        self._encrypted()
        self._set_step(self._handshake, READ)
        if not server_side:
            self._handshake(0)

    def _handshake(self, ready: int) -> None:
        """The handshake goes on, because the socket has become ready."""
        tls = tls_module()
        session = tls.session_of(self._tls)
        try:
            session.do_handshake()
        except tls.ssl.SSLWantReadError:
            if self._step_wants != READ:
                self._set_step(self._handshake, READ)
            return
        except tls.ssl.SSLWantWriteError:
            self._set_step(self._handshake, WRITE)
            return
        except (OSError, ValueError) as error:
            self._tls_failed(error, True)
            return
        if self.unread:
            self._end(tls.TLSError(f"{self._peer()} has sent plain text behind the start of TLS"))
            return
        self._session = session
        self._is_tls_ready = True
        self._ready()

    def _tls_failed(self, error: BaseException, is_handshake: bool) -> None:
        tls = tls_module()
        if isinstance(error, tls.ssl.SSLError):
            error = tls.in_words(error, self._peer(), is_handshake)
        self._end(error)

    def _peer(self) -> str:
        peer = self.addr or self.get_extra_info("peername")
        return repr(peer) if peer else "the peer"

    # For servers and clients, processes and pipes

    def _serve_descriptor(self, descriptor: Descriptor, loop: Any) -> None:
        """The stream is that of a pipe, a terminal or a file."""
        try:
            self._adopt(loop)
            self._open(descriptor, loop)
        except BaseException:
            descriptor.close()
            raise
        if not descriptor.can_write:
            self.write_eof()
        elif not descriptor.can_read and not descriptor.is_pipe:
            self._without_input()  # the kernel may call it readable, for ever
        loop.call_soon(self._ready)

    def _accepted(self, sock: Any, addr: Any, server: Any, peer: Any) -> None:
        """A server has accepted ``sock`` for the stream."""
        self.server = server
        if peer is not None and server.max_connections_per_peer is not None:
            self._peer_key = peer
        sock.setblocking(False)
        try:
            self._open(sock, server.loop)
        except BaseException:
            sock.close()
            raise
        self._note_peer(addr)

    def _serve(self) -> None:
        """The peer of a server's stream is known: goes on with TLS, or at once."""
        if self.server.tls is None:
            self._ready()
        else:
            self._begin_tls(self.server.tls, True, None, None)

    def _connected(self, sock: Any, addr: Any) -> None:
        """A client has connected ``sock`` for the stream."""
        self._race = None
        if self._is_gone:
            sock.close()
            return
        loop = self.loop
        loop.network.ended(self)
        try:
            self._open(sock, loop)
        except EXITS:
            raise
        except BaseException as error:  # of its class, perhaps: an async handler, or a framing that is none
            report(ERROR, "%r cannot serve its connection", self, error=error)
            sock.close()
            self._end(error)
            return
        self._note_peer(_peer_of(sock) if addr is None else addr)
        wanted = self._tls_wanted
        if wanted is None:
            self._ready()
        else:
            self._begin_tls(wanted[0], False, wanted[1], wanted[2])

    def _drain(self) -> None:
        self._draining = True
        try:
            self.handle_drain()
        except EXITS:
            raise
        except BaseException as error:
            self._fail(error)

    # For the engine

    def _fail(self, error: BaseException) -> None:
        """A handler has raised ``error``, which is being handled."""
        try:
            self.handle_error(error)
        except EXITS:
            raise
        except BaseException as failure:
            report(ERROR, "%r: handle_error failed", self, error=failure)
            self._end(error)

    def _session_failed(self, error: BaseException) -> None:
        """The session has raised ``error``, in place of reading or writing."""
        self._tls_failed(error, False)

    def _session_closing(self) -> bool:
        """All output of a session was sent, and its end follows: that of the output, or of the connection too.

        Returns False where the socket has no room for it. It is queued then.
        """
        end = tls_module().CloseNotify()
        if end.send(self):
            return True
        self._end_waits = True
        self._queue_end(end)
        return False

    def _gone(self) -> None:
        """The connection is closed; `handle_close` follows."""
        if self._race is not None:
            self._race.cancel()
            self._race = None
        if self._tls is not None:
            tls_module().end(self._tls)
            self._tls = None
        if self._pipe is not None:
            self._pipe.gone(self)
        loop = self.loop
        if self.server is not None:
            self.server._ended(self._peer_key)
        if loop is not None and loop.network is not None:
            loop.network.ended(self)

    def _check_class(self) -> None:
        """Called once a class, when its first stream opens. TypeError for a handler that is a coroutine."""
        for name in HANDLERS:
            code = getattr(getattr(self, name, None), "__code__", None)
            if code is not None and code.co_flags & _COROUTINE:
                raise TypeError(
                    f"{type(self).__qualname__}.{name} is an async function, which nobody would await: "
                    "write it as a plain def, and let a callback go on"
                )

    def _discarded(self, name: str) -> None:
        kind = type(self)
        if kind not in _warned:
            _warned.add(kind)
            report(WARNING, "%r: input is discarded, because %s does not define %s", self, kind.__qualname__, name)


_warned: set[type] = set()
