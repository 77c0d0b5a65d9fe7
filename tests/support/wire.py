# SPDX-License-Identifier: MIT
"""A TLS peer whose bytes the test sends itself: as many as it likes, when it likes."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from cyncore import Loop
from tests.support.peers import poll_until


class Wire:
    """One end of TLS, in memory, and a socket to the other end. `to_send` has what the peer has not been sent yet."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_side: bool = False) -> None:
        self.sock = sock
        self.sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.to_send = b""
        self.is_over = False  # the other end has closed the connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server_side else "localhost"
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=name)

    def call(self, method: Any, *arguments: Any) -> Any:
        """Calls a method of the session. None where it has to wait for the other end."""
        try:
            return method(*arguments)
        except ssl.SSLWantReadError:
            return None
        finally:
            self.to_send += self._outgoing.read()

    def send(self, count: int | None = None) -> None:
        """Sends so many of the bytes that wait, or all."""
        part = self.to_send if count is None else self.to_send[:count]
        self.to_send = self.to_send[len(part) :]
        while part:
            part = part[self.sock.send(part) :]

    def take(self) -> None:
        """Gives the session what has come."""
        try:
            while data := self.sock.recv(65536):
                self._incoming.write(data)
            self.is_over = True
        except BlockingIOError:
            pass
        except OSError:
            self.is_over = True

    def shake_hands(self, loop: Loop) -> None:
        """All of the handshake, while the loop serves the other end."""

        def done() -> bool:
            self.take()
            self.call(self.tls.do_handshake)
            self.send()
            return self.tls.cipher() is not None and self.tls.version() is not None and self._is_done()

        poll_until(loop, done)

    def _is_done(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True
