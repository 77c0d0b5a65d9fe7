# SPDX-License-Identifier: MIT
"""What takes longer than `slow_handler_limit` is logged, with its name and the seconds. No clock is read for real."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from cyncore import Loop, Stream, asyncore, dispatcher
from tests.support.loops import every_backend
from tests.support.peers import Peers

SHORTEST = 1e-9  # everything takes longer
LONGEST = 3600.0  # nothing does


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert all(record.name == "cyncore" and record.levelname == "WARNING" for record in caplog.records)
    return [record.getMessage() for record in caplog.records]


class Reader(dispatcher):
    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.recv(100)


class Plain(dispatcher):
    def handle_read(self) -> None:
        self.recv(100)


class Raw:
    """Not a channel of ours, but in the map."""

    accepting = False

    def __init__(self, sock: Any) -> None:
        self.sock = sock

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        self.sock.recv(100)


@every_backend
def test_slow_handler_is_named_with_its_seconds(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    channel, theirs = peers.channel(Plain, loop.map)
    loop.slow_handler_limit = SHORTEST
    theirs.send(b"x")
    loop.poll(5)
    (text,) = messages(caplog)
    assert text.startswith(f"{channel!r} fd {channel.socket.fileno()}: its handlers took 0.0")
    assert "seconds" in text
    channel.close()


def test_slow_handler_of_a_stream_is_named(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    class Slow(Stream):
        def handle_data(self, data: bytes) -> None:
            loop.slow_handler_limit = SHORTEST

    ours, theirs = peers.pair()
    stream = Slow(ours, loop=loop)
    loop.slow_handler_limit = LONGEST
    loop.poll(0)
    theirs.send(b"x")
    loop.poll(5)
    assert f"{stream!r}" in messages(caplog)[0]
    loop.slow_handler_limit = None
    stream.abort()
    loop.poll(0)


def test_slow_handler_of_a_foreign_object_is_named(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = peers.pair()
    raw = Raw(ours)
    loop.map[ours.fileno()] = raw
    theirs.send(b"x")
    loop.slow_handler_limit = SHORTEST
    loop.poll(5)
    assert [text for text in messages(caplog) if "handlers" in text and repr(raw) in text]
    del loop.map[ours.fileno()]


def test_slow_predicate_is_named(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    channel, _ = peers.channel(Reader, loop.map)
    loop.slow_handler_limit = SHORTEST
    loop.poll(0)
    found = messages(caplog)
    assert found
    assert all(f"{channel!r} fd {channel.socket.fileno()}: its readable() and" in text for text in found)
    channel.close()


CALLS: dict[str, Callable[[Loop, Callable[[], None]], Any]] = {
    "call_soon": lambda loop, callback: loop.call_soon(callback),
    "call_soon_threadsafe": lambda loop, callback: loop.call_soon_threadsafe(callback),
    "call_later": lambda loop, callback: loop.call_later(0.0, callback),
    "call_at": lambda loop, callback: loop.call_at(0.0, callback),
}


@pytest.mark.parametrize("call", CALLS)
def test_slow_call_is_named_with_its_function(call: str, loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    def dawdle() -> None:
        pass

    loop.slow_handler_limit = SHORTEST
    CALLS[call](loop, dawdle)
    loop.poll(0)
    (text,) = messages(caplog)
    assert "dawdle" in text
    assert "Handle" in text
    assert "seconds" in text


def test_slow_call_that_fails_is_named_too(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError

    loop.slow_handler_limit = SHORTEST
    loop.call_soon(fail)
    loop.poll(0)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


@pytest.mark.parametrize("limit", [None, LONGEST])
def test_nothing_is_said_of_what_is_fast(
    limit: float | None, loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    channel, theirs = peers.channel(Reader, loop.map)
    loop.slow_handler_limit = limit
    loop.call_soon(time.time)
    theirs.send(b"x")
    loop.poll(5)
    channel.close()
    assert messages(caplog) == []


def test_handler_that_runs_the_loop_is_not_slow(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    class Nested(Plain):
        def handle_read(self) -> None:
            super().handle_read()
            loop.slow_handler_limit = SHORTEST
            loop.poll(0)

    loop.slow_handler_limit = LONGEST
    channel, theirs = peers.channel(Nested, loop.map)
    theirs.send(b"x")
    loop.poll(5)
    channel.close()
    assert messages(caplog) == []


def test_call_that_runs_the_loop_is_not_slow(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.slow_handler_limit = SHORTEST
    loop.call_soon(loop.poll, 0)
    loop.poll(0)
    assert messages(caplog) == []


def test_events_of_one_tick_are_all_delivered_while_handlers_are_timed(loop: Loop, peers: Peers) -> None:
    loop.slow_handler_limit = LONGEST
    pairs = [peers.channel(Plain, loop.map) for _ in range(5)]
    for _, theirs in pairs:
        theirs.send(b"x")
    assert loop.poll(5) == 5
    asyncore.close_all(loop.map)


def test_stop_ends_a_tick_that_is_timed_after_its_handler(loop: Loop, peers: Peers) -> None:
    served: list[Any] = []

    class Stops(Plain):
        def handle_read(self) -> None:
            super().handle_read()
            served.append(self)
            loop.stop()

    loop.slow_handler_limit = LONGEST
    pairs = [peers.channel(Stops, loop.map) for _ in range(3)]
    for _, theirs in pairs:
        theirs.send(b"x")
    loop.run()
    assert len(served) == 1
    loop.run()
    assert len(served) == 2
    asyncore.close_all(loop.map)


def test_failure_of_a_tick_that_is_timed_leaves_the_loop_and_the_rest_comes_later(loop: Loop, peers: Peers) -> None:
    class Leaves(Plain):
        def handle_read(self) -> None:
            super().handle_read()
            raise asyncore.ExitNow

    loop.slow_handler_limit = LONGEST
    pairs = [peers.channel(Leaves, loop.map) for _ in range(2)]
    for _, theirs in pairs:
        theirs.send(b"x")
    for _ in pairs:
        with pytest.raises(asyncore.ExitNow):
            loop.poll(5)
    assert loop.poll(0) == 0
    asyncore.close_all(loop.map)


def test_limit_is_none_by_default_and_a_tenth_of_a_second_in_debug_mode() -> None:
    with Loop(debug=False) as plain, Loop(debug=True) as debug:
        assert plain.slow_handler_limit is None
        assert debug.slow_handler_limit == pytest.approx(0.1)


def test_limit_can_be_changed_and_read(loop: Loop) -> None:
    for limit in (0.25, 5, None):
        loop.slow_handler_limit = limit
        assert loop.slow_handler_limit == limit


@pytest.mark.parametrize("wrong", [0, -1, float("nan")])
def test_limit_of_nothing_or_less_is_refused(wrong: float, loop: Loop) -> None:
    with pytest.raises(ValueError, match="slow_handler_limit must be above zero"):
        loop.slow_handler_limit = wrong


def test_limit_that_is_no_number_is_refused(loop: Loop) -> None:
    with pytest.raises(TypeError, match="slow_handler_limit must be a number"):
        loop.slow_handler_limit = "soon"  # type: ignore[assignment]
