# SPDX-License-Identifier: MIT
"""Real signals: in an idle wait, in a busy loop, and a thousand a second while data flows."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from cyncore import Loop
from support import Peers, Recorder

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")


@contextmanager
def alarms(first: float, every: float) -> Iterator[list[int]]:
    """SIGALRM after ``first`` seconds and then ``every`` seconds; the list grows by one for each."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = signal.signal(signal.SIGALRM, note)
    signal.setitimer(signal.ITIMER_REAL, first, every)
    try:
        yield came
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def interrupted_soon() -> Iterator[None]:
    """Sends SIGINT to this process shortly, and expects it to end what it interrupts."""
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    timer.join()


@pytest.mark.parametrize("method", ["run", "run_map", "poll"])
def test_an_interrupt_ends_an_idle_wait(loop: Loop, peers: Peers, method: str) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    with interrupted_soon():
        if method == "run":
            loop.run()
        else:
            getattr(loop, method)(None)
    assert not loop.running
    peer.send(b"x")
    loop.poll(5)
    assert channel.got == b"x"


def test_an_interrupt_ends_a_loop_of_callbacks(loop: Loop) -> None:
    def again() -> None:
        loop.call_soon(again)

    loop.call_soon(again)
    with interrupted_soon():
        loop.run()


def test_an_interrupt_ends_a_loop_of_events(loop: Loop, peers: Peers) -> None:
    class Echo(Recorder):
        def handle_read(self) -> None:
            self.send(self.recv(4096))

    one, two = peers.pair()
    Echo(one, loop.map)
    Echo(two, loop.map)
    one.send(b"ball")
    with interrupted_soon():
        loop.run()


def test_signals_do_not_end_a_wait_early(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    with alarms(0.01, 0.01) as came:
        begun = loop.time()
        assert loop.poll(0.1) == 0
        assert loop.time() >= begun + 0.1
    assert came


def test_signals_do_not_cost_a_byte(loop: Loop, peers: Peers) -> None:
    class Echo(Recorder):
        def handle_read(self) -> None:
            self.send(self.recv(4096))

    class Client(Recorder):
        rounds = 0

        def handle_read(self) -> None:
            assert self.recv(4096) == b"%d" % self.rounds
            self.rounds += 1
            if self.rounds == 1000 and came:
                loop.stop()
            else:
                self.send(b"%d" % self.rounds)

    one, two = peers.pair()
    echo, client = Echo(one, loop.map), Client(two, loop.map)
    with alarms(0.001, 0.001) as came:
        client.send(b"0")
        loop.run()
    assert client.rounds >= 1000
    assert (echo.seen, client.seen) == ([], [])


def test_a_signal_handler_may_queue_a_call(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)

    def handler(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(loop.stop)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        loop.run()
    finally:
        signal.signal(signal.SIGALRM, before)
