# SPDX-License-Identifier: MIT
"""`Loop.watch_handlers`: a handler that does not return is seen while it runs."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest

from cyncore import Loop, Stream
from cyncore import _watchdog as watchdog
from tests.support.loops import every_backend
from tests.support.peers import Peers
from tests.support.streams import connected

SHORT = 0.02  # a handler that is held until the watchdog has seen it runs for longer


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the watchdog logs; `seen` of its owner is set with it."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(watchdog, "report", lambda level, text, *args: (found.append(args), seen.set()))
    seen.clear()
    return found


seen = threading.Event()


def held_until_it_is_seen() -> None:
    assert seen.wait(10)


@every_backend
def test_a_handler_that_still_runs_is_logged_with_its_traceback(
    loop: Loop, peers: Peers, told: list[tuple[Any, ...]]
) -> None:
    class Held(Stream):
        def handle_data(self, data: bytes) -> None:
            held_until_it_is_seen()

    _, theirs = connected(peers, loop, Held)
    loop.watch_handlers(SHORT)
    theirs.send(b"x")
    loop.poll(1)
    assert len(told) == 1
    named, seconds, trace = told[0]
    assert named is loop
    assert seconds >= SHORT
    assert "held_until_it_is_seen()" in trace
    assert "in handle_data" in trace


def test_a_call_that_still_runs_is_logged_once(loop: Loop, told: list[tuple[Any, ...]]) -> None:
    loop.watch_handlers(SHORT)

    def held() -> None:
        held_until_it_is_seen()
        waited = threading.Event()
        waited.wait(4 * SHORT)

    loop.call_soon(held)
    loop.poll(0)
    assert len(told) == 1


def test_what_fails_when_it_is_logged_does_not_end_the_watch(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a handler of the program's logging may."""
    failures: list[Any] = []
    calls: list[int] = []

    def fail(level: int, text: str, *args: Any) -> None:
        calls.append(level)
        seen.set()
        raise RuntimeError

    monkeypatch.setattr(watchdog, "report", fail)
    monkeypatch.setattr(threading, "excepthook", failures.append)
    loop.watch_handlers(SHORT)
    for _ in range(2):
        seen.clear()
        loop.call_soon(held_until_it_is_seen)
        loop.poll(0)
    loop.watch_handlers(None)
    assert len(calls) == 2
    assert failures[0].exc_type is RuntimeError


@pytest.mark.parametrize("is_call", [True, False])
def test_each_that_does_not_return_is_logged(
    is_call: bool, loop: Loop, peers: Peers, told: list[tuple[Any, ...]]
) -> None:
    def held(*_: object) -> None:
        held_until_it_is_seen()
        seen.clear()

    loop.watch_handlers(SHORT)
    if is_call:
        for _ in range(2):
            loop.call_soon(held)
    else:
        kind = type("Held", (Stream,), {"handle_data": held})
        for _ in range(2):
            connected(peers, loop, kind)[1].send(b"x")
        loop.poll(1)
    loop.poll(0)
    assert len(told) == 2


def looking(loop: Loop) -> Callable[[float], None]:
    """A watchdog whose looks are made by the test."""
    loop.watch_handlers(3600.0)
    found = [each for each in gc.get_objects() if isinstance(each, watchdog.Watchdog) and each._loop() is loop]
    return lambda now: found[-1]._look(loop, now)


def test_many_short_calls_are_not_one_long_one(loop: Loop, told: list[tuple[Any, ...]]) -> None:
    look = looking(loop)
    for number in range(10):
        loop.call_soon(look, number * 3000.0)
    loop.poll(0)
    assert told == []


def test_a_loop_that_waits_is_not_logged(loop: Loop, told: list[tuple[Any, ...]]) -> None:
    look = looking(loop)
    look(0.0)
    look(1e6)
    thread = threading.Thread(target=lambda: [look(time) for time in (2e6, 3e6, 4e6)])
    loop.call_later(0.05, loop.stop)
    thread.start()
    loop.run()
    thread.join()
    assert told == []


def test_it_ends_with_the_loop() -> None:
    before = set(threading.enumerate())
    with Loop() as loop:
        loop.watch_handlers(60.0)
        (thread,) = set(threading.enumerate()) - before
    thread.join(10)
    assert not thread.is_alive()


def test_it_ends_when_it_is_not_wanted_any_more(loop: Loop) -> None:
    before = set(threading.enumerate())
    loop.watch_handlers(60.0)
    (thread,) = set(threading.enumerate()) - before
    loop.watch_handlers(None)
    thread.join(10)
    assert not thread.is_alive()


def test_it_does_not_keep_the_loop_alive() -> None:
    loop = Loop()
    loop.watch_handlers(60.0)
    weak = ref(loop)
    del loop
    gc.collect()
    assert weak() is None


@pytest.mark.parametrize(("seconds", "error"), [(0, ValueError), (-1, ValueError), ("x", TypeError)])
def test_arguments_that_make_no_sense_are_refused(loop: Loop, seconds: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        loop.watch_handlers(seconds)


def test_where_threads_are_greenlets_it_says_so(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "is_patched", lambda: True)
    with pytest.raises(RuntimeError, match="greenlets"):
        loop.watch_handlers(1.0)
