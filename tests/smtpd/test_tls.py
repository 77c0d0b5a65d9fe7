# SPDX-License-Identifier: MIT
"""STARTTLS, and TLS from the first byte: for clients that keep to the protocol, and for those that do not."""

from __future__ import annotations

import os
import smtplib
import socket
import ssl
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from cyncore import asynchat, asyncore, smtpd
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.peers import poll_until
from tests.support.smtpd import ENVELOPE, GREETING, HOST, Client, Mail
from tests.support.smtpd import mail_fixture as mail_fixture

READY = b"220 Ready to start TLS\r\n"


def _offers(client: Client) -> bool:
    client.say(GREETING)
    return b"250-STARTTLS\r\n" in client.hear(b"250 HELP\r\n")


def _wrap(client: Client, tls: ssl.SSLContext) -> None:
    """The client's side of a handshake."""
    sock = tls.wrap_socket(client.sock, server_hostname="localhost", do_handshake_on_connect=False)
    client.sock = sock

    def done() -> bool:
        try:
            sock.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        return True

    poll_until(client.loop, done)


def _context(certificate: Path, kind: type[ssl.SSLSocket]) -> ssl.SSLContext:
    """One for servers, whose sockets are of that class."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sslsocket_class = kind
    return context


def _upgrade(client: Client, tls: ssl.SSLContext, behind: bytes = b"") -> None:
    client.say(b"STARTTLS\r\n" + behind)
    assert client.hear() == READY
    _wrap(client, tls)


def test_starttls_is_unknown_without_a_context(mail: Mail) -> None:
    client = mail.client(mail.server())
    assert not _offers(client)
    assert client.ask(b"STARTTLS\r\n") == ['500 Error: command "STARTTLS" not recognized']


def test_starttls_is_offered_until_it_was_used(
    mail: Mail, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    client = mail.client(mail.server(tls_context=server_tls))
    assert _offers(client)
    _upgrade(client, client_tls)
    assert not _offers(client)
    assert client.ask(b"STARTTLS\r\n") == ["503 Error: TLS is active already"]


def test_message_comes_over_tls(mail: Mail, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    server = mail.server(tls_context=server_tls)
    message = b"x" * 70 + b"\r\n"

    def send() -> dict[str, Any]:
        with smtplib.SMTP(HOST, server.port, "client.example", timeout=20) as client:
            client.starttls(context=client_tls)
            return client.sendmail("a@example.com", ["b@example.com"], message * 5000)

    assert mail.serve(send) == {}
    assert server.messages == [("a@example.com", ["b@example.com"], (message * 5000).replace(b"\r\n", b"\n")[:-1])]
    assert server.channels[0].tls


def test_program_can_ask_what_was_agreed(mail: Mail, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    server = mail.server(tls_context=server_tls)
    client = mail.client(server)
    _upgrade(client, client_tls)
    client.ask(b"NOOP\r\n")
    assert server.channels[0].socket.version() == client.sock.version()


def test_nothing_said_before_tls_counts_after_it(
    mail: Mail, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    client = mail.client(mail.server(tls_context=server_tls), GREETING)
    client.ask(b"MAIL FROM:<a@a>\r\nRCPT TO:<b@b>\r\n", 2)
    _upgrade(client, client_tls)
    assert client.ask(b"MAIL FROM:<a@a>\r\n") == ["503 Error: send HELO first"]
    assert client.ask(b"EHLO x\r\nDATA\r\n", 2)[1] == "503 Error: need RCPT command"


@pytest.mark.parametrize("injected", [b"RSET\r\nNOOP\r\n", GREETING + ENVELOPE + b"evil\r\n.\r\n", b"EHLO ev"])
def test_plain_commands_behind_starttls_are_not_obeyed(
    mail: Mail, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, injected: bytes
) -> None:
    server = mail.server(tls_context=server_tls)
    client = mail.client(server)
    _upgrade(client, client_tls, injected)
    assert client.ask(GREETING) == ["250 HELP"]
    assert client.ask(b"NOOP\r\n") == ["250 OK"]
    assert server.messages == []


def test_replies_before_starttls_are_not_lost(
    mail: Mail, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    client = mail.client(mail.server(tls_context=server_tls))
    client.say(b"NOOP\r\nSTARTTLS\r\n")
    assert client.hear(READY) == b"250 OK\r\n" + READY
    _wrap(client, client_tls)
    assert client.ask(b"NOOP\r\n") == ["250 OK"]


@pytest.mark.parametrize("noise", [b"MAIL FROM:<a@a>\r\n", b"\x16\x03\x01" + b"\xff" * 600, b"\r\n" * 5000])
def test_what_is_no_handshake_is_closed(mail: Mail, server_tls: ssl.SSLContext, noise: bytes) -> None:
    server = mail.server(tls_context=server_tls)
    client, other = mail.client(server), mail.client(server)
    client.say(b"STARTTLS\r\n")
    assert client.hear() == READY
    client.say(noise)
    client.hear_the_end()
    assert other.ask(b"NOOP\r\n") == ["250 OK"]


def test_noise_within_tls_is_closed(
    mail: Mail, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, capfd: pytest.CaptureFixture[str]
) -> None:
    server = mail.server(tls_context=server_tls)
    client = mail.client(server)
    _upgrade(client, client_tls)
    os.write(client.sock.fileno(), b"MAIL FROM:<a@a>\r\n")
    poll_until(mail.loop, lambda: len(mail.loop.map) == 1)
    assert capfd.readouterr().out == ""


def test_peer_that_leaves_in_the_handshake_is_forgotten(mail: Mail, server_tls: ssl.SSLContext) -> None:
    server = mail.server(tls_context=server_tls, max_connections=1)
    for _ in range(3):
        client = mail.client(server)
        client.say(b"STARTTLS\r\n")
        client.hear()
        client.close()
        poll_until(mail.loop, lambda: len(mail.loop.map) == 1)


def test_handshake_has_a_limit(mail: Mail, server_tls: ssl.SSLContext) -> None:
    client = mail.client(mail.server(tls_context=server_tls, tls_timeout=0.05))
    client.say(b"STARTTLS\r\n")
    assert client.hear() == READY
    assert client.hear_the_end() == b""


def test_handshake_without_a_limit(mail: Mail, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    client = mail.client(mail.server(tls_context=server_tls, tls_timeout=None))
    _upgrade(client, client_tls)
    assert client.ask(b"NOOP\r\n") == ["250 OK"]


def test_handshake_is_not_late_because_the_server_is(
    mail: Mail, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    limit = 0.5
    client = mail.client(mail.server(tls_context=server_tls, tls_timeout=limit))
    client.say(b"STARTTLS\r\n")
    assert client.hear() == READY
    mail.loop.poll(0)  # the handshake begins
    time.sleep(limit * 1.5)  # something else keeps the server from it
    _wrap(client, client_tls)
    assert client.ask(b"NOOP\r\n") == ["250 OK"]


@pytest.mark.parametrize("option", ["require_starttls", "tls_implicit"])
def test_tls_cannot_be_demanded_without_a_certificate(option: str) -> None:
    with pytest.raises(ValueError, match=option):
        smtpd.SMTPServer((HOST, 0), None, **{option: True})
    with pytest.raises(ValueError, match=option):
        type("Server", (smtpd.SMTPServer,), {option: True})((HOST, 0), None)
    assert not asyncore.socket_map


@pytest.mark.parametrize("option", ["require_starttls", "tls_implicit"])
def test_tls_demanded_too_late_lets_no_mail_in(mail: Mail, option: str) -> None:
    server = mail.server()
    setattr(server, option, True)
    assert mail.client(server, GREETING).ask(b"MAIL FROM:<a@a>\r\n")[0][:3] == "530"


def test_channel_closed_in_the_handshake_takes_it_along(mail: Mail, server_tls: ssl.SSLContext) -> None:
    server = mail.server(tls_context=server_tls)
    client = mail.client(server)
    client.say(b"STARTTLS\r\n")
    client.hear()
    mail.loop.poll(0)
    server.channels[0].close()
    assert len(mail.loop.map) == 1
    client.hear_the_end()


def test_replies_that_the_peer_does_not_read_arrive_in_the_end(
    mail: Mail, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    client = mail.client(mail.server(tls_context=server_tls))
    _upgrade(client, client_tls)
    commands, sent = b"HELP\r\n" * 20_000, 0
    for _ in range(3000):
        try:
            sent += client.sock.send(commands[sent : sent + 6000])
        except ssl.SSLWantWriteError:
            if not mail.loop.poll(0.005):
                break
        if sent >= len(commands):
            break
    heard = 0

    def said_and_heard() -> bool:
        nonlocal sent, heard
        heard += client.listen().count(b"\n")
        client.heard = b""
        try:
            if sent < len(commands):
                sent += client.sock.send(commands[sent : sent + 6000])
        except ssl.SSLWantWriteError:
            pass
        return heard == 20_000

    poll_until(mail.loop, said_and_heard, 50_000)


def test_mail_is_refused_before_tls_where_that_is_asked_for(
    mail: Mail, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    client = mail.client(mail.server(tls_context=server_tls, require_starttls=True))
    assert client.ask(GREETING) == ["250 HELP"]
    assert client.ask(b"MAIL FROM:<a@a>\r\n") == ["530 Must issue a STARTTLS command first"]
    assert client.ask(b"NOOP\r\n") == ["250 OK"]
    _upgrade(client, client_tls)
    assert client.ask(GREETING + b"MAIL FROM:<a@a>\r\n", 2)[1] == "250 OK"


def test_tls_from_the_first_byte(mail: Mail, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    server = mail.server(tls_context=server_tls, tls_implicit=True, idle_timeout=100)

    def send() -> dict[str, Any]:
        with smtplib.SMTP_SSL("localhost", server.port, "client.example", context=client_tls, timeout=20) as client:
            assert not client.has_extn("starttls")
            return client.sendmail("a@example.com", ["b@example.com"], b"hello\r\n")

    assert mail.serve(send) == {}
    assert server.messages == [("a@example.com", ["b@example.com"], b"hello")]


def test_plain_client_of_a_tls_server_hears_nothing(mail: Mail, server_tls: ssl.SSLContext) -> None:
    client = mail.silent_client(mail.server(tls_context=server_tls, tls_implicit=True))
    client.say(b"EHLO x\r\n")
    assert b"220" not in client.hear_the_end()


def test_peer_hears_that_the_end_is_meant(mail: Mail, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    client = mail.client(mail.server(tls_context=server_tls))
    _upgrade(client, client_tls)
    client.sock.suppress_ragged_eofs = False
    client.say(b"QUIT\r\n")
    assert client.hear_the_end() == b"221 Bye\r\n"  # an end without close_notify would raise


def test_handshake_that_has_to_write_waits_for_room(mail: Mail, certificate: Path, client_tls: ssl.SSLContext) -> None:
    class Slow(ssl.SSLSocket):
        waits = True

        def do_handshake(self, block: bool = False) -> None:
            if self.waits:
                self.waits = False
                raise ssl.SSLWantWriteError("no room")
            super().do_handshake(block)

    context = _context(certificate, Slow)
    client = mail.client(mail.server(tls_context=context))
    _upgrade(client, client_tls)
    assert client.ask(GREETING)[-1] == "250 HELP"


def test_peer_that_leaves_while_the_handshake_waits_for_room_is_forgotten(mail: Mail, certificate: Path) -> None:
    class Stuck(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            raise ssl.SSLWantWriteError("no room")

    server = mail.server(tls_context=_context(certificate, Stuck))
    client = mail.client(server)
    client.say(b"STARTTLS\r\n")
    assert client.hear() == READY
    mail.loop.poll(0.02)  # the handshake begins
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    poll_until(mail.loop, lambda: list(mail.loop.map.values()) == [server])


def test_connection_that_tls_does_not_take_is_closed(mail: Mail) -> None:
    class Refusing(ssl.SSLContext):
        def wrap_socket(self, *args: Any, **more: Any) -> Any:
            raise OSError("not connected")

    client = mail.client(mail.server(tls_context=Refusing(ssl.PROTOCOL_TLS_SERVER)))
    client.say(b"STARTTLS\r\n")
    assert client.hear_the_end() == READY


def test_channel_that_closes_behind_its_reply_begins_no_handshake(mail: Mail, server_tls: ssl.SSLContext) -> None:
    class Closing(smtpd.SMTPChannel):
        def push(self, msg: str) -> None:
            super().push(msg)
            if msg.startswith("220 Ready"):
                self.close()

    server = mail.server(tls_context=server_tls)
    server.channel_class = Closing
    client = mail.client(server)
    client.say(b"STARTTLS\r\n")
    assert client.hear_the_end() == READY
    mail.loop.poll(0.02)  # in which it would begin
    assert list(mail.loop.map.values()) == [server]


def test_peer_that_leaves_replies_unread_gets_no_handshake(mail: Mail, server_tls: ssl.SSLContext) -> None:
    server = mail.server(tls_context=server_tls)
    client = mail.near_client(server)
    client.hear()
    asynchat.async_chat.push(server.channels[0], bytes(2_000_000))
    client.say(b"STARTTLS\r\n")
    poll_until(mail.loop, lambda: list(mail.loop.map.values()) == [server])


def test_starttls_takes_no_argument(mail: Mail, server_tls: ssl.SSLContext) -> None:
    client = mail.client(mail.server(tls_context=server_tls))
    assert client.ask(b"STARTTLS now\r\n") == ["501 Syntax: STARTTLS"]
