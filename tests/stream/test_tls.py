# SPDX-License-Identifier: MIT
"""TLS of streams, with Python's own TLS at the other end."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

import cyncore
from cyncore import Loop, Stream, TLSError, TruncatedError
from tests.support.certificates import Authority
from tests.support.certificates import authority_fixture as authority_fixture
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.loops import every_backend
from tests.support.others import others_fixture as others_fixture
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, connected, receive, tcp_pair


class Echo(Stream):
    ends: list[Any]

    def handle_data(self, data: bytes) -> None:
        self.write(data)

    def handle_close(self, error: BaseException | None) -> None:
        Echo.ends.append(error)


@pytest.fixture(autouse=True)
def no_ends() -> None:
    Echo.ends = []


def exchange(address: Any, context: ssl.SSLContext, data: bytes) -> bytes:
    """Sends the data over TLS, and reads as much, in turns: two threads must not use one TLS socket at once."""
    got = bytearray()
    plain = socket.create_connection(address, 10)
    with context.wrap_socket(plain, server_hostname="localhost") as sock:
        for begin in range(0, len(data), 50_000):
            sock.sendall(data[begin : begin + 50_000])
            while len(got) < min(begin + 50_000, len(data)):
                got += sock.recv(65536)
        sock.unwrap()
    return bytes(got)


@every_backend
@pytest.mark.parametrize("size", [1, 1024, 16_384, 16_385, 1_000_000])
def test_a_server_echoes_over_tls(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, others: Any, size: int
) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo, tls=server_tls)
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    result = others(lambda: exchange(server.address, client_tls, data))
    poll_until(loop, lambda: result)
    assert result == [data]
    server.close()
    poll_until(loop, lambda: not loop.map)
    poll_until(loop, lambda: Echo.ends)
    assert Echo.ends == [None]


@every_backend
def test_a_client_speaks_tls_with_a_server(loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    class Client(Recorder):
        def handle_connect(self) -> None:
            super().handle_connect()
            self.write(bytes(300_000))

        def handle_data(self, data: bytes) -> None:
            super().handle_data(data)
            if len(self.got) == 300_000:
                self.facts = [self.get_extra_info(name) for name in ("cipher", "peercert", "sslcontext", "ssl_object")]
                self.close()

    server = loop.listen(("127.0.0.1", 0), Echo, tls=server_tls)
    client = loop.connect(("localhost", server.address[1]), Client, tls=client_tls)
    poll_until(loop, lambda: client.is_over)
    assert client.seen[0] == "connect"
    assert client.seen[-1] == "close"
    cipher, certificate, context, sock = client.facts
    assert cipher[1].startswith("TLS")
    assert ("DNS", "localhost") in certificate["subjectAltName"]
    assert context is client_tls
    assert isinstance(sock, ssl.SSLObject)
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_write_eof_says_close_notify_and_reading_goes_on(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    class Late(Stream):
        def handle_data(self, data: bytes) -> None:
            pass

        def handle_eof(self) -> None:
            self.write(b"after the end")
            self.close()

    class Client(Recorder):
        def handle_connect(self) -> None:
            self.write(b"all")
            self.write_eof()

    server = loop.listen(("127.0.0.1", 0), Late, tls=server_tls)
    client = loop.connect(server.address, Client, tls=client_tls, server_hostname="localhost")
    poll_until(loop, lambda: client.is_over)
    assert client.got == b"after the end"
    assert client.seen[-1] == "close"
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_what_came_before_write_eof_is_not_lost(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    class Early(Stream):
        def handle_connect(self) -> None:
            self.write(b"early ")

        def handle_data(self, data: bytes) -> None:
            self.write(b"late")
            self.close()

    class Client(Recorder):
        def handle_connect(self) -> None:
            self.pause_reading()
            loop.call_later(0.05, self.end)

        def end(self) -> None:
            self.write(b"all")
            self.write_eof()
            self.resume_reading()

    server = loop.listen(("127.0.0.1", 0), Early, tls=server_tls)
    client = loop.connect(server.address, Client, tls=client_tls, server_hostname="localhost")
    poll_until(loop, lambda: client.is_over)
    assert client.got == b"early late"
    assert client.seen[-1] == "close"
    server.close()
    poll_until(loop, lambda: not loop.map)


class Counting(ssl.SSLContext):
    """A context with a `wrap_socket` of its own, as truststore has one."""

    wrapped = 0

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        Counting.wrapped += 1
        return super().wrap_socket(*args, **options)


@every_backend
def test_a_context_that_wraps_sockets_in_its_own_way_is_asked_to(
    loop: Loop, certificate: Path, client_tls: ssl.SSLContext, others: Any
) -> None:
    context = Counting(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = loop.listen(("127.0.0.1", 0), Echo, tls=context)
    before = Counting.wrapped
    data = bytes(100_000)
    result = others(lambda: exchange(server.address, client_tls, data))
    poll_until(loop, lambda: result)
    assert result == [data]
    assert Counting.wrapped == before + 1
    server.close()
    poll_until(loop, lambda: Echo.ends)
    assert Echo.ends == [None]


@every_backend
def test_a_context_that_wraps_in_its_own_way_does_not_make_the_socket_block(loop: Loop, peers: Peers) -> None:
    ours, _ = tcp_pair(peers)
    stream = Recorder(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    before = Counting.wrapped
    stream.start_tls(Counting(ssl.PROTOCOL_TLS_SERVER), server_side=True)
    poll_until(loop, lambda: Counting.wrapped > before)
    assert not os.get_blocking(ours.fileno())
    stream.abort()
    poll_until(loop, lambda: not loop.map)


def test_a_context_that_wraps_in_its_own_way_may_refuse(loop: Loop, peers: Peers) -> None:
    context = Counting(ssl.PROTOCOL_TLS_CLIENT)
    ours, _ = tcp_pair(peers)
    stream = Recorder(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    stream.start_tls(context)  # without a name, against which the certificate could be checked
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ValueError)


def test_alpn_is_negotiated(loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    server_tls.set_alpn_protocols(["one", "two"])
    client_tls.set_alpn_protocols(["two"])
    server = loop.listen(("127.0.0.1", 0), Stream, tls=server_tls)
    client = loop.connect(server.address, Recorder, tls=client_tls, server_hostname="localhost")
    poll_until(loop, lambda: client.connected)
    assert client.get_extra_info("alpn") == "two"
    client.abort()
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_a_certificate_is_chosen_by_the_name(
    loop: Loop, authority: Authority, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    names: list[Any] = []

    def choose(tls: Any, name: str | None, context: ssl.SSLContext) -> None:
        names.append((name, context is unknown))
        tls.context = server_tls

    unknown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    unknown.load_cert_chain(authority.folder / "good.both")
    unknown.sni_callback = choose
    server = loop.listen(("127.0.0.1", 0), Stream, tls=unknown)
    client = loop.connect(server.address, Recorder, tls=client_tls, server_hostname="localhost")
    poll_until(loop, lambda: client.seen)
    assert client.seen == ["connect"]
    assert names == [("localhost", True)]
    client.abort()
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_a_certificate_cannot_be_checked_without_a_name(
    loop: Loop, tmp_path: Path, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    server = loop.listen(str(tmp_path / "socket"), Stream, tls=server_tls)
    client = loop.connect(server.address, Recorder, tls=client_tls)
    poll_until(loop, lambda: client.is_over)
    assert isinstance(client.seen[-1], ValueError)
    assert "check_hostname requires server_hostname" in str(client.seen[-1])
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_a_name_and_a_session_are_for_clients(loop: Loop, peers: Peers, server_tls: ssl.SSLContext) -> None:
    ours, _ = tcp_pair(peers)
    stream = Recorder(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    stream.start_tls(server_tls, server_side=True, server_hostname="localhost")
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ValueError)


def test_renegotiation_is_refused_from_the_first_connection_on(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    for context in (server_tls, client_tls):
        context.options &= ~ssl.OP_NO_RENEGOTIATION
    server = loop.listen(("127.0.0.1", 0), Stream, tls=server_tls)
    client = loop.connect(server.address, Recorder, tls=client_tls, server_hostname="localhost")
    poll_until(loop, lambda: client.connected)
    assert server_tls.options & ssl.OP_NO_RENEGOTIATION
    assert client_tls.options & ssl.OP_NO_RENEGOTIATION
    client.abort()
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_a_session_is_resumed(loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo, tls=server_tls)

    class Client(Recorder):
        def handle_connect(self) -> None:
            self.write(b"x")

        def handle_data(self, data: bytes) -> None:  # with it came the tickets of TLS 1.3
            super().handle_data(data)
            self.ticket = self.get_extra_info("session")
            self.reused = self.get_extra_info("ssl_object").session_reused
            self.close()

    first = loop.connect(server.address, Client, tls=client_tls, server_hostname="localhost")
    poll_until(loop, lambda: first.is_over)
    second = loop.connect(server.address, Client, tls=client_tls, server_hostname="localhost", session=first.ticket)
    poll_until(loop, lambda: second.is_over)
    assert (first.reused, second.reused) == (False, True)
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_a_certificate_of_an_unknown_authority_is_refused_in_words(
    loop: Loop, server_tls: ssl.SSLContext, authority: Authority
) -> None:
    stranger = ssl.create_default_context(cafile=str(authority.certificate))
    server = loop.listen(("127.0.0.1", 0), Echo, tls=server_tls)
    client = loop.connect(server.address, Recorder, tls=stranger, server_hostname="localhost")
    poll_until(loop, lambda: client.is_over and Echo.ends)
    error = client.seen[-1]
    assert isinstance(error, TLSError)
    assert "the certificate of the peer is refused" in str(error)
    assert str(server.address[1]) in str(error)
    assert isinstance(Echo.ends[0], TLSError)
    assert client.seen[:-1] == []
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_a_name_that_is_not_in_the_certificate_is_refused(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo, tls=server_tls)
    client = loop.connect(server.address, Recorder, tls=client_tls, server_hostname="elsewhere.example")
    poll_until(loop, lambda: client.is_over)
    assert "elsewhere.example" in str(client.seen[-1])
    server.close()
    poll_until(loop, lambda: not loop.map)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "an HTTP request in plain text"),
        (b"EHLO example\r\n", "does not speak TLS"),
        (b"\x00" * 100, "does not speak TLS"),
    ],
)
def test_plain_text_to_a_tls_port_is_told_in_words(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, sent: bytes, words: str
) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo, tls=server_tls)
    sock = socket.create_connection(server.address, 5)
    peers.keep(sock)
    sock.sendall(sent)
    poll_until(loop, lambda: Echo.ends)
    assert isinstance(Echo.ends[0], TLSError)
    assert words in str(Echo.ends[0])
    server.close()


def test_tls_to_a_plain_port_is_told_in_words(loop: Loop, client_tls: ssl.SSLContext) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo)
    client = loop.connect(server.address, Recorder, tls=client_tls, server_hostname="localhost")
    poll_until(loop, lambda: client.is_over)
    assert isinstance(client.seen[-1], TLSError)
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_an_end_without_close_notify_is_told_from_a_clean_one(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, others: Any
) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo, tls=server_tls)

    def cut() -> None:
        plain = socket.create_connection(server.address, 10)
        with client_tls.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"x")
            sock.recv(1)

    others(cut)
    poll_until(loop, lambda: Echo.ends)
    assert isinstance(Echo.ends[0], TruncatedError)
    assert "without close_notify" in str(Echo.ends[0])
    server.close()


def client_hello(context: ssl.SSLContext) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_a_handshake_may_stop_at_every_byte(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    class Hasty(Echo):
        handshake_deadline = 0.05

    server = loop.listen(("127.0.0.1", 0), Hasty, tls=server_tls)
    hello = client_hello(client_tls)
    count = len(range(0, len(hello), 7))
    for end in range(0, len(hello), 7):
        sock = socket.create_connection(server.address, 5)
        peers.keep(sock)
        sock.sendall(hello[:end])
    poll_until(loop, lambda: len(Echo.ends) == count)
    assert all(isinstance(error, TimeoutError) and "handshake" in str(error) for error in Echo.ends)
    server.close()


class Upgrading(Recorder):
    """Answers STARTTLS as a mail server does."""

    context: ssl.SSLContext
    framing = cyncore.Lines()

    def handle_frame(self, frame: bytes) -> None:
        super().handle_frame(frame)
        if frame == b"STARTTLS":
            self.write(b"go ahead\n")
            self.start_tls(self.context, server_side=True)
        else:
            self.write(frame.upper() + b"\n")


def upgrade(sock: socket.socket, context: ssl.SSLContext) -> bytes:
    sock.settimeout(10)
    sock.sendall(b"STARTTLS\n")
    answer = sock.recv(100)
    with context.wrap_socket(sock, server_hostname="localhost") as tls:
        tls.sendall(b"secret\n")
        return answer + tls.recv(100)


@every_backend
def test_a_stream_may_start_tls_later(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, others: Any
) -> None:
    ours, theirs = tcp_pair(peers)
    stream = Upgrading(ours, loop=loop)
    stream.context = server_tls
    result = others(lambda: upgrade(theirs, client_tls))
    poll_until(loop, lambda: result)
    assert result == [b"go ahead\nSECRET\n"]
    assert stream.seen[:4] == ["connect", b"STARTTLS", "connect", b"secret"]
    poll_until(loop, lambda: stream.is_over)


def test_plain_text_behind_starttls_ends_the_stream(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, others: Any
) -> None:
    ours, theirs = tcp_pair(peers)
    stream = Upgrading(ours, loop=loop)
    stream.context = server_tls
    theirs.settimeout(5)
    theirs.sendall(b"STARTTLS\nINJECTED\n")
    answer = b""
    loop.poll(0.1)
    loop.poll(0.01)
    answer = theirs.recv(100)

    def shake() -> None:
        with client_tls.wrap_socket(theirs, server_hostname="localhost") as tls:
            tls.recv(100)

    others(shake)
    poll_until(loop, lambda: stream.is_over)
    assert answer == b"go ahead\n"
    assert b"INJECTED" not in stream.seen
    assert "plain text" in str(stream.seen[-1])


def test_plain_text_behind_starttls_is_not_obeyed_while_the_answer_cannot_leave(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext
) -> None:
    ours, theirs = tcp_pair(peers)
    stream = Upgrading(ours, loop=loop)
    stream.context = server_tls
    poll_until(loop, lambda: stream.connected)
    stream.write(bytes(16_000_000))
    theirs.sendall(b"STARTTLS\nINJECTED\n")
    poll_until(loop, lambda: b"STARTTLS" in stream.seen)
    for _ in range(5):
        loop.poll(0.01)
    assert stream.output_size
    assert b"INJECTED" not in stream.seen
    stream.abort()
    poll_until(loop, lambda: stream.is_over)


def test_the_end_of_tls_can_be_said_through_a_whole_tls_socket(peers: Peers, server_tls: ssl.SSLContext) -> None:
    """Where the object below it is missing, the socket itself is the session, and its `shutdown` is the socket's."""
    from cyncore._stream.tls import say_close, wrap

    ours, _ = tcp_pair(peers)
    ours.setblocking(False)
    with wrap(ours, server_tls, True, None, None) as sock:
        say_close(sock)


def test_start_tls_refuses_what_makes_no_sense_and_the_stream_goes_on(
    loop: Loop, peers: Peers, client_tls: ssl.SSLContext
) -> None:
    stream, theirs = connected(peers, loop)
    with pytest.raises(TypeError, match=r"start_tls\(\) needs a name as its server_hostname, not 5"):
        stream.start_tls(client_tls, server_hostname=5)
    with pytest.raises(TypeError, match=r"start_tls\(\) needs an ssl.SSLContext, not 'x'"):
        stream.start_tls("x")
    stream.write(b"hello")
    assert receive(loop, theirs, 5) == b"hello"
    stream.abort()


def test_start_tls_with_a_session_that_is_none_ends_its_stream_alone(
    loop: Loop, peers: Peers, client_tls: ssl.SSLContext
) -> None:
    stream, _ = connected(peers, loop)
    loop.call_soon(lambda: stream.start_tls(client_tls, server_hostname="localhost", session="x"))
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], TypeError)


def test_start_tls_needs_a_connection(client_tls: ssl.SSLContext) -> None:
    with pytest.raises(RuntimeError, match="needs a connection"):
        Recorder().start_tls(client_tls)


def test_a_peer_that_reads_nothing_does_not_keep_others_waiting(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, others: Any
) -> None:
    class Flood(Stream):
        write_deadline = 0.2

        def handle_connect(self) -> None:
            self.write(bytes(8_000_000))

        def handle_close(self, error: BaseException | None) -> None:
            Echo.ends.append(error)

    flood = loop.listen(("127.0.0.1", 0), Flood, tls=server_tls)
    echo = loop.listen(("127.0.0.1", 0), Echo, tls=server_tls)
    release = threading.Event()

    def idle() -> None:
        plain = socket.create_connection(flood.address, 10)
        with client_tls.wrap_socket(plain, server_hostname="localhost"):
            release.wait(10)

    others(idle)
    result = others(lambda: exchange(echo.address, client_tls, bytes(50_000)))
    poll_until(loop, lambda: result and any(isinstance(error, TimeoutError) for error in Echo.ends))
    release.set()
    assert result == [bytes(50_000)]
    flood.close()
    echo.close()
    poll_until(loop, lambda: not loop.map)


def test_renegotiation_is_refused(loop: Loop, server_tls: ssl.SSLContext) -> None:
    server = loop.listen(("127.0.0.1", 0), Stream, tls=server_tls)
    with socket.create_connection(server.address, 5):
        poll_until(loop, lambda: server.connections == 1)
        assert server_tls.options & ssl.OP_NO_RENEGOTIATION
    poll_until(loop, lambda: server.connections == 0)
    server.close()


class OtherSocket(socket.socket):
    """One that the engine does not read itself, as that of TLS is none."""


class FullSession:
    """A session that cannot read before it has written, as when the peer asks for new keys and does not read."""

    def __init__(self) -> None:
        self.reads = 0
        self.has_room = False

    def read(self, size: int, buffer: memoryview) -> int:
        self.reads += 1
        if not self.has_room:
            raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "wait")
        buffer[:4] = b"data"
        self.has_room = False
        return 4

    def pending(self) -> int:
        return 0

    def write(self, data: Any) -> int:
        raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "wait")

    def shutdown(self) -> None:
        pass


@every_backend
@pytest.mark.parametrize("closes", [False, True])
def test_reading_that_has_to_write_first_waits_for_room_and_does_not_spin(
    loop: Loop, peers: Peers, closes: bool
) -> None:
    plain, theirs = peers.pair()
    ours = OtherSocket(fileno=plain.detach())
    peers.keep(ours)
    stream = Recorder(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    session = stream._session = FullSession()
    stream.write(b"waits")
    if closes:
        stream.close()
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(bytes(65536))
    theirs.send(b"x")
    poll_until(loop, lambda: session.reads)
    assert loop.poll(0.01) == 0
    assert loop.poll(0.01) == 0
    assert session.reads == 1
    session.has_room = True
    theirs.recv(10_000_000)
    poll_until(loop, lambda: session.reads > 1)
    assert stream.got == (b"" if closes else b"data")
    stream.abort()
    poll_until(loop, lambda: stream.is_over)
