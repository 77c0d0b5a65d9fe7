# SPDX-License-Identifier: MIT
"""What a client is answered, and what of its bytes becomes a message."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from cyncore import smtpd
from tests.support.smtpd import ENVELOPE, GREETING, Mail
from tests.support.smtpd import mail_fixture as mail_fixture

BAD = "500 Error: bad syntax"


def test_greeting_names_the_host_and_the_program(mail: Mail) -> None:
    server = mail.server()
    heard = mail.silent_client(server).hear()
    assert heard == f"220 {server.channels[0].fqdn} Python SMTP proxy version 0.3\r\n".encode()


def test_message_is_handed_on_with_its_envelope(mail: Mail) -> None:
    server = mail.server()
    client = mail.client(server, GREETING)
    assert client.ask(ENVELOPE, 3) == ["250 OK", "250 OK", "354 End data with <CR><LF>.<CR><LF>"]
    assert client.ask(b"Subject: x\r\n\r\nhello\r\n.\r\n") == ["250 OK"]
    assert server.messages == [("a@example.com", ["b@example.com"], b"Subject: x\n\nhello")]


def test_everything_may_come_at_once(mail: Mail) -> None:
    server = mail.server()
    client = mail.client(server)
    one = ENVELOPE + b"hello\r\n.\r\n"
    said = client.ask(GREETING + one * 3 + b"QUIT\r\n", 14)
    assert said[-2:] == ["250 OK", "221 Bye"]
    assert len(server.messages) == 3


def test_everything_may_come_byte_by_byte(mail: Mail) -> None:
    server = mail.server()
    client = mail.client(server)
    for byte in GREETING + ENVELOPE + b"..a\r\n.\r\n":
        client.say(bytes([byte]))
        mail.loop.poll(0)
    client.hear(b"\r\n250 OK\r\n")
    assert server.messages[0][2] == b".a"


@pytest.mark.parametrize(
    ("sent", "data"),
    [
        (b"a\r\n.\r\n", b"a"),
        (b"a\r\n\r\n.\r\n", b"a\n"),
        (b"..\r\n.\r\n", b"."),
        (b"a\r\n...b\r\n.\r\n", b"a\n..b"),
        (b"a.\r\n.\r\n", b"a."),
        (b"\r\r\n..\r\n.\r\n", b"\r\n."),
        (b"a\r\r\n.b\r\n.\r\n", b"a\r\nb"),
        (b"a\0b\r\n.\r\n", b"a\0b"),
        (b"\xff\xfe\r\n.\r\n", b"\xff\xfe"),
    ],
)
def test_dots_and_line_ends_are_taken_out(mail: Mail, sent: bytes, data: bytes) -> None:
    server = mail.server()
    client = mail.client(server, GREETING)
    client.ask(ENVELOPE, 3)
    client.ask(sent)
    assert [message[2] for message in server.messages] == [data]


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n\n.\r\r\n"])
def test_only_the_real_end_ends_a_message(mail: Mail, end: bytes) -> None:
    server = mail.server()
    client = mail.client(server, GREETING)
    client.ask(ENVELOPE, 3)
    smuggled = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\nevil"
    assert client.ask(b"a" + end + smuggled + b"\r\n.\r\n") == ["250 OK"]
    assert [message[0] for message in server.messages] == ["a@example.com"]


def test_message_of_nothing_but_its_end_is_empty(mail: Mail) -> None:
    server = mail.server()
    client = mail.client(server, GREETING)
    client.ask(ENVELOPE, 3)
    assert client.ask(b".\r\nNOOP\r\n", 2) == ["250 OK", "250 OK"]
    assert server.messages[0][2] == b""


def test_empty_messages_may_be_pipelined(mail: Mail) -> None:
    server = mail.server()
    client = mail.client(server, GREETING)
    client.ask((ENVELOPE + b".\r\n") * 2, 8)
    assert [message[2] for message in server.messages] == [b"", b""]


def test_text_is_decoded_where_asked_for_even_when_split_within_a_character(mail: Mail) -> None:
    server = mail.server(decode_data=True)
    client = mail.client(server, GREETING)
    client.ask(ENVELOPE, 3)
    client.say(b"h\xc3")
    channel = server.channels[0]
    mail.loop.poll(0.5)
    assert channel.num_bytes == 2
    client.ask(b"\xa9llo\r\n.\r\n")
    assert server.messages[0][2] == "h\xe9llo"


def test_message_that_cannot_be_decoded_is_refused(mail: Mail) -> None:
    server = mail.server(decode_data=True)
    client = mail.client(server, GREETING)
    client.ask(ENVELOPE, 3)
    assert client.ask(b"\xff\r\n.\r\nNOOP\r\n", 2) == ["554 Error: message is not UTF-8", "250 OK"]
    assert server.messages == []


@pytest.mark.parametrize("pieces", [(b"\xff" + b"z" * 600,), (b"z" * 300, b"\xff" + b"z" * 300), (b"\xff", b"z" * 600)])
def test_reply_to_a_command_that_is_no_text_does_not_depend_on_its_pieces(mail: Mail, pieces: list[bytes]) -> None:
    client = mail.client(mail.server(decode_data=True))
    for piece in pieces:
        client.say(piece)
        mail.loop.poll(0.05)
    assert client.ask(b"\r\n") == ["500 Error: line too long"]


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize(
    "line", [b"", b"\xff\xfe", b"NOOP\0", b"NO\nOP", b"NO\rOP", b"HELO x\n", b"MAIL FROM:<a@b>\nX"]
)
def test_command_that_cannot_be_one_is_bad_syntax(mail: Mail, line: bytes, decode: bool) -> None:
    client = mail.client(mail.server(decode_data=decode))
    assert client.ask(line + b"\r\nNOOP\r\n", 2) == [BAD, "250 OK"]


def test_unknown_command_beyond_ascii_is_answered(mail: Mail) -> None:
    client = mail.client(mail.server())
    assert client.ask("\xe9\r\n".encode()) == ['500 Error: command "\\xc9" not recognized']


@pytest.mark.parametrize(
    "arg", [b"", b" ", b" FROM:", b" FROM:<", b" FROM:@", b" FROM:<a@>", b" FROM:<@a:", b" TO:<a@b>"]
)
def test_broken_address_is_a_syntax_error(mail: Mail, arg: bytes) -> None:
    client = mail.client(mail.server(), b"HELO x\r\n")
    assert client.ask(b"MAIL" + arg + b"\r\n") == ["501 Syntax: MAIL FROM: <address>"]


@pytest.mark.parametrize("option", ["SIZE", "SIZE=x", "SIZE=\xb2", "SIZE=", "=1", "A-B"])
def test_broken_option_is_a_syntax_error(mail: Mail, option: str) -> None:
    client = mail.client(mail.server(), GREETING)
    said = client.ask(f"MAIL FROM:<a@b> {option}\r\n".encode())
    assert said == ["501 Syntax: MAIL FROM: <address> [SP <mail-parameters>]"]


def test_too_large_a_message_is_refused_and_the_next_is_taken(mail: Mail) -> None:
    server = mail.server(data_size_limit=100)
    client = mail.client(server, GREETING)
    client.ask(ENVELOPE, 3)
    assert client.ask(b"x" * 200_000 + b"\r\n.\r\n") == ["552 Error: Too much mail data"]
    client.ask(ENVELOPE, 3)
    assert client.ask(b"small\r\n.\r\n") == ["250 OK"]
    assert [message[2] for message in server.messages] == [b"small"]


@pytest.mark.parametrize(("size", "reply"), [(100, "250 OK"), (101, "552 Error: Too much mail data")])
def test_size_limit_is_exact(mail: Mail, size: int, reply: str) -> None:
    client = mail.client(mail.server(data_size_limit=100), GREETING)
    client.ask(ENVELOPE, 3)
    assert client.ask(b"x" * size + b"\r\n.\r\n") == [reply]


def test_size_said_beforehand_is_checked(mail: Mail) -> None:
    client = mail.client(mail.server(data_size_limit=100), GREETING)
    assert client.ask(b"MAIL FROM:<a@b> SIZE=101\r\n") == ["552 Error: message size exceeds fixed maximum message size"]


def test_long_command_is_refused_and_the_next_is_taken(mail: Mail) -> None:
    client = mail.client(mail.server(), GREETING)
    assert client.ask(b"NOOP " + b"x" * 20_000 + b"\r\nNOOP\r\n", 2) == ["500 Error: line too long", "250 OK"]


def test_greeting_of_one_client_leaves_the_limits_of_another(mail: Mail) -> None:
    server = mail.server()
    first = mail.client(server, GREETING)
    mail.client(server, GREETING)
    line = b"MAIL FROM:<" + b"a" * (512 + 26 - len(b"MAIL FROM:<@b>")) + b"@b>\r\n"
    assert first.ask(line) == ["250 OK"]
    assert first.ask(b"x" + line) == ["500 Error: line too long"]


def test_nothing_after_quit_is_obeyed(mail: Mail) -> None:
    server = mail.server()
    client = mail.client(server, GREETING)
    client.say(b"QUIT\r\n" + ENVELOPE + b"a\r\n.\r\n")
    assert client.hear_the_end() == b"221 Bye\r\n"
    assert server.messages == []


def test_half_a_message_is_none(mail: Mail) -> None:
    server = mail.server()
    client = mail.client(server, GREETING)
    client.ask(ENVELOPE, 3)
    client.say(b"half\r\n.")
    client.close()
    for _ in range(200):
        if len(mail.loop.map) == 1:
            break
        mail.loop.poll(0.02)
    assert len(mail.loop.map) == 1
    assert server.messages == []


def test_reply_of_the_program_is_passed_on(mail: Mail) -> None:
    server = mail.server()
    server.status = "550 Kein Anschlu\xdf"
    client = mail.client(server, GREETING)
    client.ask(ENVELOPE, 3)
    assert client.ask(b"a\r\n.\r\n") == ["550 Kein Anschlu\\xdf"]


def test_smtputf8_is_for_addresses_and_replies(mail: Mail) -> None:
    server = mail.server(enable_SMTPUTF8=True)
    server.status = "250 Gr\xfc\xdfe"
    client = mail.client(server, GREETING)
    client.ask("MAIL FROM:<gr\xfc\xdfe@example.com> SMTPUTF8\r\nRCPT TO:<b@b>\r\nDATA\r\n".encode(), 3)
    assert client.ask(b"a\r\n.\r\n") == ["250 Gr\xfc\xdfe"]
    assert server.messages[0][0] == "gr\xfc\xdfe@example.com"


def test_pipelining_is_offered_where_asked_for(mail: Mail) -> None:
    plain, offering = mail.client(mail.server()), mail.client(mail.server(pipelining=True))
    plain.say(GREETING)
    offering.say(GREETING)
    assert b"PIPELINING" not in plain.hear(b"250 HELP\r\n")
    assert b"250-PIPELINING\r\n" in offering.hear(b"250 HELP\r\n")


class Eager(smtpd.SMTPChannel):
    gather_pushes = False


def packets(mail: Mail, kind: Any, *sent: bytes) -> list[bytes]:
    """What such a channel sends, by calls of send(2), when it is sent each of these in one packet."""
    if not hasattr(socket, "SOCK_SEQPACKET"):
        pytest.skip("no socket here keeps packets apart")
    try:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:
        pytest.skip("no socket here keeps packets apart")
    server = mail.server()
    kind(server, near, ("near", 0), map=mail.loop.map)
    got = []
    with far:
        far.setblocking(False)
        got.append(far.recv(65536))
        for data in sent:
            far.send(data)
            mail.loop.poll(0)
            try:
                while True:
                    got.append(far.recv(65536))
            except BlockingIOError:
                pass
    return got


def test_replies_to_commands_of_one_packet_are_one_packet(mail: Mail) -> None:
    greeting, hello, replies, accepted = packets(mail, smtpd.SMTPChannel, GREETING, ENVELOPE, b"hello\r\n.\r\n")
    assert greeting.startswith(b"220 ")
    assert hello.count(b"\r\n") > 1
    assert replies == b"250 OK\r\n250 OK\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
    assert accepted == b"250 OK\r\n"


def test_channel_may_send_each_reply_when_it_is_made(mail: Mail) -> None:
    greeting, *hello = packets(mail, Eager, GREETING)
    assert greeting.startswith(b"220 ")
    assert len(hello) > 1
    assert all(line.count(b"\r\n") == 1 for line in hello)


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("HELP MAIL", "250 Syntax: MAIL FROM: <address> [SP <mail-parameters>]"),
        ("VRFY <a@b", "252 Cannot VRFY user, but will accept message and attempt delivery"),
        ("VRFY <@>", "502 Could not VRFY <@>"),
        ("MAIL FROM:<a@b> SMTPUTF8=1", "501 Error: SMTPUTF8 takes no arguments"),
        ("MAIL FROM:<a@b>\r\nRCPT TO:<b@b> X=1", "555 RCPT TO parameters not recognized or not implemented"),
        ("MAIL FROM:<a@b>\r\nRCPT TO:<b@b> =1", "501 Syntax: RCPT TO: <address> [SP <mail-parameters>]"),
        ("STARTTLS", '500 Error: command "STARTTLS" not recognized'),
    ],
)
def test_command_after_ehlo_is_answered(mail: Mail, command: str, reply: str) -> None:
    client = mail.client(mail.server(enable_SMTPUTF8=True), GREETING)
    assert client.ask(command.encode() + b"\r\n", command.count("\r\n") + 1)[-1] == reply


def test_peer_that_has_gone_before_its_greeting_is_let_go(mail: Mail) -> None:
    server = mail.server()
    with socket.socket() as sock:  # not connected, as one is whose peer has reset it
        server.handle_accepted(sock, ("gone", 0))
    assert server.channels[0]._fileno is None
    assert list(mail.loop.map.values()) == [server]


def test_dot_at_the_start_is_taken_off_for_a_class_that_collects_by_itself(mail: Mail) -> None:
    class Collecting(smtpd.SMTPChannel):
        def collect_incoming_data(self, data: bytes) -> None:
            super().collect_incoming_data(data)

    server = mail.server()
    server.channel_class = Collecting
    client = mail.client(server, GREETING)
    client.ask(ENVELOPE, 3)
    assert client.ask(b"..a\r\n.\r\n") == ["250 OK"]
    assert server.messages[0][2] == b".a"
