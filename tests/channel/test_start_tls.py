# SPDX-License-Identifier: MIT
"""`start_tls` of dispatchers: the handshake, what comes before it and after it, and how it fails."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cyncore import Loop, TLSError, TruncatedError, dispatcher, dispatcher_with_send
from cyncore.asynchat import async_chat
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.loops import every_backend
from tests.support.others import others_fixture as others_fixture
from tests.support.peers import Peers, Recorder, poll_until
from tests.support.streams import tcp_pair

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


class Secure(Recorder):
    """Remembers its handshake, and what it was told of."""

    error: BaseException | None = None

    def handle_handshake(self) -> None:
        self.seen.append("handshake")

    def handle_error(self) -> None:
        self.error = sys.exc_info()[1]
        self.seen.append("error")
        self.close()

    def writable(self) -> bool:
        return False


class Sender(dispatcher_with_send):
    """Echoes what came, or collects it."""

    def __init__(self, sock: Any = None, map: Any = None, echoes: bool = False) -> None:
        self.seen: list[str] = []
        self.got = bytearray()
        self.echoes = echoes
        super().__init__(sock, map)

    def handle_handshake(self) -> None:
        self.seen.append("handshake")

    def handle_read(self) -> None:
        data = self.recv(65536)
        self.got += data
        if self.echoes and data:
            self.send(data)

    def handle_close(self) -> None:
        self.seen.append("close")
        self.close()

    def handle_error(self) -> None:
        self.seen.append(f"error {sys.exc_info()[1]!r}")
        self.close()


class Lines(async_chat):
    """Answers lines in upper case, and STARTTLS by TLS."""

    context: ssl.SSLContext

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        super().__init__(sock, map)
        self.seen: list[Any] = []
        self.set_terminator(b"\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self._collect_incoming_data(data)

    def found_terminator(self) -> None:
        line = self._get_data()
        self.seen.append(line)
        if line == b"STARTTLS":
            self.push(b"go ahead\n")
            self.start_tls(self.context, server_side=True)
        elif line == b"QUIT":
            self.push(b"bye\n")
            self.close_when_done()
        else:
            self.push(line.upper() + b"\n")

    def handle_handshake(self) -> None:
        self.seen.append("handshake")

    def handle_close(self) -> None:
        self.seen.append("close")
        self.close()

    def handle_error(self) -> None:
        self.seen.append(sys.exc_info()[1])
        self.close()


def secured(loop: Loop, peers: Peers, contexts: Contexts, kind: Any = Secure, **more: Any) -> tuple[Any, Any]:
    """Two channels that have done a handshake with each other."""
    ours, theirs = tcp_pair(peers)
    server, client = kind(ours, loop.map, **more), kind(theirs, loop.map)
    server.start_tls(contexts[0], server_side=True)
    client.start_tls(contexts[1], server_hostname="localhost")
    poll_until(loop, lambda: "handshake" in server.seen and "handshake" in client.seen)
    return server, client


@pytest.fixture
def contexts(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> Contexts:
    return server_tls, client_tls


def close(*channels: Any) -> None:
    for channel in channels:
        channel.close()


# The handshake


@every_backend
def test_handshake_goes_on_without_the_handlers(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, client = secured(loop, peers, contexts)
    assert server.seen == client.seen == ["handshake"]
    assert ("DNS", "localhost") in client.socket.getpeercert()["subjectAltName"]
    close(server, client)


def test_handshake_goes_on_while_reading_is_paused(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    ours, theirs = tcp_pair(peers)
    server, client = Secure(ours, loop.map), Secure(theirs, loop.map)
    server.pause_reading()
    server.start_tls(contexts[0], server_side=True)
    client.start_tls(contexts[1], server_hostname="localhost")
    client.pause_reading()
    poll_until(loop, lambda: server.seen and client.seen)
    server.send(b"x")
    client.send(b"x")
    for _ in range(5):
        loop.poll(0.01)
    assert server.seen == client.seen == ["handshake"]
    for channel in (server, client):
        channel.resume_reading()
    poll_until(loop, lambda: server.got == client.got == b"x")
    close(server, client)


def test_reading_that_is_resumed_in_the_handshake_goes_on_after_it(
    loop: Loop, peers: Peers, contexts: Contexts
) -> None:
    ours, theirs = tcp_pair(peers)
    server, client = Secure(ours, loop.map), Secure(theirs, loop.map)
    server.pause_reading()
    server.start_tls(contexts[0], server_side=True)
    server.resume_reading()
    client.start_tls(contexts[1], server_hostname="localhost")
    poll_until(loop, lambda: server.seen and client.seen)
    client.send(b"x")
    poll_until(loop, lambda: server.got == b"x")
    close(server, client)


def test_handshake_asks_no_predicate_and_leaves_those_of_the_channel(
    loop: Loop, peers: Peers, contexts: Contexts
) -> None:
    ours, theirs = tcp_pair(peers)
    server, client = Secure(ours, loop.map), Secure(theirs, loop.map)
    asked: list[str] = []
    server.readable = lambda: asked.append("handshake" if not server.seen else "data") or True  # type: ignore[method-assign,func-returns-value]
    mine = server.readable
    server.start_tls(contexts[0], server_side=True)
    client.start_tls(contexts[1], server_hostname="localhost")
    poll_until(loop, lambda: server.seen and client.seen)
    assert server.readable is mine
    assert set(server.__dict__) & {"writable", "handle_read_event", "handle_write_event", "del_channel"} == set()
    client.send(b"x")
    poll_until(loop, lambda: server.got == b"x")
    assert "handshake" not in asked
    close(server, client)


def test_client_may_start_tls_in_handle_connect(loop: Loop, contexts: Contexts, others: Any) -> None:
    class Client(Sender):
        def handle_connect(self) -> None:
            self.start_tls(contexts[1], server_hostname="localhost")

        def handle_handshake(self) -> None:
            super().handle_handshake()
            self.send(b"hello")

    def serve() -> bytes:
        plain, _ = listener.accept()
        with contexts[0].wrap_socket(plain, server_side=True) as sock:
            data = sock.recv(100)
            sock.sendall(data[::-1])
            sock.unwrap()
            return data

    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = others(serve)
        client = Client(map=loop.map)
        client.create_socket()
        client.connect(listener.getsockname())
        poll_until(loop, lambda: result and client.seen[-1:] == ["close"])
    assert result == [b"hello"]
    assert client.got == b"olleh"


def test_what_handle_handshake_raises_is_handled(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    class Wrong(Secure):
        def handle_handshake(self) -> None:
            raise LookupError("no such user")

    ours, theirs = tcp_pair(peers)
    server, client = Wrong(ours, loop.map), Secure(theirs, loop.map)
    server.start_tls(contexts[0], server_side=True)
    client.start_tls(contexts[1], server_hostname="localhost")
    poll_until(loop, lambda: server.seen)
    assert isinstance(server.error, LookupError)
    close(client)


# What is sent and received


@every_backend
@pytest.mark.parametrize("size", [1, 16_384, 16_385, 1_000_000])
def test_data_of_every_size_goes_both_ways(loop: Loop, peers: Peers, contexts: Contexts, size: int) -> None:
    server, client = secured(loop, peers, contexts, Sender)
    server.echoes = True
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    client.send(data)
    poll_until(loop, lambda: len(client.got) == size)
    assert client.got == data
    close(server, client)


def test_nothing_is_lost_while_the_peer_does_not_read(
    loop: Loop, peers: Peers, contexts: Contexts, others: Any
) -> None:
    """The old modules lost what was in the call of send() when OpenSSL had to wait."""
    ours, theirs = tcp_pair(peers)
    server = Sender(ours, loop.map)
    server.start_tls(contexts[0], server_side=True)
    data = bytes(range(251)) * 32_000

    def read_late() -> bytes:
        got = bytearray()
        with contexts[1].wrap_socket(theirs, server_hostname="localhost") as sock:
            sock.sendall(b"ready")
            while len(got) < len(data):
                got += sock.recv(65536)
        return bytes(got)

    result = others(read_late)
    poll_until(loop, lambda: server.got == b"ready")
    for begin in range(0, len(data), 100_000):
        server.send(data[begin : begin + 100_000])
    poll_until(loop, lambda: result, 20_000)
    assert result == [data]
    close(server)


def test_bytes_that_openssl_holds_are_read_without_an_event(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, client = secured(loop, peers, contexts)
    server.size = 100
    client.send(bytes(10_000))
    poll_until(loop, lambda: len(server.got) == 10_000)
    close(server, client)


def test_single_bytes_and_whole_records_arrive(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, client = secured(loop, peers, contexts, Sender)
    data = bytes(range(200))
    for at in range(len(data)):
        client.send(data[at : at + 1])
    client.send(bytes(16_384))
    poll_until(loop, lambda: len(server.got) == 200 + 16_384)
    assert server.got == data + bytes(16_384)
    close(server, client)


def test_idle_channel_gets_no_events(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, client = secured(loop, peers, contexts)
    poll_until(loop, lambda: loop.poll(0.2) == 0)  # the tickets have come, the second after a delayed ACK
    assert loop.poll(0.02) == 0
    close(server, client)


# What comes before


@every_backend
def test_starttls_of_a_chat(loop: Loop, peers: Peers, contexts: Contexts, others: Any) -> None:
    ours, theirs = tcp_pair(peers)
    server = Lines(ours, loop.map)
    server.context = contexts[0]

    def upgrade() -> bytes:
        theirs.settimeout(10)
        theirs.sendall(b"plain\nSTARTTLS\n")
        answer = b""
        while not answer.endswith(b"go ahead\n"):
            answer += theirs.recv(100)
        with contexts[1].wrap_socket(theirs, server_hostname="localhost") as sock:
            sock.sendall(b"secret\nQUIT\n")
            while True:
                data = sock.recv(100)
                answer += data
                if not data:
                    return answer

    result = others(upgrade)
    poll_until(loop, lambda: result)
    assert result == [b"PLAIN\ngo ahead\nSECRET\nbye\n"]
    assert server.seen == [b"plain", b"STARTTLS", "handshake", b"secret", b"QUIT", "close"]


@pytest.mark.parametrize("kind", [Lines, Sender])
def test_what_was_queued_leaves_in_the_clear_and_what_comes_later_does_not(
    loop: Loop, peers: Peers, contexts: Contexts, others: Any, kind: Any
) -> None:
    ours, theirs = tcp_pair(peers)
    server = kind(ours, loop.map)
    send = server.push if kind is Lines else server.send
    size = 8_000_000
    send(bytes(size))
    server.start_tls(contexts[0], server_side=True)
    (server.push if kind is Lines else server.send)(b"encrypted")

    def read() -> bytes:
        theirs.settimeout(10)
        left = size
        while left:
            left -= len(theirs.recv(min(left, 65536)))
        with contexts[1].wrap_socket(theirs, server_hostname="localhost") as sock:
            return sock.recv(100)

    result = others(read)
    poll_until(loop, lambda: result, 20_000)
    assert result == [b"encrypted"]
    assert server.seen[:1] == ["handshake"]
    close(server)


def test_what_is_pushed_in_the_handshake_leaves_after_it(
    loop: Loop, peers: Peers, contexts: Contexts, others: Any
) -> None:
    ours, theirs = tcp_pair(peers)
    server = Lines(ours, loop.map)
    server.start_tls(contexts[0], server_side=True)
    server.push(b"encrypted")

    def read() -> bytes:
        with contexts[1].wrap_socket(theirs, server_hostname="localhost") as sock:
            return sock.recv(100)

    result = others(read)
    poll_until(loop, lambda: result)
    assert result == [b"encrypted"]
    close(server)


def test_plain_text_behind_starttls_is_refused(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    ours, theirs = tcp_pair(peers)
    server = Lines(ours, loop.map)
    server.context = contexts[0]
    theirs.sendall(b"STARTTLS\nINJECTED\n")
    poll_until(loop, lambda: len(server.seen) > 1)
    assert server.seen[0] == b"STARTTLS"
    assert isinstance(server.seen[1], TLSError)
    assert "plain text" in str(server.seen[1])
    assert b"INJECTED" not in server.seen


def test_plain_text_behind_starttls_is_not_obeyed_while_the_answer_cannot_leave(
    loop: Loop, peers: Peers, contexts: Contexts
) -> None:
    ours, theirs = tcp_pair(peers)
    server = Lines(ours, loop.map)
    server.context = contexts[0]
    server.push(bytes(8_000_000))
    theirs.sendall(b"STARTTLS\n")
    poll_until(loop, lambda: server.seen)
    theirs.sendall(b"INJECTED\n")
    for _ in range(5):
        loop.poll(0.01)
    assert server.seen == [b"STARTTLS"]
    close(server)


# How it ends


def test_clean_end_is_handle_close(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, client = secured(loop, peers, contexts)
    client.close()
    poll_until(loop, lambda: "close" in server.seen)
    assert server.seen == ["handshake", "read", "close"]


@every_backend
def test_end_without_close_notify_is_told(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, client = secured(loop, peers, contexts)
    with socket.socket(fileno=client.socket.detach()) as plain:  # close() might reset it: there are tickets to read
        client.del_channel()
        plain.shutdown(socket.SHUT_WR)
        poll_until(loop, lambda: server.error)
    assert isinstance(server.error, TruncatedError)
    assert "without close_notify" in str(server.error)


def test_record_that_is_cut_is_told(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, client = secured(loop, peers, contexts)
    with socket.socket(fileno=client.socket.detach()) as plain:
        client.del_channel()
        plain.send(b"\x17\x03\x03\x00\x40" + bytes(20))
        plain.shutdown(socket.SHUT_WR)
        poll_until(loop, lambda: server.error)
    assert isinstance(server.error, TruncatedError)
    assert server.got == b""


def test_noise_in_the_place_of_a_record_is_told(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, client = secured(loop, peers, contexts)
    with socket.socket(fileno=client.socket.detach()) as plain:
        client.del_channel()
        plain.send(b"\x17\x03\x03\x00\x40" + bytes(64) + bytes(1000))
        poll_until(loop, lambda: server.error)
    assert isinstance(server.error, TLSError)
    assert "changed on the way" in str(server.error)


def test_failure_is_told_once_and_then_it_is_the_end(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    class Stubborn(Secure):
        def handle_error(self) -> None:
            self.seen.append("error")

    server, client = secured(loop, peers, contexts, Stubborn)
    with socket.socket(fileno=client.socket.detach()) as plain:
        client.del_channel()
        plain.send(bytes(100_000))
        poll_until(loop, lambda: "close" in server.seen)
    assert server.seen.count("error") == 1
    assert server.socket.recv(10) == b""
    with pytest.raises(BrokenPipeError):
        server.socket.send(b"x")
    assert server.socket.pending() == 0


def test_half_closed_output_is_told_and_reading_goes_on(
    loop: Loop, peers: Peers, contexts: Contexts, others: Any
) -> None:
    ours, theirs = tcp_pair(peers)
    server = Secure(ours, loop.map)
    server.start_tls(contexts[0], server_side=True)

    def answer() -> bytes:
        with contexts[1].wrap_socket(theirs, server_hostname="localhost", suppress_ragged_eofs=False) as sock:
            data = sock.recv(100)
            assert sock.recv(100) == b""
            sock.sendall(b"answer")
            sock.unwrap()
            return data

    result = others(answer)
    poll_until(loop, lambda: server.seen)
    server.send(b"question")
    server.socket.shutdown(socket.SHUT_WR)
    poll_until(loop, lambda: result and "close" in server.seen)
    assert server.got == b"answer"
    assert result == [b"question"]


# How it fails


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "an HTTP request in plain text"),
        (b"EHLO example\r\n", "does not speak TLS"),
        (b"\x00" * 100, "does not speak TLS"),
    ],
)
def test_plain_text_is_told_in_words(loop: Loop, peers: Peers, contexts: Contexts, sent: bytes, words: str) -> None:
    ours, theirs = tcp_pair(peers)
    server = Secure(ours, loop.map)
    server.start_tls(contexts[0], server_side=True)
    theirs.sendall(sent)
    poll_until(loop, lambda: server.seen)
    assert server.seen == ["error"]
    assert words in str(server.error)
    assert repr(theirs.getsockname()) in str(server.error)


def test_tls_to_a_plain_port_is_told_in_words(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    ours, theirs = tcp_pair(peers)
    client = Secure(ours, loop.map)
    client.start_tls(contexts[1], server_hostname="localhost")
    theirs.sendall(b"220 mail.example ESMTP\r\n")
    poll_until(loop, lambda: client.seen)
    assert client.seen == ["error"]
    assert "does not speak TLS" in str(client.error)


def test_peer_that_leaves_in_the_handshake_is_told(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    ours, theirs = tcp_pair(peers)
    server = Secure(ours, loop.map)
    server.start_tls(contexts[0], server_side=True)
    theirs.close()
    poll_until(loop, lambda: server.seen)
    assert isinstance(server.error, TruncatedError)


def test_connection_that_is_reset_in_the_handshake_is_closed(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    ours, theirs = tcp_pair(peers)
    server = Secure(ours, loop.map)
    server.start_tls(contexts[0], server_side=True)
    theirs.sendall(b"\x16\x03\x01")
    loop.poll(0.1)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    poll_until(loop, lambda: server.seen)
    assert server.seen == ["close"]


def test_certificate_that_nobody_vouches_for_is_told_on_both_sides(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext
) -> None:
    ours, theirs = tcp_pair(peers)
    server, client = Secure(ours, loop.map), Secure(theirs, loop.map)
    server.start_tls(server_tls, server_side=True)
    client.start_tls(ssl.create_default_context(), server_hostname="localhost")
    poll_until(loop, lambda: server.seen and client.seen)
    assert "the certificate of the peer is refused" in str(client.error)
    assert "does not know the authority" in str(server.error)


def test_handshake_has_a_deadline(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    ours, _theirs = tcp_pair(peers)
    server = Secure(ours, loop.map)
    server.start_tls(contexts[0], server_side=True, deadline=0.05)
    poll_until(loop, lambda: server.seen)
    assert isinstance(server.error, TimeoutError)
    assert "0.05 seconds" in str(server.error)


def test_output_that_does_not_leave_counts_for_the_deadline(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    ours, _theirs = tcp_pair(peers)
    server = Lines(ours, loop.map)
    server.push(bytes(8_000_000))
    server.start_tls(contexts[0], server_side=True, deadline=0.05)
    poll_until(loop, lambda: server.seen)
    assert isinstance(server.seen[0], TimeoutError)


@pytest.mark.parametrize("when", ["before", "in"])
def test_channel_that_is_closed_in_the_handshake_leaves_nothing(
    loop: Loop, peers: Peers, contexts: Contexts, when: str
) -> None:
    ours, _theirs = tcp_pair(peers)
    server = Lines(ours, loop.map)
    if when == "before":
        server.push(bytes(8_000_000))
    server.start_tls(contexts[0], server_side=True)
    loop.poll(0)
    server.close()
    assert not loop.map
    assert loop.next_deadline() is None
    server.start_tls(contexts[0], server_side=True)  # does nothing
    assert "del_channel" not in server.__dict__


def test_channel_that_leaves_its_map_in_the_handshake_has_no_more_input(
    loop: Loop, peers: Peers, contexts: Contexts
) -> None:
    """Nobody would take what comes, and its events would have no end."""
    ours, theirs = tcp_pair(peers)
    server = Secure(ours, loop.map)
    server.start_tls(contexts[0], server_side=True)
    server.del_channel()
    theirs.sendall(b"hello")
    server.set_socket(server.socket, loop.map)
    poll_until(loop, lambda: server.seen)
    assert server.seen == ["read", "close"]


def test_handshake_without_a_deadline_has_no_timer(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    ours, _theirs = tcp_pair(peers)
    server = Secure(ours, loop.map)
    server.start_tls(contexts[0], server_side=True, deadline=None)
    assert loop.next_deadline() is None
    close(server)


def test_a_failed_handshake_costs_no_listener(loop: Loop, contexts: Contexts, others: Any) -> None:
    class Session(Sender):
        def __init__(self, sock: Any, map: Any) -> None:
            super().__init__(sock, map, echoes=True)
            self.start_tls(contexts[0], server_side=True)

    class Listener(dispatcher):
        def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
            Session(sock, loop.map)

    server = Listener(socket.create_server(("127.0.0.1", 0)), loop.map)
    server.accepting = True
    address = server.socket.getsockname()

    def bad_and_good() -> bytes:
        for noise in (b"", b"\x16", b"GET / HTTP/1.0\r\n\r\n", bytes(3000)):
            with socket.create_connection(address, 10) as sock:
                sock.sendall(noise)
        with (
            socket.create_connection(address, 10) as plain,
            contexts[1].wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            sock.sendall(b"echo")
            return sock.recv(100)

    result = others(bad_and_good)
    poll_until(loop, lambda: result and len(loop.map) == 1)
    assert result == [b"echo"]
    close(server)


# Wrong calls


def test_start_tls_needs_a_connection_without_tls(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    with pytest.raises(RuntimeError, match="needs a connection"):
        Secure(map=loop.map).start_tls(contexts[1])
    server, client = secured(loop, peers, contexts)
    with pytest.raises(RuntimeError, match="TLS already"):
        client.start_tls(contexts[1], server_hostname="localhost")
    close(server, client)


def test_start_tls_is_refused_while_the_first_waits(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    ours, _theirs = tcp_pair(peers)
    server = Lines(ours, loop.map)
    server.push(bytes(8_000_000))
    server.start_tls(contexts[0], server_side=True)
    with pytest.raises(RuntimeError, match="TLS already"):
        server.start_tls(contexts[0], server_side=True)
    close(server)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda channel, contexts: channel.start_tls(None), TypeError),
        (lambda channel, contexts: channel.start_tls(contexts[1]), ValueError),
        (lambda channel, contexts: channel.start_tls(contexts[0], server_side=True, server_hostname="x"), ValueError),
    ],
)
def test_wrong_arguments_leave_the_channel_as_it_was(
    loop: Loop, peers: Peers, contexts: Contexts, call: Callable[..., Any], error: type[Exception]
) -> None:
    ours, theirs = tcp_pair(peers)
    server = Secure(ours, loop.map)
    with pytest.raises(error):
        call(server, contexts)
    theirs.sendall(b"plain")
    poll_until(loop, lambda: server.got == b"plain")
    assert loop.next_deadline() is None
    close(server)


def test_start_tls_is_for_sockets_only(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    class Pretends:
        def __init__(self, sock: socket.socket) -> None:
            self.fileno = sock.fileno

    ours, _theirs = peers.pair()
    channel = Secure(map=loop.map)
    channel.set_socket(Pretends(ours), loop.map)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="needs a socket"):
        channel.start_tls(contexts[0], server_side=True)
    channel.del_channel()
