# SPDX-License-Identifier: MIT
"""When ``readable`` and ``writable`` are asked, and what their answers do (docs/design.md, "What a channel wants")."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from cyncore import Loop, asyncore, native
from tests.support.peers import Peers, Recorder, poll_until


class Asked(Recorder):
    """Counts how often its predicates are asked, and answers what it was told to."""

    wants_read = True
    wants_write = False
    asked_read = 0
    asked_write = 0

    def readable(self) -> bool:
        self.asked_read += 1
        return self.wants_read

    def writable(self) -> bool:
        self.asked_write += 1
        return self.wants_write

    def handle_write(self) -> None:
        self.seen.append("write")
        self.wants_write = False


class Busy(Recorder):
    """Every event makes the next: sends itself another byte, so many times."""

    left = 0
    events = 0
    far: socket.socket
    done: Callable[[], object]

    def handle_read(self) -> None:
        self.events += 1
        self.recv(1)
        if self.left:
            self.left -= 1
            self.far.send(b"x")
        else:
            self.done()


class BusyAsked(Busy, Asked):
    """The same, with predicates of its own."""


def begin(loop: Loop, peers: Peers, events: int, kind: type[Busy] = Busy) -> Busy:
    """A busy channel that stops the loop after so many events."""
    channel, far = peers.channel(kind, loop.map)
    channel.far, channel.left, channel.done = far, events - 1, loop.stop
    far.send(b"x")
    return channel  # type: ignore[no-any-return]


def watch(loop: Loop) -> list[str]:
    """Ends the loop after ten seconds, so that a test that waits in vain fails. Says so in the list returned."""
    said: list[str] = []
    loop.call_later(10, lambda: (said.append("waited in vain"), loop.stop()))
    return said


# Who is asked


def test_plain_class_is_never_asked(loop: Loop, peers: Peers) -> None:
    busy = begin(loop, peers, 50)
    peers.channel(Recorder, loop.map)
    called = []

    def notice(frame: FrameType, what: str, _: Any) -> None:
        if what == "call" and frame.f_code.co_name in ("readable", "writable"):
            called.append(frame.f_code.co_qualname if sys.version_info >= (3, 11) else frame.f_code.co_name)

    sys.setprofile(notice)
    try:
        loop.run()
        loop.poll(0.01)
    finally:
        sys.setprofile(None)
    assert busy.events == 50
    assert called == []


def test_class_defining_writable_only_is_read_without_being_asked(loop: Loop, peers: Peers) -> None:
    class Writer(Recorder):
        asked = 0

        def writable(self) -> bool:
            self.asked += 1
            return self.asked == 2

        def handle_write(self) -> None:
            self.seen.append("write")

    channel, far = peers.channel(Writer, loop.map)
    far.send(b"data")
    poll_until(loop, lambda: channel.got == b"data" and "write" in channel.seen)
    assert channel.seen.count("write") == 1


def test_class_defining_readable_only_is_not_asked_to_write(loop: Loop, peers: Peers) -> None:
    class Reader(Recorder):
        def readable(self) -> bool:
            return False

    channel, far = peers.channel(Reader, loop.map)
    far.send(b"data")
    assert [loop.poll() for _ in range(5)] == [0] * 5
    assert channel.seen == []


def test_predicate_of_an_instance_is_asked(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Recorder, loop.map)
    far.send(b"data")
    channel.readable = lambda: False
    assert loop.poll() == 0
    del channel.readable
    poll_until(loop, lambda: channel.got == b"data")


def test_predicate_given_to_the_class_later_is_asked(loop: Loop, peers: Peers) -> None:
    class Late(Recorder):
        pass

    channel, far = peers.channel(Late, loop.map)
    far.send(b"data")
    Late.readable = lambda self: False  # type: ignore[method-assign]
    assert loop.poll() == 0
    Late.readable = lambda self: True  # type: ignore[method-assign]
    poll_until(loop, lambda: channel.got == b"data")


@pytest.mark.parametrize("where", ["class", "instance"])
def test_predicate_that_comes_late_is_asked(where: str, loop: Loop, peers: Peers) -> None:
    class Late(Recorder):
        pass

    channel, far = peers.channel(Late, loop.map)
    loop.poll(0)
    loop.poll(0)
    holder: Any = Late if where == "class" else channel
    holder.readable = lambda *_: False
    far.send(b"x")
    assert loop.poll(0) == 0
    del holder.readable
    assert loop.poll(5) == 1


# What the answers do


def test_answer_need_not_be_a_bool(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Asked, loop.map)
    channel.wants_write = [1]
    channel.wants_read = 0
    far.send(b"data")
    loop.poll()
    assert channel.seen == ["write"]


def test_channel_that_wants_nothing_gets_nothing_though_its_peer_is_gone(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Asked, loop.map)
    channel.wants_read = False
    far.close()
    assert [loop.poll() for _ in range(5)] == [0] * 5
    channel.wants_read = True
    poll_until(loop, lambda: channel.seen == ["read", "close"])


def test_writable_without_a_write_handler_does_not_count(loop: Loop, peers: Peers) -> None:
    class Eager(Recorder):
        def writable(self) -> bool:
            return True

    peers.channel(Eager, loop.map)
    assert [loop.poll() for _ in range(5)] == [0] * 5


def test_writable_does_not_count_while_accepting(loop: Loop) -> None:
    listener = Asked(None, loop.map)
    listener.create_socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    listener.wants_write = True
    assert [loop.poll() for _ in range(5)] == [0] * 5
    listener.close()


def test_pausing_wins_over_readable(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Asked, loop.map)
    channel.pause_reading()
    far.send(b"data")
    assert [loop.poll() for _ in range(5)] == [0] * 5
    channel.resume_reading()
    poll_until(loop, lambda: channel.got == b"data")


def test_foreign_object_is_taken_at_its_word(loop: Loop, peers: Peers) -> None:
    near, _ = peers.pair()

    class Foreign:
        accepting = False
        wants = True
        written = 0

        def readable(self) -> bool:
            return False

        def writable(self) -> bool:
            return self.wants

        def handle_write_event(self) -> None:
            self.written += 1

    foreign = Foreign()
    loop.map[near.fileno()] = foreign
    for _ in range(3):
        loop.poll()
    foreign.wants = False
    assert loop.poll() == 0
    assert foreign.written == 3
    del loop.map[near.fileno()]


@pytest.mark.parametrize("predicate", ["readable", "writable"])
def test_exception_of_a_predicate_is_its_channel_s_own(loop: Loop, peers: Peers, predicate: str) -> None:
    def fail() -> bool:
        raise ZeroDivisionError("asked")

    broken, _ = peers.channel(Asked, loop.map)
    sound, far = peers.channel(Recorder, loop.map)
    setattr(broken, predicate, fail)
    far.send(b"data")
    poll_until(loop, lambda: sound.got == b"data")
    assert broken.seen == ["error ZeroDivisionError('asked')"]
    assert list(loop.map.values()) == [sound]


@pytest.mark.parametrize("kind", [asyncore.ExitNow, KeyboardInterrupt, SystemExit])
def test_what_leaves_the_loop_leaves_it_from_a_predicate_too(
    loop: Loop, peers: Peers, kind: type[BaseException]
) -> None:
    def leave() -> bool:
        raise kind

    channel, _ = peers.channel(Asked, loop.map)
    channel.readable = leave
    with pytest.raises(kind):
        loop.poll()
    assert channel.seen == []


# When they are asked


def old_style_loop(timeout: float, map: Any) -> None:
    asyncore.loop(timeout, False, map, 1)


@pytest.mark.parametrize("poll", [asyncore.poll, asyncore.poll2, asyncore.poll3, old_style_loop])
def test_every_public_poll_asks_everyone(peers: Peers, poll: Callable[[float, Any], object]) -> None:
    map: dict[int, Any] = {}
    channels = [peers.channel(Asked, map)[0] for _ in range(5)]
    for round in range(1, 4):
        poll(0.0, map)
        for channel in channels:
            assert channel.asked_read >= round
            assert channel.asked_write >= round
    asyncore.close_all(map)


def test_every_poll_of_the_loop_asks_everyone(loop: Loop, peers: Peers) -> None:
    channels = [peers.channel(Asked, loop.map)[0] for _ in range(5)]
    for round in range(1, 4):
        loop.poll()
        assert min(channel.asked_read for channel in channels) >= round


def test_own_predicates_are_asked_after_every_own_event(loop: Loop, peers: Peers) -> None:
    busy = begin(loop, peers, 200, BusyAsked)
    loop.run()
    assert isinstance(busy, BusyAsked)
    assert busy.events == 200
    assert busy.asked_read >= 199  # the last event stopped the loop


def test_event_does_not_have_its_channel_asked_twice_by_a_poll(loop: Loop, peers: Peers) -> None:
    busy = begin(loop, peers, 100, BusyAsked)
    loop.poll(0)
    before = busy.asked_read
    for _ in range(50):
        loop.poll(1)
    assert busy.asked_read - before <= 51


def test_own_predicate_is_honoured_at_the_next_tick(loop: Loop, peers: Peers) -> None:
    class Once(Recorder):
        def readable(self) -> bool:
            return not self.got

    channel, far = peers.channel(Once, loop.map, size=1)
    far.send(b"two")
    for _ in range(5):
        loop.poll()
    assert channel.got == b"t"


def test_idle_wait_asks_nobody(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Asked, loop.map)
    loop.poll(0.3)  # one wait: whoever cut it up to ask in between would ask many times
    assert 1 <= channel.asked_read <= 3


def test_idle_run_asks_only_around_what_it_ran(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Asked, loop.map)
    loop.call_later(0.3, loop.stop)
    loop.run()
    assert 1 <= channel.asked_read <= 4


def test_handler_of_another_channel_may_change_the_answer(loop: Loop, peers: Peers) -> None:
    target, _ = peers.channel(Asked, loop.map)

    class Source(Recorder):
        def handle_read(self) -> None:
            super().handle_read()
            target.wants_write = True

    target.handle_write = lambda: (target.seen.append("write"), loop.stop())
    _, far = peers.channel(Source, loop.map)
    late = watch(loop)
    loop.call_soon(far.send, b"x")
    loop.run()
    assert (target.seen[:1], late) == (["write"], [])


def test_queued_call_may_change_the_answer(loop: Loop, peers: Peers) -> None:
    target, _ = peers.channel(Asked, loop.map)
    target.handle_write = lambda: (target.seen.append("write"), loop.stop())
    late = watch(loop)
    loop.call_later(0.01, setattr, target, "wants_write", True)
    loop.run()
    assert (target.seen[:1], late) == (["write"], [])


def test_flag_set_by_a_thread_counts_after_a_byte_to_the_own_pipe(loop: Loop, peers: Peers) -> None:
    """What the Cassandra and Hazelcast drivers do: a flag or a queue, then one byte to wake the loop."""
    target, _ = peers.channel(Asked, loop.map)
    target.handle_write = lambda: (target.seen.append("write"), loop.stop())
    _, far = peers.channel(Recorder, loop.map)
    late = watch(loop)

    def other_thread() -> None:
        target.wants_write = True
        far.send(b"x")

    thread = threading.Thread(target=other_thread)
    loop.call_soon(thread.start)
    loop.run_map(None)
    thread.join()
    assert (target.seen[:1], late) == (["write"], [])


def test_flag_set_by_a_thread_counts_after_a_wake(loop: Loop, peers: Peers) -> None:
    target, _ = peers.channel(Asked, loop.map)
    target.handle_write = lambda: (target.seen.append("write"), loop.stop())
    late = watch(loop)

    def other_thread() -> None:
        target.wants_write = True
        loop.wake()

    thread = threading.Thread(target=other_thread)
    loop.call_soon(thread.start)
    loop.run()
    thread.join()
    assert (target.seen[:1], late) == (["write"], [])


def test_flag_counts_after_a_timeout_of_the_uncounted_loop(loop: Loop, peers: Peers) -> None:
    """Nothing wakes the loop at all: its own timeout is what makes it look again."""
    target, _ = peers.channel(Asked, loop.map)
    target.handle_write = lambda: (target.seen.append("write"), loop.stop())
    late = watch(loop)
    asked = target.readable

    def readable() -> bool:
        target.wants_write = target.asked_read >= 3
        return asked()  # type: ignore[no-any-return]

    target.readable = readable
    loop.run_map(0.01)
    assert (target.seen[:1], late) == (["write"], [])


@pytest.mark.skipif(not native, reason="the engine in plain Python asks everyone at every tick")
def test_sweeps_are_rationed_while_events_keep_coming(loop: Loop, peers: Peers) -> None:
    idle = [peers.channel(Asked, loop.map)[0] for _ in range(200)]
    loop.poll()
    before = sum(channel.asked_read for channel in idle)
    events = 2000
    busy = begin(loop, peers, events)
    loop.run()
    assert busy.events == events
    assert sum(channel.asked_read for channel in idle) - before < events * len(idle) / 4


def test_everyone_is_asked_in_the_end_while_events_keep_coming(loop: Loop, peers: Peers) -> None:
    target, _ = peers.channel(Asked, loop.map)
    busy = begin(loop, peers, 10**9)
    late = watch(loop)
    target.handle_write = loop.stop
    loop.call_soon(setattr, target, "wants_write", True)
    loop.run()
    assert late == []
    assert busy.events < 10**9


@pytest.mark.parametrize("kind", [asyncore.ExitNow, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("predicate", ["readable", "writable"])
def test_what_leaves_the_loop_leaves_it_from_a_predicate_that_was_asked_before(
    loop: Loop, peers: Peers, kind: type[BaseException], predicate: str
) -> None:
    class Leaving(Asked):
        armed = False

    def answer(self: Any) -> bool:
        if self.armed:
            raise kind
        return predicate == "readable"

    setattr(Leaving, predicate, answer)
    channel, _ = peers.channel(Leaving, loop.map)
    for _ in range(3):
        loop.poll()
    channel.armed = True
    with pytest.raises(kind):
        loop.poll()
    assert channel.seen == []
    channel.armed = False


@pytest.mark.parametrize("kind", [asyncore.ExitNow, KeyboardInterrupt])
def test_what_leaves_the_loop_leaves_it_from_a_state_that_is_computed(
    loop: Loop, peers: Peers, kind: type[BaseException]
) -> None:
    class Computed(Recorder):
        armed = False

        @property
        def connected(self) -> bool:
            if self.armed:
                raise kind
            return True

        @connected.setter
        def connected(self, value: bool) -> None: ...

    channel, far = peers.channel(Computed, loop.map)
    loop.poll()
    channel.armed = True
    far.send(b"x")
    with pytest.raises(kind):
        poll_until(loop, lambda: channel.got)
    channel.armed = False
    poll_until(loop, lambda: channel.got == b"x")
