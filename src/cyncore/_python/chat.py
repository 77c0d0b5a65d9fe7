# SPDX-License-Identifier: MIT
"""ChatChannel in plain Python: when what was pushed leaves. The rest is in `_plain_chat`.

The way of an item, from top to bottom: `__put` (which thread queues it), `__put_here` (when it leaves), `__send_queue`
(why the queue is sent, and whether the channel is closed after that), `_plain_chat.send` (which items leave, and how).
The compiled `chat_output` has a table of when an item leaves.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .. import _plain_chat
from .._plain_chat import DROPPED, Piece, Sending, gathers_pushes, limit_of, size_of
from .._rules import not_begun
from .channel import BufferedChannel, timed
from .fifo import Fifo
from .maps import NOT_OURS, SEND_NOW, SENT_LATER

# Why the queue is sent.
PROGRAM: Final = "the program pushes, calls initiate_send, or is told that the socket has room"
TICK_END: Final = "the handlers of this tick, or of the input that came in one read, have returned"
BEFORE_ACTION: Final = "the program does something that must not happen before its output has left"


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


def _count_waiting(channel: Any) -> int:
    fifo = channel.producer_fifo
    return fifo.waiting if isinstance(fifo, Fifo) else _plain_chat.count_waiting(channel)


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

    if TYPE_CHECKING:  # async_chat's

        def found_terminator(self) -> None: ...

    # The names of what follows are private to this class: a program may have methods and attributes of any name.

    __piece: Any = _Made(Piece)
    __input_depth = 0  # of the tick that delivers input, while a found_terminator is running
    __is_held = False  # output is held back until the next found_terminator
    __held_in_call = False  # some of it was pushed by the found_terminator that is running

    __fifo: Any = None  # the queue, or what a program has put in its place
    __flush_queued = False  # output waits for the end of the tick, or for the next found_terminator
    __is_sending = False
    __sending: Any = _Made(Sending)

    __cross_thread_items: Any = _Made(deque)  # what other threads have pushed: (item, bytes pushed until then)
    __cross_thread_taken = 0  # of these bytes, those that the loop's thread has queued

    __socket: Any = None
    __connected = False

    def _start_buffers(self) -> None:
        self.ac_in_buffer = b""
        self.incoming = []
        self.producer_fifo = Fifo()

    # What the program may be about to do to the socket, or to the queue, comes after what it has pushed.

    @property
    def producer_fifo(self) -> Any:
        if self.__flush_queued:
            self.__flush(BEFORE_ACTION)
        if self.__fifo is None:
            self.__fifo = Fifo()
        return self.__fifo

    @producer_fifo.setter
    def producer_fifo(self, value: Any) -> None:
        if self.__unsent():
            self.__flush(BEFORE_ACTION)
        self.__fifo = value

    @producer_fifo.deleter
    def producer_fifo(self) -> None:
        self.producer_fifo = None

    @property
    def socket(self) -> Any:
        if self.__unsent():
            self.__flush(BEFORE_ACTION)
        return self.__socket

    @socket.setter
    def socket(self, value: Any) -> None:
        if self.__unsent():
            self.__flush_leaving()
        self.__socket = value

    @socket.deleter
    def socket(self) -> None:
        self.socket = None

    @property
    def connected(self) -> bool:
        return self.__connected

    @connected.setter
    def connected(self, value: Any) -> None:
        if self.__unsent() and not value:
            self.__flush_leaving()
        self.__connected = value  # also if it is no bool: a program may put a time there

    @connected.deleter
    def connected(self) -> None:
        self.connected = False

    def del_channel(self, map: Any = None) -> None:
        if self.__unsent():
            self.__flush_leaving()
        super().del_channel(map)

    def _cyncore_plain_socket(self) -> Any:
        return self.__socket if type(self).socket is ChatChannel.socket else self.socket

    def __has_own_queue(self) -> bool:
        """Returns True if the class has a `producer_fifo` of its own."""
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
        if self.__piece.size == DROPPED and term != self.terminator:
            self.__piece.size = 0  # a handler that was told of a long piece sets how the input goes on after it
        self.terminator = term
        if self.__held_in_call and self.__input_depth and not self.__piece_follows():
            self.__send_held()

    def get_terminator(self) -> Any:
        """What `set_terminator` was told; of a number, what is left of it."""
        try:
            return self.terminator
        except AttributeError:
            raise AttributeError(f"{self!r} has no terminator: set_terminator() was not called") from None

    def handle_read(self) -> None:
        """Takes what came and hands it on, piece by piece, up to each terminator."""
        try:
            _plain_chat.read(self, self.__piece, ChatChannel.__call_found)
        finally:
            if self.__is_held:
                self.__send_held()

    def __call_found(self) -> None:
        """Calls `found_terminator`, during which more input may be there already."""
        self.__input_depth = self._cyncore_loop._turn.depth if self._cyncore_loop is not None else 0
        self.__held_in_call = False
        if (deadlines := timed(self)) is not None:
            deadlines.piece_at = time.monotonic()
        try:
            self.found_terminator()
        finally:
            self.__input_depth = 0

    def __piece_follows(self) -> bool:
        """Returns True if found_terminator is certain to be called again as soon as the present call returns.

        It is not in a loop that runs inside that call, since such a loop may run for long.
        """
        loop = self._cyncore_loop
        if loop is None or not 0 < self.__input_depth == loop._turn.depth:
            return False
        return type(self).get_terminator is ChatChannel.get_terminator and _plain_chat.piece_follows(self)

    def __send_held(self) -> None:
        """Sends what was held back for the next found_terminator, which does not come or has returned."""
        self.__is_held = self.__held_in_call = False
        if self.__flush_queued and not gathers_pushes(self):
            self.__send_queue(TICK_END)

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
    def _cyncore_output(self) -> bool:  # type: ignore[override]
        own = self.__has_own_queue()  # a plain attribute, perhaps
        return bool(self.producer_fifo if own else self.__fifo) and self.__can_write()

    def __can_write(self) -> bool:
        """Returns True if there is a connection, or one to come, or a method of the class's own that may make one."""
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
            self.__put(bytes(data))

    def push_with_producer(self, producer: Any) -> None:
        """Queues an object whose ``more()`` gives the next bytes to send, and empty ones at its end. Else as `push`."""
        self.__put(producer)

    def close_when_done(self) -> None:
        """Calls `handle_close` when everything pushed so far is sent."""
        self.__put(None)

    def __put(self, item: Any) -> None:
        """Queues an item in the thread that runs the loop."""
        loop = self._cyncore_loop
        if loop is None and self._map is None and self.__fifo is None and self.socket is None:
            raise AttributeError(not_begun(self, "async_chat"))
        turn = SEND_NOW if loop is None else loop._sending()
        if loop is not None and turn == NOT_OURS:
            self.__cross_thread_put(loop, item)
            return
        try:
            if turn == SEND_NOW:
                self.__cross_thread_take(turn)  # what another thread pushed before comes first
            self.__put_here(item, turn)
        finally:
            if loop is not None and turn == SEND_NOW:
                loop._sent()

    def __put_here(self, item: Any, turn: str, wait_always: bool = False) -> None:
        """Queues an item, and sends it unless it is to wait for more output. ``wait_always``: nobody blocks for it."""
        loop = self._cyncore_loop
        if not self.__fits(item) and not _plain_chat.has_room(self, item, _count_waiting):
            return
        may_wait = turn == SENT_LATER and self.connected and self.__sends_itself()
        waits = may_wait and (wait_always or self.__is_to_wait(item))
        (self.__fifo if self.__flush_queued else self.producer_fifo).append(item)
        if loop is None or not waits:
            if item is not None:
                self.initiate_send()
        elif not self.__flush_queued:
            self.__flush_queued = True
            loop._gather(self, self.__flush_at_end)

    def __is_to_wait(self, item: Any) -> bool:
        """Returns True if what a handler pushes now waits for more output."""
        size, most = size_of(item), self.ac_out_buffer_size
        if self.__is_held and (not size or self.__queued() + size > most):
            self.__send_held()  # with this item it could not leave in one call
        if 0 < size <= most and (self.__flush_queued or not self.__fifo) and self.__piece_follows():
            self.__is_held = self.__held_in_call = True
            return True
        return gathers_pushes(self)

    def __fits(self, item: Any) -> bool:
        """Returns True if the item is certain to have room. Does not read `producer_fifo`, which would send."""
        limit = limit_of(self, "max_outgoing")
        if limit is None or not isinstance(item, bytes):
            return True
        return isinstance(self.__fifo, Fifo) and self.__fifo.waiting + len(item) <= limit

    def __queued(self) -> int:
        """Returns the bytes that wait. Does not read `producer_fifo`, which would send."""
        return sum(map(size_of, list(self.__fifo or ())))

    def _cyncore_kept_output(self) -> int:
        """The bytes that wait to be sent."""
        return self.__queued() + self.__cross_thread_total() - self.__cross_thread_taken

    def __cross_thread_put(self, loop: Any, item: Any) -> None:
        """Passes an item to the thread that runs the loop, and wakes it. Called in any other thread."""
        size = size_of(item)
        limit = limit_of(self, "max_outgoing")
        total = self.__cross_thread_total()
        if limit is not None and size and total - self.__cross_thread_taken + size > limit:
            loop.call_soon_threadsafe(_plain_chat.limit_exceeded, self, "output that waits, max_outgoing", limit)
            return
        self.__cross_thread_items.append((item, total + size))
        loop.call_soon_threadsafe(self.__take_cross_thread)

    def __cross_thread_total(self) -> int:
        try:
            return int(self.__cross_thread_items[-1][1])
        except IndexError:  # the loop's thread has taken it all
            return self.__cross_thread_taken

    def __cross_thread_pop(self) -> Any:
        item, self.__cross_thread_taken = self.__cross_thread_items.popleft()
        return item

    def __take_cross_thread(self) -> None:
        """Called by the loop, in its thread, after other threads have pushed."""
        loop = self._cyncore_loop
        turn = SEND_NOW if loop is None else loop._sending()
        if loop is not None and turn == NOT_OURS:  # pragma: no cover - it has moved to a loop that another thread runs
            loop.call_soon_threadsafe(self.__take_cross_thread)
            return
        try:
            self.__cross_thread_take(turn)
        except Exception:  # a producer's, perhaps
            self.handle_error()
        finally:
            if loop is not None and turn == SEND_NOW:  # pragma: no cover - takes a loop that runs inside a flush
                loop._sent()

    def __cross_thread_take(self, turn: str) -> None:
        while self.__cross_thread_items:
            self.__put_here(self.__cross_thread_pop(), turn, True)

    def __sends_itself(self) -> bool:
        """Returns True if the engine sends the queue, and no code of the program's takes part in that."""
        own = type(self).initiate_send is not ChatChannel.initiate_send
        return not own and not self.__has_own_queue() and "initiate_send" not in getattr(self, "__dict__", ())

    def __unsent(self) -> bool:
        """Returns True if the engine has put off sending something."""
        return (self.__flush_queued or bool(self.__cross_thread_items)) and not self.__is_sending

    def __flush(self, why: str) -> None:
        """Sends what waits for the end of the tick or comes from other threads."""
        self.__flush_queued = False
        if (
            self._cyncore_loop is not None and self._cyncore_loop._is_copy()
        ):  # pragma: no cover - a thread forks while another serves
            self.__fifo = None  # the process was forked, and the parent sends it
            return
        while self.__cross_thread_items:
            self.producer_fifo.append(self.__cross_thread_pop())  # flush_queued is not set here
        self.__send_queue(why)
        while why == BEFORE_ACTION and self.__fifo and self.__fifo[0] is not None and not self.__sending.blocked:
            before = len(self.__fifo), self.__fifo[0]
            self.__send_queue(why)
            if self.__fifo and before == (len(self.__fifo), self.__fifo[0]):
                break

    def __flush_at_end(self) -> None:
        """Called by the loop at the end of a tick."""
        if self.__flush_queued:  # else it has left already
            self.__flush(TICK_END)

    def __flush_leaving(self) -> None:
        """Does `__flush` for a channel that is being closed, so that errors of the socket are not reported."""
        self.__sending.leaving = True
        try:
            self.__flush(BEFORE_ACTION)
        except Exception:  # raised by a producer, perhaps: the channel is closed all the same
            self.handle_error()
        finally:
            self.__sending.leaving = False

    def send(self, data: Any) -> int:
        """Sends what the socket takes now of ``data`` (bytes-like), past the queue. Else as `dispatcher.send`."""
        if not self.__sending.leaving:
            return super().send(data)
        try:
            return int(self.socket.send(data))
        except OSError:  # it is being closed
            return 0

    def handle_write(self) -> None:
        """Sends more of the queue."""
        self.initiate_send()

    def initiate_send(self) -> None:
        """Sends what the socket takes now of the queue: at most `ac_out_buffer_size` bytes."""
        self.__send_queue(PROGRAM)

    def __send_queue(self, why: str) -> None:
        """Sends the queue, or what one call takes of it, and closes the channel where a None says so."""
        if self.__is_sending:
            return  # a send() or a producer of the program's has called this: the call in progress goes on
        self.__flush_queued = False
        self.__is_sending = True
        # What was queued for later was queued while there was a connection, whatever `connected` says now.
        connected = why != PROGRAM
        closes = why == PROGRAM or (why == TICK_END and gathers_pushes(self))
        self.__sending.joins = type(self).send is ChatChannel.send and "send" not in getattr(self, "__dict__", ())
        try:
            closes = _plain_chat.send(self, self.__sending, connected, closes)
        finally:
            self.__is_sending = False
        if closes and not self.__sending.leaving:
            self.handle_close()

    def refill_buffer(self) -> None:
        """Asks the producers at the front of the queue, so that it begins with bytes if there are any."""
        _plain_chat.refill_step(self)
