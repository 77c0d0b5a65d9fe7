# SPDX-License-Identifier: MIT
"""Both engines in one process, each with a loop that all inputs share, and an input that is read field by field."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import cyncore
from tests.oracle.parity import engine_in_python

ROUNDS = 9000  # ticks after which something is wrong: more than the longest input has bytes


class Fields:
    """The bytes of an input: the first say what is done, and the rest is what is sent."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, below: int) -> int:
        """One byte, as a number below that; 0 where there are no more."""
        byte = self._data[self._at : self._at + 1]
        self._at += 1
        return byte[0] % below if byte else 0

    def pieces(self) -> list[bytes]:
        """The rest, cut into pieces: a byte for their number, and one for the length of each but the last."""
        lengths = [1 + self.number(256) for _ in range(self.number(12))]
        rest, pieces = self._data[self._at :], []
        for length in lengths:
            if rest:
                pieces.append(rest[:length])
                rest = rest[length:]
        return [*pieces, rest] if rest else pieces


class Engine:
    """One of the engines: its package, and a loop of it."""

    def __init__(self, package: ModuleType) -> None:
        self.package: Any = package
        is_second = package is not cyncore  # for which CYNCORE_BACKEND, if it is set, was not meant
        self.loop = self.package.Loop(backend=self.package.BACKENDS[0] if is_second else None)

    def settle(self, sign: Any) -> None:
        """Runs the loop until two ticks in a row had no event and have left ``sign()`` as it was."""
        quiet, before = 0, sign()
        for _ in range(ROUNDS):
            events = self.loop.poll(0)
            after = sign()
            quiet = quiet + 1 if not events and before == after else 0
            before = after
            if quiet == 2:
                return
        raise AssertionError(f"never quiet: {before!r}")

    @contextmanager
    def pair(self) -> Iterator[tuple[socket.socket, socket.socket]]:
        """Two ends, closed afterwards; nothing may be in the loop then."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        try:
            yield ours, theirs
        finally:
            theirs.close()
            for channel in list(self.loop.map.values()):
                if channel is not self.keeps:
                    channel.close()
            ours.close()

    keeps: Any = None  # a listener that all inputs share


_engines: list[Engine] = []


def engines() -> list[Engine]:
    """The engine in use, and the one in plain Python; only that where nothing is compiled."""
    if not _engines:
        packages = [cyncore, engine_in_python()] if cyncore.native else [cyncore]
        _engines.extend(Engine(package) for package in packages)
    return _engines


def close() -> None:
    """Closes the loops; the next input makes new ones."""
    for engine in _engines:
        for channel in list(engine.loop.map.values()):
            channel.close()
        engine.loop.close()
    _engines.clear()


def send(sock: socket.socket, data: bytes) -> None:
    """Sends all of it, or as much as an end that has gone still takes."""
    try:
        while data:
            data = data[sock.send(data) :]
    except (BlockingIOError, ConnectionError):
        pass
