# SPDX-License-Identifier: MIT
"""A client's connection to a mail server: what it says is read, and answered."""

from __future__ import annotations

import collections
import re
import socket
from codecs import getincrementaldecoder
from typing import Any
from warnings import warn

from cyncore._async_chat import async_chat

from . import settings
from .commands import BEFORE_TLS, Commands
from .flow import REPLIES_WAIT
from .guard import Guarded
from .options import NO_OPTIONS, ServerOptions

_SMALL = 512  # bytes of a piece that is joined to the one before it
_PIECE = 2048  # bytes from which on a piece is left alone
_LINE_EVER = 65536  # bytes of one command; a peer that sends more never meant to send one

_control = re.compile(r"[\0\r\n]").search
_getfqdn = socket.getfqdn
_fqdn: tuple[str, str] | None = None  # the host's name, and its full name


def _full_host_name() -> str:
    """``socket.getfqdn()``, which may ask a name server, once for each name that the host has had."""
    global _fqdn
    if socket.getfqdn is not _getfqdn:
        return socket.getfqdn()  # a test's own
    name = socket.gethostname()
    if _fqdn is None or _fqdn[0] != name:
        _fqdn = name, _getfqdn()
    return _fqdn[1]


def _unstuffed(data: Any, dot: Any, line_end: Any, newline: Any) -> Any:
    """``data`` without the dots that the client put before those at the start of a line, and with ``newline`` for each
    end of a line (RFC 5321, 4.5.2)."""
    if data[:1] == dot:
        data = data[1:]
    # In two steps: a carriage return that stands before a line's end must not become part of another.
    return data.replace(line_end + dot, line_end).replace(line_end, newline)


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


class SMTPChannel(Guarded, Commands):
    """A client's connection: reads commands, calls the ``smtp_`` method of each, and gives messages to ``server``.

    ``server``: has ``process_message``. ``conn``, ``addr``: the socket and the peer's address. ``data_size_limit``:
    bytes in a message; 0 or None takes any. ``map``: None for the default one. ``enable_SMTPUTF8``: offer it.
    ``decode_data``: messages are str, decoded as UTF-8, and not bytes. ValueError for the last two together.

    Where ``server`` is a `SMTPServer`, its timeouts, caps and TLS apply.
    """

    __module__ = "cyncore.smtpd"  # where programs find it

    COMMAND = 0
    DATA = 1

    # One read is what may be answered before unread replies stop the reading, and before others have their turn: it may
    # hold a thousand commands.
    ac_in_buffer_size = 4096

    # The replies to all commands of one read, and the lines of one reply, are one packet. Where a message is processed,
    # which may take its time, its own reply comes after that.
    gather_pushes = True

    command_size_limit = 512
    command_size_limits: dict[str, int] = collections.defaultdict(  # noqa: RUF012
        lambda x=command_size_limit: x  # type: ignore[misc]
    )

    smtp_state: Any
    received_data: Any
    received_lines: list[Any]
    num_bytes: int

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
            self._dot: Any = "."
            self._decoder = getincrementaldecoder("utf-8")()
            self._undecodable = False
        else:
            marks = b"", b"\r\n", ord("."), b"\n"
            self._dot = b"."
        self._emptystring, self._linesep, self._dotsep, self._newline = marks  # programs use them
        self._line_end_first = False  # that of the DATA command stands before the message
        self._errors = 0
        self._options = server if isinstance(server, ServerOptions) else NO_OPTIONS
        self._needs_tls = bool(self._options.require_starttls or self._options.tls_implicit)
        self.mail_options = []
        self.rcpt_options = []
        # The class's own is for all of its channels: what EHLO allows one peer is not for the others.
        self.command_size_limits = self.command_size_limits.copy()
        self.command_size_limits.clear()
        self._set_rset_state()
        self.seen_greeting = ""
        self.extended_smtp = False
        self.fqdn = _full_host_name()
        if not self.connected:  # the peer has gone already
            self.close()
            return
        self._note("Peer:", repr(self.peer))
        if self._options is not NO_OPTIONS and not self._admitted():
            return
        self._greet()

    def _greet(self) -> None:
        self.push(f"220 {self.fqdn} {settings.__version__}")

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

    def _note(self, *words: object) -> None:
        if settings.is_debugged():
            settings.debug(*words)

    # Input and output

    def push(self, msg: str) -> None:  # type: ignore[override]
        """Sends a line, without its end. What is not ASCII in it is escaped, unless the message asked for SMTPUTF8."""
        if msg[:1] == "5" and self._options.max_errors is not None:
            self._errors += 1
        line = (msg + "\r\n").encode("utf-8" if self.require_SMTPUTF8 else "ascii", "backslashreplace")
        async_chat.push(self, line)
        self._unread += len(line)

    def collect_incoming_data(self, data: bytes) -> None:
        """A part of a command or of a message came. What is beyond the limit is counted, and not kept.

        In a state that a class adds (`smtp_state` neither COMMAND nor DATA) there is no limit, and nothing is counted.
        """
        if self._ended:
            return
        if self._deadlines is not None:
            self._deadlines.came()
        state = self.smtp_state
        if state == self.COMMAND or state == self.DATA:
            size = self.num_bytes + len(data)
            limit = self.data_size_limit if state == self.DATA else self.command_size_limit
            if limit and size > limit:
                data = self._within_limit(data, size)
            self.num_bytes = size
        lines = self.received_lines
        if self._decode_data:
            self._collect_text(data)
        elif lines and len(data) < _SMALL:
            self._keep_small(lines, data)
        else:
            lines.append(data)

    def _keep_small(self, lines: list[Any], piece: Any) -> None:
        """Puts it behind what has come, joined to that: as objects, small pieces take many times their size."""
        if len(lines[-1]) < _PIECE:
            lines[-1] += piece
        elif piece:
            lines.append(piece)

    def _within_limit(self, data: bytes, size: int) -> bytes:
        """As much of ``data`` as may be kept where ``size`` bytes have come with it."""
        if self.smtp_state == self.DATA:
            limit = self.data_size_limit or size
        else:
            limit = max(self.command_size_limit, self.max_command_size_limit)
            if size > _LINE_EVER:
                self._part("500 Error: line too long")
        return data[: max(0, limit - self.num_bytes)]

    def _collect_text(self, data: bytes) -> None:
        try:
            text = self._decoder.decode(data)
        except UnicodeDecodeError:
            self._undecodable = True
            self._decoder.reset()
            return
        lines = self.received_lines
        if lines and len(text) < _SMALL:
            self._keep_small(lines, text)
        else:
            lines.append(text)

    def _text_is_bad(self) -> bool:
        """Was what is complete now something else than UTF-8? Forgets it."""
        bad = self._undecodable or self._decoder.getstate()[0] != b""
        self._undecodable = False
        self._decoder.reset()
        return bad

    def _begin_message(self) -> None:
        self.smtp_state = self.DATA
        self.set_terminator(b"\r\n.\r\n")
        kind = type(self)
        if (
            kind.collect_incoming_data is SMTPChannel.collect_incoming_data
            and kind.found_terminator is SMTPChannel.found_terminator
        ):
            # A message may be nothing but its end, ".", which is at the start of a line after this command's own end.
            self.ac_in_buffer = b"\r\n" + self.ac_in_buffer
            self._line_end_first = True
            self.num_bytes = -2
        if self._deadlines is not None:
            self._deadlines.data_begins()

    def found_terminator(self) -> None:
        """A command, or a message, is complete."""
        lines, self.received_lines = self.received_lines, []
        if self._ended:
            return
        line = lines[0] if len(lines) == 1 else self._emptystring.join(lines)
        if self._deadlines is not None:
            self._deadlines.ended()
        if settings.is_debugged():
            settings.debug("Data:", repr(line))
        if self.smtp_state == self.COMMAND:
            self._take_command(line)
        elif self.smtp_state == self.DATA:
            self._take_message(line)
        else:
            self.push("451 Internal confusion")
            self.num_bytes = 0
        if self._options.max_errors is not None and self._errors > self._options.max_errors and not self._ended:
            self._part(f"421 {self.fqdn} Too many errors, closing connection")
        if self._unread > REPLIES_WAIT:
            self._hold()
        if self._deadlines is not None:
            self._deadlines.served()

    def _take_command(self, line: Any) -> None:
        size, self.num_bytes = self.num_bytes, 0
        bad = False
        if self._decode_data:
            bad = self._text_is_bad()
        else:
            try:
                line = str(line, "utf-8")
            except UnicodeDecodeError:
                line, bad = str(line, "utf-8", "replace"), True
        if not line:
            self.push("500 Error: bad syntax")
            return
        name, space, rest = line.partition(" ")
        name = name.upper()
        method = getattr(self, "smtp_" + name, None)
        if size > self._size_allowed(name, method):
            self.push("500 Error: line too long")
        elif bad or (not line.isprintable() and _control(line)):
            self.push("500 Error: bad syntax")
        elif method is None:
            self.push(f'500 Error: command "{name}" not recognized')
        elif self._needs_tls and name not in BEFORE_TLS:
            self.push("530 Must issue a STARTTLS command first")
        else:
            method(rest.strip() if space else None)

    def _size_allowed(self, name: str, method: Any) -> int:
        """Bytes that the command may have."""
        if not self.extended_smtp:
            return self.command_size_limit
        limits = self.command_size_limits
        if name in limits or method is not None:
            return limits[name]
        # Not looked up, which would keep every name that a peer makes up.
        return self.command_size_limit

    def _take_message(self, data: Any) -> None:
        size, self.num_bytes = self.num_bytes, 0
        at_start, self._line_end_first = self._line_end_first, False
        bad = self._decode_data and self._text_is_bad()
        if self.data_size_limit and size > self.data_size_limit:
            self._set_post_data_state()
            self.push("552 Error: Too much mail data")
            return
        if bad:
            self._set_post_data_state()
            self.push("554 Error: message is not UTF-8")
            return
        data = _unstuffed(data, self._dot, self._linesep, self._newline)
        self.received_data = data[1:] if at_start else data
        told = (self.peer, self.mailfrom, self.rcpttos, self.received_data)
        if self._decode_data:
            status = self.smtp_server.process_message(*told)
        else:
            status = self.smtp_server.process_message(
                *told, mail_options=self.mail_options, rcpt_options=self.rcpt_options
            )
        utf8 = self.require_SMTPUTF8
        self._set_post_data_state()
        self.require_SMTPUTF8 = utf8  # the reply is still of this message
        self.push(status or "250 OK")
        self.require_SMTPUTF8 = False
