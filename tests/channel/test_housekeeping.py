# SPDX-License-Identifier: MIT
"""Predicates that do more than answer: they close, add and clear, as waitress does its housekeeping in ``readable``."""

from __future__ import annotations

from cyncore import Loop
from tests.support.peers import Peers, Recorder, poll_until


class Polled(Recorder):
    """A channel that is asked."""

    def readable(self) -> bool:
        return True


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
