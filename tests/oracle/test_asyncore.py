# SPDX-License-Identifier: MIT
"""The old module and ours go through the same random scripts, and each channel must be told the same in the same order.

A script is a list of steps, each of which does one thing to one channel or its peer, or polls. It runs twice, once over
the old module (driven by its ``poll2``) and once over ours, and what every channel was told is compared. `compare` says
which differences docs/design.md explains.

CYNCORE_DIFF_STEPS=100000 runs that many steps of random scripts on top, from the seed CYNCORE_DIFF_SEED (0).
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import select
import socket
import struct
import sys
import termios
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cyncore.asyncore as ours
from tests.support.old import load

pytestmark = pytest.mark.skipif(not hasattr(select, "poll"), reason="the old module is driven by poll(2)")

Step = tuple[str, int, int]
POLLRDHUP = getattr(select, "POLLRDHUP", 0x2000)  # PyPy has no name for it
CHUNK = 5  # bytes a read handler takes, so that one message makes several events
ROUNDS = 400  # polls without rest after which a script counts as spinning
CROSS = frozenset({"close other", "reopen other"})
ACTIONS = (
    "close", "reopen", "close other", "reopen other", "raise", "raise disconnected", "exit", "stop reading",
    "write more",
)  # fmt: skip
ARMABLE = ("read", "write", "close", "connect", "expt", "accepted", "error")
STEPS = (
    "send", "send", "send", "oob", "shut down", "hang up", "reset", "reading", "writing", "writing", "arm", "arm",
    "close", "reopen", "new", "dial", "poll", "poll",
)  # fmt: skip


@pytest.fixture(scope="module")
def old() -> ModuleType:
    try:
        return load("asyncore")
    except ImportError as error:
        pytest.skip(str(error))


def test_the_old_module_is_not_ours(old: ModuleType) -> None:
    assert not issubclass(old.dispatcher, ours.dispatcher)
    assert not issubclass(ours.dispatcher, old.dispatcher)


def unread(sock: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0\0\0\0"))[0])


def arrived(sock: socket.socket, flags: int) -> None:
    """Waits until what the peer did has arrived: even on loopback the kernel may deliver it a moment later."""
    poller = select.poll()
    poller.register(sock, flags)
    assert poller.poll(5000)


class Recorded:
    """What a channel of either module does in this test: note the call, then do what the script armed it with."""

    def prepare(self, world: World, name: str, peer: socket.socket | None, tcp: bool) -> None:
        self.world, self.name, self.peer, self.tcp = world, name, peer, tcp
        self.reading, self.tokens, self.gone = True, 0, False
        self.shut = self.urgent = self.doomed = False  # its peer: shut down, sent urgent data, went with bytes unread
        self.armed: dict[str, str] = {}
        self.victim = ""
        self.children = 0
        world.channels[name] = self
        world.traces[name] = []

    def note(self, *what: Any) -> None:
        self.world.traces[self.name].append(what)

    def acts(self, handler: str) -> None:
        action = self.armed.pop(handler, None)
        if action is not None and not self.gone:
            self.world.act(self, action)

    def readable(self) -> bool:
        return self.reading

    def writable(self) -> bool:
        return self.tokens > 0 or self.connecting  # type: ignore[attr-defined, no-any-return]

    def handle_connect(self) -> None:
        self.note("connect")
        self.acts("connect")

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        self.note("accepted")
        self.children += 1
        self.world.adopt(sock, f"{self.name}/{self.children}", self.world.dialed.pop(addr), True)
        self.acts("accepted")

    def handle_read(self) -> None:
        data = self.recv(CHUNK)  # type: ignore[attr-defined]
        if data:
            self.note("read", data)
        self.acts("read")

    def handle_write(self) -> None:
        self.note("write")
        self.tokens -= 1
        if not self.tcp:  # a reset that a write provokes would come whenever it likes
            self.send(b"w")  # type: ignore[attr-defined]
        self.acts("write")

    def handle_expt(self) -> None:
        self.note("expt", self.socket.recv(1, socket.MSG_OOB))  # type: ignore[attr-defined]
        self.acts("expt")

    def handle_error(self) -> None:
        kind = sys.exc_info()[0]
        assert kind is not None
        self.note("error", kind.__name__)
        self.acts("error")
        if not self.gone:
            self.handle_close()

    def handle_close(self) -> None:
        self.note("close")
        self.acts("close")
        self.close()

    def close(self) -> None:
        if not self.gone:
            self.gone = True
            self.note("closed")
        self.base.close(self)  # type: ignore[attr-defined]


class World:
    """One run of one script over one module."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.map: dict[int, Any] = {}
        self.kind: Any = type("Recording", (Recorded, module.dispatcher), {"base": module.dispatcher})
        self.channels: dict[str, Any] = {}
        self.traces: dict[str, list[Any]] = {"world": []}
        self.sent: dict[str, bytes] = {}
        self.peers: list[socket.socket] = []
        self.dialed: dict[Any, socket.socket] = {}
        self.count = 0
        self.listener = self.kind(None, self.map)
        self.listener.prepare(self, "listener", None, True)
        self.listener.create_socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(50)
        self.address = self.listener.socket.getsockname()

    # Making channels

    def adopt(self, sock: socket.socket, name: str, peer: socket.socket | None, tcp: bool) -> Any:
        channel = self.kind(sock, self.map)
        channel.prepare(self, name, peer, tcp)
        return channel

    def new(self, name: str, tcp: bool) -> None:
        if not tcp:
            near, far = socket.socketpair()
            self.peers.append(far)
            self.adopt(near, name, far, False)
            return
        with socket.create_server(("127.0.0.1", 0)) as server:
            channel = self.kind(None, self.map)
            channel.prepare(self, name, None, True)
            channel.create_socket()
            channel.connect(server.getsockname())
            channel.peer, _ = server.accept()
        arrived(channel.socket, select.POLLOUT)
        self.peers.append(channel.peer)

    def living(self, but: Any) -> list[str]:
        """The channels that a step may pick: not those that `compare` allows to live on in one world only."""
        return sorted(name for name, c in self.channels.items() if c is not but and not c.gone and not c.doomed)

    def fresh(self) -> str:
        self.count += 1
        return str(self.count)

    # What handlers and scripts do

    def act(self, channel: Any, action: str) -> None:
        if action == "close":
            channel.close()
        elif action == "reopen":
            self.reopen(channel)
        elif action == "close other":
            self.channels[channel.victim].close()
        elif action == "reopen other":
            self.reopen(self.channels[channel.victim])
        elif action == "raise":
            raise ValueError("armed")
        elif action == "raise disconnected":
            raise ConnectionResetError(errno.ECONNRESET, "armed")
        elif action == "exit":
            raise self.module.ExitNow("armed")
        elif action == "stop reading":
            channel.reading = False
        elif action == "write more":
            channel.tokens += 2

    def reopen(self, channel: Any) -> None:
        """Closes, and makes another at once: it gets the descriptor number that has just become free."""
        name = channel.name + "+"
        if channel is self.listener or name in self.channels:
            return channel.close()  # type: ignore[no-any-return]
        channel.close()
        self.new(name, tcp=False)
        return None

    def poll(self) -> None:
        """Polls until two rounds in a row told nobody anything."""
        quiet = 0
        for _ in range(ROUNDS):
            before = sum(map(len, self.traces.values()))
            try:
                self.module.poll2(0.0, self.map)
            except self.module.ExitNow:
                self.traces["world"].append(("exit",))
            quiet = quiet + 1 if before == sum(map(len, self.traces.values())) else 0
            if quiet == 2:
                return
        raise AssertionError(f"never quiet: {self.traces}")

    def crossed(self) -> bool:
        """May a handler touch another channel? The order among channels counts then, which no poller promises."""
        return any(CROSS & set(c.armed.values()) for c in self.channels.values() if not c.gone)

    def run(self, script: list[Step]) -> None:
        for word, which, number in script:
            if self.crossed():
                self.poll()  # so that only one channel has something to be told
            self.step(word, which, number)
        self.poll()
        for channel in list(self.channels.values()):
            if not channel.gone:
                channel.reading = True
        self.poll()

    def step(self, word: str, which: int, number: int) -> None:
        living = self.living(self.listener)
        if word == "poll":
            self.poll()
        elif word == "new" or not living:
            if len(living) < 8:
                self.new(self.fresh(), tcp=bool(number & 1))
        elif word == "dial":
            self.do_dial()
        else:
            channel = self.channels[living[which % len(living)]]
            getattr(self, "do_" + word.replace(" ", "_"))(channel, number)

    def do_dial(self) -> None:
        """A client comes to the listener."""
        if not self.listener.gone and len(self.peers) < 40:
            peer = socket.create_connection(self.address)
            self.peers.append(peer)
            self.dialed[peer.getsockname()] = peer
            arrived(self.listener.socket, select.POLLIN)

    def do_send(self, channel: Any, number: int) -> None:
        if self.can_send(channel):
            data = bytes(33 + (number + k) % 90 for k in range(1 + number % 23))
            self.sent[channel.name] = self.sent.get(channel.name, b"") + data
            before = unread(channel.socket)
            channel.peer.send(data)
            arrived(channel.socket, select.POLLIN)
            while unread(channel.socket) < before + len(data) and not channel.urgent:  # behind a mark it counts nothing
                pass

    def can_send(self, channel: Any) -> bool:
        return channel.peer is not None and channel.peer.fileno() >= 0 and not channel.shut

    def do_oob(self, channel: Any, number: int) -> None:
        # Linux keeps one urgent byte, and what becomes of a second is not what this test is about.
        if channel.tcp and self.can_send(channel) and not channel.urgent:
            channel.urgent = True
            channel.peer.send(b"!", socket.MSG_OOB)
            arrived(channel.socket, select.POLLPRI)

    def do_shut_down(self, channel: Any, number: int) -> None:
        if self.can_send(channel):
            channel.shut = True
            channel.peer.shutdown(socket.SHUT_WR)
            arrived(channel.socket, POLLRDHUP)

    def do_hang_up(self, channel: Any, number: int) -> None:
        if channel.peer is not None and channel.peer.fileno() >= 0:
            self.mark(channel)
            channel.peer.close()
            arrived(channel.socket, POLLRDHUP)

    def do_reset(self, channel: Any, number: int) -> None:
        if channel.tcp and channel.peer is not None and channel.peer.fileno() >= 0:
            self.mark(channel)
            channel.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            channel.peer.close()
            arrived(channel.socket, select.POLLERR)

    def mark(self, channel: Any) -> None:
        """The peer goes while bytes are unread: from here on the old module may lose them."""
        if unread(channel.socket) or channel.urgent:
            channel.note("goes with unread")
            channel.doomed = True
            channel.armed.clear()

    def do_reading(self, channel: Any, number: int) -> None:
        channel.reading = bool(number & 1)

    def do_writing(self, channel: Any, number: int) -> None:
        channel.tokens = number % 4

    def do_arm(self, channel: Any, number: int) -> None:
        action = ACTIONS[number % len(ACTIONS)]
        handler = ARMABLE[number // len(ACTIONS) % len(ARMABLE)]
        if handler in ("close", "error") and action.startswith(("raise", "exit")):
            action = "reopen"  # what the two raise is the program's own end
        if handler == "accepted":
            channel = self.listener
            if action == "stop reading":
                action = "close"  # "up to 16 connections an event": ours asks again only after those
        if action in CROSS:
            others = self.living(channel)
            if not others:
                return
            channel.victim = others[number % len(others)]
            self.poll()
        if not channel.gone and not channel.doomed:
            channel.armed[handler] = action

    def do_close(self, channel: Any, number: int) -> None:
        channel.close()

    def do_reopen(self, channel: Any, number: int) -> None:
        self.reopen(channel)

    # The end

    def finish(self) -> None:
        for channel in list(self.channels.values()):
            channel.close()
        for peer in self.peers:
            peer.close()
        assert not self.map


def normal(trace: list[Any]) -> list[Any]:
    """A trace without what may differ for a reason: see `compare`."""
    result: list[Any] = []
    for call in trace:
        if result and result[-1][0] == call[0] == "read":
            # How the kernel cuts a stream into events is its own affair.
            result[-1] = ("read", result[-1][1] + call[1])
        else:
            result.append(call)
        if call == ("closed",):
            # "each step only if the slot is still the same": a closed channel hears nothing more. The old `readwrite`
            # went on with the other flags of the event (write after a close in read, handle_close twice on a hang-up).
            break
    return result


def compare(name: str, old: list[Any], new: list[Any], sent: bytes, urgent: bool) -> None:
    """Fails unless the two traces of a channel agree as far as docs/design.md promises."""
    assert not new or ("closed",) not in new[:-1], f"{name} was called after it had closed: {new}"
    old, new = normal(old), normal(new)
    if ("goes with unread",) not in old:
        assert old == new, name
        return
    # "HUP ... but not while there is something to read": the old module closed at the first hang-up it saw and lost
    # what the handler had not read by then. Ours reads it all, so that from here on it may only read more.
    at = old.index(("goes with unread",))
    assert old[: at + 1] == new[: at + 1], name
    if not urgent:
        said, heard = (b"".join(call[1] for call in trace if call[0] == "read") for trace in (old, new))
        assert heard.startswith(said), name
        assert sent.startswith(heard), name
    kinds = {call[0] for call in new[at + 1 :]}
    assert kinds <= {"read", "write", "close", "closed", "expt"} | {call[0] for call in old[at + 1 :]}, name
    assert new[-1] == ("closed",), f"{name}: the peer has gone, and the channel stays: {new}"


def check(old: ModuleType, script: list[Step]) -> None:
    worlds = World(old), World(ours)
    try:
        for world in worlds:
            world.run(script)
    finally:
        for world in worlds:
            world.finish()
    before, after = worlds
    assert sorted(before.traces) == sorted(after.traces)
    for name, trace in before.traces.items():
        urgent = name in before.channels and before.channels[name].urgent
        compare(name, trace, after.traces[name], after.sent.get(name, b""), urgent)


numbers = st.integers(0, 2**16 - 1)
scripts = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 7), numbers), max_size=40)


@settings(max_examples=200, deadline=None, derandomize=bool(os.environ.get("CI")))
@given(script=scripts)
def test_channels_are_told_the_same_as_by_the_old_module(old: ModuleType, script: list[Step]) -> None:
    check(old, script)


def random_scripts(steps: int, seed: int) -> Iterator[list[Step]]:
    source = random.Random(seed)
    while steps > 0:
        length = source.randrange(10, 80)
        steps -= length
        yield [(source.choice(STEPS), source.randrange(8), source.randrange(2**16)) for _ in range(length)]


@pytest.mark.timeout(3600)
def test_long_run_of_random_scripts(old: ModuleType) -> None:
    steps, seed = int(os.environ.get("CYNCORE_DIFF_STEPS", "2000")), int(os.environ.get("CYNCORE_DIFF_SEED", "0"))
    for number, script in enumerate(random_scripts(steps, seed)):
        try:
            check(old, script)
        except BaseException as error:
            raise AssertionError(f"script {number} of seed {seed}: {script}") from error
