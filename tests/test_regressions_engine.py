# SPDX-License-Identifier: MIT
"""Faults of the loop that a review found, one test each, with every backend. Nothing here may crash, hang or starve."""

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

import cyncore
from cyncore import BACKENDS, Loop
from support import Peers, Recorder, poll_until, run_script

BROKEN = RuntimeError if cyncore.native else Exception  # what an object that was never made raises

with_signals = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")

COMMON = """
import gc, socket
from cyncore import BACKENDS, Loop, dispatcher

class Quiet(dispatcher):
    def handle_read(self):
        self.recv(1)
    def handle_error(self):
        raise

class Fake:
    # A socket that holds bytes, or closes its channel when it is asked for the how-manieth time.
    def __init__(self, sock, closes_at):
        self.sock, self.closes_at, self.asked = sock, closes_at, 0
    def __getattr__(self, name):
        return getattr(self.sock, name)
    def pending(self):
        self.asked += 1
        if self.asked == self.closes_at:
            self.channel.close()
            return 0
        return 1
"""


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


# Crashes


def test_a_loop_with_many_timers_may_be_collected() -> None:
    script = """
gc.disable()
def nothing(): pass
loop = Loop()
for number in range(600_000):
    loop.call_later(1000 + number, nothing)
del loop
gc.collect()
print("alive")
"""
    assert run_script(COMMON + script) == "alive\n"


@pytest.mark.parametrize("name", ["call_soon", "call_later", "call_at", "call_soon_threadsafe", "run", "poll", "time"])
@pytest.mark.parametrize("how", ["Loop.__new__(Loop)", "Unmade()"])
def test_a_loop_that_was_never_initialised_says_so(how: str, name: str) -> None:
    arguments = {"call_soon": "print", "call_soon_threadsafe": "print", "call_later": "1, print", "call_at": "1, print"}
    harmless = name == "time"
    script = f"""
class Unmade(Loop):
    def __init__(self): pass
loop = {how}
try:
    loop.{name}({arguments.get(name, "")})
except {BROKEN.__name__}:
    print("refused")
else:
    print("refused" if {harmless} else "accepted")
"""
    assert run_script(COMMON + script) == "refused\n"


def test_a_loop_that_was_never_initialised_can_be_looked_at_and_dropped() -> None:
    script = """
class Unmade(Loop):
    def __init__(self): pass
for make in (lambda: Loop.__new__(Loop), Unmade):
    for work in (repr, lambda loop: loop.map, lambda loop: loop.backend, lambda loop: loop.running, Loop.stop,
                 Loop.wake, Loop.next_deadline, Loop.fileno, Loop.close):
        loop = make()
        try:
            work(loop)
        except Exception:
            pass
        del loop
        gc.collect()
print("alive")
"""
    assert run_script(COMMON + script) == "alive\n"


def test_a_socket_may_close_its_channel_when_asked_what_it_holds() -> None:
    script = """
class Pausing(Quiet):
    def handle_read(self):
        self.recv(9)
        self.pause_reading()
for backend in BACKENDS:
    for number in range(1, 8):
        ours, theirs = socket.socketpair()
        with ours, theirs, Loop(backend=backend) as loop:
            fake = Fake(ours, number)
            channel = fake.channel = Pausing(fake, loop.map)
            theirs.send(b"x")
            for _ in range(2):
                loop.poll(0)
            channel.resume_reading()
            channel.handle_error = lambda: None  # it may be read once more, and find nothing
            for _ in range(3):
                loop.poll(0)
            channel.close()
            del channel, fake.channel, fake
            gc.collect()
print("alive")
"""
    assert run_script(COMMON + script) == "alive\n"


def test_a_property_of_the_class_may_close_the_channel() -> None:
    script = """
class Closing(Quiet):
    asked = 0
    closes_at = None
    @property
    def connected(self):
        self.asked += 1
        if self.asked == self.closes_at:
            self.close()
        return True
    @connected.setter
    def connected(self, value): pass
    @property
    def connecting(self):
        return self.connected
    @connecting.setter
    def connecting(self, value): pass
    def handle_connect(self): pass
    def handle_error(self): pass
for backend in BACKENDS:
    for number in range(1, 25):
        ours, theirs = socket.socketpair()
        with ours, theirs, Loop(backend=backend) as loop:
            channel = Closing(ours, loop.map)
            channel.asked, channel.closes_at = 0, number
            theirs.send(b"xxx")
            for _ in range(10):
                channel.pause_reading()
                channel.resume_reading()
                loop.poll(0)
            channel.close()
print("alive")
"""
    assert run_script(COMMON + script) == "alive\n"


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
