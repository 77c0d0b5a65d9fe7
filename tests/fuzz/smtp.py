# SPDX-License-Identifier: MIT
"""smtpd: both engines give the same replies and messages, however the input is cut, and the old module most of them."""

from __future__ import annotations

import functools
import socket
from typing import Any
from unittest import mock

from tests.fuzz.engines import Engine, Fields, engines, send
from tests.support.old import load, load_asynchat

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"data_size_limit": 100},
    {"enable_SMTPUTF8": True},
    {"decode_data": True},
    {"data_size_limit": None, "enable_SMTPUTF8": True},
)
TOKENS = (
    b"HELO x\r\n", b"EHLO x\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n", b"\r\n.\r\n", b"RSET\r\n",
    b"NOOP\r\n", b"QUIT\r\n", b"HELP MAIL\r\n", b"VRFY a@b\r\n", b"EXPN a\r\n", b" SIZE=5", b" BODY=8BITMIME",
    b" SMTPUTF8", b"<", b">", b'"', b"\r\n", b"..", b"\xc3\xa4", b"\xff", b"\0", b"@", b"x" * 90, b"MAIL FROM:",
)  # fmt: skip


class Mails:
    """Stands for a server: it keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def process_message(self, peer: Any, mailfrom: Any, rcpttos: Any, data: Any, **more: Any) -> None:
        self.messages.append((mailfrom, list(rcpttos), data, more))


def heard(sock: socket.socket) -> bytes:
    got = b""
    try:
        while data := sock.recv(1 << 16):
            got += data
    except (BlockingIOError, ConnectionError):
        pass
    return got


def channel(module: Any, mails: Mails, near: socket.socket, map: Any, options: dict[str, Any]) -> Any:
    def handle_error(self: Any) -> None:
        raise AssertionError("a handler has failed")

    kind = type("Channel", (module.SMTPChannel,), {"handle_error": handle_error})
    with mock.patch.object(socket, "getfqdn", return_value="host"):
        return kind(mails, near, "peer", map=map, **options)


def ours(engine: Engine, options: dict[str, Any], parts: list[bytes]) -> Any:
    mails, replies = Mails(), b""
    with engine.pair() as (near, far):
        made = channel(engine.package.smtpd, mails, near, engine.loop.map, options)

        def sign() -> Any:
            nonlocal replies
            replies += heard(far)
            return len(replies), len(mails.messages)

        engine.settle(sign)
        for part in parts:
            send(far, part)
            engine.settle(sign)
        state = made.smtp_state, made.mailfrom, made.rcpttos, made.seen_greeting
    return replies, mails.messages, state


@functools.cache
def old_module() -> Any:
    """The old smtpd, or None where there is none."""
    try:
        loop, chat = load_asynchat()
        return load("smtpd", asyncore=loop, asynchat=chat)
    except ImportError:
        return None


def compare_with_old(options: dict[str, Any], data: bytes) -> None:
    """Line by line, up to the first one with which the old module had a defect: docs/smtpd.md lists them."""
    module, engine, mails = old_module(), engines()[0], (Mails(), Mails())
    with engine.pair() as (old_near, old_far), engine.pair() as (near, far):
        before = channel(module, mails[0], old_near, {}, options)
        now = channel(engine.package.smtpd, mails[1], near, engine.loop.map, options)
        assert heard(old_far) == heard(far)
        for line in data.split(b"\r\n")[:-1]:
            in_message = before.smtp_state == before.DATA
            text = line.decode("latin-1")
            if not in_message and (not text.isascii() or set(text) & set("\0\r\n") or len(line) > 500):
                return
            if not in_message and (text.rstrip(" >").endswith('"') or "=?" in text):
                return  # a quote that opens at the end of an address, and encoded words
            if in_message and options.get("decode_data") and not text.isascii():
                return
            if in_message and line == b"." and not any(before.received_lines):
                return  # a message of nothing but its end
            for sock in (old_far, far):
                send(sock, line + b"\r\n")
            try:
                before.handle_read()
            except Exception:
                return
            now.handle_read()
            said, told = heard(old_far), heard(far)
            assert told == said, f"{told!r} instead of {said!r}, after {line!r}"
            assert mails[1].messages == mails[0].messages
            if b"552 Error: Too much" in said or said.startswith((b"221", b"5")):
                return
            assert (now.smtp_state, now.mailfrom, now.rcpttos) == (before.smtp_state, before.mailfrom, before.rcpttos)


def run(data: bytes) -> None:
    """AssertionError for a session that does not go as it must."""
    fields = Fields(data)
    options = OPTIONS[fields.number(len(OPTIONS))]
    parts = fields.pieces()
    whole = b"".join(parts)
    outcomes = [
        (engine.package.__name__, ours(engine, options, some))
        for engine in engines()
        for some in (parts, [whole] if whole else [])
    ]
    for name, outcome in outcomes[1:]:
        assert outcome == outcomes[0][1], f"{name}: {outcome} instead of {outcomes[0][1]}"
    if old_module() is not None:
        compare_with_old(options, whole)
