# SPDX-License-Identifier: MIT
"""What may change a predicate's answer, and that the loop sees it before it waits, whoever else is there.

1. An event of the channel. 2. An attribute set on it. 3. Something changed inside an attribute. 4. Anything else.
Delays are counted in questions, events and waits, never in seconds.
"""

from __future__ import annotations

import gc
import socket
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop, native
from tests.support.peers import Peers, Recorder
from tests.support.trace import trace

ELSEWHERE = {"wants": False}  # what a program keeps in its modules
IDLE = (0, 20, 600)
QUESTIONS = 3 if native else 12  # to each idle channel, between a change and the event that follows from it
LINGER = 0.3  # seconds in which a loop that spins makes thousands of turns


class Target(Recorder):
    """Wants to write for any of the four reasons, and stops the loop when it may."""

    wants = False

    def __init__(self, sock: socket.socket, map: Any, loop: Loop) -> None:
        self.out: list[bytes] = []
        self.loop = loop
        self.asked: list[None] = []
        Recorder.__init__(self, sock, map)

    def writable(self) -> bool:
        self.asked.append(None)
        return bool(self.wants or self.out or ELSEWHERE["wants"])

    def handle_write(self) -> None:
        self.seen.append("write")
        self.wants = ELSEWHERE["wants"] = False
        self.out.clear()
        self.loop.stop()


class Idle(Recorder):
    """Says yes, and remembers in a list, which no attribute tells of, how often."""

    def __init__(self, sock: socket.socket, map: Any, asked: list[None]) -> None:
        self.asked = asked
        Recorder.__init__(self, sock, map)

    def readable(self) -> bool:
        self.asked.append(None)
        return True


class Trigger(Recorder):
    """Does what it was given to do when a byte comes."""

    does: Callable[[], object] = staticmethod(lambda: None)

    def handle_read(self) -> None:
        Recorder.handle_read(self)
        self.does()


def by_attribute(target: Target) -> None:
    target.wants = True


def by_list(target: Target) -> None:
    target.out.append(b"x")


def by_counting(target: Target) -> None:
    target.wants += 1


def by_deletion(target: Target) -> None:
    del target.hidden


def elsewhere(target: Target) -> None:
    ELSEWHERE["wants"] = True


def by_dict(target: Target) -> None:
    target.__dict__["wants"] = True


def by_dict_update(target: Target) -> None:
    vars(target).update(wants=True)


CHANGES = (by_attribute, by_counting, by_list, elsewhere, by_dict, by_dict_update)


@pytest.fixture(autouse=True)
def elsewhere_is_reset() -> Any:
    ELSEWHERE["wants"] = False
    yield
    ELSEWHERE["wants"] = False


class Scene:
    """A target that was quiet for long, a trigger, and idle channels beside them."""

    def __init__(self, loop: Loop, peers: Peers, idle: int, kind: type[Target] = Target) -> None:
        self.loop = loop
        self.asked: list[None] = []
        self.target, self.far = peers.channel(kind, loop.map, loop=loop)
        self.trigger, self.pull = peers.channel(Trigger, loop.map)
        for _ in range(idle):
            peers.channel(Idle, loop.map, asked=self.asked)
        for _ in range(250):  # so that nobody is a channel that was active lately
            self.pull.send(b"x")
            loop.poll(5)
        self.late = False
        self.asked.clear()

    def run(self) -> None:
        """Runs until somebody stops the loop; what waits in vain fails."""
        self.loop.call_later(20, self.give_up)
        self.loop.run()
        assert not self.late, "waited in vain"

    def give_up(self) -> None:
        self.late = True
        self.loop.stop()


def wake_by_socket(scene: Scene) -> None:
    scene.pull.send(b"x")


def wake_by_loop(scene: Scene) -> None:
    scene.loop.wake()


@pytest.mark.parametrize("idle", IDLE)
@pytest.mark.parametrize("change", CHANGES)
def test_change_by_a_handler_is_seen_before_the_loop_waits(
    loop: Loop, peers: Peers, change: Callable[[Target], None], idle: int
) -> None:
    scene = Scene(loop, peers, idle)

    def do() -> None:
        scene.asked.clear()
        change(scene.target)

    scene.trigger.does = do
    loop.call_soon(scene.pull.send, b"x")
    scene.run()
    assert scene.target.seen == ["write"]
    assert len(scene.asked) <= QUESTIONS * idle


@pytest.mark.parametrize("idle", IDLE)
@pytest.mark.parametrize("wake", [wake_by_socket, wake_by_loop])
@pytest.mark.parametrize("change", CHANGES)
def test_change_by_a_thread_is_seen_when_it_has_woken_the_loop(
    loop: Loop, peers: Peers, change: Callable[[Target], None], wake: Callable[[Scene], None], idle: int
) -> None:
    scene = Scene(loop, peers, idle)

    def work() -> None:
        change(scene.target)
        scene.asked.clear()
        wake(scene)

    thread = threading.Thread(target=work)
    loop.call_soon(thread.start)
    scene.run()
    thread.join()
    assert scene.target.seen == ["write"]
    assert len(scene.asked) <= QUESTIONS * idle


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("idle", IDLE)
def test_own_event_changes_the_own_answer(loop: Loop, peers: Peers, idle: int, threaded: bool) -> None:
    class Own(Target):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            scene.asked.clear()
            self.out.append(b"x")

    scene = Scene(loop, peers, idle, Own)
    if threaded:
        thread = threading.Thread(target=scene.far.send, args=(b"x",))
        loop.call_soon(thread.start)
    else:
        loop.call_soon(scene.far.send, b"x")
    scene.run()
    assert scene.target.seen == ["read", "write"]
    assert len(scene.asked) <= QUESTIONS * idle


def test_attribute_that_is_deleted_changes_the_answer(loop: Loop, peers: Peers) -> None:
    class Hidden(Target):
        def writable(self) -> bool:
            return not hasattr(self, "hidden")

    scene = Scene.__new__(Scene)
    ours, _ = peers.pair()
    target = Hidden.__new__(Hidden)
    target.hidden = 1
    target.__init__(ours, loop.map, loop)  # type: ignore[misc]
    scene.loop, scene.late = loop, False
    loop.poll()
    loop.call_later(0.01, by_deletion, target)
    scene.run()
    assert target.seen == ["write"]


def test_slot_and_property_change_the_answer(loop: Loop, peers: Peers) -> None:
    class Slotted(Target):
        __slots__ = ("slot",)

        @property
        def level(self) -> int:
            return int(self.slot)

        @level.setter
        def level(self, value: int) -> None:
            self.slot = value

        def writable(self) -> bool:
            return getattr(self, "slot", 0) > 0

    scene = Scene(loop, peers, 20, Slotted)
    for name in ("slot", "level"):
        scene.target.slot = 0
        scene.trigger.does = lambda name=name: setattr(scene.target, name, 1)
        loop.call_soon(scene.pull.send, b"x")
        scene.run()
    assert scene.target.seen == ["write", "write"]


def test_class_attribute_changes_the_answer(loop: Loop, peers: Peers) -> None:
    class Common(Target):
        shared = False

        def writable(self) -> bool:
            return self.shared

    scene = Scene(loop, peers, 20, Common)
    scene.trigger.does = lambda: setattr(Common, "shared", True)
    loop.call_soon(scene.pull.send, b"x")
    scene.run()
    assert scene.target.seen == ["write"]


@pytest.mark.skipif(
    not native, reason="the old loop, and the engine in plain Python, ask each channel once before a wait"
)
def test_change_by_another_s_predicate_is_seen(loop: Loop, peers: Peers) -> None:
    class Moving(Idle):
        def readable(self) -> bool:
            if armed:
                armed.clear()
                scene.target.wants = True
            return True

    scene = Scene(loop, peers, 20)
    armed: list[int] = []
    peers.channel(Moving, loop.map, asked=[])
    scene.trigger.does = lambda: armed.append(1)
    loop.call_soon(scene.pull.send, b"x")
    scene.run()
    assert scene.target.seen == ["write"]


@pytest.mark.parametrize("first", [True, False])
def test_change_elsewhere_is_seen_by_a_loop_inside_a_predicate(loop: Loop, peers: Peers, first: bool) -> None:
    """It waits for what depends on another's answer, as a blocking client made of the loop does."""
    others = [peers.channel(Idle, loop.map, asked=[]) for _ in range(100)]  # as many as are asked first, and more
    for _, far in others:
        far.send(b"x")
    loop.poll()

    class Client(Idle):
        def readable(self) -> bool:
            if waits:
                waits.clear()
                loop.call_later(20, scene.give_up)
                scene.pull.send(b"x")
                while not (scene.target.seen or scene.late):
                    loop.run_map(None)
                loop.call_soon(loop.stop)
            return True

    waits: list[int] = []
    if first:
        peers.channel(Client, loop.map, asked=[])
    scene = Scene(loop, peers, 3)
    if not first:
        peers.channel(Client, loop.map, asked=[])
        loop.poll()
    scene.trigger.does = lambda: elsewhere(scene.target)
    loop.call_soon(waits.append, 1)
    scene.run()
    assert scene.target.seen == ["write"]


# Nobody is asked for nothing


@pytest.mark.parametrize("idle", [1, 20, 600])
def test_everyone_is_asked_once_after_the_last_activity(loop: Loop, peers: Peers, idle: int) -> None:
    scene = Scene(loop, peers, idle)
    loop.call_soon(scene.pull.send, b"x")
    loop.call_later(LINGER, loop.stop)
    scene.trigger.does = scene.asked.clear
    loop.run()
    assert idle <= len(scene.asked) <= QUESTIONS * idle


def test_channel_marked_during_a_wait_does_not_end_it(loop: Loop, peers: Peers) -> None:
    scene = Scene(loop, peers, 0)
    del scene.target.asked[:]

    def work() -> None:
        for number in range(50):
            scene.target.note = number  # the loop lets the marks be until something else ends its wait
            time.sleep(0.002)
        loop.stop()

    thread = threading.Thread(target=work)
    loop.call_soon(thread.start)
    scene.run()
    thread.join()
    assert len(scene.target.asked) <= 12


@pytest.mark.parametrize("idle", [2, 200])
def test_predicates_that_count_on_their_own_channel_let_the_loop_rest(loop: Loop, peers: Peers, idle: int) -> None:
    class Counting(Recorder):
        asked = 0

        def readable(self) -> bool:
            self.asked += 1
            return True

    channels = [peers.channel(Counting, loop.map)[0] for _ in range(idle)]
    loop.call_later(LINGER, loop.stop)
    loop.run()
    assert max(channel.asked for channel in channels) <= 12


@pytest.mark.parametrize("idle", [2, 200])
def test_predicates_that_touch_each_other_let_the_loop_rest(loop: Loop, peers: Peers, idle: int) -> None:
    class Touching(Recorder):
        asked = 0

        def readable(self) -> bool:
            channels[(channels.index(self) + 1) % len(channels)].asked += 1
            return True

        def handle_error(self) -> None:
            raise

    channels: list[Touching] = []
    for _ in range(idle):
        channels.append(peers.channel(Touching, loop.map)[0])
    loop.call_later(LINGER, loop.stop)
    loop.run()
    assert sum(channel.asked for channel in channels) <= 60 * idle


def test_more_channels_than_are_asked_first_are_all_seen(loop: Loop, peers: Peers) -> None:
    """Each was active, and each has something put into its list by one handler."""
    targets = [peers.channel(Target, loop.map, loop=loop) for _ in range(150)]
    scene = Scene(loop, peers, 0)
    for _, far in targets:
        far.send(b"x")
    for _ in range(5):
        loop.poll(0.01)
    wrote: list[Target] = []

    def note(target: Target) -> None:
        target.out.clear()
        wrote.append(target)
        if len(wrote) == len(targets):
            loop.stop()

    for target, _ in targets:
        target.handle_write = lambda target=target: note(target)
    scene.trigger.does = lambda: [target.out.append(b"x") for target, _ in targets]
    loop.call_soon(scene.pull.send, b"x")
    scene.run()
    assert len(set(map(id, wrote))) == len(wrote) == 150


@pytest.mark.parametrize("idle", [1, 100])
def test_channels_that_were_active_and_closed_are_let_go(loop: Loop, peers: Peers, idle: int) -> None:
    asked: list[None] = []
    channels = []
    for _ in range(idle):
        channel, far = peers.channel(Idle, loop.map, asked=asked)
        far.send(b"x")
        channels.append(channel)
    for _ in range(3):
        loop.poll(0.01)
    references = [weakref.ref(channel) for channel in channels]
    for channel in channels:
        channel.note = 1
        channel.close()
    del channel
    channels.clear()
    loop.poll()
    gc.collect()
    assert [reference() for reference in references] == [None] * idle


def test_channels_that_leave_and_join_while_all_are_asked_lose_nobody(loop: Loop, peers: Peers) -> None:
    """Each predicate now and then closes one of the others and makes another."""
    made = 0
    asked: list[None] = []

    class Restless(Idle):
        def readable(self) -> bool:
            nonlocal made
            asked.append(None)
            if made < 300 and len(asked) % 3 == 0:
                made += 1
                others = [channel for channel in loop.map.values() if isinstance(channel, Restless)]
                others[made % len(others)].close()
                peers.channel(Restless, loop.map, asked=asked)
            return True

    scene = Scene(loop, peers, 3)
    for _ in range(40):
        peers.channel(Restless, loop.map, asked=asked)
    for number in range(100):
        scene.trigger.does = elsewhere.__get__(scene.target) if number == 99 else (lambda: None)
        scene.pull.send(b"x")
        loop.poll(5)
    if scene.target.seen != ["write"]:
        scene.run()
    assert made == 300
    assert scene.target.seen == ["write"]


# System calls

TURNS = 64
RELAY = """
import os, signal, socket, sys, threading
from cyncore import Loop, dispatcher
from cyncore.asyncore import ExitNow

signal.alarm(40)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
loop = Loop()
state = {"wants": False}
left = %(turns)d

class Source(dispatcher):
    def handle_read(self):
        self.recv(100)
        %(change)s

class Target(dispatcher):
    wants = False
    def __init__(self, sock, map):
        self.out = []
        dispatcher.__init__(self, sock, map)
    def readable(self):
        return False
    def writable(self):
        return bool(self.wants or self.out or state["wants"])
    def handle_write(self):
        global left
        left -= 1
        self.wants = state["wants"] = False
        self.out.clear()
        if not left:
            raise ExitNow
        pull.send(b"x")

class Idle(dispatcher):
    def readable(self):
        return True

near, pull = socket.socketpair()
Source(near, loop.map)
pairs = [socket.socketpair() for _ in range(%(idle)d + 1)]
target = Target(pairs[0][0], loop.map)
for pair in pairs[1:]:
    Idle(pair[0], loop.map)
for _ in range(250):
    loop.poll()
loop.call_soon(pull.send, b"x")
sys.stdout.write("begin") or sys.stdout.flush()
try:
    loop.run()
except ExitNow:
    pass
os._exit(0)
"""
BY = {
    "attribute": "target.wants = True",
    "list": "target.out.append(b'x')",
    "elsewhere": "state['wants'] = True",
}
WAITS = {
    "epoll": "?epoll_wait,epoll_pwait,epoll_pwait2,write",
    "poll": "?poll,ppoll,write",
    "select": "?select,pselect6,write",
}


@pytest.mark.parametrize("idle", IDLE)
@pytest.mark.parametrize("change", BY)
def test_turn_of_a_relay_needs_a_few_waits(loop: Loop, tmp_path: Path, change: str, idle: int) -> None:
    """An event for the source, one for the target; between them the loop looks, in pieces of a sweep, and goes on."""
    source = RELAY % {"turns": TURNS, "change": BY[change], "idle": idle}
    calls = trace(source, WAITS.get(loop.backend, ""), tmp_path)
    first = next(number for number, line in enumerate(calls) if 'write(1, "begin"' in line)
    waits = [line for line in calls[first + 1 :] if "write(" not in line]
    assert 2 * TURNS <= len(waits) <= (4 + idle // 50) * TURNS


IDLE_LOOP = """
import os, signal, socket, sys
from cyncore import Loop, dispatcher

signal.alarm(40)
loop = Loop()
class Counting(dispatcher):
    asked = 0
    def readable(self):
        self.asked += 1
        return True
pairs = [socket.socketpair() for _ in range(%(idle)d)]
for pair in pairs:
    Counting(pair[0], loop.map)
for _ in range(50):
    loop.poll()
loop.call_later(0.3, loop.stop)  # strace can make the polls take longer than that
sys.stdout.write("begin") or sys.stdout.flush()
loop.run()
os._exit(0)
"""


@pytest.mark.parametrize("idle", [1, 20, 600])
def test_idle_loop_makes_no_system_call(loop: Loop, tmp_path: Path, idle: int) -> None:
    """But for the looks between the pieces of the one sweep with which it begins, and the wait for its timer."""
    calls = trace(IDLE_LOOP % {"idle": idle}, WAITS.get(loop.backend, ""), tmp_path)
    first = next(number for number, line in enumerate(calls) if 'write(1, "begin"' in line)
    assert len(calls) - first <= 8 + idle // 16
