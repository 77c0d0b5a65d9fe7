# SPDX-License-Identifier: MIT
"""TlsSocket: what a dispatcher has as its socket once TLS has begun. It behaves as a plain one does.

Facts that shape it:
- OpenSSL works on the descriptor. Below `ssl.SSLSocket` is the object that does so; to call it saves two calls in
  Python each time.
- A TLS socket that must wait raises SSLWantReadError or SSLWantWriteError, which code for plain sockets does not know.
  Here it raises BlockingIOError.
- OpenSSL has encrypted a record before it finds that there is no room for all of it. It must be given the same bytes
  again. Python's ssl module lets the buffer move, and lets it grow, but not shrink. A dispatcher may offer fewer bytes
  the next time, more, or others, if the program has dropped what it had. So at most a record is offered at once, and
  one that has to wait is kept here. This also tells a caller after 16 KiB how far it got.
- After an error OpenSSL takes nothing from the descriptor any more, so its events would come without end. So the error
  is raised once, and after it comes the end of the input.
"""

from __future__ import annotations

import socket
import ssl
from errno import EAGAIN, EPIPE
from os import strerror
from weakref import ref

from .._stream.tls import in_words, say_close
from .detour import READ, WRITE, Crossing, detour_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final
else:
    Any = object
    Final = object

RECORD: Final = 16384  # bytes in the longest record
RECORDS: Final = 16  # records that are sent in one call


class TlsSocket:
    """The socket of a dispatcher that speaks TLS. During the handshake nothing can be received or sent.

    What is not defined here is the `ssl.SSLSocket`'s own: ``cipher()``, ``getpeercert()``, ``version()``.
    """

    __slots__ = ("__weakref__", "_again", "_ahead", "_channel", "_is_broken", "_session", "_tls")

    def __init__(self, tls: Any, channel: Any) -> None:
        self._tls = tls
        self._channel = ref(channel)
        self._session: Any = None  # what reads and writes; None: the handshake goes on
        self._is_broken = False
        self._again = b""  # the record that could not leave, or not all of it
        self._ahead = b""  # what has left already, and the caller offers again, since it offered less before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tls, name)

    def __repr__(self) -> str:
        return f"<TLS on {self._tls!r}>"

    def open(self, session: Any) -> None:
        """The handshake is done: ``session`` reads and writes from here on."""
        self._session = session

    def fail(self) -> None:
        """TLS has failed: there is no more input, and no output."""
        self._is_broken = True

    def fileno(self) -> int:
        return int(self._tls.fileno())

    def pending(self) -> int:
        """The bytes that were taken from the kernel, and wait to be received."""
        if self._session is None or self._is_broken:
            return 0
        return int(self._session.pending())

    # Input

    def recv(self, size: int) -> bytes:
        """At most ``size`` bytes; b"" after close_notify, and after an error.

        BlockingIOError where there are none yet, TLSError where TLS fails, TruncatedError where the connection has
        ended without close_notify.
        """
        if self._is_broken:
            return b""
        if self._session is None:
            raise BlockingIOError(EAGAIN, "the TLS handshake goes on")
        try:
            return self._session.read(size)  # type: ignore[no-any-return]
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            self._cross(WRITE)
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise self._failure(error) from error
        raise BlockingIOError(EAGAIN, "TLS has no data yet")

    # Output

    def send(self, data: Any) -> int:
        """Sends what there is room for, and returns how many bytes of ``data`` that was.

        BlockingIOError where it was none, TLSError where TLS fails.
        """
        if self._is_broken:
            raise BrokenPipeError(EPIPE, strerror(EPIPE))
        if self._session is None:
            raise BlockingIOError(EAGAIN, "the TLS handshake goes on")
        with memoryview(data) as given, given.cast("B") as view:
            return self._send(view)

    def _send(self, view: memoryview) -> int:
        done = 0
        if self._again:
            if not self._write(self._again):
                raise BlockingIOError(EAGAIN, "TLS cannot send yet")
            self._ahead, self._again = self._again, b""
        if self._ahead:
            done = min(len(self._ahead), len(view))
            if view[:done] == self._ahead[:done]:
                self._ahead = self._ahead[done:]
            else:  # the program has dropped it, and sends something else
                self._ahead, done = b"", 0
        most = min(len(view), done + RECORDS * RECORD)
        while done < most:
            with view[done : done + RECORD] as piece:
                if not self._write(piece):
                    self._again = bytes(piece)
                    break
                done += len(piece)
        if not done and len(view):
            raise BlockingIOError(EAGAIN, "TLS cannot send yet")
        return done

    def _write(self, record: Any) -> bool:
        """Returns False if it has to be offered again."""
        try:
            self._session.write(record)
        except ssl.SSLWantWriteError:
            return False
        except ssl.SSLWantReadError:
            self._cross(READ)
            return False
        except ssl.SSLError as error:
            raise self._failure(error) from error
        return True

    # What is not input or output

    def _cross(self, wants: int) -> None:
        """Waits for the other event than the one that the caller would wait for, and then tries again."""
        channel = self._channel()
        if channel is not None and channel.socket is self and detour_of(channel) is None:
            Crossing(channel, wants).enter()

    def _failure(self, error: ssl.SSLError) -> BaseException:
        self._is_broken = True
        channel = self._channel()
        return in_words(error, peer_of(channel), False)

    def shutdown(self, how: int) -> None:
        """Ends one direction, or both. The end of the output is told by close_notify; reading goes on after it."""
        if how != socket.SHUT_RD:
            self._say_close()
        socket.socket.shutdown(self._tls, how)  # not the method of a TLS socket, which drops its session

    def close(self) -> None:
        """Sends close_notify, as far as there is room for it, and closes."""
        self._say_close()
        self._tls.close()

    def _say_close(self) -> None:
        if self._session is not None and not self._is_broken:
            say_close(self._session)


def peer_of(channel: Any) -> str:
    """How the peer is named in an error."""
    address = getattr(channel, "addr", None)
    return repr(address) if address else "the peer"
