# SPDX-License-Identifier: MIT
"""StreamOutput: what a stream has to send, when that leaves, and how its connection ends.

The way of what is written, from top to bottom:

    write          which thread queues it
    _put           the queue, the marks, the limit
    _flush_later   when it leaves: at the end of the tick
    _send_head     what leaves: bytes, or a part that sends itself
    _send_pieces   how bytes leave: some of them together, by the socket or by its session
"""

from __future__ import annotations

import os
import socket
from collections import deque
from errno import EAGAIN, EINTR, EPIPE, EWOULDBLOCK
from typing import TYPE_CHECKING, Any, Final

from .._rules import EXITS, LimitExceeded, check_bytes
from .channel import Channel
from .maps import NOT_OURS, SEND_NOW

SIZE: Final = 65536  # bytes that are read, or sent, at once
PIECES: Final = 64  # pieces that are sent at once
HAS_SENDMSG: Final = hasattr(socket.socket, "sendmsg")  # Windows has none
WANT_READ: Final = 2  # SSL_ERROR_WANT_READ and SSL_ERROR_WANT_WRITE, the errno of these errors
WANT_WRITE: Final = 3


class StreamOutput(Channel):
    """The output of a `StreamChannel`, and its end."""

    high_water = 65536
    low_water = 16384
    max_output: int | None = None

    _cyncore_loop: Any = None
    _loop_kept: Any = None
    _step: Any = None
    _session: Any = None
    _session_wants_read = False  # writing cannot go on before the session has read
    _retry: Any = None  # what the session must be given again, as it was
    _opened = False
    _eof_wanted = False  # write_eof was called
    _eof_sent = False
    _close_wanted = False
    _has_gone = False
    _error: BaseException | None = None  # the connection is lost with it: no more output is taken
    _linger: Any = None  # the timer
    _full = False
    _full_told = False  # handle_full was called
    _flush_queued = False
    _deadlines: Any = None
    _timed = False
    _output_at = 0.0
    _progress = 0

    # Made with the stream
    _output_queue: deque[Any]
    _head_sent: int
    _output_size: int
    _cross_thread: deque[Any]

    if TYPE_CHECKING:  # Stream's

        def handle_full(self) -> None: ...
        def handle_drained(self) -> None: ...
        def handle_close(self, error: BaseException | None) -> None: ...  # type: ignore[override]
        def _session_failed(self, error: BaseException) -> None: ...
        def _gone(self) -> None: ...

        _end_waits: bool

        # StreamInput's and StreamChannel's

        _eof_told: bool

        def _read_last(self) -> None: ...
        def _finish(self) -> None: ...
        def _send_eof(self) -> None: ...

    # Its end

    def _end(self, error: BaseException | None) -> None:
        """Closes the connection, and has `handle_close(error)` called in the next tick. The first call counts."""
        if self._has_gone:
            return
        self._has_gone = True
        self.connected = False
        self._step = None
        parts = [item for item in self._output_queue if not isinstance(item, bytes)]
        self._output_queue.clear()
        self._cross_thread.clear()
        self._output_size = self._head_sent = 0
        self._retry = self._error = None
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        sock = self.socket
        self.del_channel()
        if sock is not None:
            try:
                self._close_socket(sock)
            except OSError as failure:  # it was closed behind our back
                error = failure if error is None else error
        self._session = None
        for part in parts:
            part.close()
        if self._deadlines is not None:
            self._deadlines.cancel()
            self._deadlines = None
        self._gone()
        if self._loop_kept is not None and not self._loop_kept.closed:
            self._loop_kept.call_soon(self._tell_close, error)

    def _lost(self, error: BaseException) -> None:
        """No more output can be sent. The peer may have said why before: what has come is read first."""
        if self._error is not None or self._has_gone:
            return
        self._error = error
        parts = [item for item in self._output_queue if not isinstance(item, bytes)]
        self._output_queue.clear()
        self._output_size = self._head_sent = 0
        for part in parts:
            part.close()
        self._loop_kept.call_soon(self._read_last)

    def _end_if_over(self) -> None:
        if self._eof_told and self._eof_sent and not self._has_gone:
            is_cut = self._output_queue and not self._end_waits
            self._end(BrokenPipeError(EPIPE, os.strerror(EPIPE)) if is_cut else None)

    def _close_socket(self, sock: Any) -> None:
        sock.close()

    def _tell_close(self, error: BaseException | None) -> None:
        try:
            self.handle_close(error)
        except BaseException as failure:
            self._caught(failure)

    def _caught(self, error: BaseException) -> None:
        if isinstance(error, EXITS):
            raise error
        if self._loop_kept is not None:
            self._loop_kept._figures.errors += 1
        self._fail(error)

    def _loop_is_closed(self) -> bool:
        return self._loop_kept is not None and self._loop_kept.closed

    def _check_thread(self, what: str) -> None:
        """RuntimeError, in debug mode, if another thread runs the loop."""
        loop = self._loop_kept
        if loop is not None and loop.debug and not loop.closed:
            loop._check(what)

    # What is to be sent

    def write(self, data: Any) -> None:
        """Queues ``data`` (bytes, bytearray or memoryview), to be sent at the end of the tick. Any thread.

        TypeError for anything else. RuntimeError after `write_eof`. Dropped after `close`, or when the connection is
        gone.
        """
        data = check_bytes(data)
        if self._eof_wanted:
            raise RuntimeError(f"{self!r}: write() after write_eof()")
        if self.closing or self._error is not None or not data:
            return
        loop = self._loop_kept
        if loop is None or loop.closed:
            self._put(data)
            return
        turn = loop._sending()
        if turn == NOT_OURS:
            self._cross_thread.append(data)
            loop.call_soon_threadsafe(self._take_cross_thread)
            return
        try:
            if self._cross_thread:
                self._take_cross_thread()
            is_first = not self._output_queue  # else the socket has no room, as far as is known
            self._put(data)
            if turn == SEND_NOW and is_first and self.connected and self._step is None:
                self._flush()
        finally:
            if turn == SEND_NOW:
                loop._sent()

    def writelines(self, pieces: Any) -> None:
        """Queues each of ``pieces``, an iterable of bytes. Any thread. As `write`."""
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        """Ends the output when everything queued is sent; reading goes on. Does nothing the second time."""
        if self._eof_wanted or self.closing:
            return
        self._check_thread("write_eof")
        self._take_cross_thread()
        self._eof_wanted = True
        self._flush_later()

    def _queue_part(self, part: Any) -> None:
        if self._eof_wanted:
            raise RuntimeError(f"{self!r}: output after write_eof()")
        if self.closing or self._error is not None:
            part.close()
            return
        self._queue_end(part)

    def _queue_end(self, part: Any) -> None:
        if not self._output_queue and self._timed:
            self._output_at = self._loop_kept.time()
        self._output_queue.append(part)
        self._flush_later()

    def _put(self, data: bytes) -> None:
        if not self._output_queue and self._timed:
            self._output_at = self._loop_kept.time()
        self._output_queue.append(data)
        self._output_size += len(data)
        if self.max_output is not None and self._output_size > self.max_output:
            self._end(LimitExceeded(f"{self!r}: more than {self.max_output} bytes wait to be sent"))
            return
        if self._output_size > self.high_water and not self._full:
            self._full = True
            if self._loop_kept is not None:
                self._loop_kept.call_soon(self._tell_full)
        self._flush_later()

    def _tell_full(self) -> None:
        if not self._full or self._full_told or self.closing:
            return
        self._full_told = True
        try:
            self.handle_full()
        except BaseException as error:
            self._caught(error)

    def _take_cross_thread(self) -> None:
        while self._cross_thread:
            data = self._cross_thread.popleft()
            if not (self.closing or self._error is not None):
                self._put(data)

    # Sending

    def _flush_later(self) -> None:
        if not self._flush_queued and self._loop_kept is not None and self._opened and not self._has_gone:
            if self._loop_is_closed() or self._step is not None or not (self.connected or self._close_wanted):
                return
            if self._loop_kept._sending_now():
                self._flush_queued = True
                self._loop_kept._gather(self, self._flush_at_end)
            else:
                self._loop_kept.call_soon_threadsafe(self._flush_at_end)

    def _flush_at_end(self) -> None:
        self._flush_queued = False
        if self._has_gone or self._step is not None:
            return
        try:
            self._flush()
        except BaseException as error:
            self._caught(error)
        self._cyncore_interest_changed()

    def _flush(self) -> None:
        """Sends what the socket takes now."""
        while self._output_queue and not self._has_gone and self.connected and self._step is None:
            if not self._send_head():
                break
            if self._full and self._output_size <= self.low_water:
                self._full = False
                if self._full_told and not self._close_wanted:
                    self._full_told = False
                    self.handle_drained()
        if self._has_gone or self._error is not None or self._output_queue or self._step is not None:
            return
        if self._close_wanted:
            self._finish()
        elif self._eof_wanted and not self._eof_sent and self.connected:
            self._eof_sent = True
            self._send_eof()
            self._end_if_over()

    def _send_head(self) -> bool:
        """Sends from the front of the queue. Returns False if the socket has no room, or is gone."""
        head = self._output_queue[0]
        if not isinstance(head, bytes):
            is_done = head.send(self)
            if is_done and self._output_queue and self._output_queue[0] is head:
                self._output_queue.popleft()
            return bool(is_done)
        try:
            sent, offered = self._send_pieces()
        except OSError as error:
            if self._session is not None and error.errno in (WANT_READ, WANT_WRITE):
                self._session_wants_read = error.errno == WANT_READ
            elif self._session is not None:
                self._session_failed(error)
            elif error.errno not in (EAGAIN, EWOULDBLOCK, EINTR):
                self._lost(error)
            return False
        self._sent(min(max(sent, 0), offered))  # a method of the program's may say anything
        return sent == offered

    def _send_pieces(self) -> tuple[int, int]:
        """Offers some of the queue to the socket. Returns how many bytes it took, and how many it was offered."""
        pieces: list[bytes] = []
        size = 0
        for item in self._output_queue:
            if not isinstance(item, bytes) or len(pieces) == PIECES or size >= SIZE:
                break
            pieces.append(item if pieces or not self._head_sent else item[self._head_sent :])
            size += len(pieces[-1])
        if self._session is None:
            return (self.socket.sendmsg(pieces) if HAS_SENDMSG else self.socket.send(b"".join(pieces))), size
        if self._retry is None:
            self._retry = b"".join(pieces)[:16384]
        sent = self._session.write(self._retry)
        offered = len(self._retry)
        self._retry = None
        return sent, offered

    def _sent(self, count: int) -> None:
        self._cyncore_note_bytes(0, count)
        self._output_size -= count
        if self._timed:
            self._progress += count
            if self._progress >= SIZE or not self._output_size:
                self._progress = 0
                self._output_at = self._loop_kept.time()
        count += self._head_sent
        while self._output_queue and isinstance(self._output_queue[0], bytes) and count >= len(self._output_queue[0]):
            count -= len(self._output_queue.popleft())
        self._head_sent = count
