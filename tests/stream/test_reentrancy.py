# SPDX-License-Identifier: MIT
"""Handlers that do to their stream, to others and to the loop whatever a program may do."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from cyncore import Exactly, ExitNow, LimitExceeded, Lines, Loop, Stream
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, connected, receive


class Lined(Recorder):
    """Does what `act` says for its first frame."""

    framing: Any = Lines()
    act: Callable[[Any], None] | None = None

    def handle_frame(self, frame: bytes) -> None:
        super().handle_frame(frame)
        act, self.act = self.act, None
        if act is not None:
            act(self)


def lined(peers: Peers, loop: Loop, act: Callable[[Any], None], kind: type[Lined] = Lined) -> tuple[Any, socket.socket]:
    stream, theirs = connected(peers, loop, kind)
    stream.act = act
    return stream, theirs


@every_backend
@pytest.mark.parametrize("hangs_up", [False, True])
def test_the_end_is_told_after_frames_although_a_handler_runs_the_loop(
    loop: Loop, peers: Peers, hangs_up: bool
) -> None:
    def run_the_loop(stream: Any) -> None:
        if hangs_up:
            theirs.close()
        else:
            theirs.shutdown(socket.SHUT_WR)
        for _ in range(5):
            loop.poll(0.01)

    stream, theirs = lined(peers, loop, run_the_loop)
    theirs.sendall(b"one\ntwo\nthree\n")
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", b"one", b"two", b"three", "eof", "close"]


@every_backend
def test_lost_output_is_told_after_frames_although_a_handler_runs_the_loop(loop: Loop, peers: Peers) -> None:
    def run_the_loop(stream: Any) -> None:
        theirs.close()
        stream.write(b"too late")
        for _ in range(5):
            loop.poll(0.01)

    stream, theirs = lined(peers, loop, run_the_loop)
    theirs.sendall(b"one\ntwo\nthree\n")
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen[:4] == ["connect", b"one", b"two", b"three"]
    assert isinstance(stream.seen[-1], BrokenPipeError)


@every_backend
def test_a_handler_that_runs_the_loop_piles_up_no_frames(loop: Loop, peers: Peers) -> None:
    def run_the_loop(stream: Any) -> None:
        theirs.setblocking(False)
        for _ in range(50):
            try:
                theirs.send(b"more\n" * 10_000)
            except BlockingIOError:
                pass
            loop.poll(0)
        held.append(len(stream.unread))

    held: list[int] = []
    stream, theirs = lined(peers, loop, run_the_loop)
    theirs.sendall(b"one\n")
    poll_until(loop, lambda: bool(held))
    assert held[0] <= 2 * 65_536
    stream.abort()


@every_backend
def test_what_comes_while_a_handler_runs_the_loop_is_behind_what_came_before(loop: Loop, peers: Peers) -> None:
    def end_framing(stream: Any) -> None:
        stream.framing = None
        theirs.sendall(b"three")
        for _ in range(3):
            loop.poll(0.01)

    stream, theirs = lined(peers, loop, end_framing)
    theirs.sendall(b"one\ntwo,")
    poll_until(loop, lambda: len(stream.got) == 9)
    assert stream.got == b"two,three"
    stream.abort()


def test_a_handler_may_pause_and_resume_at_once(loop: Loop, peers: Peers) -> None:
    def pause_and_resume(stream: Any) -> None:
        stream.pause_reading()
        stream.resume_reading()

    stream, theirs = lined(peers, loop, pause_and_resume)
    theirs.sendall(b"one\ntwo\n")
    theirs.close()
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", b"one", b"two", "eof", "close"]


def test_a_handler_may_abort_its_stream(loop: Loop, peers: Peers) -> None:
    stream, theirs = lined(peers, loop, lambda stream: stream.abort())
    theirs.sendall(b"one\ntwo\n")
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", b"one", "close"]
    assert stream.unread == b"two\n"


def test_frames_go_on_after_an_error_that_the_program_forgives(loop: Loop, peers: Peers) -> None:
    class Forgiving(Lined):
        def handle_error(self, error: BaseException) -> None:
            self.seen.append(type(error))

    def fail(stream: Any) -> None:
        raise LookupError("wrong")

    stream, theirs = lined(peers, loop, fail, Forgiving)
    theirs.sendall(b"one\ntwo\nthree\n")
    theirs.close()
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", b"one", LookupError, b"two", b"three", "eof", "close"]


def test_frames_go_on_when_the_loop_runs_again_after_an_exit(loop: Loop, peers: Peers) -> None:
    def leave(stream: Any) -> None:
        raise ExitNow

    stream, theirs = lined(peers, loop, leave)
    theirs.sendall(b"one\ntwo\n")
    with pytest.raises(ExitNow):
        poll_until(loop, lambda: False)
    poll_until(loop, lambda: stream.seen[-1] == b"two")
    stream.abort()


def test_a_limit_that_a_handler_raises_is_an_error_of_the_handler(loop: Loop, peers: Peers) -> None:
    class Told(Lined):
        def handle_error(self, error: BaseException) -> None:
            self.seen.append(type(error))

    def fail(stream: Any) -> None:
        raise LimitExceeded("of the program")

    stream, theirs = lined(peers, loop, fail, Told)
    theirs.sendall(b"one\ntw")
    poll_until(loop, lambda: len(stream.seen) == 3)
    theirs.sendall(b"o\n")
    poll_until(loop, lambda: stream.seen[-1] == b"two")
    assert stream.seen == ["connect", b"one", LimitExceeded, b"two"]
    stream.abort()


def test_a_stream_that_forgives_an_error_of_its_end_still_ends(loop: Loop, peers: Peers) -> None:
    class Forgiving(Recorder):
        def handle_eof(self) -> None:
            raise LookupError("wrong")

        def handle_error(self, error: BaseException) -> None:
            self.seen.append(type(error))

    stream, theirs = connected(peers, loop, Forgiving)
    stream.write_eof()
    loop.poll(0)
    theirs.shutdown(socket.SHUT_WR)
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", LookupError, "close"]


def test_a_stream_resumed_by_another_of_its_batch_keeps_the_order(loop: Loop, peers: Peers) -> None:
    class Slow(Recorder):
        framing = Lines()

        def handle_frame(self, frame: bytes) -> None:
            super().handle_frame(frame)
            if frame == b"one":
                self.pause_reading()

    class Waking(Recorder):
        def handle_data(self, data: bytes) -> None:
            slow.resume_reading()

    slow, slow_peer = connected(peers, loop, Slow)
    waking, waking_peer = connected(peers, loop, Waking)
    slow_peer.sendall(b"one\ntwo\n")
    poll_until(loop, lambda: slow.seen[-1] == b"one")
    slow_peer.close()
    waking_peer.sendall(b"x")
    poll_until(loop, lambda: slow.is_over)
    assert slow.seen == ["connect", b"one", b"two", "eof", "close"]
    waking.abort()


def test_a_framing_set_outside_of_a_handler_counts_for_what_is_held(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, Lined)
    theirs.sendall(b"one;two;three")
    poll_until(loop, lambda: stream.unread == b"one;two;three")
    stream.framing = Lines(b";")
    poll_until(loop, lambda: stream.seen[-1] == b"two", 5)
    assert stream.seen == ["connect", b"one", b"two"]
    stream.framing = Exactly(3)
    poll_until(loop, lambda: stream.seen[-1] == b"thr", 5)
    stream.framing = None
    poll_until(loop, lambda: stream.got == b"ee", 5)
    stream.abort()


def test_handle_drained_may_write_again(loop: Loop, peers: Peers) -> None:
    class Source(Recorder):
        high_water = 1_000
        low_water = 10
        left = 20

        def handle_drained(self) -> None:
            super().handle_drained()
            if self.left:
                self.left -= 1
                self.write(bytes(300_000))
                self.write(bytes(300_000))

    stream, theirs = connected(peers, loop, Source)
    stream.write(bytes(3_000_000))
    loop.poll(0)
    size = 3_000_000 + 20 * 600_000
    assert len(receive(loop, theirs, size)) == size
    poll_until(loop, lambda: stream.output_size == 0)
    told = [item for item in stream.seen if item in ("full", "drained")]
    assert told == ["full", "drained"] * (len(told) // 2)
    stream.abort()


def test_no_handler_is_called_from_inside_write(loop: Loop, peers: Peers) -> None:
    class Marked(Recorder):
        high_water = 1_000
        low_water = 999

    stream, theirs = connected(peers, loop, Marked)
    stream.write(bytes(3_000_000))
    poll_until(loop, lambda: "full" in stream.seen)
    theirs.setblocking(False)
    while True:
        try:
            if not theirs.recv(1 << 20):
                break
        except BlockingIOError:
            break
    before = list(stream.seen)
    for _ in range(10):  # the loop does not run, so this thread may send itself
        stream.write(b"x")
    assert stream.seen == before
    stream.abort()
    assert stream.seen == before


def test_a_failed_write_outside_of_the_loop_calls_no_handler(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    theirs.close()
    stream.write(b"too late")
    assert stream.seen == ["connect"]
    poll_until(loop, lambda: stream.is_over)


@pytest.mark.parametrize("name", ["close", "abort", "pause_reading", "write_eof"])
@pytest.mark.parametrize("handler", ["handle_connect", "handle_data", "handle_eof", "handle_full", "handle_drained"])
def test_every_handler_may_end_or_pause_its_stream(loop: Loop, peers: Peers, handler: str, name: str) -> None:
    class Acting(Recorder):
        high_water = 1_000
        low_water = 10
        calls = 0

    def act(self: Any, *args: Any) -> None:
        self.calls += 1
        getattr(self, name)()

    setattr(Acting, handler, act)
    ours, theirs = peers.pair()
    stream = Acting(ours, loop=loop)
    if handler in ("handle_full", "handle_drained"):
        stream.write(bytes(1_000_000))
        poll_until(loop, lambda: stream.calls or "full" in stream.seen)
    if handler == "handle_drained":
        receive(loop, theirs, 1_000_000)
    elif handler == "handle_eof":
        theirs.shutdown(socket.SHUT_WR)
    elif handler != "handle_full":
        theirs.sendall(b"x")
    poll_until(loop, lambda: stream.calls)
    for _ in range(3):
        loop.poll(0.01)
    stream.abort()
    poll_until(loop, lambda: stream.is_over)
    assert stream.calls == 1
    assert len([item for item in stream.seen if item == "close" or isinstance(item, BaseException)]) == 1


@every_backend
def test_a_handler_may_close_every_stream_of_its_batch(loop: Loop, peers: Peers) -> None:
    everyone: list[Any] = []

    class Last(Recorder):
        def handle_data(self, data: bytes) -> None:
            super().handle_data(data)
            for stream in everyone:
                stream.abort()

    sockets = []
    for _ in range(10):
        stream, theirs = connected(peers, loop, Last)
        everyone.append(stream)
        sockets.append(theirs)
    for theirs in sockets:
        theirs.sendall(b"x")
    poll_until(loop, lambda: all(stream.is_over for stream in everyone))
    assert sum(len(stream.got) for stream in everyone) == 1
    assert all(stream.seen.count("close") == 1 for stream in everyone)


def test_a_stream_may_be_opened_on_the_descriptor_that_another_has_closed(loop: Loop, peers: Peers) -> None:
    """The event of the old one is still in the batch."""
    made: list[Any] = []

    class Replacing(Recorder):
        def handle_data(self, data: bytes) -> None:
            for stream in (first, second):
                if stream is not self:
                    stream.abort()
            one, other = peers.pair()
            made.append((Recorder(one, loop=loop), other))

    first, first_peer = connected(peers, loop, Replacing)
    second, second_peer = connected(peers, loop, Replacing)
    first_peer.sendall(b"x")
    second_peer.sendall(b"x")
    poll_until(loop, lambda: bool(made))
    new, new_peer = made[0]
    loop.poll(0.01)
    assert new.seen in ([], ["connect"])
    new_peer.sendall(b"hello")
    poll_until(loop, lambda: new.got == b"hello")
    for stream in (first, second, new):
        stream.abort()


def test_get_buffer_may_abort_the_stream(loop: Loop, peers: Peers) -> None:
    class Rude(Stream):
        seen: Any = ()

        def get_buffer(self, size_hint: int) -> bytearray:
            self.abort()
            return bytearray(10)

        def handle_error(self, error: BaseException) -> None:
            self.seen = ("error", error)

        def handle_close(self, error: BaseException | None) -> None:
            self.seen = (*self.seen, "close", error)

    stream, theirs = connected(peers, loop, Rude)
    theirs.sendall(b"x")
    poll_until(loop, lambda: bool(stream.seen))
    assert stream.seen == ("close", None)


@every_backend
def test_buffer_updated_may_change_the_size_of_its_buffer(loop: Loop, peers: Peers) -> None:
    class Growing(Stream):
        got = b""

        def get_buffer(self, size_hint: int) -> bytearray:
            self.buffer = bytearray(4)
            return self.buffer

        def buffer_updated(self, count: int) -> None:
            del self.buffer[count:]
            self.got += self.buffer
            self.buffer.clear()

    stream, theirs = connected(peers, loop, Growing)
    theirs.sendall(b"hello world")
    poll_until(loop, lambda: stream.got == b"hello world")
    stream.abort()
