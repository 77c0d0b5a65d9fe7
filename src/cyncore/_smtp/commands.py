# SPDX-License-Identifier: MIT
"""What a mail server answers to each command: the ``smtp_`` methods of a channel, which a program may override."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .address import AddressError, parse_path
from .options import ServerOptions

BEFORE_TLS = frozenset({"EHLO", "HELO", "NOOP", "QUIT", "STARTTLS"})  # RFC 3207, 4

_HELP = {
    "EHLO": " hostname",
    "HELO": " hostname",
    "MAIL": " FROM: <address>",
    "RCPT": " TO: <address>",
    "DATA": "",
    "RSET": "",
    "NOOP": "",
    "QUIT": "",
    "VRFY": " <address>",
}
_HELP_LIST = " ".join(_HELP)


class Commands:
    """The commands of a `SMTPChannel`. ``arg``: what follows the command, None where nothing does."""

    mailfrom: str | None
    rcpttos: list[str]
    mail_options: list[str]
    rcpt_options: list[str]
    seen_greeting: str
    extended_smtp: bool
    enable_SMTPUTF8: bool
    require_SMTPUTF8: bool
    data_size_limit: int | None
    command_size_limits: dict[str, int]
    fqdn: str
    tls: bool
    _decode_data: bool
    _ended: bool
    _options: ServerOptions

    if TYPE_CHECKING:

        def push(self, msg: str) -> None: ...
        def close_when_done(self) -> None: ...
        def _note(self, *words: object) -> None: ...
        def _set_rset_state(self) -> None: ...
        def _begin_message(self) -> None: ...
        def _begin_tls(self) -> None: ...

    def smtp_HELO(self, arg: str | None) -> None:
        if self._greeted("HELO", arg):
            self.push(f"250 {self.fqdn}")

    def smtp_EHLO(self, arg: str | None) -> None:
        if not self._greeted("EHLO", arg):
            return
        self.extended_smtp = True
        self.push(f"250-{self.fqdn}")
        if self.data_size_limit:
            self.push(f"250-SIZE {self.data_size_limit}")
            self.command_size_limits["MAIL"] += 26
        if not self._decode_data:
            self.push("250-8BITMIME")
        if self.enable_SMTPUTF8:
            self.push("250-SMTPUTF8")
            self.command_size_limits["MAIL"] += 10
        if self._options.pipelining:
            self.push("250-PIPELINING")
        if self._options.tls_context is not None and not self.tls:
            self.push("250-STARTTLS")
        self.push("250 HELP")

    def _greeted(self, command: str, arg: str | None) -> bool:
        if not arg:
            self.push(f"501 Syntax: {command} hostname")
        elif self.seen_greeting:
            self.push("503 Duplicate HELO/EHLO")
        else:
            self._set_rset_state()
            self.seen_greeting = arg
            return True
        return False

    def smtp_NOOP(self, arg: str | None) -> None:
        self.push("501 Syntax: NOOP" if arg else "250 OK")

    def smtp_QUIT(self, arg: str | None) -> None:
        self._ended = True
        self.push("221 Bye")
        self.close_when_done()

    def _strip_command_keyword(self, keyword: str, arg: str) -> str:
        """What follows ``keyword`` (in capitals) in ``arg``; empty where it does not begin with that."""
        size = len(keyword)
        return arg[size:].strip() if arg[:size].upper() == keyword else ""

    def _getaddr(self, arg: str | None) -> tuple[str, str]:
        """The address in ``arg`` and what follows it; both empty where there is none."""
        if not arg:
            return "", ""
        try:
            return parse_path(arg)
        except AddressError:
            return "", ""

    def _getparams(self, params: list[str]) -> dict[str, str | bool] | None:
        """``NAME=value`` and ``NAME``, which is True, by name. None where one of them is neither."""
        found: dict[str, str | bool] = {}
        for param in params:
            name, equals, value = param.partition("=")
            if not name.isalnum() or (equals and not value):
                return None
            found[name] = value if equals else True
        return found

    def smtp_HELP(self, arg: str | None) -> None:
        if not arg:
            self.push(f"250 Supported commands: {_HELP_LIST}")
            return
        command = arg.upper()
        if command not in _HELP:
            self.push(f"501 Supported commands: {_HELP_LIST}")
            return
        text = f"250 Syntax: {command}{_HELP[command]}"
        if self.extended_smtp and command in ("MAIL", "RCPT"):
            text += " [SP <mail-parameters>]"
        self.push(text)

    def smtp_VRFY(self, arg: str | None) -> None:
        if not arg:
            self.push("501 Syntax: VRFY <address>")
        elif self._getaddr(arg)[0]:
            self.push("252 Cannot VRFY user, but will accept message and attempt delivery")
        else:
            self.push(f"502 Could not VRFY {arg}")

    def smtp_EXPN(self, arg: str | None) -> None:
        self.push("502 EXPN not implemented")

    def _path(self, keyword: str, arg: str | None) -> tuple[str, str] | None:
        """The address of MAIL or RCPT, and its options. None, and the peer has been told, where it cannot be read."""
        if arg is not None:
            address, rest = self._getaddr(self._strip_command_keyword(keyword, arg))
            if address and (self.extended_smtp or not rest):
                return address, rest
        self._push_syntax(keyword)
        return None

    def _push_syntax(self, keyword: str) -> None:
        command = "MAIL" if keyword == "FROM:" else "RCPT"
        more = " [SP <mail-parameters>]" if self.extended_smtp else ""
        self.push(f"501 Syntax: {command} {keyword} <address>{more}")

    def smtp_MAIL(self, arg: str | None) -> None:
        if not self.seen_greeting:
            self.push("503 Error: send HELO first")
            return
        self._note("===> MAIL", arg)
        path = self._path("FROM:", arg)
        if path is None:
            return
        if self.mailfrom:
            self.push("503 Error: nested MAIL command")
            return
        address, rest = path
        self.mail_options = rest.upper().split()
        if self.mail_options and not self._takes(self._getparams(self.mail_options)):
            return
        self.mailfrom = address
        self._note("sender:", address)
        self.push("250 OK")

    def _takes(self, options: dict[str, str | bool] | None) -> bool:
        """Can MAIL be obeyed with these? The peer has been told where it cannot."""
        if options is None:
            self._push_syntax("FROM:")
            return False
        if not self._decode_data and options.pop("BODY", "7BIT") not in ("7BIT", "8BITMIME"):
            self.push("501 Error: BODY can only be one of 7BIT, 8BITMIME")
            return False
        utf8 = options.pop("SMTPUTF8", False) if self.enable_SMTPUTF8 else False
        if not isinstance(utf8, bool):
            self.push("501 Error: SMTPUTF8 takes no arguments")
            return False
        self.require_SMTPUTF8 = self.require_SMTPUTF8 or utf8
        size = options.pop("SIZE", "0")
        if isinstance(size, bool) or not (size.isascii() and size.isdigit()):
            self._push_syntax("FROM:")
            return False
        if self.data_size_limit and int(size) > self.data_size_limit:
            self.push("552 Error: message size exceeds fixed maximum message size")
            return False
        if options:
            self.push("555 MAIL FROM parameters not recognized or not implemented")
            return False
        return True

    def smtp_RCPT(self, arg: str | None) -> None:
        if not self.seen_greeting:
            self.push("503 Error: send HELO first")
            return
        self._note("===> RCPT", arg)
        if not self.mailfrom:
            self.push("503 Error: need MAIL command")
            return
        path = self._path("TO:", arg)
        if path is None:
            return
        address, rest = path
        self.rcpt_options = rest.upper().split()
        if self.rcpt_options:
            if self._getparams(self.rcpt_options) is None:
                self._push_syntax("TO:")
            else:
                self.push("555 RCPT TO parameters not recognized or not implemented")
            return
        most = self._options.max_recipients
        if most is not None and len(self.rcpttos) >= most:
            self.push("452 Error: too many recipients")
            return
        self.rcpttos.append(address)
        self._note("recips:", self.rcpttos)
        self.push("250 OK")

    def smtp_RSET(self, arg: str | None) -> None:
        if arg:
            self.push("501 Syntax: RSET")
            return
        self._set_rset_state()
        self.push("250 OK")

    def smtp_DATA(self, arg: str | None) -> None:
        if not self.seen_greeting:
            self.push("503 Error: send HELO first")
            return
        if not self.rcpttos:
            self.push("503 Error: need RCPT command")
            return
        if arg:
            self.push("501 Syntax: DATA")
            return
        self._begin_message()
        self.push("354 End data with <CR><LF>.<CR><LF>")

    def smtp_STARTTLS(self, arg: str | None) -> None:
        if self._options.tls_context is None:
            self.push('500 Error: command "STARTTLS" not recognized')
        elif arg:
            self.push("501 Syntax: STARTTLS")
        elif self.tls:
            self.push("503 Error: TLS is active already")
        else:
            self.push("220 Ready to start TLS")
            self._begin_tls()
