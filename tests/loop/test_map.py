# SPDX-License-Identifier: MIT
"""Maps: any dict, made by anybody, holding anything, and changed by hand at any time."""

from __future__ import annotations

import socket
from collections import OrderedDict, UserDict
from typing import Any

import pytest

from cyncore import asyncore
from tests.support.peers import Peers, Recorder


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
