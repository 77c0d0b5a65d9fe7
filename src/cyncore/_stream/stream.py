# SPDX-License-Identifier: MIT
"""Stream: the class that new programs derive from. The engine's StreamChannel, below it, reads and writes."""

from __future__ import annotations

from .._engine import StreamChannel
from .._report import ERROR, WARNING, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object


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

    server: Any = None
    """The server that accepted it; None for another stream."""

    def __init__(self, sock: Any = None, *, loop: Any = None) -> None:
        if sock is None:
            return
        if loop is None:
            raise TypeError(f"{type(self).__qualname__}(sock) needs its loop: {type(self).__qualname__}(sock, loop=loop)")
        sock.setblocking(False)
        self._open(sock, loop)
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

    def handle_close(self, error: BaseException | None) -> None:  # type: ignore[override]
        """The connection is gone: the last call. ``error``: why; None: it was closed in order."""

    # Facts

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Returns a fact about the connection, or ``default``: names as in asyncio, and "alpn" and "proxy"."""
        sock = self.socket
        if name == "socket":
            return default if sock is None else sock
        try:
            if name == "peername":
                return default if sock is None else sock.getpeername()
            if name == "sockname":
                return default if sock is None else sock.getsockname()
        except OSError:
            pass
        return default

    # For the engine

    def _fail(self, error: BaseException) -> None:
        """A handler has raised ``error``, which is being handled."""
        try:
            self.handle_error(error)
        except Exception as failure:
            report(ERROR, "%r: handle_error failed", self, error=failure)
            self._end(error)

    def _session_failed(self, error: BaseException) -> None:
        self._end(error)

    def _session_closing(self) -> None:
        """The stream closes, and all of its output was sent."""

    def _check_class(self) -> None:
        """Looked at once a class, when its first stream opens."""

    def _discarded(self, name: str) -> None:
        kind = type(self)
        if kind not in _warned:
            _warned.add(kind)
            report(WARNING, "%r: input is discarded, because %s does not define %s", self, kind.__qualname__, name)


_warned: set[type] = set()
