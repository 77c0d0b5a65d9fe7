# SPDX-License-Identifier: MIT
"""asynchat's terminators: both engines, the old module and a model cut the same input up in the same way."""

from __future__ import annotations

import functools
from typing import Any

from tests.fuzz.engines import Engine, Fields, engines, send
from tests.support.old import load_asynchat

TERMINATORS: tuple[Any, ...] = (
    b"\n",
    b"\r\n",
    b"\r\n.\r\n",
    b"aab",
    b"--x--",
    1,
    3,
    7,
    True,
    None,
    0,
    b"",
    "text",
    300,
)
SIZES = (4096, 1, 3, 10)  # bytes that are read at once
TOKENS = (b"\n", b"\r\n", b"\r\n.\r\n", b"aab", b"aa", b"--x--", b"--", b"text", b"tex", b"\0", b"x" * 40)


def expected(terminators: list[Any], data: bytes) -> list[bytes]:
    """The pieces, with the next terminator for each; the last one has no end."""
    pieces: list[bytes] = []
    at = 0
    while True:
        terminator = terminators[len(pieces) % len(terminators)]
        if not terminator:
            break
        if isinstance(terminator, int):
            end = after = at + int(terminator)
            if after > len(data):
                break
        else:
            end = data.find(encoded(terminator), at)
            if end < 0:
                break
            after = end + len(terminator)
        pieces.append(data[at:end])
        at = after
    return [*pieces, data[at:]]


def encoded(terminator: Any) -> bytes:
    return terminator.encode() if isinstance(terminator, str) else bytes(terminator)


def handlers(terminators: list[Any], pieces: list[bytes], counts: list[int]) -> dict[str, Any]:
    def collect_incoming_data(self: Any, data: bytes) -> None:
        assert data, "it was called with nothing"
        assert isinstance(data, bytes)
        pieces[-1] += data

    def found_terminator(self: Any) -> None:
        pieces.append(b"")
        self.set_terminator(terminators[(len(pieces) - 1) % len(terminators)])

    def handle_error(self: Any) -> None:
        raise AssertionError("a handler has failed")

    def handle_close(self: Any) -> None:
        counts.append(len(pieces))
        self.close()

    return {
        "collect_incoming_data": collect_incoming_data,
        "found_terminator": found_terminator,
        "handle_error": handle_error,
        "handle_close": handle_close,
        "use_encoding": 1,
    }


def ours(engine: Engine, terminators: list[Any], size: int, parts: list[bytes]) -> list[bytes]:
    pieces, closed = [b""], list[int]()
    kind = type("Chat", (engine.package.asynchat.async_chat,), handlers(terminators, pieces, closed))
    with engine.pair() as (near, far):
        chat: Any = kind(near, engine.loop.map)
        chat.ac_in_buffer_size = size
        chat.set_terminator(terminators[0])

        def sign() -> Any:
            return len(pieces), len(pieces[-1]), len(closed)

        for part in parts:
            send(far, part)
            for _ in range(len(part) // size):
                engine.loop.poll(0)
            engine.settle(sign)
        held = bytes(chat.ac_in_buffer)
        far.close()
        engine.settle(sign)
        assert len(closed) == 1, f"handle_close was called {len(closed)} times"
    return [*pieces[:-1], pieces[-1] + held]


@functools.cache
def old_modules() -> Any:
    """The old asyncore and asynchat, or None where there are none."""
    try:
        return load_asynchat()
    except ImportError:
        return None


def old(terminators: list[Any], size: int, parts: list[bytes]) -> list[bytes]:
    pieces, closed = [b""], list[int]()
    with engines()[0].pair() as (near, far):
        kind = type("Old", (old_modules()[1].async_chat,), handlers(terminators, pieces, closed))
        chat: Any = kind(near, {})
        chat.ac_in_buffer_size = size
        chat.set_terminator(terminators[0])
        for part in parts:
            send(far, part)
            for _ in range(-(-len(part) // size)):
                chat.handle_read()
        held = bytes(chat.ac_in_buffer)
        chat.close()
    return [*pieces[:-1], pieces[-1] + held]


def run(data: bytes) -> None:
    """AssertionError for a piece that is not as it must be."""
    fields = Fields(data)
    terminators = [TERMINATORS[fields.number(len(TERMINATORS))] for _ in range(1 + fields.number(4))]
    size = SIZES[fields.number(len(SIZES))]
    parts = fields.pieces()
    wanted = expected(terminators, b"".join(parts))
    if old_modules() is not None:
        got = old(terminators, size, parts)
        assert got == wanted, f"the old module: {got} instead of {wanted}"
    for engine in engines():
        for some in (parts, [b"".join(parts)]):
            got = ours(engine, terminators, size, [part for part in some if part])
            assert got == wanted, f"{engine.package.__name__}: {got} instead of {wanted}"
