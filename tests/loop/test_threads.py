# SPDX-License-Identifier: MIT
"""Threads: one at a time is in a loop, a second one waits its turn, and debug mode tells of a wrong one."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import cyncore.asyncore as asyncore
from cyncore import BACKENDS, Lines, Loop, Stream, dispatcher, dispatcher_with_send
from tests.support.peers import Peers, Recorder, poll_until

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()


@contextmanager
def busy_elsewhere(loop: Loop) -> Iterator[None]:
    """Another thread is in the loop, held up in a callback."""
    entered, release = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        release.wait()

    loop.call_soon_threadsafe(hold)
    other = threading.Thread(target=loop.poll, name="busy")
    other.start()
    entered.wait()
    try:
        yield
    finally:
        release.set()
        other.join()


def test_a_second_thread_that_does_not_get_its_turn_returns(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    peer.send(b"x")
    with busy_elsewhere(loop):
        assert loop.poll(0.01) == 0
        asyncore.loop(0.01, map=loop.map, count=2)
        assert channel.got == b""
    loop.poll()
    assert channel.got == b"x"


def test_two_threads_are_never_in_handlers_of_one_map_at_once(loop: Loop, peers: Peers) -> None:
    inside = threading.Lock()
    overlaps: list[str] = []

    class Checker(Recorder):
        def handle_read(self) -> None:
            if not inside.acquire(blocking=False):
                overlaps.append("two threads")
                return
            Recorder.handle_read(self)
            inside.release()

        def handle_error(self) -> None:
            raise AssertionError

    channel, peer = peers.channel(Checker, loop.map, size=1)
    peer.send(b"x" * 2000)

    def serve() -> None:
        while len(channel.got) < 2000:
            asyncore.loop(0.01, map=loop.map, count=5)

    threads = [threading.Thread(target=serve) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == []
    assert channel.got == b"x" * 2000


def test_threads_run_loops_of_their_own(peers: Peers) -> None:
    results: dict[int, bytes] = {}

    def serve(number: int) -> None:
        with Loop() as loop:
            channel, peer = Recorder(ours[number], loop.map, size=3), theirs[number]
            for _ in range(100):
                peer.send(b"%03d" % number)
                loop.poll(5)
            results[number] = channel.got

    ours, theirs = zip(*(peers.pair() for _ in range(4)), strict=True)
    threads = [threading.Thread(target=serve, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: b"%03d" % number * 100 for number in range(4)}


def test_two_threads_that_ask_for_the_loop_of_a_map_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Environment(dict[str, str]):
        """Lets the other thread run while a loop is being made."""

        def get(self, name: str, default: Any = None) -> Any:
            if name == "CYNCORE_BACKEND" and not threads:
                threads.append(threading.Thread(target=ask))
                threads[0].start()
                threads[0].join(0.1)  # in vain, where it waits for the one that was first
            return super().get(name, default)

    def ask() -> None:
        try:
            found.append(Loop.of(map))
        except Exception as error:
            found.append(error)

    map: dict[int, Any] = {}
    found: list[Any] = []
    threads: list[threading.Thread] = []
    monkeypatch.setattr(os, "environ", Environment(os.environ))
    ask()
    threads[0].join(10)
    assert isinstance(found[0], Loop)
    assert found[0] is found[1]
    assert found[0].map is map
    found[0].close()


@pytest.mark.skipif(not HAS_GIL, reason="without the GIL only its own thread may give a loop channels")
@pytest.mark.parametrize("begun", [False, True])
def test_a_channel_that_comes_into_a_map_that_a_thread_serves_already_is_served(peers: Peers, begun: bool) -> None:
    class Client(Recorder):
        def handle_write(self) -> None:
            self.send(self.queue)
            self.queue = b""

        # Nothing is wanted of a socket that is not connected yet: the kernel calls it hung up.
        def readable(self) -> bool:
            return self.connected

        def writable(self) -> bool:
            return bool(self.queue)

        queue = b""

    def serve() -> None:
        rounds = 0
        while not done.is_set():
            try:
                asyncore.loop(timeout=0.001, map=map, count=1)
            except Exception as error:
                raised.append(error)
                return
            rounds += 1
            if rounds == 10:
                served.set()

    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(5)
    peers.keep(server)
    raised: list[Exception] = []
    for _ in range(10):
        map: dict[int, Any] = {}
        done, served = threading.Event(), threading.Event()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert not begun or served.wait(10)
        client = Client(None, map)
        client.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        peers.keep(client.socket)
        client.connect(server.getsockname())
        client.queue = b"hello"
        far, _ = server.accept()
        peers.keep(far)
        far.settimeout(5)
        assert far.recv(100) == b"hello"
        done.set()
        thread.join(10)
        assert not thread.is_alive()
        assert not raised
        client.close()


# Debug mode


UNDER_THE_GIL = pytest.mark.skipif(not HAS_GIL, reason="without the GIL it is refused")


WRONG: dict[str, Callable[[Loop], object]] = {
    "call_soon": lambda loop: loop.call_soon(print),
    "call_later": lambda loop: loop.call_later(1, print),
    "call_at": lambda loop: loop.call_at(1, print),
    "poll": lambda loop: loop.poll(),
    "run": lambda loop: loop.run(),
    "add_channel": lambda loop: add_channel(loop),
}


def add_channel(loop: Loop) -> None:
    one, two = socket.socketpair()
    with one, two:
        dispatcher(one, loop.map)


@pytest.mark.parametrize("name", WRONG)
def test_debug_mode_names_a_call_from_a_wrong_thread(name: str) -> None:
    with Loop(debug=True) as loop, busy_elsewhere(loop), pytest.raises(RuntimeError, match=name):
        WRONG[name](loop)


def test_debug_mode_refuses_to_cancel_a_timer_from_another_thread() -> None:
    with Loop(debug=True) as loop:
        for timer in (loop.call_later(60, print), loop.call_at(loop.time() + 60, print)):
            with busy_elsewhere(loop), pytest.raises(RuntimeError, match=r"TimerHandle\.cancel: called in thread"):
                timer.cancel()
            assert not timer.cancelled()
            timer.cancel()  # nobody runs the loop now
            assert timer.cancelled()
        left = loop.call_later(60, print)
    left.cancel()  # of a loop that is closed


def test_without_debug_mode_a_timer_is_cancelled_wherever_it_is() -> None:
    with Loop(debug=False) as loop:
        timer = loop.call_later(60, print)
        with busy_elsewhere(loop):
            timer.cancel()
        assert timer.cancelled()


def test_debug_mode_lets_other_threads_do_what_they_may() -> None:
    made: list[str] = []
    with Loop(debug=True) as loop:
        with busy_elsewhere(loop):
            loop.call_soon_threadsafe(made.append, "made")
            loop.wake()
            loop.stop()
        loop.run_map(0, 1)
        loop.poll()
    assert made == ["made"]


def test_debug_mode_lets_anyone_prepare_a_loop_that_never_ran() -> None:
    made: list[str] = []
    with Loop(debug=True) as loop:
        loop.call_soon(made.append, "made")
        helper = threading.Thread(target=loop.run)
        helper.start()
        helper.join()
    assert made == ["made"]


@pytest.mark.parametrize("name", ["pause_reading", "resume_reading"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_debug_mode_refuses_to_pause_from_another_thread(backend: str, name: str, peers: Peers) -> None:
    raised: list[BaseException | None] = []

    def meddle() -> None:
        try:
            getattr(channel, name)()
        except BaseException as error:
            raised.append(error)
        else:
            raised.append(None)

    def call() -> None:  # in the loop's thread, which so runs the loop until the other has tried
        helper = threading.Thread(target=meddle)
        helper.start()
        helper.join(5)

    with Loop(backend=backend, debug=True) as loop:
        channel, far = peers.channel(Recorder, loop.map)
        loop.call_soon(call)
        loop.poll()
        assert [type(error) for error in raised] == [RuntimeError]
        getattr(channel, name)()  # nobody runs it now
        channel.resume_reading()
        far.send(b"x")
        poll_until(loop, lambda: channel.got == b"x", 100)


@UNDER_THE_GIL
@pytest.mark.parametrize("backend", BACKENDS)
def test_debug_mode_lets_another_thread_close(backend: str, peers: Peers) -> None:
    with Loop(backend=backend, debug=True) as loop:
        channel, _ = peers.channel(Recorder, loop.map)
        helper = threading.Thread(target=channel.close)
        loop.call_soon(helper.start)
        loop.call_soon(helper.join, 5)
        loop.poll()
        poll_until(loop, lambda: not loop.map, 100)
    assert channel.seen == []


OLD: dict[str, Callable[[Any], object]] = {
    "send": lambda channel: channel.send(b"x"),
    "recv": lambda channel: channel.recv(100),
    "del_channel": lambda channel: channel.del_channel(),
}


@UNDER_THE_GIL
@pytest.mark.parametrize("name", OLD)
def test_debug_mode_says_once_that_an_old_channel_is_used_in_another_thread(
    name: str, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    class Used(Recorder):
        pass

    with Loop(debug=True) as loop:
        two = [peers.channel(Used, loop.map) for _ in range(2)]
        for _, far in two:
            far.send(b"x")
        with busy_elsewhere(loop):
            for channel, _ in two:
                OLD[name](channel)
        assert [record.getMessage().count(f"{name}: called in thread") for record in caplog.records] == [1]
        for channel, _ in two:
            channel.close()


@UNDER_THE_GIL
def test_debug_mode_says_that_a_channel_with_a_buffer_sends_in_another_thread(
    peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    class Buffered(dispatcher_with_send):
        """A class of its own: what is said is said once for each."""

    with Loop(debug=True) as loop:
        channel, far = peers.channel(Buffered, loop.map)
        with busy_elsewhere(loop):
            channel.send(b"x")
        assert far.recv(10) == b"x"
        assert [record.getMessage().count("send: called in thread") for record in caplog.records] == [1]
        channel.close()


@pytest.mark.skipif(HAS_GIL, reason="under the GIL it works")
@pytest.mark.parametrize("name", OLD)
def test_debug_mode_refuses_without_the_gil_to_use_an_old_channel_in_another_thread(name: str, peers: Peers) -> None:
    with Loop(debug=True) as loop:
        channel, _ = peers.channel(Recorder, loop.map)
        with busy_elsewhere(loop), pytest.raises(RuntimeError, match=f"{name}: called in thread"):
            OLD[name](channel)
        channel.close()


def test_without_debug_mode_nothing_is_said(peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    class Used(Recorder):
        pass

    with Loop(debug=False) as loop:
        channel, far = peers.channel(Used, loop.map)
        far.send(b"x")
        with busy_elsewhere(loop):
            channel.send(b"x")
            assert channel.recv(100) == b"x"
        channel.close()
    assert not caplog.records


NEW: dict[str, Callable[[Any], object]] = {
    "write_eof": lambda stream: stream.write_eof(),
    "close": lambda stream: stream.close(),
    "abort": lambda stream: stream.abort(),
    "pause_reading": lambda stream: stream.pause_reading(),
    "sendfile": lambda stream: stream.sendfile(0),
    "pipe": lambda stream: stream.pipe(Stream()),
    "start_tls": lambda stream: stream.start_tls(None),
    "idle_deadline": lambda stream: setattr(stream, "idle_deadline", 1.0),
    "high_water": lambda stream: setattr(stream, "high_water", 1),
    "framing": lambda stream: setattr(stream, "framing", Lines()),
}


@pytest.mark.parametrize("name", NEW)
def test_debug_mode_refuses_what_a_stream_is_told_in_another_thread(name: str, peers: Peers) -> None:
    with Loop(debug=True) as loop:
        ours, _ = peers.pair()
        stream = Stream(ours, loop=loop)
        poll_until(loop, lambda: stream.connected)
        with busy_elsewhere(loop), pytest.raises(RuntimeError, match=f"{name}: called in thread"):
            NEW[name](stream)
        stream.abort()


def test_debug_mode_lets_any_thread_write(peers: Peers) -> None:
    with Loop(debug=True) as loop:
        ours, theirs = peers.pair()
        stream = Stream(ours, loop=loop)
        poll_until(loop, lambda: stream.connected)
        with busy_elsewhere(loop):
            stream.write(b"a")
            stream.writelines([b"b", b"c"])
        theirs.setblocking(False)
        got = bytearray()

        def arrived() -> bool:
            with contextlib.suppress(BlockingIOError):
                got.extend(theirs.recv(100))
            return got == b"abc"

        poll_until(loop, arrived)
        stream.abort()
