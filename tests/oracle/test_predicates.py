# SPDX-License-Identifier: MIT
"""Handlers and threads change what other channels want, in the old module and in ours: the same is written and read.

A program is a list of changes: a handler makes its channel's next one each time it is called, a thread makes its own
and pulls a trigger after each. Each change lets another channel write so many times or read on, by an attribute, by a
list inside one, by what a module keeps, or by a dict that was put into past the attribute. Both modules are driven by
their loop without a count, which is ended when it waits and nobody has anything to do: what was changed and not seen
is not written then. The changes only ever add, so that the order among channels, which no poller promises, does not
count.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cyncore.asyncore as ours
from tests.support.old import load

pytestmark = [
    pytest.mark.skipif(not hasattr(select, "poll"), reason="the old module is driven by poll(2)"),
    pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells whether the loop waits"),
]

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
CHANNELS = 5
WAYS = ("attribute", "list", "module", "dict", "reading", "hearing")
QUIET = 12  # looks in a row, a millisecond apart, that find the loop waiting and nothing new
Change = tuple[str, int, int]  # how, whom, how often


class Wanting:
    """What a channel of either module does in this test."""

    def prepare(self, world: World, name: int, changes: list[Change]) -> None:
        self.world, self.name, self.changes = world, name, changes
        self.tokens = 0
        self.more = 0
        self.queue: list[None] = []
        self.reading = name % 2 == 0
        self.wrote = 0
        self.got = b""

    def readable(self) -> bool:
        return self.reading or self.name in self.world.hearing

    def writable(self) -> bool:
        return bool(self.tokens or self.more or self.queue or self.world.shared[self.name])

    def handle_read(self) -> None:
        self.got += self.recv(1)  # type: ignore[attr-defined]
        self.act()

    def handle_write(self) -> None:
        self.wrote += 1
        if self.tokens:
            self.tokens -= 1
        elif self.more:
            self.__dict__["more"] -= 1
        elif self.queue:
            self.queue.pop()
        else:
            self.world.shared[self.name] -= 1
        self.act()

    def handle_error(self) -> None:
        raise

    def act(self) -> None:
        self.world.events += 1
        if self.changes:
            self.world.change(*self.changes.pop(0))


class World:
    """One run of a program over one module."""

    def __init__(self, module: ModuleType, handlers: list[list[Change]], thread: list[Change], idle: int) -> None:
        self.module, self.events, self.asked = module, 0, 0
        self.map: dict[int, Any] = {}
        self.shared = [0] * CHANNELS
        self.hearing: set[int] = set()
        self.thread = thread
        self.sockets: list[socket.socket] = []
        kind: Any = type("WantingChannel", (Wanting, module.dispatcher), {})
        self.channels = [kind.__new__(kind) for _ in range(CHANNELS)]
        for name, channel in enumerate(self.channels):
            channel.prepare(self, name, list(handlers[name]))
            channel.__init__(self.pair(b"x" * (3 + name)), self.map)
        for _ in range(idle):
            still = kind.__new__(kind)
            still.prepare(self, 0, [])
            still.writable = lambda: False
            still.__init__(self.pair(b""), self.map)
        self.trigger = self.make_trigger()

    def pair(self, data: bytes) -> socket.socket:
        near, far = socket.socketpair()
        far.send(data)
        self.sockets.append(far)
        return near

    def make_trigger(self) -> socket.socket:
        module = self.module

        class Trigger(module.dispatcher):  # type: ignore[misc, name-defined]
            def handle_read(self) -> None:
                if b"e" in self.recv(100):
                    raise module.ExitNow

            def writable(self) -> bool:
                return False

        Trigger(self.pair(b""), self.map)
        return self.sockets[-1]

    def change(self, way: str, whom: int, times: int) -> None:
        target = self.channels[whom]
        if way == "attribute":
            target.tokens += times
        elif way == "list":
            target.queue.extend([None] * times)
        elif way == "module":
            self.shared[whom] += times
        elif way == "dict":
            target.__dict__["more"] += times
        elif way == "reading":
            target.reading = True
        else:
            self.hearing.add(whom)

    def wait_until_quiet(self, main: int) -> None:
        seen, quiet = -1, 0
        while quiet < QUIET:
            time.sleep(0.001)
            with open(f"/proc/self/task/{main}/stat", encoding="ascii") as file:
                sleeps = file.read().rpartition(")")[2].split()[0] == "S"
            quiet = quiet + 1 if sleeps and seen == self.events else 0
            seen = self.events

    def drive(self, main: int) -> None:
        for change in self.thread:
            self.change(*change)
            self.trigger.send(b"x")
            if change[2] == 1:
                self.wait_until_quiet(main)
        self.wait_until_quiet(main)
        self.trigger.send(b"e")

    def run(self) -> list[tuple[int, bytes, int]]:
        driver = threading.Thread(target=self.drive, args=(threading.get_native_id(),))
        driver.start()
        with pytest.raises(self.module.ExitNow):
            self.module.loop(30.0, True, self.map)
        driver.join()
        return [(channel.wrote, channel.got, len(channel.changes)) for channel in self.channels]

    def finish(self) -> None:
        for channel in list(self.map.values()):
            channel.close()
        for sock in self.sockets:
            sock.close()


@pytest.fixture(scope="module")
def old() -> ModuleType:
    try:
        return load("asyncore")
    except ImportError as error:
        pytest.skip(str(error))


def outcome(module: ModuleType, *program: Any) -> list[tuple[int, bytes, int]]:
    world = World(module, *program)
    try:
        return world.run()
    finally:
        world.finish()


changes = st.lists(st.tuples(st.sampled_from(WAYS), st.integers(0, CHANNELS - 1), st.integers(1, 3)), max_size=6)
programs = st.lists(changes, min_size=CHANNELS, max_size=CHANNELS)


@pytest.mark.skipif(not HAS_GIL, reason="without the GIL no thread may change the channels of a loop")
@settings(max_examples=40, deadline=None, derandomize=bool(os.environ.get("CI")))
@given(handlers=programs, thread=changes, idle=st.sampled_from([0, 0, 3, 80]))
def test_changes_of_others_answers_do_the_same_as_in_the_old_module(
    old: ModuleType, handlers: list[list[Change]], thread: list[Change], idle: int
) -> None:
    assert outcome(ours, handlers, thread, idle) == outcome(old, handlers, thread, idle)
