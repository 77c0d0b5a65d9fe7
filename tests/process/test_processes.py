# SPDX-License-Identifier: MIT
"""Programs that the loop starts: their pipes, their ends, and the signals that they get."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cyncore import BACKENDS, Loop, Process, Stream
from tests.support.loops import ends_by_itself, every_backend

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no pipes that a loop can wait for")


class Text(Stream):
    """Keeps what it reads, and how it ended."""

    def __init__(self) -> None:
        self.got = b""
        self.told: list[Any] = []

    def handle_data(self, data: bytes) -> None:
        self.got += data

    def handle_close(self, error: BaseException | None) -> None:
        self.told.append(error)


class Job(Process):
    """Notes its status, and what its streams had told by then."""

    def __init__(self) -> None:
        self.exits: list[int] = []
        self.seen: list[Any] = []

    def handle_exit(self, status: int) -> None:
        self.exits.append(status)
        self.seen += [stream.got for stream in (self.stdout, self.stderr) if isinstance(stream, Text)]


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def await_end(pid: int) -> None:
    """Returns when the child has ended, and leaves its exit to whoever asks for it."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":  # PyPy on Linux
        os.sched_yield()


def refuse(number: int, flags: int = 0) -> int:
    raise OSError(errno.ENOSYS, "no such call here")


@pytest.fixture(params=["pidfd", "sigchld"])
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the end of a child is noticed."""
    if request.param == "sigchld":
        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    elif not hasattr(os, "pidfd_open"):
        pytest.skip("no descriptors of processes here")
    return str(request.param)


@pytest.fixture
def job(loop: Loop) -> Iterator[Callable[..., Job]]:
    """Starts a program of Python; those that are left are ended in the end."""
    made: list[Job] = []

    def start(text: str, **options: Any) -> Job:
        found = loop.spawn(program(text), Job, **options)
        made.append(found)
        return found

    yield start
    for one in made:
        if one.running:
            one.kill()
            with ends_by_itself(loop):
                loop.run()


def is_gone(pid: int) -> bool:
    """Has the kernel forgotten the child?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("loop", BACKENDS, indirect=True)
def test_what_a_child_writes_comes_before_its_exit(loop: Loop, job: Callable[..., Job], means: str) -> None:
    one = job("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)", stdout=Text, stderr=Text)
    assert one.running
    with ends_by_itself(loop):
        loop.run()
    assert (one.exits, one.seen) == ([3], [b"out\n", b"err\n"])
    assert (one.status, one.running) == (3, False)
    assert one.stdout.told == one.stderr.told == [None]
    assert is_gone(one.pid)


@every_backend
def test_what_is_written_to_a_child_comes_back_through_it(loop: Loop, job: Callable[..., Job]) -> None:
    data = bytes(range(256)) * 4000  # more than a pipe holds
    one = job("import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())", stdin=Text, stdout=Text)
    one.stdin.write(data)
    one.stdin.write_eof()
    with ends_by_itself(loop):
        loop.run()
    assert one.seen == [data]
    assert one.stdin.told == [None]


def test_output_of_a_child_that_ended_long_ago_comes_before_its_exit(loop: Loop, job: Callable[..., Job]) -> None:
    one = job("import sys; sys.stdout.write('x' * 60000)", stdout=Text)
    await_end(one.pid)
    with ends_by_itself(loop):
        loop.run()
    assert one.seen == [b"x" * 60000]


def test_paused_stream_does_not_hold_the_exit_up(loop: Loop, job: Callable[..., Job]) -> None:
    one = job("print('unread')", stdout=Text)
    one.stdout.pause_reading()
    with ends_by_itself(loop):
        while not one.exits:
            loop.poll(1)
    assert one.seen == [b""]
    one.stdout.resume_reading()
    with ends_by_itself(loop):
        loop.run()
    assert one.stdout.got == b"unread\n"


def test_pipe_that_a_grandchild_keeps_open_does_not_hold_the_exit_up(loop: Loop, job: Callable[..., Job]) -> None:
    text = "import os, sys, time\nif os.fork(): sys.stdout.write('left'); sys.stdout.flush(); os._exit(0)\n"
    one = job(text + "sys.stdin.read()", stdin=Text, stdout=Text)
    with ends_by_itself(loop):
        while not one.exits:
            loop.poll(1)
    assert one.seen == [b"left"]
    assert one.stdout.told == []
    one.stdin.write_eof()
    with ends_by_itself(loop):
        loop.run()
    assert one.stdout.told == [None]


def test_input_that_a_child_does_not_want_ends_its_stream(loop: Loop, job: Callable[..., Job]) -> None:
    one = job("import os; os.close(0); print('closed', flush=True); os.read(3, 1)", **stay(), stdin=Text, stdout=Text)
    with ends_by_itself(loop):
        while not one.stdin.told:
            loop.poll(1)
    assert one.stdin.told == [None]
    assert one.running


def test_waiting_output_to_a_child_that_ends_is_lost_with_an_error(loop: Loop, job: Callable[..., Job]) -> None:
    one = job("pass", stdin=Text)
    one.stdin.write(bytes(1_000_000))
    with ends_by_itself(loop):
        loop.run()
    (error,) = one.stdin.told
    assert isinstance(error, BrokenPipeError)


_held: list[int] = []


def stay() -> dict[str, Any]:
    """Options for a child that reads descriptor 3, and so stays until it gets a signal or the test is over."""
    reader, writer = os.pipe()
    _held.extend((reader, writer))
    return {"preexec_fn": lambda: os.dup2(reader, 3), "pass_fds": [3]}


@pytest.fixture(autouse=True)
def let_go() -> Iterator[None]:
    yield
    while _held:
        os.close(_held.pop())


STAY = "import os, signal; print('ready', flush=True); os.read(3, 1)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAY


def wait_for_output(loop: Loop, one: Job) -> None:
    with ends_by_itself(loop):
        while not one.stdout.got:
            loop.poll(1)


def test_signal_that_ended_a_child_is_its_status(loop: Loop, job: Callable[..., Job], means: str) -> None:
    one = job(STAY, **stay(), stdout=Text)
    wait_for_output(loop, one)
    one.terminate(60)
    with ends_by_itself(loop):
        loop.run()
    assert one.exits == [-signal.SIGTERM]
    assert loop.next_deadline() is None


def test_child_that_does_not_end_is_killed_at_the_deadline(loop: Loop, job: Callable[..., Job]) -> None:
    one = job(STUBBORN, **stay(), stdout=Text)
    wait_for_output(loop, one)
    one.terminate(0.05)
    with ends_by_itself(loop):
        loop.run()
    assert one.exits == [-signal.SIGKILL]


def test_signals_to_a_child_that_has_ended_go_nowhere(loop: Loop, job: Callable[..., Job]) -> None:
    one = job("pass")
    with ends_by_itself(loop):
        loop.run()
    one.terminate(1)
    one.kill()
    one.send_signal(signal.SIGUSR1)
    assert one.exits == [0]
    with pytest.raises(ValueError, match="below zero"):
        one.terminate(-1)


def test_loop_closes_while_a_child_runs(job: Callable[..., Job]) -> None:
    with Loop() as other:
        one = other.spawn(program(STAY), Job, **stay(), stdout=subprocess.DEVNULL)
    assert one.running
    one.terminate(5)
    assert os.waitpid(one.pid, 0)[1] == signal.SIGTERM
    one._popen.returncode = -signal.SIGTERM


def test_status_is_not_known_where_somebody_else_has_waited(
    loop: Loop, job: Callable[..., Job], caplog: pytest.LogCaptureFixture
) -> None:
    one = job("pass")
    os.waitpid(one.pid, 0)
    with ends_by_itself(loop):
        loop.run()
    assert one.exits == [255]
    assert "somebody else has waited" in caplog.text


@pytest.mark.parametrize("means", ["pidfd", "sigchld"], indirect=True)
def test_signals_to_a_child_that_somebody_else_has_waited_for_go_nowhere(
    loop: Loop, job: Callable[..., Job], means: str
) -> None:
    one = job("pass")
    os.waitpid(one.pid, 0)
    one.terminate(5)
    one.kill()
    with ends_by_itself(loop):
        loop.run()
    assert one.exits == [255]


@pytest.mark.skipif(not hasattr(signal, "pidfd_send_signal"), reason="no pidfd")
def test_signals_do_not_reach_another_process_of_its_number(loop: Loop, job: Callable[..., Job]) -> None:
    one = job("pass")
    os.waitpid(one.pid, 0)
    stranger = subprocess.Popen([sys.executable, "-c", STAY], **stay())
    pid, one.pid = one.pid, stranger.pid  # as if the kernel had given the number again
    one.kill()
    one.pid = pid
    with ends_by_itself(loop):
        loop.run()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


# Where there is no pidfd


def test_signals_of_children_that_come_as_one_are_told_of_all(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    before = signal.getsignal(signal.SIGCHLD)
    jobs = [loop.spawn(program("pass"), Job) for _ in range(4)]
    for one in jobs:
        await_end(one.pid)
    with ends_by_itself(loop):
        loop.run()
    assert [one.exits for one in jobs] == [[0]] * 4
    assert signal.getsignal(signal.SIGCHLD) is before


def test_other_thread_cannot_start_a_child_without_pidfd(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    refused: list[RuntimeError] = []

    def start() -> None:
        try:
            loop.spawn(program("pass"), Job, stdout=Text)
        except RuntimeError as error:
            refused.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(refused[0])


def test_other_thread_starts_a_child_by_pidfd(loop: Loop) -> None:
    if not hasattr(os, "pidfd_open"):
        pytest.skip("no descriptors of processes here")
    jobs: list[Job] = []

    def serve() -> None:
        jobs.append(loop.spawn(program("print('out')"), Job, stdout=Text))
        loop.run()

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join(30)
    assert (jobs[0].exits, jobs[0].seen) == ([0], [b"out\n"])


# Options and mistakes


def test_options_are_those_of_popen(loop: Loop, job: Callable[..., Job], tmp_path: Any) -> None:
    text = "import os, sys; print(os.getcwd(), os.environ['WORD'], file=sys.stderr)"
    one = job(text, stdout=Text, stderr=subprocess.STDOUT, cwd=tmp_path, env={"WORD": "x"})
    with ends_by_itself(loop):
        loop.run()
    assert one.seen == [f"{os.path.realpath(tmp_path)} x\n".encode()]


def test_program_that_is_not_there_leaves_nothing(loop: Loop, means: str) -> None:
    with pytest.raises(FileNotFoundError):
        loop.spawn(["/no/such/program"], Job, stdin=Text, stdout=Text)
    assert loop.map == {}
    loop.run()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stdout": subprocess.PIPE}, "class of streams"),
        ({"text": True}, "streams of bytes"),
        ({"stdout": dict}, "must return a cyncore.Stream"),
        ({"factory": dict}, "must return a cyncore.Process"),
    ],
)
def test_what_makes_no_sense_is_refused(loop: Loop, options: dict[str, Any], words: str) -> None:
    factory = options.pop("factory", Job)
    with pytest.raises(TypeError, match=words):
        loop.spawn(program("pass"), factory, **options)
    assert loop.map == {}


def test_process_is_one_child(loop: Loop, job: Callable[..., Job]) -> None:
    one = job("pass")
    with pytest.raises(RuntimeError, match="started already"):
        loop.spawn(program("pass"), lambda: one)
    with ends_by_itself(loop):
        loop.run()


def test_handler_that_fails_is_logged(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(Process):
        def handle_exit(self, status: int) -> None:
            raise LookupError(status)

    loop.spawn(program("pass"), Wrong)
    with ends_by_itself(loop):
        loop.run()
    assert "LookupError: 0" in caplog.text


# The end of a loop's work


def test_drain_ends_a_child_that_is_not_busy(loop: Loop, job: Callable[..., Job]) -> None:
    one = job(STAY, **stay(), stdout=Text)
    wait_for_output(loop, one)
    loop.drain(60)
    with ends_by_itself(loop):
        loop.run()
    assert one.exits == [-signal.SIGTERM]


def test_drain_waits_for_a_child_that_is_busy(loop: Loop, job: Callable[..., Job]) -> None:
    one = job("import sys; sys.stdout.write(sys.stdin.read())", stdin=Text, stdout=Text)
    one.busy = True
    loop.drain(60)
    one.stdin.write(b"finished")
    one.stdin.write_eof()
    with ends_by_itself(loop):
        loop.run()
    assert (one.exits, one.seen) == ([0], [b"finished"])
    assert loop.next_deadline() is None


def test_child_that_is_busy_no_more_is_ended_by_a_drain(loop: Loop, job: Callable[..., Job]) -> None:
    one = job(STAY, **stay(), stdout=Text)
    wait_for_output(loop, one)
    one.busy = True
    loop.drain(60)
    one.busy = False
    with ends_by_itself(loop):
        loop.run()
    assert one.exits == [-signal.SIGTERM]


def test_child_that_is_left_is_killed_when_the_drain_is_over(loop: Loop, job: Callable[..., Job]) -> None:
    one = job(STUBBORN, **stay(), stdout=Text)
    wait_for_output(loop, one)
    loop.drain(0.05)
    with ends_by_itself(loop):
        loop.run()
    assert one.exits == [-signal.SIGKILL]


def test_child_that_is_killed_after_a_signal_is_told_of_before_the_run_ends(
    loop: Loop, job: Callable[..., Job]
) -> None:
    one = job(STUBBORN, **stay(), stdout=Text)
    wait_for_output(loop, one)
    loop.drain_on_signals(0.05)
    loop.call_soon(signal.raise_signal, signal.SIGTERM)
    timer = loop.call_later(3600, print, "a timer that nobody waits for")
    with ends_by_itself(loop):
        loop.run()
    assert one.exits == [-signal.SIGKILL]
    timer.cancel()


def test_child_that_cannot_be_killed_does_not_keep_a_drain(
    loop: Loop, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def not_ours() -> None:
        raise PermissionError(errno.EPERM, "not ours")

    one = job(STUBBORN, **stay(), stdout=Text)
    wait_for_output(loop, one)
    monkeypatch.setattr(one, "kill", not_ours, raising=False)
    loop.drain_on_signals(0.05)
    loop.call_soon(signal.raise_signal, signal.SIGTERM)
    with ends_by_itself(loop):
        loop.run()
    assert "cannot be killed" in caplog.text
    monkeypatch.undo()
    one.kill()
    with ends_by_itself(loop):
        loop.run()
    assert one.exits == [-signal.SIGKILL]
