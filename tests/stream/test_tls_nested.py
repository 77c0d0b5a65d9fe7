# SPDX-License-Identifier: MIT
"""TLS inside of the TLS of a stream, with streams and with Python's own TLS at the other end."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cyncore import Lines, Loop, TLSError, TruncatedError
from cyncore._stream.nested import Nested
from tests.support.certificates import Authority
from tests.support.certificates import authority_fixture as authority_fixture
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.loops import every_backend
from tests.support.others import others_fixture as others_fixture
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, tcp_pair


class End(Recorder):
    """Goes over to TLS so many times, and leaves the end of the input to the test."""

    context: ssl.SSLContext
    options: dict[str, Any]
    levels = 2
    level = 0
    last_words = b""
    echoes = False

    def handle_connect(self) -> None:
        super().handle_connect()
        if self.level < self.levels:
            self.level += 1
            self.start_tls(self.context, **self.options)
        elif self.last_words:
            self.write(self.last_words)

    def handle_data(self, data: bytes) -> None:
        self.got += data
        if self.echoes:
            self.write(data)

    def handle_eof(self) -> None:
        self.seen.append("eof")


class Inner:
    """The client's side of two sessions, one inside of the other, which blocks."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        sock.settimeout(20)
        self.outer = context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.call(self.tls.do_handshake)

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        while True:
            try:
                return method(*arguments)
            except ssl.SSLWantReadError:
                self.send()
                data = self.outer.recv(65536)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            finally:
                self.send()

    def send(self) -> None:
        if self._outgoing.pending:
            self.outer.sendall(self._outgoing.read())

    def read(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            got += self.call(self.tls.read, 65536)
        return got


def pair(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, levels: int = 2
) -> tuple[End, End]:
    """Two streams with that many sessions inside of one another, which are ready."""
    ours, theirs = tcp_pair(peers)
    server, client = End(ours, loop=loop), End(theirs, loop=loop)
    server.context, server.options = server_tls, {"server_side": True}
    client.context, client.options = client_tls, {"server_hostname": "localhost"}
    server.levels = client.levels = levels
    poll_until(loop, lambda: server.seen == client.seen == ["connect"] * (levels + 1))
    return server, client


def over(loop: Loop, *streams: Any) -> None:
    for stream in streams:
        stream.abort()
    poll_until(loop, lambda: all(stream.is_over for stream in streams))


@every_backend
@pytest.mark.parametrize("size", [1, 16_384, 16_385, 1_000_000])
def test_data_goes_both_ways(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, size: int
) -> None:
    server, client = pair(loop, peers, server_tls, client_tls)
    server.echoes = True
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    client.write(data)
    poll_until(loop, lambda: len(client.got) == size, 5000)
    assert client.got == data
    over(loop, server, client)


def test_sessions_may_be_any_number(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    server, client = pair(loop, peers, server_tls, client_tls, 4)
    server.echoes = True
    client.write(bytes(100_000))
    poll_until(loop, lambda: len(client.got) == 100_000)
    over(loop, server, client)


@every_backend
def test_python_speaks_with_a_server(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, others: Any
) -> None:
    ours, theirs = tcp_pair(peers)
    server = End(ours, loop=loop)
    server.context, server.options, server.echoes = server_tls, {"server_side": True}, True
    server.last_words = b"welcome"

    def talk() -> tuple[bytes, bytes]:
        inner = Inner(theirs, client_tls)
        with inner.outer:
            first = inner.read(7)
            inner.call(inner.tls.write, bytes(50_000))
            return first, inner.read(50_000)

    result = others(talk)
    poll_until(loop, lambda: result)
    assert result == [(b"welcome", bytes(50_000))]
    poll_until(loop, lambda: server.is_over)
    assert isinstance(server.seen[-1], TruncatedError)


def test_last_words_and_both_ends_reach_python(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, others: Any
) -> None:
    ours, theirs = tcp_pair(peers)
    server = End(ours, loop=loop)
    server.context, server.options = server_tls, {"server_side": True}

    def talk() -> list[bytes]:
        inner = Inner(theirs, client_tls)
        with inner.outer:
            return [inner.read(7), inner.call(inner.tls.read, 100), inner.outer.recv(100)]

    result = others(talk)
    poll_until(loop, lambda: server.seen == ["connect"] * 3)
    server.write(b"goodbye")
    server.close()
    poll_until(loop, lambda: result)
    assert result == [[b"goodbye", b"", b""]]  # an end without close_notify would raise, on either level
    poll_until(loop, lambda: server.is_over)


def test_end_of_the_output_is_that_of_the_inner_session_alone(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, others: Any
) -> None:
    """A proxy between the two might take that of the outer one for the end of all. It comes with `close`."""
    ours, theirs = tcp_pair(peers)
    server = End(ours, loop=loop)
    server.context, server.options = server_tls, {"server_side": True}

    def talk() -> list[Any]:
        inner = Inner(theirs, client_tls)
        with inner.outer:
            seen = [inner.read(4), inner.call(inner.tls.read, 100)]
            inner.call(inner.tls.write, b"answer")
            return [*seen, inner.outer.recv(100)]

    result = others(talk)
    poll_until(loop, lambda: server.seen == ["connect"] * 3)
    server.write(b"last")
    server.write_eof()
    poll_until(loop, lambda: server.got == b"answer")
    server.close()
    poll_until(loop, lambda: result)
    assert result == [[b"last", b"", b""]]
    poll_until(loop, lambda: server.is_over)


@pytest.mark.parametrize("first", ["server", "client"])
def test_half_closed_stream_still_receives_all(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, first: str
) -> None:
    server, client = pair(loop, peers, server_tls, client_tls)
    early, late = (server, client) if first == "server" else (client, server)
    early.write(b"last words")
    early.write_eof()
    poll_until(loop, lambda: "eof" in late.seen)
    late.write(bytes(1_000_000))
    late.close()
    poll_until(loop, lambda: "eof" in early.seen, 5000)
    early.close()
    poll_until(loop, lambda: server.is_over and client.is_over)
    assert (len(early.got), late.got) == (1_000_000, b"last words")
    assert (server.seen[-1], client.seen[-1]) == ("close", "close")


def test_end_of_the_outer_session_alone_is_told(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, others: Any
) -> None:
    ours, theirs = tcp_pair(peers)
    server = End(ours, loop=loop)
    server.context, server.options = server_tls, {"server_side": True}

    def cut() -> None:
        inner = Inner(theirs, client_tls)
        with inner.outer:
            inner.outer.unwrap()

    others(cut)
    poll_until(loop, lambda: server.is_over)
    assert isinstance(server.seen[-1], TruncatedError)


def test_file_is_sent(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    server, client = pair(loop, peers, server_tls, client_tls)
    data = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(data)
    with open(tmp_path / "file", "rb") as file:
        server.sendfile(file)
    server.write(b"end")
    poll_until(loop, lambda: len(client.got) == len(data) + 3, 5000)
    assert client.got == data + b"end"
    over(loop, server, client)


def test_peer_that_reads_late_gets_everything(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    server, client = pair(loop, peers, server_tls, client_tls)
    client.pause_reading()
    data = bytes(range(251)) * 40_000
    server.write(data)
    for _ in range(20):
        loop.poll(0.005)
    assert server.output_size
    client.resume_reading()
    poll_until(loop, lambda: len(client.got) == len(data), 5000)
    assert client.got == data
    over(loop, server, client)


@every_backend
def test_input_that_is_held_while_reading_is_paused_is_delivered(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """For what the sessions hold the kernel has no event."""

    class Pausing(End):
        def handle_data(self, data: bytes) -> None:
            super().handle_data(data)
            self.pause_reading()

    server, client = pair(loop, peers, server_tls, client_tls)
    client.__class__ = Pausing
    for part in (b"one", b"two", b"three"):
        server.write(part)
        server._flush_now()
    poll_until(loop, lambda: client.got)
    while len(client.got) < 11:
        before = len(client.got)
        loop.poll(0.01)
        assert len(client.got) == before
        client.resume_reading()
        poll_until(loop, lambda before=before: len(client.got) > before)
    assert client.got == b"onetwothree"
    over(loop, server, client)


def test_streams_are_joined(loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    server, client = pair(loop, peers, server_tls, client_tls)
    ours, theirs = tcp_pair(peers)
    plain = Recorder(ours, loop=loop)
    poll_until(loop, lambda: plain.connected)
    server.pipe(plain)
    client.write(b"question")
    theirs.setblocking(False)
    got: list[bytes] = []

    def arrived() -> bool:
        try:
            got.append(theirs.recv(100))
        except BlockingIOError:
            return False
        return True

    poll_until(loop, arrived)
    theirs.send(b"answer")
    poll_until(loop, lambda: client.got == b"answer")
    assert got == [b"question"]
    over(loop, server, client, plain)


def test_facts_are_those_of_the_inner_session(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, authority: Authority
) -> None:
    inner_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inner_server.load_cert_chain(authority.folder / "good.both")
    inner_client = ssl.create_default_context(cafile=str(authority.certificate))
    server, client = pair(loop, peers, server_tls, client_tls, 1)
    assert client.get_extra_info("peercert")["subject"] == ((("commonName", "localhost"),),)
    server.start_tls(inner_server, server_side=True)
    client.start_tls(inner_client, server_hostname="localhost")
    poll_until(loop, lambda: len(server.seen) == len(client.seen) == 3)
    assert client.get_extra_info("peercert")["subject"] == ((("commonName", "good"),),)
    assert client.get_extra_info("sslcontext") is inner_client
    assert isinstance(client.get_extra_info("ssl_object"), ssl.SSLObject)
    assert type(client.get_extra_info("socket")) is socket.socket
    over(loop, server, client)


def test_certificate_of_the_inner_session_is_looked_at(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, authority: Authority
) -> None:
    server, client = pair(loop, peers, server_tls, client_tls, 1)
    server.start_tls(server_tls, server_side=True)
    client.start_tls(ssl.create_default_context(cafile=str(authority.certificate)), server_hostname="localhost")
    poll_until(loop, lambda: server.is_over and client.is_over)
    assert "the certificate of the peer is refused" in str(client.seen[-1])
    assert "does not know the authority of our certificate" in str(server.seen[-1])


def test_what_is_no_tls_inside_is_told(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    server, client = pair(loop, peers, server_tls, client_tls, 1)
    server.start_tls(server_tls, server_side=True)
    client.write(b"GET / HTTP/1.0\r\n\r\n")
    poll_until(loop, lambda: server.is_over)
    assert "an HTTP request in plain text" in str(server.seen[-1])
    over(loop, client)


def test_handshake_inside_has_its_deadline(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    server, client = pair(loop, peers, server_tls, client_tls, 1)
    server.handshake_deadline = 0.05
    server.start_tls(server_tls, server_side=True)
    poll_until(loop, lambda: server.is_over)
    assert isinstance(server.seen[-1], TimeoutError)
    over(loop, client)


def test_input_behind_the_command_is_refused(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    class Command(End):
        def handle_frame(self, frame: bytes) -> None:
            super().handle_frame(frame)
            self.start_tls(server_tls, server_side=True)

    server, client = pair(loop, peers, server_tls, client_tls, 1)
    server.__class__ = Command
    server.framing = Lines()
    client.write(b"STARTTLS\nINJECTED\n")
    poll_until(loop, lambda: b"STARTTLS" in server.seen)
    client.start_tls(client_tls, server_hostname="localhost")
    poll_until(loop, lambda: server.is_over)
    assert b"INJECTED" not in server.seen
    assert isinstance(server.seen[-1], TLSError)
    assert "plain text" in str(server.seen[-1])
    over(loop, client)


@pytest.mark.parametrize(
    "options", [{}, {"server_hostname": ""}, {"server_side": True, "server_hostname": "localhost"}]
)
def test_wrong_arguments_end_the_stream(
    loop: Loop, peers: Peers, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, options: dict[str, Any]
) -> None:
    """Without the check the name in the certificate would be none's business: Python does not look at it here."""
    server, client = pair(loop, peers, server_tls, client_tls, 1)
    client.start_tls(server_tls if "server_side" in options else client_tls, **options)
    poll_until(loop, lambda: client.is_over and server.is_over)
    assert isinstance(client.seen[-1], ValueError)


# The session by itself


class Outer:
    """An outer session that has no room, or no input, when the test says so."""

    def __init__(self) -> None:
        self.input = b""
        self.output = b""
        self.room = 1 << 30
        self.offered: list[bytes] = []

    def read(self, size: int) -> bytes:
        if not self.input:
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "wait")
        data, self.input = self.input[:size], self.input[size:]
        return data

    def write(self, data: bytes) -> int:
        self.offered.append(data)
        if not self.room:
            raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "wait")
        self.output += data
        return len(data)

    def pending(self) -> int:
        return len(self.input)


@pytest.fixture
def both(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> tuple[Nested, Nested]:
    """A server and a client whose handshake is done."""
    server = Nested(Outer(), server_tls, True, None, None)
    client = Nested(Outer(), client_tls, False, "localhost", None)
    done: set[Nested] = set()
    for _ in range(6):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
                done.add(one)
            except ssl.SSLWantReadError:
                pass
            other.outer.input, one.outer.output = other.outer.input + one.outer.output, b""
    assert done == {server, client}
    for one in (server, client):
        with pytest.raises(ssl.SSLWantReadError):
            one.read(10)
    return server, client


def test_write_that_had_to_wait_sends_its_data_once(both: tuple[Nested, Nested]) -> None:
    server, client = both
    server.outer.room = 0
    server.outer.offered.clear()
    for _ in range(2):
        with pytest.raises(ssl.SSLWantWriteError):
            server.write(b"data")
    server.outer.room = 1 << 30
    assert server.write(b"data") == 4
    assert len(set(server.outer.offered)) == 1
    client.outer.input = server.outer.output
    assert client.read(100) == b"data"
    assert client.pending() == 0


def test_pending_counts_what_no_event_tells_of(both: tuple[Nested, Nested]) -> None:
    server, client = both
    for part in (b"one", b"two"):
        server.write(part)
    client.outer.input = server.outer.output
    assert client.pending() == len(server.outer.output)
    assert client.read(2) == b"on"
    assert client.pending()
    assert client.read(100) == b"e"
    assert client.pending()
    assert client.read(100) == b"two"
    assert client.pending() == 0


def test_record_that_has_not_come_whole_is_not_pending_after_a_read(both: tuple[Nested, Nested]) -> None:
    server, client = both
    server.write(b"data")
    client.outer.input = server.outer.output[:-1]
    with pytest.raises(ssl.SSLWantReadError):
        client.read(100)
    assert client.pending() == 0
    client.outer.input = server.outer.output[-1:]
    assert client.read(100) == b"data"


def test_failure_is_told_to_the_peer(both: tuple[Nested, Nested]) -> None:
    server, client = both
    client.outer.input = b"\x17\x03\x03\x00\x20" + bytes(32)
    client.outer.output = b""
    with pytest.raises(ssl.SSLError, match=r"(?i)decryption|mac|record layer"):
        client.read(100)
    server.outer.input = client.outer.output
    with pytest.raises(ssl.SSLError, match=r"(?i)alert|record layer"):  # OpenSSL 3.5 and PyPy name the layer alone
        server.read(100)


def test_reading_goes_on_while_a_write_waits(both: tuple[Nested, Nested]) -> None:
    """If each side waited for room before it reads, both would wait for ever."""
    server, client = both
    client.write(b"data")
    server.outer.input, server.outer.room = client.outer.output, 0
    with pytest.raises(ssl.SSLWantWriteError):
        server.write(bytes(60_000))
    assert server.read(100) == b"data"
    with pytest.raises(ssl.SSLWantReadError):
        server.read(100)


def test_answers_that_cannot_leave_end_the_reading(both: tuple[Nested, Nested]) -> None:
    server, _ = both
    server.outer.room = 0
    server._outgoing.write(bytes(300_000))
    with pytest.raises(ssl.SSLWantWriteError):
        server.read(100)
