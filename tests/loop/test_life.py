# SPDX-License-Identifier: MIT
"""A loop's own life: how it is made, found, described, closed, and what it refuses."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import cyncore
from cyncore import BACKENDS, Channel, Loop, dispatcher, socket_map
from tests.support.loops import ends_by_itself, every_backend
from tests.support.peers import Peers, Recorder
from tests.support.script import run_script


class Map(dict[int, Any]):
    """A map that can be watched while it is collected."""


class Thing:
    """Something to refer to weakly."""

    def __call__(self, *args: object) -> None: ...


# Made and found


def test_a_loop_has_a_map_of_its_own() -> None:
    with Loop() as one, Loop() as other:
        assert one.map == {}
        assert one.map is not other.map


def test_a_loop_serves_the_map_it_was_given() -> None:
    mine: dict[int, Any] = {}
    with Loop(mine) as loop:
        assert loop.map is mine


def test_a_map_cannot_have_two_loops() -> None:
    mine: dict[int, Any] = {}
    with Loop(mine) as loop, pytest.raises(ValueError, match=repr(loop)):
        Loop(mine)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_can_be_chosen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loop(backend=name) as loop:
        assert loop.backend == name
    monkeypatch.setenv("CYNCORE_BACKEND", name)
    with Loop() as loop:
        assert loop.backend == name


def test_the_best_backend_is_taken_where_the_environment_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYNCORE_BACKEND", "")
    with Loop() as loop:
        assert loop.backend == BACKENDS[0]


def test_compiled_module_that_is_there_and_does_not_load_is_an_error() -> None:
    """A fallback would only hide it: the program would be slow, and nobody would know why."""
    if not cyncore.native:
        pytest.skip("nothing is compiled here, or nobody asks for it")
    compiled = cyncore.dispatcher.__mro__[1].__module__
    run_script(
        f"import sys; sys.modules[{compiled!r}] = None\n"
        "try:\n    import cyncore\n"
        f"except ImportError as error:\n    assert {compiled!r} in str(error), error\n"
        "else:\n    raise AssertionError(cyncore.fallback_reason)\n"
    )


def test_an_unknown_backend_is_named_and_so_are_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=f"'abacus'.*{BACKENDS[0]}"):
        Loop(backend="abacus")
    monkeypatch.setenv("CYNCORE_BACKEND", "slide rule")
    with pytest.raises(ValueError, match="'slide rule'"):
        Loop()


@pytest.mark.parametrize(("value", "debug"), [("1", True), ("0", False), ("", False)])
def test_the_environment_turns_debug_on(value: str, debug: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYNCORE_DEBUG", value)
    with Loop() as loop:
        assert loop.debug is debug


def test_of_finds_the_loop_of_a_map() -> None:
    mine: dict[int, Any] = {}
    with Loop(mine) as loop:
        assert Loop.of(mine) is loop


def test_of_makes_a_loop_for_a_map_that_has_none() -> None:
    mine: dict[int, Any] = {}
    with Loop.of(mine) as loop:
        assert loop.map is mine


def test_of_makes_a_new_loop_once_the_old_one_is_closed() -> None:
    mine: dict[int, Any] = {}
    first = Loop.of(mine)
    first.close()
    with Loop.of(mine) as second:
        assert second is not first
        assert not second.closed


def test_the_default_map_keeps_its_loop() -> None:
    loop = weakref.ref(Loop.of(socket_map))
    gc.collect()
    assert loop() is Loop.of(socket_map)


# Described


def test_repr_tells_backend_and_channels(loop: Loop, peers: Peers) -> None:
    for _ in range(2):
        peers.channel(Recorder, loop.map)
    loop.poll()
    assert repr(loop).startswith(f"<cyncore.Loop {loop.backend} 2 channels at 0x")


def test_repr_tells_that_a_loop_is_closed() -> None:
    loop = Loop()
    loop.close()
    assert "closed" in repr(loop)


def test_time_goes_on(loop: Loop) -> None:
    assert loop.time() <= loop.time()


# Closed


def test_leaving_the_context_closes() -> None:
    with Loop() as loop:
        assert not loop.closed
    assert loop.closed


def test_leaving_the_context_by_an_exception_closes() -> None:
    with pytest.raises(LookupError), Loop() as loop:
        raise LookupError
    assert loop.closed


def test_close_may_be_called_twice() -> None:
    loop = Loop()
    loop.close()
    loop.close()
    assert loop.closed


CALLS: dict[str, Callable[[Loop], object]] = {
    "run": lambda loop: loop.run(),
    "run_map": lambda loop: loop.run_map(),
    "poll": lambda loop: loop.poll(),
    "wake": lambda loop: loop.wake(),
    "fileno": lambda loop: loop.fileno(),
    "next_deadline": lambda loop: loop.next_deadline(),
    "call_soon": lambda loop: loop.call_soon(print),
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(print),
    "call_later": lambda loop: loop.call_later(1, print),
    "call_at": lambda loop: loop.call_at(1, print),
    "enter": lambda loop: loop.__enter__(),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_closed_loop_refuses(name: str) -> None:
    loop = Loop()
    loop.close()
    with pytest.raises(RuntimeError, match=r"<cyncore\.Loop .*closed.*> is closed"):
        CALLS[name](loop)


def test_a_closed_loop_still_tells_what_it_was() -> None:
    run_script(
        """
from cyncore import Loop
loop = Loop()
backend, map = loop.backend, loop.map
loop.close()
assert loop.backend == backend
assert loop.map is map
assert not loop.running
"""
    )


def test_a_closed_loop_may_be_told_to_stop() -> None:
    loop = Loop()
    loop.close()
    loop.stop()


def test_close_leaves_map_and_channels_as_they_are(peers: Peers) -> None:
    loop = Loop()
    channel, _ = peers.channel(Recorder, loop.map)
    loop.close()
    assert loop.map == {channel.socket.fileno(): channel}
    assert channel.seen == []


def test_a_channel_of_a_closed_loop_can_be_served_by_a_new_one(peers: Peers) -> None:
    mine: dict[int, Any] = {}
    channel, peer = peers.channel(Recorder, mine)
    Loop.of(mine).close()
    peer.send(b"x")
    with Loop.of(mine) as loop:
        loop.poll(5)
        assert channel.got == b"x"
        channel.close()


def test_a_loop_that_goes_after_the_module_os_is_silent() -> None:
    """As at the end of a program that has not closed it, where Python has emptied the modules already."""
    run_script(
        """
import gc, os
from cyncore import Loop

loop = Loop()
loop.call_later(0.1, loop.stop)  # for a wait so long it is told of signals
loop.run()
del os.close, loop
gc.collect()
"""
    )


def test_a_loop_may_be_closed_by_a_finalizer_when_the_collector_has_it() -> None:
    run_script(
        """
import gc
from cyncore import Loop

class Owner:
    def __init__(self):
        self.loop = Loop()
        self.me = self

    def __del__(self):
        self.loop.close()

Owner()
gc.collect()
"""
    )


def test_close_drops_what_is_queued() -> None:
    loop = Loop()
    things = [Thing(), Thing()]
    loop.call_soon(things[0])
    loop.call_later(3600, print, things[1])
    watched = [weakref.ref(thing) for thing in things]
    things.clear()
    loop.close()
    gc.collect()
    assert [ref() for ref in watched] == [None, None]


def test_a_running_loop_refuses_to_be_closed(loop: Loop) -> None:
    refused: list[str] = []

    def close() -> None:
        with pytest.raises(RuntimeError, match=r"cyncore\.Loop") as caught:
            loop.close()
        refused.append(str(caught.value))

    loop.call_soon(close)
    loop.poll()
    assert refused
    assert not loop.closed


# Bad arguments


@pytest.mark.parametrize("timeout", [-1, -0.001, -(10**400), math.nan])
@pytest.mark.parametrize("method", ["poll", "run_map"])
def test_a_timeout_below_zero_is_refused(loop: Loop, method: str, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        getattr(loop, method)(timeout)


@pytest.mark.parametrize("count", [10**400, math.inf])
def test_a_count_above_all_others_is_no_limit(loop: Loop, peers: Peers, count: Any) -> None:
    channel, far = peers.channel(Recorder, loop.map)
    far.close()
    with ends_by_itself(loop):
        loop.run_map(5, count)
    assert "close" in channel.seen


@pytest.mark.parametrize("count", [-(10**400), -math.inf, math.nan])
def test_a_count_below_all_others_is_no_round(loop: Loop, peers: Peers, count: Any) -> None:
    channel, far = peers.channel(Recorder, loop.map)
    far.send(b"data")
    loop.run_map(0, count)
    assert channel.seen == []


@pytest.mark.parametrize("method", ["poll", "run_map"])
def test_a_timeout_that_is_no_number_is_refused(loop: Loop, method: str) -> None:
    with pytest.raises(TypeError):
        getattr(loop, method)("soon")


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf])
def test_a_delay_below_zero_or_without_end_is_refused(loop: Loop, seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        loop.call_later(seconds, print)


@pytest.mark.parametrize("when", [math.nan, math.inf])
def test_a_moment_that_never_comes_is_refused(loop: Loop, when: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        loop.call_at(when, print)


@pytest.mark.parametrize("method", ["call_later", "call_at"])
def test_a_moment_that_is_no_number_is_refused(loop: Loop, method: str) -> None:
    with pytest.raises(TypeError):
        getattr(loop, method)("soon", print)


@pytest.mark.parametrize(
    "call",
    [
        lambda loop: loop.call_soon("nothing to call"),
        lambda loop: loop.call_soon_threadsafe("nothing to call"),
        lambda loop: loop.call_later(0, "nothing to call"),
        lambda loop: loop.call_at(0, "nothing to call"),
    ],
    ids=["call_soon", "call_soon_threadsafe", "call_later", "call_at"],
)
def test_a_callback_that_cannot_be_called_is_named(loop: Loop, call: Callable[[Loop], object]) -> None:
    with pytest.raises(TypeError, match="nothing to call"):
        call(loop)


@pytest.mark.parametrize("bad", [5, [], "x", b"x", 1.5])
def test_what_is_no_map_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError):
        Loop(bad)
    with pytest.raises(TypeError):
        Loop.of(bad)


def test_no_map_has_no_loop() -> None:
    with pytest.raises(TypeError):
        Loop.of(None)


# Channels that join


def test_a_channel_without_a_descriptor_waits_in_the_map_under_none(loop: Loop, peers: Peers) -> None:
    channel = Recorder(None, loop.map)
    channel.add_channel()
    loop.poll()
    loop.poll()
    assert (loop.map, channel.seen) == ({None: channel}, [])
    near, far = peers.pair()
    channel.set_socket(near)
    assert loop.map == {near.fileno(): channel}
    far.send(b"data")
    loop.poll(5)
    assert channel.got == b"data"
    channel.close()
    assert loop.map == {}


def test_a_channel_without_a_descriptor_leaves_the_map_when_it_closes(loop: Loop) -> None:
    channel = dispatcher(None, loop.map)
    channel.add_channel()
    loop.poll()
    channel.close()
    assert loop.map == {}


def test_a_channel_without_a_descriptor_does_not_keep_others_from_being_served(loop: Loop, peers: Peers) -> None:
    dispatcher(None, loop.map).add_channel()
    channel, far = peers.channel(Recorder, loop.map)
    far.send(b"data")
    loop.poll(5)
    assert channel.got == b"data"


def test_a_channel_cannot_be_in_two_loops(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Recorder, loop.map)
    with Loop() as other:
        with pytest.raises(ValueError, match=rf"Recorder.*fd {channel.socket.fileno()}"):
            channel.add_channel(other.map)
        assert other.map == {}


def test_a_channel_whose_map_was_cleared_moves(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    loop.poll()
    loop.map.clear()
    with Loop() as other:
        channel.add_channel(other.map)
        peer.send(b"x")
        assert other.poll(5) == 1
        assert loop.poll() == 0
    assert channel.got == b"x"


def test_a_channel_can_leave_and_come_back(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    channel.del_channel()
    assert loop.map == {}
    channel.set_socket(channel.socket, loop.map)
    peer.send(b"x")
    loop.poll(5)
    assert channel.got == b"x"


# Memory


def test_nothing_keeps_the_map_of_closed_channels(peers: Peers) -> None:
    mine = Map()
    channel, _ = peers.channel(Recorder, mine)
    Loop.of(mine).poll()
    channel.close()
    watched = weakref.ref(mine)
    del mine, channel
    gc.collect()
    assert watched() is None


def test_nothing_keeps_a_map_that_was_dropped_with_its_channels(peers: Peers) -> None:
    mine = Map()
    channel, _ = peers.channel(Recorder, mine)
    Loop.of(mine).poll()
    watched = [weakref.ref(mine), weakref.ref(channel), weakref.ref(Loop.of(mine))]
    del mine, channel
    gc.collect()
    assert [ref() for ref in watched] == [None, None, None]


def test_the_loop_of_an_empty_map_lives_as_long_as_someone_holds_it() -> None:
    mine: dict[int, Any] = {}
    watched = weakref.ref(Loop.of(mine))
    gc.collect()
    assert watched() is None


def test_a_channel_keeps_its_loop(peers: Peers) -> None:
    mine: dict[int, Any] = {}
    channel, _ = peers.channel(Recorder, mine)
    calls: list[str] = []
    Loop.of(mine).call_soon(calls.append, "made")
    gc.collect()
    Loop.of(mine).poll()
    channel.close()
    assert calls == ["made"]


@every_backend
def test_closed_channels_go_where_somebody_else_polls_the_map(loop: Loop, peers: Peers) -> None:
    class Asked(dispatcher):
        def readable(self) -> bool:
            return True

    stays, _ = peers.channel(Asked, loop.map)
    gone = []
    for _ in range(100):
        channel, _ = peers.channel(Asked, loop.map)
        gone.append(weakref.ref(channel))
        channel.close()
        del channel
    gc.collect()
    assert [reference() for reference in gone] == [None] * 100
    stays.close()


# Hosted by another loop


class Host(dispatcher):
    """Serves one loop inside another, by its descriptor."""

    def __init__(self, inner: Loop, map: Any) -> None:
        dispatcher.__init__(self, None, map)
        self.inner = inner
        self.rounds = 0
        self._fileno = inner.fileno()
        self.connected = True
        self.add_channel()

    def handle_read(self) -> None:
        self.rounds += 1
        self.inner.poll(0)


def test_another_loop_serves_ours_by_its_descriptor(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    with Loop() as outer:
        host = Host(loop, outer.map)
        assert outer.poll() == 0
        peer.send(b"x")
        assert outer.poll(5) == 1
        assert channel.got == b"x"
        assert outer.poll() == 0
        host.del_channel()


def test_the_descriptor_tells_of_a_wake_up(loop: Loop) -> None:
    with Loop() as outer:
        host = Host(loop, outer.map)
        loop.wake()
        assert outer.poll(5) == 1
        assert outer.poll() == 0
        assert host.rounds == 1
        host.del_channel()


def test_channel_is_the_class_that_dispatcher_stands_on() -> None:
    assert issubclass(dispatcher, Channel)
