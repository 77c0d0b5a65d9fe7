# SPDX-License-Identifier: MIT
"""The old asynchat and ours go through the same random scripts: handlers are told the same, peers receive the same.

A script is a list of steps. Each sends something to a channel, does something to it from outside, or arms it to do
something in one of its next callbacks; then the channel is polled until nothing more happens, its peer reading along.
What may differ is said in `compare`.

CYNCORE_DIFF_STEPS=100000 runs that many steps of random scripts on top, from the seed CYNCORE_DIFF_SEED (0).
"""

from __future__ import annotations

import os
import random
import select
import socket
import sys
from collections import deque
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyncore import asynchat, asyncore
from tests.support.old import load_asynchat

pytestmark = pytest.mark.skipif(not hasattr(select, "poll"), reason="the old module is driven by poll(2)")

ROUNDS = 2000  # polls after which a step counts as spinning
TERMINATORS: tuple[Any, ...] = (b"\n", b"\r\n", b"\r\n.\r\n", b"aab", b"--x--", 1, 3, 7, True, None, 0, b"")
PIECES = (
    b"a",
    b"b",
    b"aa",
    b"aab",
    b"\n",
    b"\r",
    b"\r\n",
    b".",
    b"\r\n.\r\n",
    b"-",
    b"--",
    b"--x--",
    b"x",
    b"\0",
    b"0123",
)
ALWAYS = (
    "terminator", "terminator", "assign", "push", "push", "push and look", "push and look", "producer", "done", "peek",
    "raise", "text", "look",
)  # fmt: skip
# What forgets output: a script with it has no output that leaves in parts, since how many have left by then may differ.
FORGETFUL = ("discard", "close", "drop rest", "put before", "put behind")
ORDERLY = ("append", "long producer", "put before", "put behind", "drop rest", "big push")
FROM_OUTSIDE = ("append first", "own queue", "in size", "take in")
OUT_SIZES = (65536, 1, 3, 10)


class Step(NamedTuple):
    """``word``: send, do (now), arm (the next data callback, or end). ``action`` and ``number`` say what is done."""

    word: str
    action: int
    number: int
    data: bytes


class Received(NamedTuple):
    data: bytes


class Producer:
    def __init__(self, *chunks: bytes) -> None:
        self.chunks = deque(chunks)

    def more(self) -> bytes:
        return self.chunks.popleft() if self.chunks else b""


class Talker:
    """What a channel of either module does in this test: note the call, then what it is armed with."""

    def prepare(self, forgetful: bool) -> None:
        self.trace: list[Any] = []
        self.armed: list[tuple[str, str, Step]] = []
        self.forgetful, self.gone, self.done, self.counting, self.ending = forgetful, False, False, False, False
        self.called = False

    def acts(self, handler: str) -> None:
        if self.armed and self.armed[0][0] == handler and not self.gone:
            _, action, step = self.armed.pop(0)
            self.called = True
            try:
                self.act(action, step)
            finally:
                self.called = False

    def collect_incoming_data(self, data: bytes) -> None:
        self.trace.append(data)
        self.counting = isinstance(self.get_terminator(), int)  # type: ignore[attr-defined]
        self.acts("data")
        self.counting = False

    def found_terminator(self) -> None:
        self.trace.append("end")
        self.ending = True
        self.acts("end")
        self.ending = False

    def handle_error(self) -> None:
        kind = sys.exc_info()[0]
        assert kind is not None
        self.trace.append(f"error {kind.__name__}")

    def handle_close(self) -> None:
        self.trace.append("close")
        self.close()

    def close(self) -> None:
        if not self.gone:
            self.gone = True
            self.trace.append("closed")
        self.base.close(self)  # type: ignore[attr-defined]

    def look(self: Any) -> None:
        """Notes what the peer has received, unless what was pushed may wait for the next piece of input."""
        terminator = self.get_terminator()
        if self.ending and isinstance(terminator, int) and 0 < terminator <= len(self.ac_in_buffer):
            return
        if self.ending and isinstance(terminator, bytes) and terminator and terminator in self.ac_in_buffer:
            return
        self.world.read()
        self.trace.append(Received(self.world.received))

    def act(self: Any, action: str, step: Step) -> None:
        number, data = step.number, step.data
        if (
            action
            in ("push", "push and look", "big push", "producer", "long producer", "text", "append", "append first")
            and self.done
        ):
            return  # whoever pushes behind a close_when_done may find it done at once
        if action in ("push", "push and look") and not data:
            return  # which sent something else that was queued
        if action in ("terminator", "assign"):
            terminator = TERMINATORS[number % len(TERMINATORS)]
            if self.counting and isinstance(terminator, int):
                return  # what is being counted would be subtracted from it, and the old one went on below zero
            if action == "assign":
                self.terminator = terminator
            else:
                self.set_terminator(terminator)
        elif action in ("push", "push and look"):
            self.push((bytes, bytearray, memoryview)[number % 3](data))
            if action == "push and look" and data:
                self.look()
        elif action == "look" and not self.called:  # there only what is pushed at last is certain to be sent
            self.look()
        elif action == "big push":
            self.push(data * (1 + number % min(5000, 4 * self.ac_out_buffer_size)))
        elif action == "producer":
            self.push_with_producer(Producer(data))
        elif action == "long producer":
            self.push_with_producer(Producer(*[data or b"p"] * (number % 5), data * 9))
        elif action == "text":
            self.use_encoding = True
            self.push_with_producer(self.module.simple_producer(data.decode("latin-1"), 1000))
        elif action == "append":
            self.producer_fifo.append(data)
        elif action == "append first":
            self.producer_fifo.appendleft(Producer(data) if number & 1 else data)
        elif action == "own queue":
            self.producer_fifo = deque([data])
        elif action == "done":
            self.close_when_done()
            self.done = True
        elif action == "discard":
            self.discard_buffers()
        elif action == "drop rest":
            self.ac_in_buffer = b""
        elif action == "put before":
            self.ac_in_buffer = data + self.ac_in_buffer
        elif action == "put behind":
            self.ac_in_buffer += data
        elif action == "in size":
            self.ac_in_buffer_size = 1 + number % 8
        elif action == "take in":
            self.trace.append(("took", self.ac_in_buffer))
            self.ac_in_buffer = b""
        elif action == "peek":
            self.trace.append(("peek", self.ac_in_buffer, self.get_terminator()))
        elif action == "raise":
            raise ValueError("armed")
        elif action == "close":
            self.close()


class World:
    """One run of one script over one module."""

    def __init__(self, chat: ModuleType, loop: ModuleType, forgetful: bool, out_size: int) -> None:
        self.loop, self.map, self.received = loop, dict[int, Any](), b""
        bases = Talker, chat.async_chat
        kind: Any = type("Talking", bases, {"base": chat.async_chat, "module": chat})
        near, self.far = socket.socketpair()
        self.channel = kind(near, self.map)
        self.channel.world = self
        self.channel.prepare(forgetful)
        self.channel.set_terminator(b"\n")
        self.channel.ac_out_buffer_size = out_size
        self.far.setblocking(False)

    def read(self) -> None:
        try:
            while data := self.far.recv(1 << 16):
                self.received += data
        except (BlockingIOError, ConnectionResetError):  # the other end closes with bytes unread
            pass

    def settle(self) -> None:
        """Polls until three rounds in a row brought nothing new."""
        quiet = 0
        for _ in range(ROUNDS):
            before = len(self.channel.trace), len(self.received), len(self.channel.producer_fifo)
            (getattr(self.loop, "poll2"))(0.0, self.map)  # noqa: B009 - the old module's poll() asks select()
            self.read()
            after = len(self.channel.trace), len(self.received), len(self.channel.producer_fifo)
            quiet = quiet + 1 if before == after else 0
            if quiet == 3:
                return
        raise AssertionError(f"never quiet: {self.channel.trace}")

    def run(self, script: list[Step]) -> None:
        for step in script:
            self.step(step)
            self.settle()
            self.channel.trace.append("---")
        if not self.channel.gone:
            self.channel.trace.append(("left", self.channel.ac_in_buffer, self.channel.get_terminator()))
            self.channel.armed.clear()
            self.far.shutdown(socket.SHUT_WR)
            self.settle()

    def step(self, step: Step) -> None:
        channel = self.channel
        if channel.gone:
            return
        actions = ALWAYS + (FORGETFUL if channel.forgetful else ORDERLY)
        if step.word == "send":
            self.far.send(step.data or b"\n")
        elif step.word == "do":
            actions += FROM_OUTSIDE
            try:
                channel.act(actions[step.action % len(actions)], step)
            except ValueError as error:
                channel.trace.append(f"raised {error}")
        else:
            channel.armed.append((step.word, actions[step.action % len(actions)], step))

    def finish(self) -> None:
        self.channel.armed.clear()
        self.channel.gone = True
        self.channel.close()
        self.far.close()
        assert not self.map


def compare(old: World, new: World) -> None:
    """Fails unless both did the same, except that

    - a channel that was closed in a callback is told nothing more; the old one went on with what it had read,
    - close_when_done with something before it closes a read sooner or later, as the old one sent an item a round and
      asked a producer once a round,
    - what a channel that is closed has pushed in that tick may leave where the old one sent only a part of it, and
    - a push may send more of what had to wait before it, of which the old one sent a part at a time.
    """
    before, after = old.channel.trace, new.channel.trace
    if "closed" in before:
        before = before[: before.index("closed") + 1]
        assert "closed" in after, (before, after)
        at = after.index("closed") + 1
        assert set(after[at:]) <= {"---"}, f"called after it was closed: {after}"
        after = after[:at]
    if new.channel.done and "closed" in before:
        before, after = ([one for one in trace if one not in ("close", "closed")] for trace in (before, after))
        same = min(len(before), len(after))
        before, after = before[:same], after[:same]
    for one, other in zip(before, after, strict=False):
        if isinstance(one, Received) and isinstance(other, Received):
            assert other.data.startswith(one.data), "what was pushed is not on its way yet"
    assert [one for one in before if not isinstance(one, Received)] == [
        one for one in after if not isinstance(one, Received)
    ]
    if new.channel.gone:
        assert new.received.startswith(old.received)
    else:
        assert old.received == new.received


def check(old: tuple[ModuleType, ModuleType], script: list[Step], forgetful: bool, out_size: int) -> None:
    if forgetful:
        out_size = 65536
    worlds = World(old[1], old[0], forgetful, out_size), World(asynchat, asyncore, forgetful, out_size)
    try:
        for world in worlds:
            world.run(script)
        compare(*worlds)
    finally:
        for world in worlds:
            world.finish()


@pytest.fixture(scope="module")
def old() -> tuple[ModuleType, ModuleType]:
    try:
        return load_asynchat()
    except ImportError as error:
        pytest.skip(str(error))


def test_the_old_module_is_not_ours(old: tuple[ModuleType, ModuleType]) -> None:
    assert not issubclass(old[1].async_chat, asynchat.async_chat)
    assert not issubclass(old[1].async_chat, asyncore.dispatcher)


words = ("send", "send", "send", "do", "end", "end", "data")
chunks = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)
steps = st.builds(Step, st.sampled_from(words), st.integers(0, 255), st.integers(0, 2**16 - 1), chunks)


@settings(max_examples=250, deadline=None, derandomize=bool(os.environ.get("CI")))
@given(script=st.lists(steps, max_size=25), forgetful=st.booleans(), out_size=st.sampled_from(OUT_SIZES))
def test_handlers_are_told_the_same_and_peers_receive_the_same(
    old: tuple[ModuleType, ModuleType], script: list[Step], forgetful: bool, out_size: int
) -> None:
    check(old, script, forgetful, out_size)


def random_scripts(count: int, seed: int) -> Iterator[tuple[list[Step], bool, int]]:
    source = random.Random(seed)

    def chunk() -> bytes:
        return b"".join(source.choices(PIECES, k=source.randrange(12)))

    while count > 0:
        length = source.randrange(5, 50)
        count -= length
        script = [
            Step(source.choice(words), source.randrange(256), source.randrange(2**16), chunk()) for _ in range(length)
        ]
        yield script, bool(source.randrange(2)), source.choice(OUT_SIZES)


@pytest.mark.timeout(3600)
def test_long_run_of_random_conversations(old: tuple[ModuleType, ModuleType]) -> None:
    count, seed = int(os.environ.get("CYNCORE_DIFF_STEPS", "2000")), int(os.environ.get("CYNCORE_DIFF_SEED", "0"))
    for number, case in enumerate(random_scripts(count, seed)):
        try:
            check(old, *case)
        except BaseException as error:
            raise AssertionError(f"script {number} of seed {seed}: {case}") from error
