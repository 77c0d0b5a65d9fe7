# SPDX-License-Identifier: MIT
"""Random sessions, with the old module and with ours: the same replies, and the same messages.

What is cured is not in them: docs/smtpd.md lists it.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyncore import asyncore, smtpd
from tests.support.old import load, load_asynchat

STEPS = int(os.environ.get("CYNCORE_DIFF_STEPS", "100"))


def _load_old() -> ModuleType:
    loop, chat = load_asynchat()
    return load("smtpd", asyncore=loop, asynchat=chat)


try:
    old = _load_old()
except ImportError:
    pytest.skip("there is no old smtpd here", allow_module_level=True)

pieces = [
    "",
    " ",
    "FROM:",
    "TO:",
    "from:",
    "<a@b.c>",
    "a@b",
    "<>",
    "<",
    ">",
    '"q r"@x',
    "x",
    "SIZE=5",
    "SIZE=999",
    "BODY=8BITMIME",
]
pieces += [
    "BODY=x",
    "SMTPUTF8",
    "SMTPUTF8=1",
    "a=b",
    "=",
    "HELO",
    "MAIL",
    "RCPT",
    "data",
    "none",
    "<@r:a@b>",
    "\u00e4@b",
    "x" * 500,
]
verbs = ["HELO", "EHLO", "ehlo", "MAIL", "mail", "RCPT", "DATA", "RSET", "NOOP", "HELP", "VRFY", "EXPN", "what", "Rcpt"]
command = st.builds(
    lambda verb, words: f"{verb}{' ' * bool(words)}{' '.join(words)}",
    *[st.sampled_from(verbs), st.lists(st.sampled_from(pieces), max_size=4)],
)
usual = st.sampled_from(["EHLO x", "HELO x", "MAIL FROM:<a@b>", "MAIL FROM:<a@b> SIZE=9", "RCPT TO:<c@d>", "RSET"])
text = st.lists(st.sampled_from(["a", "..", ".b", "", "\r", "\n.", "x\n", "\xe4"]), max_size=6)
message = text.map(lambda lines: "\r\n".join(["DATA", "first", *lines, "."]))
whole = message.map(lambda data: ["EHLO x", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", data])
sessions = st.lists((command | usual | message).map(lambda line: [line]) | whole, min_size=1, max_size=12).map(
    lambda parts: [line for part in parts for line in part]
)
options = st.fixed_dictionaries(
    {},
    optional={
        "data_size_limit": st.sampled_from([100, None]),
        "enable_SMTPUTF8": st.booleans(),
        "decode_data": st.booleans(),
    },
).filter(lambda given: not (given.get("decode_data") and given.get("enable_SMTPUTF8")))


class _Server:
    def __init__(self) -> None:
        self.messages: list[Any] = []

    def process_message(self, peer: Any, mailfrom: Any, rcpttos: Any, data: Any, **more: Any) -> None:
        self.messages.append((mailfrom, list(rcpttos), data, more))


@contextlib.contextmanager
def _connection(module: ModuleType, server: _Server, given: dict[str, Any]) -> Iterator[tuple[Any, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    with mock.patch.object(socket, "getfqdn", return_value="host"):
        channel = module.SMTPChannel(server, ours, "peer", map={}, **given)
    try:
        yield channel, theirs
    finally:
        channel.close()
        theirs.close()
        ours.close()


def _told(theirs: socket.socket) -> bytes:
    try:
        return theirs.recv(1 << 16)
    except BlockingIOError:
        return b""


@settings(max_examples=STEPS, deadline=None)
@given(sessions, options)
def test_sessions_go_as_with_the_old_module(session: list[str], given: dict[str, Any]) -> None:
    servers = _Server(), _Server()
    with (
        _connection(old, servers[0], given) as (before, old_peer),
        _connection(smtpd, servers[1], given) as (now, peer),
    ):
        assert _told(old_peer) == _told(peer)
        for line in session:
            if not before.rcpttos:
                line = line.partition("\r\n")[0]  # a message that nobody asked for would be commands
            data = line.encode() + b"\r\n"
            old_peer.sendall(data)
            peer.sendall(data)
            try:
                before.handle_read()
            except Exception:  # it would have closed the connection
                break
            now.handle_read()
            said = _told(peer)
            assert said == _told(old_peer)
            assert servers[1].messages == servers[0].messages
            if b"552 Error: Too much" in said:
                break  # the old one takes all that follows for the same message
            assert now.smtp_state == before.smtp_state
            assert (now.mailfrom, now.rcpttos, now.seen_greeting) == (
                before.mailfrom,
                before.rcpttos,
                before.seen_greeting,
            )
    assert not asyncore.socket_map
