# SPDX-License-Identifier: MIT
"""Real signals: in an idle wait, in a busy loop, and a thousand a second while data flows."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from cyncore import Loop, asynchat, asyncore, socket_map
from tests.support.loops import ends_by_itself, every_backend
from tests.support.peers import Peers, Recorder

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")


@contextmanager
def alarms(first: float, every: float) -> Iterator[list[int]]:
    """SIGALRM after ``first`` seconds and then ``every`` seconds; the list grows by one for each."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = signal.signal(signal.SIGALRM, note)
    signal.setitimer(signal.ITIMER_REAL, first, every)
    try:
        yield came
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def interrupted_soon() -> Iterator[None]:
    """Sends SIGINT to this process shortly, and expects it to end what it interrupts."""
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    timer.join()


@pytest.mark.parametrize("method", ["run", "run_map", "poll"])
def test_an_interrupt_ends_an_idle_wait(loop: Loop, peers: Peers, method: str) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    with interrupted_soon():
        if method == "run":
            loop.run()
        else:
            getattr(loop, method)(None)
    assert not loop.running
    peer.send(b"x")
    loop.poll(5)
    assert channel.got == b"x"


def test_an_interrupt_ends_a_loop_of_callbacks(loop: Loop) -> None:
    def again() -> None:
        loop.call_soon(again)

    loop.call_soon(again)
    with interrupted_soon():
        loop.run()


def test_an_interrupt_ends_a_loop_of_events(loop: Loop, peers: Peers) -> None:
    class Echo(Recorder):
        def handle_read(self) -> None:
            self.send(self.recv(4096))

    one, two = peers.pair()
    Echo(one, loop.map)
    Echo(two, loop.map)
    one.send(b"ball")
    with interrupted_soon():
        loop.run()


def test_signals_do_not_end_a_wait_early(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    with alarms(0.01, 0.01) as came:
        begun = loop.time()
        assert loop.poll(0.1) == 0
        assert loop.time() >= begun + 0.1
    assert came


def test_signals_do_not_cost_a_byte(loop: Loop, peers: Peers) -> None:
    class Echo(Recorder):
        def handle_read(self) -> None:
            self.send(self.recv(4096))

    class Client(Recorder):
        rounds = 0

        def handle_read(self) -> None:
            assert self.recv(4096) == b"%d" % self.rounds
            self.rounds += 1
            if self.rounds == 1000 and came:
                loop.stop()
            else:
                self.send(b"%d" % self.rounds)

    one, two = peers.pair()
    echo, client = Echo(one, loop.map), Client(two, loop.map)
    with alarms(0.001, 0.001) as came:
        client.send(b"0")
        loop.run()
    assert client.rounds >= 1000
    assert (echo.seen, client.seen) == ([], [])


def test_a_signal_handler_may_queue_a_call(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)

    def handler(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(loop.stop)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        loop.run()
    finally:
        signal.signal(signal.SIGALRM, before)


# What a signal's handler may do: docs/loop.md says it


@contextmanager
def at_a_signal(does: Callable[[], object]) -> Iterator[None]:
    """Sends SIGALRM to this process shortly; its handler calls ``does``."""
    before = signal.signal(signal.SIGALRM, lambda number, frame: does())
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def idle(loop: Loop, peers: Peers) -> Loop:
    """A loop with a channel that nothing happens to. Ends its runs after a while, as a test should not hang."""
    peers.channel(Recorder, loop.map)
    loop.call_later(20, loop.stop)
    return loop


def test_stop_in_a_signal_handler_ends_the_wait(idle: Loop) -> None:
    stopped = []
    with at_a_signal(lambda: (stopped.append(1), idle.stop())):
        idle.run(forever=True)
    assert stopped
    assert idle.next_deadline() is not None  # the limit has not ended it


def test_stop_in_a_signal_handler_ends_asyncore_s_loop(peers: Peers) -> None:
    peers.channel(Recorder, None)
    with at_a_signal(lambda: Loop.of(socket_map).stop()):
        asyncore.loop(timeout=20)
    assert len(socket_map) == 1
    asyncore.close_all()


def test_wake_in_a_signal_handler_ends_the_wait(idle: Loop) -> None:
    with at_a_signal(idle.wake):
        assert idle.poll(None) == 0
    assert idle.next_deadline() is not None


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe"])
def test_what_a_signal_handler_queues_is_called_at_once(idle: Loop, method: str) -> None:
    with at_a_signal(lambda: getattr(idle, method)(idle.stop)):
        idle.run()
    assert idle.next_deadline() is not None


def test_timer_of_a_signal_handler_shortens_the_wait(idle: Loop) -> None:
    with at_a_signal(lambda: idle.call_later(0.05, idle.stop)):
        idle.run()
    assert idle.next_deadline() is not None


def test_push_in_a_signal_handler_leaves_although_the_loop_waits(idle: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(asynchat.async_chat, idle.map)
    told: list[bytes] = []

    def push() -> None:
        channel.push(b"told")
        peer.settimeout(5)
        told.append(peer.recv(100))
        idle.stop()

    with at_a_signal(push):
        idle.run()
    assert told == [b"told"]
    channel.close()


@every_backend
def test_channel_that_a_signal_handler_closes_is_gone(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Recorder, loop.map)
    with at_a_signal(channel.close):
        loop.run()  # which ends with its last channel
    assert channel.seen == []


@every_backend
def test_a_signal_handler_may_resume_reading(loop: Loop, peers: Peers) -> None:
    class Closer(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            self.close()

    channel, far = peers.channel(Closer, loop.map)
    channel.pause_reading()
    far.send(b"x")
    with ends_by_itself(loop), at_a_signal(channel.resume_reading):
        loop.run()
    assert channel.got == b"x"


def test_answer_that_a_signal_handler_changes_counts(idle: Loop, peers: Peers) -> None:
    class Writer(Recorder):
        wants = False

        def writable(self) -> bool:
            return self.wants

        def handle_write(self) -> None:
            self.seen.append("write")
            idle.stop()

    channel, _ = peers.channel(Writer, idle.map)
    with at_a_signal(lambda: setattr(channel, "wants", True)):
        idle.run()
    assert channel.seen == ["write"]
    channel.close()


def test_poll_in_a_signal_handler_serves_and_run_is_refused(idle: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, idle.map)
    came: list[object] = []

    def serve() -> None:
        with pytest.raises(RuntimeError, match="runs already"):
            idle.run()
        peer.send(b"x")
        came.append(idle.poll(5))
        idle.stop()

    with at_a_signal(serve):
        idle.run()
    assert (came, channel.got) == ([1], b"x")
    channel.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncore.ExitNow, ValueError])
def test_what_a_signal_handler_raises_leaves_a_wait(idle: Loop, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    with at_a_signal(fail), pytest.raises(error):
        idle.run()
    assert not idle.running
    idle.call_soon(idle.stop)
    idle.run()


class Waiting(Recorder):
    """A handler that a signal will interrupt."""

    def handle_read(self) -> None:
        self.recv(100)
        self.seen.append("begun")
        threading.Event().wait(20)
        self.seen.append("not interrupted")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_a_signal_handler_raises_in_a_handler(idle: Loop, peers: Peers, error: type[BaseException]) -> None:
    channel, peer = peers.channel(Waiting, idle.map)
    came: list[str] = []
    peer.send(b"x")

    def fail() -> None:
        idle.call_soon(came.append, "queued")
        raise error("of the signal")

    with at_a_signal(fail):
        if error is KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                idle.run()
            assert channel.seen == ["begun"]
            channel.close()
        else:
            idle.call_later(0.2, idle.stop)
            idle.run()
            assert channel.seen == ["begun", "error ValueError('of the signal')"]
    idle.poll(0)
    assert came == ["queued"]


def test_loop_of_another_thread_is_stopped_by_a_signal_handler(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    thread = threading.Thread(target=loop.run)
    thread.start()
    with at_a_signal(loop.stop):
        thread.join(20)
    ended = not thread.is_alive()
    loop.stop()
    thread.join()
    assert ended


# Where the program wants the numbers of signals to be written


@pytest.fixture
def numbers() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe; signals are written to the second until the test is over."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer)
    yield reader, writer
    signal.set_wakeup_fd(before)
    os.close(reader)
    os.close(writer)


def test_number_of_a_signal_in_a_wait_is_written_where_the_program_wants_it(
    idle: Loop, numbers: tuple[int, int]
) -> None:
    reader, writer = numbers
    with at_a_signal(idle.stop):
        idle.run()
    assert os.read(reader, 10) == bytes([signal.SIGALRM])
    assert signal.set_wakeup_fd(writer) == writer


def test_handler_may_have_the_numbers_written_elsewhere(idle: Loop, numbers: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with at_a_signal(lambda: (signal.set_wakeup_fd(writer), idle.stop())):
        idle.run()
    assert signal.set_wakeup_fd(numbers[1]) == writer
    os.close(reader)
    os.close(writer)


def test_handler_may_close_what_the_numbers_are_written_to(idle: Loop) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer)
    with at_a_signal(lambda: (os.close(writer), idle.stop())):
        idle.run()
    signal.set_wakeup_fd(before)
    os.close(reader)
