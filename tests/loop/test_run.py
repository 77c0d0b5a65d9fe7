# SPDX-License-Identifier: MIT
"""Running: run(), run_map() and poll(), what ends each of them, and one inside another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import cyncore.asyncore as asyncore
from cyncore import Loop, Stream
from tests.support.loops import ends_by_itself, every_backend
from tests.support.peers import Peers, Recorder, poll_until


class Stopper(Recorder):
    """Stops its loop when it is told something."""

    def handle_read(self) -> None:
        Recorder.handle_read(self)
        Loop.of(self._map).stop()


class Closer(Recorder):
    """Closes itself when it is told something."""

    def handle_read(self) -> None:
        Recorder.handle_read(self)
        self.close()


# run()


def test_run_ends_at_once_with_nothing_to_do_and_says_so_once(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.run()
    loop.run()
    (record,) = caplog.records
    assert record.name == "cyncore"
    assert record.levelname == "WARNING"
    assert "run() returns at once, because nothing was added to this loop" in record.getMessage()
    assert repr(loop) in record.getMessage()


def _close(loop: Loop, peers: Peers) -> None:
    peers.channel(Closer, loop.map)[0].close()


def _cancel(loop: Loop, peers: Peers) -> None:
    loop.call_later(60, print).cancel()


def _cancel_soon(loop: Loop, peers: Peers) -> None:
    loop.call_soon(print).cancel()


def _serve(loop: Loop, peers: Peers) -> None:
    loop.listen(("127.0.0.1", 0), Stream).close()


def _poll(loop: Loop, peers: Peers) -> None:
    loop.poll(0)


def _stop(loop: Loop, peers: Peers) -> None:
    loop.stop()


def _run(loop: Loop, peers: Peers) -> None:
    loop.call_soon(int)
    loop.run()


@pytest.mark.parametrize("before", [_close, _cancel, _cancel_soon, _serve, _poll, _stop, _run])
def test_run_whose_work_was_done_before_says_nothing(
    before: Callable[[Loop, Peers], None], loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    before(loop, peers)
    loop.run()
    assert caplog.records == []


def test_loop_of_an_old_program_ends_at_once_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    asyncore.loop()
    asyncore.loop(map={}, count=1)
    assert caplog.records == []


def test_run_ends_when_the_last_channel_has_gone(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Closer, loop.map)
    peer.send(b"x")
    loop.run()
    assert channel.got == b"x"


@every_backend
def test_run_ends_when_a_predicate_closes_the_last_channel(loop: Loop, peers: Peers) -> None:
    class Closer(Recorder):
        def readable(self) -> bool:
            self.close()
            return False

    peers.channel(Closer, loop.map)
    with ends_by_itself(loop):
        loop.run()
    assert not loop.map


def test_run_makes_the_calls_that_calls_queue(loop: Loop) -> None:
    made: list[int] = []

    def again(left: int) -> None:
        made.append(left)
        if left:
            loop.call_soon(again, left - 1)

    loop.call_soon(again, 3)
    loop.run()
    assert made == [3, 2, 1, 0]


def test_run_waits_for_timers(loop: Loop) -> None:
    made: list[str] = []
    loop.call_later(0.01, made.append, "late")
    loop.run()
    assert made == ["late"]


def test_run_does_not_wait_for_a_cancelled_timer(loop: Loop) -> None:
    loop.call_later(3600, print).cancel()
    loop.run()


def test_run_forever_outlasts_having_nothing_to_do(loop: Loop) -> None:
    idle = threading.Event()
    seen: list[bool] = []

    def later() -> None:
        idle.wait()
        loop.call_soon_threadsafe(loop.call_later, 0.01, finish)

    def finish() -> None:
        seen.append(loop.running)
        loop.stop()

    loop.call_soon(idle.set)
    helper = threading.Thread(target=later)
    helper.start()
    loop.run(forever=True)
    helper.join()
    assert seen == [True]


def test_running_is_true_in_a_callback_only(loop: Loop) -> None:
    seen: list[bool] = []
    loop.call_soon(lambda: seen.append(loop.running))
    assert not loop.running
    loop.run()
    assert seen == [True]
    assert not loop.running


def test_run_inside_run_is_refused(loop: Loop) -> None:
    refused: list[str] = []

    def again() -> None:
        with pytest.raises(RuntimeError) as caught:
            loop.run()
        refused.append(str(caught.value))

    loop.call_soon(again)
    loop.run()
    assert refused[0].startswith("<cyncore.Loop")


def test_run_is_refused_while_another_thread_runs_it(loop: Loop) -> None:
    entered, release = threading.Event(), threading.Event()
    loop.call_soon(entered.set)
    loop.call_soon(release.wait)
    other = threading.Thread(target=loop.run)
    other.start()
    entered.wait()
    try:
        with pytest.raises(RuntimeError, match=r"cyncore\.Loop"):
            loop.run()
    finally:
        release.set()
        other.join()


# stop()


def test_stop_leaves_the_rest_of_the_batch_pending(loop: Loop, peers: Peers) -> None:
    channels = []
    for _ in range(3):
        channel, peer = peers.channel(Stopper, loop.map)
        peer.send(b"x")
        channels.append(channel)
    for count in (1, 2, 3):
        loop.run()
        assert b"".join(channel.got for channel in channels) == b"x" * count
    for channel in channels:
        channel.close()


def test_stop_leaves_the_rest_of_the_calls_queued(loop: Loop) -> None:
    made: list[str] = []
    loop.call_soon(made.append, "first")
    loop.call_soon(loop.stop)
    loop.call_soon(made.append, "second")
    loop.run()
    assert made == ["first"]
    loop.run()
    assert made == ["first", "second"]


def test_stop_before_run_allows_one_tick_that_does_not_wait(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    peer.send(b"x")
    loop.stop()
    loop.run()  # would not end: the channel stays
    assert channel.got == b"x"


def test_a_stop_stops_once(loop: Loop) -> None:
    made: list[str] = []
    loop.stop()
    loop.run()
    loop.call_later(0.01, made.append, "made")
    loop.run()
    assert made == ["made"]


@every_backend
def test_a_stop_is_used_up_by_a_poll(loop: Loop) -> None:
    made: list[int] = []

    def again(left: int) -> None:
        made.append(left)
        if left:
            loop.call_soon(again, left - 1)

    loop.stop()
    loop.poll(0)
    loop.call_soon(again, 3)
    with ends_by_itself(loop):
        loop.run()
    assert made == [3, 2, 1, 0]


@pytest.mark.parametrize("method", ["run", "run_map"])
def test_stop_from_another_thread_ends_an_idle_wait(loop: Loop, peers: Peers, method: str) -> None:
    peers.channel(Recorder, loop.map)
    entered = threading.Event()

    def stop() -> None:
        entered.wait()
        loop.stop()

    helper = threading.Thread(target=stop)
    helper.start()
    loop.call_soon(entered.set)
    if method == "run":
        loop.run()
    else:
        loop.run_map(None)
    helper.join()


def test_stop_ends_run(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Stopper, loop.map)
    peer.send(b"x")
    loop.run_map(None)
    assert channel.got == b"x"


# run_map(), which is asyncore.loop()


def test_run_map_returns_at_once_for_an_empty_map(loop: Loop) -> None:
    loop.run_map(None)


def test_run_map_ends_when_the_map_is_empty(loop: Loop, peers: Peers) -> None:
    _, peer = peers.channel(Closer, loop.map)
    peer.send(b"x")
    loop.run_map(None)
    assert loop.map == {}


def test_run_map_ends_when_a_callback_empties_the_map(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Recorder, loop.map)
    loop.call_soon(channel.close)
    loop.run_map(None)
    assert channel.seen == []


def test_run_map_counts_its_rounds(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map, size=1)
    peer.send(b"abcdef")
    loop.run_map(5, 4)
    assert channel.got == b"abcd"


@pytest.mark.parametrize("count", [0, -1])
def test_run_map_of_no_rounds_does_nothing(loop: Loop, peers: Peers, count: int) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    peer.send(b"x")
    loop.run_map(0, count)
    assert channel.got == b""


def test_run_map_waits_at_most_its_timeout(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    begun = loop.time()
    loop.run_map(0.01, 3)
    assert loop.time() >= begun + 0.03


def test_asyncore_poll_returns_at_once_for_an_empty_map() -> None:
    asyncore.poll(None, {})


def test_asyncore_loop_serves_the_default_map(peers: Peers) -> None:
    channel, peer = peers.channel(Closer, None)
    peer.send(b"x")
    asyncore.loop(None)
    assert channel.got == b"x"


# poll()


def test_poll_returns_how_many_events_were_delivered(loop: Loop, peers: Peers) -> None:
    for number in range(3):
        _, peer = peers.channel(Recorder, loop.map)
        if number:
            peer.send(b"x")
    assert loop.poll(5) == 2
    assert loop.poll() == 0


def test_poll_without_events_waits_as_long_as_it_was_told(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    begun = loop.time()
    assert loop.poll(0.02) == 0
    assert loop.time() >= begun + 0.02


def test_poll_of_an_empty_map_waits_as_long_as_it_was_told(loop: Loop) -> None:
    begun = loop.time()
    assert loop.poll(0.02) == 0
    assert loop.time() >= begun + 0.02


def test_poll_makes_the_calls_that_are_due(loop: Loop) -> None:
    made: list[str] = []
    loop.call_soon(made.append, "soon")
    loop.call_at(loop.time(), made.append, "timer")
    loop.poll()
    assert made == ["soon", "timer"]


def test_poll_does_not_wait_while_a_call_is_queued(loop: Loop) -> None:
    made: list[str] = []
    loop.call_soon(loop.call_soon, made.append, "made")
    loop.poll(None)  # makes the first call, and would wait without end
    loop.poll()
    assert made == ["made"]


def test_poll_takes_a_timeout_beyond_what_the_kernel_counts(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    peer.send(b"x")
    loop.wake()
    for timeout in (1e7, 1e300, float("inf")):
        loop.wake()
        loop.poll(timeout)
    assert channel.got == b"x"


# Loops in loops


def test_a_loop_inside_a_handler_serves_the_others(loop: Loop, peers: Peers) -> None:
    class Waiter(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            other_peer.send(b"y")
            poll_until(loop, lambda: other.got)

    waiter, peer = peers.channel(Waiter, loop.map)
    other, other_peer = peers.channel(Recorder, loop.map)
    peer.send(b"x")
    assert loop.poll(5) == 1
    assert (waiter.got, other.got) == (b"x", b"y")


@pytest.mark.parametrize("first", [0, 1])
def test_what_an_inner_loop_served_is_not_served_again(loop: Loop, peers: Peers, first: int) -> None:
    class Nester(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            loop.poll()

    made = [peers.channel(kind, loop.map) for kind in ((Nester, Recorder) if first else (Recorder, Nester))]
    for _, peer in made:
        peer.send(b"x")
    poll_until(loop, lambda: all(channel.got for channel, _ in made))
    loop.poll()
    assert [channel.seen for channel, _ in made] == [["read"], ["read"]]


def test_run_map_may_be_called_in_a_handler(loop: Loop, peers: Peers) -> None:
    class Nester(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            peer.send(b"y")
            if len(self.got) < 5:
                asyncore.loop(5, map=self._map, count=1)

    nester, peer = peers.channel(Nester, loop.map, size=1)
    peer.send(b"x")
    loop.poll(5)
    assert nester.got == b"xyyyy"


def test_a_stop_inside_an_inner_loop_ends_the_outer_too(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Recorder, loop.map)

    def inner() -> None:
        loop.call_soon(loop.stop)
        loop.run_map(None)

    loop.call_soon(inner)
    loop.run()  # would not end: the channel stays
    assert channel.seen == []


def test_an_inner_loop_makes_the_calls_that_the_outer_has_left(loop: Loop) -> None:
    made: list[str] = []
    loop.call_soon(poll_until, loop, lambda: made)
    loop.call_soon(made.append, "behind")
    loop.poll()
    assert made == ["behind"]


def test_two_loops_do_not_serve_each_others_channels(loop: Loop, peers: Peers) -> None:
    with Loop() as other:
        (ours, our_peer), (theirs, their_peer) = (peers.channel(Recorder, one.map) for one in (loop, other))
        our_peer.send(b"x")
        their_peer.send(b"y")
        assert loop.poll(5) == 1
        assert (ours.got, theirs.got) == (b"x", b"")
        assert other.poll(5) == 1
        assert theirs.got == b"y"


def test_a_handler_may_run_another_loop(loop: Loop, peers: Peers) -> None:
    with Loop() as other:

        class Switch(Recorder):
            def handle_read(self) -> None:
                Recorder.handle_read(self)
                other.poll(5)

        switch, peer = peers.channel(Switch, loop.map)
        channel, other_peer = peers.channel(Recorder, other.map)
        peer.send(b"x")
        other_peer.send(b"y")
        loop.poll(5)
        assert (switch.got, channel.got) == (b"x", b"y")


# Idle


def test_an_idle_loop_does_not_wake_up(loop: Loop, peers: Peers) -> None:
    """One wait that ends for the timer only: ticks are counted by who is asked in each."""
    asked: list[Any] = []

    class Asked(Recorder):
        def readable(self) -> bool:
            asked.append(self)
            return True

    peers.channel(Asked, loop.map)
    loop.poll()
    asked.clear()
    loop.call_later(0.2, loop.stop)
    loop.run()
    assert len(asked) <= 3  # not once a millisecond: when the run began, and when the timer had been called
