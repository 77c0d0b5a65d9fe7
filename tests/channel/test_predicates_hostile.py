# SPDX-License-Identifier: MIT
"""Predicates that do what they should not: their own channel's trouble. The loop neither spins nor starves events.

Questions and events are counted: what spins asks thousands of times in the time given.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from cyncore import Loop, native
from tests.support.peers import Peers, Recorder

EVENTS = 200
LINGER = 0.3  # seconds in which a loop that spins makes thousands of turns
MOST = 400  # questions to the hostile channel in an idle loop in that time, and around its events


class Hostile(Recorder):
    """Asked a question, it does what its class says. A list counts, as an attribute would mark the channel."""

    def __init__(self, sock: socket.socket, map: Any, loop: Loop, peers: Peers) -> None:
        self.loop, self.peers = loop, peers
        self.asked: list[None] = []
        self.nested = False
        self.errors = 0
        Recorder.__init__(self, sock, map)

    def handle_error(self) -> None:
        self.errors += 1  # and it stays

    def readable(self) -> bool:
        self.asked.append(None)
        return bool(self.answer())

    def answer(self) -> object:
        raise NotImplementedError


class Raises(Hostile):
    def answer(self) -> object:
        raise ZeroDivisionError


class Blocks(Hostile):
    def answer(self) -> object:
        time.sleep(0.001)
        return True


class Polls(Hostile):
    """Runs the loop inside the question, but not without end."""

    def answer(self) -> object:
        if not self.nested:
            self.nested = True
            try:
                self.loop.poll(0)
            finally:
                self.nested = False
        return True


class PollsBlocking(Polls):
    def answer(self) -> object:
        if not self.nested:
            self.nested = True
            try:
                self.loop.poll(0.001)
            finally:
                self.nested = False
        return True


class ClosesItself(Hostile):
    def answer(self) -> object:
        self.close()
        return True


class ClosesOthers(Hostile):
    """Those of its own kind."""

    def answer(self) -> object:
        for channel in list(self.loop.map.values()):
            if isinstance(channel, ClosesOthers) and channel is not self:
                channel.close()
        return True


class Multiplies(Hostile):
    """A thousand channels at the first question."""

    def answer(self) -> object:
        if len(self.asked) == 1:
            for _ in range(200):
                self.peers.channel(Quiet, self.loop.map)
        return True


class Quiet(Recorder):
    def readable(self) -> bool:
        return True


class Wavers(Hostile):
    def answer(self) -> object:
        return len(self.asked) % 2


class WaversToWrite(Hostile):
    def answer(self) -> object:
        return True

    def writable(self) -> bool:
        return len(self.asked) % 2 == 0

    def handle_write(self) -> None:
        self.seen.append("write")


class Replaces(Hostile):
    """Closes another of its kind and makes a new one, at each question."""

    def answer(self) -> object:
        if len(made := self.peers.__dict__.setdefault("made", [])) < 100:
            made.append(None)
            others = [c for c in self.loop.map.values() if isinstance(c, Replaces) and c is not self]
            for other in others[:1]:
                other.close()
            self.peers.channel(Replaces, self.loop.map, loop=self.loop, peers=self.peers)
        return True


class Rejoins(Hostile):
    """Leaves the map and comes back to it."""

    def answer(self) -> object:
        sock = self.socket
        self.del_channel()
        self.set_socket(sock, self.loop.map)
        return True


class Pauses(Hostile):
    """Tells the loop of itself instead of answering."""

    def answer(self) -> object:
        if len(self.asked) % 2:
            self.pause_reading()
        else:
            self.resume_reading()
        return True


class ChangesState(Hostile):
    def answer(self) -> object:
        self.closing = not self.closing
        self.connected = False
        self.connected = True
        return True


class MarksAll(Hostile):
    def answer(self) -> object:
        for channel in list(self.loop.map.values()):
            channel.mark = len(self.asked)
        return True


class QueuesCalls(Hostile):
    """A call wakes the loop, which asks: bounded, or it would go on without end, and with reason."""

    def answer(self) -> object:
        if len(self.asked) < 50:
            self.loop.call_soon(lambda: None)
        return True


class Wakes(Hostile):
    def answer(self) -> object:
        if len(self.asked) < 50:
            self.loop.wake()
        return True


class SetsItsOwnPredicate(Hostile):
    def answer(self) -> object:
        self.writable = lambda: False  # type: ignore[method-assign]
        return True


class ChangesItsClass(Hostile):
    def answer(self) -> object:
        type(self).writable = lambda self: False  # type: ignore[method-assign]
        return True


KINDS = [
    Raises, Blocks, Polls, PollsBlocking, ClosesItself, ClosesOthers, Multiplies, Wavers, WaversToWrite, Replaces,
    Rejoins, Pauses, ChangesState, MarksAll, QueuesCalls, Wakes, SetsItsOwnPredicate, ChangesItsClass,
]  # fmt: skip
SLOW = (Polls, PollsBlocking)  # they run the loop at every question, and that has them asked again


class Echo(Recorder):
    """The neighbour, whose events must not be starved: it sends itself another byte, so many times."""

    left = EVENTS
    far: socket.socket
    done: Callable[[], object]

    def handle_read(self) -> None:
        self.recv(1)
        self.left -= 1
        if self.left:
            self.far.send(b"x")
        else:
            self.done()


def give_up(loop: Loop, late: list[str]) -> None:
    late.append("waited in vain")
    loop.stop()


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_neighbour_gets_its_events(loop: Loop, peers: Peers, kind: type[Hostile], number: int) -> None:
    made = [peers.channel(kind, loop.map, loop=loop, peers=peers) for _ in range(number)]
    echo, far = peers.channel(Echo, loop.map)
    echo.far, echo.done = far, loop.stop
    for _, other in made:
        other.send(b"x")  # so that they are channels that were active lately
    late: list[str] = []
    loop.call_later(20, give_up, loop, late)
    far.send(b"x")
    loop.run()
    assert (echo.left, late) == (0, [])


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SLOW])
def test_idle_loop_beside_it_does_not_spin(loop: Loop, peers: Peers, kind: type[Hostile], number: int) -> None:
    made = [peers.channel(kind, loop.map, loop=loop, peers=peers) for _ in range(number)]
    for channel, other in made:
        if kind is not WaversToWrite or not native:
            other.send(b"x")
        channel.keep = channel
    loop.call_later(LINGER, loop.stop)
    loop.run()
    for channel, _ in made:
        assert len(channel.asked) <= MOST + 2 * channel.seen.count("write")


@pytest.mark.parametrize("kind", SLOW)
def test_predicate_that_runs_the_loop_is_not_asked_for_ever_by_an_idle_loop(
    loop: Loop, peers: Peers, kind: type[Hostile]
) -> None:
    channel, other = peers.channel(kind, loop.map, loop=loop, peers=peers)
    other.send(b"x")
    loop.call_later(LINGER, loop.stop)
    loop.run()
    assert len(channel.asked) <= MOST


def test_a_predicate_may_run_the_loop_more_than_once(loop: Loop, peers: Peers) -> None:
    class Nesting(Recorder):
        asked = 0

        def readable(self) -> bool:
            self.asked += 1
            if self.asked == 3:
                loop.poll(0.01)
                loop.poll(0.01)  # never came back: nobody may sweep here, and nobody waited either
            return True

        def writable(self) -> bool:
            return False

    channel, _ = peers.channel(Nesting, loop.map)
    for _ in range(4):
        loop.poll(0)
    assert channel.asked > 3


@pytest.mark.skipif(not native, reason="the old loop, and the engine in plain Python, go as deep as Python lets them")
@pytest.mark.parametrize("timeout", [0, 0.001])
def test_many_predicates_that_run_the_loop_unguarded_come_to_an_end(loop: Loop, peers: Peers, timeout: float) -> None:
    class Unguarded(Hostile):
        def answer(self) -> object:
            self.loop.poll(timeout)
            return True

    made = [peers.channel(Unguarded, loop.map, loop=loop, peers=peers) for _ in range(50)]
    for _, other in made:
        other.send(b"x")
    loop.call_later(LINGER, loop.stop)
    loop.run()
    assert {channel.got for channel, _ in made} == {b"x"}
    assert max(len(channel.asked) for channel, _ in made) <= MOST


def test_predicate_that_raises_is_told_for_each_question_and_no_more(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Raises, loop.map, loop=loop, peers=peers)
    loop.poll()
    assert 1 <= channel.errors <= len(channel.asked)


def test_default_error_handler_closes_what_a_predicate_has_broken_and_nobody_else(loop: Loop, peers: Peers) -> None:
    class Broken(Recorder):
        def readable(self) -> bool:
            raise ZeroDivisionError

    broken = [peers.channel(Broken, loop.map)[0] for _ in range(300)]
    sound, far = peers.channel(Recorder, loop.map)
    far.send(b"x")
    loop.call_later(LINGER, loop.stop)
    loop.run()
    assert list(loop.map.values()) == [sound]
    assert sound.got == b"x"
    assert {tuple(channel.seen) for channel in broken} == {("error ZeroDivisionError()",)}


def test_predicate_may_add_a_thousand_channels(loop: Loop, peers: Peers) -> None:
    """That have predicates, too, which are asked, and data, which is read."""
    added: list[Recorder] = []

    class Late(Recorder):
        asked = 0

        def readable(self) -> bool:
            self.asked += 1
            return True

        def handle_read(self) -> None:
            Recorder.handle_read(self)
            read.append(None)
            if len(read) == 300:
                loop.stop()

    class Adding(Recorder):
        def readable(self) -> bool:
            if not added:
                for _ in range(300):
                    channel, far = peers.channel(Late, loop.map)
                    added.append(channel)
                    far.send(b"x")
            return True

    read: list[None] = []
    late: list[str] = []
    peers.channel(Adding, loop.map)
    loop.call_later(20, give_up, loop, late)
    loop.run()
    assert (len(read), late) == (300, [])


def test_blocking_predicates_of_many_do_not_keep_events_waiting_for_a_whole_sweep(loop: Loop, peers: Peers) -> None:
    """Between the pieces of a sweep the loop looks: events come while there are channels that were not asked."""

    class Slow(Recorder):
        def readable(self) -> bool:
            asked.append(None)
            time.sleep(0.001)
            return True

    asked: list[None] = []
    for _ in range(200):
        peers.channel(Slow, loop.map)
    channel, far = peers.channel(Recorder, loop.map)
    for _ in range(2):
        loop.poll()
    read_after: list[int] = []

    def read() -> None:
        channel.recv(1)
        read_after.append(len(asked))
        if len(read_after) < 10:
            far.send(b"x")
        else:
            loop.stop()

    channel.handle_read = read
    loop.call_soon(lambda: (asked.clear(), far.send(b"x")))
    loop.run()
    if native:
        assert read_after[-1] < 10 * 200
    assert len(read_after) == 10


def test_thread_that_sets_attributes_without_end_does_not_starve_events(loop: Loop, peers: Peers) -> None:
    target, _ = peers.channel(Quiet, loop.map)
    echo, far = peers.channel(Echo, loop.map)
    ended = threading.Event()
    echo.far, echo.done = far, loop.stop

    def work() -> None:
        while not ended.is_set():
            target.note = 1
            time.sleep(0)

    thread = threading.Thread(target=work)
    late: list[str] = []
    loop.call_later(20, give_up, loop, late)
    thread.start()
    far.send(b"x")
    loop.run()
    ended.set()
    thread.join()
    assert (echo.left, late) == (0, [])
