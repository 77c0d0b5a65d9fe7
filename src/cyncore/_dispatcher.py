# SPDX-License-Identifier: MIT
"""The classes that programs derive from: ``dispatcher`` and its buffered and file-serving kin.

What runs once per event (reading, sending, telling the poller what is wanted) is in the engine. What is here runs once
per connection, or only where a program defines no handler of its own. It behaves as CPython 3.11's ``asyncore`` did
wherever a program could tell; docs/compatibility.md lists each defect that was cured instead.

Unless a docstring says otherwise, a method is to be called from the thread that runs the channel's loop.
"""

from __future__ import annotations

import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from errno import EALREADY, EBADF, EINPROGRESS, EINVAL, EISCONN, ENOTCONN, EWOULDBLOCK, errorcode
from types import TracebackType

from ._engine import Channel, OutboxChannel, note_connected, set_dispatcher, socket_map
from ._rules import no_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any, TypeVar

    _Handler = TypeVar("_Handler", bound=Callable[..., None])
else:
    Any = object  # for those who resolve annotations
    _Handler = Callable

# A channel's repr shows the classes of these modules under the old name of the module.
_SHOWN_AS = {
    "cyncore": "asyncore",
    "cyncore.asyncore": "asyncore",
    "cyncore.asynchat": "asynchat",
    "cyncore.smtpd": "smtpd",
}


def _strerror(err: int) -> str:
    """The system's text for an errno, or something printable for a number that is none."""
    try:
        return os.strerror(err)
    except (ValueError, OverflowError):
        return errorcode.get(err, f"Unknown error {err}")


def compact_traceback() -> tuple[tuple[str, str, str], type[BaseException] | None, BaseException | None, str]:
    """The exception being handled, on one line.

    Returns ``((file, function, line), type, value, text)`` of the innermost frame, ``text`` naming every frame as
    ``[file|function|line]``, outermost first. AssertionError where no exception is being handled.
    """
    kind, value, trace = sys.exc_info()
    frames = list(_frames(trace))
    if not frames:
        raise AssertionError("traceback does not exist")
    return frames[-1], kind, value, " ".join("[" + "|".join(frame) + "]" for frame in frames)


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, str, str]]:
    while trace is not None:
        code = trace.tb_frame.f_code
        yield code.co_filename, code.co_name, str(trace.tb_lineno)
        trace = trace.tb_next


def _uncaught(channel: Any, traceback: tuple[Any, type[BaseException] | None, BaseException | None, str]) -> str:
    """What a channel logs of the exception that `compact_traceback` has told of."""
    _, kind, value, text = traceback
    try:
        name = repr(channel)
    except Exception:  # a program's own __repr__ may fail too, and the report must still come out
        name = f"<__repr__(self) failed for object at {id(channel):0x}>"
    return f"uncaptured python exception, closing channel {name} ({kind}:{value} {text})"


def _tell_handshake(channel: Any) -> None:
    channel.handle_handshake()


def _socket_of(channel: Any, method: str) -> Any:
    """The socket of a channel. AttributeError, as in the old module, if it has none."""
    sock = channel.socket
    if sock is None:
        raise no_socket(channel, sock, method)
    return sock


def _unhandled(handler: _Handler) -> _Handler:
    """Marks a handler that only logs the event: a class that has no other does not handle that event."""
    handler.unhandled = True  # type: ignore[attr-defined]
    return handler


class dispatcher(Channel):
    """A socket and what to do when something happens to it: derive, and define the ``handle_`` methods you need.

    ``sock``: a connected or unconnected socket, or any object that behaves like one; it is made non-blocking. None:
    call `create_socket` or `set_socket` later. ``map``: the dict of channels that it joins; None: ``socket_map``.
    OSError where the socket is broken in another way than not being connected.
    """

    __module__ = "cyncore"  # where users find it, and a pickle looks for it

    debug = False
    ignore_log_types = frozenset({"warning"})

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        # Called through the class: a program may have a method of that name for purposes of its own.
        if Channel._take(self, sock, socket_map if map is None else map):
            return
        self._map = socket_map if map is None else map
        self._fileno = None
        if not sock:
            self.socket = None
            return
        sock.setblocking(False)  # the socket may come from somewhere that blocks
        self.set_socket(sock, map)
        self.connected = True
        try:
            Channel._find_peer(self, sock)
        except OSError as error:
            if error.errno not in (ENOTCONN, EINVAL):
                self.del_channel(map)  # it is of no use, and the loop would get events of it without end
                raise
            self.connected = False

    def __repr__(self) -> str:
        kind = type(self)
        module = _SHOWN_AS.get(kind.__module__, kind.__module__)
        words = [f"{module}.{kind.__qualname__}"]
        if self.accepting and self.addr:
            words.append("listening")
        elif self.connected:
            words.append("connected")
        if self.addr is not None:
            try:
                words.append("%s:%d" % self.addr)  # noqa: UP031 - it must fail for what is no pair of these
            except TypeError:
                words.append(repr(self.addr))
        return f"<{' '.join(words)} at {id(self):#x}>"

    # A copy shares the socket, and is in no map

    def __getstate__(self) -> Any:
        from ._attributes import inherited, state_of

        of_program = inherited(self, dispatcher, "__getstate__")
        return state_of(self) if of_program is None else of_program()

    def __setstate__(self, state: Any) -> None:
        from ._attributes import inherited, restore

        of_program = inherited(self, dispatcher, "__setstate__")
        if of_program is None:
            restore(self, state, Channel)
        else:
            of_program(state)

    # The socket's life

    def create_socket(self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM) -> None:
        """Makes a non-blocking socket of that family and type and adds the channel. OSError as `socket.socket`."""
        self.family_and_type = family, type
        made = socket.socket(family, type)
        made.setblocking(False)
        self.set_socket(made)

    def set_reuse_addr(self) -> None:
        """Lets a later `bind` take an address whose last connections are still in TIME_WAIT (socket(7))."""
        level, option = socket.SOL_SOCKET, socket.SO_REUSEADDR
        try:
            sock = _socket_of(self, "set_reuse_addr")
            sock.setsockopt(level, option, sock.getsockopt(level, option) | 1)
        except OSError:
            pass  # as in the old module: bind() fails if the address is still taken

    def listen(self, num: int) -> Any:
        """Starts accepting; at most ``num`` connections wait in the kernel's backlog. OSError as `socket.listen`."""
        self.accepting = True
        return _socket_of(self, "listen").listen(min(num, 5) if os.name == "nt" else num)

    def bind(self, addr: Any) -> Any:
        """Binds to ``addr``, written as the socket's family wants it. OSError as `socket.bind`, with the address."""
        self.addr = addr
        sock = _socket_of(self, "bind")
        try:
            return sock.bind(addr)
        except OSError as error:
            if error.strerror:
                error.strerror = f"{error.strerror}: {addr!r}"
            raise

    def connect(self, address: Any) -> None:
        """Starts to connect. `handle_connect` follows when it has succeeded; OSError if it has failed already."""
        self.connected = False
        self.connecting = True
        err = _socket_of(self, "connect").connect_ex(address)
        if err in (EINPROGRESS, EALREADY, EWOULDBLOCK) or (err == EINVAL and os.name == "nt"):
            self.addr = address
        elif err in (0, EISCONN):
            self.addr = address
            self.handle_connect_event()
            note_connected(self)
        else:
            raise OSError(err, errorcode.get(err, _strerror(err)))

    def close(self) -> None:
        """Leaves the map and closes the socket. Safe to call twice, and from inside any handler."""
        if not Channel._disconnect(self):
            self.connected = False
            self.accepting = False
            self.connecting = False
        self.del_channel()
        sock = self.socket
        if sock is not None:
            try:
                sock.close()
            except OSError as error:
                if error.errno not in (ENOTCONN, EBADF):
                    raise

    def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
        deadline: float | None = 60.0,
    ) -> None:
        """Begins TLS on the connection. `handle_handshake` follows when the handshake has ended.

        What the channel has queued leaves in the clear first. Until the end of the handshake, which may take
        ``deadline`` seconds (None: any time), neither `handle_read` nor `handle_write` is called, and what is sent
        waits, or is not taken. A failure calls `handle_error`, while a `TLSError` with the reason in words, or a
        TimeoutError, is being handled; a lost connection calls `handle_close`. Does nothing after `close`.

        RuntimeError if there is no connection, or it has TLS. ValueError for arguments that do not fit, TypeError for
        what is no socket or no context. TLSError if `async_chat` holds input that came in the clear behind the piece
        that it has delivered.
        """
        from ._tls.handshake import start, tell_failure

        arguments = server_side, server_hostname, session
        start(self, context, arguments, deadline, _tell_handshake, tell_failure)

    def set_deadlines(
        self,
        *,
        connect: float | None = None,
        first_byte: float | None = None,
        idle: float | None = None,
        write: float | None = None,
        life: float | None = None,
    ) -> None:
        """Sets the seconds that the peer has; None: any time. They replace those set before, and begin now.

        ``connect``: to accept the connection. ``first_byte``: to send something after that. ``idle``: without input,
        while the channel does not want to write. ``write``: in which the peer makes no room, while it wants to; what is
        seen is between once and twice as long. ``life``: for the whole connection. An `async_chat` with a terminator
        counts whole pieces as input, so that a peer cannot win time by single bytes.

        When one has passed, `handle_timeout` is called. The deadlines end when the channel leaves its map, as by
        `close`. RuntimeError if it is in none; ValueError for a number below 0.
        """
        from ._deadlines import set_deadlines

        seconds = {"connect": connect, "first_byte": first_byte, "idle": idle, "write": write, "life": life}
        set_deadlines(self, seconds)

    # What the loop calls where a class does not define its own

    def handle_connect_event(self) -> None:
        """Ends a connect: OSError if SO_ERROR holds one, else `handle_connect` and the channel is connected."""
        sock = self.socket
        err = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if err:
            raise OSError(err, _strerror(err))
        self.handle_connect()
        if self._fileno is None:  # handle_connect has closed it
            return
        if self.socket is not sock:  # it has put TLS on it, or begun another connect
            try:
                self.socket.getpeername()
            except (AttributeError, OSError):
                return
        self.connected = True
        self.connecting = False

    @_unhandled
    def handle_expt_event(self) -> None:
        """Urgent data calls `handle_expt`; an error found in SO_ERROR calls `handle_close`."""
        if self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.handle_close()
        else:
            self.handle_expt()

    def handle_error(self) -> None:
        """An exception left a handler: logs it on one line and calls `handle_close`."""
        self.log_info(_uncaught(self, compact_traceback()), "error")
        self.handle_close()

    @_unhandled
    def handle_expt(self) -> None:
        """Urgent data came."""
        self.log_info("unhandled incoming priority event", "warning")

    @_unhandled
    def handle_read(self) -> None:
        """There is something to `recv`."""
        self.log_info("unhandled read event", "warning")

    @_unhandled
    def handle_write(self) -> None:
        """There is room to `send`."""
        self.log_info("unhandled write event", "warning")

    def handle_connect(self) -> None:
        """A connect has succeeded."""
        self.log_info("unhandled connect event", "warning")

    def handle_handshake(self) -> None:
        """The handshake of `start_tls` has ended: what is sent and received from now on is encrypted. Does nothing."""

    def handle_timeout(self, kind: str) -> None:
        """A deadline of `set_deadlines` has passed: ``kind`` is its name. Calls `handle_close`.

        If the channel is kept, that deadline begins again.
        """
        self.log_info(f"{kind} deadline", "warning")
        self.handle_close()

    @_unhandled
    def handle_accept(self) -> None:
        """A connection waits: accepts it and calls `handle_accepted`."""
        pair = self.accept()
        if pair is not None:
            self.handle_accepted(*pair)

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        """A connection was accepted: ``sock`` is its (still blocking) socket, ``addr`` the peer's address."""
        sock.close()
        self.log_info("unhandled accepted event", "warning")

    def handle_close(self) -> None:
        """The peer has gone, or the channel failed: closes it."""
        self.log_info("unhandled close event", "warning")
        self.close()

    # Logging, to be overridden at will

    def log(self, message: object) -> None:
        """Writes ``log: message`` to stderr."""
        sys.stderr.write(f"log: {message!s}\n")

    def log_info(self, message: object, type: str = "info") -> None:
        """Prints ``type: message``, unless ``type`` is in `ignore_log_types`."""
        if type not in self.ignore_log_types:
            print(f"{type}: {message}")


set_dispatcher(dispatcher)


class dispatcher_with_send(OutboxChannel, dispatcher):
    """A dispatcher whose `send` never loses bytes: what the socket does not take now leaves when it has room.

    The buffer grows without bound while the peer does not read; watch ``len(self.out_buffer)``.
    """

    __module__ = "cyncore"

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        dispatcher.__init__(self, sock, map)
        self.out_buffer = b""


if os.name == "posix":

    class file_wrapper:
        """A duplicate of the descriptor ``fd`` that looks enough like a socket for a dispatcher.

        The duplicate is closed with the wrapper; ``fd`` stays the caller's. OSError as dup(2).
        """

        __module__ = "cyncore.asyncore"

        def __init__(self, fd: int) -> None:
            self.fd = -1
            self.fd = os.dup(fd)

        def __del__(self) -> None:
            if self.fd >= 0:
                warnings.warn(f"unclosed file {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()

        def recv(self, *args: Any) -> bytes:
            return os.read(self.fd, *args)

        def send(self, *args: Any) -> int:
            return os.write(self.fd, *args)

        read = recv
        write = send

        def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> int:
            """A file has no pending error: 0 for SO_ERROR, NotImplementedError for any other option."""
            if (level, optname) == (socket.SOL_SOCKET, socket.SO_ERROR) and not buflen:
                return 0
            raise NotImplementedError(f"a file has no socket option {optname} of level {level}, other than SO_ERROR")

        def close(self) -> None:
            fd, self.fd = self.fd, -1
            if fd >= 0:
                os.close(fd)

        def fileno(self) -> int:
            return self.fd

    def _take_file(channel: Any, fd: Any) -> None:
        channel.connected = True
        number = fd.fileno() if hasattr(fd, "fileno") else fd
        channel.set_file(number)
        os.set_blocking(number, False)

    class file_dispatcher(dispatcher):
        """A dispatcher for a pipe, a terminal or a file. ``fd``: a descriptor or an object with ``fileno()``.

        The descriptor is duplicated and made non-blocking (which its other users see too: the flag is shared).
        """

        __module__ = "cyncore.asyncore"

        def __init__(self, fd: Any, map: Any = None) -> None:
            dispatcher.__init__(self, None, map)
            _take_file(self, fd)

        def set_file(self, fd: int) -> None:
            """Takes a duplicate of ``fd`` as the channel's own and adds the channel."""
            self.socket = file_wrapper(fd)
            self._fileno = self.socket.fileno()
            self.add_channel()
