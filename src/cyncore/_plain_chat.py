# SPDX-License-Identifier: MIT
"""What an `async_chat` does, on nothing but its attributes: the part that both engines share.

The engine in plain Python is built on this module. The compiled engine uses it for a class that has one of these
attributes, or a `get_terminator`, of its own: its C code would not see what such a class does.

No function here looks up a name on a channel that the old modules do not have, except the public `max_incoming`,
`max_outgoing` and `gather_pushes`: a program may have any other name for purposes of its own.
"""

from __future__ import annotations

import sys

from ._rules import LimitExceeded as LimitExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any
else:
    Any = object

_HEAP_TYPE = 1 << 9  # among the flags of a class that is none in C
_SIZE = 65536  # bytes that one call reads or sends where the class does not set a number
MAX_PIECES = 64  # items of the queue that are sent in one call
DROPPED = -1  # the size of a piece that is longer than `max_incoming`


class Piece:
    """The piece of input that is being delivered."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0  # bytes delivered since the last terminator, or DROPPED: the rest of it is dropped

    def ended(self) -> None:
        """A piece is whole, and is about to be delivered."""


class Sending:
    """How a channel's queue is sent."""

    __slots__ = ("blocked", "joins", "leaving")

    def __init__(self, leaving: bool = False) -> None:
        self.leaving = leaving  # the channel is being closed, so that errors are not reported
        self.joins = False  # several items leave in one call
        self.blocked = False  # the socket did not take all that it was offered last


def find_prefix_at_end(haystack: bytes, needle: bytes) -> int:
    """Returns how many bytes at the end of ``haystack`` are the beginning of ``needle``, but not all of it."""
    for length in range(len(needle) - 1, 0, -1):
        if haystack.endswith(needle[:length]):
            return length
    return 0


def wants_more(error: OSError) -> bool:
    """Returns True if a TLS socket has to read or write something of its own first."""
    return type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")


def size_setting(channel: Any, name: str) -> Any:
    """Looks up a number of bytes. TypeError if it is something else."""
    size = getattr(channel, name)
    if not hasattr(size, "__index__"):
        raise TypeError(f"{type(channel).__qualname__}.{name} is {size!r}: a number of bytes is wanted")
    return size


def limit_of(channel: Any, name: str) -> int | None:
    """Looks up `max_incoming` or `max_outgoing`. None: there is no limit.

    The old module had no such names, so whatever is not a number is an attribute of the program's own, or its method.
    """
    try:
        limit = getattr(channel, name)
    except Exception:  # out of a property of the program's, which has nothing to do with limits
        return None
    is_number = isinstance(limit, (int, float)) and not isinstance(limit, bool)  # 1e6 is one as well
    return int(min(limit, sys.maxsize)) if is_number and limit >= 0 else None


def gathers_pushes(channel: Any) -> bool:
    """Looks up `gather_pushes`. Whatever is not True is no option, but the program's own, as in `limit_of`."""
    try:
        return channel.gather_pushes is True
    except Exception:  # as in limit_of()
        return False


def settings_of(kind: Any, flags: tuple[int, int, int, int]) -> tuple[Any, ...]:
    """What the compiled engine needs to know of the settings of a class.

    These are `ac_in_buffer_size`, `ac_out_buffer_size`, `max_incoming` and `max_outgoing` (-1: no limit), and then
    those of its ``flags`` that hold: `gather_pushes` is true; a setting is perhaps a property, which is read from each
    channel; the class, or `dispatcher`, has a `send` in Python; a `__getattribute__` may answer with anything.
    """
    sizes = [getattr(kind, name, None) for name in ("ac_in_buffer_size", "ac_out_buffer_size")]
    limits = [limit_of(kind, name) for name in ("max_incoming", "max_outgoing")]
    options = [getattr(kind, name, None) for name in ("max_incoming", "max_outgoing", "gather_pushes")]
    holds = (
        gathers_pushes(kind),
        any(size is not None and not isinstance(size, int) for size in sizes)
        or any(hasattr(type(value), "__get__") for value in options),
        any("send" in vars(base) and base.__flags__ & _HEAP_TYPE for base in kind.__mro__),
        kind.__getattribute__ is not object.__getattribute__,
    )
    found = 0
    for flag, held in zip(flags, holds, strict=True):
        found |= flag if held else 0
    return (
        *(size if isinstance(size, int) else _SIZE for size in sizes),
        *(-1 if limit is None else limit for limit in limits),
        found,
    )


def limit_exceeded(channel: Any, what: str, limit: int) -> None:
    """Calls handle_error with a `LimitExceeded` being handled."""
    try:
        raise LimitExceeded(f"{channel!r} fd {channel._fileno}: {what} {limit} bytes")
    except LimitExceeded:
        channel.handle_error()


# Input


def read(channel: Any, piece: Piece, call_found: Callable[[Any], None] | None = None) -> None:
    """Receives once, and delivers what came.

    ``call_found`` calls `found_terminator` of the channel; None: it is called without further ado.
    """
    was_open = channel._fileno is not None
    try:
        data = channel.recv(size_setting(channel, "ac_in_buffer_size"))
    except BlockingIOError:
        return
    except OSError as error:
        if not wants_more(error):
            channel.handle_error()
        return
    if isinstance(data, str) and channel.use_encoding:
        data = data.encode(channel.encoding)
    channel.ac_in_buffer = channel.ac_in_buffer + data
    deliver(channel, piece, was_open, call_found)


def deliver(channel: Any, piece: Piece, was_open: bool, call_found: Callable[[Any], None] | None = None) -> None:
    """Delivers the input, until nothing is left of it but, perhaps, the beginning of a terminator.

    ``was_open``: the channel was open before. If it is closed now, a handler has closed it, and no other is called.
    """
    while channel.ac_in_buffer and not (was_open and channel._fileno is None):
        terminator = channel.get_terminator()
        if isinstance(terminator, (bytes, bytearray, memoryview)):
            terminator = bytes(terminator)  # a class of the program's may say that it is true and empty
        if not terminator:
            _collect(channel, piece, channel.ac_in_buffer, False)
            channel.ac_in_buffer = b""
            continue
        if isinstance(terminator, int):
            ended: bool | None = _deliver_counted(channel, piece, terminator)
        elif isinstance(terminator, bytes):
            ended = _deliver_line(channel, piece, terminator)
            if ended is None:
                return
        else:
            raise TypeError(f"{channel!r}: a terminator is bytes, a number or None, not {terminator!r}")
        if ended and not (was_open and channel._fileno is None):
            _piece_ended(channel, piece, call_found)


def piece_follows(channel: Any) -> bool:
    """Returns True if `ac_in_buffer` holds a complete piece."""
    terminator = channel.get_terminator()
    if not terminator:
        return False
    if isinstance(terminator, int):
        return 0 < terminator <= len(channel.ac_in_buffer)
    return isinstance(terminator, (bytes, bytearray, memoryview)) and bytes(terminator) in channel.ac_in_buffer


def _deliver_counted(channel: Any, piece: Piece, count: int) -> bool:
    """One step of `deliver` for a terminator that is a number of bytes. Returns True if the piece has ended."""
    if count < 0:
        raise ValueError(f"{channel!r}: a terminator counts bytes, from 0 on: {count!r}")
    size = len(channel.ac_in_buffer)
    if size < count:
        _collect(channel, piece, channel.ac_in_buffer, False)
        channel.ac_in_buffer = b""
        channel.terminator = channel.terminator - size
        return False
    _collect(channel, piece, channel.ac_in_buffer[:count], False)
    channel.ac_in_buffer = channel.ac_in_buffer[count:]
    channel.terminator = 0
    return True


def _deliver_line(channel: Any, piece: Piece, terminator: bytes) -> bool | None:
    """One step of `deliver` for a terminator of bytes. Returns True if the piece has ended.

    None: what is left may be the beginning of a terminator.
    """
    size = len(channel.ac_in_buffer)
    at = channel.ac_in_buffer.find(terminator)
    if at >= 0:
        if at:
            _collect(channel, piece, channel.ac_in_buffer[:at], True)
        channel.ac_in_buffer = channel.ac_in_buffer[at + len(terminator) :]
        return True
    held = find_prefix_at_end(channel.ac_in_buffer, terminator)
    if held:
        if held != size:
            _collect(channel, piece, channel.ac_in_buffer[:-held], True)
            channel.ac_in_buffer = channel.ac_in_buffer[-held:]
        return None
    _collect(channel, piece, channel.ac_in_buffer, True)
    channel.ac_in_buffer = b""
    return False


def _collect(channel: Any, piece: Piece, data: bytes, counts: bool) -> None:
    """Delivers a part of a piece. ``counts``: `max_incoming` limits the piece, which ends with bytes."""
    if piece.size == DROPPED:
        return
    limit = limit_of(channel, "max_incoming")
    if counts and limit is not None and piece.size + len(data) > limit:
        piece.size = DROPPED
        del channel.incoming[:]
        limit_exceeded(channel, "input without a terminator, max_incoming", limit)
        return
    piece.size = piece.size + len(data) if counts else 0
    channel.collect_incoming_data(data)


def _piece_ended(channel: Any, piece: Piece, call_found: Callable[[Any], None] | None) -> None:
    """Calls found_terminator, unless the piece was longer than `max_incoming`."""
    was_dropped = piece.size == DROPPED
    piece.size = 0
    if was_dropped:
        return
    piece.ended()
    if call_found is None:
        channel.found_terminator()
    else:
        call_found(channel)


# Output


def put(channel: Any, item: Any) -> None:
    """Queues bytes, a producer or None, and sends what the socket takes now."""
    channel.producer_fifo.append(item)
    if item is not None:
        channel.initiate_send()


def size_of(item: Any) -> int:
    """Returns how many bytes an item of the queue counts for; 0 if it is a producer."""
    return len(item) if isinstance(item, bytes) else 0


def count_waiting(channel: Any) -> int:
    """Returns the bytes that are queued, without those that producers have not given yet."""
    return sum(map(size_of, list(channel.producer_fifo)))


def has_room(channel: Any, item: Any, count: Callable[[Any], int] = count_waiting) -> bool:
    """Returns True if the item may be queued. If not, the program has been told. ``count``: does `count_waiting`."""
    limit = limit_of(channel, "max_outgoing")
    if limit is None or not isinstance(item, bytes) or count(channel) + len(item) <= limit:
        return True
    channel.initiate_send()
    if count(channel) + len(item) <= limit:
        return True
    limit_exceeded(channel, "output that waits, max_outgoing", limit)
    return False


def send(channel: Any, sending: Sending, connected: bool, closes: bool) -> bool:
    """Sends what the socket takes now of the queue, `ac_out_buffer_size` bytes at most.

    ``connected``: there was a connection when this was queued, whatever `connected` says now. ``closes``: the channel
    may be closed. Returns True if a None came next, so that the caller is to call `handle_close`.
    """
    fifo = channel.producer_fifo
    was_open = channel._fileno is not None
    has_sent = False
    room = size_setting(channel, "ac_out_buffer_size")
    while fifo and room > 0 and (channel.connected or connected) and not (was_open and channel._fileno is None):
        first = fifo[0]
        if first is None:
            # After something was sent the close waits for a write event, since there may be more to read before.
            if not closes or (has_sent and not gathers_pushes(channel)):
                return False
            del fifo[0]
            return True
        if not refill_step(channel):
            continue
        first = fifo[0]
        joins = sending.joins and not sending.blocked  # pieces are not joined again and again while there is no room
        data = _joined(fifo, room) if joins else first[:room]
        try:
            count = channel.send(data)
        except OSError as error:
            if not sending.leaving and not wants_more(error):
                channel.handle_error()
            return False
        if sending.joins:
            sending.blocked = count < len(data)
        if not count or not fifo or fifo[0] is not first:
            return False  # there is no room, or send() has closed the channel, or changed the queue
        _drop(fifo, count)
        has_sent = True
        if count < len(data):
            return False
        room -= count
    return False


def _joined(fifo: Any, room: int) -> bytes:
    pieces = []
    for place in range(min(len(fifo), MAX_PIECES)):  # by index, since a signal handler may push meanwhile
        item = fifo[place]
        if room <= 0 or not isinstance(item, (bytes, bytearray, memoryview)):
            break
        pieces.append(item[:room])
        room -= len(item)
    return b"".join(pieces)


def _drop(fifo: Any, count: int) -> None:
    """Removes so many bytes from the front of a queue."""
    while count > 0 and fifo:
        first = fifo[0]
        if count < len(first):
            fifo[0] = first[count:]
            return
        count -= len(first)
        del fifo[0]


def refill_step(channel: Any) -> bool:
    """Takes the front of the queue one step nearer to bytes. Returns True if bytes were there already."""
    fifo = channel.producer_fifo
    first = fifo[0] if fifo else None
    if first is None:
        return False
    if isinstance(first, str) and not channel.use_encoding:
        raise TypeError(f"{channel!r}: str is queued to be sent, and use_encoding is not set: {first!r}")
    if isinstance(first, str):
        fifo[0] = first.encode(channel.encoding)
    elif isinstance(first, (bytes, bytearray, memoryview)):
        if len(first):
            return True
        del fifo[0]
    else:
        most = channel.ac_out_buffer_size
        try:
            data = first[:most]
        except TypeError:
            data = first.more()
            if data:
                fifo.appendleft(data if isinstance(data, (bytes, bytearray, memoryview, str)) else _as_bytes(data))
            elif fifo and fifo[0] is first:
                del fifo[0]
            return False
        rest, data = first[most:], _as_bytes(data)
        if fifo and fifo[0] is first:
            del fifo[0]
            if len(rest):
                fifo.appendleft(rest)
            if data:
                fifo.appendleft(data)
    return False


def _as_bytes(data: Any) -> bytes:
    return bytes(memoryview(data))
