# SPDX-License-Identifier: MIT
"""StreamInput: what a stream receives, and how its handlers get it: as it comes, or in frames.

A handler may close, abort or pause its stream, change its framing, or run the loop: what it may have changed is looked
at again behind it.
"""

from __future__ import annotations

from errno import EAGAIN, EINTR, EWOULDBLOCK
from typing import TYPE_CHECKING, Any, Final

from .._framing import find
from .._rules import LAST_READS, LimitExceeded
from .stream_output import SIZE, WANT_READ, WANT_WRITE, StreamOutput

BATCH: Final = 65536  # bytes of input whose frames are delivered at once, at most
HELD_RECORDS: Final = 64  # records that are taken, at most, before close_notify is sent
RECORDS: Final = 8  # records of a session that are read for one event
ZERO_RETURN: Final = 6  # SSL_ERROR_ZERO_RETURN: the peer has sent close_notify


class StreamInput(StreamOutput):
    """The input of a `StreamChannel`."""

    framing: Any = None

    _session_wants_write = False  # reading cannot go on before the session has written
    _eof_received = False
    _eof_told = False
    _has_discarded = False  # input came after close()
    _cutting = False  # frames are being delivered
    _cut_queued = False
    _input_held = False  # TLS begins when the output before it has left: no input is taken until then
    _input_at = 0.0
    _searched = 0  # bytes of `_input` in which no frame's end was found
    _input: bytearray  # made with the stream

    if TYPE_CHECKING:  # Stream's

        def handle_data(self, data: bytes) -> None: ...
        def handle_frame(self, frame: bytes) -> None: ...
        def handle_frames(self, frames: list[bytes]) -> None: ...
        def handle_eof(self) -> None: ...
        def get_buffer(self, size_hint: int) -> Any: ...
        def buffer_updated(self, count: int) -> None: ...

        # StreamChannel's

        @property
        def reading(self) -> bool: ...

    @property
    def unread(self) -> bytes:
        """The bytes that were received and given to no handler yet."""
        return bytes(self._input)

    def pause_reading(self) -> None:
        """Stops the input until `resume_reading`. Does nothing the second time."""
        super().pause_reading()

    def resume_reading(self) -> None:
        """Goes on with the input, first with what was received before. Does nothing if reading is not paused."""
        if not self._cyncore_paused:
            return
        super().resume_reading()
        self._cut_later()

    # Reading

    def _read(self) -> None:
        for _ in range(RECORDS):
            self._read_once()
            if self._session is None or not self.reading or self._step is not None or self._session_wants_write:
                return
            if not self._session.pending():
                return

    def _read_once(self) -> bool:
        """Returns False if there is nothing to be read now, or nothing any more."""
        if self._wants_buffer():
            return self._read_into_buffer()
        data = self._receive(SIZE)
        if data:
            self._received(data)
        elif data is not None:
            self._input_ended()
        return bool(data)

    def _received(self, data: bytes) -> None:
        if self.framing is None and not self._input and not self._cutting:
            self._note_input()
            self.handle_data(data)
            return
        self._input += data
        self._cut()

    def _input_ended(self) -> None:
        self._eof_received = True
        if not self._cut_queued:
            self._tell_eof()

    def _read_last(self) -> None:
        """Reads what the kernel holds, and ends with the error that is known."""
        if self._cutting or self._has_gone:
            return  # a handler of a frame runs the loop: `_cut` comes back to this
        try:
            self._cut()
            for _ in range(LAST_READS):
                if not self.reading or self._step is not None or not self._read_once():
                    break
        except BaseException as error:
            self._caught(error)
        finally:
            self._end(self._error)

    def _discard(self) -> None:
        """Reads what nobody wants any more, because the stream closes."""
        try:
            buffer = bytearray(SIZE)
            count = self._session.read(SIZE, buffer) if self._session is not None else self.socket.recv_into(buffer)
        except OSError as error:
            if error.errno in (EAGAIN, EWOULDBLOCK, EINTR):
                return
            if self._session is not None and error.errno in (WANT_READ, WANT_WRITE):
                self._session_wants_write = error.errno == WANT_WRITE
                return
            if self._session is None:
                self._end(error)
                return
            count = 0  # there is no input any more; whether output can leave, sending tells
        self._has_discarded = True
        self._cyncore_note_bytes(int(count), 0)
        if not count:
            self._eof_received = True
            if self._linger is not None:
                self._end(None)

    def _hold_session(self) -> None:
        """Takes the input that is there, for later: OpenSSL throws away what comes between close_notify and its answer
        if it looks for that answer, and CPython's ssl module has it look.
        """
        for _ in range(HELD_RECORDS):
            buffer = bytearray(SIZE)
            try:
                count = self._session.read(SIZE, buffer)
            except OSError as error:
                if error.errno == ZERO_RETURN:
                    self._eof_received = True
                elif error.errno not in (WANT_READ, WANT_WRITE):
                    self._session_failed(error)
                break
            if not count:
                self._eof_received = True
                break
            self._cyncore_note_bytes(int(count), 0)
            self._input += buffer[:count]
        self._cut_later()

    def _wants_buffer(self) -> bool:
        return getattr(self, "get_buffer", None) is not None and not self._input

    def _read_into_buffer(self) -> bool:
        with memoryview(self.get_buffer(SIZE)) as given, given.cast("B") as buffer:
            if not self.reading or self._step is not None:
                return False  # get_buffer has closed or paused the stream
            if not len(buffer):
                raise ValueError(f"{self!r}: get_buffer returned an empty buffer")
            count = self._receive_into(buffer)
        if count:
            self._note_input()
            self.buffer_updated(count)
        elif count is not None:
            self._input_ended()
        return bool(count)

    def _receive(self, size: int) -> bytes | None:
        buffer = bytearray(size)
        count = self._receive_into(memoryview(buffer))
        return None if count is None else bytes(buffer[:count])

    def _receive_into(self, buffer: memoryview) -> int | None:
        """Returns how many bytes were read, 0 at the end of the stream, None where there are none yet or it failed."""
        try:
            if self._session is not None:
                count = self._session.read(len(buffer), buffer)
            else:
                count = self.socket.recv_into(buffer)
        except OSError as error:
            self._cyncore_last_recv = "again"
            if self._session is not None and error.errno == ZERO_RETURN:
                return 0
            if self._session is not None and error.errno in (WANT_READ, WANT_WRITE):
                self._session_wants_write = error.errno == WANT_WRITE
            elif self._session is not None:
                self._session_failed(error)
            elif error.errno not in (EAGAIN, EWOULDBLOCK, EINTR):
                self._end(error)
            return None
        self._cyncore_last_recv = "data" if count else "end"
        self._cyncore_note_bytes(int(count), 0)
        return int(count)

    def _note_input(self) -> None:
        if self._timed:
            self._input_at = self._loop_kept.time()

    # Delivering

    def _cut(self) -> None:
        """Delivers what was received, in frames where that is asked for, and then the end of the input."""
        if self._cutting:
            return
        self._cutting = True
        try:
            while self._input and self._takes_input():
                framing = self.framing
                piece = self._take_piece()
                if piece is None:
                    break
                self._deliver(piece, framing)
        finally:
            self._cutting = False
            if self._error is not None:
                self._loop_kept.call_soon(self._read_last)
        self._tell_eof()

    def _take_piece(self) -> bytes | list[bytes] | None:
        """Takes out of the input what is to be delivered next: data, a frame or a list of frames; None: nothing yet."""
        pieces: list[bytes] = []
        is_batch = self.framing is not None and getattr(self, "handle_frames", None) is not None
        at = 0
        while at < len(self._input) and (is_batch or not pieces):
            found = (at, len(self._input), len(self._input)) if self.framing is None else self._find(at)
            if found is None or (at and found[2] > BATCH):
                break
            pieces.append(bytes(self._input[found[0] : found[1]]))
            at, self._searched = found[2], 0
        del self._input[:at]
        if not pieces:
            return None
        return pieces if is_batch else pieces[0]

    def _find(self, start: int) -> tuple[int, int, int] | None:
        """Where the next frame is; None: it is not whole, or too long.

        What is wrong behind other frames counts when these were delivered, and it is looked for again.
        """
        try:
            found = find(self.framing, self._input, start, start + self._searched)
        except Exception as error:
            if start:
                return None
            if not isinstance(error, LimitExceeded):
                raise
            self._end(LimitExceeded(f"{self!r}: {error}"))
            return None
        if found is None:
            self._searched = len(self._input) - start
        return found

    def _deliver(self, piece: Any, framing: Any) -> None:
        self._note_input()
        try:
            if framing is None:
                self.handle_data(piece)
            elif isinstance(piece, list):
                self.handle_frames(piece)
            else:
                self.handle_frame(piece)
        except BaseException:
            self._cut_later()  # what comes behind it, if the stream lives on
            raise

    def _takes_input(self) -> bool:
        """May a handler for input be called?"""
        return not (self._cyncore_paused or self._input_held or self.closing or self._step is not None)

    def _tell_eof(self) -> None:
        """Tells of the end of the input, after what came before it."""
        if not self._eof_received or self._eof_told or self._cutting or not self._takes_input():
            return
        self._eof_told = True
        try:
            self.handle_eof()
        finally:
            self._end_if_over()

    def _cut_later(self) -> None:
        """Has what is held delivered by the next tick, and the end of the input behind it."""
        if self._cut_queued or self._loop_kept is None or self._has_gone or self._loop_is_closed():
            return
        if self._input or (self._eof_received and not self._eof_told):
            self._cut_queued = True
            self._loop_kept.call_soon(self._cut_again)

    def _cut_again(self) -> None:
        self._cut_queued = False
        if self._has_gone:
            return
        try:
            self._cut()
        except BaseException as error:
            self._caught(error)
        self._cyncore_interest_changed()

    def _cut_soon(self) -> None:
        """Delivers what is held, in the next tick."""
        self._cut_later()

    def _take_unread(self) -> None:
        """Forgets what was received and given to no handler: a pipe has taken it."""
        self._input.clear()
