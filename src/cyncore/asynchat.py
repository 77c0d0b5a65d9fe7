# SPDX-License-Identifier: MIT
"""The names of the old ``asynchat`` module: conversations in lines, or in pieces of known length.

``import cyncore.asynchat as asynchat``, or run an unchanged program with ``python -m cyncore SCRIPT``.
docs/asynchat.md says how it works, docs/compatibility.md what differs from the old one.
"""

from __future__ import annotations

from collections import deque as deque

from . import asyncore as asyncore
from ._engine import native
from ._plain_chat import LimitExceeded as LimitExceeded
from ._plain_chat import find_prefix_at_end as find_prefix_at_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

if TYPE_CHECKING or native:
    from ._native.chat import ChatChannel
else:
    from ._python.chat import ChatChannel


class async_chat(ChatChannel, asyncore.dispatcher):
    """A dispatcher that delivers its input in pieces that end with a terminator, and queues its output.

    Derive, define `collect_incoming_data` and `found_terminator`, and say with `set_terminator` what a piece ends with.
    ``sock`` and ``map``: as those of `dispatcher`. Unless a docstring says otherwise, a method is to be called from the
    thread that runs the channel's loop.
    """

    ac_in_buffer_size = 65536
    """Bytes read at once."""

    ac_out_buffer_size = 65536
    """Bytes sent at once."""

    max_incoming: int | None = None
    """Bytes that may come before a terminator made of bytes; None: any number. Where more do, `handle_error` is called,
    with `LimitExceeded` being handled. If that does not close the channel, the rest of that piece is dropped, without
    `found_terminator`.
    """

    max_outgoing: int | None = None
    """Bytes that may wait to be sent; None: any number. See `push`."""

    gather_pushes: bool = False
    """Does what handlers push wait until the end of the tick, to leave in one system call? For a class whose handlers
    make several pushes and wait for nothing that their peer does. A channel may have it, too.
    """

    use_encoding: Any = 0
    """Is str encoded where a terminator or a producer is one?"""

    encoding = "latin-1"

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        ChatChannel._start_buffers(self)  # through the class: a program may have a method of that name
        asyncore.dispatcher.__init__(self, sock, map)

    def collect_incoming_data(self, data: bytes) -> None:
        """``data`` came, a part of a piece or all of it. To be defined."""
        raise NotImplementedError(f"{type(self).__qualname__} does not define collect_incoming_data()")

    def found_terminator(self) -> None:
        """What came since the last time was a whole piece, its terminator left out. To be defined."""
        raise NotImplementedError(f"{type(self).__qualname__} does not define found_terminator()")

    def handle_close(self) -> None:
        """The peer has gone, or `close_when_done` is: closes the channel."""
        self.close()


class simple_producer:
    """Gives out ``data`` (bytes) in parts of ``buffer_size`` bytes."""

    def __init__(self, data: Any, buffer_size: int = 512) -> None:
        self.data = data
        self.buffer_size = buffer_size

    def more(self) -> Any:
        """The next part; an empty one at the end."""
        part, self.data = self.data[: self.buffer_size], self.data[self.buffer_size :]
        return part
