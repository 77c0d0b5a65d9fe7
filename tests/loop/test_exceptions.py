# SPDX-License-Identifier: MIT
"""What leaves a handler or a callback: what leaves the loop too, and what the loop keeps for the rest."""

from __future__ import annotations

import errno
import logging
from typing import Any

import pytest

import cyncore.asyncore as asyncore
from cyncore import ExitNow, Handle, Loop
from tests.support.loops import ends_by_itself, every_backend
from tests.support.peers import Peers, Recorder, poll_until

LEAVING = [ExitNow, KeyboardInterrupt, SystemExit]


class Raiser(Recorder):
    """Reads, and raises what it was given."""

    def __init__(self, sock: Any, map: Any, error: BaseException) -> None:
        self.error = error
        Recorder.__init__(self, sock, map)

    def handle_read(self) -> None:
        Recorder.handle_read(self)
        raise self.error


@pytest.mark.parametrize("kind", LEAVING)
def test_it_leaves_the_loop_and_the_rest_of_the_batch_is_served_next(
    loop: Loop, peers: Peers, kind: type[BaseException]
) -> None:
    channels = []
    for _ in range(3):
        channel, peer = peers.channel(Raiser, loop.map, error=kind("leave"))
        peer.send(b"x")
        channels.append(channel)
    for count in (1, 2, 3):
        with pytest.raises(kind, match="leave"):
            loop.poll(5)
        assert b"".join(channel.got for channel in channels) == b"x" * count
    assert [channel.seen for channel in channels] == [["read"]] * 3
    assert not loop.running


@pytest.mark.parametrize("kind", LEAVING)
def test_it_leaves_the_loop_and_the_rest_of_the_calls_is_made_next(loop: Loop, kind: type[BaseException]) -> None:
    made: list[str] = []

    def leave() -> None:
        raise kind

    loop.call_soon(leave)
    loop.call_soon(made.append, "first")
    loop.call_at(0, made.append, "timer")
    with pytest.raises(kind):
        loop.run()
    assert made == []
    loop.call_soon(made.append, "second")
    loop.run()
    assert sorted(made) == ["first", "second", "timer"]
    assert made.index("first") < made.index("second")


def test_exit_now_is_one_class_everywhere() -> None:
    assert vars(asyncore)["ExitNow"] is ExitNow


def test_an_exception_is_its_channels_only(loop: Loop, peers: Peers) -> None:
    bad, bad_peer = peers.channel(Raiser, loop.map, error=LookupError("mine"))
    good, good_peer = peers.channel(Recorder, loop.map)
    bad_peer.send(b"x")
    good_peer.send(b"y")
    assert loop.poll(5) == 2
    assert bad.seen == ["read", "error LookupError('mine')"]
    assert good.seen == ["read"]


def test_a_lost_connection_is_a_close(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Raiser, loop.map, error=OSError(errno.ECONNRESET, "reset"))
    peer.send(b"x")
    loop.poll(5)
    assert channel.seen == ["read", "close"]


def test_another_oserror_is_an_error(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Raiser, loop.map, error=OSError(errno.EIO, "io"))
    peer.send(b"x")
    loop.poll(5)
    assert channel.seen == ["read", "error OSError(5, 'io')"]


def test_what_the_last_resort_raises_leaves_the_loop(loop: Loop, peers: Peers) -> None:
    def fail() -> None:
        raise ArithmeticError("handle_error")

    channel, peer = peers.channel(Raiser, loop.map, error=LookupError("first"))
    channel.handle_error = fail
    peer.send(b"x")
    with pytest.raises(ArithmeticError, match="handle_error"):
        loop.poll(5)


@every_backend
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_exception_out_of_a_predicate_strands_nobody(
    loop: Loop, peers: Peers, kind: type[BaseException], which: int
) -> None:
    class Raising(Recorder):
        armed = False
        asked = 0

        def readable(self) -> bool:
            if self.armed:
                self.armed = False
                raise kind
            self.asked += 1
            return True

    made = [peers.channel(Raising, loop.map) for _ in range(2)]
    made[which][0].armed = True
    with pytest.raises(kind), ends_by_itself(loop):
        loop.run()
    loop.poll(0)
    for channel, far in made:
        channel.pause_reading()
        far.send(b"x")
    assert sum(loop.poll(0) for _ in range(20)) == 0
    for channel, _ in made:
        channel.asked = 0
    loop.call_later(0.2, loop.stop)
    with ends_by_itself(loop):
        loop.run()
    assert all(channel.asked < 50 for channel, _ in made)  # asked around what ran, and not in a spin
    for channel, _ in made:
        channel.resume_reading()
    poll_until(loop, lambda: [channel.got for channel, _ in made] == [b"x", b"x"])


def test_a_failing_callback_is_logged(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    made: list[str] = []

    def fail() -> None:
        raise LookupError("no such thing")

    loop.call_soon(fail)
    loop.call_soon(made.append, "next")
    loop.run()
    assert made == ["next"]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("cyncore", logging.ERROR)
    assert "fail" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


def test_a_loop_may_take_failures_of_callbacks_itself() -> None:
    caught: list[tuple[str, Handle]] = []

    class Mine(Loop):
        def handle_exception(self, error: BaseException, handle: Handle) -> None:
            caught.append((str(error), handle))

    def fail(text: str) -> None:
        raise LookupError(text)

    with Mine() as loop:
        soon = loop.call_soon(fail, "soon")
        timer = loop.call_later(0, fail, "timer")
        loop.run()
    assert caught == [("soon", soon), ("timer", timer)]


def test_what_handle_exception_raises_leaves_the_loop() -> None:
    class Mine(Loop):
        def handle_exception(self, error: BaseException, handle: Handle) -> None:
            raise error

    def fail() -> None:
        raise LookupError("mine")

    with Mine() as loop:
        loop.call_soon(fail)
        with pytest.raises(LookupError, match="mine"):
            loop.run()
