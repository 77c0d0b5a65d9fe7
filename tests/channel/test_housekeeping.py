# SPDX-License-Identifier: MIT
"""Predicates that do more than answer: they close, add and clear, as waitress does its housekeeping in ``readable``."""

from __future__ import annotations

import socket
import time
from typing import Any

from cyncore import Loop, dispatcher_with_send
from tests.support.loops import ends_by_itself, every_backend
from tests.support.peers import Peers, Recorder, poll_until


class Polled(Recorder):
    """A channel that is asked. Stops its loop, if it has one, once it was told something."""

    loop: Loop | None = None
    asked = 0

    def readable(self) -> bool:
        self.asked += 1
        return True

    def handle_read(self) -> None:
        Recorder.handle_read(self)
        if self.loop is not None:
            self.loop.stop()


def test_predicate_may_close_other_channels(loop: Loop, peers: Peers) -> None:
    victims = [peers.channel(Polled, loop.map) for _ in range(10)]

    class Server(Recorder):
        def readable(self) -> bool:
            for channel, _ in victims:
                channel.close()
            return True

    for _, far in victims:
        far.send(b"late")
    server, far = peers.channel(Server, loop.map)
    far.send(b"data")
    poll_until(loop, lambda: server.got == b"data")
    for _ in range(3):
        loop.poll()
    assert list(loop.map.values()) == [server]
    # "all of them" are asked before anything is dispatched, so that nobody heard of his data
    assert [channel.seen for channel, _ in victims] == [[]] * 10


def test_predicate_may_close_its_own_channel(loop: Loop, peers: Peers) -> None:
    class Weary(Recorder):
        def readable(self) -> bool:
            self.close()
            return True

    channel, far = peers.channel(Weary, loop.map)
    far.send(b"data")
    assert [loop.poll() for _ in range(3)] == [0] * 3
    assert (channel.seen, loop.map) == ([], {})


def test_predicate_may_add_channels(loop: Loop, peers: Peers) -> None:
    added: list[Recorder] = []
    near, far = peers.pair()
    far.send(b"data")

    class Server(Recorder):
        def readable(self) -> bool:
            if not added:
                added.append(Recorder(near, loop.map))
            return True

    peers.channel(Server, loop.map)
    poll_until(loop, lambda: added and added[0].got == b"data")


def test_predicate_may_clear_the_map(loop: Loop, peers: Peers) -> None:
    class Last(Recorder):
        def readable(self) -> bool:
            loop.map.clear()
            return True

    channels = [peers.channel(Polled, loop.map) for _ in range(5)]
    last, _ = peers.channel(Last, loop.map)
    for _, far in channels:
        far.send(b"late")
    loop.poll()
    assert loop.map == {}
    assert last.seen == []


@every_backend
def test_what_a_predicate_adds_is_asked_before_the_loop_waits(loop: Loop, peers: Peers) -> None:
    class Housekeeper(Polled):
        jobs: list[socket.socket] = []  # noqa: RUF012

        def readable(self) -> bool:
            while self.jobs:
                started.append(Polled(self.jobs.pop(0), loop.map))
                started[-1].loop = loop
            return True

        def handle_read(self) -> None:
            Recorder.handle_read(self)
            self.jobs = [ours for ours, _ in pairs]
            time.sleep(0.02)  # so long a handler that everyone is asked at once, and not in a while

    started: list[Polled] = []
    pairs = [peers.pair() for _ in range(2)]
    _, far = peers.channel(Housekeeper, loop.map)
    pairs[1][1].send(b"2")
    far.send(b"x")
    with ends_by_itself(loop):
        loop.run()
    assert [channel.got for channel in started] == [b"", b"2"]


class Meddler(Recorder):
    """Does something to another channel while it is asked itself, once."""

    meddle: Any = None

    def readable(self) -> bool:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()
        return True


def test_what_a_predicate_leaves_to_be_sent_by_a_channel_asked_before_leaves_in_this_tick(
    loop: Loop, peers: Peers
) -> None:
    buffered, far = peers.channel(dispatcher_with_send, loop.map)
    meddler, _ = peers.channel(Meddler, loop.map)
    left = []

    def send_more_than_fits() -> None:
        buffered.send(b"x" * 4_000_000)
        left.append(len(buffered.out_buffer))
        far.setblocking(False)
        while True:
            try:
                far.recv(1 << 20)
            except BlockingIOError:
                break

    loop.poll(0)
    meddler.meddle = send_more_than_fits
    assert loop.poll(1) == 1
    assert 0 < len(buffered.out_buffer) < left[0]


def test_channel_that_a_predicate_of_another_resumes_has_its_event_in_this_tick(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Recorder, loop.map)
    meddler, _ = peers.channel(Meddler, loop.map)
    channel.pause_reading()
    loop.poll(0)
    far.send(b"x")
    meddler.meddle = channel.resume_reading
    assert loop.poll(1) == 1


def test_channel_that_a_predicate_of_another_closes_is_not_asked_any_more(loop: Loop, peers: Peers) -> None:
    meddler, _ = peers.channel(Meddler, loop.map)
    victim, _ = peers.channel(Polled, loop.map)
    loop.poll(0)
    asked = victim.asked
    meddler.meddle = victim.close
    loop.poll(0)
    assert victim.asked == asked
