# SPDX-License-Identifier: MIT
"""What the options of a mail server make of a connection: whether it is let in, how long it may take, and TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cyncore._async_chat import async_chat
from cyncore._engine import Loop

from .flow import Flow
from .limits import Deadlines
from .options import NO_OPTIONS, ServerOptions


class Guarded(Flow):
    """A connection to a server that may have set limits."""

    _options: ServerOptions = NO_OPTIONS
    _deadlines: Deadlines | None = None
    _handshake: Any = None
    _ended = False  # nothing that still comes is looked at
    _needs_tls = False
    tls = False
    """Is the connection encrypted?"""

    peer: Any = None
    conn: Any
    fqdn: str
    command_size_limits: dict[str, int]

    if TYPE_CHECKING:

        def push(self, msg: str) -> None: ...  # type: ignore[override]
        def _greet(self) -> None: ...
        def _set_rset_state(self) -> None: ...

    def _admitted(self) -> bool:
        """Does what the server's options ask for at the start. False where there is to be no greeting, or not yet."""
        options = self._options
        most, most_of_one = options.max_connections, options.max_connections_per_peer
        if most is not None or most_of_one is not None:
            visitors, host = options._count_visitors(), self._host()
            if (most is not None and len(visitors) >= most) or (
                most_of_one is not None and visitors.count_of(host) >= most_of_one
            ):
                self._part(f"421 {self.fqdn} Too many connections, try again later")
                return False
            visitors.enter(self, host)
        if options.tls_context is not None and options.tls_implicit:
            self._start_tls(self._greet)
            return False
        self._set_deadlines()
        return True

    def _set_deadlines(self) -> None:
        idle, command, data = self._options.idle_timeout, self._options.command_timeout, self._options.data_timeout
        if idle is not None or command is not None or data is not None:
            self._deadlines = Deadlines(Loop.of(self._map), idle, command, data, self._expired)

    def _host(self) -> Any:
        return self.peer[0] if isinstance(self.peer, tuple) and self.peer else self.peer

    def _expired(self) -> None:
        self._part(f"421 {self.fqdn} Timeout, closing connection")

    def _part(self, reply: str) -> None:
        """Says a last word, to a peer that may not listen, and closes."""
        self._ended = True
        self.push(reply)
        self.close()

    def close(self) -> None:
        """Closes the connection; what it held of the server's caps is free again."""
        async_chat.close(self)
        self._ended = True
        if self._options._visitors is not None:
            self._options._visitors.leave(self)
        if self._deadlines is not None:
            self._deadlines.cancel()
        handshake, self._handshake = self._handshake, None
        if handshake is not None:
            handshake.close()

    def _begin_tls(self) -> None:
        """Goes over to TLS once what is queued has left.

        What came behind the command was not said under TLS, and must not be taken as if it were (RFC 3207, 4.2).
        """
        self._ended = True
        self.ac_in_buffer = b""
        async_chat.pause_reading(self)
        Loop.of(self._map).call_soon(self._start_tls, self._forget_plain)

    def _start_tls(self, then: Callable[[], object]) -> None:
        """Puts a handshake in this channel's place in the map, and calls ``then`` when that has succeeded."""
        if self._fileno is None:
            return  # closed by now
        if self.producer_fifo:
            self.close()  # the peer does not read what it asked for
            return
        from .tls import Handshake  # and OpenSSL with it

        self._then = then
        sock, map = self.socket, self._map
        self.del_channel()
        self.socket = None
        self.connected = False
        try:
            self._handshake = Handshake(
                sock, map, self._options.tls_context, self._options.tls_timeout, self._tls_ended
            )
        except OSError:
            sock.close()
            self.handle_close()

    def _tls_ended(self, sock: Any) -> None:
        self._handshake = None
        if sock is None:
            self.handle_close()
            return
        self.conn = sock
        self.set_socket(sock, self._map)
        self.connected = True
        self._read_again()
        self.tls = True
        self._ended = False
        self._needs_tls = False
        if self._deadlines is None:
            self._set_deadlines()
        else:
            self._deadlines.ended()
        self._then()

    def _forget_plain(self) -> None:
        """Nothing that was said before TLS counts any more (RFC 3207, 4.2)."""
        self._set_rset_state()
        self.seen_greeting = ""
        self.extended_smtp = False
        self.command_size_limits.clear()
