# SPDX-License-Identifier: MIT
"""Calls for the next tick, and calls that have a moment."""

from __future__ import annotations

import gc
import random
import weakref

import pytest

from cyncore import Handle, Loop, TimerHandle
from tests.leaks.growth import blocks
from tests.support.loops import every_backend
from tests.support.peers import Peers, Recorder, poll_until


class Thing:
    """Something to refer to weakly."""

    def __call__(self, *args: object) -> None: ...


# call_soon


def test_calls_are_made_in_order(loop: Loop) -> None:
    made: list[int] = []
    for number in range(100):
        loop.call_soon(made.append, number)
    loop.poll()
    assert made == list(range(100))


def test_a_call_gets_its_arguments(loop: Loop) -> None:
    got: list[tuple[object, ...]] = []
    loop.call_soon(lambda *args: got.append(args), 1, "two", None)
    loop.call_soon(lambda *args: got.append(args))
    loop.poll()
    assert got == [(1, "two", None), ()]


def test_what_a_call_queues_is_made_in_the_next_tick(loop: Loop) -> None:
    made: list[str] = []

    def first() -> None:
        made.append("first")
        loop.call_soon(made.append, "third")

    loop.call_soon(first)
    loop.call_soon(made.append, "second")
    loop.poll()
    assert made == ["first", "second"]
    loop.poll()
    assert made == ["first", "second", "third"]


def test_queued_calls_come_before_timers(loop: Loop) -> None:
    made: list[str] = []
    loop.call_at(0, made.append, "timer")
    loop.call_soon(made.append, "soon")
    loop.poll()
    assert made == ["soon", "timer"]


def test_a_cancelled_call_is_not_made(loop: Loop) -> None:
    made: list[str] = []
    handle = loop.call_soon(made.append, "made")
    assert not handle.cancelled()
    handle.cancel()
    handle.cancel()
    assert handle.cancelled()
    loop.poll()
    assert made == []


def test_a_call_may_cancel_the_next(loop: Loop) -> None:
    made: list[str] = []
    loop.call_soon(lambda: second.cancel())
    second = loop.call_soon(made.append, "second")
    loop.poll()
    assert made == []


def test_cancelling_lets_go_of_callback_and_arguments(loop: Loop) -> None:
    things = [Thing() for _ in range(4)]
    watched = [weakref.ref(thing) for thing in things]
    handles = [loop.call_soon(things[0], things[1]), loop.call_later(3600, things[2], things[3])]
    things.clear()
    gc.collect()
    assert all(ref() is not None for ref in watched)
    for handle in handles:
        handle.cancel()
    gc.collect()
    assert [ref() for ref in watched] == [None] * 4


def test_cancelling_after_the_call_does_no_harm(loop: Loop) -> None:
    made: list[str] = []
    handles = [loop.call_soon(made.append, "soon"), loop.call_later(0, made.append, "timer")]
    loop.run()
    for handle in handles:
        assert not handle.cancelled()
        handle.cancel()
        assert handle.cancelled()
    loop.poll()
    assert made == ["soon", "timer"]


def test_handles_have_their_classes(loop: Loop) -> None:
    soon, timer = loop.call_soon(print), loop.call_later(3600, print)
    assert isinstance(soon, Handle)
    assert not isinstance(soon, TimerHandle)
    assert isinstance(timer, TimerHandle)
    assert isinstance(timer, Handle)
    soon.cancel()


# Timers


def test_a_timer_is_never_early(loop: Loop) -> None:
    early: list[float] = []

    def check(number: int) -> None:
        if loop.time() < handles[number].when():
            early.append(handles[number].when() - loop.time())

    handles = [loop.call_later(number * 0.000_37, check, number) for number in range(200)]
    loop.run()
    assert early == []


def test_when_is_what_was_asked_for(loop: Loop) -> None:
    before = loop.time()
    later = loop.call_later(100, print)
    assert before + 100 <= later.when() <= loop.time() + 100
    at = loop.call_at(before + 12.5, print)
    assert at.when() == pytest.approx(before + 12.5, abs=1e-6)


def test_timers_are_made_by_deadline(loop: Loop) -> None:
    made: list[int] = []
    now = loop.time()
    numbers = list(range(200))
    random.Random(1).shuffle(numbers)
    for number in numbers:
        loop.call_at(now - 1 + number / 1000, made.append, number)
    loop.run()
    assert made == list(range(200))


def test_timers_of_one_deadline_are_made_first_come_first_served(loop: Loop) -> None:
    made: list[int] = []
    when = loop.time() + 0.01
    for number in range(200):
        loop.call_at(when, made.append, number)
    loop.run()
    assert made == list(range(200))


def test_a_moment_in_the_past_is_the_next_tick(loop: Loop) -> None:
    made: list[str] = []
    for when in (0, -1, loop.time() - 1):
        loop.call_at(when, made.append, "made")
    loop.poll()
    assert made == ["made"] * 3


def test_a_cancelled_timer_is_not_made(loop: Loop) -> None:
    made: list[str] = []
    loop.call_later(0, made.append, "cancelled").cancel()
    loop.call_later(0.01, made.append, "kept")
    loop.run()
    assert made == ["kept"]


def test_a_timer_may_cancel_itself_and_others(loop: Loop) -> None:
    made: list[str] = []

    def first() -> None:
        made.append("first")
        for handle in handles:
            handle.cancel()

    handles = [loop.call_at(when, callback) for when, callback in ((1, first), (2, lambda: made.append("second")))]
    loop.run()
    assert made == ["first"]


def test_a_timer_that_adds_an_overdue_timer_does_not_hold_up_the_tick(loop: Loop) -> None:
    made: list[int] = []

    def again() -> None:
        made.append(len(made))
        if len(made) < 5:
            loop.call_at(0, again)

    loop.call_at(0, again)
    loop.poll()
    assert len(made) < 5
    loop.run()
    assert made == [0, 1, 2, 3, 4]


@every_backend
def test_a_timer_that_adds_overdue_timers_starves_nobody(loop: Loop, peers: Peers) -> None:
    class Noting(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            turns.append(calls)

    def again() -> None:
        nonlocal calls
        calls += 1
        if calls < 5000:
            loop.call_at(0, again)

    calls = 0
    turns: list[int] = []
    _, far = peers.channel(Noting, loop.map)
    loop.poll(0)
    far.send(b"x")
    loop.call_at(0, again)
    loop.call_at(loop.time(), lambda: turns.append(calls))
    poll_until(loop, lambda: calls == 5000, 6000)
    assert len(turns) == 2
    assert all(turn < 100 for turn in turns)


@every_backend
def test_timers_that_are_due_together_do_not_hold_events_up(loop: Loop, peers: Peers) -> None:
    class Noting(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            turns.append(len(made))

    def compute(number: int) -> None:
        made.append(number)
        begin = loop.time()
        while loop.time() < begin + 0.001:
            pass

    made: list[int] = []
    turns: list[int] = []
    _, far = peers.channel(Noting, loop.map)
    loop.poll(0)
    far.send(b"x")
    for number in range(100):
        loop.call_at(0, compute, number)
    poll_until(loop, lambda: len(made) == 100)
    assert turns
    assert turns[0] < 100
    assert made == list(range(100))


@every_backend
def test_the_loop_sleeps_until_a_timer_is_due(loop: Loop) -> None:
    """It does not poll again and again in the last millisecond before."""
    for number in range(1, 20):
        made: list[int] = []
        loop.call_later(0.0005 * number, made.append, 1)
        polls = 0
        while not made:
            loop.poll(1)
            polls += 1
        assert polls <= 5


def test_ten_thousand_timers(loop: Loop) -> None:
    made: list[int] = []
    order = random.Random(2)
    now = loop.time()
    moments = [now - order.randrange(1000) / 8 for _ in range(10_000)]
    handles = [loop.call_at(moment, made.append, number) for number, moment in enumerate(moments)]
    cancelled = set(order.sample(range(10_000), 3000))
    for number in cancelled:
        handles[number].cancel()
    loop.run()
    kept = (number for number in range(10_000) if number not in cancelled)
    assert made == sorted(kept, key=lambda number: (handles[number].when(), number))


def test_next_deadline_is_the_earliest_timer_that_stands(loop: Loop) -> None:
    assert loop.next_deadline() is None
    late = loop.call_later(200, print)
    early = loop.call_later(100, print)
    assert loop.next_deadline() == pytest.approx(early.when(), abs=1e-6)
    early.cancel()
    assert loop.next_deadline() == pytest.approx(late.when(), abs=1e-6)
    late.cancel()
    assert loop.next_deadline() is None


def test_next_deadline_is_now_while_a_call_is_queued(loop: Loop) -> None:
    loop.call_soon(Thing())
    deadline = loop.next_deadline()
    assert deadline is not None
    assert deadline <= loop.time()


# Beside events


@pytest.mark.parametrize("again", ["call_soon", "call_later"])
def test_calls_without_end_do_not_keep_an_event_back(loop: Loop, peers: Peers, again: str) -> None:
    def call() -> None:
        calls.append(list(channel.got))
        if len(calls) == 1:
            far.send(b"x")
        if len(calls) < 5:
            arguments = (call,) if again == "call_soon" else (0, call)
            getattr(loop, again)(*arguments)

    calls: list[list[int]] = []
    channel, far = peers.channel(Recorder, loop.map)
    loop.poll(0.001)  # finds nothing, and waits: the loop is idle when it begins
    call()
    while len(calls) < 5:
        loop.poll(1)
    assert calls[2:] == [list(b"x")] * 3


def test_timer_is_not_late_by_what_a_callback_took_after_a_poll_of_its_own(loop: Loop) -> None:
    def work() -> None:
        loop.poll(0)
        while loop.time() < due.when():
            pass
        ended.append(loop.time())

    ended: list[float] = []
    ran: list[float] = []
    began = loop.time()
    loop.call_later(0.0, work)
    due = loop.call_later(1.5, lambda: ran.append(loop.time()))
    poll_until(loop, lambda: ran)
    # Overdue when the callback ends. What must not follow is a wait of the time that the callback took.
    assert ran[0] - ended[0] < (ended[0] - began) / 2


def test_timers_that_were_cancelled_take_no_memory_until_they_would_have_been_due(loop: Loop) -> None:
    left = [loop.call_later(3600, print) for _ in range(100)]
    for _ in range(500):
        loop.call_later(1800, print).cancel()
    gc.collect()
    before = blocks()
    for _ in range(10_000):
        loop.call_later(1800, print).cancel()
    gc.collect()
    assert blocks() - before < 2000
    assert loop.stats().timers == len(left)
