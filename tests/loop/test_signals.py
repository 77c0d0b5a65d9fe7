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
from tests.support.script import run_script

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


def test_handler_may_close_what_the_numbers_are_written_to_and_have_them_elsewhere(idle: Loop) -> None:
    old_reader, old = os.pipe()
    reader, writer = os.pipe()
    os.set_blocking(old, False)
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(old)
    with at_a_signal(lambda: (os.close(old), signal.set_wakeup_fd(writer), idle.stop())):
        idle.run()
    assert signal.set_wakeup_fd(before) == writer
    for end in (old_reader, reader, writer):
        os.close(end)


# A signal that does not interrupt the wait: it came just before, or the kernel has given it to another thread


@contextmanager
def signals_of_another_thread(each: Callable[[], object], rounds: int) -> Iterator[threading.Semaphore]:
    """SIGUSR1 comes to another thread, once for each release of the semaphore; its handler calls ``each``."""
    before = signal.signal(signal.SIGUSR1, lambda number, frame: each())
    asked = threading.Semaphore(0)

    def send() -> None:
        for _ in range(rounds):
            asked.acquire()
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    thread = threading.Thread(target=send)
    thread.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        yield asked
    finally:
        thread.join(20)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGUSR1, before)


@every_backend
def test_handler_of_a_signal_that_does_not_interrupt_the_wait_runs(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    with ends_by_itself(loop), signals_of_another_thread(loop.stop, 50) as asked:
        for _ in range(50):
            loop.call_soon(asked.release)
            loop.run(forever=True)


@every_backend
def test_keyboard_interrupt_by_a_signal_that_does_not_interrupt_the_wait_leaves(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with ends_by_itself(loop), signals_of_another_thread(interrupt, 20) as asked:
        for _ in range(20):
            loop.call_soon(asked.release)
            with pytest.raises(KeyboardInterrupt):
                loop.run(forever=True)


def test_signal_in_a_tick_around_another_loops_ends_the_wait(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    with Loop() as inner, ends_by_itself(loop), signals_of_another_thread(inner.stop, 20) as asked:
        peers.channel(Recorder, inner.map)

        def nested() -> None:
            asked.release()
            inner.run(forever=True)
            loop.stop()

        for _ in range(20):
            loop.call_soon(nested)
            loop.run(forever=True)


def test_loop_leaves_nothing_where_signals_are_written(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    loop.call_later(0.03, loop.stop)
    loop.run()
    assert signal.set_wakeup_fd(-1) == -1


def test_loop_does_not_warn_of_signals_for_which_the_program_has_no_room() -> None:
    """asyncio asks for that, and what somebody has asked for cannot be seen."""
    run_script(
        """
import os, signal
from cyncore import Loop

reader, writer = os.pipe()
os.set_blocking(writer, False)
signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
try:
    while True:
        os.write(writer, bytes(4096))
except BlockingIOError:
    pass
signal.signal(signal.SIGTERM, lambda number, frame: None)
with Loop() as loop:
    loop.call_later(0.1, loop.stop)  # for a wait so long it is told of signals
    loop.run()
    signal.raise_signal(signal.SIGTERM)
"""
    )


def close_pipe(end: int) -> None:
    """Closes both ends of a pipe that is somebody else's."""
    pipe = os.fstat(end).st_ino
    for fd in range(end + 10):
        try:
            is_end = os.fstat(fd).st_ino == pipe
        except OSError:
            continue
        if is_end:
            os.close(fd)


def test_descriptors_for_signals_that_the_program_closes_are_made_anew(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    found: list[int] = []

    def close() -> None:
        found.append(signal.set_wakeup_fd(-1))
        loop.stop()

    loop.call_later(0.03, close)
    loop.run()
    if found[0] < 0:
        pytest.skip("signals are not written while handlers run")
    close_pipe(found[0])
    with ends_by_itself(loop), signals_of_another_thread(loop.stop, 1) as asked:
        loop.call_soon(asked.release)
        loop.run(forever=True)


def test_child_of_a_fork_in_a_handler_is_woken_by_its_own_signals(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    children: list[int] = []

    def fork() -> None:
        children.append(os.fork())
        loop.stop()

    loop.call_later(0.03, fork)
    loop.run(forever=True)
    if not children[0]:
        status = 1
        try:
            with signals_of_another_thread(loop.stop, 1) as asked:
                loop.call_soon(asked.release)
                loop.run(forever=True)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(children[0], 0)[1] == 0


# Loop.add_signal_handler


@pytest.fixture
def before() -> Iterator[list[str]]:
    """What the program's own handler of SIGUSR1 has noted."""
    noted: list[str] = []
    found = signal.signal(signal.SIGUSR1, lambda number, frame: noted.append("before"))
    yield noted
    signal.signal(signal.SIGUSR1, found)


@every_backend
def test_callback_of_a_signal_in_a_wait_is_called(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    came: list[object] = []
    loop.add_signal_handler(signal.SIGUSR1, lambda *args: (came.extend(args), loop.stop()), "one", 2)
    timer = threading.Timer(0.03, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    with ends_by_itself(loop):
        loop.run(forever=True)
    timer.join()
    assert came == ["one", 2]


@every_backend
def test_callback_of_a_signal_before_the_run_is_called_in_its_first_tick(loop: Loop) -> None:
    came: list[str] = []
    loop.add_signal_handler(signal.SIGUSR1, came.append, "called")
    signal.raise_signal(signal.SIGUSR1)
    assert came == []
    loop.run()
    assert came == ["called"]


def test_callback_does_not_run_inside_of_the_handler_that_the_signal_interrupts(loop: Loop) -> None:
    came: list[str] = []
    loop.add_signal_handler(signal.SIGUSR1, came.append, "signal")

    def handler() -> None:
        signal.raise_signal(signal.SIGUSR1)
        came.append("handler")

    loop.call_soon(handler)
    loop.run()
    assert came == ["handler", "signal"]


def test_callback_of_a_loop_in_another_thread_is_called(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    thread = threading.Thread(target=loop.run, kwargs={"forever": True})
    thread.start()
    signal.raise_signal(signal.SIGUSR1)
    thread.join(20)
    assert not thread.is_alive()


def test_handler_that_was_set_before_is_called_first_and_put_back(loop: Loop, before: list[str]) -> None:
    own = signal.getsignal(signal.SIGUSR1)
    loop.add_signal_handler(signal.SIGUSR1, before.append, "one")
    loop.add_signal_handler(signal.SIGUSR1, before.append, "two")
    signal.raise_signal(signal.SIGUSR1)
    assert before == ["before"]
    loop.run()
    assert before == ["before", "one", "two"]
    assert loop.remove_signal_handler(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is own
    assert not loop.remove_signal_handler(signal.SIGUSR1)


def test_callback_is_called_although_the_handler_before_raises(loop: Loop) -> None:
    came: list[str] = []

    def fail(number: int, frame: FrameType | None) -> None:
        raise LookupError(number)

    found = signal.signal(signal.SIGUSR1, fail)
    loop.add_signal_handler(signal.SIGUSR1, came.append, "called")
    with pytest.raises(LookupError):
        signal.raise_signal(signal.SIGUSR1)
    loop.run()
    assert came == ["called"]
    loop.remove_signal_handler(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, found)


def test_pythons_own_handler_of_sigint_is_not_called(loop: Loop) -> None:
    came: list[str] = []
    loop.add_signal_handler(signal.SIGINT, came.append, "called")
    signal.raise_signal(signal.SIGINT)
    loop.run()
    assert came == ["called"]


def test_closed_loop_has_put_all_handlers_back() -> None:
    numbers = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)
    found = [signal.getsignal(number) for number in numbers]
    with Loop() as loop:
        for number in numbers:
            loop.add_signal_handler(number, print)
    assert [signal.getsignal(number) for number in numbers] == found


@pytest.mark.parametrize("first", [0, 1])
def test_loops_that_handle_the_same_signal_may_close_in_any_order(before: list[str], first: int) -> None:
    own = signal.getsignal(signal.SIGUSR1)
    loops = [Loop(), Loop()]
    for number, loop in enumerate(loops):
        loop.add_signal_handler(signal.SIGUSR1, before.append, f"loop {number}")
    signal.raise_signal(signal.SIGUSR1)
    for loop in loops:
        loop.run()
    assert before == ["before", "loop 0", "loop 1"]
    before.clear()
    left = loops[1 - first]
    loops[first].close()
    signal.raise_signal(signal.SIGUSR1)
    left.run()
    assert before == ["before", f"loop {1 - first}"]
    left.close()
    assert signal.getsignal(signal.SIGUSR1) is own


def test_handler_that_is_set_later_stays_and_may_call_the_one_of_the_loop(loop: Loop) -> None:
    came: list[str] = []
    found = signal.getsignal(signal.SIGUSR1)
    loop.add_signal_handler(signal.SIGUSR1, came.append, "loop")
    ours = signal.getsignal(signal.SIGUSR1)
    assert callable(ours)

    def later(number: int, frame: FrameType | None) -> None:
        came.append("later")
        ours(number, frame)

    signal.signal(signal.SIGUSR1, later)
    signal.raise_signal(signal.SIGUSR1)
    loop.run()
    loop.remove_signal_handler(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)  # which ours, that is over, has no use for
    loop.run()
    assert came == ["later", "loop", "later"]
    assert signal.signal(signal.SIGUSR1, found) is later


def test_handler_that_the_program_sets_again_when_the_loop_is_done_with_it_passes_signals_on(
    loop: Loop, before: list[str]
) -> None:
    loop.add_signal_handler(signal.SIGUSR1, print)
    ours = signal.getsignal(signal.SIGUSR1)
    own = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.remove_signal_handler(signal.SIGUSR1)
    assert own is ours
    signal.signal(signal.SIGUSR1, own)
    signal.raise_signal(signal.SIGUSR1)
    assert before == ["before"]
    assert not isinstance(signal.getsignal(signal.SIGUSR1), type(ours))


def test_interrupt_is_passed_on_to_pythons_own_handler_when_the_loop_is_closed() -> None:
    found = signal.getsignal(signal.SIGINT)
    try:
        with Loop() as loop:
            loop.add_signal_handler(signal.SIGINT, print)
            ours = signal.getsignal(signal.SIGINT)
            assert callable(ours)
            signal.signal(signal.SIGINT, lambda number, frame: ours(number, frame))
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, found)


def test_handler_is_added_behind_one_that_was_set_meanwhile(loop: Loop) -> None:
    came: list[str] = []
    found = signal.getsignal(signal.SIGUSR1)
    loop.add_signal_handler(signal.SIGUSR1, came.append, "one")

    def meanwhile(number: int, frame: FrameType | None) -> None:
        came.append("meanwhile")

    signal.signal(signal.SIGUSR1, meanwhile)
    loop.add_signal_handler(signal.SIGUSR1, came.append, "two")
    signal.raise_signal(signal.SIGUSR1)
    loop.run()
    assert came == ["meanwhile", "one", "two"]
    loop.remove_signal_handler(signal.SIGUSR1)
    assert signal.signal(signal.SIGUSR1, found) is meanwhile


def test_signal_drains_and_calls_what_was_added(loop: Loop, before: list[str]) -> None:
    found = signal.getsignal(signal.SIGTERM)
    loop.drain_on_signals(5)
    loop.add_signal_handler(signal.SIGTERM, before.append, "added")
    signal.raise_signal(signal.SIGTERM)
    loop.run()
    assert before == ["added"]
    loop.remove_signal_handler(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is found


def test_only_the_main_thread_may_add_or_remove_a_handler(loop: Loop) -> None:
    refused: list[str] = []

    def attempt() -> None:
        for call in (lambda: loop.add_signal_handler(signal.SIGUSR1, print), lambda: loop.remove_signal_handler(10)):
            try:
                call()
            except RuntimeError as error:
                refused.append(str(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert [text.split(":")[0] for text in refused] == ["add_signal_handler", "remove_signal_handler"]
    assert all("main thread" in text for text in refused)


def test_what_cannot_be_handled_is_refused(loop: Loop) -> None:
    with pytest.raises(TypeError, match="cannot be called"):
        loop.add_signal_handler(signal.SIGUSR1, None)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="Invalid argument"):
        loop.add_signal_handler(signal.SIGKILL, print)
    with pytest.raises(ValueError, match="out of range"):
        loop.add_signal_handler(1000, print)
    assert not loop.remove_signal_handler(signal.SIGKILL)


def test_callback_that_fails_goes_to_handle_exception() -> None:
    failed: list[BaseException] = []

    class Noting(Loop):
        def handle_exception(self, error: BaseException, handle: object) -> None:
            failed.append(error)

    def fail() -> None:
        raise LookupError

    with Noting() as loop:
        loop.add_signal_handler(signal.SIGUSR1, fail)
        signal.raise_signal(signal.SIGUSR1)
        loop.run()
    assert [type(error) for error in failed] == [LookupError]
