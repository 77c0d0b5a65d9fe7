# SPDX-License-Identifier: MIT
"""Sockets that have taken more from the kernel than was asked of them, and say so by ``pending()``, as TLS does."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from cyncore import ExitNow, Loop
from tests.support.loops import every_backend
from tests.support.peers import Peers, Recorder, poll_until


class Holding:
    """A socket that takes more from the kernel than it is asked for, as TLS does."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def recv(self, size: int) -> bytes:
        self.held = self.held or self.sock.recv(4096)
        data, self.held = self.held[:size], self.held[size:]
        return data

    def pending(self) -> int:
        return len(self.held)


@pytest.mark.parametrize("hang_up", [False, True])
def test_what_a_socket_holds_is_read_without_another_event(loop: Loop, peers: Peers, hang_up: bool) -> None:
    ours, theirs = peers.pair()
    channel = Recorder(Holding(ours), loop.map, size=1)
    theirs.send(b"abcdef")
    if hang_up:
        theirs.close()
    for _ in range(20):
        loop.poll()
    assert channel.got == b"abcdef"
    assert channel.seen == ["read"] * 6 + ["read", "close"] * hang_up


@pytest.mark.parametrize("raised", [ValueError, OSError])
def test_what_pending_raises_is_told_once(loop: Loop, peers: Peers, raised: type[Exception]) -> None:
    class Failing(Holding):
        fails = False

        def recv(self, size: int) -> bytes:
            self.fails = True
            return Holding.recv(self, size)

        def pending(self) -> int:
            if self.fails:
                raise raised("pending")
            return 0

    class Told(Recorder):
        def handle_error(self) -> None:
            self.seen.append(type(sys.exc_info()[1]).__name__)

    ours, theirs = peers.pair()
    channel = Told(Failing(ours), loop.map)
    theirs.send(b"abc")
    for _ in range(5):
        loop.poll()
    assert channel.seen == ["read", raised.__name__]
    theirs.send(b"def")
    poll_until(loop, lambda: channel.got == b"abcdef")


def test_what_a_socket_holds_ends_no_pause(loop: Loop, peers: Peers) -> None:
    class Pauser(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            self.pause_reading()

    ours, theirs = peers.pair()
    channel = Pauser(Holding(ours), loop.map, size=1)
    theirs.send(b"abc")
    for _ in range(5):
        loop.poll()
    assert channel.got == b"a"
    channel.resume_reading()
    for _ in range(5):
        loop.poll()
    assert channel.got == b"ab"


@every_backend
def test_bytes_that_a_socket_holds_are_served_by_the_next_loop(loop: Loop, peers: Peers) -> None:
    ours, far = peers.pair()
    channel = Recorder(Holding(ours), loop.map, size=1)
    far.send(b"abc")
    loop.poll(5)
    loop.close()
    with Loop(loop.map, backend=loop.backend) as after:
        poll_until(after, lambda: channel.got == b"abc", 20)
    assert channel.seen == ["read"] * 3


class Listed(Holding):
    """A socket whose ``pending`` is something else altogether."""

    pending: Any = ()

    def recv(self, size: int) -> bytes:
        return self.sock.recv(size)


@every_backend
def test_pending_that_cannot_be_called_is_passed_over(loop: Loop, peers: Peers) -> None:
    ours, far = peers.pair()
    channel = Recorder(Listed(ours), loop.map)
    for data in (b"x", b"y"):
        far.send(data)
        poll_until(loop, lambda data=data: channel.got.endswith(data), 100)
    assert channel.seen == ["read", "read"]


@pytest.mark.parametrize("error", [LookupError("mine"), ExitNow()])
def test_pending_that_fails_is_the_channel_s_trouble(loop: Loop, peers: Peers, error: Exception) -> None:
    class Failing(Holding):
        armed = False

        def pending(self) -> int:
            if self.armed:
                raise error
            return super().pending()

    ours, far = peers.pair()
    channel = Recorder(Failing(ours), loop.map, size=1)
    far.send(b"xy")
    loop.poll(5)
    channel.socket.armed = True
    if isinstance(error, ExitNow):
        with pytest.raises(ExitNow):
            loop.poll(0)
        channel.close()
    else:
        poll_until(loop, lambda: channel.seen[-1] == "error LookupError('mine')", 10)
