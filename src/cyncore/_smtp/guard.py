# SPDX-License-Identifier: MIT
"""What a server's options mean for a connection: whether it is admitted, how long it may take, and when it ends."""

from __future__ import annotations

from functools import partial
from typing import Any

from cyncore._engine import Loop

from .deadlines import Deadlines
from .options import connections_of, option
from .session import Conversation


def admit(channel: Conversation) -> bool:
    """Counts the connection. False where there are too many: the peer has been told, and the channel is closed."""
    options = channel._cyncore.options
    most, most_of_host = option(options, "max_connections"), option(options, "max_connections_per_peer")
    if most is None and most_of_host is None:
        return True
    connections, host = connections_of(options), _host_of(channel.peer)
    if (most is not None and len(connections) >= most) or (
        most_of_host is not None and connections.count_of(host) >= most_of_host
    ):
        close_with_reply(channel, f"421 {channel.fqdn} Too many connections, try again later")
        return False
    connections.add(channel, host)
    return True


def _host_of(peer: Any) -> Any:
    return peer[0] if isinstance(peer, tuple) and peer else peer


def set_deadlines(channel: Conversation) -> None:
    """Sets the limits on time that the options ask for."""
    options = channel._cyncore.options
    idle, command, data = (option(options, name) for name in ("idle_timeout", "command_timeout", "data_timeout"))
    if idle is not None or command is not None or data is not None:
        channel._cyncore.deadlines = Deadlines(Loop.of(channel._map), idle, command, data, partial(_expire, channel))


def _expire(channel: Conversation) -> None:
    close_with_reply(channel, f"421 {channel.fqdn} Timeout, closing connection")


def close_with_reply(channel: Conversation, reply: str) -> None:
    """Sends a last reply, to a peer that may not read it, and closes the channel."""
    channel._cyncore.ignores_input = True
    channel.push(reply)
    channel.close()


def forget(channel: Conversation) -> None:
    """The channel is closed: it counts no more, and has no limits of time."""
    session = channel._cyncore
    session.ignores_input = True
    connections = session.options._cyncore
    if connections is not None:
        connections.remove(channel)
    if session.deadlines is not None:
        session.deadlines.cancel()
