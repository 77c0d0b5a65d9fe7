# SPDX-License-Identifier: MIT
"""Threads: one at a time is in a loop, a second one waits its turn, and debug mode tells of a wrong one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import cyncore.asyncore as asyncore
from cyncore import Loop, dispatcher
from tests.support.peers import Peers, Recorder


@contextmanager
def busy_elsewhere(loop: Loop) -> Iterator[None]:
    """Another thread is in the loop, held up in a callback."""
    entered, release = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        release.wait()

    loop.call_soon_threadsafe(hold)
    other = threading.Thread(target=loop.poll, name="busy")
    other.start()
    entered.wait()
    try:
        yield
    finally:
        release.set()
        other.join()


def test_a_second_thread_that_does_not_get_its_turn_returns(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    peer.send(b"x")
    with busy_elsewhere(loop):
        assert loop.poll(0.01) == 0
        asyncore.loop(0.01, map=loop.map, count=2)
        assert channel.got == b""
    loop.poll()
    assert channel.got == b"x"


def test_two_threads_are_never_in_handlers_of_one_map_at_once(loop: Loop, peers: Peers) -> None:
    inside = threading.Lock()
    overlaps: list[str] = []

    class Checker(Recorder):
        def handle_read(self) -> None:
            if not inside.acquire(blocking=False):
                overlaps.append("two threads")
                return
            Recorder.handle_read(self)
            inside.release()

        def handle_error(self) -> None:
            raise AssertionError

    channel, peer = peers.channel(Checker, loop.map, size=1)
    peer.send(b"x" * 2000)

    def serve() -> None:
        while len(channel.got) < 2000:
            asyncore.loop(0.01, map=loop.map, count=5)

    threads = [threading.Thread(target=serve) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == []
    assert channel.got == b"x" * 2000


def test_threads_run_loops_of_their_own(peers: Peers) -> None:
    results: dict[int, bytes] = {}

    def serve(number: int) -> None:
        with Loop() as loop:
            channel, peer = Recorder(ours[number], loop.map, size=3), theirs[number]
            for _ in range(100):
                peer.send(b"%03d" % number)
                loop.poll(5)
            results[number] = channel.got

    ours, theirs = zip(*(peers.pair() for _ in range(4)), strict=True)
    threads = [threading.Thread(target=serve, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: b"%03d" % number * 100 for number in range(4)}


# Debug mode


WRONG: dict[str, Callable[[Loop], object]] = {
    "call_soon": lambda loop: loop.call_soon(print),
    "call_later": lambda loop: loop.call_later(1, print),
    "call_at": lambda loop: loop.call_at(1, print),
    "poll": lambda loop: loop.poll(),
    "run": lambda loop: loop.run(),
    "add_channel": lambda loop: add_channel(loop),
}


def add_channel(loop: Loop) -> None:
    one, two = socket.socketpair()
    with one, two:
        dispatcher(one, loop.map)


@pytest.mark.parametrize("name", WRONG)
def test_debug_mode_names_a_call_from_a_wrong_thread(name: str) -> None:
    with Loop(debug=True) as loop, busy_elsewhere(loop), pytest.raises(RuntimeError, match=name):
        WRONG[name](loop)


def test_debug_mode_lets_other_threads_do_what_they_may() -> None:
    made: list[str] = []
    with Loop(debug=True) as loop:
        with busy_elsewhere(loop):
            loop.call_soon_threadsafe(made.append, "made")
            loop.wake()
            loop.stop()
        loop.run_map(0, 1)
        loop.poll()
    assert made == ["made"]


def test_debug_mode_lets_anyone_prepare_a_loop_that_never_ran() -> None:
    made: list[str] = []
    with Loop(debug=True) as loop:
        loop.call_soon(made.append, "made")
        helper = threading.Thread(target=loop.run)
        helper.start()
        helper.join()
    assert made == ["made"]
