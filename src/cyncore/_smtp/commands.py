# SPDX-License-Identifier: MIT
"""What a mail server answers to each command: the ``smtp_`` methods of a channel, which a program may override."""

from __future__ import annotations

from . import settings
from .address import AddressError, parse_path
from .input import begin_message
from .options import option
from .session import Conversation
from .starttls import switch

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


class Commands(Conversation):
    """The commands of a `SMTPChannel`. ``arg``: what follows the command, None where nothing does."""

    def smtp_HELO(self, arg: str | None) -> None:
        if _greeted(self, "HELO", arg):
            self.push(f"250 {self.fqdn}")

    def smtp_EHLO(self, arg: str | None) -> None:
        if not _greeted(self, "EHLO", arg):
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
        if option(self._cyncore.options, "pipelining"):
            self.push("250-PIPELINING")
        if option(self._cyncore.options, "tls_context") is not None and not self._cyncore.is_tls:
            self.push("250-STARTTLS")
        self.push("250 HELP")

    def smtp_NOOP(self, arg: str | None) -> None:
        self.push("501 Syntax: NOOP" if arg else "250 OK")

    def smtp_QUIT(self, arg: str | None) -> None:
        self._cyncore.ignores_input = True
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

    def smtp_MAIL(self, arg: str | None) -> None:
        if not self.seen_greeting:
            self.push("503 Error: send HELO first")
            return
        settings.debug("===> MAIL", arg)
        path = _path(self, "FROM:", arg)
        if path is None:
            return
        if self.mailfrom:
            self.push("503 Error: nested MAIL command")
            return
        address, rest = path
        self.mail_options = rest.upper().split()
        if self.mail_options and not _takes(self, self._getparams(self.mail_options)):
            return
        self.mailfrom = address
        settings.debug("sender:", address)
        self.push("250 OK")

    def smtp_RCPT(self, arg: str | None) -> None:
        if not self.seen_greeting:
            self.push("503 Error: send HELO first")
            return
        settings.debug("===> RCPT", arg)
        if not self.mailfrom:
            self.push("503 Error: need MAIL command")
            return
        path = _path(self, "TO:", arg)
        if path is None:
            return
        address, rest = path
        self.rcpt_options = rest.upper().split()
        if self.rcpt_options:
            if self._getparams(self.rcpt_options) is None:
                _push_syntax(self, "TO:")
            else:
                self.push("555 RCPT TO parameters not recognized or not implemented")
            return
        most = option(self._cyncore.options, "max_recipients")
        if most is not None and len(self.rcpttos) >= most:
            self.push("452 Error: too many recipients")
            return
        self.rcpttos.append(address)
        settings.debug("recips:", self.rcpttos)
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
        begin_message(self)
        self.push("354 End data with <CR><LF>.<CR><LF>")

    def smtp_STARTTLS(self, arg: str | None) -> None:
        if option(self._cyncore.options, "tls_context") is None:
            self.push('500 Error: command "STARTTLS" not recognized')
        elif arg:
            self.push("501 Syntax: STARTTLS")
        elif self._cyncore.is_tls:
            self.push("503 Error: TLS is active already")
        else:
            self.push("220 Ready to start TLS")
            switch(self)


def _greeted(channel: Commands, command: str, arg: str | None) -> bool:
    if not arg:
        channel.push(f"501 Syntax: {command} hostname")
    elif channel.seen_greeting:
        channel.push("503 Duplicate HELO/EHLO")
    else:
        channel._set_rset_state()
        channel.seen_greeting = arg
        return True
    return False


def _path(channel: Commands, keyword: str, arg: str | None) -> tuple[str, str] | None:
    """The address of MAIL or RCPT, and its options. None, and the peer has been told, where it cannot be read."""
    if arg is not None:
        address, rest = channel._getaddr(channel._strip_command_keyword(keyword, arg))
        if address and (channel.extended_smtp or not rest):
            return address, rest
    _push_syntax(channel, keyword)
    return None


def _push_syntax(channel: Commands, keyword: str) -> None:
    command = "MAIL" if keyword == "FROM:" else "RCPT"
    more = " [SP <mail-parameters>]" if channel.extended_smtp else ""
    channel.push(f"501 Syntax: {command} {keyword} <address>{more}")


def _takes(channel: Commands, options: dict[str, str | bool] | None) -> bool:
    """Can MAIL be obeyed with these? The peer has been told where it cannot."""
    if options is None:
        _push_syntax(channel, "FROM:")
        return False
    if not channel._decode_data and options.pop("BODY", "7BIT") not in ("7BIT", "8BITMIME"):
        channel.push("501 Error: BODY can only be one of 7BIT, 8BITMIME")
        return False
    utf8 = options.pop("SMTPUTF8", False) if channel.enable_SMTPUTF8 else False
    if not isinstance(utf8, bool):
        channel.push("501 Error: SMTPUTF8 takes no arguments")
        return False
    channel.require_SMTPUTF8 = channel.require_SMTPUTF8 or utf8
    size = options.pop("SIZE", "0")
    if isinstance(size, bool) or not (size.isascii() and size.isdigit()):
        _push_syntax(channel, "FROM:")
        return False
    if channel.data_size_limit and int(size) > channel.data_size_limit:
        channel.push("552 Error: message size exceeds fixed maximum message size")
        return False
    if options:
        channel.push("555 MAIL FROM parameters not recognized or not implemented")
        return False
    return True
