# SPDX-License-Identifier: MIT
"""When a connection is read: not while its peer leaves too many replies unread, and not while the program says so."""

from __future__ import annotations

from cyncore._async_chat import async_chat

REPLIES_WAIT = 65536  # bytes of replies that a peer may leave unread before no more of its commands are read


class _Drained:
    """A producer that says nothing; when it has its turn, what was queued before it has left, or nearly so."""

    def __init__(self, channel: Flow) -> None:
        self._channel = channel

    def more(self) -> bytes:
        channel = self._channel
        if channel._unread > REPLIES_WAIT:  # queued behind this
            channel._unread = 0
            channel.producer_fifo.append(_Drained(channel))
        else:
            channel._let_go()
        return b""


class Flow(async_chat):
    """A connection that is not read while its peer does not read. A pause of the program's own is apart from that."""

    _unread = 0  # bytes of replies since it was last looked whether the peer reads them
    _held = False
    _pause_wanted = False

    def pause_reading(self) -> None:
        """No more is read until `resume_reading`."""
        self._pause_wanted = True
        async_chat.pause_reading(self)

    def resume_reading(self) -> None:
        """Ends `pause_reading`. A peer that has replies to read must still do that first."""
        self._pause_wanted = False
        self._read_again()

    def discard_buffers(self) -> None:
        """Forgets what came and is not served, and what has not left."""
        async_chat.discard_buffers(self)
        self._unread = 0
        self._let_go()

    def _hold(self) -> None:
        """The peer asks and asks, and perhaps does not read what it is told: that it must do first."""
        if self._held:
            return
        self._unread = 0
        if self.producer_fifo:
            self._held = True
            async_chat.pause_reading(self)
            self.push_with_producer(_Drained(self))

    def _let_go(self) -> None:
        self._held = False
        self._read_again()

    def _read_again(self) -> None:
        if not self._held and not self._pause_wanted:
            async_chat.resume_reading(self)
