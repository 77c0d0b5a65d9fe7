# SPDX-License-Identifier: MIT
"""Nothing is lost and nothing spins where data, the end of the stream, errors and urgent data come together."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from cyncore import Loop, dispatcher
from tests.support.peers import Peers, Recorder, poll_until


class Logged(dispatcher):
    """Handles nothing, and keeps what it would have logged."""

    ignore_log_types = frozenset()

    def log_info(self, message: object, type: str = "info") -> None:
        self.__dict__.setdefault("lines", []).append(message)


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    yield near, far
    near.close()
    far.close()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def polls(loop: Loop, rounds: int = 5) -> int:
    """The events delivered by some rounds of polling."""
    return sum(loop.poll() for _ in range(rounds))


# The end of the stream


def test_hang_up_without_data_closes_once(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Recorder, loop.map)
    far.close()
    polls(loop)
    assert channel.seen == ["read", "close"]


@pytest.mark.parametrize("size", [7, 4096])
def test_data_before_a_hang_up_is_read_to_the_end(loop: Loop, peers: Peers, size: int) -> None:
    channel, far = peers.channel(Recorder, loop.map, size=size)
    sent = bytes(range(256)) * 10
    far.sendall(sent)
    far.close()
    poll_until(loop, lambda: "close" in channel.seen)
    assert channel.got == sent
    assert channel.seen.count("close") == 1
    assert loop.map == {}


@pytest.mark.parametrize("size", [2, 4096])
def test_handler_that_waits_for_the_empty_read_is_called_after_the_last_data(
    loop: Loop, peers: Peers, size: int
) -> None:
    class Reader(dispatcher):
        def handle_read(self) -> None:
            parts.append(self.recv(size))

        def handle_close(self) -> None:
            self.close()

    parts: list[bytes] = []
    ours, far = peers.pair()
    Reader(ours, loop.map)
    far.sendall(b"data")
    far.close()
    polls(loop)
    assert parts.pop() == b""
    assert b"".join(parts) == b"data"
    assert b"" not in parts


def test_data_before_a_reset_is_read_to_the_end(loop: Loop, connection: tuple[socket.socket, socket.socket]) -> None:
    near, far = connection
    channel = Recorder(near, loop.map, size=3)
    far.sendall(b"last words")
    reset(far)
    poll_until(loop, lambda: "close" in channel.seen)
    assert channel.got == b"last words"


def test_reset_without_data_closes(loop: Loop, connection: tuple[socket.socket, socket.socket]) -> None:
    near, far = connection
    channel = Recorder(near, loop.map)
    reset(far)
    poll_until(loop, lambda: channel.seen == ["read", "close"])


def test_hang_up_of_a_paused_channel_with_data_waits(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Recorder, loop.map)
    channel.pause_reading()
    far.sendall(b"later")
    far.close()
    assert polls(loop) == 0
    channel.resume_reading()
    poll_until(loop, lambda: "close" in channel.seen)
    assert channel.got == b"later"


def test_hang_up_of_an_unreadable_channel_with_data_waits(loop: Loop, peers: Peers) -> None:
    class Gated(Recorder):
        opened = False

        def readable(self) -> bool:
            return self.opened

    channel, far = peers.channel(Gated, loop.map)
    far.sendall(b"later")
    far.close()
    assert polls(loop) == 0
    channel.opened = True
    poll_until(loop, lambda: "close" in channel.seen)
    assert channel.got == b"later"


def test_writer_that_does_not_read_does_not_spin_on_a_hang_up_with_data(loop: Loop, peers: Peers) -> None:
    class Writer(Recorder):
        writes = 0

        def handle_write(self) -> None:
            self.writes += 1

    channel, far = peers.channel(Writer, loop.map)
    channel.pause_reading()
    far.sendall(b"later")
    far.close()
    polls(loop, 100)
    assert channel.writes < 10
    channel.resume_reading()
    poll_until(loop, lambda: "close" in channel.seen)
    assert channel.got == b"later"


def test_hang_up_of_an_unreadable_writer_with_data_waits(loop: Loop, peers: Peers) -> None:
    class Choosy(Recorder):
        wants = False

        def readable(self) -> bool:
            return self.wants

        def writable(self) -> bool:
            return True

        def handle_write(self) -> None: ...

    channel, peer = peers.channel(Choosy, loop.map)
    peer.send(b"xyz")
    peer.close()
    for _ in range(3):
        loop.poll()
    assert channel.seen == []
    channel.wants = True
    poll_until(loop, lambda: "close" in channel.seen)
    assert channel.got == b"xyz"


def test_handler_that_does_not_read_is_closed_at_a_hang_up(loop: Loop, peers: Peers) -> None:
    class Deaf(Recorder):
        def handle_read(self) -> None:
            self.seen.append("read")

    channel, far = peers.channel(Deaf, loop.map)
    far.sendall(b"never read")
    far.close()
    poll_until(loop, lambda: "close" in channel.seen)
    assert channel.seen.count("read") < (10 if loop.backend == "select" else 2)  # select(2) tells no hang-up from data
    assert loop.map == {}


def test_half_closed_connection_can_still_be_written_to(loop: Loop, peers: Peers) -> None:
    class Polite(Recorder):
        def handle_close(self) -> None:
            self.send(b"bye")
            super().handle_close()

    channel, far = peers.channel(Polite, loop.map)
    far.sendall(b"question")
    far.shutdown(socket.SHUT_WR)
    poll_until(loop, lambda: "close" in channel.seen)
    assert (channel.got, far.recv(100)) == (b"question", b"bye")


def test_closed_channel_hears_nothing_more(loop: Loop, peers: Peers) -> None:
    class Weary(Recorder):
        def handle_read(self) -> None:
            self.seen.append("read")
            self.close()

        def handle_write(self) -> None:
            self.seen.append("write")

        def writable(self) -> bool:
            return True

    channel, far = peers.channel(Weary, loop.map)
    far.sendall(b"data")
    far.close()
    polls(loop)
    assert channel.seen == ["read"]


# Reading, paused and spurious


def test_paused_channel_gets_its_data_when_it_resumes(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Recorder, loop.map)
    channel.pause_reading()
    far.sendall(b"data")
    assert polls(loop) == 0
    channel.resume_reading()
    poll_until(loop, lambda: channel.got == b"data")


def test_channel_paused_twice_needs_one_resume(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    peer.send(b"x")
    channel.pause_reading()
    channel.pause_reading()
    assert loop.poll() == 0
    channel.resume_reading()
    assert loop.poll(5) == 1
    assert channel.got == b"x"


def test_a_channel_paused_by_another_of_the_batch_gets_no_event(loop: Loop, peers: Peers) -> None:
    class Pauser(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            for channel, _ in made:
                if channel is not self:
                    channel.pause_reading()

    made = [peers.channel(Pauser, loop.map) for _ in range(2)]
    for _, peer in made:
        peer.send(b"x")
    assert loop.poll(5) == 1
    assert sorted(channel.got for channel, _ in made) == [b"", b"x"]


def test_what_is_left_unread_fires_again(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Recorder, loop.map, size=1)
    far.sendall(b"data")
    polls(loop, 4)
    assert channel.got == b"data"


def test_reading_more_than_there_is_is_no_error(loop: Loop, peers: Peers) -> None:
    class Greedy(Recorder):
        def handle_read(self) -> None:
            super().handle_read()
            self.recv(100)

    channel, far = peers.channel(Greedy, loop.map)
    far.sendall(b"data")
    polls(loop)
    assert channel.seen == ["read"]
    far.sendall(b" and more")
    poll_until(loop, lambda: channel.got == b"data and more")


def test_blocking_error_of_the_program_s_own_is_an_error(loop: Loop, peers: Peers) -> None:
    class Other(Recorder):
        def handle_read(self) -> None:
            super().handle_read()
            raise BlockingIOError(errno.EAGAIN, "something else")

    channel, far = peers.channel(Other, loop.map)
    far.sendall(b"data")
    polls(loop)
    assert channel.seen == ["read", f"error BlockingIOError({errno.EAGAIN}, 'something else')"]


def test_channel_that_reads_nothing_is_told_once(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Logged, loop.map)
    far.sendall(b"data")
    assert polls(loop, 20) == 1
    assert channel.lines == ["unhandled read event"]
    channel.close()


def test_recv_makes_a_muted_channel_listen_again(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Logged, loop.map)
    far.sendall(b"data")
    polls(loop)
    assert channel.recv(100) == b"data"
    far.sendall(b"more")
    assert polls(loop, 20) == 1
    channel.close()


def test_read_handler_given_later_makes_a_muted_channel_listen_again(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Logged, loop.map)
    far.sendall(b"data")
    polls(loop)
    got: list[bytes] = []
    channel.handle_read = lambda: got.append(channel.recv(100))
    poll_until(loop, lambda: got == [b"data"])
    channel.close()


def test_idle_channel_without_a_write_handler_gets_no_events(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Logged, loop.map)
    assert polls(loop, 20) == 0
    channel.close()


def test_idle_channel_without_predicates_but_a_write_handler_may_always_write(loop: Loop, peers: Peers) -> None:
    class Writer(Recorder):
        def handle_write(self) -> None:
            self.seen.append("write")

    channel, _ = peers.channel(Writer, loop.map)
    assert polls(loop, 3) == 3
    assert channel.seen == ["write"] * 3


# Urgent data


class Urgent(Recorder):
    def handle_expt(self) -> None:
        self.seen.append("expt")
        self.got += self.socket.recv(1, socket.MSG_OOB)


def test_urgent_data_reaches_its_handler(loop: Loop, connection: tuple[socket.socket, socket.socket]) -> None:
    near, far = connection
    channel = Urgent(near, loop.map)
    far.send(b"!", socket.MSG_OOB)
    poll_until(loop, lambda: channel.got == b"!")
    assert polls(loop) == 0
    assert channel.seen == ["expt"]
    channel.close()


def test_urgent_data_wakes_nobody_who_does_not_handle_it(
    loop: Loop, connection: tuple[socket.socket, socket.socket]
) -> None:
    near, far = connection
    channel = Recorder(near, loop.map)
    far.send(b"!", socket.MSG_OOB)
    assert polls(loop, 20) == 0
    far.sendall(b"data")
    poll_until(loop, lambda: channel.got == b"data")
    assert channel.seen == ["read"] * channel.seen.count("read")
    channel.close()


def test_urgent_data_waits_while_reading_is_paused(loop: Loop, connection: tuple[socket.socket, socket.socket]) -> None:
    near, far = connection
    channel = Urgent(near, loop.map)
    channel.pause_reading()
    far.send(b"!", socket.MSG_OOB)
    assert polls(loop) == 0
    channel.resume_reading()
    poll_until(loop, lambda: channel.got == b"!")
    channel.close()


@pytest.mark.parametrize("where", ["class", "instance"])
def test_handler_of_urgent_data_that_comes_late_is_called(where: str, loop: Loop) -> None:
    class Late(Recorder):
        def readable(self) -> bool:
            return True

    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as far:
        channel = Late(server.accept()[0], loop.map)
        loop.poll(0)
        loop.poll(0)
        urgent: list[bytes] = []
        holder: Any = Late if where == "class" else channel
        holder.handle_expt = lambda *_: urgent.append(channel.socket.recv(1, socket.MSG_OOB))
        far.send(b"!", socket.MSG_OOB)
        poll_until(loop, lambda: urgent)
        assert urgent == [b"!"]
        channel.close()
