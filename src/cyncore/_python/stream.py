# SPDX-License-Identifier: MIT
"""StreamChannel in plain Python: what of a `Stream` touches every byte. Its state, its events, and its interface.

What it sends is in `stream_output`, and what it receives in `stream_input`.

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
from errno import EPIPE
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from .._descriptor import Descriptor
from .._framing import check
from .._rules import LINGER
from .deadlines import Deadlines, has_deadlines
from .poller import READ, WRITE
from .stream_input import StreamInput
from .stream_output import WANT_READ, WANT_WRITE

_checked: WeakSet[type] = WeakSet()


class StreamChannel(StreamInput):
    """A channel that reads and writes by itself, and hands what it has read to handlers."""

    _cyncore_tells_interest = True

    server: Any = None

    _step_wants = 0
    _busy = False
    _draining = False

    if TYPE_CHECKING:  # Stream's

        def handle_connect(self) -> None: ...
        def handle_error(self, error: BaseException) -> None: ...  # type: ignore[override]
        def _session_closing(self) -> bool: ...
        def _check_class(self) -> None: ...

    def __new__(cls, *args: Any, **options: Any) -> Any:
        made = super().__new__(cls)
        made._output_queue = deque()
        made._head_sent = 0
        made._output_size = 0
        made._input = bytearray()
        made._cross_thread = deque()
        return made

    # What it is

    @property
    def loop(self) -> Any:
        """The loop that serves it, or served it last; None before it has one."""
        return self._loop_kept

    @property
    def closing(self) -> bool:  # type: ignore[override]
        """True after `close` or `abort`, and when the connection is gone."""
        return self._close_wanted or self._has_gone

    @property
    def output_size(self) -> int:
        """The bytes that wait to be sent. Parts of files do not count."""
        return self._output_size

    @property
    def reading(self) -> bool:
        """False after `pause_reading`, until `resume_reading`; and when there is no more input to come."""
        return not (self._cyncore_paused or self._eof_received or self.closing)

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
        if not (name.endswith(("_deadline", "_water")) or name in ("framing", "max_output")):
            super().__setattr__(name, value)
            return
        self._check_thread(name)
        super().__setattr__(name, value)
        if name == "framing":
            check(value)
            self._searched = 0
            if not self._cutting:
                self._cut_later()
        elif name.endswith("_deadline"):
            self._deadline_changed()

    # What the layers above use

    def _adopt(self, loop: Any) -> None:
        """The stream belongs to ``loop`` from now on; its socket comes later, with `_open`."""
        self._loop_kept = loop

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

    def _note_peer(self, addr: Any) -> None:
        """``addr`` is the address of the peer."""
        self.addr = addr

    def _ready(self) -> None:
        """The connection is ready: tells the program, and sends what has waited for that."""
        if self._has_gone:
            return
        self.connected = True
        self._step = None
        self._cyncore_interest_changed()
        slot = None if self._cyncore_loop is None else self._cyncore_loop._slots.get(self._fileno)
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

    def _set_step(self, step: Any, wants: int = 0) -> None:
        self._step = step
        self._step_wants = wants
        self._cyncore_interest_changed()

    def _encrypted(self) -> None:
        """A session reads and writes the descriptor from now on: nothing passes by it any more."""

    def _hold_input(self, on: bool = True) -> None:
        """Takes no input, until TLS has begun."""
        self._input_held = on
        self._cyncore_interest_changed()

    def _without_input(self) -> None:
        """There is no input, and no end of it to be told."""
        self._eof_received = self._eof_told = True
        self._cyncore_interest_changed()

    def _flush_now(self) -> bool:
        """Sends what the socket takes now. Returns True if nothing waits any more."""
        if self.connected and self._step is None:
            self._flush()
        return not self._output_queue

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

    def _note_bytes(self, received: int, sent: int) -> None:
        """What the other parts of a stream call."""
        self._cyncore_note_bytes(received, sent)

    @property
    def _output_waits(self) -> bool:
        return bool(self._output_queue)

    @property
    def _is_gone(self) -> bool:
        return self._has_gone

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

    # Its events

    def _cyncore_interest(self) -> int:
        if self._step is not None:
            return self._step_wants
        wants = 0
        if self._session_wants_write:  # what waits to be read would come as an event again and again
            wants = WRITE
        elif self._close_wanted:
            wants = 0 if self._eof_received else READ
        elif not (self._cyncore_paused or self._eof_received or self._cut_queued or self._cutting or self._input_held):
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
        self._cyncore_interest_changed()

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
        self._cyncore_interest_changed()

    def _on_close(self) -> None:
        """The kernel reports a hang-up, or an error."""
        if self._step is not None:
            self._step(READ | WRITE)
            return
        error = self._error or self._socket_error()
        is_behind = self._cutting or self._cut_queued  # the program is told when it has taken what came before
        if error is not None and is_behind and not self._close_wanted:
            self._lost(error)
            self._cyncore_loop._slots[self._fileno].hold()
            return
        if error is None and not (self._eof_told or self._close_wanted):  # both ends were closed, after the last byte
            self._eof_received = True
            if self._cyncore_paused or is_behind:
                self._eof_sent = True  # nothing can be sent any more: `_tell_eof` is followed by the end
                self._cyncore_loop._slots[self._fileno].hold()
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

    # How it closes

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
        self._cyncore_interest_changed()

    def abort(self) -> None:
        """Closes the connection now, and drops what is queued. Does nothing when it is gone already."""
        self._check_thread("abort")
        self._end(None)

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
