# SPDX-License-Identifier: MIT
"""Handlers that switch to other greenlets in the middle of a tick, and loops that run in a greenlet."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cyncore import Loop, dispatcher
from tests.support.loops import every_backend
from tests.support.peers import Peers
from tests.support.script import run_script

greenlet = pytest.importorskip("greenlet")
pytestmark = every_backend


class Switching(dispatcher):
    """Switches to the main greenlet in its read handler, and notes what happens."""

    def __init__(self, sock: Any, map: Any, seen: list[str], name: str) -> None:
        super().__init__(sock, map)
        self.seen = seen
        self.name = name

    def handle_read(self) -> None:
        self.seen.append(f"{self.name} begins {self.recv(10).decode()}")
        greenlet.getcurrent().parent.switch("switched")
        self.seen.append(f"{self.name} ends")

    def handle_error(self) -> None:
        self.seen.append(f"{self.name} fails")
        self.close()


@pytest.fixture
def seen() -> list[str]:
    return []


@pytest.fixture
def senders(loop: Loop, peers: Peers, seen: list[str]) -> Iterator[list[socket.socket]]:
    """The peers of three channels, each of which has sent something."""
    made = []
    for name in "abc":
        _, peer = peers.channel(Switching, loop.map, seen=seen, name=name)
        peer.send(b"x")
        made.append(peer)
    yield made
    loop.map.clear()


def begins(call: Callable[[], Any]) -> Any:
    """A greenlet that has begun that call, and has been switched away from within."""
    made = greenlet.greenlet(call)
    assert made.switch() == "switched"
    return made


def test_tick_of_another_greenlet_serves_the_others_once(
    loop: Loop, senders: list[socket.socket], seen: list[str]
) -> None:
    one = begins(lambda: loop.poll(0))
    two = begins(lambda: loop.poll(0))
    three = begins(lambda: loop.poll(0))
    assert sorted(seen) == ["a begins x", "b begins x", "c begins x"]
    for one_of_them in (two, one, three):  # in any order
        one_of_them.switch()
        assert one_of_them.dead
    assert sorted(seen) == sorted(f"{name} {what}" for name in "abc" for what in ("begins x", "ends"))
    assert not loop.running


def test_run_in_another_greenlet_is_refused(loop: Loop, senders: list[socket.socket], seen: list[str]) -> None:
    one = begins(lambda: loop.poll(0))
    with pytest.raises(RuntimeError, match="runs already"):
        greenlet.greenlet(loop.run).switch()
    with pytest.raises(RuntimeError, match="cannot be closed while it runs"):
        greenlet.greenlet(loop.close).switch()
    while not one.dead:
        one.switch()


def test_run_goes_on_in_its_greenlet(loop: Loop, senders: list[socket.socket], seen: list[str]) -> None:
    one = begins(loop.run)
    while len(seen) < 5:
        assert one.switch() == "switched"
    loop.stop()
    one.switch()
    assert one.dead
    assert len(seen) == 6


def test_killed_greenlet_tells_the_channel_and_the_run_goes_on(
    loop: Loop, senders: list[socket.socket], seen: list[str]
) -> None:
    one = begins(loop.run)
    assert one.throw() == "switched"  # by the handler of the next channel
    assert not one.dead
    assert seen[1].endswith(" fails")
    loop.stop()
    one.throw()
    assert one.dead
    assert seen[-1].endswith(" fails")


def test_paused_channel_is_not_entered_again(loop: Loop, peers: Peers) -> None:
    seen: list[str] = []

    class Careful(Switching):
        def handle_read(self) -> None:
            self.pause_reading()
            super().handle_read()
            self.resume_reading()

    channel, peer = peers.channel(Careful, loop.map, seen=seen, name="careful")
    peer.send(b"x")
    one = begins(lambda: loop.poll(0))
    peer.send(b"y")
    loop.poll(0)
    assert seen == ["careful begins x"]
    one.switch()
    two = begins(lambda: loop.poll(0))
    two.switch()
    assert seen == ["careful begins x", "careful ends", "careful begins y", "careful ends"]
    channel.close()


def test_channel_that_is_not_paused_is_entered_again(loop: Loop, peers: Peers) -> None:
    seen: list[str] = []
    channel, peer = peers.channel(Switching, loop.map, seen=seen, name="open")
    peer.send(b"x")
    one = begins(lambda: loop.poll(0))
    peer.send(b"y")
    two = begins(lambda: loop.poll(0))
    assert seen == ["open begins x", "open begins y"]
    one.switch()
    two.switch()
    channel.close()


def test_run_ends_at_once_if_it_is_killed_while_gevent_waits(loop: Loop) -> None:
    pytest.importorskip("gevent")
    script = """
from gevent import monkey
monkey.patch_all()
import gevent, cyncore
loop = cyncore.Loop(backend=BACKEND)
greenlet = gevent.spawn(loop.run, forever=True)
gevent.sleep(0.05)
greenlet.kill()
print(greenlet.dead, loop.running)
loop.close()
"""
    assert run_script(script.replace("BACKEND", repr(loop.backend))) == "True False\n"
