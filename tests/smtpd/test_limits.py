# SPDX-License-Identifier: MIT
"""How much a server takes of one peer, and how many peers."""

from __future__ import annotations

import gc
import socket
import ssl
from collections.abc import Iterable
from typing import Any

import pytest

from cyncore import asyncore, smtpd
from cyncore._smtp.connections import Connections
from tests.support.peers import poll_until
from tests.support.smtpd import ENVELOPE, GREETING, Client, Mail
from tests.support.smtpd import mail_fixture as mail_fixture


def _in_a_message(mail: Mail, **more: Any) -> tuple[Any, Client]:
    server = mail.server(**more)
    client = mail.client(server, GREETING)
    client.ask(ENVELOPE, 3)
    return server.channels[0], client


def _kept(channel: Any) -> int:
    return sum(map(len, channel.received_lines)) + len(channel.ac_in_buffer)


def test_command_without_end_is_answered_and_its_peer_let_go(mail: Mail) -> None:
    server = mail.server()
    client = mail.client(server)
    client.say(b"x" * 100_000)
    assert client.hear_the_end() in (b"500 Error: line too long\r\n", b"")  # a reset may overtake the reply
    assert server.channels[0].socket.fileno() == -1


def test_of_a_long_command_no_more_is_kept_than_a_command_may_have(mail: Mail) -> None:
    server = mail.server()
    client = mail.client(server)
    channel = server.channels[0]
    client.say(b"x" * 40_000)
    poll_until(mail.loop, lambda: channel.num_bytes == 40_000)
    assert _kept(channel) <= 512


def test_of_a_long_message_no_more_is_kept_than_a_message_may_have(mail: Mail) -> None:
    server = mail.server(data_size_limit=1000)
    client = mail.client(server, GREETING)
    channel = server.channels[0]
    client.ask(ENVELOPE, 3)
    client.say(b"x" * 3_000_000)
    poll_until(mail.loop, lambda: channel.num_bytes == 3_000_000)
    assert _kept(channel) <= 1010


def test_made_up_commands_are_not_remembered(mail: Mail) -> None:
    server = mail.server()
    client = mail.client(server, GREETING)
    names = [b"X%d\r\n" % number for number in range(500)]
    assert len(client.ask(b"".join(names), 500)) == 500
    assert len(server.channels[0].command_size_limits) < 20
    assert not smtpd.SMTPChannel.command_size_limits


def _set_buffers(sockets: Iterable[Any], size: int) -> None:
    for sock in sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def test_peer_that_does_not_read_its_replies_is_not_read_either(mail: Mail) -> None:
    server = mail.server()
    client = mail.client(server)
    channel = server.channels[0]
    sockets = client.sock, channel.socket
    _set_buffers(sockets, 32768)
    rest, most, heard = b"HELP\r\n" * 40_000, 0, 0

    def step() -> bool:
        nonlocal rest, most
        most = max(most, sum(len(piece) for piece in channel.producer_fifo if isinstance(piece, bytes)))
        try:
            rest = rest[client.sock.send(rest) :] if rest else rest
        except BlockingIOError:
            return not mail.loop.poll(0.01)
        return False

    for _ in range(2000):
        if step():
            break
    assert rest, "it read everything"
    assert 0 < most < 400_000

    def all_heard() -> bool:
        nonlocal heard
        step()
        heard += client.listen().count(b"\n")
        client.heard = b""
        return heard == 40_000

    poll_until(mail.loop, all_heard, 100_000)
    assert most < 400_000
    assert client.ask(b"NOOP\r\n") == ["250 OK"]


def _fill(client: Client) -> None:
    try:
        while True:
            client.sock.send(b"HELP\r\n" * 1000)
    except BlockingIOError:
        pass


def _held(mail: Mail) -> tuple[Any, Client]:
    """A channel that is not read because its peer does not read, and that peer."""
    server = mail.server()
    client = mail.near_client(server)
    client.hear()
    channel = server.channels[0]
    _set_buffers((client.sock, channel.socket), 32768)

    def held() -> bool:
        _fill(client)
        return not mail.loop.poll() and channel._cyncore.is_held  # the kernel takes no more of the replies

    poll_until(mail.loop, held)
    return channel, client


def test_channel_whose_output_is_discarded_is_read_again(mail: Mail) -> None:
    channel, client = _held(mail)
    channel.discard_buffers()
    assert not channel.producer_fifo

    def heard() -> bool:
        client.listen()
        client.heard = b""
        return not mail.loop.poll()

    poll_until(mail.loop, heard)
    client.sock.send(b"\r\n")  # behind what may be half a command
    assert client.hear().endswith(b"\r\n")


def _count_help(channel: Any) -> list[Any]:
    served: list[Any] = []
    channel.smtp_HELP = served.append
    return served


def test_pause_of_the_program_outlasts_that_for_unread_replies(mail: Mail) -> None:
    channel, client = _held(mail)
    channel.pause_reading()
    served = _count_help(channel)
    poll_until(mail.loop, lambda: client.listen() and not channel._cyncore.is_held)
    poll_until(mail.loop, lambda: not mail.loop.poll())
    assert served == []
    channel.resume_reading()
    poll_until(mail.loop, lambda: served)


def test_program_that_reads_on_does_not_end_the_pause_for_unread_replies(mail: Mail) -> None:
    channel, client = _held(mail)
    served = _count_help(channel)
    channel.pause_reading()
    channel.resume_reading()
    poll_until(mail.loop, lambda: not mail.loop.poll())
    assert served == []
    poll_until(mail.loop, lambda: client.listen() and served)


def test_recipients_are_capped_where_asked_for(mail: Mail) -> None:
    server = mail.server(max_recipients=2)
    client = mail.client(server, GREETING)
    said = client.ask(b"MAIL FROM:<a@a>\r\n" + b"RCPT TO:<b@b>\r\n" * 3 + b"DATA\r\na\r\n.\r\n", 6)
    assert said[1:4] == ["250 OK", "250 OK", "452 Error: too many recipients"]
    assert server.messages[0][1] == ["b@b", "b@b"]


def test_errors_are_capped_where_asked_for(mail: Mail) -> None:
    client = mail.client(mail.server(max_errors=2))
    client.say(b"A\r\nNOOP\r\nB\r\nC\r\nD\r\n")
    heard = client.hear_the_end().split(b"\r\n")
    assert [line[:3] for line in heard] == [b"500", b"250", b"500", b"500", b"421", b""]


def test_small_pieces_are_joined(mail: Mail) -> None:
    channel, _ = _in_a_message(mail)
    for _ in range(50_000):
        channel.collect_incoming_data(b"xy")
    assert len(channel.received_lines) < 100
    assert b"".join(channel.received_lines) == b"xy" * 50_000


def test_small_pieces_of_text_are_joined(mail: Mail) -> None:
    channel, _ = _in_a_message(mail, decode_data=True)
    for _ in range(25_000):
        channel.collect_incoming_data(b"\xc3")
        channel.collect_incoming_data(b"\xa4")
    assert len(channel.received_lines) < 100
    assert "".join(channel.received_lines) == "\xe4" * 25_000


def test_small_pieces_beyond_the_limit_leave_nothing(mail: Mail) -> None:
    channel, _ = _in_a_message(mail, data_size_limit=3000)
    for _ in range(10_000):
        channel.collect_incoming_data(b"x")
    assert len(channel.received_lines) < 10
    assert channel.num_bytes == 10_000 - 2  # the end of DATA's own line did not come in this way


def _refused(mail: Mail, server: Any) -> bool:
    client = mail.silent_client(server)
    return client.hear_the_end().startswith(b"421 ")


def test_connections_are_capped_where_asked_for(mail: Mail) -> None:
    server = mail.server(max_connections=2)
    mail.client(server)
    mail.client(server)
    assert _refused(mail, server)


def test_connections_of_one_peer_are_capped_where_asked_for(mail: Mail) -> None:
    server = mail.server(max_connections_per_peer=1)
    mail.client(server)
    assert _refused(mail, server)


@pytest.mark.parametrize("way", ["quit", "peer", "program", "twice", "error"])
def test_closed_connection_makes_room_however_it_was_closed(mail: Mail, way: str) -> None:
    server = mail.server(max_connections=1)
    server.handle_error = lambda: None
    for _ in range(3):
        client = mail.client(server)
        channel = server.channels.pop()
        if way == "quit":
            client.say(b"QUIT\r\n")
        elif way == "peer":
            client.close()
        elif way == "error":
            channel.log_info = lambda *words: None
            channel.smtp_XYZ = lambda arg: 1 // 0
            client.say(b"XYZ\r\n")
        else:
            channel.close()
            if way == "twice":
                channel.close()
        poll_until(mail.loop, lambda: len(mail.loop.map) == 1)
    assert mail.client(server).ask(b"NOOP\r\n") == ["250 OK"]


def test_refused_connections_do_not_count(mail: Mail) -> None:
    server = mail.server(max_connections=1)
    first = mail.client(server)
    assert _refused(mail, server)
    assert _refused(mail, server)
    first.say(b"QUIT\r\n")
    first.hear_the_end()
    assert mail.client(server).ask(b"NOOP\r\n") == ["250 OK"]


def test_connection_that_nobody_refers_to_does_not_count() -> None:
    class Connection:
        pass

    connections = Connections()
    stays, goes = Connection(), Connection()
    connections.add(stays, "host")
    connections.add(goes, "host")
    assert (len(connections), connections.count_of("host")) == (2, 2)
    del goes
    gc.collect()
    assert (len(connections), connections.count_of("host")) == (1, 1)


def test_connection_that_is_removed_twice_is_removed_once() -> None:
    class Connection:
        pass

    connections, one, other = Connections(), Connection(), Connection()
    connections.add(one, "host")
    connections.add(other, "host")
    connections.remove(one)
    connections.remove(one)
    assert (len(connections), connections.count_of("host")) == (1, 1)
    connections.remove(other)
    assert (len(connections), connections.count_of("host")) == (0, 0)


def test_peer_that_the_program_names_anew_makes_room_where_it_came_from(mail: Mail) -> None:
    server = mail.server(max_connections_per_peer=1)
    for _ in range(2):
        client = mail.client(server)
        server.channels[-1].peer = ("192.0.2.1", 1)  # as XCLIENT does, or the PROXY protocol
        client.say(b"QUIT\r\n")
        client.hear_the_end()
        poll_until(mail.loop, lambda: len(mail.loop.map) == 1)
    assert mail.client(server).ask(b"NOOP\r\n") == ["250 OK"]


TIMEOUTS = ["idle_timeout", "command_timeout", "data_timeout", "tls_timeout"]


@pytest.mark.parametrize(
    ("option", "value"),
    [(name, 0) for name in [*TIMEOUTS, "max_connections", "max_connections_per_peer", "max_errors", "max_recipients"]]
    + [(name, value) for name in TIMEOUTS for value in (float("inf"), 1e300, float("nan"), -1)],
)
def test_limit_that_cannot_be_meant_is_refused(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=option):
        smtpd.SMTPServer(("127.0.0.1", 0), None, **{option: value})
    with pytest.raises(ValueError, match=option):
        type("Server", (smtpd.SMTPServer,), {option: value})(("127.0.0.1", 0), None)
    assert not asyncore.socket_map


def test_timeout_that_no_clock_can_count_is_refused_with_the_most_that_it_may_be() -> None:
    with pytest.raises(ValueError, match="command_timeout must be above zero and at most 1,000,000,000 seconds"):
        smtpd.SMTPServer(("127.0.0.1", 0), None, command_timeout=1e10, map={})


def test_option_that_is_not_there_is_refused() -> None:
    with pytest.raises(TypeError, match="idle_time"):
        smtpd.SMTPServer(("127.0.0.1", 0), None, idle_time=1)


@pytest.mark.parametrize(
    ("option", "value"),
    [("idle_timeout", "soon"), ("max_errors", True), ("require_starttls", "yes"), ("tls_context", 1)],
)
def test_value_that_is_none_for_the_option_is_refused_by_the_constructor(option: str, value: object) -> None:
    with pytest.raises(TypeError, match=option):
        smtpd.SMTPServer(("127.0.0.1", 0), None, map={}, **{option: value})


@pytest.mark.parametrize("option", ["require_starttls", "tls_implicit"])
def test_word_of_a_class_that_has_a_context_does_not_leave_tls_out(option: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    kind = type("Server", (smtpd.SMTPServer,), {option: "yes", "tls_context": context})
    with pytest.raises(TypeError, match=f"{option} cannot be 'yes'"):
        kind(("127.0.0.1", 0), None, map={})


def test_tls_context_of_a_client_is_refused() -> None:
    with pytest.raises(ValueError, match="tls_context"):
        smtpd.SMTPServer(("127.0.0.1", 0), None, tls_context=ssl.create_default_context())


def test_long_replies_to_commands_of_one_packet_are_all_waited_for(mail: Mail) -> None:
    class Loud(smtpd.SMTPChannel):
        def smtp_NOOP(self, arg: str | None) -> None:
            self.push("250 " + "x" * 300_000)

    server = mail.server()
    server.channel_class = Loud
    client = mail.near_client(server)
    client.hear()
    client.say(b"NOOP\r\n" * 4)
    poll_until(mail.loop, lambda: len(client.listen()) == 4 * 300_006)
    client.heard = b""
    assert client.ask(b"RSET\r\n") == ["250 OK"]
