# SPDX-License-Identifier: MIT
"""Channels that remember, and the sockets at their other ends."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any

from cyncore import Loop, dispatcher


class Recorder(dispatcher):
    """Remembers what it was told, in `seen`, and what it received, in `got`."""

    def __init__(self, sock: Any = None, map: Any = None, size: int = 4096) -> None:
        self.seen: list[str] = []
        self.got = b""
        self.size = size
        dispatcher.__init__(self, sock, map)

    def handle_read(self) -> None:
        self.seen.append("read")
        self.got += self.recv(self.size)

    def handle_close(self) -> None:
        self.seen.append("close")
        self.close()

    def handle_error(self) -> None:
        self.seen.append(f"error {sys.exc_info()[1]!r}")
        self.close()


class Peers:
    """Socket pairs: one end for a channel, the other for the test. Closes them all in the end."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def pair(self) -> tuple[socket.socket, socket.socket]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.keep(ours, theirs)
        return ours, theirs

    def channel(self, kind: Callable[..., Any], map: Any, **more: Any) -> tuple[Any, socket.socket]:
        """A connected channel of that class in the map, and the socket at the other end."""
        ours, theirs = self.pair()
        return kind(ours, map, **more), theirs

    def keep(self, *sockets: socket.socket) -> None:
        self._sockets += sockets

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


def poll_until(loop: Loop, done: Callable[[], object], most: int = 1000) -> None:
    """Polls without end, but not without bound, until ``done()``."""
    for _ in range(most):
        if done():
            return
        # A tick waits for events even if the calls that it began with are what was to be done.
        if loop.poll(0) == 0:
            if done():
                return
            loop.poll(0.02)
    raise AssertionError(f"not done after {most} polls")
