# SPDX-License-Identifier: MIT
"""ChatChannel in plain Python: when what is pushed leaves; the rest is `_plain_chat`'s."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from .. import _plain_chat
from .._plain_chat import size_of
from .channel import BufferedChannel
from .fifo import Fifo
from .maps import NOT_OURS as ELSEWHERE
from .maps import SEND_NOW as NOW
from .maps import SENT_LATER as LATER


class _Made:
    """An attribute that is made on first use, for a subclass that never calls ``__init__``."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, channel: Any, owner: type) -> Any:
        if channel is None:
            return self
        made = channel.__dict__[self._name] = self._make()
        return made


def _tell(channel: Any) -> None:
    """Calls `found_terminator`, during which more input may be there already."""
    channel._input_depth = channel._loop._turn.depth if channel._loop is not None else 0
    channel._held_now = False
    try:
        channel.found_terminator()
    finally:
        channel._input_depth = 0


def _waiting(channel: Any) -> int:
    fifo = channel.producer_fifo
    return fifo.waiting if isinstance(fifo, Fifo) else _plain_chat.waiting(channel)


def _queued(channel: Any) -> int:
    """Bytes that wait, without a look at `producer_fifo`, which sends what is gathered."""
    return sum(map(size_of, list(channel._fifo or ())))


class ChatChannel(BufferedChannel):
    """The engine's part of `asynchat.async_chat`."""

    ac_in_buffer: Any = b""
    incoming: Any = _Made(list)
    terminator: Any
    use_encoding: Any = 0
    encoding = "latin-1"
    max_outgoing: int | None = None
    gather_pushes: Any = False
    ac_out_buffer_size: int

    _collected = 0  # bytes handed on since the last terminator; -1: the rest of the line is dropped
    _gathered = False  # does output wait for the end of the tick, or for the next piece of input?
    _held_back = False  # for the latter?
    _held_now = False  # was some of it pushed by the present found_terminator?
    _input_depth = 0  # of the tick whose input is being handed on, in a found_terminator
    _fifo: Any = None
    _leaving = False
    _is_sending = False
    _handed: Any = _Made(deque)  # what other threads have pushed, each with the bytes that were handed over until then
    _taken = 0  # of these, the bytes that this thread has taken
    _blocked = False  # did the socket not take all of it the last time?
    _socket: Any = None
    _connected = False

    def _start_buffers(self) -> None:
        self.ac_in_buffer = b""
        self.incoming = []
        self.producer_fifo = Fifo()

    # What the program may be about to do to the socket, or to the queue, comes after what it has pushed.

    @property
    def producer_fifo(self) -> Any:
        if self._gathered:
            self._flush()
        if self._fifo is None:
            self._fifo = Fifo()
        return self._fifo

    @producer_fifo.setter
    def producer_fifo(self, value: Any) -> None:
        if self._unsent():
            self._flush()
        self._fifo = value

    @property
    def socket(self) -> Any:
        if self._unsent():
            self._flush()
        return self._socket

    @socket.setter
    def socket(self, value: Any) -> None:
        if self._unsent():
            self._flush(True)
        self._socket = value

    @property
    def connected(self) -> bool:
        return self._connected

    @connected.setter
    def connected(self, value: Any) -> None:
        if self._unsent() and not value:
            self._flush(True)
        self._connected = bool(value)

    def del_channel(self, map: Any = None) -> None:
        if self._unsent():
            self._flush(True)
        super().del_channel(map)

    def _plain_socket(self) -> Any:
        return self._socket if type(self).socket is ChatChannel.socket else self.socket

    def _has_own_queue(self) -> bool:
        """Has the class an attribute in the way of `producer_fifo`?"""
        return type(self).producer_fifo is not ChatChannel.producer_fifo

    # Input

    def set_terminator(self, term: Any) -> None:
        """Sets what ends the next piece of input: bytes (and str where `use_encoding` is set); a number of bytes; or,
        for input without an end, None, 0 or empty bytes. ValueError for a number below zero.
        """
        if isinstance(term, str) and self.use_encoding:
            term = term.encode(self.encoding)
        elif isinstance(term, int) and term < 0:
            raise ValueError(f"a terminator counts bytes, from 0 on: {term!r}")
        if self._collected < 0 and term != self.terminator:
            self._collected = 0  # who has refused a line has found another way to go on
        self.terminator = term
        if self._held_now and self._input_depth and not self._piece_follows():
            self._send_held()

    def get_terminator(self) -> Any:
        """What `set_terminator` was told; of a number, what is left of it."""
        return self.terminator

    def handle_read(self) -> None:
        """Takes what came and hands it on, piece by piece, up to each terminator."""
        try:
            _plain_chat.read(self, _tell)
        finally:
            if self._held_back:
                self._send_held()

    def _piece_follows(self) -> bool:
        """Is it certain that `found_terminator` is called again as soon as the present call of it returns?

        Not in a loop that runs within it, which may last.
        """
        loop = self._loop
        if loop is None or not 0 < self._input_depth == loop._turn.depth:
            return False
        return type(self).get_terminator is ChatChannel.get_terminator and _plain_chat.piece_follows(self)

    def _send_held(self) -> None:
        """What was held back for a piece of input that has come, or does not come any more."""
        self._held_back = self._held_now = False
        if self._gathered and not self.gather_pushes:
            self._send(True, False)

    def _collect_incoming_data(self, data: bytes) -> None:
        """Appends ``data`` to `incoming`."""
        self.incoming.append(data)

    def _get_data(self) -> bytes:
        """What `incoming` holds, joined; it is empty then."""
        data = b"".join(self.incoming)
        del self.incoming[:]
        return data

    def discard_buffers(self) -> None:
        """Forgets what was received and what is queued to be sent."""
        self.ac_in_buffer = b""
        del self.incoming[:]
        self.producer_fifo.clear()

    # Output

    @property
    def _output(self) -> bool:  # type: ignore[override]
        own = self._has_own_queue()  # a plain attribute, perhaps
        return bool(self.producer_fifo if own else self._fifo) and self._can_write()

    def _can_write(self) -> bool:
        """Is there a connection, or one to come, or has the class methods of its own that may make one?"""
        return bool(self.connected or self.connecting) or any(
            name in getattr(self, "__dict__", ()) or getattr(type(self), name) is not getattr(ChatChannel, name)
            for name in ("initiate_send", "handle_write", "handle_write_event", "writable")
        )

    def push(self, data: Any) -> None:
        """Sends ``data`` (bytes, bytearray or memoryview).

        It leaves at once, or with what the last `found_terminator` pushes where several pieces of input came together;
        with `gather_pushes`, when all handlers of this tick have run.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"push() sends bytes, a bytearray or a memoryview, not {type(data)!r}")
        if len(data):
            self._put(bytes(data))

    def push_with_producer(self, producer: Any) -> None:
        """Queues an object whose ``more()`` gives the next bytes to send, and empty ones at its end. Else as `push`."""
        self._put(producer)

    def close_when_done(self) -> None:
        """Calls `handle_close` when everything pushed so far is sent."""
        self._put(None)

    def _put(self, item: Any) -> None:
        loop = self._loop
        when = NOW if loop is None else loop._sending()
        if loop is not None and when == ELSEWHERE:
            self._hand_over(loop, item)
            return
        try:
            if when == NOW:
                self._put_handed(when)  # a thread's earlier pushes come before its later ones, wherever the loop is
            self._put_here(item, when)
        finally:
            if loop is not None and when == NOW:
                loop._sent()

    def _put_here(self, item: Any, when: str, gathers: bool = False) -> None:
        """``gathers``: more may follow, and nobody waits for this."""
        loop = self._loop
        if not self._fits(item) and not _plain_chat.has_room(self, item, _waiting):
            return
        later = when == LATER and self.connected and self._sends_itself() and (gathers or self._is_to_wait(item))
        (self._fifo if self._gathered else self.producer_fifo).append(item)
        if loop is None or not later:
            if item is not None:
                self.initiate_send()
        elif not self._gathered:
            self._gathered = True
            loop._gather(self)

    def _is_to_wait(self, item: Any) -> bool:
        """Is what a handler of the loop pushes now to wait, for more of it?"""
        size, most = size_of(item), self.ac_out_buffer_size
        if self._held_back and (not size or _queued(self) + size > most):
            self._send_held()  # with this it could not leave in one call
        if 0 < size <= most and (self._gathered or not self._fifo) and self._piece_follows():
            self._held_back = self._held_now = True
            return True
        return bool(self.gather_pushes)

    def _fits(self, item: Any) -> bool:
        """May it surely be queued? Without a look at `producer_fifo`, which sends what is gathered."""
        most = self.max_outgoing
        if most is None or not isinstance(item, bytes):
            return True
        return isinstance(self._fifo, Fifo) and self._fifo.waiting + len(item) <= most

    def _hand_over(self, loop: Any, item: Any) -> None:
        """To the thread that runs the loop."""
        size = size_of(item)
        most = self.max_outgoing
        total = self._total()
        if most is not None and size and total - self._taken + size > most:
            loop.call_soon_threadsafe(_plain_chat.too_much, self, "output that waits, max_outgoing", most)
            return
        self._handed.append((item, total + size))
        loop.call_soon_threadsafe(self._take_handed)

    def _total(self) -> int:
        try:
            return int(self._handed[-1][1])
        except IndexError:  # the loop's thread has taken it all
            return self._taken

    def _take_first(self) -> Any:
        item, self._taken = self._handed.popleft()
        return item

    def _take_handed(self) -> None:
        """In the loop's thread: what other threads have pushed."""
        loop = self._loop
        when = NOW if loop is None else loop._sending()
        if loop is not None and when == ELSEWHERE:
            loop.call_soon_threadsafe(self._take_handed)
            return
        try:
            self._put_handed(when)
        except Exception:  # a producer's, perhaps
            self.handle_error()
        finally:
            if loop is not None and when == NOW:
                loop._sent()

    def _put_handed(self, when: str) -> None:
        while self._handed:
            self._put_here(self._take_first(), when, True)

    def _sends_itself(self) -> bool:
        own = type(self).initiate_send is not ChatChannel.initiate_send
        return not own and not self._has_own_queue() and "initiate_send" not in getattr(self, "__dict__", ())

    def _unsent(self) -> bool:
        return (self._gathered or bool(self._handed)) and not self._is_sending

    def _flush(self, leaving: bool = False, at_end: bool = False) -> None:
        """``leaving``: the channel is being closed, what fails now need not be told. ``at_end``: of the tick."""
        self._gathered = False
        if self._loop is not None and self._loop._is_copy():
            self._fifo = None  # the parent sends it
            return
        while self._handed:
            self.producer_fifo.append(self._take_first())  # `_gathered` is not set here
        self._leaving = leaving
        try:
            self._send(True, at_end and bool(self.gather_pushes))
            while not at_end and self._fifo and self._fifo[0] is not None and not self._blocked:
                before = len(self._fifo), self._fifo[0]
                self._send(True, False)  # what the program does next comes after all of it
                if self._fifo and before == (len(self._fifo), self._fifo[0]):
                    break
        except Exception:
            if not leaving:
                raise
            self.handle_error()  # it is closed all the same
        finally:
            self._leaving = False

    def send(self, data: Any) -> int:
        """Sends what the socket takes now of ``data`` (bytes-like), past the queue. Else as `dispatcher.send`."""
        if not self._leaving:
            return super().send(data)
        try:
            return int(self.socket.send(data))
        except OSError:  # it is being closed
            return 0

    def handle_write(self) -> None:
        """Sends more of the queue."""
        self.initiate_send()

    def initiate_send(self) -> None:
        """Sends what the socket takes now of the queue, at most `ac_out_buffer_size` bytes."""
        self._send(False, True)

    def _send(self, connected: bool, closes: bool) -> None:
        if self._is_sending:
            return  # called by a `send`, or a producer, of the program's: what is under way goes on
        self._gathered = False
        self._is_sending = True
        try:
            self._send_queue(connected, closes)
        finally:
            self._is_sending = False

    def _sending_ends(self) -> None:
        """What handlers push from here on leaves by itself."""
        self._is_sending = False

    def _send_queue(self, connected: bool, closes: bool) -> None:
        own = type(self).send is not ChatChannel.send or "send" in getattr(self, "__dict__", ())
        _plain_chat.send(self, connected, closes, joined=not own)

    def refill_buffer(self) -> None:
        """Asks the producers at the front of the queue, so that it begins with bytes if there are any."""
        _plain_chat.refill(self)
