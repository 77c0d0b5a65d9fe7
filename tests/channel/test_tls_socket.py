# SPDX-License-Identifier: MIT
"""The socket of a dispatcher that speaks TLS, over a session that does what OpenSSL does rarely."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from cyncore import Loop, TLSError
from cyncore._tls.socket import TlsSocket
from tests.support.loops import every_backend
from tests.support.peers import Peers, Recorder, poll_until

RECORD = 16_384
WANT_READ = ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "wait")
WANT_WRITE = ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "wait")


class Session:
    """Raises what is in `errors`, first, and then works: reads "data" once, and takes what is offered."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.input = [b"data"]
        self.offered: list[bytes] = []

    def read(self, size: int) -> bytes:
        if self.errors:
            raise self.errors.pop(0)
        if not self.input:
            raise WANT_READ
        return self.input.pop(0)

    def write(self, data: Any) -> int:
        self.offered.append(bytes(data))
        if self.errors:
            raise self.errors.pop(0)
        return len(data)

    def pending(self) -> int:
        return 0

    def shutdown(self) -> None:
        raise WANT_READ


class Writer(Recorder):
    """Sends what is in `out`."""

    out = b""

    def writable(self) -> bool:
        return bool(self.out)

    def handle_write(self) -> None:
        self.seen.append("write")
        self.out = self.out[self.send(self.out) :]


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def writer(loop: Loop, peers: Peers, session: Session) -> Iterator[Any]:
    """A channel whose socket has that session."""
    channel, theirs = peers.channel(Writer, loop.map)
    channel.theirs = theirs
    sock = TlsSocket(channel.socket, channel)
    sock.open(session)
    channel.socket = sock
    yield channel
    channel.close()


@pytest.fixture
def sock(writer: Any) -> TlsSocket:
    assert isinstance(writer.socket, TlsSocket)
    return writer.socket


def test_what_tls_is_not_ready_for_would_block(sock: TlsSocket, session: Session) -> None:
    session.errors = [WANT_READ, WANT_WRITE]
    with pytest.raises(BlockingIOError):
        sock.recv(10)
    with pytest.raises(BlockingIOError):
        sock.send(b"four")


def test_nothing_can_be_sent_or_received_in_the_handshake(peers: Peers, loop: Loop) -> None:
    channel, _theirs = peers.channel(Writer, loop.map)
    sock = TlsSocket(channel.socket, channel)
    with pytest.raises(BlockingIOError):
        sock.recv(10)
    with pytest.raises(BlockingIOError):
        sock.send(b"x")
    assert sock.pending() == 0
    channel.close()


def test_a_record_that_has_to_wait_is_offered_again_as_it_was(sock: TlsSocket, session: Session) -> None:
    session.errors = [WANT_WRITE]
    with pytest.raises(BlockingIOError):
        sock.send(b"four")
    assert sock.send(memoryview(b"four and more")) == 13
    assert session.offered == [b"four", b"four", b" and more"]


def test_a_caller_that_offers_fewer_bytes_the_next_time_sends_none_twice(sock: TlsSocket, session: Session) -> None:
    session.errors = [WANT_WRITE]
    with pytest.raises(BlockingIOError):
        sock.send(b"one and two")
    assert sock.send(b"one") == 3
    assert sock.send(b" and") == 4
    assert sock.send(b" two, three") == 11
    assert session.offered == [b"one and two", b"one and two", b", three"]


def test_a_caller_that_has_dropped_what_it_offered_sends_the_rest_all_the_same(
    sock: TlsSocket, session: Session
) -> None:
    session.errors = [WANT_WRITE]
    with pytest.raises(BlockingIOError):
        sock.send(b"dropped")
    assert sock.send(b"other") == 5
    assert session.offered == [b"dropped", b"dropped", b"other"]


def test_send_says_how_many_records_have_left(sock: TlsSocket, session: Session) -> None:
    class Full(Session):
        def write(self, data: Any) -> int:
            if len(self.offered) == 2 and not self.errors:
                self.errors = [WANT_WRITE]
            return super().write(data)

    full = Full()
    sock.open(full)
    data = bytes(range(256)) * 200  # 51,200 bytes: three records, and a rest
    assert sock.send(data) == 2 * RECORD
    assert sock.send(data[2 * RECORD :]) == len(data) - 2 * RECORD
    assert b"".join(full.offered[:2] + full.offered[3:]) == data


def test_one_call_sends_no_more_than_sixteen_records(sock: TlsSocket, session: Session) -> None:
    assert sock.send(bytes(1_000_000)) == 16 * RECORD


def test_nothing_is_sent_of_nothing(sock: TlsSocket, session: Session) -> None:
    assert sock.send(b"") == 0
    assert session.offered == []


def test_what_breaks_tls_is_told_with_the_name_of_the_peer(writer: Any, sock: TlsSocket, session: Session) -> None:
    writer.addr = ("192.0.2.1", 4711)
    session.errors = [ssl.SSLError(1, "broken")]
    with pytest.raises(TLSError, match=r"192\.0\.2\.1.*broken"):
        sock.recv(10)
    sock.open(session)
    assert sock.recv(10) == b""


def test_close_notify_after_ours_is_the_end(sock: TlsSocket, session: Session) -> None:
    session.errors = [ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "closed")]
    assert sock.recv(10) == b""


def test_what_is_not_defined_is_that_of_the_socket_below(writer: Any, sock: TlsSocket) -> None:
    assert sock.gettimeout() == 0.0
    assert sock.fileno() == writer._fileno
    assert "TLS on <socket.socket" in repr(sock)


# recv that has to write, and send that has to read


@every_backend
def test_recv_that_has_to_write_waits_for_room(loop: Loop, writer: Any, session: Session) -> None:
    """The peer has asked for new keys: the answer has to leave before more can be read."""
    session.errors = [WANT_WRITE]
    writer.theirs.send(b"x")
    loop.poll(0.1)
    assert writer.seen == ["read"]
    assert (writer.readable(), writer.writable()) == (False, True)
    loop.poll(0.1)
    assert writer.seen == ["read", "read"]
    assert writer.got == b"data"
    assert writer.readable()
    assert not writer.writable()


@every_backend
def test_recv_that_has_to_write_gets_no_events_while_there_is_no_room(
    loop: Loop, writer: Any, session: Session
) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            writer.socket._tls.send(bytes(65536))
    session.errors = [WANT_WRITE]
    writer.theirs.send(b"x")
    loop.poll(0.1)
    assert loop.poll(0.01) == 0
    writer.theirs.recv(10_000_000)
    poll_until(loop, lambda: writer.got)
    assert writer.seen == ["read", "read"]


@every_backend
def test_recv_that_has_nothing_even_then_waits_on(loop: Loop, writer: Any, session: Session) -> None:
    session.errors = [WANT_WRITE, WANT_READ]
    writer.theirs.send(b"x")
    poll_until(loop, lambda: writer.got)
    assert writer.seen == ["read", "read", "read"]


@every_backend
def test_send_that_has_to_read_waits_for_input(loop: Loop, writer: Any, session: Session) -> None:
    session.errors = [WANT_READ]
    writer.out = b"output"
    loop.poll(0.1)
    assert loop.poll(0.01) == 0
    assert writer.out == b"output"
    writer.theirs.send(b"x")
    poll_until(loop, lambda: not writer.out)
    assert session.offered == [b"output", b"output"]
    assert writer.seen[:2] == ["write", "write"]


def test_channel_that_is_closed_while_it_waits_so_leaves_nothing(loop: Loop, writer: Any, session: Session) -> None:
    session.errors = [WANT_WRITE]
    writer.theirs.send(b"x")
    loop.poll(0.1)
    writer.close()
    assert not loop.map
    assert "del_channel" not in writer.__dict__


def test_a_second_recv_waits_as_the_first(loop: Loop, writer: Any, session: Session) -> None:
    session.errors = [WANT_WRITE, WANT_WRITE]
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            writer.recv(10)
    poll_until(loop, lambda: writer.got)
    assert writer.got == b"data"


def test_socket_without_its_channel_only_says_that_it_would_block(peers: Peers, session: Session) -> None:
    ours, _theirs = peers.pair()
    channel = Recorder(map={})
    sock = TlsSocket(ours, channel)
    sock.open(session)
    session.errors = [WANT_WRITE]
    with pytest.raises(BlockingIOError):
        sock.recv(10)
