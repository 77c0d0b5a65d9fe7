# SPDX-License-Identifier: MIT
"""What the tests of asynchat share: a channel that remembers, and ways to feed it and to read what it sent.

CYNCORE_CHAT_TESTS=old runs them over the old modules instead, on a loop of their own: what passes there is behaviour
that was kept, and what is marked `beyond_the_old` is not there.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cyncore import Loop
from tests.support.old import load_asynchat

OLD = os.environ.get("CYNCORE_CHAT_TESTS") == "old"


if OLD:
    asyncore, asynchat = load_asynchat()
else:
    from cyncore import asynchat, asyncore

beyond_the_old = pytest.mark.skipif(OLD, reason="the old module does it otherwise, or not at all")


def poll(loop: Loop) -> None:
    """One tick of the channels in the loop's map, without waiting for long."""
    if OLD:
        asyncore.poll2(0.02, loop.map)
    else:
        loop.poll(0.02)


def poll_until(loop: Loop, done: Callable[[], object], most: int = 1000) -> None:
    """Polls without end, but not without bound, until ``done()``."""
    for _ in range(most):
        if done():
            return
        # A tick waits for events even if the calls that it began with are what was to be done.
        if OLD or loop.poll(0) == 0:
            if done():
                return
            poll(loop)
    raise AssertionError(f"not done after {most} polls")


class Lines(asynchat.async_chat):  # type: ignore[misc, name-defined]
    """Remembers in `calls` what it was told: data as bytes, the rest by name. `on_data` and `on_end` are for tests."""

    def __init__(self, sock: Any = None, map: Any = None, terminator: Any = b"\n") -> None:
        self.calls: list[Any] = []
        asynchat.async_chat.__init__(self, sock, map)
        self.set_terminator(terminator)

    def on_data(self, data: bytes) -> None:
        pass

    def on_end(self) -> None:
        pass

    def collect_incoming_data(self, data: bytes) -> None:
        self.calls.append(data)
        self.on_data(data)

    def found_terminator(self) -> None:
        self.calls.append("end")
        self.on_end()

    def handle_connect(self) -> None:
        self.calls.append("connect")

    def handle_close(self) -> None:
        self.calls.append("close")
        self.close()

    def handle_error(self) -> None:
        """Stays open, so that a test sees what comes after."""
        self.calls.append(f"error {sys.exc_info()[1]!r}")

    @property
    def lines(self) -> list[bytes]:
        """What came before each terminator."""
        return lines_of(self.calls)


def lines_of(calls: list[Any]) -> list[bytes]:
    found, line = [], b""
    for call in calls:
        if isinstance(call, bytes):
            line += call
        elif call == "end":
            found.append(line)
            line = b""
    return found


def feed(loop: Loop, far: socket.socket, *chunks: bytes) -> None:
    """Sends each chunk and lets the channel read it before the next one. For chunks that one read takes."""
    for chunk in chunks:
        far.sendall(chunk)
        poll(loop)


def receive(loop: Loop, far: socket.socket, size: int) -> bytes:
    """Reads ``size`` bytes, or up to the end of the stream, while the loop sends them. Fails if nothing more comes."""
    far.setblocking(False)
    got = bytearray()
    fruitless = 0
    while len(got) < size:
        try:
            chunk = far.recv(1 << 20)
        except BlockingIOError:
            fruitless += 1
            assert fruitless < 250, f"{len(got)} of {size} bytes, the last {bytes(got[-100:])!r}, and no more come"
            poll(loop)
        else:
            if not chunk:
                break
            fruitless = 0
            got += chunk
    return bytes(got)


def receive_all(loop: Loop, far: socket.socket) -> bytes:
    """Reads up to the end of the stream."""
    return receive(loop, far, sys.maxsize)


def waiting(far: socket.socket) -> bytes:
    """What has arrived by now, without a tick of the loop; b'' for nothing."""
    try:
        return far.recv(1 << 20, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


def fill(near: socket.socket) -> int:
    """Sends until the kernel takes no more; returns how much it took."""
    size = 0
    try:
        while True:
            size += near.send(bytes(1 << 16))
    except BlockingIOError:
        return size
