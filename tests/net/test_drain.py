# SPDX-License-Identifier: MIT
"""The end of a loop's work."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import cyncore
from cyncore import Loop
from tests.support.peers import Peers

PROGRAM = """
import socket, sys, cyncore
class Busy(cyncore.Stream):
    def handle_connect(self):
        self.busy = True
        print("ready", flush=True)
    def handle_drain(self):
        print("drains", flush=True)
        super().handle_drain()
    def handle_data(self, data):
        self.write(data)
        self.busy = False
with cyncore.Loop() as loop:
    Busy(socket.socket(fileno=int(sys.argv[1])), loop=loop)
    loop.drain_on_signals(60)
    loop.run()
print("ended", flush=True)
"""


def test_an_idle_stream_is_closed_and_a_busy_one_aborted_in_the_end(loop: Loop) -> None:
    (idle, peer), (busy, other) = socket.socketpair(), socket.socketpair()
    cyncore.Stream(idle, loop=loop)
    kept = cyncore.Stream(busy, loop=loop)
    kept.busy = True
    loop.poll()
    loop.drain(0.02)
    loop.run()
    assert peer.recv(1) == other.recv(1) == b""
    peer.close()
    other.close()


@pytest.mark.parametrize("second", [False, True])
def test_a_signal_lets_a_busy_stream_finish_and_a_second_one_ends_at_once(second: bool) -> None:
    ours, peer = socket.socketpair()
    with ours, peer:
        command = [sys.executable, "-c", PROGRAM, str(ours.fileno())]
        with subprocess.Popen(command, pass_fds=[ours.fileno()], stdout=subprocess.PIPE, text=True) as process:
            ours.close()
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "drains\n"
            if second:
                process.send_signal(signal.SIGTERM)
            else:
                peer.sendall(b"last")
                assert peer.recv(9) == b"last"
            assert process.stdout.readline() == "ended\n"
            assert process.wait(30) == 0


# The handlers of signals


NUMBERS = (signal.SIGTERM, signal.SIGINT)


def own(number: int, frame: Any) -> None:
    """The program's own handler, which says that it was called."""
    raise LookupError(number)


@pytest.fixture
def own_handlers() -> Iterator[None]:
    before = [signal.signal(number, own) for number in NUMBERS]
    yield
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)


def installed() -> list[Any]:
    return [signal.getsignal(number) for number in NUMBERS]


@pytest.mark.usefixtures("own_handlers")
def test_signals_are_the_programs_own_again_when_the_loop_is_closed_without_a_drain() -> None:
    with Loop() as loop:
        loop.drain_on_signals(60)
        assert own not in installed()
    assert installed() == [own, own]


@pytest.mark.usefixtures("own_handlers")
def test_signals_are_the_programs_own_again_after_a_drain() -> None:
    with Loop() as loop:
        loop.drain_on_signals(60)
        loop.drain(60)
        assert installed() == [own, own]


@pytest.mark.usefixtures("own_handlers")
def test_handler_that_the_program_has_set_since_stays() -> None:
    def later(number: int, frame: Any) -> None:
        pass

    with Loop() as loop:
        loop.drain_on_signals(60)
        signal.signal(signal.SIGINT, later)
    assert installed() == [own, later]


@pytest.mark.usefixtures("own_handlers")
def test_signal_after_another_thread_has_closed_the_loop_is_the_programs_own() -> None:
    loop = Loop()
    loop.drain_on_signals(60)
    thread = threading.Thread(target=loop.close)
    thread.start()
    thread.join()
    with pytest.raises(LookupError):
        signal.raise_signal(signal.SIGTERM)
    assert installed() == [own, own]


# Errors


def test_exit_of_handle_drain_leaves_the_loop(loop: Loop, peers: Peers) -> None:
    class Leaves(cyncore.Stream):
        def handle_drain(self) -> None:
            raise cyncore.ExitNow

    stream = Leaves(peers.pair()[0], loop=loop)
    loop.poll(0)
    with pytest.raises(cyncore.ExitNow):
        loop.drain(60)
    stream.abort()
    loop.poll(0)


def test_a_loop_that_drains_already_goes_on_with_that(loop: Loop, peers: Peers) -> None:
    ours, _ = peers.pair()
    told: list[str] = []

    class Kept(cyncore.Stream):
        def handle_drain(self) -> None:
            told.append("drain")

        def handle_close(self, error: BaseException | None) -> None:
            told.append("close")

    Kept(ours, loop=loop)
    loop.poll(0)
    loop.drain(0.02)
    loop.drain(1000)
    loop.run()
    assert told == ["drain", "close"]


def test_a_signal_before_anybody_listens_ends_the_run(loop: Loop) -> None:
    with loop:
        loop.drain_on_signals(10)
        signal.raise_signal(signal.SIGTERM)
        server = loop.listen(("127.0.0.1", 0), cyncore.Stream)
        loop.run()
        assert server.closed


def test_a_signal_ends_the_run_when_the_work_is_done_whatever_timers_are_left(loop: Loop) -> None:
    ended: list[str] = []

    class Last(cyncore.Stream):
        def handle_close(self, error: BaseException | None) -> None:
            self.loop.call_soon(ended.append, "told")

    ours, theirs = socket.socketpair()
    with theirs:
        Last(ours, loop=loop)
        loop.drain_on_signals(60)
        loop.call_later(3600, ended.append, "a timer that nobody waits for")
        loop.call_later(0, signal.raise_signal, signal.SIGTERM)
        loop.run()
    assert "told" in ended
    assert not loop.closed


def test_a_drain_that_the_program_has_asked_for_leaves_its_timers(loop: Loop) -> None:
    ended: list[str] = []
    loop.call_later(0.01, ended.append, "a timer")
    loop.drain(60)
    loop.run()
    assert ended == ["a timer"]
