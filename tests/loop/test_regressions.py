# SPDX-License-Identifier: MIT
"""Faults of the loop that a review found, one test each, with every backend: what hung, starved or got lost."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections import OrderedDict, UserDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from cyncore import BACKENDS, Loop
from tests.support.peers import Peers, Recorder, poll_until

with_signals = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")


@pytest.fixture(params=BACKENDS)
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    with Loop(backend=request.param) as made:
        yield made


@contextmanager
def ends_by_itself(loop: Loop) -> Iterator[None]:
    """Stops the loop, and fails, where what is inside would wait without end."""
    late: list[str] = []

    def end() -> None:
        late.append("stopped by the test")
        loop.stop()

    guard = threading.Timer(5, end)
    guard.start()
    try:
        yield
    finally:
        guard.cancel()
        guard.join()
    assert not late


@contextmanager
def alarm(handler: Callable[[], object]) -> Iterator[None]:
    """Calls ``handler`` in a signal handler shortly."""

    def call(number: int, frame: FrameType | None) -> None:
        handler()

    before = signal.signal(signal.SIGALRM, call)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Asked(Recorder):
    """Answers for itself, and stops the loop once it was told something."""

    loop: Loop | None = None
    asked = 0

    def readable(self) -> bool:
        self.asked += 1
        return True

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        Recorder.handle_read(self)
        if self.loop is not None:
            self.loop.stop()


class Foreign:
    """An object that a program put into the map by hand."""

    accepting = False

    def __init__(self) -> None:
        self.seen: list[str] = []

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_close(self) -> None:
        self.seen.append("close")

    def handle_error(self) -> None:
        self.seen.append(f"error {sys.exc_info()[1]!r}")


# What must be noticed before a wait that blocks


def test_a_channel_moved_to_another_map_before_its_first_tick_is_served(loop: Loop, peers: Peers) -> None:
    with Loop(backend=loop.backend) as first:
        channel, far = peers.channel(Asked, first.map)
        channel.del_channel()
        channel.loop, channel._map = loop, loop.map
        channel.set_socket(channel.socket)
        far.send(b"x")
        with ends_by_itself(loop):
            loop.run()
    assert channel.got == b"x"


def test_what_a_predicate_adds_is_asked_before_the_loop_waits(loop: Loop, peers: Peers) -> None:
    class Housekeeper(Asked):
        jobs: list[socket.socket] = []  # noqa: RUF012

        def readable(self) -> bool:
            if self.jobs:
                started.append(Asked(self.jobs.pop(0), loop.map))
                started[-1].loop = loop
            return True

        def handle_read(self) -> None:
            Recorder.handle_read(self)
            self.jobs = [ours for ours, _ in pairs]
            time.sleep(0.02)  # so long a handler that everyone is asked at once, and not in a while

    started: list[Asked] = []
    pairs = [peers.pair() for _ in range(2)]
    _, far = peers.channel(Housekeeper, loop.map)
    pairs[1][1].send(b"2")
    far.send(b"x")
    with ends_by_itself(loop):
        loop.run()
    assert [channel.got for channel in started] == [b"", b"2"]


def test_run_ends_when_a_predicate_closes_the_last_channel(loop: Loop, peers: Peers) -> None:
    class Closer(Recorder):
        def readable(self) -> bool:
            self.close()
            return False

    peers.channel(Closer, loop.map)
    with ends_by_itself(loop):
        loop.run()
    assert not loop.map


@with_signals
def test_run_ends_when_a_signal_handler_closes_the_last_channel(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Recorder, loop.map)
    with ends_by_itself(loop), alarm(channel.close):
        loop.run()
    assert not loop.map


@with_signals
def test_a_signal_handler_may_resume_reading(loop: Loop, peers: Peers) -> None:
    class Closer(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            self.close()

    channel, far = peers.channel(Closer, loop.map)
    channel.pause_reading()
    far.send(b"x")
    with ends_by_itself(loop), alarm(channel.resume_reading):
        loop.run()
    assert channel.got == b"x"


def test_a_handler_put_into_a_class_just_before_the_wait_is_called(loop: Loop, peers: Peers) -> None:
    class Plain(Recorder):
        pass

    def handle_write(self: Plain) -> None:
        self.seen.append("write")
        del Plain.handle_write  # type: ignore[misc]
        loop.stop()

    channel, _ = peers.channel(Plain, loop.map)
    loop.call_soon(loop.call_soon, setattr, Plain, "handle_write", handle_write)
    with ends_by_itself(loop):
        loop.run()
    assert channel.seen == ["write"]


# What one channel, call or exception must not do to the others


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_exception_out_of_a_predicate_strands_nobody(
    loop: Loop, peers: Peers, kind: type[BaseException], which: int
) -> None:
    class Raising(Asked):
        armed = False

        def readable(self) -> bool:
            if self.armed:
                self.armed = False
                raise kind
            return super().readable()

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


@pytest.mark.parametrize("fd", [70_000, 2**31 - 1])
def test_a_key_that_is_not_open_costs_its_object_only(loop: Loop, peers: Peers, fd: int) -> None:
    sound, far = peers.channel(Recorder, loop.map)
    foreign = loop.map[fd] = Foreign()
    far.send(b"x")
    poll_until(loop, lambda: sound.got == b"x" and fd not in loop.map, 20)
    assert foreign.seen
    far.send(b"y")
    poll_until(loop, lambda: sound.got == b"xy", 20)


def test_a_timer_that_adds_overdue_timers_starves_nobody(loop: Loop, peers: Peers) -> None:
    class Noting(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            turns.append(calls)

    def again() -> None:
        nonlocal calls
        calls += 1
        if calls < 5000:
            loop.call_at(0, again)

    calls = 0
    turns: list[int] = []
    _, far = peers.channel(Noting, loop.map)
    loop.poll(0)
    far.send(b"x")
    loop.call_at(0, again)
    loop.call_at(loop.time(), lambda: turns.append(calls))
    poll_until(loop, lambda: calls == 5000, 6000)
    assert len(turns) == 2
    assert all(turn < 100 for turn in turns)


@pytest.mark.parametrize("kind", [dict, OrderedDict, UserDict])
def test_a_channel_taken_out_by_hand_is_not_called_in_the_batch(loop: Loop, peers: Peers, kind: Any) -> None:
    class Clearing(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            for fd, other in list(served.items()):
                if other is not self:
                    del served[fd]

    served: Any = kind()
    with Loop(served, backend=loop.backend) as mine:
        made = [peers.channel(Clearing, served) for _ in range(3)]
        for _, far in made:
            far.send(b"x")
        mine.poll(5)
        mine.poll(0)
    assert sorted(channel.got for channel, _ in made) == [b"", b"", b"x"]


# What is promised of stop() and of bad arguments


def test_a_stop_is_used_up_by_a_poll(loop: Loop) -> None:
    made: list[int] = []

    def again(left: int) -> None:
        made.append(left)
        if left:
            loop.call_soon(again, left - 1)

    loop.stop()
    loop.poll(0)
    loop.call_soon(again, 3)
    with ends_by_itself(loop):
        loop.run()
    assert made == [3, 2, 1, 0]


@pytest.mark.parametrize("bad", [5, [], "x", b"x", 1.5])
def test_what_is_no_map_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError):
        Loop(bad)
    with pytest.raises(TypeError):
        Loop.of(bad)


def test_no_map_has_no_loop() -> None:
    with pytest.raises(TypeError):
        Loop.of(None)
