# SPDX-License-Identifier: MIT
"""Channels that fire without end are named once; those that are busy never are."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cyncore import Loop, Stream, asyncore, dispatcher
from cyncore._spin import LOOK_EVERY, ROUND, _state_of
from tests.support.loops import every_backend
from tests.support.peers import Peers
from tests.support.streams import tcp_pair

LONG = 4 * ROUND  # ticks in which a channel that fires without end is named

exact = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what a TCP connection has read")


def named(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "fires without end" in record.getMessage()]


def spin(loop: Loop, ticks: int = LONG) -> None:
    for _ in range(ticks):
        loop.poll(0)


class Silent(dispatcher):
    def writable(self) -> bool:
        return False


class NoRead(Silent):
    def handle_read(self) -> None:
        pass


class Writes(dispatcher):
    def handle_write(self) -> None:
        pass


class StaysOpen(Silent):
    def handle_read(self) -> None:
        self.recv(100)

    def handle_close(self) -> None:
        pass


def tcp(peers: Peers) -> tuple[socket.socket, socket.socket]:
    ours, theirs = tcp_pair(peers)
    ours.setblocking(False)
    return ours, theirs


@exact
@every_backend
@pytest.mark.parametrize(
    ("kind", "act", "advice"),
    [
        (NoRead, lambda sock: sock.send(b"abc"), "3 bytes wait, and its handlers do not read them; handle_read() must"),
        (Writes, lambda sock: None, "it is writable, and its handlers have nothing to send; writable() must be false"),
        (StaysOpen, lambda sock: sock.close(), "its peer has closed the connection, and the channel stays open"),
    ],
)
def test_channel_that_fires_without_end_is_named_once(
    kind: Callable[..., Any],
    act: Callable[[socket.socket], object],
    advice: str,
    loop: Loop,
    peers: Peers,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours, theirs = tcp(peers)
    channel = kind(ours, loop.map)
    act(theirs)
    spin(loop)
    (text,) = named(caplog)
    assert text.startswith(f"{channel!r} fd {ours.fileno()} fires without end: ")
    assert advice in text
    channel.close()


@exact
def test_listener_that_does_not_accept_is_named(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoAccept(Silent):
        def handle_accept(self) -> None:
            pass

    monkeypatch.setattr("cyncore._spin._SHORT", 3600.0)
    listener = NoAccept(None, loop.map)
    listener.create_socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    peers.keep(socket.create_connection(listener.socket.getsockname()))
    spin(loop)
    assert "handle_accept() does not accept() them" in named(caplog)[0]
    listener.close()


@exact
def test_listener_whose_connections_others_accept_is_not_named(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Accepts(Silent):
        def handle_accept(self) -> None:
            self.socket.accept()[0].close()
            peers.keep(socket.create_connection(self.socket.getsockname()))

    monkeypatch.setattr("cyncore._spin._SHORT", 0.0)
    listener = Accepts(None, loop.map)
    listener.create_socket()
    listener.set_reuse_addr()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    peers.keep(socket.create_connection(listener.socket.getsockname()))
    for _ in range(3 * ROUND // LOOK_EVERY):
        spin(loop, LOOK_EVERY)
        peers.close()
    assert named(caplog) == []
    listener.close()


unix = pytest.mark.skipif(sys.platform == "win32", reason="nothing tells what waits in a pipe")


@unix
@pytest.mark.parametrize(("longest", "count"), [(3600.0, 1), (0.0, 0)])
def test_what_waits_in_a_unix_socket_counts_only_where_no_peer_can_have_put_it_back(
    longest: float,
    count: int,
    loop: Loop,
    peers: Peers,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cyncore._spin._SHORT", longest)
    channel, theirs = peers.channel(NoRead, loop.map)
    theirs.send(b"abc")
    spin(loop)
    assert len(named(caplog)) == count
    channel.close()


@unix
def test_pipe_that_nobody_reads_is_named(
    loop: Loop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoReadFile(asyncore.file_dispatcher):
        def writable(self) -> bool:
            return False

        def handle_read(self) -> None:
            pass

    monkeypatch.setattr("cyncore._spin._SHORT", 3600.0)
    near, far = os.pipe()
    channel = NoReadFile(near, loop.map)
    os.write(far, b"abc")
    spin(loop)
    assert "3 bytes wait" in named(caplog)[0]
    channel.close()
    os.close(near)
    os.close(far)


@exact
def test_descriptor_that_tells_nothing_is_not_named(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    class Raw:
        accepting = False

        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return False

        def handle_read_event(self) -> None:
            pass

    fd = os.eventfd(1) if hasattr(os, "eventfd") else os.open("/dev/zero", os.O_RDONLY)
    loop.map[fd] = Raw()
    spin(loop)
    assert named(caplog) == []
    del loop.map[fd]
    os.close(fd)


@exact
def test_channel_that_stops_to_fire_in_between_is_not_named(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = tcp(peers)
    channel = NoRead(ours, loop.map)
    theirs.send(b"abc")
    for _ in range(8):
        spin(loop, ROUND // 2)
        channel.pause_reading()
        spin(loop, LOOK_EVERY)
        channel.resume_reading()
    assert named(caplog) == []
    channel.close()


@exact
def test_channel_that_reads_now_and_then_is_not_named(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    class Seldom(Silent):
        count = 0

        def handle_read(self) -> None:
            self.count += 1
            if self.count % LOOK_EVERY == 0:  # always in a tick of the same number, looked at or not
                self.recv(1)

    ours, theirs = tcp(peers)
    channel = Seldom(ours, loop.map)
    theirs.send(bytes(4096))
    spin(loop)
    assert named(caplog) == []
    channel.close()


class Echo(Silent):
    def handle_read(self) -> None:
        self.send(self.recv(64))


class Direct(Silent):
    """Reads and writes without the methods of the channel."""

    def handle_read(self) -> None:
        self.socket.send(self.socket.recv(64))


class StreamEcho(Stream):
    def handle_data(self, data: bytes) -> None:
        self.write(data)


@pytest.mark.parametrize("kind", [Echo, Direct, StreamEcho])
@pytest.mark.parametrize("make", [tcp, lambda peers: peers.pair()], ids=["tcp", "unix"])
def test_busy_echo_is_never_named(
    kind: Any, make: Any, loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = make(peers)
    if kind is StreamEcho:
        kind(ours, loop=loop)
    else:
        kind(ours, loop.map)
    loop.poll(0)
    theirs.settimeout(5)
    for _ in range(LONG):
        theirs.send(b"x" * 64)
        loop.poll(5)
        theirs.recv(64)
    assert named(caplog) == []
    assert not os.get_blocking(ours.fileno())  # what looks at the socket leaves it so
    asyncore.close_all(loop.map)
    loop.poll(0)


def test_busy_writer_is_never_named(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    class Writer(dispatcher):
        def readable(self) -> bool:
            return False

        def handle_write(self) -> None:
            self.socket.send(b"x" * 64)
            theirs.recv(64)

    ours, theirs = tcp(peers)
    theirs.settimeout(5)
    channel = Writer(ours, loop.map)
    spin(loop)
    assert named(caplog) == []
    channel.close()


@exact
def test_peer_that_puts_back_what_was_read_does_not_deceive(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    class Refilled(Silent):
        def handle_read(self) -> None:
            self.socket.recv(3)
            theirs.send(b"abc")

    ours, theirs = tcp(peers)
    channel = Refilled(ours, loop.map)
    theirs.send(b"abc")
    spin(loop)
    assert named(caplog) == []
    channel.close()


def test_datagrams_are_never_named(loop: Loop, caplog: pytest.LogCaptureFixture, peers: Peers) -> None:
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peers.keep(ours)
    ours.bind(("127.0.0.1", 0))
    ours.sendto(b"abc", ours.getsockname())
    channel = NoRead(ours, loop.map)
    spin(loop)
    assert named(caplog) == []
    channel.close()


def test_loop_that_is_woken_in_every_tick_is_not_named(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(LONG):
        loop.wake()
        loop.poll(0)
    assert caplog.records == []


@exact
def test_repr_that_fails_costs_nothing_but_the_line(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    class Shy(NoRead):
        def __repr__(self) -> str:
            raise ValueError("no")

    ours, theirs = tcp(peers)
    channel = Shy(ours, loop.map)
    theirs.send(b"abc")
    monkey = pytest.MonkeyPatch()
    monkey.delitem(sys.modules, "logging")
    try:
        spin(loop)
    finally:
        monkey.undo()
    assert "fires without end" in capsys.readouterr().err
    channel.close()


@exact
def test_new_channel_on_the_descriptor_of_one_that_was_named_is_named_too(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyncore._spin._PAUSE", 0.0)
    kept = []
    for _ in range(2):
        ours, theirs = tcp(peers)
        channel = NoRead(ours, loop.map)
        kept.append(channel)  # so that the next one is another object
        theirs.send(b"abc")
        spin(loop)
        channel.close()
    assert len(named(caplog)) == 2


@exact
def test_two_that_fire_are_named_a_second_apart(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyncore._spin._PAUSE", 3600.0)
    for _ in range(2):
        ours, theirs = tcp(peers)
        NoRead(ours, loop.map)
        theirs.send(b"abc")
    spin(loop)
    assert len(named(caplog)) == 1
    asyncore.close_all(loop.map)


@exact
def test_one_among_many_busy_ones_is_found(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = tcp(peers)
    silent = NoRead(ours, loop.map)
    theirs.send(b"abc")
    others = []
    for _ in range(12):
        near, far = peers.pair()
        Echo(near, loop.map)
        others.append(far)
    for _ in range(8 * ROUND):
        for far in others:
            far.send(b"x")
        loop.poll(5)
        for far in others:
            far.recv(1)
    (text,) = named(caplog)
    assert text.startswith(repr(silent))
    asyncore.close_all(loop.map)


@pytest.mark.parametrize("implementation", ["cpython", "pypy"])
def test_descriptor_that_the_program_has_closed_has_no_state(
    monkeypatch: pytest.MonkeyPatch, implementation: str
) -> None:
    monkeypatch.setattr(sys.implementation, "name", implementation)
    fd, other = os.pipe()
    os.close(fd)
    assert _state_of(fd) is None
    os.close(other)
