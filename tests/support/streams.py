# SPDX-License-Identifier: MIT
"""Streams that remember what they were told."""

from __future__ import annotations

import socket
import struct
from typing import Any

from cyncore import Loop, Stream
from tests.support.peers import Peers, poll_until


class Recorder(Stream):
    """Remembers the handlers that were called, in `seen`, and what it received, in `got`."""

    def __init__(self, sock: Any = None, *, loop: Any = None) -> None:
        self.seen: list[Any] = []
        self.got = b""
        super().__init__(sock, loop=loop)

    def handle_connect(self) -> None:
        self.seen.append("connect")

    def handle_data(self, data: bytes) -> None:
        self.seen.append("data")
        self.got += data

    def handle_frame(self, frame: bytes) -> None:
        self.seen.append(frame)

    def handle_eof(self) -> None:
        self.seen.append("eof")
        self.close()

    def handle_full(self) -> None:
        self.seen.append("full")

    def handle_drained(self) -> None:
        self.seen.append("drained")

    def handle_close(self, error: BaseException | None) -> None:
        self.seen.append("close" if error is None else error)

    @property
    def is_over(self) -> bool:
        return bool(self.seen) and (self.seen[-1] == "close" or isinstance(self.seen[-1], BaseException))


def connected(peers: Peers, loop: Loop, kind: Any = Recorder) -> tuple[Any, socket.socket]:
    """A stream that is ready, and the socket at its other end."""
    ours, theirs = peers.pair()
    stream = kind(ours, loop=loop)
    theirs.settimeout(5)
    poll_until(loop, lambda: stream.connected)
    return stream, theirs


def tcp_pair(peers: Peers) -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname(), 5)
        ours, _ = listener.accept()
    peers.keep(ours, theirs)
    return ours, theirs


def over_tcp(peers: Peers, loop: Loop, kind: Any = Recorder) -> tuple[Any, socket.socket]:
    """A stream that is ready, and the socket at its other end, which is connected over TCP."""
    ours, theirs = tcp_pair(peers)
    stream = kind(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    theirs.settimeout(5)
    return stream, theirs


def reset(sock: socket.socket) -> None:
    """Closes a connection over TCP at once, as a process that has crashed: the other end is told of a failure."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def receive(loop: Loop, sock: socket.socket, count: int) -> bytes:
    """So many bytes from a socket, or those before its end, while the loop serves."""
    sock.setblocking(False)
    got = bytearray()
    ended: list[bool] = []

    def done() -> bool:
        try:
            part = sock.recv(count - len(got))
        except BlockingIOError:
            return False
        got.extend(part)
        if not part:
            ended.append(True)
        return len(got) == count or bool(ended)

    poll_until(loop, done, 5000)
    return bytes(got)
