# SPDX-License-Identifier: MIT
"""What a mail server keeps of one connection.

A program derives from the channel and gives its attributes any names that the old module does not use. So whatever is
kept beside the old module's attributes is in one object, `Session`, under one name. And what is done with it are
functions, not methods, which a program's own would replace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cyncore._async_chat import async_chat

from .options import NO_OPTIONS, ServerOptions

if TYPE_CHECKING:
    from codecs import IncrementalDecoder

    from .deadlines import Deadlines


class Session:
    """The state of one connection, beside what the old module kept in its channel."""

    __slots__ = (
        "deadlines",
        "decoder",
        "errors",
        "has_bad_text",
        "ignores_input",
        "is_held",
        "is_paused",
        "is_tls",
        "max_errors",
        "needs_tls",
        "options",
        "starts_with_line_end",
        "unread",
    )

    def __init__(self) -> None:
        self.options: ServerOptions = NO_OPTIONS
        self.deadlines: Deadlines | None = None
        self.errors = 0  # replies of 5xx
        self.max_errors: int | None = None  # the option of that name
        # Whether it is read: neither while the program pauses it nor while the peer leaves too many replies unread.
        self.is_paused = False
        self.is_held = False
        self.unread = 0  # bytes of replies since it was last checked whether the peer reads them
        self.ignores_input = False  # after QUIT and the like, nothing that still comes is obeyed
        # TLS
        self.is_tls = False
        self.needs_tls = False  # most commands are refused until TLS is on
        # The message, or the command, that is coming
        self.decoder: IncrementalDecoder | None = None  # where `decode_data` is set
        self.has_bad_text = False  # a part of it could not be decoded
        self.starts_with_line_end = False  # the end of the DATA command's line stands before the message


class _Made:
    """The session of a channel, made when it is asked for first: a program's class may have an ``__init__`` of its own
    that does not call ours. From then on, the instance's attribute is found before this.
    """

    def __get__(self, channel: Conversation, kind: type) -> Session:
        session = channel._cyncore = Session()
        return session

    if TYPE_CHECKING:

        def __set__(self, channel: Conversation, session: Session) -> None: ...


class Conversation(async_chat):
    """A connection that is answered in lines. Its attributes are the old module's, but for ``_cyncore``."""

    _cyncore = _Made()

    if TYPE_CHECKING:
        smtp_server: Any
        smtp_state: Any
        conn: Any
        peer: Any
        fqdn: str
        seen_greeting: str
        extended_smtp: bool
        enable_SMTPUTF8: bool
        require_SMTPUTF8: bool
        data_size_limit: int | None
        command_size_limit: int
        command_size_limits: dict[str, int]
        mailfrom: str | None
        rcpttos: list[str]
        mail_options: list[str]
        rcpt_options: list[str]
        received_lines: list[Any]
        received_data: Any
        num_bytes: int
        _decode_data: bool
        _emptystring: Any
        _linesep: Any
        _newline: Any

        @property
        def max_command_size_limit(self) -> int: ...
        def _set_post_data_state(self) -> None: ...
        def _set_rset_state(self) -> None: ...

    def push(self, msg: str) -> None:  # type: ignore[override]
        """Sends a line, without its end. What is not ASCII in it is escaped, unless the message asked for SMTPUTF8."""
        session = self._cyncore
        if msg[:1] == "5" and session.max_errors is not None:
            session.errors += 1
        line = (msg + "\r\n").encode("utf-8" if self.require_SMTPUTF8 else "ascii", "backslashreplace")
        async_chat.push(self, line)
        session.unread += len(line)
