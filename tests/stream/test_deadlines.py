# SPDX-License-Identifier: MIT
"""Deadlines of streams."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

import cyncore
from cyncore import Loop


class Timed(cyncore.Stream):
    error: BaseException | None = None

    def handle_close(self, error: BaseException | None) -> None:
        self.error = error


class Kept(Timed):
    kinds: tuple[str, ...] = ()

    def handle_timeout(self, kind: str) -> None:
        self.kinds += (kind,)
        if len(self.kinds) == 2:
            self.abort()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, peer = socket.socketpair()
    yield ours, peer
    ours.close()
    peer.close()


@pytest.mark.parametrize("kind", ["first_byte", "idle", "life"])
def test_a_silent_peer_ends_the_stream_with_the_kind(
    loop: Loop, pair: tuple[socket.socket, socket.socket], kind: str
) -> None:
    made = type("Made", (Timed,), {f"{kind}_deadline": 0.02})
    stream = made(pair[0], loop=loop)
    loop.run()
    assert isinstance(stream.error, TimeoutError)
    assert kind in str(stream.error)


def test_a_peer_that_takes_nothing_passes_the_write_deadline(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    made = type("Made", (Timed,), {"write_deadline": 0.02})
    stream = made(pair[0], loop=loop)
    stream.write(bytes(4_000_000))
    loop.run()
    assert "write" in str(stream.error)


def test_a_deadline_may_be_set_on_an_open_stream(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    class Late(Timed):
        def handle_connect(self) -> None:
            self.idle_deadline = 0.02

    stream = Late(pair[0], loop=loop)
    loop.run()
    assert isinstance(stream.error, TimeoutError)


def test_a_deadline_begins_again_where_the_stream_is_kept(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    stream = Kept(pair[0], loop=loop)
    stream.life_deadline = 0.02
    loop.run()
    assert stream.kinds == ("life", "life")


def test_a_stream_that_ends_leaves_no_timer(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    made = type("Made", (Timed,), {"idle_deadline": 3600})
    stream = made(pair[0], loop=loop)
    loop.poll()
    assert loop.next_deadline() is not None
    stream.abort()
    loop.poll()
    assert loop.next_deadline() is None


def test_a_stream_that_is_being_served_is_not_idle(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    made = type("Made", (Timed,), {"idle_deadline": 0.02})
    stream = made(pair[0], loop=loop)
    stream.write(bytes(4_000_000))
    passed: list[bool] = []
    loop.call_later(0.1, passed.append, True)
    while not passed:
        loop.poll(0.02)
    assert stream.connected
    stream.abort()
    loop.poll(0)


def test_a_stream_is_idle_again_when_its_output_has_left(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    made = type("Made", (Timed,), {"idle_deadline": 0.02})
    stream = made(pair[0], loop=loop)
    stream.write(b"x")
    loop.run()
    assert "idle" in str(stream.error)


def test_a_stream_that_sets_a_deadline_of_its_own_leaves_its_class_alone(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    made = type("Made", (Timed,), {})
    first = made()
    first.idle_deadline = 3600
    first.__init__(pair[0], loop=loop)  # type: ignore[misc]
    ours, theirs = socket.socketpair()
    second = made(ours, loop=loop)
    loop.poll()
    assert loop.next_deadline() is not None
    first.abort()
    loop.poll()
    assert second.connected
    assert loop.next_deadline() is None
    second.abort()
    theirs.close()
    loop.poll()


def test_what_is_changed_in_a_class_counts_for_later_connections(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    made: type[Timed] = type("Made", (Timed,), {"life_deadline": 0.05})
    first = made(pair[0], loop=loop)
    loop.poll()
    made.life_deadline = 3600
    ours, theirs = socket.socketpair()
    second = made(ours, loop=loop)
    while not first.error:
        loop.poll()
    assert second.connected
    assert (loop.next_deadline() or 0) > loop.time() + 1000
    second.abort()
    theirs.close()
    loop.poll()


def test_input_counts_from_when_it_came_and_not_from_when_the_loop_began_to_wait(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    class Noting(Timed):
        idle_deadline = 30.0

        def handle_data(self, data: bytes) -> None:
            self.close()

    sent_at = [0.0]

    def send() -> None:
        sent_at[0] = loop.time()
        pair[1].send(b"x")

    stream = Noting(pair[0], loop=loop)
    other = threading.Timer(0.05, send)
    other.start()
    while not stream.closing:
        loop.run_map(count=1)
    noted_at = stream._input_at
    loop.run()
    other.join()
    assert noted_at >= sent_at[0] > 0.0
