# SPDX-License-Identifier: MIT
"""What descriptors do behind a loop's back: they are reused, duplicated, closed, numbered high, or always ready."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop, asyncore
from tests.support.loops import ends_by_itself, every_backend
from tests.support.peers import Peers, Recorder, poll_until

resource = pytest.importorskip("resource", reason="descriptors of Windows are other ones")


def at(fd: int, sock: socket.socket) -> socket.socket:
    """Moves a socket to a descriptor number that is free, or its own."""
    if sock.fileno() == fd:
        return sock
    os.dup2(sock.fileno(), fd)
    sock.close()
    return socket.socket(fileno=fd)


def polls(loop: Loop, rounds: int = 5) -> int:
    return sum(loop.poll() for _ in range(rounds))


# Reuse


def test_descriptor_reused_between_ticks_is_watched(loop: Loop, peers: Peers) -> None:
    first, _ = peers.channel(Recorder, loop.map)
    loop.poll()
    fd = first.socket.fileno()
    first.close()
    near, far = peers.pair()
    second = Recorder(at(fd, near), loop.map)
    far.send(b"data")
    poll_until(loop, lambda: second.got == b"data")
    second.close()


def test_descriptor_reused_many_times_is_watched_each_time(loop: Loop, peers: Peers) -> None:
    for number in range(3):
        near, far = peers.pair()
        channel = Recorder(at(500, near), loop.map)
        far.send(b"%d" % number)
        poll_until(loop, lambda channel=channel, number=number: channel.got == b"%d" % number)
        channel.close()


def test_descriptor_reused_within_a_batch_is_not_told_of_the_old_one_s_events(loop: Loop, peers: Peers) -> None:
    made: list[Any] = []

    class Thief(Recorder):
        other: Thief

        def handle_read(self) -> None:
            super().handle_read()
            if not made:
                fd = self.other.socket.fileno()
                self.other.close()
                near, far = peers.pair()
                made.extend((Recorder(at(fd, near), loop.map), far))

    a, far_a = peers.channel(Thief, loop.map)
    b, far_b = peers.channel(Thief, loop.map)
    a.other, b.other = b, a
    far_a.send(b"x")
    far_b.send(b"x")
    polls(loop)
    new, far = made
    assert new.seen == []
    assert len(a.seen + b.seen) == 1
    far.send(b"data")
    poll_until(loop, lambda: new.got == b"data")
    new.close()


def test_channel_closed_and_reopened_in_its_own_handler_gets_no_write_of_the_old_one(loop: Loop, peers: Peers) -> None:
    made: list[Any] = []

    class Restless(Recorder):
        def writable(self) -> bool:
            return True

        def handle_write(self) -> None:
            self.seen.append("write")

        def handle_read(self) -> None:
            self.seen.append("read")
            fd = self.socket.fileno()
            self.close()
            near, _ = peers.pair()
            made.append(Recorder(at(fd, near), loop.map))

    channel, far = peers.channel(Restless, loop.map)
    far.send(b"x")
    polls(loop)
    assert channel.seen[-1] == "read"
    assert made[0].seen == []
    made[0].close()


def test_channels_closed_within_a_batch_are_not_called(loop: Loop, peers: Peers) -> None:
    class Last(Recorder):
        def handle_read(self) -> None:
            super().handle_read()
            for channel in list(loop.map.values()):
                if channel is not self:
                    channel.close()

    channels = [peers.channel(Last, loop.map) for _ in range(50)]
    for _, far in channels:
        far.send(b"x")
    polls(loop)
    assert sum(len(channel.seen) for channel, _ in channels) == 1
    assert len(loop.map) == 1


# Reconnecting in a handler


class Client(Recorder):
    """Connects again when its connection is closed."""

    address: Any = None
    again = True

    def go(self) -> None:
        self.create_socket()
        self.connect(self.address)

    def handle_connect(self) -> None:
        self.seen.append("connect")

    def handle_close(self) -> None:
        super().handle_close()
        if self.again:
            self.again = False
            self.go()


def test_reconnecting_in_handle_close_gets_nothing_of_the_old_connection(loop: Loop, peers: Peers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Client(None, loop.map)
        client.address = server.getsockname()
        client.go()
        first, _ = server.accept()
        poll_until(loop, lambda: client.seen == ["connect"])
        first.sendall(b"one")
        first.close()
        poll_until(loop, lambda: client.seen.count("connect") == 2)
        second, _ = server.accept()
        second.sendall(b"two")
        poll_until(loop, lambda: client.got == b"onetwo")
        assert [word for word in client.seen if word != "read"] == ["connect", "close", "connect"]
        client.close()
        second.close()


def test_closing_in_handle_connect_ends_the_event(loop: Loop) -> None:
    class Brief(Recorder):
        def handle_connect(self) -> None:
            self.seen.append("connect")
            self.close()

        def handle_write(self) -> None:
            self.seen.append("write")

    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Brief(None, loop.map)
        client.create_socket()
        client.connect(server.getsockname())
        poll_until(loop, lambda: client.seen)
        polls(loop)
    assert client.seen == ["connect"]
    assert not client.connected


def test_refused_connection_is_the_channel_s_error(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    client = Recorder(None, loop.map)
    client.create_socket()
    client.connect(address)
    poll_until(loop, lambda: client.seen)
    assert [word[:28] for word in client.seen] == ["error ConnectionRefusedError"]


# Closing


def test_closing_twice_is_harmless(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Recorder, loop.map)
    channel.close()
    channel.close()
    assert loop.map == {}


def test_closing_twice_spares_who_has_the_descriptor_now(loop: Loop, peers: Peers) -> None:
    first, _ = peers.channel(Recorder, loop.map)
    fd = first.socket.fileno()
    first.close()
    near, far = peers.pair()
    second = Recorder(at(fd, near), loop.map)
    first.close()
    assert loop.map == {fd: second}
    far.send(b"data")
    poll_until(loop, lambda: second.got == b"data")
    second.close()


def test_duplicate_of_a_closed_channel_s_descriptor_wakes_nobody(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Recorder, loop.map)
    loop.poll()
    duplicate = os.dup(channel.socket.fileno())
    fd = channel.socket.fileno()
    channel.close()
    far.send(b"data")
    assert polls(loop) == 0
    near, other = peers.pair()
    second = Recorder(at(fd, near), loop.map)
    other.send(b"mine")
    poll_until(loop, lambda: second.got == b"mine")
    os.close(duplicate)
    second.close()


def test_descriptor_closed_behind_our_back_costs_one_channel(loop: Loop, peers: Peers) -> None:
    broken, _ = peers.channel(Recorder, loop.map)
    sound, far = peers.channel(Recorder, loop.map)
    loop.poll()
    os.close(broken.socket.fileno())
    far.send(b"data")
    poll_until(loop, lambda: broken.seen == ["close"])
    poll_until(loop, lambda: sound.got == b"data")
    assert list(loop.map.values()) == [sound]
    broken.socket.detach()


def test_descriptor_closed_before_it_was_ever_watched_costs_one_channel(loop: Loop, peers: Peers) -> None:
    broken, _ = peers.channel(Recorder, loop.map)
    sound, far = peers.channel(Recorder, loop.map)
    os.close(broken.socket.fileno())
    far.send(b"data")
    poll_until(loop, lambda: broken.seen == ["close"] and sound.got == b"data")
    broken.socket.detach()


def test_channel_that_does_not_close_itself_then_leaves_the_map(loop: Loop, peers: Peers) -> None:
    class Stubborn(Recorder):
        def handle_close(self) -> None:
            self.seen.append("close")

    broken, _ = peers.channel(Stubborn, loop.map)
    loop.poll()
    os.close(broken.socket.fileno())
    poll_until(loop, lambda: not loop.map)
    assert broken.seen == ["close"]
    broken.socket.detach()


@every_backend
def test_broken_descriptors_that_a_stop_left_over_are_told_later(loop: Loop, peers: Peers) -> None:
    class Stopping(Recorder):
        def handle_close(self) -> None:
            self.seen.append("close")
            self.del_channel()
            loop.stop()

    channels = [peers.channel(Stopping, loop.map)[0] for _ in range(3)]
    loop.poll()
    for channel in channels:
        os.close(channel.socket.detach())
    for left in (2, 1, 0):
        loop.wake()
        with ends_by_itself(loop):
            loop.run()
        assert len(loop.map) == left
    assert [channel.seen for channel in channels] == [["close"]] * 3


@every_backend
def test_a_descriptor_that_is_not_open_is_refused(loop: Loop, peers: Peers) -> None:
    ours, _ = peers.pair()
    channel = Recorder(map=loop.map)
    channel._fileno = os.dup(ours.fileno())
    os.close(channel._fileno)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)) as caught:
        channel.add_channel()
    assert caught.value.errno == errno.EBADF
    assert not loop.map
    loop.poll()


# Numbers and kinds


def test_descriptors_beyond_1024_are_served_by_the_default_loop(peers: Peers) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 1600:
        pytest.skip(f"only {soft} descriptors are allowed here")
    map: dict[int, Any] = {}
    if Loop.of(map).backend == "select":
        pytest.skip("select(2) cannot watch them")
    near, far = peers.pair()
    channel = Recorder(at(1500, near), map)
    far.send(b"data")
    asyncore.loop(timeout=5, map=map, count=1)
    assert channel.got == b"data"
    channel.close()


class File(asyncore.file_dispatcher):
    """Reads a file to its end."""

    def __init__(self, fd: Any, map: Any) -> None:
        self.got = b""
        self.written = 0
        super().__init__(fd, map)

    def handle_read(self) -> None:
        self.got += self.recv(10)

    def handle_close(self) -> None:
        self.close()


def test_regular_file_is_read_to_its_end(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 5 + b"end")
    with path.open("rb") as file:
        channel = File(file, loop.map)
    poll_until(loop, lambda: not loop.map)
    assert channel.got == path.read_bytes()


def test_regular_file_does_not_starve_a_socket(loop: Loop, peers: Peers, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 500)
    with path.open("rb") as file:
        channel = File(file, loop.map)
    near, far = peers.channel(Recorder, loop.map)
    far.send(b"data")
    polls(loop, 3)
    assert near.got == b"data"
    assert channel.got
    channel.close()


def test_regular_file_is_written(loop: Loop, tmp_path: Path) -> None:
    class Writer(File):
        def readable(self) -> bool:
            return False

        def handle_write(self) -> None:
            self.send(b"line\n")
            self.written += 1
            if self.written == 3:
                self.close()

    path = tmp_path / "file"
    with path.open("wb") as file:
        Writer(file, loop.map)
    poll_until(loop, lambda: not loop.map)
    assert path.read_bytes() == b"line\n" * 3


def test_regular_file_that_wants_nothing_does_not_spin(loop: Loop, tmp_path: Path) -> None:
    class Idle(File):
        def readable(self) -> bool:
            return False

    path = tmp_path / "file"
    path.write_bytes(b"data")
    with path.open("rb") as file:
        channel = Idle(file, loop.map)
    assert polls(loop) == 0
    channel.close()


# Timeouts


@pytest.mark.parametrize("timeout", [1e9, 1e18, 2**31 / 1000, 10**400, float("inf")])
def test_timeout_of_any_length_waits_for_events(loop: Loop, peers: Peers, timeout: float) -> None:
    channel, far = peers.channel(Recorder, loop.map)
    far.send(b"data")
    asyncore.poll(timeout, loop.map)
    assert channel.got == b"data"


def test_fraction_of_a_millisecond_is_waited_for_and_not_spun_through(loop: Loop, peers: Peers) -> None:
    class Asked(Recorder):
        times = 0

        def readable(self) -> bool:
            self.times += 1
            return True

    channel, _ = peers.channel(Asked, loop.map)
    for _ in range(5):
        loop.call_later(0.0109, loop.stop)
        loop.run()
    assert channel.times <= 25  # rounded down, each would ask hundreds of times in the last 0.9 ms
