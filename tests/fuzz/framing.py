# SPDX-License-Identifier: MIT
"""Framing: whatever the parts in which the input comes, both engines deliver the frames that `Framing.find` finds."""

from __future__ import annotations

import socket
from typing import Any

from cyncore import Exactly, LimitExceeded, Lines, Prefixed
from tests.fuzz.engines import Engine, Fields, engines, send

TOKENS = (b"\n", b"\r\n", b"--x--", b"\0\0\0\x02", b"\x02\0", b"\xff\xff\xff\xff", b"\0", b"aab", b"a" * 70)


class Marked:
    """A framing of a program's own: a byte that says how many follow, and a mark behind them."""

    def find(self, data: bytearray, start: int, searched: int) -> tuple[int, int, int]:
        if start >= len(data):
            return -1, 0, 0
        end = start + 1 + data[start] % 16
        if end >= len(data):
            return -1, 0, 0
        if data[end] == 0x21:
            raise LimitExceeded("a mark that is too much")
        return start + 1, end, end + 1


FRAMINGS: tuple[Any, ...] = (
    Lines(limit=64),
    Lines(b"\r\n", limit=64),
    Lines(b"aab", limit=5),
    Lines(b"--x--", limit=1),
    Prefixed(1, limit=40),
    Prefixed(2, "little", limit=300),
    Prefixed(4, "big", limit=64),
    Prefixed(8, "little", limit=64),
    Exactly(1),
    Exactly(7),
    Marked(),
)


def expected(framings: list[Any], data: bytes) -> tuple[list[bytes], Any, bytes]:
    """The frames, the text of the error that ends them, and what is left, with the next framing for each frame."""
    held, frames, start = bytearray(data), [], 0
    while start < len(held):
        try:
            begin, end, after = framings[len(frames) % len(framings)].find(held, start, start)
        except LimitExceeded as error:
            return frames, str(error), b""
        if begin < 0:
            break
        frames.append(bytes(held[begin:end]))
        start = after
    return frames, None, bytes(held[start:])


def delivered(engine: Engine, framings: list[Any], batches: bool, acts: int, pieces: list[bytes]) -> Any:
    frames: list[bytes] = []
    ends: list[Any] = []
    left: list[bytes] = []

    class Kind(engine.package.Stream):  # type: ignore[misc, name-defined]
        def handle_frame(self, frame: bytes) -> None:
            frames.append(frame)
            self.framing = framings[len(frames) % len(framings)]
            if acts == 1:
                self.pause_reading()
                self.loop.call_soon(self.resume_reading)
            elif acts == 2:
                self.loop.poll(0)

        def handle_eof(self) -> None:
            left.append(self.unread)
            self.close()

        def handle_error(self, error: BaseException) -> None:
            raise AssertionError("a handler has failed") from error

        def handle_close(self, error: BaseException | None) -> None:
            ends.append(None if error is None else error)

    class Batches(Kind):
        def handle_frames(self, some: list[bytes]) -> None:
            assert some
            frames.extend(some)

    with engine.pair() as (ours, theirs):
        stream = (Batches if batches else Kind)(ours, loop=engine.loop)
        stream.framing = framings[0]

        def sign() -> Any:
            return len(frames), len(ends)

        engine.settle(sign)
        for piece in pieces:
            send(theirs, piece)
            engine.settle(sign)
        try:
            theirs.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        engine.settle(sign)
        stream.abort()
        engine.settle(sign)
    assert len(ends) == 1, f"handle_close was called {len(ends)} times"
    error = ends[0]
    if error is None:
        assert left, "no end of the input was told"
        return frames, None, left[0]
    assert type(error).__name__ == "LimitExceeded", error
    return frames, str(error).partition(">: ")[2], b""  # behind the name of the stream


def run(data: bytes) -> None:
    """AssertionError for a frame that is not as it must be."""
    fields = Fields(data)
    batches = fields.number(2) == 1
    framings = [FRAMINGS[fields.number(len(FRAMINGS))] for _ in range(1 if batches else 1 + fields.number(3))]
    acts = 0 if batches else fields.number(3)
    pieces = fields.pieces()
    wanted = expected(framings, b"".join(pieces))
    for engine in engines():
        for parts in (pieces, [b"".join(pieces)]):
            got = delivered(engine, translated(engine, framings), batches, acts, [part for part in parts if part])
            assert got == wanted, f"{engine.package.__name__}: {got} instead of {wanted}"


def translated(engine: Engine, framings: list[Any]) -> list[Any]:
    """The same framings, of the classes of that engine's package."""
    package = engine.package
    made: list[Any] = []
    for framing in framings:
        if isinstance(framing, Lines):
            made.append(package.Lines(framing.end, framing.limit))
        elif isinstance(framing, Prefixed):
            made.append(package.Prefixed(framing.size, framing.order, framing.limit))
        elif isinstance(framing, Exactly):
            made.append(package.Exactly(framing.count))
        else:
            made.append(type("Marked", (), {"find": own_find(package)})())
    return made


def own_find(package: Any) -> Any:
    def find(self: Any, data: bytearray, start: int, searched: int) -> tuple[int, int, int]:
        try:
            return Marked().find(data, start, searched)
        except LimitExceeded as error:
            raise package.LimitExceeded(str(error)) from None

    return find
