# SPDX-License-Identifier: MIT
"""What is otherwise on Windows, where only the plain-Python engine runs; here another system plays its part."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

import cyncore
from cyncore import Datagram, Loop, Stream
from cyncore._python import datagram, poller, stream_output
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder

fallback = pytest.mark.skipif(cyncore.native, reason="Windows has the fallback alone")


def test_connect_that_failed_is_an_exceptional_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "EXCEPTIONAL", poller.WRITE)

    class Winsock:
        @staticmethod
        def select(reads: list[int], writes: list[int], urgent: list[int], timeout: float) -> tuple[list[int], ...]:
            return [], [], urgent

    monkeypatch.setattr(poller, "select", Winsock)
    assert poller.by_select({3: poller.WRITE, 4: poller.READ, 5: poller.READ | poller.PRI}, 0) == {
        3: poller.WRITE,
        5: poller.PRI,
    }


def test_one_socket_too_many_costs_that_one(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "SELECTABLE", 2)
    one, two = peers.pair()
    three, _ = peers.pair()
    two.send(b"x")
    wanted = {sock.fileno(): poller.READ for sock in (one, two, three)}
    assert poller.by_select(wanted, None) == {one.fileno(): poller.READ, three.fileno(): poller.NVAL}


@fallback
def test_stream_sends_where_there_is_no_sendmsg(loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_output, "HAS_SENDMSG", False)
    ours, theirs = peers.pair()
    sender = Stream(ours, loop=loop)
    poll_until(loop, lambda: sender.connected)
    for word in (b"one ", b"two ", b"three"):
        sender.write(word)
    loop.poll(0)
    assert theirs.recv(100) == b"one two three"


@fallback
def test_datagram_comes_where_there_is_no_recvmsg(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagram, "HAS_RECVMSG", False)
    seen: list[tuple[bytes, Any]] = []

    class Receiver(Datagram):
        def handle_datagram(self, data: bytes, address: Any) -> None:
            seen.append((data, address))

    receiver = loop.bind(("127.0.0.1", 0), Receiver)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", receiver.socket.getsockname())
        poll_until(loop, lambda: bool(seen))
        assert seen == [(b"hello", ("127.0.0.1", sender.getsockname()[1]))]
    receiver.close()


def test_path_is_refused_where_there_are_no_unix_sockets(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(OSError, match="Unix sockets, for '/run/service'") as caught:
        loop.listen("/run/service", Recorder)
    assert caught.value.errno == errno.EAFNOSUPPORT
    with pytest.raises(OSError, match="Unix sockets, for '/run/service'"):
        loop.bind("/run/service", Datagram)
    client = loop.connect("/run/service", Recorder)
    poll_until(loop, lambda: client.is_over)
    assert "Unix sockets, for '/run/service'" in str(client.seen[-1])
    assert not loop.map
