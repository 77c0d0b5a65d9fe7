# SPDX-License-Identifier: MIT
"""When a connection is read: not while its peer leaves too many replies unread, and not while the program pauses it."""

from __future__ import annotations

from cyncore._async_chat import async_chat

from .session import Conversation

MOST_UNREAD = 65536  # bytes of replies that a peer may leave unread before no more of its commands are read


class _Drained:
    """A producer without bytes. When its turn comes, nearly all that was queued before it has been sent."""

    def __init__(self, channel: Conversation) -> None:
        self._channel = channel

    def more(self) -> bytes:
        session = self._channel._cyncore
        if session.unread > MOST_UNREAD:  # replies that were queued after this
            session.unread = 0
            self._channel.producer_fifo.append(_Drained(self._channel))
        else:
            release(self._channel)
        return b""


def pause(channel: Conversation) -> None:
    """The program wants nothing to be read until `resume`."""
    channel._cyncore.is_paused = True
    async_chat.pause_reading(channel)


def resume(channel: Conversation) -> None:
    """Ends `pause`. A peer that has too many replies to read must still read them first."""
    channel._cyncore.is_paused = False
    read_unless_stopped(channel)


def hold(channel: Conversation) -> None:
    """Stops reading until the replies have been sent, if any are queued: the peer may not read what it asks for."""
    session = channel._cyncore
    if session.is_held:
        return
    session.unread = 0
    if channel.producer_fifo:
        session.is_held = True
        async_chat.pause_reading(channel)
        channel.push_with_producer(_Drained(channel))


def release(channel: Conversation) -> None:
    """Ends `hold`. A pause of the program's own goes on."""
    channel._cyncore.is_held = False
    read_unless_stopped(channel)


def read_unless_stopped(channel: Conversation) -> None:
    session = channel._cyncore
    if not session.is_held and not session.is_paused:
        async_chat.resume_reading(channel)
