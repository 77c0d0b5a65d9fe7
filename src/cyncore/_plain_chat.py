# SPDX-License-Identifier: MIT
"""What an `async_chat` does, over nothing but its attributes: the engine in plain Python runs on it, and the compiled
one for a class that has one of these attributes, or a `get_terminator`, of its own.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any
else:
    Any = object

_PIECES = 64  # parts of the queue that are put together at once


class LimitExceeded(Exception):
    """A peer sends a line longer than `max_incoming`, or leaves more than `max_outgoing` bytes unread."""


def find_prefix_at_end(haystack: bytes, needle: bytes) -> int:
    """How many bytes at the end of ``haystack`` are the beginning of ``needle``, which is longer than that."""
    for length in range(len(needle) - 1, 0, -1):
        if haystack.endswith(needle[:length]):
            return length
    return 0


def wants_more(error: OSError) -> bool:
    """Does TLS have to read or write something of its own first?"""
    return type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")


def size_in(channel: Any, name: str) -> Any:
    """How many bytes an attribute says."""
    size = getattr(channel, name)
    if not hasattr(size, "__index__"):
        raise TypeError(f"{type(channel).__qualname__}.{name} is {size!r}: a number of bytes is wanted")
    return size


# Input


def read(channel: Any, told: Callable[[Any], None] | None = None) -> None:
    """Takes what came and hands it on. ``told``: calls `found_terminator`, if it is not just to be called."""
    was_open = channel._fileno is not None
    try:
        data = channel.recv(size_in(channel, "ac_in_buffer_size"))
    except BlockingIOError:
        return
    except OSError as error:
        if not wants_more(error):
            channel.handle_error()
        return
    if isinstance(data, str) and channel.use_encoding:
        data = data.encode(channel.encoding)
    channel.ac_in_buffer = channel.ac_in_buffer + data
    deliver(channel, was_open, told)


def deliver(channel: Any, was_open: bool, told: Callable[[Any], None] | None = None) -> None:
    """Hands on what can be: until nothing is left but, perhaps, the beginning of a terminator.

    ``was_open``: a channel that is closed now was closed meanwhile, and is told nothing more.
    """
    while channel.ac_in_buffer and not (was_open and channel._fileno is None):
        terminator = channel.get_terminator()
        size = len(channel.ac_in_buffer)
        if not terminator:
            _collect(channel, channel.ac_in_buffer, False)
            channel.ac_in_buffer = b""
        elif isinstance(terminator, int):
            _deliver_counted(channel, terminator, size, was_open, told)
        elif isinstance(terminator, (bytes, bytearray, memoryview)):
            if not _deliver_line(channel, bytes(terminator), size, was_open, told):
                return
        else:
            raise TypeError(f"{channel!r}: a terminator is bytes, a number or None, not {terminator!r}")


def piece_follows(channel: Any) -> bool:
    """Is a whole piece in `ac_in_buffer`?"""
    terminator = channel.get_terminator()
    if not terminator:
        return False
    if isinstance(terminator, int):
        return 0 < terminator <= len(channel.ac_in_buffer)
    return isinstance(terminator, (bytes, bytearray, memoryview)) and bytes(terminator) in channel.ac_in_buffer


def _deliver_counted(channel: Any, count: int, size: int, was_open: bool, told: Callable[[Any], None] | None) -> None:
    if count < 0:
        raise ValueError(f"{channel!r}: a terminator counts bytes, from 0 on: {count!r}")
    if size < count:
        _collect(channel, channel.ac_in_buffer, False)
        channel.ac_in_buffer = b""
        channel.terminator = channel.terminator - size
        return
    _collect(channel, channel.ac_in_buffer[:count], False)
    channel.ac_in_buffer = channel.ac_in_buffer[count:]
    channel.terminator = 0
    if was_open <= (channel._fileno is not None):
        _found(channel, told)


def _deliver_line(
    channel: Any, terminator: bytes, size: int, was_open: bool, told: Callable[[Any], None] | None
) -> bool:
    """False: the rest may be the beginning of a terminator."""
    at = channel.ac_in_buffer.find(terminator)
    if at >= 0:
        if at:
            _collect(channel, channel.ac_in_buffer[:at], True)
        channel.ac_in_buffer = channel.ac_in_buffer[at + len(terminator) :]
        if was_open <= (channel._fileno is not None):
            _found(channel, told)
        return True
    held = find_prefix_at_end(channel.ac_in_buffer, terminator)
    if held:
        if held != size:
            _collect(channel, channel.ac_in_buffer[:-held], True)
            channel.ac_in_buffer = channel.ac_in_buffer[-held:]
        return False
    _collect(channel, channel.ac_in_buffer, True)
    channel.ac_in_buffer = b""
    return True


def _collect(channel: Any, data: bytes, line: bool) -> None:
    if channel._collected < 0:
        return  # the rest of a line that was refused
    most = channel.max_incoming
    if line and most is not None and channel._collected + len(data) > most:
        channel._collected = -1
        del channel.incoming[:]
        too_much(channel, "input without a terminator, max_incoming", most)
        return
    channel._collected = channel._collected + len(data) if line else 0
    channel.collect_incoming_data(data)


def _found(channel: Any, told: Callable[[Any], None] | None) -> None:
    refused = channel._collected < 0
    channel._collected = 0
    if refused:
        return
    if told is None:
        channel.found_terminator()
    else:
        told(channel)


def too_much(channel: Any, what: str, most: int) -> None:
    """Tells the channel that a limit is exceeded."""
    try:
        raise LimitExceeded(f"{channel!r} fd {channel._fileno}: {what} {most} bytes")
    except LimitExceeded:
        channel.handle_error()


# Output


def put(channel: Any, item: Any) -> None:
    """Queues bytes, a producer or None, and sends what the socket takes now."""
    channel.producer_fifo.append(item)
    if item is not None:
        channel.initiate_send()


def waiting(channel: Any) -> int:
    """Bytes that are queued, what producers have not given excepted."""
    return sum(map(size_of, list(channel.producer_fifo)))


def has_room(channel: Any, item: Any, count: Callable[[Any], int] = waiting) -> bool:
    """May it be queued? Tells the channel where it may not. ``count``: how many bytes of a channel wait."""
    most = channel.max_outgoing
    if most is None or not isinstance(item, bytes) or count(channel) + len(item) <= most:
        return True
    channel.initiate_send()
    if count(channel) + len(item) <= most:
        return True
    too_much(channel, "output that waits, max_outgoing", most)
    return False


def size_of(item: Any) -> int:
    """Its bytes; none, where it is a producer."""
    return len(item) if isinstance(item, bytes) else 0


def send(channel: Any, connected: bool = False, closes: bool = True, joined: bool = False) -> None:
    """Sends what the socket takes now of the queue, `ac_out_buffer_size` bytes at most.

    ``connected``: it was when this was queued, whatever it is said to be now. ``closes``: where a None comes next, the
    channel is closed. ``joined``: several items leave in one call.
    """
    fifo = channel.producer_fifo
    was_open = channel._fileno is not None
    leaving = getattr(channel, "_leaving", False)
    room = size_in(channel, "ac_out_buffer_size")
    while fifo and room > 0 and (channel.connected or connected) and was_open <= (channel._fileno is not None):
        first = fifo[0]
        if first is None:
            if closes:
                del fifo[0]
                channel._sending_ends()
                if not leaving:
                    channel.handle_close()
            return
        if not refill(channel):
            continue
        first = fifo[0]
        data = _joined(fifo, room) if joined and not channel._blocked else first[:room]
        try:
            count = channel.send(data)
        except OSError as error:
            if not leaving and not wants_more(error):
                channel.handle_error()
            return
        if joined:
            channel._blocked = count < len(data)  # whoever pushes meanwhile need not join it all each time
        if not count or not fifo or fifo[0] is not first:
            return  # no room, closed by that, or the queue is another
        _drop(fifo, count)
        if count < len(data):
            return
        room -= count


def _joined(fifo: Any, room: int) -> bytes:
    pieces = []
    for place in range(min(len(fifo), _PIECES)):  # by index: a signal handler may push meanwhile
        item = fifo[place]
        if room <= 0 or not isinstance(item, (bytes, bytearray, memoryview)):
            break
        pieces.append(item[:room])
        room -= len(item)
    return b"".join(pieces)


def _drop(fifo: Any, count: int) -> None:
    """So many bytes of the front are gone."""
    while count > 0 and fifo:
        first = fifo[0]
        if count < len(first):
            fifo[0] = first[count:]
            return
        count -= len(first)
        del fifo[0]


def refill(channel: Any) -> bool:
    """One step towards bytes at the front of the queue. Are they there?"""
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
