# SPDX-License-Identifier: MIT
"""A script of operations on a loop and its channels, run over either engine, and the trace that it leaves.

Both engines are in this process: the compiled one is the package as it is, and the one in plain Python a second copy of
it, loaded under another name with ``CYNCORE_BACKEND=python``.

By design the engines differ in how often, and in which order, they ask predicates: the one in plain Python asks
everyone at every tick. So the predicates here leave no trace and raise nothing.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any
from unittest import mock

import cyncore

Op = tuple[Any, ...]

_IN_PYTHON = "cyncore_in_python"


def engine_in_python() -> ModuleType:
    """The package over the engine in plain Python."""
    if _IN_PYTHON not in sys.modules:
        spec = spec_from_file_location(_IN_PYTHON, cyncore.__file__, submodule_search_locations=list(cyncore.__path__))
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[_IN_PYTHON] = module_from_spec(spec)
        with mock.patch.dict(os.environ, {"CYNCORE_BACKEND": "python"}):
            spec.loader.exec_module(module)
            module.asynchat  # noqa: B018 - imports it
    return sys.modules[_IN_PYTHON]


class Told:
    """Tells its world what it is told, and does what the script has for that."""

    world: World
    name: str
    reactions: dict[str, list[Op]]

    def told(self, what: str, *more: object) -> None:
        self.world.tell(self.name, what, *more)
        self.world.dispatched(self.name)
        before, self.world.event = self.world.event, what
        try:
            for op in self.reactions.pop(what, ()):  # once, so that every script ends
                self.world.do(op, self)
        finally:
            self.world.event = before

    def handle_close(self) -> None:
        self.told("close")
        self.close()

    def handle_error(self) -> None:
        self.told("error", self.world.described(sys.exc_info()[1]))
        self.close()

    def handle_expt(self) -> None:
        self.told("urgent")

    def handle_connect(self) -> None:
        self.told("connect")

    def handle_accepted(self, sock: socket.socket, addr: object) -> None:
        sock.close()
        self.told("accepted")

    def log_info(self, message: object, type: str = "info") -> None:
        self.told("log", type, self.world.normal(str(message)))

    def close(self) -> None: ...


class Reads:
    def handle_read(self: Any) -> None:
        self.told("read")
        self.world.tell(self.name, "got", self.recv(3))


class Writes(Reads):
    def handle_write(self: Any) -> None:
        self.told("write")


class Asked(Writes):
    wants_read = True
    wants_write = False

    def readable(self) -> bool:
        return self.wants_read

    def writable(self) -> bool:
        return self.wants_write


class Talks:
    def collect_incoming_data(self: Any, data: bytes) -> None:
        self.told("collect", bytes(data))

    def found_terminator(self: Any) -> None:
        self.told("found")


class Foreign(Told):
    """Behaves like a channel, and is none."""

    connected, accepting, connecting, closing = True, False, False, False
    wants_read, wants_write = True, False

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def readable(self) -> bool:
        return self.wants_read

    def writable(self) -> bool:
        return self.wants_write

    def handle_read_event(self) -> None:
        self.told("read event")
        data = self.socket.recv(3)
        self.world.tell(self.name, "got", data)
        if not data:
            self.handle_close()

    def handle_write_event(self) -> None:
        self.told("write event")

    def handle_expt_event(self) -> None:
        self.told("urgent event")

    def close(self) -> None:
        if self.world.map.get(self.socket.fileno()) is self:
            del self.world.map[self.socket.fileno()]
        self.socket.close()

    def __repr__(self) -> str:
        return f"<{self.name}>"


KINDS = ("plain", "quiet", "writer", "asked", "buffered", "chat", "listener", "foreign")


def kinds_of(engine: ModuleType) -> dict[str, type[Any]]:
    """The classes of channels that scripts make, over one engine."""
    dispatcher, buffered, chat = engine.dispatcher, engine.dispatcher_with_send, engine.asynchat.async_chat
    bases: dict[str, tuple[type, ...]] = {
        "plain": (Reads, Told, dispatcher),
        "quiet": (Told, dispatcher),
        "writer": (Writes, Told, dispatcher),
        "asked": (Asked, Told, dispatcher),
        "buffered": (Reads, Told, buffered),
        "chat": (Talks, Told, chat),
        "listener": (Told, dispatcher),
    }
    made = {name: type(name.title(), kinds, {"close": kinds[-1].close}) for name, kinds in bases.items()}  # type: ignore[attr-defined]
    return {**made, "foreign": Foreign}


ERRORS: dict[str, Callable[[ModuleType], BaseException]] = {
    "value": lambda engine: ValueError("wrong"),
    "reset": lambda engine: ConnectionResetError(errno.ECONNRESET, "reset"),
    "input": lambda engine: OSError(errno.EIO, "broken"),
    "again": lambda engine: BlockingIOError(errno.EAGAIN, "again"),
    "exit": lambda engine: engine.ExitNow("exit"),
    "interrupt": lambda engine: KeyboardInterrupt("interrupt"),
}


Wrong = Callable[[Any, Any, Any], object]

# Calls whose arguments are to be refused, each given the engine, the loop and a channel.
WRONG: dict[str, Wrong] = {
    "loop: no map": lambda engine, loop, channel: engine.Loop(5),
    "loop: map with a loop": lambda engine, loop, channel: engine.Loop(loop.map),
    "loop: no backend": lambda engine, loop, channel: engine.Loop(backend="abacus"),
    "loop: backend of a wrong type": lambda engine, loop, channel: engine.Loop(backend=5),
    "loop: again": lambda engine, loop, channel: loop.__init__(),
    "of: no map": lambda engine, loop, channel: engine.Loop.of(5),
    "of: None": lambda engine, loop, channel: engine.Loop.of(None),
    "poll: text": lambda engine, loop, channel: loop.poll("x"),
    "poll: below zero": lambda engine, loop, channel: loop.poll(-1),
    "poll: no number": lambda engine, loop, channel: loop.poll(float("nan")),
    "run_map: text": lambda engine, loop, channel: loop.run_map("x"),
    "run_map: below zero": lambda engine, loop, channel: loop.run_map(-0.5),
    "run_map: count is text": lambda engine, loop, channel: loop.run_map(0, "x"),
    "run_map: no count": lambda engine, loop, channel: loop.run_map(0, 0),
    "run_map: count below zero": lambda engine, loop, channel: loop.run_map(0, -1),
    "call_soon": lambda engine, loop, channel: loop.call_soon(5),
    "call_soon_threadsafe": lambda engine, loop, channel: loop.call_soon_threadsafe(None),
    "call_later: callback": lambda engine, loop, channel: loop.call_later(1, 5),
    "call_later: text": lambda engine, loop, channel: loop.call_later("x", print),
    "call_later: None": lambda engine, loop, channel: loop.call_later(None, print),
    "call_later: below zero": lambda engine, loop, channel: loop.call_later(-1, print),
    "call_later: endless": lambda engine, loop, channel: loop.call_later(float("inf"), print),
    "call_later: beyond all floats": lambda engine, loop, channel: loop.call_later(10**400, print),
    "call_later: no number": lambda engine, loop, channel: loop.call_later(float("nan"), print),
    "call_at: text": lambda engine, loop, channel: loop.call_at("x", print),
    "call_at: endless": lambda engine, loop, channel: loop.call_at(float("inf"), print),
    "call_at: beyond all clocks": lambda engine, loop, channel: loop.call_at(1e10, print),
    "call_at: callback": lambda engine, loop, channel: loop.call_at(1, "x"),
    "handle": lambda engine, loop, channel: engine.Handle(),
    "timer handle": lambda engine, loop, channel: engine.TimerHandle(),
    "recv: text": lambda engine, loop, channel: channel.recv("x"),
    "recv: below zero": lambda engine, loop, channel: channel.recv(-1),
    "send: text": lambda engine, loop, channel: channel.send("x"),
    "send: a number": lambda engine, loop, channel: channel.send(5),
    "add_channel: no map": lambda engine, loop, channel: channel.add_channel(5),
    "add_channel: another map": lambda engine, loop, channel: channel.add_channel({}),
    "add_channel: _map is none": lambda engine, loop, channel: _with(channel, "_map", 5, channel.add_channel),
    "add_channel: no _map": lambda engine, loop, channel: _with(channel, "_map", None, channel.add_channel),
    "set_socket: no socket": lambda engine, loop, channel: _with(
        channel, "socket", None, lambda: channel.set_socket(5)
    ),
    "accept": lambda engine, loop, channel: None if channel.accepting else channel.accept(),
    "recv: no socket": lambda engine, loop, channel: engine.Channel().recv(1),
    "send: no socket": lambda engine, loop, channel: engine.Channel().send(b"x"),
    "accept: no socket": lambda engine, loop, channel: engine.Channel().accept(),
    "add_channel: nothing": lambda engine, loop, channel: engine.Channel().add_channel(),
    "add_channel: no descriptor": lambda engine, loop, channel: engine.Channel().add_channel({}),
    "add_channel: closed": lambda engine, loop, channel: _closed(engine).add_channel(loop.map),
    "dispatcher: closed": lambda engine, loop, channel: engine.dispatcher(_closed_socket(), loop.map),
    "run: inside": lambda engine, loop, channel: loop.run() if loop.running else None,
    "close: inside": lambda engine, loop, channel: loop.close() if loop.running else None,
    "out_buffer": lambda engine, loop, channel: setattr(channel, "out_buffer", 5),
}


def _with(channel: Any, name: str, value: object, call: Callable[[], object]) -> object:
    """What ``call`` does while an attribute of the channel has that value."""
    before = getattr(channel, name)
    setattr(channel, name, value)
    try:
        return call()
    finally:
        setattr(channel, name, before)


def _closed_socket() -> socket.socket:
    sock = socket.socket()
    sock.close()
    return sock


def _closed(engine: ModuleType) -> Any:
    """A channel whose descriptor was closed behind its back."""
    made = engine.dispatcher(None, {})
    with socket.socket() as sock:
        made.socket = sock
        made._fileno = sock.fileno()
    return made


class Failures:
    """What fails in a call of a loop is told to its world.

    The loop knows its world, and its class does not: CPython 3.13 without the GIL may keep classes for ever.
    """

    world: World

    def handle_exception(self, error: BaseException, handle: object) -> None:
        self.world.tell("loop", "failed", self.world.described(error))


class World:
    """A loop, its channels and their peers, over one engine. ``order``: the `ticks` of another, to be followed."""

    def __init__(self, engine: ModuleType, order: list[list[str]] | None = None) -> None:
        self.engine = engine
        self.kinds = kinds_of(engine)
        self.trace: list[object] = []
        self.map: dict[Any, Any] = {}
        self.names: dict[int, str] = {}  # of descriptors, also of those that are closed by now
        self.channels: list[Any] = []
        self.peers: list[list[socket.socket]] = []
        self.handles: list[Any] = []
        self.ticks: list[list[str]] = []  # for each tick, who was told of events, in that order
        self._inside: list[int] = []  # the ticks in progress
        self.event = ""  # whose handler does what is done
        self._stopped = False  # by a handler of the tick in progress
        loop: Any = type("Loop", (Failures, engine.Loop), {})
        self.loop = loop(self.map, backend=None if engine.native else "python")
        self.loop.world = self
        if order is not None:
            self._follow(order)

    def _follow(self, order: list[list[str]]) -> None:
        """Descriptors become ready in any order. Has the engine in plain Python see them in that of the other one."""
        wait = self.loop._poller

        def ordered(wants: dict[int, int], timeout: float | None) -> dict[int, int]:
            first = order[self._inside[-1]] if self._inside and self._inside[-1] < len(order) else []
            ready: dict[int, int] = wait(wants, timeout)
            last = len(first)
            return dict(sorted(ready.items(), key=lambda item: _place(first, self._owner(item[0]), last)))

        self.loop._poller = ordered

    def _owner(self, fd: int) -> str:
        return getattr(self.map.get(fd), "name", "")

    # The trace

    def tell(self, *what: object) -> None:
        self.trace.append(what)

    def dispatched(self, name: str) -> None:
        if self._inside:
            self.ticks[self._inside[-1]].append(name)

    def described(self, error: BaseException | None) -> str:
        return f"{type(error).__name__}: {self.normal(str(error))}"

    def normal(self, text: str) -> str:
        """Without what differs between two runs: addresses, descriptors; and without the names of the engines."""
        text = re.sub(r"0x[0-9a-f]+", "0x", text)
        text = re.sub(r"\bfd (\d+)\b", lambda found: f"fd of {self.names.get(int(found[1]), '?')}", text)
        text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", text)
        # By design: each engine has pollers of its own, and counts the channels when it takes them over.
        text = re.sub(r"there are: .*", "there are: some", text)
        text = re.sub(r"<cyncore\.Loop \w+ \d+ channels", "<cyncore.Loop channels", text)
        text = re.sub(r"cyncore(_in_python\._python|\._native)\.", "cyncore.engine.", text)
        return text.replace(f"the {self.loop.backend} backend", "the backend")

    def attempt(self, what: object, call: Callable[[], object]) -> None:
        try:
            result = call()
        except BaseException as error:  # whatever leaves it is what is compared
            self.tell(what, self.described(error))
        else:
            known = isinstance(result, (int, bytes, str, type(None)))
            self.tell(what, result if known else type(result).__name__)

    def state(self) -> object:
        found = []
        for channel in self.channels:
            fd = channel.socket.fileno()
            found.append(
                (
                    *(bool(getattr(channel, name)) for name in ("connected", "accepting", "connecting", "closing")),
                    self.map.get(fd) is channel,
                    getattr(channel, "_fileno", 0) is None,
                    bytes(getattr(channel, "out_buffer", b"")),
                )
            )
        return found, len(self.map), self.loop.running, self.loop.closed

    # The script

    def run(self, script: list[Op]) -> None:
        handler = _Records(self)
        logger = logging.getLogger("cyncore")
        logger.addHandler(handler)
        try:
            for op in script:
                try:
                    self.do(op)
                except BaseException as error:
                    self.tell("left", op[0], self.described(error))
                self.tell(self.state())
        finally:
            logger.removeHandler(handler)

    def do(self, op: Op, me: Any = None) -> None:
        """``me``: the channel in whose handler that is done."""
        getattr(self, f"do_{op[0]}")(me, *op[1:])

    def pick(self, at: int, me: Any) -> Any:
        """A channel, by its place; -1: the one in whose handler this is, else the first."""
        if at < 0 and me is not None:
            return me
        return self.channels[at % len(self.channels)] if self.channels else None

    def do_make(self, me: Any, kind: str, reactions: dict[str, list[Op]]) -> None:
        if len(self.channels) >= 5:
            return
        name = f"{kind} {len(self.channels)}"
        chosen: Any = self.kinds[kind]
        made = chosen.__new__(chosen)
        made.world, made.name, made.reactions = self, name, dict(reactions)
        if kind == "listener":
            self.engine.dispatcher.__init__(made, None, self.map)
            made.create_socket()
            made.bind(("127.0.0.1", 0))
            made.listen(20)
            self.peers.append([])
        else:
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            ours.setblocking(False)
            self.peers.append([theirs])
            if kind == "foreign":
                made.__init__(ours)
                self.map[ours.fileno()] = made
            else:
                made.__init__(ours, self.map)
        if kind == "chat":
            made.set_terminator(b"\n")
        made.told_fd = made.socket.fileno()
        self.names[made.told_fd] = name
        self.channels.append(made)

    def do_tick(self, me: Any, how: str) -> None:
        if self._stopped:
            return  # whether a tick within a stopped one delivers an event depends on when the wake-up is seen
        self.ticks.append([])
        self._inside.append(len(self.ticks) - 1)
        try:
            if how == "poll":
                self.attempt(how, self.loop.poll)
            else:
                self.attempt(how, lambda: self.loop.run_map(0, 1))
        finally:
            self._inside.pop()
            self._stopped = self._stopped and bool(self._inside)

    def do_peer(self, me: Any, at: int, what: str) -> None:
        channel = self.pick(at, me)
        if channel is None:
            return
        peers = self.peers[self.channels.index(channel)]
        if channel.name.startswith("listener"):
            if what == "send" and channel.socket.fileno() >= 0:
                peers.append(socket.create_connection(channel.socket.getsockname()))
            return
        peer = peers[0]
        if peer.fileno() < 0:
            return
        if what == "close":
            peer.close()
            return
        actions: dict[str, Callable[[], object]] = {
            "send": lambda: peer.send(b"ab\ncd\nef"),
            "end": lambda: peer.shutdown(socket.SHUT_WR),
            "take": lambda: peer.recv(1 << 20),
        }
        self.attempt((channel.name, "peer", what), actions[what])

    def do_send(self, me: Any, at: int, data: bytes) -> None:
        channel = self.pick(at, me)
        if channel is not None and not channel.name.startswith(("foreign", "listener")):
            name = "push" if channel.name.startswith("chat") else "send"
            self.attempt((channel.name, name), lambda: getattr(channel, name)(data))

    def do_call(self, me: Any, at: int, method: str) -> None:
        channel = self.pick(at, me)
        if channel is not None and hasattr(channel, method):
            self.attempt((channel.name, method), getattr(channel, method))

    def do_set(self, me: Any, at: int, name: str, value: bool) -> None:
        channel = self.pick(at, me)
        if channel is not None:
            setattr(channel, name, value)

    def do_put(self, me: Any, at: int, key: Any) -> None:
        """Into the map, by hand. None: under its descriptor."""
        channel = self.pick(at, me)
        if self.event == "error":
            return  # by design: the engine in plain Python reads the map again after it has asked, and takes it over
        if channel is not None:
            key = channel.socket.fileno() if key is None else key
            if key != -1 or channel.socket.fileno() >= 0:
                self.map[key] = channel

    def do_take(self, me: Any, at: int) -> None:
        """Out of the map, by hand."""
        channel = self.pick(at, me)
        if channel is not None:
            self.map.pop(channel.socket.fileno(), None)

    def do_later(self, me: Any, how: str, ops: list[Op]) -> None:
        number = len(self.handles)
        loop = self.loop
        if self._inside and how == "past":
            return  # the compiled engine has a timer of a call's for the past run before others that are due
        ways: dict[str, Callable[[Callable[[], None]], Any]] = {
            "soon": loop.call_soon,
            "threadsafe": loop.call_soon_threadsafe,
            "later": lambda call: loop.call_later(0, call),
            "past": lambda call: loop.call_at(1 / (number + 1), call),
            "never": lambda call: loop.call_later(1000, call),
        }

        def call() -> None:
            self.tell("call", number)
            for op in ops:
                self.do(op)

        self.handles.append(ways[how](call))

    def do_cancel(self, me: Any, at: int) -> None:
        if self.handles:
            handle = self.handles[at % len(self.handles)]
            handle.cancel()
            self.tell("cancelled", handle.cancelled(), self.normal(repr(handle)))

    def do_loop(self, me: Any, method: str) -> None:
        if method == "stop" and self._inside:
            if me is None:
                return  # from a call: as with a tick within a stopped one
            self._stopped = True
        self.attempt(method, getattr(self.loop, method))

    def do_raise(self, me: Any, what: str) -> None:
        raise ERRORS[what](self.engine)

    def do_wrong(self, me: Any, name: str) -> None:
        """Something with an argument that is to be refused."""
        channel = self.pick(0, me)
        if channel is not None and not isinstance(channel, Foreign):
            self.attempt(("wrong", name), lambda: WRONG[name](self.engine, self.loop, channel))

    def close(self) -> None:
        if not self.loop.running:
            self.loop.close()
        for channel in self.channels:
            channel.reactions.clear()
            channel.socket.close()
        for peers in self.peers:
            for peer in peers:
                peer.close()
        self.map.clear()


class _Records(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def emit(self, record: logging.LogRecord) -> None:
        self.world.tell("log", record.levelname, self.world.normal(record.getMessage()))


def _place(names: list[str], name: str, last: int) -> int:
    return names.index(name) if name in names else last
