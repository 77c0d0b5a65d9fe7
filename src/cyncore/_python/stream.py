# SPDX-License-Identifier: MIT
"""StreamChannel in plain Python: what of a `Stream` touches every byte.

What both engines offer to the layers above them, besides the methods that docs/streams.md describes:

- `_open(sock, loop)`: joins the loop with a non-blocking socket. `_ready()`: the connection is ready for the program.
- `_set_step(step, wants)`: while there is a step, events call it with what is ready, instead of reading and writing.
- `_session`: what encrypts: an object with ``read(size, buffer)``, ``write(data)`` and ``pending()``, which raises as
  an SSLObject does. What it raises, except want-read and want-write, goes to `_session_failed`.
- `_queue_part(part)`: queues an object whose ``send(stream)`` returns True when all of it was sent.
- `_end(error)`: the connection is gone. `_fail(error)`: a handler of the program has raised.
- `_lost(error)`: no more output can be sent. What has come before is read first, and then it is `_end(error)`.
- `_output_waits`: does anything wait to be sent, parts included?
- `_deadlines_started(phase)`: a phase of its life begins, for its deadlines. `_deadlines`: what watches them, or None.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from errno import EAGAIN, EINTR, EPIPE, EWOULDBLOCK
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from .._descriptor import Descriptor
from .._framing import check, find
from .._rules import EXITS, LAST_READS, LINGER, LimitExceeded, check_bytes
from .channel import Channel
from .deadlines import Deadlines, has_deadlines
from .maps import NOT_OURS, SEND_NOW
from .poller import READ, WRITE

SIZE: Final = 65536  # bytes that are read, or sent, at once
BATCH: Final = 65536  # bytes of input whose frames are delivered at once, at most
PIECES: Final = 64  # pieces that are sent at once
HAS_SENDMSG: Final = hasattr(socket.socket, "sendmsg")  # Windows has none
HELD_RECORDS: Final = 64  # records that are taken, at most, before close_notify is sent
RECORDS: Final = 8  # records of a session that are read for one event
WANT_READ: Final = 2  # SSL_ERROR_WANT_READ and SSL_ERROR_WANT_WRITE, the errno of these errors
WANT_WRITE: Final = 3
ZERO_RETURN: Final = 6  # SSL_ERROR_ZERO_RETURN: the peer has sent close_notify


_checked: WeakSet[type] = WeakSet()


class StreamChannel(Channel):
    """A channel that reads and writes by itself, and hands what it has read to handlers."""

    _tells_interest = True

    server: Any = None
    framing: Any = None
    high_water = 65536
    low_water = 16384
    max_output: int | None = None

    _loop: Any = None
    _step: Any = None
    _step_wants = 0
    _session: Any = None
    _session_wants_write = False  # reading cannot go on before the session has written
    _session_wants_read = False
    _retry: Any = None  # what the session must be given again, as it was
    _opened = False
    _eof_received = False
    _eof_told = False
    _eof_wanted = False  # write_eof was called
    _eof_sent = False
    _close_wanted = False
    _has_gone = False
    _error: BaseException | None = None  # the connection is lost with it: no more output is taken
    _has_discarded = False  # input came after close()
    _linger: Any = None  # the timer
    _full = False
    _full_told = False  # handle_full was called
    _cutting = False  # frames are being delivered
    _cut_queued = False
    _flush_queued = False
    _busy = False
    _draining = False
    _input_held = False  # TLS begins when the output before it has left: no input is taken until then
    _deadlines: Any = None
    _timed = False
    _input_at = 0.0
    _output_at = 0.0
    _progress = 0

    if TYPE_CHECKING:  # Stream's

        def handle_connect(self) -> None: ...
        def handle_data(self, data: bytes) -> None: ...
        def handle_frame(self, frame: bytes) -> None: ...
        def handle_frames(self, frames: list[bytes]) -> None: ...
        def handle_eof(self) -> None: ...
        def handle_full(self) -> None: ...
        def handle_drained(self) -> None: ...
        def handle_error(self, error: BaseException) -> None: ...  # type: ignore[override]
        def handle_close(self, error: BaseException | None) -> None: ...  # type: ignore[override]
        def get_buffer(self, size_hint: int) -> Any: ...
        def buffer_updated(self, count: int) -> None: ...
        def _fail(self, error: BaseException) -> None: ...
        def _session_failed(self, error: BaseException) -> None: ...
        def _session_closing(self) -> bool: ...

        _end_waits: bool

        def _gone(self) -> None: ...
        def _check_class(self) -> None: ...

    def __new__(cls, *args: Any, **options: Any) -> Any:
        made = super().__new__(cls)
        made._output_queue = deque()
        made._head_sent = 0
        made._output_size = 0
        made._input = bytearray()
        made._cross_thread = deque()
        return made

    _output_queue: deque[Any]
    _head_sent: int
    _output_size: int
    _input: bytearray
    _searched = 0  # bytes of `_input` in which no frame's end was found
    _cross_thread: deque[Any]

    # What it is

    @property
    def loop(self) -> Any:
        """The loop that serves it, or served it last; None before it has one."""
        return self._loop_kept

    _loop_kept: Any = None

    @property
    def closing(self) -> bool:  # type: ignore[override]
        """True after `close` or `abort`, and when the connection is gone."""
        return self._close_wanted or self._has_gone

    @property
    def output_size(self) -> int:
        """The bytes that wait to be sent. Parts of files do not count."""
        return self._output_size

    @property
    def unread(self) -> bytes:
        """The bytes that were received and given to no handler yet."""
        return bytes(self._input)

    @property
    def reading(self) -> bool:
        """False after `pause_reading`, until `resume_reading`; and when there is no more input to come."""
        return not (self._paused or self._eof_received or self.closing)

    @property
    def busy(self) -> bool:
        """True while the program works on a request: set by the program, for a loop that drains."""
        return self._busy

    @busy.setter
    def busy(self, value: Any) -> None:
        self._busy = bool(value)
        if self._draining and not value:
            self.close()

    def __setattr__(self, name: str, value: Any) -> None:
        if name.endswith(("_deadline", "_water")) or name in ("framing", "max_output"):
            self._check_thread(name)
        super().__setattr__(name, value)
        if name == "framing":
            check(value)
            self._searched = 0
            if not self._cutting:
                self._cut_later()
        elif name.endswith("_deadline"):
            self._deadline_changed()

    # Its life

    def _adopt(self, loop: Any) -> None:
        """The stream belongs to ``loop`` from now on; its socket comes later, with `_open`."""
        self._loop_kept = loop

    def _note_peer(self, addr: Any) -> None:
        """``addr`` is the address of the peer."""
        self.addr = addr

    def _encrypted(self) -> None:
        """A session reads and writes the descriptor from now on: nothing passes by it any more."""

    def _hold_input(self, on: bool = True) -> None:
        """Takes no input, until TLS has begun."""
        self._input_held = on
        self._interest_changed()

    def _without_input(self) -> None:
        """There is no input, and no end of it to be told."""
        self._eof_received = self._eof_told = True
        self._interest_changed()

    def _flush_now(self) -> bool:
        """Sends what the socket takes now. Returns True if nothing waits any more."""
        if self.connected and self._step is None:
            self._flush()
        return not self._output_queue

    def _take_unread(self) -> None:
        """Forgets what was received and given to no handler: a pipe has taken it."""
        self._input.clear()

    def _cut_soon(self) -> None:
        """Delivers what is held, in the next tick."""
        self._cut_later()

    def _note_progress(self, is_input: bool) -> None:
        """A pipe has moved bytes."""
        if self._timed and is_input:
            self._input_at = self._loop_kept.time()
        elif self._timed:
            self._output_at = self._loop_kept.time()

    def _session_cannot_write(self, error: OSError) -> bool:
        """The session has raised ``error`` to a part that is sent. Returns True if the stream has ended."""
        if error.errno not in (WANT_READ, WANT_WRITE):
            self._session_failed(error)
            return True
        self._session_wants_read = error.errno == WANT_READ
        return False

    @property
    def _output_waits(self) -> bool:
        return bool(self._output_queue)

    @property
    def _is_gone(self) -> bool:
        return self._has_gone

    def _open(self, sock: Any, loop: Any) -> None:
        """Takes a non-blocking socket, and joins the loop."""
        if type(self) not in _checked:
            check(self.framing)
            self._check_class()
            _checked.add(type(self))
        self._loop_kept = loop
        self._opened = True
        self._map = loop.map
        self.set_socket(sock, loop.map)

    def _ready(self) -> None:
        """The connection is ready: tells the program, and sends what has waited for that."""
        if self._has_gone:
            return
        self.connected = True
        self._step = None
        self._interest_changed()
        slot = None if self._loop is None else self._loop._slots.get(self._fileno)
        if slot is not None:
            slot.pending = True  # a session may hold input, for which no event comes
        self._deadlines_started("open")
        if not self._close_wanted:
            try:
                self.handle_connect()
            except BaseException as error:
                self._caught(error)
        if self._full:  # since before there was a loop, perhaps
            self._loop_kept.call_soon(self._tell_full)
        self._flush_later()

    def _deadlines_started(self, phase: str) -> None:
        """A phase of its life begins: "connect", "handshake" or "open"."""
        if self._deadlines is None:
            if not has_deadlines(self):
                return
            self._deadlines = Deadlines(self)
        self._deadlines.start(phase)

    def _deadline_changed(self) -> None:
        """One of the attributes was set on the stream."""
        if self.loop is None or self._has_gone:
            return
        if self._deadlines is not None:
            self._deadlines.changed()
        elif self.connected:
            self._deadlines_started("open")

    def _set_step(self, step: Any, wants: int = 0) -> None:
        self._step = step
        self._step_wants = wants
        self._interest_changed()

    def close(self) -> None:
        """Stops reading, and closes the connection when everything queued is sent. Does nothing the second time.

        Input is discarded from now on. Where the peer still sends, the connection stays open, in one direction, until
        the peer closes it too, at most two seconds after the last output: see `_finish`.
        """
        if self.closing:
            return
        self._check_thread("close")
        self._take_cross_thread()
        self._close_wanted = True
        if self._loop_is_closed() or (not self._output_queue and (not self.connected or self._step is not None)):
            self._end(None)  # nothing waits for the connection
            return
        self._flush_later()
        self._interest_changed()

    def abort(self) -> None:
        """Closes the connection now, and drops what is queued. Does nothing when it is gone already."""
        self._check_thread("abort")
        self._end(None)

    def _check_thread(self, what: str) -> None:
        """RuntimeError, in debug mode, if another thread runs the loop."""
        loop = self._loop_kept
        if loop is not None and loop.debug and not loop.closed:
            loop._check(what)

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

    def _close_socket(self, sock: Any) -> None:
        sock.close()

    def _tell_close(self, error: BaseException | None) -> None:
        try:
            self.handle_close(error)
        except BaseException as failure:
            self._caught(failure)

    def _loop_is_closed(self) -> bool:
        return self._loop_kept is not None and self._loop_kept.closed

    def _caught(self, error: BaseException) -> None:
        if isinstance(error, EXITS):
            raise error
        if self._loop_kept is not None:
            self._loop_kept._figures.errors += 1
        self._fail(error)

    def _state_word(self) -> str:
        """What it is doing, in a word."""
        if self._close_wanted:
            return "closing"
        if getattr(self, "_pipe", None) is not None:
            return "piped"
        return "handshake" if self._step is not None else "open" if self.connected else "connecting"

    def _unwanted_because(self) -> list[str]:
        """Why it does not want to read, besides what holds for every channel."""
        reasons = (
            (self._input_held, "TLS begins"),
            (self._cut_queued or self._cutting, "input waits"),
            (self._session_wants_write, "TLS writes first"),
            (self._eof_received, "end of input"),
        )
        return [words for is_so, words in reasons if is_so]

    # What the loop calls

    def _interest(self) -> int:
        if self._step is not None:
            return self._step_wants
        wants = 0
        if self._session_wants_write:  # what waits to be read would come as an event again and again
            wants = WRITE
        elif self._close_wanted:
            wants = 0 if self._eof_received else READ
        elif not (self._paused or self._eof_received or self._cut_queued or self._cutting or self._input_held):
            wants = READ  # not while frames are delivered: a handler that runs the loop must not pile up more of them
        if self._output_queue and self.connected and not (self._flush_queued or self._session_wants_read):
            wants |= WRITE
        if self._session_wants_read:
            wants |= READ
        return wants

    def handle_read_event(self) -> None:
        try:
            if self._step is not None:
                self._step(READ)
            else:
                if self._session_wants_read:
                    self._session_wants_read = False
                    self._flush()
                if self._close_wanted and not self._has_gone:
                    self._discard()
                elif self.reading:
                    self._read()
        except BaseException as error:
            self._caught(error)
        self._interest_changed()

    def handle_write_event(self) -> None:
        try:
            if self._step is not None:
                self._step(WRITE)
            else:
                if self._session_wants_write:
                    self._session_wants_write = False
                    if self._close_wanted:
                        self._discard()
                    elif self.reading:
                        self._read()
                if not self._has_gone:
                    self._flush()
        except BaseException as error:
            self._caught(error)
        self._interest_changed()

    def _on_close(self) -> None:
        """The kernel reports a hang-up, or an error."""
        if self._step is not None:
            self._step(READ | WRITE)
            return
        error = self._error or self._socket_error()
        is_behind = self._cutting or self._cut_queued  # the program is told when it has taken what came before
        if error is not None and is_behind and not self._close_wanted:
            self._lost(error)
            self._loop._slots[self._fileno].hold()
            return
        if error is None and not (self._eof_told or self._close_wanted):  # both ends were closed, after the last byte
            self._eof_received = True
            if self._paused or is_behind:
                self._eof_sent = True  # nothing can be sent any more: `_tell_eof` is followed by the end
                self._loop._slots[self._fileno].hold()
                return
            self._tell_eof()
        if error is None and self._output_queue and not self._end_waits:
            error = BrokenPipeError(EPIPE, os.strerror(EPIPE))
        self._end(error)

    def _socket_error(self) -> OSError | None:
        try:
            number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError as error:
            return error
        return OSError(number, os.strerror(number)) if number else None

    # Reading

    def pause_reading(self) -> None:
        """Stops the input until `resume_reading`. Does nothing the second time."""
        super().pause_reading()

    def resume_reading(self) -> None:
        """Goes on with the input, first with what was received before. Does nothing if reading is not paused."""
        if not self._paused:
            return
        super().resume_reading()
        self._cut_later()

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
        self._interest_changed()

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

    def _input_ended(self) -> None:
        self._eof_received = True
        if not self._cut_queued:
            self._tell_eof()

    def _received(self, data: bytes) -> None:
        if self.framing is None and not self._input and not self._cutting:
            self._note_input()
            self.handle_data(data)
            return
        self._input += data
        self._cut()

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
        self._note_bytes(int(count), 0)
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
            self._note_bytes(int(count), 0)
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
            self._last_recv = "again"
            if self._session is not None and error.errno == ZERO_RETURN:
                return 0
            if self._session is not None and error.errno in (WANT_READ, WANT_WRITE):
                self._session_wants_write = error.errno == WANT_WRITE
            elif self._session is not None:
                self._session_failed(error)
            elif error.errno not in (EAGAIN, EWOULDBLOCK, EINTR):
                self._end(error)
            return None
        self._last_recv = "data" if count else "end"
        self._note_bytes(int(count), 0)
        return int(count)

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
        return not (self._paused or self._input_held or self.closing or self._step is not None)

    def _note_input(self) -> None:
        if self._timed:
            self._input_at = self._loop_kept.time()

    def _tell_eof(self) -> None:
        """Tells of the end of the input, after what came before it."""
        if not self._eof_received or self._eof_told or self._cutting or not self._takes_input():
            return
        self._eof_told = True
        try:
            self.handle_eof()
        finally:
            self._end_if_over()

    def _end_if_over(self) -> None:
        if self._eof_told and self._eof_sent and not self._has_gone:
            is_cut = self._output_queue and not self._end_waits
            self._end(BrokenPipeError(EPIPE, os.strerror(EPIPE)) if is_cut else None)

    # Writing

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
        self._interest_changed()

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

    def _finish(self) -> None:
        """Everything was sent: closes the connection of a stream that is to close.

        Input that is left unread, or that comes later, makes the kernel reset the connection (RFC 2525, 2.17), and the
        peer may then lose what was sent to it last. So where input has come since `close`, or waits now, only the
        output is ended, and input is discarded until the peer closes too.
        """
        if self._has_gone or (self._linger is not None and not self._end_waits):
            return
        if self._session is not None and not self._session_closing():
            self._linger_on()
            return
        if not self._eof_received:
            self._discard()
        if self._has_gone:
            return
        if self._eof_received or not self._has_discarded or isinstance(self.socket, Descriptor):
            self._end(None)
            return
        try:
            socket.socket.shutdown(
                self.socket, socket.SHUT_WR
            )  # not the method of a TLS socket, which drops its session
        except OSError as error:
            self._end(error)
            return
        self._linger_on()

    def _linger_on(self) -> None:
        """The peer has so long from now, whatever it waits for."""
        if self._linger is None:
            self._linger = self._loop_kept.call_later(LINGER, self._end, None)

    def _send_eof(self) -> None:
        if self._session is not None:
            self._hold_session()
            if not self._has_gone and not self._session_closing():
                self._eof_sent = False
            return
        if isinstance(self.socket, Descriptor) and not self.socket.can_read:
            self._end(None)  # it has no other way
            return
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._end(error)

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
        self._sent(sent)
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
        self._note_bytes(0, count)
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
