# SPDX-License-Identifier: MIT
"""What a stream receives, and when its program is told."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from cyncore import Loop, Stream
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, connected, receive


@every_backend
def test_data_comes_as_it_was_sent(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    theirs.sendall(b"one")
    poll_until(loop, lambda: stream.got == b"one")
    theirs.sendall(b"two")
    poll_until(loop, lambda: stream.got == b"onetwo")
    assert stream.seen == ["connect", "data", "data"]
    stream.abort()


def test_more_than_64_kib_comes_in_parts(loop: Loop, peers: Peers) -> None:
    sizes: list[int] = []

    class Parts(Stream):
        def handle_data(self, data: bytes) -> None:
            sizes.append(len(data))

    stream, theirs = connected(peers, loop, Parts)
    theirs.setblocking(False)
    sent = theirs.send(bytes(150_000))
    poll_until(loop, lambda: sum(sizes) == sent)
    assert max(sizes) <= 65_536
    stream.abort()


@every_backend
def test_a_paused_stream_reads_nothing(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    stream.pause_reading()
    assert not stream.reading
    theirs.sendall(b"later")
    loop.poll(0.01)
    assert stream.got == b""
    stream.resume_reading()
    poll_until(loop, lambda: stream.got == b"later")
    stream.abort()


def test_a_handler_may_pause_its_own_stream(loop: Loop, peers: Peers) -> None:
    class Once(Recorder):
        def handle_data(self, data: bytes) -> None:
            super().handle_data(data)
            self.pause_reading()

    stream, theirs = connected(peers, loop, Once)
    theirs.sendall(b"one")
    poll_until(loop, lambda: stream.got == b"one")
    theirs.sendall(b"two")
    loop.poll(0.01)
    assert stream.got == b"one"
    stream.resume_reading()
    poll_until(loop, lambda: stream.got == b"onetwo")
    stream.abort()


def test_what_came_before_the_end_is_told_before_it(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    stream.pause_reading()
    theirs.sendall(b"last")
    theirs.close()
    loop.poll(0.01)
    stream.resume_reading()
    poll_until(loop, lambda: stream.is_over)
    assert stream.got == b"last"
    assert stream.seen[:3] == ["connect", "data", "eof"]


def test_a_stream_without_a_handler_says_that_it_discards(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    class Deaf(Stream):
        pass

    stream, theirs = connected(peers, loop, Deaf)
    with caplog.at_level(logging.WARNING, "cyncore"):
        for _ in range(3):
            theirs.sendall(b"x")
            loop.poll(0.02)
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        f"input is discarded, because {Deaf.__qualname__} does not define handle_data"
    ]
    stream.abort()


class Buffered(Recorder):
    """Receives into a buffer of its own."""

    def __init__(self, sock: Any = None, *, loop: Any = None) -> None:
        self.buffer = bytearray(8)
        super().__init__(sock, loop=loop)

    def get_buffer(self, size_hint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.got += self.buffer[:count]


@every_backend
def test_a_class_may_receive_into_a_buffer_of_its_own(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, Buffered)
    theirs.sendall(b"a line longer than the buffer")
    poll_until(loop, lambda: stream.got == b"a line longer than the buffer")
    theirs.close()
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", "eof", "close"]


def test_an_empty_buffer_ends_the_stream_with_an_error(loop: Loop, peers: Peers) -> None:
    class Empty(Buffered):
        def get_buffer(self, size_hint: int) -> bytearray:
            return bytearray()

        def handle_error(self, error: BaseException) -> None:
            self._end(error)

    stream, theirs = connected(peers, loop, Empty)
    theirs.sendall(b"x")
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ValueError)


def test_two_streams_of_a_batch_one_of_which_aborts_the_other(loop: Loop, peers: Peers) -> None:
    both: list[Any] = []

    class Rude(Recorder):
        def handle_data(self, data: bytes) -> None:
            super().handle_data(data)
            for stream in both:
                if stream is not self:
                    stream.abort()

    first, one = connected(peers, loop, Rude)
    second, two = connected(peers, loop, Rude)
    both += [first, second]
    one.sendall(b"x")
    two.sendall(b"y")
    poll_until(loop, lambda: first.is_over or second.is_over)
    assert len(first.got + second.got) == 1
    first.abort()
    second.abort()
    poll_until(loop, lambda: first.is_over and second.is_over)


def test_a_handler_may_run_the_loop(loop: Loop, peers: Peers) -> None:
    class Nested(Recorder):
        def handle_data(self, data: bytes) -> None:
            self.write(b"<" + data + b">")
            loop.poll(0)
            self.write(b"!")

    stream, theirs = connected(peers, loop, Nested)
    theirs.sendall(b"x")
    assert receive(loop, theirs, 4) == b"<x>!"
    stream.abort()
