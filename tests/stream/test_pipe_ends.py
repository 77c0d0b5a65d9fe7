# SPDX-License-Identifier: MIT
"""How joined streams end: a half-close, over TLS too, deadlines, and what the program does meanwhile."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

import cyncore._stream.pipe
from cyncore import Loop, Stream
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.pipes import blocked, joined
from tests.support.pipes import way_fixture as way_fixture
from tests.support.streams import Recorder, receive, tcp_pair


def exchanged(loop: Loop, peers: Peers) -> tuple[Any, socket.socket, Any, socket.socket]:
    """The same, after a byte went both ways."""
    first, near, second, far = joined(loop, peers)
    for source, target in ((near, far), (far, near)):
        source.setblocking(True)
        source.sendall(b"0")
        assert receive(loop, target, 1) == b"0"
    return first, near, second, far


def receive_all(loop: Loop, sock: socket.socket) -> int:
    """Receives until the end, while the loop serves. Returns how many bytes there were."""
    sock.setblocking(False)
    parts: list[int] = []

    def is_over() -> bool:
        try:
            parts.append(len(sock.recv(1 << 20)))
        except BlockingIOError:
            return False
        return parts[-1] == 0

    poll_until(loop, is_over, 10_000)
    return sum(parts)


# Half-closes


def test_the_end_of_one_way_leaves_the_other_open(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, far = exchanged(loop, peers)
    near.shutdown(socket.SHUT_WR)
    assert receive(loop, far, 1) == b""
    for _ in range(3):
        far.setblocking(True)
        far.sendall(b"answer")
        assert receive(loop, near, 6) == b"answer"
    assert first.connected
    assert second.connected
    far.close()
    poll_until(loop, lambda: first.is_over and second.is_over)


# TLS


class Joining(Recorder):
    """Joins itself with a connection to `upstream`, when it is ready."""

    upstream: Any
    options: dict[str, Any]
    made: list[Any]

    def handle_connect(self) -> None:
        super().handle_connect()
        other = self.loop.connect(self.upstream, Recorder, **self.options)
        self.made += [self, other]
        self.pipe(other)


class Upstream(Recorder):
    """Answers the end of the input with all of it, and ends its output then."""

    def handle_eof(self) -> None:
        self.seen.append("eof")
        self.write(b"got " + self.got)
        self.write_eof()


@every_backend
@pytest.mark.parametrize(("front", "back"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("size", [5, 300_000])
def test_ends_are_passed_on_where_there_is_tls(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, front: bool, back: bool, size: int
) -> None:
    upstream = loop.listen(("127.0.0.1", 0), Upstream, tls=server_tls if back else None)
    options = {"tls": client_tls, "server_hostname": "localhost"}
    made: list[Any] = []
    kind = type("Proxy", (Joining,), {"upstream": upstream.address, "options": options if back else {}, "made": made})
    proxy = loop.listen(("127.0.0.1", 0), kind, tls=server_tls if front else None)
    client = loop.connect(proxy.address, Recorder, **(options if front else {}))
    data = bytes(range(250)) * (size // 250) + b"tail!"
    client.write(data)
    client.write_eof()
    poll_until(loop, lambda: client.is_over)
    assert client.got == b"got " + data
    assert client.seen[-2:] == ["eof", "close"]
    poll_until(loop, lambda: all(each.is_over for each in made))
    assert [each.seen for each in made] == [["connect", "close"]] * 2
    upstream.close()
    proxy.close()
    poll_until(loop, lambda: not loop.map)


# Deadlines


def test_a_life_deadline_ends_joined_streams_though_bytes_move(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, far = exchanged(loop, peers)
    first.life_deadline = 0.05
    near.setblocking(False)
    far.setblocking(False)

    def is_over() -> bool:
        try:
            near.send(b"x")
            far.recv(100)
        except OSError:
            pass
        return bool(first.is_over)

    poll_until(loop, is_over, 1_000_000)
    far.close()
    poll_until(loop, lambda: second.is_over)
    assert isinstance(first.seen[-1], TimeoutError)
    assert "life" in str(first.seen[-1])


def test_handle_timeout_may_keep_joined_streams(loop: Loop, peers: Peers, way: str) -> None:
    class Patient(Recorder):
        idle_deadline = 0.01

        def handle_timeout(self, kind: str) -> None:
            self.seen.append(kind)

    (one, near), (other, far) = tcp_pair(peers), tcp_pair(peers)
    first, second = Patient(one, loop=loop), Recorder(other, loop=loop)
    first.pipe(second)
    poll_until(loop, lambda: first.seen.count("idle") == 2)
    near.sendall(b"late")
    assert receive(loop, far, 4) == b"late"
    first.abort()
    far.close()
    poll_until(loop, lambda: first.is_over and second.is_over)


# What the program does meanwhile


@pytest.mark.parametrize("ender", ["first", "second"])
@pytest.mark.parametrize("call", ["close", "abort"])
def test_the_program_may_end_either_stream(loop: Loop, peers: Peers, way: str, ender: str, call: str) -> None:
    first, near, second, far = exchanged(loop, peers)
    getattr({"first": first, "second": second}[ender], call)()
    assert receive(loop, near, 1) == b""
    assert receive(loop, far, 1) == b""
    near.close()
    far.close()
    poll_until(loop, lambda: first.is_over and second.is_over)
    assert first.seen == second.seen == ["connect", "close"]


@pytest.mark.parametrize("call", [Stream.close, Stream.abort])
def test_streams_that_end_before_the_join_begins(
    loop: Loop, peers: Peers, way: str, call: Callable[[Stream], None]
) -> None:
    (one, near), (other, far) = tcp_pair(peers), tcp_pair(peers)
    first, second = Recorder(one, loop=loop), Recorder(other, loop=loop)
    first.pipe(second)
    call(first)
    assert receive(loop, near, 1) == b""
    assert receive(loop, far, 1) == b""
    poll_until(loop, lambda: first.is_over and second.is_over)
    assert (first.seen[-1], second.seen[-1]) == ("close", "close")


def test_what_was_written_to_a_stream_that_closes_before_the_join_begins_arrives(
    loop: Loop, peers: Peers, way: str
) -> None:
    (one, near), (other, far) = tcp_pair(peers), tcp_pair(peers)
    first, second = Recorder(one, loop=loop), Recorder(other, loop=loop)
    first.write(b"refused")
    first.pipe(second)
    first.close()
    assert receive(loop, near, 100) == b"refused"
    assert receive(loop, far, 1) == b""
    poll_until(loop, lambda: first.is_over and second.is_over)


def test_joining_with_a_stream_that_closes_closes_both(loop: Loop, peers: Peers) -> None:
    (one, near), (other, far) = tcp_pair(peers), tcp_pair(peers)
    first, second = Recorder(one, loop=loop), Recorder(other, loop=loop)
    second.close()
    first.pipe(second)
    assert receive(loop, near, 1) == b""
    assert receive(loop, far, 1) == b""
    poll_until(loop, lambda: first.is_over and second.is_over)


def test_an_aborted_receiver_ends_the_sender_that_it_held_up(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, _ = exchanged(loop, peers)
    blocked(loop, near)
    second.abort()
    poll_until(loop, lambda: second.is_over)
    near.close()
    poll_until(loop, lambda: first.is_over)
    assert second.seen == ["connect", "close"]


def test_a_closed_receiver_gets_what_was_taken_for_it_first(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, far = exchanged(loop, peers)
    blocked(loop, near)
    second.close()
    assert not second.is_over
    got = receive_all(loop, far)
    near.close()
    far.close()
    poll_until(loop, lambda: first.is_over and second.is_over)
    assert got > 65536
    assert second.seen == ["connect", "close"]


@every_backend
@pytest.mark.parametrize("which", [0, 1])
def test_joining_after_write_eof_is_an_error_and_leaves_both_as_they_were(
    loop: Loop, peers: Peers, way: str, which: int
) -> None:
    (one, near), (other, far) = tcp_pair(peers), tcp_pair(peers)
    streams = [Recorder(one, loop=loop), Recorder(other, loop=loop)]
    poll_until(loop, lambda: all(each.connected for each in streams))
    streams[which].write_eof()
    with pytest.raises(RuntimeError, match="after write_eof"):
        streams[0].pipe(streams[1])
    near.sendall(b"one")
    far.sendall(b"other")
    poll_until(loop, lambda: (streams[0].got, streams[1].got) == (b"one", b"other"))
    streams[1 - which].write(b"still")
    assert receive(loop, (far, near)[which], 5) == b"still"
    for each in streams:
        each.abort()
    poll_until(loop, lambda: all(each.is_over for each in streams))


def test_without_descriptors_for_a_kernel_pipe_bytes_are_copied(
    loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cyncore._stream.pipe, "take_pipe", lambda: None)
    first, near, second, far = exchanged(loop, peers)
    near.setblocking(True)
    near.sendall(b"question")
    assert receive(loop, far, 8) == b"question"
    near.close()
    far.close()
    poll_until(loop, lambda: first.is_over and second.is_over)
