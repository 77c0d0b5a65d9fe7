# SPDX-License-Identifier: MIT
"""Nested: TLS inside of TLS, as behind a proxy that is spoken to over TLS.

Facts that shape it:
- There is no descriptor for the inner session, so OpenSSL works on memory: it reads from one buffer, and writes to
  another. What it writes is given to the outer session, and what that has read is given to it.
- A session that cannot write now wants the same bytes again, and its caller knows nothing of them. So `write` tells
  that all of its data have left only when the outer session has taken the last byte of what became of them.
- A session that reads may have to answer, with new keys. That must not wait behind output for which there is no room,
  nor hold up the reading.
- OpenSSL empties the buffer of its input before it says that it has to read. So a buffer that is not empty tells of
  input for which no event of the kernel comes.
"""

from __future__ import annotations

import ssl
from functools import partial

from .tls import READ, WRITE, TLSError, in_words, tighten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final
else:
    Any = object
    Final = object

SIZE: Final = 65536  # bytes that the outer session is offered, or asked for, at once
MOST: Final = 4 * SIZE  # bytes that may wait, above which nothing is read: a write, and answers to the peer


class Nested:
    """The session of a stream (see `_python/stream.py`) whose bytes pass through another session, ``outer``."""

    __slots__ = ("_incoming", "_outgoing", "_taken", "_unsent", "facts", "outer")

    def __init__(
        self, outer: Any, context: ssl.SSLContext, server_side: bool, hostname: str | None, session: Any
    ) -> None:
        if server_side and hostname is not None:
            raise ValueError("server_hostname is for clients")
        if context.check_hostname and not server_side and not hostname:  # wrap_bio() would leave the name unchecked
            raise ValueError("check_hostname needs a server_hostname")
        self.outer = outer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.facts = context.wrap_bio(self._incoming, self._outgoing, server_side, hostname, session)
        self._unsent = b""  # what the outer session was offered, and has to be offered again
        self._taken = 0  # bytes of the write() that waits: they are encrypted already

    def do_handshake(self) -> None:
        """Goes on as far as it can now. Raises SSLWantReadError or SSLWantWriteError where that is not to the end."""
        while True:
            try:
                self.facts.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                self._answer()
                raise
            self._flush()
            self._fill()
        self._flush()

    def read(self, size: int, buffer: Any = None) -> Any:
        """Reads into ``buffer`` and returns the number of bytes, or returns bytes where there is none."""
        while True:
            try:
                return self.facts.read(size) if buffer is None else self.facts.read(size, buffer)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                self._answer()
                raise
            if not self._answer() and len(self._unsent) + self._outgoing.pending > MOST:
                raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "the peer asks for new keys, and does not read")
            self._fill()

    def write(self, data: Any) -> int:
        """Sends all of ``data``, and returns the number of bytes. Where it raises, it wants to be called again so."""
        if not self._taken:
            self._flush()
            self._taken = self.facts.write(data)
        self._flush()
        taken, self._taken = self._taken, 0
        return taken

    def pending(self) -> int:
        """The bytes, of whatever kind, for which no event comes."""
        return int(self.facts.pending()) + self._incoming.pending + int(self.outer.pending())

    def unwrap(self) -> None:
        """Sends close_notify, of the inner session alone."""
        try:
            self.facts.unwrap()
        finally:
            self._flush()

    def _flush(self) -> None:
        """Gives the outer session what is encrypted. Raises what it raises, for example that it has no room."""
        while True:
            if not self._unsent:
                self._unsent = self._outgoing.read(SIZE)
                if not self._unsent:
                    return
            self._unsent = self._unsent[self.outer.write(self._unsent) :]

    def _fill(self) -> None:
        """Takes what the outer session has read. Raises what it raises where that is nothing."""
        try:
            data = self.outer.read(SIZE)
        except ssl.SSLZeroReturnError:
            data = b""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _answer(self) -> bool:
        """Sends what the session has to say by itself, as far as there is room. Returns True if that was all.

        It is no reason to stop reading that there is none: the peer may do the same, and both would wait for ever.
        """
        try:
            self._flush()
        except OSError:  # if it is lost, reading tells
            return False
        return True


def begin(stream: Any, context: ssl.SSLContext, server_side: bool, hostname: str | None, session: Any) -> None:
    """Begins a handshake inside of the TLS that the stream has."""
    stream._is_server_side = server_side
    stream._is_tls_ready = False
    stream._deadlines_started("handshake")
    tighten(context)
    try:
        nested = Nested(stream._session, context, server_side, hostname, session)
    except (OSError, ValueError, TypeError) as error:
        stream._end(in_words(error, stream._peer(), True))
        return
    _step(stream, nested, 0)  # the outer session may hold the beginning already


def _step(stream: Any, nested: Nested, ready: int) -> None:
    """The handshake goes on, because the socket has become ready."""
    try:
        nested.do_handshake()
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
        wants = READ if isinstance(error, ssl.SSLWantReadError) else WRITE
        if stream._step is None or stream._step_wants != wants:
            stream._set_step(partial(_step, stream, nested), wants)
    except (OSError, ValueError) as error:
        stream._end(in_words(error, stream._peer(), True))
    else:
        if stream.unread:
            stream._end(TLSError(f"{stream._peer()} has sent plain text behind the start of TLS"))
            return
        stream._session = nested
        stream._is_tls_ready = True
        stream._ready()
