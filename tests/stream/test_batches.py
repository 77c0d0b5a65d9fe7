# SPDX-License-Identifier: MIT
"""handle_frames: the frames of one read come together, and otherwise as with handle_frame."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyncore import Exactly, LimitExceeded, Lines, Loop, Prefixed
from tests.stream.test_model import FRAMINGS, cut
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, connected


class Batches(Recorder):
    framing: Any = Lines()

    def __init__(self, sock: Any = None, *, loop: Any = None) -> None:
        self.batches: list[list[bytes]] = []
        super().__init__(sock, loop=loop)

    def handle_frame(self, frame: bytes) -> None:
        raise AssertionError("handle_frames is there")

    def handle_frames(self, frames: list[bytes]) -> None:
        self.batches.append(frames)

    @property
    def frames(self) -> list[bytes]:
        return [frame for batch in self.batches for frame in batch]


class Digits:
    """A framing of the program's own: frames of which each begins with its length, in one digit."""

    def find(self, data: bytearray, start: int, searched: int) -> tuple[int, int, int]:
        size = int(data[start : start + 1])
        if size == 9:
            raise LimitExceeded("nine is too much")
        end = start + 1 + size
        return (start + 1, end, end) if len(data) >= end else (-1, 0, 0)


@every_backend
@pytest.mark.parametrize(
    ("framing", "sent", "rest"),
    [
        (Lines(), b"one\ntwo\n\n", b"th"),
        (Lines(b"\r\n"), b"one\r\ntwo\r\n\r\n", b"th\r"),
        (Prefixed(1), b"\x03one\x03two\x00", b"\x05th"),
        (Digits(), b"3one3two0", b"5th"),
    ],
)
def test_the_frames_of_one_read_come_together(loop: Loop, peers: Peers, framing: Any, sent: bytes, rest: bytes) -> None:
    stream, theirs = connected(peers, loop, type("Some", (Batches,), {"framing": framing}))
    theirs.sendall(sent + rest)
    poll_until(loop, lambda: stream.batches)
    assert stream.batches == [[b"one", b"two", b""]]
    assert stream.unread == rest
    stream.abort()


def test_a_frame_that_comes_in_parts_is_delivered_when_it_is_whole(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, Batches)
    for part in (b"on", b"e\ntwo\nth", b"r", b"ee\nfour\n"):
        theirs.sendall(part)
        loop.poll(0.05)
    assert stream.batches == [[b"one", b"two"], [b"three", b"four"]]
    stream.abort()


def test_what_comes_behind_the_frames_in_hand_is_unread(loop: Loop, peers: Peers) -> None:
    class Looking(Batches):
        def handle_frames(self, frames: list[bytes]) -> None:
            super().handle_frames(frames)
            rests.append(self.unread)

    rests: list[bytes] = []
    stream, theirs = connected(peers, loop, Looking)
    theirs.sendall(b"one\ntwo\nthr")
    loop.poll(0.05)
    theirs.sendall(b"ee\nfou")
    poll_until(loop, lambda: len(rests) == 2)
    assert rests == [b"thr", b"fou"]
    stream.abort()


def test_frames_that_were_held_come_in_batches_of_64_kib(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, Batches)
    stream.framing = Exactly(200_000)
    for count in range(1, 9):
        theirs.sendall(bytes(20_000))
        poll_until(loop, lambda count=count: len(stream.unread) == count * 20_000)
    stream.framing = Exactly(1000)
    poll_until(loop, lambda: not stream.unread)
    assert [len(batch) for batch in stream.batches] == [65, 65, 30]
    stream.abort()


def test_a_frame_above_64_kib_is_a_batch_of_one(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, Batches)
    stream.framing = Exactly(80_000)
    for count in (20_000, 40_000, 60_000):
        theirs.sendall(bytes(20_000))
        poll_until(loop, lambda count=count: len(stream.unread) == count)
    theirs.sendall(bytes(20_000))
    poll_until(loop, lambda: stream.batches)
    assert stream.batches == [[bytes(80_000)]]
    stream.abort()


@pytest.mark.parametrize(
    ("framing", "sent"),
    [(Lines(limit=4), b"one\ntwo\n12345\nsix\n"), (Digits(), b"3one3two93six")],
)
@pytest.mark.parametrize("parts", [1, 2])
def test_frames_before_one_that_is_too_long_are_delivered(
    loop: Loop, peers: Peers, framing: Any, sent: bytes, parts: int
) -> None:
    stream, theirs = connected(peers, loop, type("Limited", (Batches,), {"framing": framing}))
    if parts == 2:
        theirs.sendall(sent[:1])
        loop.poll(0.05)
    theirs.sendall(sent[parts - 1 :])
    poll_until(loop, lambda: stream.is_over)
    assert stream.batches == [[b"one", b"two"]]
    assert isinstance(stream.seen[-1], LimitExceeded)


def test_a_frame_that_is_too_long_is_none_in_another_framing(loop: Loop, peers: Peers) -> None:
    class Changing(Batches):
        framing = Lines(limit=4)

        def handle_frames(self, frames: list[bytes]) -> None:
            super().handle_frames(frames)
            self.framing = Lines(limit=100)

    stream, theirs = connected(peers, loop, Changing)
    theirs.sendall(b"one\n12345\n")
    poll_until(loop, lambda: stream.batches == [[b"one"], [b"12345"]])
    stream.abort()


def test_a_new_framing_counts_behind_the_frames_given(loop: Loop, peers: Peers) -> None:
    class Head(Batches):
        def handle_frames(self, frames: list[bytes]) -> None:
            super().handle_frames(frames)
            self.framing = Exactly(2) if len(self.batches) == 1 else None

    stream, theirs = connected(peers, loop, Head)
    theirs.sendall(b"one\ntwo\nabcde")
    poll_until(loop, lambda: stream.got)
    assert stream.batches == [[b"one", b"two"], [b"ab", b"cd"]]
    assert stream.got == b"e"
    stream.abort()


@every_backend
def test_a_paused_stream_keeps_what_comes_behind(loop: Loop, peers: Peers) -> None:
    class Pausing(Batches):
        framing = Exactly(3)

        def handle_frames(self, frames: list[bytes]) -> None:
            super().handle_frames(frames)
            self.framing = Exactly(2)
            self.pause_reading()

    stream, theirs = connected(peers, loop, Pausing)
    theirs.sendall(b"onetwoxx")
    theirs.close()
    poll_until(loop, lambda: stream.batches)
    loop.poll(0.01)
    assert stream.batches == [[b"one", b"two"]]
    assert stream.unread == b"xx"
    stream.resume_reading()
    poll_until(loop, lambda: len(stream.batches) == 2)
    assert "eof" not in stream.seen
    stream.resume_reading()
    poll_until(loop, lambda: stream.is_over)
    assert stream.batches[1:] == [[b"xx"]]
    assert stream.seen[-2:] == ["eof", "close"]


def test_a_stream_that_closes_gets_no_other_batch(loop: Loop, peers: Peers) -> None:
    class Closing(Batches):
        def handle_frames(self, frames: list[bytes]) -> None:
            super().handle_frames(frames)
            self.framing = Exactly(1)
            self.close()

    stream, theirs = connected(peers, loop, Closing)
    theirs.sendall(b"one\ntwo\nthr")
    poll_until(loop, lambda: stream.is_over)
    assert stream.batches == [[b"one", b"two"]]


def test_a_handler_that_fails_costs_its_batch_only_if_the_stream_lives_on(loop: Loop, peers: Peers) -> None:
    class Failing(Batches):
        def handle_frames(self, frames: list[bytes]) -> None:
            super().handle_frames(frames)
            self.framing = Exactly(2)
            if len(self.batches) == 1:
                raise ValueError("of the program")

        def handle_error(self, error: BaseException) -> None:
            self.seen.append(error)

    stream, theirs = connected(peers, loop, Failing)
    theirs.sendall(b"one\nabcd")
    poll_until(loop, lambda: len(stream.batches) == 2)
    assert stream.batches == [[b"one"], [b"ab", b"cd"]]
    assert isinstance(stream.seen[-1], ValueError)
    stream.abort()


def test_a_handler_that_runs_the_loop_gets_its_batches_in_order(loop: Loop, peers: Peers) -> None:
    class Nested(Batches):
        def handle_frames(self, frames: list[bytes]) -> None:
            super().handle_frames(frames)
            if len(self.batches) == 1:
                theirs.sendall(b"ee\nfour\n")
                loop.poll(0.05)
                assert len(self.batches) == 1

    stream, theirs = connected(peers, loop, Nested)
    theirs.sendall(b"one\ntwo\nthr")
    poll_until(loop, lambda: len(stream.batches) == 2)
    assert stream.batches == [[b"one", b"two"], [b"three", b"four"]]
    stream.abort()


def test_a_batch_is_the_first_byte(loop: Loop, peers: Peers) -> None:
    class Watched(Batches):
        first_byte_deadline = 0.2
        life_deadline = 0.4

        def handle_timeout(self, kind: str) -> None:
            self.seen.append(kind)
            self.abort()

    stream, theirs = connected(peers, loop, Watched)
    theirs.sendall(b"one\ntwo\n")
    poll_until(loop, lambda: stream.is_over)
    assert stream.frames == [b"one", b"two"]
    assert stream.seen == ["connect", "life", "close"]


def test_one_stream_may_get_a_batch_handler_of_its_own(loop: Loop, peers: Peers) -> None:
    batches: list[list[bytes]] = []
    stream, theirs = connected(peers, loop)
    stream.framing = Lines()
    stream.handle_frames = batches.append
    theirs.sendall(b"one\ntwo\n")
    poll_until(loop, lambda: batches)
    assert batches == [[b"one", b"two"]]
    stream.abort()


def test_an_async_batch_handler_is_refused(loop: Loop, peers: Peers) -> None:
    class Async(Recorder):
        async def handle_frames(self, frames: list[bytes]) -> None: ...

    ours, _ = peers.pair()
    with pytest.raises(TypeError, match=r"Async\.handle_frames is an async function"):
        Async(ours, loop=loop)


class Acting(Batches):
    """Pauses or runs the loop where it is told so."""

    acts: list[str]

    def handle_frames(self, frames: list[bytes]) -> None:
        assert frames
        super().handle_frames(frames)
        act = self.acts[len(self.batches) % len(self.acts)]
        if act == "pause":
            self.pause_reading()
            self.loop.call_soon(self.resume_reading)
        elif act == "run":
            self.loop.poll(0)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"b", b"\r", b"\n", b"\r\n", b"\x00", b"\x01", b"\x02", b"\x00\x01"]), max_size=40),
    st.lists(st.integers(0, 40), max_size=6),
    st.integers(0, 5),
    st.lists(st.sampled_from(["", "pause", "run"]), min_size=1, max_size=3),
)
def test_batches_hold_the_frames_of_the_model(parts: list[bytes], cuts: list[int], which: int, acts: list[str]) -> None:
    data = b"".join(parts)
    frames, rest = cut(data, [which])
    places = [0, *sorted(min(place, len(data)) for place in cuts), len(data)]
    peers = Peers()
    with Loop() as loop:
        try:
            stream, theirs = connected(peers, loop, Acting)
            stream.acts = acts
            stream.framing = FRAMINGS[which]
            for begin, end in itertools.pairwise(places):
                theirs.sendall(data[begin:end])
                loop.poll(0)
            theirs.close()
            poll_until(loop, lambda: stream.is_over)
            assert stream.frames == frames
            assert stream.unread == rest
            assert stream.seen[-2:] == ["eof", "close"]
        finally:
            peers.close()
