# SPDX-License-Identifier: MIT
"""What a class defines is read again when that has changed, and not for what else a program keeps in its classes."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

import cyncore
from cyncore import Loop
from tests.support.loops import ends_by_itself, every_backend
from tests.support.peers import Peers, Recorder, poll_until
from tests.support.script import run_script

MANY = 2000  # changes: from Python 3.12 on a class gets no version tags after 1,000


def make(peers: Peers, loop: Loop) -> tuple[type[Any], type[Any], Any, socket.socket]:
    """A base and a class of the program's, and a channel of that class."""

    class Base(Recorder):
        requests = 0

    class Server(Base):
        def handle_read(self) -> None:
            type(self).requests += 1
            Base.requests += 1
            self.seen.append("read")
            self.recv(1)

    channel, far = peers.channel(Server, loop.map)
    return Base, Server, channel, far


def turn(loop: Loop, far: socket.socket, times: int = 1) -> None:
    for _ in range(times):
        far.send(b"x")
        assert loop.poll(5) == 1


@pytest.mark.skipif(not cyncore.native, reason="the engine in plain Python looks at each use")
def test_class_that_counts_its_requests_is_not_read_again(loop: Loop, peers: Peers) -> None:
    looked: list[str] = []

    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            if name == "__get__":  # of the value of `closing`: whoever reads the class asks whether it is computed
                looked.append(name)
            return type.__getattribute__(cls, name)

    class No(metaclass=Meta):
        def __bool__(self) -> bool:
            return False

    class Server(Recorder):
        requests = 0
        closing = No()  # type: ignore[assignment]

        def handle_read(self) -> None:
            Server.requests += 1
            self.recv(1)

    _, far = peers.channel(Server, loop.map)
    turn(loop, far, 10)
    before = len(looked)
    assert before > 0
    turn(loop, far, MANY)
    assert Server.requests == MANY + 10
    assert len(looked) == before


def own_read(self: Any) -> None:
    self.seen.append("own")
    self.recv(1)


def put(cls: Any, name: str, value: Any) -> None:
    setattr(cls, name, value)


def put_as_type(cls: Any, name: str, value: Any) -> None:
    type.__setattr__(cls, name, value)


@pytest.mark.parametrize("changes", [0, MANY])
@pytest.mark.parametrize("how", [put, put_as_type])
@pytest.mark.parametrize("where", ["class", "base"])
def test_handler_put_into_a_class_is_called_at_the_next_event(
    loop: Loop, peers: Peers, where: str, how: Callable[[Any, str, Any], None], changes: int
) -> None:
    base, kind, channel, far = make(peers, loop)
    turn(loop, far, 3)
    for number in range(changes):
        kind.other = base.other = number
        if number % 50 == 0:
            turn(loop, far)
    if where == "base":
        del kind.handle_read
        turn_of = base
    else:
        turn_of = kind
    how(turn_of, "handle_read", own_read)
    channel.seen.clear()
    turn(loop, far)
    assert channel.seen == ["own"]


@pytest.mark.parametrize("changes", [0, MANY])
@pytest.mark.parametrize("where", ["class", "base"])
def test_predicate_put_into_a_class_counts_at_the_next_event_and_no_more_when_deleted(
    loop: Loop, peers: Peers, where: str, changes: int
) -> None:
    base, kind, channel, far = make(peers, loop)
    turn(loop, far)
    for number in range(changes):
        kind.other = number
        if number % 50 == 0:
            turn(loop, far)
    holder = base if where == "base" else kind
    holder.readable = lambda self: False
    far.send(b"x")
    assert loop.poll() == 0
    del holder.readable
    channel.seen.clear()
    assert loop.poll(5) == 1
    assert channel.seen == ["read"]


def test_predicate_put_into_a_class_by_a_handler_counts_before_the_loop_waits(loop: Loop, peers: Peers) -> None:
    _, kind, target, _ = make(peers, loop)
    late: list[str] = []

    class Source(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            kind.handle_write = lambda self: (self.seen.append("write"), loop.stop())

    _, far = peers.channel(Source, loop.map)
    loop.poll()
    loop.call_later(20, lambda: (late.append("waited in vain"), loop.stop()))
    loop.call_soon(far.send, b"x")
    loop.run()
    assert (target.seen, late) == (["write"], [])


@every_backend
def test_a_handler_put_into_a_class_just_before_the_wait_is_called(loop: Loop, peers: Peers) -> None:
    class Plain(Recorder):
        pass

    def handle_write(self: Plain) -> None:
        self.seen.append("write")
        del Plain.handle_write  # type: ignore[misc]
        loop.stop()

    channel, _ = peers.channel(Plain, loop.map)
    loop.call_soon(loop.call_soon, setattr, Plain, "handle_write", handle_write)
    with ends_by_itself(loop):
        loop.run()
    assert channel.seen == ["write"]


@pytest.mark.parametrize("changes", [0, MANY])
def test_other_bases_count_at_the_next_event(loop: Loop, peers: Peers, changes: int) -> None:
    class First(Recorder):
        pass

    class Second(Recorder):
        handle_read = own_read

    class Kind(First):
        pass

    channel, far = peers.channel(Kind, loop.map, size=1)
    turn(loop, far)
    for number in range(changes):
        Kind.other = number  # type: ignore[attr-defined]
        if number % 50 == 0:
            turn(loop, far)
    Kind.__bases__ = (Second,)
    channel.seen.clear()
    turn(loop, far)
    assert channel.seen == ["own"]


@pytest.mark.parametrize("changes", [0, MANY])
def test_other_class_of_a_channel_counts_at_the_next_event(loop: Loop, peers: Peers, changes: int) -> None:
    class Other(Recorder):
        def handle_read(self) -> None:
            own_read(self)

        def readable(self) -> bool:
            return self.size < 5000

    _, kind, channel, far = make(peers, loop)
    turn(loop, far)
    for number in range(changes):
        kind.other = Other.other = number  # type: ignore[attr-defined]
    channel.__class__ = Other
    channel.seen.clear()
    turn(loop, far)
    assert channel.seen == ["own"]
    channel.size = 5000
    far.send(b"x")
    assert loop.poll() == 0
    channel.__class__ = kind
    assert loop.poll(5) == 1


def test_name_under_which_something_was_put_away_is_followed(loop: Loop, peers: Peers) -> None:
    """A name that is made anew at each use has a hash that nobody has asked for yet."""
    _, kind, channel, far = make(peers, loop)
    turn(loop, far)
    setattr(kind, b"handle_read".decode(), own_read)
    channel.seen.clear()
    turn(loop, far)
    assert channel.seen == ["own"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no dict watchers before")
def test_class_is_followed_where_all_dict_watchers_are_taken() -> None:
    pytest.importorskip("_testcapi")
    script = f"""
import _testcapi, socket
taken = []
try:
    while True:
        taken.append(_testcapi.add_dict_watcher(0))
except RuntimeError:
    pass
from cyncore import Loop, dispatcher
seen = []
class Kind(dispatcher):
    requests = 0
    def handle_read(self):
        Kind.requests += 1
        seen.append("read")
        self.recv(1)
def own(self):
    seen.append("own")
    self.recv(1)
loop = Loop()
near, far = socket.socketpair()
channel = Kind(near, loop.map)
def turn():
    far.send(b"x")
    return loop.poll(0.2)
for _ in range({MANY}):
    assert turn() == 1
Kind.handle_read = own
assert turn() == 1
print(seen[-1], Kind.requests)
Kind.readable = lambda self: False
print(turn())
del Kind.readable
print(loop.poll(5))
loop.map.pop(channel._fileno)
print(loop.poll(0))
near.close(), far.close()
for watcher in taken:
    _testcapi.clear_dict_watcher(watcher)
"""
    assert run_script(script).split() == ["own", str(MANY), "0", "1", "0"]


@every_backend
def test_another_class_brings_its_handlers(loop: Loop, peers: Peers) -> None:
    class First(Recorder):
        def handle_read(self) -> None:
            self.seen.append(f"first {self.recv(1)!r}")
            self.__class__ = Second  # type: ignore[assignment]

    class Second(Recorder):
        def handle_read(self) -> None:
            self.seen.append(f"second {self.recv(1)!r}")

    channel, far = peers.channel(First, loop.map)
    far.send(b"xyz")
    poll_until(loop, lambda: len(channel.seen) == 3)
    assert channel.seen == ["first b'x'", "second b'y'", "second b'z'"]


@every_backend
def test_another_class_that_handles_writing_is_told_of_room(loop: Loop, peers: Peers) -> None:
    class Plain(Recorder): ...

    class Writer(Recorder):
        def handle_write(self) -> None:
            self.seen.append("write")

    channel, _ = peers.channel(Plain, loop.map)
    loop.poll()
    channel.__class__ = Writer
    poll_until(loop, lambda: "write" in channel.seen, 100)
