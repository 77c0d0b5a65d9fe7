# SPDX-License-Identifier: MIT
"""Two streams joined by `pipe`, between two real peers."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import socket
import ssl
import threading
from typing import Any

import pytest

import cyncore._stream.pipe
from cyncore import Loop, Stream
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.loops import every_backend
from tests.support.others import others_fixture as others_fixture
from tests.support.peers import Peers, poll_until
from tests.support.pipes import blocked, joined
from tests.support.pipes import way_fixture as way_fixture
from tests.support.streams import Recorder, receive, reset, tcp_pair


@every_backend
def test_bytes_go_both_ways(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, far = joined(loop, peers)
    near.sendall(b"question")
    assert receive(loop, far, 8) == b"question"
    far.setblocking(True)
    far.sendall(b"answer")
    assert receive(loop, near, 6) == b"answer"
    first.abort()
    poll_until(loop, lambda: first.is_over and second.is_over)
    assert first.seen == second.seen == ["connect", "close"]


def test_much_arrives_whole_though_it_is_taken_slowly(loop: Loop, peers: Peers, way: str) -> None:
    _, near, second, far = joined(loop, peers)
    data = random.Random(1).randbytes(6_000_000)
    near.setblocking(False)
    far.setblocking(False)
    sent, got = 0, bytearray()

    def done() -> bool:
        nonlocal sent
        if sent < len(data):
            try:
                sent += near.send(data[sent : sent + 300_000])
            except BlockingIOError:
                pass
            if sent == len(data):
                near.shutdown(socket.SHUT_WR)
        try:
            got.extend(far.recv(50_000))
        except BlockingIOError:
            pass
        return len(got) == len(data)

    poll_until(loop, done, 100_000)
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    assert receive(loop, far, 1) == b""
    far.close()
    poll_until(loop, lambda: second.is_over)


def test_the_end_of_each_way_is_passed_on_by_itself(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, far = joined(loop, peers)
    near.sendall(b"last")
    near.shutdown(socket.SHUT_WR)
    assert receive(loop, far, 100) == b"last"
    far.setblocking(True)
    far.sendall(b"answer")
    far.close()
    assert receive(loop, near, 100) == b"answer"
    poll_until(loop, lambda: first.is_over and second.is_over)
    assert first.seen[-1] == second.seen[-1] == "close"


def test_a_peer_that_takes_nothing_holds_its_sender_up(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, _ = joined(loop, peers)
    assert blocked(loop, near) < 60_000_000
    first.abort()
    second.abort()
    loop.poll(0)
    loop.poll(0)


def test_a_stream_that_is_not_connected_yet_may_be_joined(loop: Loop, peers: Peers, way: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:

        class Client(Stream):
            def handle_connect(self) -> None:
                self.pipe(self.loop.connect(upstream.getsockname(), Stream))

        server = loop.listen(("127.0.0.1", 0), Client)
        near = socket.create_connection(server.address, 5)
        near.sendall(b"early")
        peers.keep(near)
        far: list[socket.socket] = []
        upstream.setblocking(False)

        def accepted() -> bool:
            try:
                far.append(upstream.accept()[0])
            except BlockingIOError:
                return False
            return True

        poll_until(loop, accepted)
        peers.keep(*far)
        assert receive(loop, far[0], 5) == b"early"
        near.close()
        assert receive(loop, far[0], 5) == b""
        far[0].close()
        server.close()
        poll_until(loop, lambda: not loop.map)


def test_a_connect_that_fails_ends_the_other_stream(loop: Loop, peers: Peers, way: str) -> None:
    ours, theirs = tcp_pair(peers)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    stream = Recorder(ours, loop=loop)
    stream.pipe(loop.connect(address, Recorder))
    assert receive(loop, theirs, 1) == b""
    poll_until(loop, lambda: stream.is_over)


def test_what_was_written_before_leaves_first(loop: Loop, peers: Peers, way: str) -> None:
    (one, near), (other, far) = tcp_pair(peers), tcp_pair(peers)
    first, second = Recorder(one, loop=loop), Recorder(other, loop=loop)
    first.write(b"established ")
    first.pipe(second)
    far.sendall(b"from afar")
    assert receive(loop, near, 21) == b"established from afar"
    first.abort()
    poll_until(loop, lambda: second.is_over)


def test_what_was_received_before_goes_first(loop: Loop, peers: Peers, way: str) -> None:
    (one, near), (other, far) = tcp_pair(peers), tcp_pair(peers)
    second = Recorder(other, loop=loop)

    class Head(Recorder):
        framing = cyncore.Lines()

        def handle_frame(self, frame: bytes) -> None:
            super().handle_frame(frame)
            self.pipe(second)

    first = Head(one, loop=loop)
    near.sendall(b"CONNECT\nthe rest\n")
    assert receive(loop, far, 9) == b"the rest\n"
    assert first.seen == ["connect", b"CONNECT"]
    first.abort()
    poll_until(loop, lambda: second.is_over)


def test_a_pipe_that_begins_in_a_handler_loses_nothing(loop: Loop, peers: Peers, way: str) -> None:
    (one, near), (other, far) = tcp_pair(peers), tcp_pair(peers)
    second = Recorder(other, loop=loop)
    poll_until(loop, lambda: second.connected)

    class Head(Recorder):
        framing = cyncore.Lines()

        def handle_frame(self, frame: bytes) -> None:
            super().handle_frame(frame)
            self.pipe(second)
            loop.poll(0.01)

    first = Head(one, loop=loop)
    near.sendall(b"CONNECT\nthe rest\n")
    assert receive(loop, far, 9) == b"the rest\n"
    near.sendall(b"more\n")
    assert receive(loop, far, 5) == b"more\n"
    assert first.seen == ["connect", b"CONNECT"]
    first.abort()
    poll_until(loop, lambda: second.is_over)


def test_a_stream_is_joined_with_one_other(loop: Loop, peers: Peers) -> None:
    first, _, second, _ = joined(loop, peers)
    ours, _ = peers.pair()
    third = Recorder(ours, loop=loop)
    with pytest.raises(RuntimeError, match="already"):
        third.pipe(second)
    with pytest.raises(TypeError, match="another"):
        third.pipe(third)
    first.abort()
    third.abort()
    poll_until(loop, lambda: second.is_over)


def test_a_peer_that_takes_nothing_passes_the_write_deadline(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, _ = joined(loop, peers)
    second.write_deadline = 0.02
    poll_until(loop, lambda: first.connected and second.connected)
    near.setblocking(False)

    def is_over() -> bool:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            near.send(bytes(1_000_000))
        return bool(second.is_over)

    poll_until(loop, is_over)
    near.close()
    poll_until(loop, lambda: first.is_over)
    assert isinstance(second.seen[-1], TimeoutError)
    assert "write" in str(second.seen[-1])


def test_a_joined_stream_without_traffic_does_not_pass_the_write_deadline(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, far = joined(loop, peers)
    second.write_deadline = 0.01
    near.sendall(b"once")
    assert receive(loop, far, 4) == b"once"
    passed: list[bool] = []
    loop.call_later(0.05, passed.append, True)
    poll_until(loop, lambda: passed)
    assert second.connected
    first.abort()
    poll_until(loop, lambda: first.is_over and second.is_over)


def test_a_connection_that_fails_ends_both_and_only_its_own_stream_has_the_error(
    loop: Loop, peers: Peers, way: str
) -> None:
    first, near, second, far = joined(loop, peers)
    near.sendall(b"x")
    assert receive(loop, far, 1) == b"x"
    reset(near)
    poll_until(loop, lambda: first.is_over)
    assert receive(loop, far, 1) == b""
    far.close()
    poll_until(loop, lambda: second.is_over)
    assert isinstance(first.seen[-1], ConnectionError)
    assert second.seen[-1] == "close"


def test_what_was_taken_before_a_failure_still_arrives(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, far = joined(loop, peers)
    poll_until(loop, lambda: first.connected and second.connected)
    blocked(loop, near)  # more than the peer's end holds
    waits = first._pipe.waits_for(second) or second.output_size
    assert waits
    first.abort()
    far.setblocking(False)
    got = 0
    ended: list[bool] = []

    def is_over() -> bool:
        nonlocal got
        with contextlib.suppress(BlockingIOError):
            part = far.recv(1 << 20)
            got += len(part)
            if not part:
                ended.append(True)
                far.close()
        return bool(ended)

    poll_until(loop, is_over)
    poll_until(loop, lambda: second.is_over)
    assert got > 1_000_000
    assert (first.seen[-1], second.seen[-1]) == ("close", "close")


def test_a_reset_of_the_receiver_ends_a_sender_that_was_held_up(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, far = joined(loop, peers)
    blocked(loop, near)
    reset(far)
    poll_until(loop, lambda: second.is_over)
    near.close()
    poll_until(loop, lambda: first.is_over)
    assert isinstance(second.seen[-1], ConnectionError)


def test_close_of_a_joined_stream_sends_what_was_taken_for_the_other(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, far = joined(loop, peers)
    near.sendall(b"first ")
    assert receive(loop, far, 6) == b"first "
    near.setblocking(True)
    near.sendall(b"last")
    for _ in range(3):
        loop.poll(0.02)
    first.close()
    near.close()
    assert receive(loop, far, 100) == b"last"
    far.close()
    poll_until(loop, lambda: first.is_over and second.is_over)


ENDS = [
    "near far near-end far-end",
    "near near-end far far-end",
    "near far far-end near-end",
    "far far-end near near-end",
]


@pytest.mark.parametrize("order", ENDS)
def test_what_is_sent_before_each_end_arrives_in_every_order(loop: Loop, peers: Peers, way: str, order: str) -> None:
    first, near, second, far = joined(loop, peers)
    sockets = {"near": (near, far), "far": (far, near)}
    for step in order.split():
        name, _, ends = step.partition("-")
        source, target = sockets[name]
        if ends:
            source.shutdown(socket.SHUT_WR)
            assert receive(loop, target, 1) == b""
        else:
            source.setblocking(True)
            source.sendall(step.encode())
            assert receive(loop, target, len(step)) == step.encode()
    poll_until(loop, lambda: first.is_over and second.is_over)
    assert (first.seen[-1], second.seen[-1]) == ("close", "close")


def test_three_pipes_in_a_row_pass_everything_on(loop: Loop, peers: Peers, way: str) -> None:
    ends = [tcp_pair(peers) for _ in range(4)]
    near, far = ends[0][1], ends[3][1]
    sockets = [ends[0][0], *ends[1], *ends[2], ends[3][0]]
    streams = [Recorder(sock, loop=loop) for sock in sockets]
    for one, other in zip(streams[::2], streams[1::2], strict=True):
        one.pipe(other)
    data = random.Random(2).randbytes(3_000_000)
    near.setblocking(False)
    sent, got = 0, b""
    while len(got) < len(data):
        with contextlib.suppress(BlockingIOError):
            sent += near.send(data[sent:])
        got += receive(loop, far, min(100_000, len(data) - len(got)))
    assert got == data
    near.shutdown(socket.SHUT_WR)
    assert receive(loop, far, 1) == b""
    far.setblocking(True)
    far.sendall(b"answer")
    far.close()
    assert receive(loop, near, 100) == b"answer"
    poll_until(loop, lambda: all(stream.is_over for stream in streams))
    assert [stream.seen[-1] for stream in streams] == ["close"] * 6


class Through(Recorder):
    """A server's stream that is joined with one to `upstream`; the last of them is `made`."""

    upstream: Any
    made: list[Any]

    def handle_connect(self) -> None:
        super().handle_connect()
        self.made += [self, self.loop.connect(self.upstream, Recorder)]
        self.pipe(self.made[-1])


def test_tls_on_one_side_is_taken_off(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, others: Any
) -> None:
    class Echo(Stream):
        def handle_data(self, data: bytes) -> None:
            self.write(data)

    echo = loop.listen(("127.0.0.1", 0), Echo)
    Through.upstream, Through.made = echo.address, []
    server = loop.listen(("127.0.0.1", 0), Through, tls=server_tls)
    data = random.Random(3).randbytes(40_000)

    def exchange() -> bytes:
        got = b""
        plain = socket.create_connection(server.address, 10)
        with client_tls.wrap_socket(plain, server_hostname="localhost") as sock:
            for begin in range(0, 10 * len(data), len(data)):
                sock.sendall(data)
                while len(got) < begin + len(data):
                    got += sock.recv(65536)
            sock.unwrap()
        return got

    result = others(exchange)
    poll_until(loop, lambda: result)
    assert result == [data * 10]
    poll_until(loop, lambda: all(stream.is_over for stream in Through.made))
    assert [stream.seen[-1] for stream in Through.made] == ["close", "close"]
    echo.close()
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_tls_that_is_cut_is_the_error_of_its_own_stream(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, others: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        Through.upstream, Through.made = upstream.getsockname(), []
        server = loop.listen(("127.0.0.1", 0), Through, tls=server_tls)

        def cut() -> bytes:
            plain = socket.create_connection(server.address, 10)
            with client_tls.wrap_socket(plain, server_hostname="localhost") as sock:
                sock.sendall(b"request")
                connection, _ = upstream.accept()
                with connection:
                    connection.settimeout(10)
                    got = connection.recv(7, socket.MSG_WAITALL)
                    socket.socket.shutdown(sock, socket.SHUT_WR)  # without close_notify
                    return got + connection.recv(100)

        result = others(cut)
        poll_until(loop, lambda: result and all(stream.is_over for stream in Through.made))
    assert result == [b"request"]
    assert isinstance(Through.made[0].seen[-1], cyncore.TruncatedError)
    assert Through.made[1].seen[-1] == "close"
    server.close()


def test_a_joined_stream_that_is_silent_passes_the_idle_deadline(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, far = joined(loop, peers)
    first.idle_deadline = 0.02
    assert receive(loop, far, 1) == b""
    poll_until(loop, lambda: first.is_over)
    assert "idle" in str(first.seen[-1])
    assert receive(loop, near, 1) == b""
    far.close()
    poll_until(loop, lambda: second.is_over)
    assert second.seen[-1] == "close"


def test_a_sender_that_is_held_up_is_not_idle(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, _ = joined(loop, peers)
    blocked(loop, near)
    second.idle_deadline = 0.01
    passed: list[bool] = []
    loop.call_later(0.05, passed.append, True)
    poll_until(loop, lambda: passed)
    assert second.connected
    first.abort()
    second.abort()
    poll_until(loop, lambda: first.is_over and second.is_over)


@pytest.mark.parametrize("is_early", [False, True])
def test_a_joined_stream_that_is_paused_passes_nothing_on(loop: Loop, peers: Peers, way: str, is_early: bool) -> None:
    (one, near), (other, far) = tcp_pair(peers), tcp_pair(peers)
    first, second = Recorder(one, loop=loop), Recorder(other, loop=loop)
    if is_early:
        first.pause_reading()
    first.pipe(second)
    far.sendall(b"this way is open")
    assert receive(loop, near, 16) == b"this way is open"
    first.pause_reading()
    near.setblocking(True)
    near.sendall(b"this one is not")
    far.setblocking(True)
    far.sendall(b"still")
    assert receive(loop, near, 5) == b"still"
    for _ in range(3):
        loop.poll(0)
    far.setblocking(False)
    with pytest.raises(BlockingIOError):
        far.recv(1)
    assert not first.reading
    first.resume_reading()
    assert receive(loop, far, 15) == b"this one is not"
    first.abort()
    poll_until(loop, lambda: first.is_over and second.is_over)


def test_a_paused_stream_stays_so_when_its_receiver_has_room_again(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, far = joined(loop, peers)
    blocked(loop, near)
    first.pause_reading()
    far.setblocking(False)
    silent = 0
    while silent < 20:
        loop.poll(0.005)
        try:
            far.recv(1 << 20)
            silent = 0
        except BlockingIOError:
            silent += 1
    assert not first.reading
    first.resume_reading()
    assert receive(loop, far, 1_000) == bytes(1_000)  # what had no room in the proxy
    first.abort()
    second.abort()
    poll_until(loop, lambda: first.is_over and second.is_over)


@pytest.fixture
def spare(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The kernel pipes that are kept: none yet."""
    kept: list[tuple[int, int]] = cyncore._stream.pipe._spare
    while kept:
        cyncore._stream.pipe.close_pipe(kept.pop())
    return kept


def exchange(loop: Loop, peers: Peers, size: int = 300_000) -> None:
    """Sends so much through a pipe of two streams, and compares what arrives."""
    first, near, second, far = joined(loop, peers)
    data = random.Random(size).randbytes(size)
    near.setblocking(False)
    sent, got = 0, b""
    while len(got) < size:
        with contextlib.suppress(BlockingIOError):
            sent += near.send(data[sent:])
        got += receive(loop, far, min(50_000, size - len(got)))
    assert got == data
    first.abort()
    poll_until(loop, lambda: first.is_over and second.is_over)


@pytest.mark.skipif(not cyncore._stream.pipe.CAN_SPLICE, reason="the bytes do not go through the kernel")
class TestKernelPipes:
    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
    def test_bytes_are_copied_where_no_descriptor_is_left(
        self, loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch, spare: list[Any], number: int
    ) -> None:
        def refused() -> Any:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "pipe", refused)
        exchange(loop, peers)
        assert spare == []

    def test_another_failure_ends_both(
        self, loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch, spare: list[Any]
    ) -> None:
        first, near, second, far = joined(loop, peers)
        poll_until(loop, lambda: first.connected and second.connected)

        def refused() -> Any:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(cyncore._stream.pipe, "take_pipe", refused)
        near.sendall(b"x")
        assert receive(loop, far, 1) == b""
        far.close()
        poll_until(loop, lambda: first.is_over and second.is_over)
        assert {type(stream.seen[-1]) for stream in (first, second)} == {OSError, str}

    def test_a_pipe_may_hold_little(
        self, loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch, spare: list[Any]
    ) -> None:
        import fcntl

        def refused(*arguments: Any) -> int:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(fcntl, "fcntl", refused)
        exchange(loop, peers)

    def test_pipes_are_kept_up_to_a_number(
        self, loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch, spare: list[Any]
    ) -> None:
        exchange(loop, peers)
        assert spare
        monkeypatch.setattr(cyncore._stream.pipe, "SPARE", 0)
        for _ in range(3):
            exchange(loop, peers)
        assert not spare

    def test_a_child_does_not_share_the_pipes_of_its_parent(self, spare: list[Any]) -> None:
        ends = cyncore._stream.pipe.take_pipe()
        assert ends is not None
        cyncore._stream.pipe.give_back(ends)
        mine = os.fstat(ends[0]).st_ino
        child = os.fork()
        if child == 0:
            taken = cyncore._stream.pipe.take_pipe()
            os._exit(0 if taken is not None and os.fstat(taken[0]).st_ino != mine else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert spare == [ends]


def test_a_pipe_that_has_not_begun_may_be_aborted(loop: Loop, peers: Peers, way: str) -> None:
    (one, _), (other, far) = tcp_pair(peers), tcp_pair(peers)
    first, second = Recorder(one, loop=loop), Recorder(other, loop=loop)
    first.write(bytes(20_000_000))  # the pipe begins behind it
    first.pipe(second)
    far.sendall(b"waits")
    for _ in range(5):
        loop.poll(0.005)
    first.abort()
    far.setblocking(False)
    assert receive(loop, far, 1) == b""
    far.close()
    poll_until(loop, lambda: first.is_over and second.is_over)
    assert (first.seen[-1], second.seen[-1]) == ("close", "close")


def test_a_stream_that_closes_already_takes_the_other_with_it(loop: Loop, peers: Peers) -> None:
    (one, near), (other, far) = tcp_pair(peers), tcp_pair(peers)
    first, second = Recorder(one, loop=loop), Recorder(other, loop=loop)
    poll_until(loop, lambda: first.connected and second.connected)
    first.write(b"goodbye")
    first.close()
    first.pipe(second)
    assert receive(loop, near, 8) == b"goodbye"
    assert receive(loop, far, 1) == b""
    poll_until(loop, lambda: first.is_over and second.is_over)
    assert (first.seen[-1], second.seen[-1]) == ("close", "close")


def test_a_way_that_is_held_up_does_not_hold_up_the_other(loop: Loop, peers: Peers, way: str) -> None:
    first, near, second, far = joined(loop, peers)
    blocked(loop, near)
    for _ in range(3):
        far.setblocking(True)
        far.sendall(b"answer")
        assert receive(loop, near, 6) == b"answer"
    first.abort()
    second.abort()
    poll_until(loop, lambda: first.is_over and second.is_over)


def test_a_hang_up_while_the_other_stream_connects_waits_without_spinning(loop: Loop, peers: Peers, way: str) -> None:
    held = threading.Event()

    def resolver(host: str, port: int) -> list[Any]:
        held.wait(10)
        return []

    loop.resolver = resolver
    ours, theirs = tcp_pair(peers)
    first = Recorder(ours, loop=loop)
    second = loop.connect(("service.example", 80), Recorder)
    first.pipe(second)
    poll_until(loop, lambda: first.connected)
    reset(theirs)
    for _ in range(3):
        loop.poll(0)
    assert [loop.poll(0.01) for _ in range(3)] == [0, 0, 0]
    held.set()
    poll_until(loop, lambda: first.is_over and second.is_over)
    assert isinstance(second.seen[-1], OSError)
