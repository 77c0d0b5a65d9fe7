# SPDX-License-Identifier: MIT
"""The channel of a mail server: one connection of a client, whose commands and messages are read and answered."""

from __future__ import annotations

import collections
from typing import Any
from warnings import warn

from cyncore._async_chat import async_chat

from . import settings
from .commands import Commands
from .flow import pause, release, resume
from .guard import admit, forget, set_deadlines
from .host import full_name
from .input import Input
from .options import NO_OPTIONS, ServerOptions, option
from .session import Conversation
from .starttls import begin


def _renamed(old: str, new: str) -> property:
    """The attribute ``new`` under the name that it had before Python 3."""
    message = f"{{}} __{old} attribute on SMTPChannel is deprecated, use '{new}' instead"

    def read(channel: SMTPChannel) -> Any:
        warn(message.format("Access to"), DeprecationWarning, stacklevel=2)
        return getattr(channel, new)

    def write(channel: SMTPChannel, value: Any) -> None:
        warn(message.format("Setting"), DeprecationWarning, stacklevel=2)
        setattr(channel, new, value)

    return property(read, write)


class _IsTls:
    """``channel.tls``: is the connection encrypted? To be read; a program's own attribute of that name is its own."""

    def __get__(self, channel: SMTPChannel | None, kind: type) -> bool:
        return channel is not None and channel._cyncore.is_tls


class SMTPChannel(Commands, Input):
    """A client's connection: reads commands, calls the ``smtp_`` method of each, and gives messages to ``server``.

    ``server``: has ``process_message``. ``conn``, ``addr``: the socket and the peer's address. ``data_size_limit``:
    bytes in a message; 0 or None takes any. ``map``: None for the default one. ``enable_SMTPUTF8``: offer it.
    ``decode_data``: messages are str, decoded as UTF-8, and not bytes. ValueError for the last two together.

    Where ``server`` is a `SMTPServer`, its timeouts, caps and TLS apply.
    """

    __module__ = "cyncore.smtpd"  # where programs find it

    # All commands of one read are answered before unread replies can stop the reading, and before other channels have
    # their turn. Even 4,096 bytes may hold hundreds of commands.
    ac_in_buffer_size = 4096

    # The replies to all commands of one read are sent in one packet, after the last of them: that may have been a
    # message, whose processing takes time.
    gather_pushes = True

    command_size_limit = 512
    command_size_limits: dict[str, int] = collections.defaultdict(  # noqa: RUF012
        lambda x=command_size_limit: x  # type: ignore[misc]
    )

    tls = _IsTls()

    def __init__(
        self,
        server: Any,
        conn: Any,
        addr: Any,
        data_size_limit: int | None = settings.DATA_SIZE_DEFAULT,
        map: Any = None,
        enable_SMTPUTF8: bool = False,
        decode_data: bool = False,
    ) -> None:
        if enable_SMTPUTF8 and decode_data:
            raise ValueError("decode_data and enable_SMTPUTF8 cannot both be set")
        async_chat.__init__(self, conn, map=map)
        self.peer = self.addr
        self.smtp_server = server
        self.conn = conn
        self.addr = addr
        self.data_size_limit = data_size_limit
        self.enable_SMTPUTF8 = enable_SMTPUTF8
        self._decode_data = decode_data
        if decode_data:
            marks: tuple[Any, ...] = "", "\r\n", ".", settings.NEWLINE
        else:
            marks = b"", b"\r\n", ord("."), b"\n"
        self._emptystring, self._linesep, self._dotsep, self._newline = marks  # programs use them
        if isinstance(server, ServerOptions):
            self._cyncore.options = server
            self._cyncore.max_errors = option(server, "max_errors")
            self._cyncore.needs_tls = bool(option(server, "require_starttls") or option(server, "tls_implicit"))
        self.mail_options = []
        self.rcpt_options = []
        # A copy, because EHLO allows longer commands to one peer, and the class's own limits are those of all peers.
        self.command_size_limits = self.command_size_limits.copy()
        self.command_size_limits.clear()
        self._set_rset_state()
        self.seen_greeting = ""
        self.extended_smtp = False
        self.fqdn = full_name()
        if not self.connected:  # the peer has gone already
            self.close()
            return
        settings.debug("Peer:", repr(self.peer))
        _start(self)

    def pause_reading(self) -> None:
        """No more is read until `resume_reading`."""
        pause(self)

    def resume_reading(self) -> None:
        """Ends `pause_reading`. A peer that has too many replies to read must still read them first."""
        resume(self)

    def discard_buffers(self) -> None:
        """Forgets what came and was not served, and what was not sent."""
        async_chat.discard_buffers(self)
        self._cyncore.unread = 0
        release(self)

    def close(self) -> None:
        """Closes the connection, which then counts towards none of the server's caps any more."""
        async_chat.close(self)
        forget(self)

    def _set_post_data_state(self) -> None:
        """Ready for the next message."""
        self.smtp_state = self.COMMAND
        self.mailfrom = None
        self.rcpttos = []
        self.require_SMTPUTF8 = False
        self.num_bytes = 0
        self.set_terminator(b"\r\n")

    def _set_rset_state(self) -> None:
        """As at the start, but for the greeting."""
        self._set_post_data_state()
        self.received_data = ""
        self.received_lines = []

    @property
    def max_command_size_limit(self) -> int:
        """Bytes in the longest command that is taken by now."""
        return max(self.command_size_limits.values(), default=self.command_size_limit)

    _SMTPChannel__server = _renamed("server", "smtp_server")
    _SMTPChannel__line = _renamed("line", "received_lines")
    _SMTPChannel__state = _renamed("state", "smtp_state")
    _SMTPChannel__greeting = _renamed("greeting", "seen_greeting")
    _SMTPChannel__mailfrom = _renamed("mailfrom", "mailfrom")
    _SMTPChannel__rcpttos = _renamed("rcpttos", "rcpttos")
    _SMTPChannel__data = _renamed("data", "received_data")
    _SMTPChannel__fqdn = _renamed("fqdn", "fqdn")
    _SMTPChannel__peer = _renamed("peer", "peer")
    _SMTPChannel__conn = _renamed("conn", "conn")
    _SMTPChannel__addr = _renamed("addr", "addr")


def _start(channel: SMTPChannel) -> None:
    """Greets the client, unless it is one too many, or there is to be TLS first."""
    options = channel._cyncore.options
    if options is not NO_OPTIONS:
        if not admit(channel):
            return
        if option(options, "tls_context") is not None and option(options, "tls_implicit"):
            begin(channel, _greet)
            return
        set_deadlines(channel)
    _greet(channel)


def _greet(channel: Conversation) -> None:
    channel.push(f"220 {channel.fqdn} {settings.__version__}")
