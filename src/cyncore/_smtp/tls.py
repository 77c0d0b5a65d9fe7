# SPDX-License-Identifier: MIT
"""TLS for a connection that a loop serves: the handshake, and a socket that behaves as a plain one does.

Facts that shape it:
- A handshake has to read or to write at times of its own, whatever the protocol above it waits for. So it is a channel
  of its own, with predicates, which has the place of the other one in the map until it is done.
- A TLS socket that must wait raises SSLWantReadError or SSLWantWriteError, which code for plain sockets does not know.
  Here it raises BlockingIOError.
- A write that had to wait must be repeated with the same bytes. A channel may have more to send by then, but it begins
  with the same bytes.
- A stranger may send bytes that are no TLS. Then the connection is lost, and nothing is logged.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from errno import EAGAIN, ECONNRESET
from typing import Any

from cyncore._dispatcher import dispatcher
from cyncore._engine import Loop, TimerHandle

from .deadlines import patience


class TlsSocket:
    """A TLS socket after its handshake, which raises the errors of a plain socket.

    What is not defined here is the `ssl.SSLSocket`'s own: ``cipher()``, ``getpeercert()``, ``version()``.
    """

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self._tls = tls
        self._again = b""  # what the last send() could not finish

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tls, name)

    def recv(self, size: int) -> bytes:
        """BlockingIOError where nothing can be read yet, ConnectionResetError where the peer does not speak TLS."""
        try:
            return self._tls.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError(EAGAIN, "TLS has no data yet") from None
        except ssl.SSLError as error:
            raise ConnectionResetError(ECONNRESET, str(error)) from None

    def send(self, data: Any) -> int:
        """As `recv`; what is sent again after a BlockingIOError must begin with what was sent before."""
        offered = self._again or bytes(data)
        try:
            sent = self._tls.send(offered)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._again = offered
            raise BlockingIOError(EAGAIN, "TLS cannot send yet") from None
        except ssl.SSLError as error:
            raise ConnectionResetError(ECONNRESET, str(error)) from None
        self._again = b""
        return sent

    def close(self) -> None:
        """Tells the peer that the connection ends, as far as that needs no waiting, and closes."""
        try:
            self._tls.unwrap()
        except (OSError, ValueError):
            pass  # the peer's own goodbye is not waited for
        self._tls.close()


class Handshake(dispatcher):
    """The server's side of a TLS handshake over ``sock``, which it takes over.

    Calls ``done`` once: with a `TlsSocket`, or with None if the peer failed, went away, or took longer than ``seconds``
    (None: any time). OSError if the connection is lost already; then ``sock`` is closed, and ``done`` is not called.
    """

    def __init__(
        self,
        sock: Any,
        map: Any,
        context: ssl.SSLContext,
        seconds: float | None,
        done: Callable[[TlsSocket | None], object],
    ) -> None:
        self._writes = False
        self._done: Callable[[TlsSocket | None], object] | None = None
        self._timer: TimerHandle | None = None
        sock.setblocking(False)
        tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        try:
            dispatcher.__init__(self, tls, map)
        except OSError:
            tls.close()
            raise
        self._done = done
        if seconds is not None:
            loop = Loop.of(self._map)
            due = loop.time() + seconds
            self._timer = loop.call_at(due, self._look, due, seconds)

    def _look(self, due: float, seconds: float) -> None:
        # It is given one more look: what the peer sent in time may not have been read yet.
        loop = Loop.of(self._map)
        now = loop.time()
        self._timer = loop.call_at(now + patience(now - due, seconds), self.close)

    def readable(self) -> bool:
        return not self._writes

    def writable(self) -> bool:
        return self._writes

    def handle_read(self) -> None:
        tls = self.socket
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            self._writes = False
        except ssl.SSLWantWriteError:
            self._writes = True
        except (OSError, ValueError):
            self.close()
        else:
            self.del_channel()
            self.socket = None
            self._end(TlsSocket(tls))

    handle_write = handle_read

    def handle_close(self) -> None:
        self.close()

    def close(self) -> None:
        dispatcher.close(self)
        self._end(None)

    def _end(self, result: TlsSocket | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        done, self._done = self._done, None
        if done is not None:
            done(result)
