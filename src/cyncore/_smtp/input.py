# SPDX-License-Identifier: MIT
"""What a client sends: commands, each of which calls a ``smtp_`` method of the channel, and messages."""

from __future__ import annotations

import re
from codecs import IncrementalDecoder, getincrementaldecoder
from typing import Any

from . import settings
from .flow import MOST_UNREAD, hold
from .guard import close_with_reply
from .session import Conversation, Session

_SMALL = 512  # bytes of a piece that is joined to the one before it
_PIECE = 2048  # bytes from which on a piece is left alone
_LONGEST_COMMAND = 65536  # bytes; a peer that sends more never meant to send a command

_BEFORE_TLS = frozenset({"EHLO", "HELO", "NOOP", "QUIT", "STARTTLS"})  # RFC 3207, 4

_control = re.compile(r"[\0\r\n]").search


class Input(Conversation):
    """A connection whose input is commands and messages, as `smtp_state` says."""

    COMMAND = 0
    DATA = 1

    def collect_incoming_data(self, data: bytes) -> None:
        """A part of a command or of a message came. What is beyond the limit is counted, and not kept.

        In a state that a class adds (`smtp_state` neither COMMAND nor DATA) there is no limit, and nothing is counted.
        """
        session = self._cyncore
        if session.ignores_input:
            return
        if session.deadlines is not None:
            session.deadlines.received()
        state = self.smtp_state
        if state == self.COMMAND or state == self.DATA:
            size = self.num_bytes + len(data)
            limit = self.data_size_limit if state == self.DATA else self.command_size_limit
            if limit and size > limit:
                data = _within_limit(self, data, size)
            self.num_bytes = size
        if self._decode_data:
            _collect_text(self, data)
        else:
            _keep(self.received_lines, data)

    def found_terminator(self) -> None:
        """A command, or a message, is complete."""
        session = self._cyncore
        lines, self.received_lines = self.received_lines, []
        if session.ignores_input:
            return
        line = lines[0] if len(lines) == 1 else self._emptystring.join(lines)
        if session.deadlines is not None:
            session.deadlines.completed()
        if settings.is_debugged():
            settings.debug("Data:", repr(line))
        if self.smtp_state == self.COMMAND:
            _take_command(self, line)
        elif self.smtp_state == self.DATA:
            _take_message(self, line)
        else:
            self.push("451 Internal confusion")
            self.num_bytes = 0
        most = session.max_errors
        if most is not None and session.errors > most and not session.ignores_input:
            close_with_reply(self, f"421 {self.fqdn} Too many errors, closing connection")
        if session.unread > MOST_UNREAD:
            hold(self)
        if session.deadlines is not None:
            session.deadlines.answered()


def _keep(pieces: list[Any], piece: Any) -> None:
    """Adds a piece. A small one is joined to the last: as an object of its own it would take many times its size."""
    if not pieces or len(piece) >= _SMALL:
        pieces.append(piece)
    elif len(pieces[-1]) < _PIECE:
        pieces[-1] += piece
    elif piece:
        pieces.append(piece)


def _within_limit(channel: Conversation, data: bytes, size: int) -> bytes:
    """As much of ``data`` as may be kept. ``size``: the bytes that have come, ``data`` included."""
    if channel.smtp_state == Input.DATA:
        limit = channel.data_size_limit or size
    else:
        limit = max(channel.command_size_limit, channel.max_command_size_limit)
        if size > _LONGEST_COMMAND:
            close_with_reply(channel, "500 Error: line too long")
    return data[: max(0, limit - channel.num_bytes)]


def _collect_text(channel: Conversation, data: bytes) -> None:
    session = channel._cyncore
    decoder = _decoder_of(session)
    try:
        text = decoder.decode(data)
    except UnicodeDecodeError:
        session.has_bad_text = True
        # it is refused, but which reply that is must not depend on the pieces in which it came
        text = (decoder.getstate()[0] + data).decode("utf-8", "replace")
        decoder.reset()
    _keep(channel.received_lines, text)


def _decoder_of(session: Session) -> IncrementalDecoder:
    if session.decoder is None:
        session.decoder = getincrementaldecoder("utf-8")()
    return session.decoder


def _had_bad_text(session: Session) -> bool:
    """Was a part of what is complete now not UTF-8? The next command or message starts anew."""
    decoder = _decoder_of(session)
    bad = session.has_bad_text or decoder.getstate()[0] != b""
    session.has_bad_text = False
    decoder.reset()
    return bad


def _take_command(channel: Conversation, line: Any) -> None:
    size, channel.num_bytes = channel.num_bytes, 0
    bad = False
    if channel._decode_data:
        bad = _had_bad_text(channel._cyncore)
    else:
        try:
            line = str(line, "utf-8")
        except UnicodeDecodeError:
            line, bad = str(line, "utf-8", "replace"), True
    if not line:
        channel.push("500 Error: bad syntax")
        return
    name, space, rest = line.partition(" ")
    name = name.upper()
    method = getattr(channel, "smtp_" + name, None)
    if size > _size_allowed(channel, name, method):
        channel.push("500 Error: line too long")
    elif bad or (not line.isprintable() and _control(line)):
        channel.push("500 Error: bad syntax")
    elif method is None:
        channel.push(f'500 Error: command "{name}" not recognized')
    elif channel._cyncore.needs_tls and name not in _BEFORE_TLS:
        channel.push("530 Must issue a STARTTLS command first")
    else:
        method(rest.strip() if space else None)


def _size_allowed(channel: Conversation, name: str, method: Any) -> int:
    """Bytes that the command may have."""
    if not channel.extended_smtp:
        return channel.command_size_limit
    limits = channel.command_size_limits
    if name in limits or method is not None:
        return limits[name]
    # Not looked up: a look-up would keep every name that a peer makes up.
    return channel.command_size_limit


def begin_message(channel: Conversation) -> None:
    """What comes from now on is a message."""
    session = channel._cyncore
    channel.smtp_state = Input.DATA
    channel.set_terminator(b"\r\n.\r\n")
    kind = type(channel)
    if kind.collect_incoming_data is Input.collect_incoming_data and kind.found_terminator is Input.found_terminator:
        # A message may be nothing but its end: a "." at the start of a line, after the line end of the DATA command.
        channel.ac_in_buffer = b"\r\n" + channel.ac_in_buffer
        session.starts_with_line_end = True
        channel.num_bytes = -2
    if session.deadlines is not None:
        session.deadlines.message_begins()


def _take_message(channel: Conversation, data: Any) -> None:
    session = channel._cyncore
    size, channel.num_bytes = channel.num_bytes, 0
    at_start, session.starts_with_line_end = session.starts_with_line_end, False
    bad = channel._decode_data and _had_bad_text(session)
    if channel.data_size_limit and size > channel.data_size_limit:
        channel._set_post_data_state()
        channel.push("552 Error: Too much mail data")
        return
    if bad:
        channel._set_post_data_state()
        channel.push("554 Error: message is not UTF-8")
        return
    data = _without_stuffing(channel, data)
    channel.received_data = data[1:] if at_start else data
    arguments = channel.peer, channel.mailfrom, channel.rcpttos, channel.received_data
    if channel._decode_data:
        status = channel.smtp_server.process_message(*arguments)
    else:
        status = channel.smtp_server.process_message(
            *arguments, mail_options=channel.mail_options, rcpt_options=channel.rcpt_options
        )
    utf8 = channel.require_SMTPUTF8
    channel._set_post_data_state()
    channel.require_SMTPUTF8 = utf8  # the reply belongs to this message still
    channel.push(status or "250 OK")
    channel.require_SMTPUTF8 = False


def _without_stuffing(channel: Conversation, data: Any) -> Any:
    """``data`` without the dots that the client put before those at the start of a line, and with the channel's own
    line ends (RFC 5321, 4.5.2)."""
    dot, line_end = ("." if channel._decode_data else b"."), channel._linesep
    if data[:1] == dot:
        data = data[1:]
    # In two steps: a carriage return that stands before a line's end must not become part of another.
    return data.replace(line_end + dot, line_end).replace(line_end, channel._newline)
