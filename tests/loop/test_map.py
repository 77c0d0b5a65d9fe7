# SPDX-License-Identifier: MIT
"""Maps: any dict, made by anybody, holding anything, and changed by hand at any time."""

from __future__ import annotations

import collections
import socket
import sys
from collections import OrderedDict, UserDict
from typing import Any

import pytest

from cyncore import Loop, asyncore, dispatcher
from tests.support.loops import ends_by_itself, every_backend
from tests.support.peers import Peers, Recorder, poll_until
from tests.support.script import run_script


def turn(map: Any, rounds: int = 3) -> None:
    """Some rounds of the loop that do not wait."""
    for _ in range(rounds):
        asyncore.poll(0.0, map)


class Foreign:
    """Looks like a dispatcher to the loop, and is none."""

    accepting = False

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.got = b""
        self.calls: list[str] = []

    def fileno(self) -> int:
        return self.sock.fileno()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        self.got += self.sock.recv(100)

    def handle_write_event(self) -> None:
        self.calls.append("write")

    def handle_expt_event(self) -> None:
        self.calls.append("expt")

    def handle_close(self) -> None:
        self.calls.append("close")

    def handle_error(self) -> None:
        self.calls.append("error")

    def close(self) -> None:
        self.sock.close()


def test_plain_dict_is_a_map(peers: Peers) -> None:
    map: dict[int, Any] = {}
    channel, far = peers.channel(Recorder, map)
    assert map == {channel.socket.fileno(): channel}
    far.send(b"data")
    asyncore.loop(timeout=5, map=map, count=1)
    assert channel.got == b"data"
    asyncore.close_all(map)


def test_dict_subclass_is_a_map(peers: Peers) -> None:
    map: OrderedDict[int, Any] = OrderedDict()
    channel, far = peers.channel(Recorder, map)
    far.send(b"data")
    turn(map)
    assert channel.got == b"data"
    asyncore.close_all(map)


def test_map_that_is_no_dict_serves_too(peers: Peers) -> None:
    map: UserDict[int, Any] = UserDict()
    channel, far = peers.channel(Recorder, map)
    far.send(b"data")
    turn(map)
    assert channel.got == b"data"
    asyncore.close_all(map)


class Mapping:
    """The least that a map must be."""

    def __init__(self) -> None:
        self.entries: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def __setitem__(self, key: int, value: Any) -> None:
        self.entries[key] = value

    def __getitem__(self, key: int) -> Any:
        return self.entries[key]

    def __delitem__(self, key: int) -> None:
        del self.entries[key]

    def get(self, key: int, default: Any = None) -> Any:
        return self.entries.get(key, default)

    def items(self) -> list[tuple[int, Any]]:
        return list(self.entries.items())


def test_any_mapping_will_do(peers: Peers) -> None:
    mine = Mapping()
    with Loop(mine) as loop:
        channel, peer = peers.channel(Recorder, mine)
        peer.send(b"x")
        assert loop.poll(5) == 1
        mine[channel.socket.fileno()] = thing = Foreign(channel.socket)
        peer.send(b"y")
        assert loop.poll(5) == 1
        del mine[channel.socket.fileno()]
        peer.send(b"z")
        assert loop.poll() == 0
        assert (channel.got, thing.got) == (b"x", b"y")


def test_map_that_changes_itself_when_it_is_asked_gets_its_events(peers: Peers) -> None:
    class Growing(collections.UserDict[int, Any]):
        def get(self, key: int, default: Any = None) -> Any:
            if grows:
                grows.pop()
                for _ in range(40):  # the loop's own table moves
                    kept.append(dispatcher(peers.pair()[0], self))
            return super().get(key, default)

    class Reader(dispatcher):
        def handle_read(self) -> None:
            got.append(self.recv(10))

    grows: list[int] = []
    kept: list[Any] = []
    got: list[bytes] = []
    served: Any = Growing()
    loop = Loop(served)
    channel, far = peers.channel(Reader, served)
    far.sendall(b"data")
    grows.append(1)
    poll_until(loop, lambda: got)
    assert got == [b"data"]
    for each in [channel, *kept]:
        each.close()
    loop.close()


def test_empty_map_given_is_not_the_default_one(peers: Peers) -> None:
    channel, far = peers.channel(Recorder, None)
    far.send(b"data")
    asyncore.loop(timeout=5, map={}, count=3)
    asyncore.poll(5, {})
    assert channel.got == b""
    asyncore.loop(timeout=5, count=1)
    assert channel.got == b"data"
    channel.close()


def test_maps_do_not_see_each_other(peers: Peers) -> None:
    one: dict[int, Any] = {}
    two: dict[int, Any] = {}
    first, far_first = peers.channel(Recorder, one)
    second, far_second = peers.channel(Recorder, two)
    far_first.send(b"1")
    far_second.send(b"2")
    turn(one)
    assert (first.got, second.got) == (b"1", b"")
    turn(two)
    assert second.got == b"2"
    asyncore.close_all(one)
    asyncore.close_all(two)


def test_loop_ends_when_the_map_is_empty(peers: Peers) -> None:
    map: dict[int, Any] = {}
    channel, far = peers.channel(Recorder, map)
    far.close()
    asyncore.loop(map=map)
    assert channel.seen == ["read", "close"]


def test_counted_loop_ends_when_the_map_is_empty() -> None:
    asyncore.loop(timeout=1000, map={}, count=1000)


# Foreign objects


def test_foreign_object_is_served(peers: Peers) -> None:
    near, far = peers.pair()
    foreign = Foreign(near)
    map = {near.fileno(): foreign}
    far.send(b"data")
    turn(map)
    assert (foreign.got, foreign.calls) == (b"data", [])
    far.close()
    turn(map)
    assert foreign.calls[0] == "close"


def test_error_of_a_foreign_object_is_its_own(peers: Peers) -> None:
    class Broken(Foreign):
        def handle_read_event(self) -> None:
            self.sock.recv(1)
            raise ValueError

    near, far = peers.pair()
    broken = Broken(near)
    map: dict[int, Any] = {near.fileno(): broken}
    channel, other = peers.channel(Recorder, map)
    far.send(b"x")
    other.send(b"data")
    turn(map)
    assert (broken.calls, channel.got) == (["error"], b"data")
    channel.close()


def test_foreign_object_without_error_handler_fails_loudly(peers: Peers) -> None:
    class Bare:
        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return False

    near, far = peers.pair()
    far.send(b"x")
    with pytest.raises(AttributeError):
        turn({near.fileno(): Bare()})


@every_backend
@pytest.mark.parametrize("fd", [-1, 70_000, 2**31 - 1])
def test_a_key_that_is_not_open_costs_its_object_only(loop: Loop, peers: Peers, fd: int) -> None:
    sound, far = peers.channel(Recorder, loop.map)
    foreign = loop.map[fd] = Foreign(peers.pair()[0])
    far.send(b"x")
    poll_until(loop, lambda: sound.got == b"x" and fd not in loop.map, 20)
    assert foreign.calls
    far.send(b"y")
    poll_until(loop, lambda: sound.got == b"xy", 20)


# Changed by hand


def test_channel_put_in_by_hand_is_served(peers: Peers) -> None:
    map: dict[int, Any] = {}
    elsewhere: dict[int, Any] = {}
    channel, far = peers.channel(Recorder, elsewhere)
    turn(map)
    elsewhere.clear()
    map[channel.socket.fileno()] = channel
    far.send(b"data")
    turn(map)
    assert channel.got == b"data"
    map.clear()


@pytest.mark.parametrize("how", ["del", "pop", "clear"])
def test_channel_taken_out_by_hand_is_left_alone(peers: Peers, how: str) -> None:
    map: dict[int, Any] = {}
    channel, far = peers.channel(Recorder, map)
    turn(map)
    far.send(b"data")
    if how == "del":
        del map[channel.socket.fileno()]
    elif how == "pop":
        map.pop(channel.socket.fileno())
    else:
        map.clear()
    turn(map)
    assert channel.seen == []
    channel.close()


def test_a_foreign_object_taken_out_by_hand_gets_no_more_events(loop: Loop, peers: Peers) -> None:
    ours, theirs = peers.pair()
    loop.map[ours.fileno()] = thing = Foreign(ours)
    loop.poll()
    del loop.map[ours.fileno()]
    theirs.send(b"x")
    assert loop.poll() == 0
    assert (thing.got, thing.calls) == (b"", [])


@every_backend
@pytest.mark.parametrize("kind", [dict, OrderedDict, UserDict])
def test_a_channel_taken_out_by_hand_is_not_called_in_the_batch(loop: Loop, peers: Peers, kind: Any) -> None:
    class Clearing(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            for fd, other in list(served.items()):
                if other is not self:
                    del served[fd]

    served: Any = kind()
    with Loop(served, backend=loop.backend) as mine:
        made = [peers.channel(Clearing, served) for _ in range(3)]
        for _, far in made:
            far.send(b"x")
        mine.poll(5)
        mine.poll(0)
    assert sorted(channel.got for channel, _ in made) == [b"", b"", b"x"]


def test_channel_put_back_is_served_again(peers: Peers) -> None:
    map: dict[int, Any] = {}
    channel, far = peers.channel(Recorder, map)
    turn(map)
    saved = dict(map)
    map.clear()
    turn(map)
    map.update(saved)
    far.send(b"data")
    turn(map)
    assert channel.got == b"data"
    channel.close()


def test_channel_replaced_by_another_for_the_same_descriptor(peers: Peers) -> None:
    map: dict[int, Any] = {}
    channel, far = peers.channel(Recorder, map)
    turn(map)
    successor = Foreign(channel.socket)
    map[channel.socket.fileno()] = successor
    far.send(b"data")
    turn(map)
    assert (channel.got, successor.got) == (b"", b"data")
    map.clear()


def test_swap_of_as_many_channels_is_seen(peers: Peers) -> None:
    """The map is as long as before: whoever only counts its entries sees no change."""
    map: dict[int, Any] = {}
    channel, far = peers.channel(Recorder, map)
    turn(map)
    near, other = peers.pair()
    del map[channel.socket.fileno()]
    newcomer = Foreign(near)
    map[near.fileno()] = newcomer
    far.send(b"old")
    other.send(b"new")
    turn(map)
    assert (channel.got, newcomer.got) == (b"", b"new")
    map.clear()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this Python has no dict watchers")
def test_a_map_that_cannot_be_watched_is_read_all_the_same() -> None:
    run_script(
        """
import ctypes, socket
signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
ignore = signature(lambda *event: 0)
try:
    while True:
        ctypes.pythonapi.PyDict_AddWatcher(ignore)
except RuntimeError:
    pass  # all of them are taken
from cyncore import Loop, dispatcher

class Reader(dispatcher):
    got = b""
    def handle_read(self):
        self.got += self.recv(10)

loop = Loop()
ours, theirs = socket.socketpair()
channel = Reader(ours, loop.map)
loop.poll(0)
loop.map.clear()
theirs.send(b"x")
assert loop.poll(0.01) == 0 and channel.got == b""
loop.map[ours.fileno()] = channel
assert loop.poll(5) == 1 and channel.got == b"x"
channel.close()
theirs.close()
loop.close()
"""
    )


def test_map_of_a_running_loop_may_be_changed_by_handlers(peers: Peers) -> None:
    map: dict[int, Any] = {}
    near, far_new = peers.pair()
    newcomer = Foreign(near)

    class Changer(Recorder):
        def handle_read(self) -> None:
            super().handle_read()
            map.clear()
            map[near.fileno()] = newcomer

    channels = [peers.channel(Changer, map) for _ in range(10)]
    for _, far in channels:
        far.send(b"x")
    far_new.send(b"data")
    turn(map)
    assert sum(len(channel.seen) for channel, _ in channels) == 1
    assert (newcomer.got, len(map)) == (b"data", 1)
    map.clear()


@pytest.mark.parametrize("act", ["add", "remove", "clear"])
def test_a_handler_may_change_the_map(loop: Loop, peers: Peers, act: str) -> None:
    class Changer(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            if act == "add":
                peers.channel(Recorder, loop.map)
            elif act == "remove":
                del loop.map[self.socket.fileno()]
            else:
                loop.map.clear()

    made = [peers.channel(Changer, loop.map) for _ in range(3)]
    for _, peer in made:
        peer.send(b"x")
    count = loop.poll(5)
    assert count == sum(len(channel.got) for channel, _ in made) == (1 if act == "clear" else 3)
    assert len(loop.map) == {"add": 6, "remove": 0, "clear": 0}[act]


def test_map_may_be_iterated_by_a_handler_that_closes_what_it_finds(peers: Peers) -> None:
    map: dict[int, Any] = {}

    class Closer(Recorder):
        def handle_read(self) -> None:
            super().handle_read()
            for channel in list(map.values()):
                channel.close()

    channels = [peers.channel(Closer, map) for _ in range(10)]
    for _, far in channels:
        far.send(b"x")
    asyncore.loop(5, map=map)
    assert sum(len(channel.seen) for channel, _ in channels) == 1


def test_iteration_of_the_map_survives_a_poll(peers: Peers) -> None:
    map: dict[int, Any] = {}
    for _ in range(5):
        peers.channel(Recorder, map)
    seen = 0
    for _ in map:
        turn(map, 1)
        seen += 1
    assert seen == 5
    asyncore.close_all(map)


def test_closing_a_channel_that_is_not_in_the_map_is_harmless(peers: Peers) -> None:
    map: dict[int, Any] = {}
    channel, _ = peers.channel(Recorder, map)
    map.clear()
    channel.close()
    assert map == {}


def test_channel_may_move_to_another_map(peers: Peers) -> None:
    one: dict[int, Any] = {}
    two: dict[int, Any] = {}
    channel, far = peers.channel(Recorder, one)
    turn(one)
    channel.del_channel()
    channel._map = two
    channel.set_socket(channel.socket)
    assert (one, list(two.values())) == ({}, [channel])
    far.send(b"data")
    turn(two)
    assert channel.got == b"data"
    channel.close()


class Stopping(Recorder):
    """Stops its loop once it was told something."""

    loop: Any = None

    def handle_read(self) -> None:
        Recorder.handle_read(self)
        self.loop.stop()


@every_backend
def test_a_channel_moved_to_another_map_before_its_first_tick_is_served(loop: Loop, peers: Peers) -> None:
    with Loop(backend=loop.backend) as first:
        channel, far = peers.channel(Stopping, first.map)
        channel.del_channel()
        channel.loop, channel._map = loop, loop.map
        channel.set_socket(channel.socket)
        far.send(b"x")
        with ends_by_itself(loop):
            loop.run()
    assert channel.got == b"x"


# close_all


class Dummy:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error, self.closed = error, False

    def close(self) -> None:
        self.closed = True
        if self.error is not None:
            raise self.error


def test_close_all_closes_and_empties(peers: Peers) -> None:
    map: dict[int, Any] = {}
    channels = [peers.channel(Recorder, map)[0] for _ in range(5)]
    asyncore.close_all(map)
    assert map == {}
    assert [channel.socket.fileno() for channel in channels] == [-1] * 5


def test_close_all_takes_the_default_map(peers: Peers) -> None:
    channel, _ = peers.channel(Recorder, None)
    asyncore.close_all()
    assert channel.socket.fileno() == -1


def test_close_all_passes_over_ebadf() -> None:
    map = {1: Dummy(OSError(9, "bad")), 2: Dummy()}
    asyncore.close_all(map)
    assert map == {}


@pytest.mark.parametrize("error", [ValueError("no"), OSError(5, "io")])
def test_close_all_passes_on_errors_unless_told_to_ignore_them(error: Exception) -> None:
    with pytest.raises(type(error)):
        asyncore.close_all({1: Dummy(error)})
    map = {1: Dummy(error), 2: Dummy()}
    dummies = list(map.values())
    asyncore.close_all(map, ignore_all=True)
    assert (map, [dummy.closed for dummy in dummies]) == ({}, [True, True])


def test_close_all_never_ignores_an_exit() -> None:
    with pytest.raises(asyncore.ExitNow):
        asyncore.close_all({1: Dummy(asyncore.ExitNow())}, ignore_all=True)


def test_close_all_may_run_in_a_handler(peers: Peers) -> None:
    map: dict[int, Any] = {}

    class Ender(Recorder):
        def handle_read(self) -> None:
            super().handle_read()
            asyncore.close_all(map)

    channels = [peers.channel(Ender, map) for _ in range(10)]
    for _, far in channels:
        far.send(b"x")
    asyncore.loop(5, map=map)
    assert sum(len(channel.seen) for channel, _ in channels) == 1


def test_channel_that_takes_another_socket_leaves_its_old_place(peers: Peers) -> None:
    map: dict[int, Any] = {}
    channel, _ = peers.channel(Recorder, map)
    turn(map)
    near, far = peers.pair()
    peers.keep(channel.socket)
    channel.set_socket(near)
    assert map == {near.fileno(): channel}
    far.send(b"data")
    turn(map)
    assert channel.got == b"data"
    channel.close()


def test_channel_that_gets_a_descriptor_leaves_the_place_of_those_without_to_who_has_it_now(peers: Peers) -> None:
    map: dict[Any, Any] = {}
    first, second = Recorder(None, map), Recorder(None, map)
    first.add_channel()
    second.add_channel()
    near, _ = peers.pair()
    first.set_socket(near)
    assert map == {None: second, near.fileno(): first}
    first.close()
    second.close()
