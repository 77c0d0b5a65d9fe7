# SPDX-License-Identifier: MIT
"""`recvfrom` and `sendto` of dispatchers."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop, dispatcher
from tests.support.datagrams import client, nobody, received
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until


class Echo(dispatcher):
    def __init__(self, map: Any) -> None:
        super().__init__(None, map)
        self.got: list[Any] = []
        self.seen: list[str] = []
        self.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.bind(("127.0.0.1", 0))

    def handle_read(self) -> None:
        data, address = self.recvfrom(2048)
        self.got.append(data)
        self.sendto(data, address)

    def handle_close(self) -> None:
        self.seen.append("close")
        self.close()

    def handle_error(self) -> None:
        self.seen.append("error")
        self.close()


@every_backend
def test_what_comes_is_sent_back_and_an_empty_one_is_no_end(loop: Loop, peers: Peers) -> None:
    channel = Echo(loop.map)
    sock = client(peers, channel.socket.getsockname())
    for data in (b"one", b"", b"two"):
        sock.send(data)
    assert received(loop, sock, 3) == [b"one", b"", b"two"]
    assert channel.seen == []
    channel.close()


@every_backend
def test_a_spurious_event_costs_nothing(loop: Loop, peers: Peers) -> None:
    channel = Echo(loop.map)
    channel.handle_read_event = lambda: channel.recvfrom(10)  # type: ignore[assignment]
    other = Echo(loop.map)
    sock = client(peers, channel.socket.getsockname())
    sock.send(b"x")
    poll_until(loop, lambda: not readable(channel.socket))
    with pytest.raises(BlockingIOError):
        channel.recvfrom(10)
    assert channel.seen == []
    channel.close()
    other.close()


def readable(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


class Failing:
    """Stands for a socket whose calls fail a few times before they succeed."""

    def __init__(self, sock: socket.socket, number: int, count: int) -> None:
        self.sock = sock
        self.number = number
        self.left = count

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def fail(self) -> None:
        if self.left:
            self.left -= 1
            raise OSError(self.number, "told")

    def recvfrom(self, size: int) -> Any:
        self.fail()
        return self.sock.recvfrom(size)

    def sendto(self, data: bytes, address: Any) -> int:
        self.fail()
        return self.sock.sendto(data, address)


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH])
def test_errors_of_earlier_datagrams_are_passed_over(loop: Loop, peers: Peers, number: int) -> None:
    channel = Echo(loop.map)
    plain = channel.socket
    sock = client(peers, plain.getsockname())
    sock.send(b"x")
    channel.socket = Failing(plain, number, 3)
    assert channel.recvfrom(10) == (b"x", sock.getsockname())
    channel.socket = Failing(plain, number, 3)
    assert channel.sendto(b"answer", sock.getsockname()) == 6
    assert sock.recv(10) == b"answer"
    channel.socket = Failing(plain, number, 1000)
    with pytest.raises(OSError, match="told"):
        channel.sendto(b"answer", sock.getsockname())
    channel.socket = plain
    channel.close()


@every_backend
def test_a_connected_channel_is_told(loop: Loop) -> None:
    channel = Echo(loop.map)
    channel.connect(nobody())
    channel.send(b"x")
    poll_until(loop, lambda: channel.seen)
    assert channel.seen == ["error"]


def test_what_is_sent_behind_an_icmp_error_arrives(loop: Loop, peers: Peers) -> None:
    channel = Echo(loop.map)
    channel.socket.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR, with which Linux tells unconnected ones as well
    channel.sendto(b"x", nobody())
    for _ in range(3):
        channel.sendto(b"x", nobody())
    sock = client(peers, channel.socket.getsockname())
    assert channel.sendto(b"arrives", sock.getsockname()) == 7
    assert sock.recv(10) == b"arrives"
    assert channel.seen == []
    channel.close()


def test_no_room_is_0(loop: Loop, tmp_path: Path) -> None:
    path = str(tmp_path / "slow")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slow:
        slow.bind(path)
        channel = dispatcher(None, loop.map)
        channel.create_socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        counts = [channel.sendto(b"xyz", path) for _ in range(1000)]
        assert set(counts) == {3, 0}
        channel.close()


def test_without_a_socket(loop: Loop) -> None:
    channel = dispatcher(None, loop.map)
    for call in (lambda: channel.recvfrom(1), lambda: channel.sendto(b"", ("127.0.0.1", 9))):
        with pytest.raises(AttributeError, match="create_socket"):
            call()
