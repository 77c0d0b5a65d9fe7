# SPDX-License-Identifier: MIT
"""Servers that pass messages on."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from . import settings
from .server import SMTPServer


class PureProxy(SMTPServer):
    """Passes each message on to the server at ``remoteaddr``. It waits for that server, and serves nobody meanwhile.

    Takes no SMTPUTF8: ValueError.
    """

    __module__ = "cyncore.smtpd"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("enable_SMTPUTF8"):
            raise ValueError(f"{type(self).__name__} does not support SMTPUTF8.")
        super().__init__(*args, **kwargs)

    def process_message(self, peer: Any, mailfrom: str, rcpttos: list[str], data: Any, **kwargs: Any) -> str | None:
        lines = data.split("\n" if isinstance(data, str) else b"\n")
        header = f"X-Peer: {peer[0]}"
        end = lines.index(data[:0]) if data[:0] in lines else len(lines)
        lines.insert(end, header if isinstance(data, str) else header.encode())
        refused = self._deliver(mailfrom, rcpttos, (settings.NEWLINE if isinstance(data, str) else b"\n").join(lines))
        settings.debug("we got some refusals:", refused)
        return _refusal(rcpttos, refused)

    def _deliver(self, mailfrom: str, rcpttos: list[str], data: Any) -> dict[str, tuple[int, Any]]:
        """Returns code and text of the reply for each recipient that was refused; -1 as the code if there was none."""
        import smtplib  # slow to import, and needed here alone

        if isinstance(data, str):
            data = data.encode()
        try:
            remote = smtplib.SMTP(self._remoteaddr[0], self._remoteaddr[1])
            try:
                return remote.sendmail(mailfrom, rcpttos, re.sub(rb"\r\n|\r|\n", b"\r\n", data))
            finally:
                # The message has its answer already, whatever the other server replies to QUIT.
                with suppress(OSError, smtplib.SMTPException):
                    remote.quit()
                remote.close()
        except smtplib.SMTPRecipientsRefused as error:
            settings.debug("got SMTPRecipientsRefused")
            return dict(error.recipients)
        except (OSError, smtplib.SMTPException) as error:
            settings.debug("got", type(error))
            said = getattr(error, "smtp_code", -1), getattr(error, "smtp_error", "ignore")
            return dict.fromkeys(rcpttos, said)


def _refusal(rcpttos: list[str], refused: dict[str, tuple[int, Any]]) -> str | None:
    """The reply for a message that no recipient got: that of the other server, or one that asks to try again."""
    if not refused or not all(recipient in refused for recipient in rcpttos):
        return None
    code, text = refused[rcpttos[0]]
    if not 400 <= code <= 599:
        return "451 Error: the next server cannot be reached"
    words = text.decode("ascii", "replace") if isinstance(text, bytes) else str(text)
    return f"{code} {' '.join(words.split())}"


class MailmanProxy(PureProxy):
    """Handed messages to GNU Mailman 2, which needs Python 2. RuntimeError: it can do nothing any more."""

    __module__ = "cyncore.smtpd"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("MailmanProxy needs GNU Mailman 2, which does not run on Python 3")
