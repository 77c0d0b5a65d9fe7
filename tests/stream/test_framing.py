# SPDX-License-Identifier: MIT
"""Input that is cut into frames: wherever the kernel cuts it, and whatever handlers do in between."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyncore import Exactly, LimitExceeded, Lines, Loop, Prefixed
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, connected


def framed(framing: Any) -> type[Recorder]:
    return type("Framed", (Recorder,), {"framing": framing})


def frames(stream: Recorder) -> list[bytes]:
    return [item for item in stream.seen if isinstance(item, bytes)]


@every_backend
@pytest.mark.parametrize(
    ("framing", "sent", "wanted"),
    [
        (Lines(), b"one\ntwo\n\nthree\nfo", [b"one", b"two", b"", b"three"]),
        (Lines(b"\r\n"), b"one\r\ntw\ro\n\r\n\r\n", [b"one", b"tw\ro\n", b""]),
        (Lines(b"--"), b"a---b--", [b"a", b"-b"]),
        (Prefixed(1), b"\x03one\x00\x02tw\x05thr", [b"one", b"", b"tw"]),
        (Prefixed(2, "little"), b"\x03\x00one\x01\x00", [b"one"]),
        (Prefixed(8), b"\x00" * 7 + b"\x02ab", [b"ab"]),
        (Exactly(3), b"onetwothr", [b"one", b"two", b"thr"]),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 1000])
def test_frames_are_the_same_however_they_come(
    loop: Loop, peers: Peers, framing: Any, sent: bytes, wanted: list[bytes], step: int
) -> None:
    stream, theirs = connected(peers, loop, framed(framing))
    for at in range(0, len(sent), step):
        theirs.sendall(sent[at : at + step])
        loop.poll(0.05)
    assert frames(stream) == wanted
    stream.abort()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.data())
def test_lines_are_those_of_a_simple_model(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    peers = Peers()
    with Loop() as loop:
        try:
            stream, theirs = connected(peers, loop, framed(Lines()))
            for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
                theirs.sendall(whole[begin:end])
                loop.poll(0.0 if begin == end else 0.05)
            assert frames(stream) == lines
            stream.abort()
        finally:
            peers.close()


@pytest.mark.parametrize(
    ("framing", "sent"),
    [
        (Lines(limit=5), b"123456\n"),
        (Lines(limit=5), b"1234567"),
        (Lines(b"\r\n", limit=5), b"1234567\r"),
        (Prefixed(limit=5), b"\x00\x00\x00\x06"),
        (Prefixed(8, limit=5), b"\xff" * 8),
    ],
)
def test_a_frame_above_its_limit_ends_the_stream(loop: Loop, peers: Peers, framing: Any, sent: bytes) -> None:
    stream, theirs = connected(peers, loop, framed(framing))
    theirs.sendall(sent)
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], LimitExceeded)
    assert frames(stream) == []


def test_the_error_of_a_frame_above_its_limit_has_the_length_that_the_peer_has_sent(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, framed(Prefixed(8, limit=5)))
    theirs.sendall(b"\xff" * 8)
    poll_until(loop, lambda: stream.is_over)
    assert f"a frame of {2**64 - 1} bytes" in str(stream.seen[-1])


def test_a_frame_at_its_limit_is_delivered(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, framed(Lines(b"\r\n", limit=5)))
    for part in (b"12345", b"\r", b"\n"):
        theirs.sendall(part)
        loop.poll(0.05)
    assert frames(stream) == [b"12345"]
    stream.abort()


class Switching(Recorder):
    """A head that says how long the body is, and then the next head."""

    framing = Lines()

    def handle_frame(self, frame: bytes) -> None:
        super().handle_frame(frame)
        self.framing = Exactly(int(frame)) if self.framing is Switching.framing else Switching.framing


def test_a_handler_may_change_the_framing_between_two_frames(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, Switching)
    theirs.sendall(b"3\nab\n5\n12345")
    poll_until(loop, lambda: frames(stream) == [b"3", b"ab\n", b"5", b"12345"])
    stream.abort()


def test_a_handler_may_end_the_framing(loop: Loop, peers: Peers) -> None:
    class Ending(Recorder):
        framing = Lines()

        def handle_frame(self, frame: bytes) -> None:
            super().handle_frame(frame)
            self.framing = None

    stream, theirs = connected(peers, loop, Ending)
    theirs.sendall(b"one\ntwo\nthree")
    poll_until(loop, lambda: stream.got == b"two\nthree")
    theirs.sendall(b"\nfour")
    poll_until(loop, lambda: stream.got == b"two\nthree\nfour")
    assert frames(stream) == [b"one"]
    stream.abort()


@every_backend
def test_a_paused_stream_delivers_the_rest_when_it_goes_on(loop: Loop, peers: Peers) -> None:
    class Slow(Recorder):
        framing = Lines()

        def handle_frame(self, frame: bytes) -> None:
            super().handle_frame(frame)
            self.pause_reading()

    stream, theirs = connected(peers, loop, Slow)
    theirs.sendall(b"one\ntwo\nthree\nfour")
    theirs.close()
    for count in (1, 2, 3):
        poll_until(loop, lambda count=count: len(frames(stream)) == count)
        loop.poll(0.01)
        assert len(frames(stream)) == count
        stream.resume_reading()
    poll_until(loop, lambda: stream.is_over)
    assert frames(stream) == [b"one", b"two", b"three"]
    assert stream.seen[-2:] == ["eof", "close"]
    assert stream.unread == b"four"


def test_a_stream_that_closes_in_a_frame_is_told_no_other(loop: Loop, peers: Peers) -> None:
    class Closing(Recorder):
        framing = Lines()

        def handle_frame(self, frame: bytes) -> None:
            super().handle_frame(frame)
            self.close()

    stream, theirs = connected(peers, loop, Closing)
    theirs.sendall(b"one\ntwo\n")
    poll_until(loop, lambda: stream.is_over)
    assert frames(stream) == [b"one"]


def test_a_handler_that_runs_the_loop_gets_its_frames_in_order(loop: Loop, peers: Peers) -> None:
    class Nested(Recorder):
        framing = Lines()

        def handle_frame(self, frame: bytes) -> None:
            super().handle_frame(frame)
            if frame == b"one":
                theirs.sendall(b"ee\nfour\n")
                loop.poll(0.05)

    stream, theirs = connected(peers, loop, Nested)
    theirs.sendall(b"one\ntwo\nthr")
    poll_until(loop, lambda: len(frames(stream)) == 4)
    assert frames(stream) == [b"one", b"two", b"three", b"four"]
    stream.abort()


@every_backend
def test_what_comes_behind_the_frame_in_hand_is_unread(loop: Loop, peers: Peers) -> None:
    class Looking(Recorder):
        framing = Lines()

        def handle_frame(self, frame: bytes) -> None:
            super().handle_frame(frame)
            rests.append(self.unread)
            if frame == b"two":
                theirs.sendall(b"!\n")
                loop.poll(0.05)
                rests.append(self.unread)

    rests: list[bytes] = []
    stream, theirs = connected(peers, loop, Looking)
    theirs.sendall(b"one\ntwo\nthr")
    poll_until(loop, lambda: b"thr!" in stream.seen)
    assert rests[2] in (b"thr", b"thr!\n")  # the plain-Python engine reads nothing meanwhile
    assert rests[:2] + rests[3:] == [b"two\nthr", b"thr", b""]
    theirs.sendall(b"fou")
    loop.poll(0.05)
    theirs.sendall(b"r\nfive\nsix\n")
    poll_until(loop, lambda: b"six" in stream.seen)
    assert rests[4:] == [b"five\nsix\n", b"six\n", b""]
    stream.abort()


def test_each_of_two_streams_knows_what_is_unread(loop: Loop, peers: Peers) -> None:
    class Looking(Recorder):
        framing = Lines()

        def handle_frame(self, frame: bytes) -> None:
            super().handle_frame(frame)
            if frame == b"outer":
                theirs.sendall(b"inner\nrest of the inner")
                loop.poll(0.05)
            elif frame == b"inner":
                rests.extend([first.unread, second.unread])

    rests: list[bytes] = []
    first, near = connected(peers, loop, Looking)
    second, theirs = connected(peers, loop, Looking)
    near.sendall(b"outer\nrest of the outer")
    poll_until(loop, lambda: rests)
    assert rests == [b"rest of the outer", b"rest of the inner"]
    first.abort()
    second.abort()


def test_a_framing_of_the_programs_own_may_find_frames(loop: Loop, peers: Peers) -> None:
    class Digits:
        """Frames of which each begins with its length, in one digit."""

        def find(self, data: bytearray, start: int, searched: int) -> tuple[int, int, int]:
            end = start + 1 + int(data[start : start + 1])
            return (start + 1, end, end) if len(data) >= end else (-1, 0, 0)

    stream, theirs = connected(peers, loop, framed(Digits()))
    theirs.sendall(b"3one3tw")
    loop.poll(0.05)
    theirs.sendall(b"o1")
    poll_until(loop, lambda: frames(stream) == [b"one", b"two"])
    stream.abort()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Lines(b""), ValueError),
        (lambda: Lines("x"), TypeError),  # type: ignore[arg-type]
        (lambda: Lines(limit=0), ValueError),
        (lambda: Prefixed(3), ValueError),
        (lambda: Prefixed(order="middle"), ValueError),
        (lambda: Exactly(0), ValueError),
        (lambda: Exactly(1.5), TypeError),  # type: ignore[arg-type]
    ],
)
def test_a_framing_that_cannot_be_is_refused(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


def test_a_framing_that_is_none_is_refused_when_a_stream_opens(loop: Loop, peers: Peers) -> None:
    ours, _ = peers.pair()
    with pytest.raises(TypeError, match="framing must be"):
        framed(5)(ours, loop=loop)
    stream, _ = connected(peers, loop)
    with pytest.raises(TypeError, match="framing must be"):
        stream.framing = "lines"
    stream.abort()


@pytest.mark.parametrize("place", [(0, 99, 99), (2, 1, 3), (0, 0, 0), (1, 5, 2)])
def test_a_framing_of_the_programs_own_that_finds_nonsense_ends_its_stream(
    loop: Loop, peers: Peers, place: tuple[int, int, int]
) -> None:
    class Lost:
        def find(self, data: bytearray, start: int, searched: int) -> tuple[int, int, int]:
            return place

    stream, theirs = connected(peers, loop, framed(Lost()))
    theirs.sendall(b"bytes")
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ValueError)
    assert "cannot be" in str(stream.seen[-1])


def test_a_framing_shows_what_it_was_made_of() -> None:
    made = [Lines(b"\0", 5), Prefixed(2, "little", 7), Exactly(3)]
    shown = ["cyncore.Lines(b'\\x00', limit=5)", "cyncore.Prefixed(2, 'little', limit=7)", "cyncore.Exactly(3)"]
    assert [repr(framing) for framing in made] == shown
