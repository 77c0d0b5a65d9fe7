# SPDX-License-Identifier: MIT
"""How a connection goes over to TLS, at its start or after STARTTLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cyncore._async_chat import async_chat
from cyncore._engine import Loop

from .flow import read_unless_stopped
from .guard import set_deadlines
from .session import Conversation

if TYPE_CHECKING:
    from .tls import TlsSocket


def switch(channel: Conversation) -> None:
    """Goes over to TLS once the reply to STARTTLS has been sent.

    What came after the command was not sent under TLS, and must not be obeyed as if it were (RFC 3207, 4.2).
    """
    channel._cyncore.ignores_input = True
    channel.ac_in_buffer = b""
    async_chat.pause_reading(channel)
    Loop.of(channel._map).call_soon(begin, channel, _forget_plain)


def begin(channel: Conversation, then: Callable[[Conversation], object]) -> None:
    """Puts a handshake in the channel's place in the map, and calls ``then`` with the channel once it has succeeded."""
    if channel._fileno is None:
        return  # closed by now
    if channel.producer_fifo:
        channel.close()  # the peer does not read the reply that it asked for
        return
    from .tls import Handshake  # and OpenSSL with it

    def done(tls: TlsSocket | None) -> None:
        _end(channel, tls, then)

    options = channel._cyncore.options
    sock, map = channel.socket, channel._map
    channel.del_channel()
    channel.socket = None
    channel.connected = False
    try:
        channel._cyncore.handshake = Handshake(sock, map, options.tls_context, options.tls_timeout, done)
    except OSError:
        sock.close()
        channel.handle_close()


def _end(channel: Conversation, tls: TlsSocket | None, then: Callable[[Conversation], object]) -> None:
    """The handshake is over; ``tls`` is None where it has failed."""
    session = channel._cyncore
    session.handshake = None
    if tls is None:
        channel.handle_close()
        return
    channel.conn = tls
    channel.set_socket(tls, channel._map)
    channel.connected = True
    read_unless_stopped(channel)
    session.is_tls = True
    session.ignores_input = False
    session.needs_tls = False
    if session.deadlines is None:
        set_deadlines(channel)
    else:
        session.deadlines.completed()
    then(channel)


def _forget_plain(channel: Conversation) -> None:
    """Nothing that was said before TLS counts any more (RFC 3207, 4.2)."""
    channel._set_rset_state()
    channel.seen_greeting = ""
    channel.extended_smtp = False
    channel.command_size_limits.clear()
