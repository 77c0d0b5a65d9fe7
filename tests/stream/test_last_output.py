# SPDX-License-Identifier: MIT
"""What is sent last arrives, and what the peer has sent last is read, whichever end closes while the other sends."""

from __future__ import annotations

import functools

import pytest

from cyncore import Lines, Loop
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, over_tcp, receive, reset


@every_backend
def test_an_answer_arrives_whole_although_the_request_is_not_read(loop: Loop, peers: Peers) -> None:
    stream, theirs = over_tcp(peers, loop)
    stream.pause_reading()
    theirs.sendall(bytes(200_000))
    answer = b"too large" * 50_000
    stream.write(answer)
    stream.close()
    poll_until(loop, lambda: stream.output_size == 0 or stream.is_over, 20)
    theirs.setblocking(True)
    theirs.settimeout(5)
    got = receive(loop, theirs, len(answer))
    assert got == answer
    theirs.settimeout(5)
    theirs.sendall(b"the rest of the request")  # the connection still takes it
    loop.poll(0.02)
    assert theirs.recv(1) == b""
    assert not stream.is_over
    theirs.close()
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", "close"]
    assert stream.got == b""


def test_a_peer_that_never_closes_is_waited_for_no_longer_than_two_seconds(loop: Loop, peers: Peers) -> None:
    stream, theirs = over_tcp(peers, loop)
    stream.pause_reading()
    theirs.sendall(b"unread")
    stream.close()
    loop.poll(0.02)
    assert not stream.is_over
    deadline = loop.next_deadline()
    assert deadline is not None
    assert deadline - loop.time() <= 2
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", "close"]


def test_a_stream_that_waits_for_its_peer_may_be_aborted(loop: Loop, peers: Peers) -> None:
    stream, theirs = over_tcp(peers, loop)
    stream.pause_reading()
    theirs.sendall(b"unread")
    stream.close()
    loop.poll(0.02)
    stream.abort()
    poll_until(loop, lambda: stream.is_over)
    assert loop.next_deadline() is None


def test_a_peer_that_has_sent_nothing_is_not_waited_for(loop: Loop, peers: Peers) -> None:
    stream, theirs = over_tcp(peers, loop)
    stream.write(b"good bye")
    stream.close()
    poll_until(loop, lambda: stream.is_over, 5)
    assert theirs.recv(100) == b"good bye"
    assert theirs.recv(100) == b""


@every_backend
def test_what_a_peer_has_sent_before_it_was_lost_is_read(loop: Loop, peers: Peers) -> None:
    stream, theirs = over_tcp(peers, loop)
    stream.write(b"a question that the peer does not read")
    loop.poll(0)
    theirs.sendall(b"no, because")
    theirs.close()  # resets the connection, because of what it has not read
    stream.write(b"more")
    poll_until(loop, lambda: stream.is_over)
    assert stream.got == b"no, because"
    assert isinstance(stream.seen[-1], ConnectionError)


@every_backend
def test_frames_that_came_before_output_has_failed_are_delivered(loop: Loop, peers: Peers) -> None:
    class Lined(Recorder):
        framing = Lines()

    ours, theirs = peers.pair()
    stream = Lined(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    theirs.sendall(b"one\ntwo\n")
    theirs.close()
    stream.write(b"too late")
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen[1:3] == [b"one", b"two"]
    assert isinstance(stream.seen[-1], BrokenPipeError)
    assert stream.output_size == 0


def test_nothing_is_queued_for_a_peer_that_was_lost(loop: Loop, peers: Peers) -> None:
    class Chatty(Recorder):
        def handle_data(self, data: bytes) -> None:
            super().handle_data(data)
            self.write(bytes(100_000))

    ours, theirs = peers.pair()
    stream = Chatty(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    theirs.sendall(b"last")
    theirs.close()
    stream.write(b"too late")
    poll_until(loop, lambda: stream.is_over)
    assert stream.got == b"last"
    assert stream.output_size == 0
    assert "full" not in stream.seen


@every_backend
def test_a_paused_stream_is_told_at_once_that_its_output_fails(loop: Loop, peers: Peers) -> None:
    ours, theirs = peers.pair()
    stream = Recorder(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    stream.pause_reading()
    theirs.sendall(b"unread")
    theirs.close()
    stream.write(b"too late")
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], BrokenPipeError)
    assert stream.got == b""


@every_backend
def test_a_reset_behind_held_frames_is_told_after_them(loop: Loop, peers: Peers) -> None:
    class Slow(Recorder):
        framing = Lines()

        def handle_frame(self, frame: bytes) -> None:
            super().handle_frame(frame)
            self.pause_reading()

        def has_seen(self, frame: bytes) -> bool:
            return bool(self.seen[-1] == frame)

    stream, theirs = over_tcp(peers, loop, Slow)
    theirs.sendall(b"one\ntwo\nthree\n")
    poll_until(loop, lambda: stream.seen[-1] == b"one")
    reset(theirs)
    for frame in (b"two", b"three"):
        loop.poll(0.01)
        stream.resume_reading()
        poll_until(loop, functools.partial(stream.has_seen, frame))
    stream.resume_reading()
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ConnectionResetError)
    assert "eof" not in stream.seen


def test_an_error_of_a_handler_among_the_last_input_is_handled(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Recorder):
        def handle_data(self, data: bytes) -> None:
            raise LookupError("wrong")

    ours, theirs = peers.pair()
    stream = Failing(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    theirs.sendall(b"last")
    theirs.close()
    stream.write(b"too late")
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], LookupError)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
