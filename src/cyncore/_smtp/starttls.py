# SPDX-License-Identifier: MIT
"""How a connection goes over to TLS, at its start or after STARTTLS."""

from __future__ import annotations

from collections.abc import Callable

from cyncore._async_chat import async_chat
from cyncore._engine import Loop

from .flow import read_unless_stopped
from .guard import set_deadlines
from .options import option
from .session import Conversation


def switch(channel: Conversation) -> None:
    """Goes over to TLS once the reply to STARTTLS has been sent.

    What came after the command was not sent under TLS, and must not be obeyed as if it were (RFC 3207, 4.2).
    """
    channel._cyncore.ignores_input = True
    channel.ac_in_buffer = b""
    async_chat.pause_reading(channel)
    Loop.of(channel._map).call_soon(begin, channel, _forget_plain)


def begin(channel: Conversation, then: Callable[[Conversation], object]) -> None:
    """Begins the handshake, and calls ``then`` with the channel once it has succeeded."""
    if channel._fileno is None:
        return  # closed by now
    if channel.producer_fifo:
        channel.close()  # the peer does not read the reply that it asked for
        return
    from cyncore._tls.handshake import start  # and OpenSSL with it

    from .tls import QuietSocket

    def done(channel: Conversation) -> None:
        _secured(channel)
        then(channel)

    options = channel._cyncore.options
    context, seconds = option(options, "tls_context"), option(options, "tls_timeout")
    start(channel, context, (True, None, None), seconds, done, _failed, QuietSocket)


def _failed(channel: Conversation, error: BaseException) -> None:
    """The peer is lost, whatever the reason: see `QuietSocket`."""
    channel.handle_close()


def _secured(channel: Conversation) -> None:
    session = channel._cyncore
    channel.conn = channel.socket
    read_unless_stopped(channel)
    session.is_tls = True
    session.ignores_input = False
    session.needs_tls = False
    if session.deadlines is None:
        set_deadlines(channel)
    else:
        session.deadlines.completed()


def _forget_plain(channel: Conversation) -> None:
    """Nothing that was said before TLS counts any more (RFC 3207, 4.2)."""
    channel._set_rset_state()
    channel.seen_greeting = ""
    channel.extended_smtp = False
    channel.command_size_limits.clear()
