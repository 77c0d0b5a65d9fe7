# SPDX-License-Identifier: MIT
"""The class of conversations: ``async_chat``, a dispatcher whose input comes in pieces and whose output is queued."""

from __future__ import annotations

from ._dispatcher import dispatcher
from ._engine import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

if TYPE_CHECKING or native:
    from ._native.chat import ChatChannel
else:
    from ._python.chat import ChatChannel


class async_chat(ChatChannel, dispatcher):
    """A dispatcher that hands on its input in pieces that end with a terminator, and queues its output.

    Derive, define `collect_incoming_data` and `found_terminator`, and call `set_terminator` with the end of a piece.
    ``sock`` and ``map``: as those of `dispatcher`. Unless a docstring says otherwise, a method is to be called from the
    thread that runs the channel's loop.
    """

    __module__ = "cyncore.asynchat"  # where users find it, and a pickle looks for it

    ac_in_buffer_size = 65536
    """Bytes read at once."""

    ac_out_buffer_size = 65536
    """Bytes sent at once."""

    max_incoming: int | None = None
    """Bytes that may come before a terminator made of bytes; None: any number. After more, `handle_error` is called
    while `LimitExceeded` is being handled. If that does not close the channel, the rest of the piece is dropped, and
    `found_terminator` is not called for it.
    """

    max_outgoing: int | None = None
    """Bytes that may wait to be sent; None: any number. See `push`."""

    gather_pushes: bool = False
    """Is what handlers push kept until the end of the tick, and then sent in one system call? For a class whose
    handlers push several times and wait for nothing that their peer does. It may also be set on a single channel.
    """

    use_encoding: Any = 0
    """Is str encoded where a terminator or a producer is one?"""

    encoding = "latin-1"

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        ChatChannel._start_buffers(self)  # through the class: a program may have a method of that name
        dispatcher.__init__(self, sock, map)

    def collect_incoming_data(self, data: bytes) -> None:
        """``data`` came: a part of a piece, or all of it. To be defined."""
        raise NotImplementedError(f"{type(self).__qualname__} does not define collect_incoming_data()")

    def found_terminator(self) -> None:
        """A piece is complete: what was collected since the last call, without the terminator. To be defined."""
        raise NotImplementedError(f"{type(self).__qualname__} does not define found_terminator()")

    def handle_close(self) -> None:
        """The peer has gone, or `close_when_done` is: closes the channel."""
        self.close()


class simple_producer:
    """Gives out ``data`` (bytes) in parts of ``buffer_size`` bytes."""

    __module__ = "cyncore.asynchat"

    def __init__(self, data: Any, buffer_size: int = 512) -> None:
        self.data = data
        self.buffer_size = buffer_size

    def more(self) -> Any:
        """The next part; an empty one at the end."""
        part = self.data[: self.buffer_size]
        # Empty bytes after the last part, whatever the data are: programs look for them.
        self.data = self.data[self.buffer_size :] if len(self.data) > self.buffer_size else b""
        return part
