# SPDX-License-Identifier: MIT
"""Streams against simple models: whatever comes in whatever parts, with pauses, changes of framing and nested loops."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cyncore import Exactly, Lines, Loop, Prefixed
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, connected

FRAMINGS: list[Any] = [Lines(), Lines(b"\r\n"), Lines(b"aab"), Prefixed(1), Prefixed(2, "little"), Exactly(3), None]


def cut(data: bytes, changes: list[int]) -> tuple[list[bytes], bytes]:
    """The frames of ``data``, where the framing changes with every frame, and what is left of it."""
    frames: list[bytes] = []
    at = turn = 0
    while True:
        framing = FRAMINGS[changes[turn % len(changes)]]
        if framing is None:
            return frames, data[at:]
        if isinstance(framing, Lines):
            end = data.find(framing.end, at)
            if end < 0:
                return frames, data[at:]
            frames.append(data[at:end])
            at = end + len(framing.end)
        else:
            begin = at if isinstance(framing, Exactly) else at + framing.size
            if begin > len(data):
                return frames, data[at:]
            length = framing.count if isinstance(framing, Exactly) else int.from_bytes(data[at:begin], framing.order)
            if begin + length > len(data):
                return frames, data[at:]
            frames.append(data[begin : begin + length])
            at = begin + length
        turn += 1


class Changing(Recorder):
    """Changes its framing with every frame, and pauses or runs the loop where it is told so."""

    changes: list[int]
    acts: list[str]

    def handle_frame(self, frame: bytes) -> None:
        super().handle_frame(frame)
        count = len(self.seen) - 1
        self.framing = FRAMINGS[self.changes[count % len(self.changes)]]
        act = self.acts[count % len(self.acts)]
        if act == "pause":
            self.pause_reading()
            self.loop.call_soon(self.resume_reading)
        elif act == "run":
            self.loop.poll(0)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"b", b"\r", b"\n", b"\r\n", b"\x00", b"\x01", b"\x02", b"\x00\x01"]), max_size=40),
    st.lists(st.integers(0, 40), max_size=6),
    st.lists(st.integers(0, len(FRAMINGS) - 1), min_size=1, max_size=4),
    st.lists(st.sampled_from(["", "pause", "run"]), min_size=1, max_size=3),
)
def test_frames_are_those_of_the_model(
    parts: list[bytes], cuts: list[int], changes: list[int], acts: list[str]
) -> None:
    data = b"".join(parts)
    frames, rest = cut(data, changes)
    places = [0, *sorted(min(place, len(data)) for place in cuts), len(data)]
    peers = Peers()
    with Loop() as loop:
        try:
            stream, theirs = connected(peers, loop, Changing)
            stream.changes = changes
            stream.acts = acts
            stream.framing = FRAMINGS[changes[0]]
            for begin, end in itertools.pairwise(places):
                theirs.sendall(data[begin:end])
                loop.poll(0)
            theirs.close()
            poll_until(loop, lambda: stream.is_over)
            told = [item for item in stream.seen if isinstance(item, bytes)]
            assert told == frames
            assert stream.got + stream.unread == rest
            assert stream.seen[-2:] == ["eof", "close"]
        finally:
            peers.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 200_000), st.sampled_from(["poll", "drain"])), max_size=20), st.booleans())
def test_output_is_what_was_written(steps: list[Any], ends: bool) -> None:
    peers = Peers()
    with Loop() as loop:
        try:
            stream, theirs = connected(peers, loop)
            theirs.setblocking(False)
            wanted = bytearray()
            got = bytearray()

            def drain() -> bool:
                try:
                    part = theirs.recv(1 << 20)
                except BlockingIOError:
                    return False
                got.extend(part)
                return not part

            for number, step in enumerate(steps):
                if step == "poll":
                    loop.poll(0)
                elif step == "drain":
                    drain()
                else:
                    data = bytes([number]) * step
                    wanted += data
                    stream.write(data)
                assert stream.output_size <= len(wanted) - len(got)
            (stream.write_eof if ends else stream.close)()
            poll_until(loop, drain)
            assert got == wanted
            assert stream.output_size == 0
            stream.abort()
            poll_until(loop, lambda: stream.is_over)
        finally:
            peers.close()
