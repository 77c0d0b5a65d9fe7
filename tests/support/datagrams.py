# SPDX-License-Identifier: MIT
"""Sockets of datagrams that remember what they were told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cyncore import Datagram, Loop
from tests.support.peers import Peers, poll_until

LOOPBACK = ("127.0.0.1", 0)


class Recorder(Datagram):
    """Remembers the datagrams, in `got`, and everything else, in `seen`."""

    def __init__(self, sock: Any = None, *, loop: Any = None) -> None:
        self.got: list[Any] = []
        self.seen: list[Any] = []
        super().__init__(sock, loop=loop)

    def handle_ready(self) -> None:
        self.seen.append("ready")

    def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
        self.got.append(data)

    def handle_truncated(self, data: bytes, address: Any, size: int) -> None:
        self.seen.append(("truncated", data, size))

    def handle_send_error(self, error: Exception, address: Any) -> None:
        self.seen.append((type(error), address))

    def handle_close(self, error: BaseException | None) -> None:
        self.seen.append("close" if error is None else error)


class Echo(Recorder):
    def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
        super().handle_datagram(data, address)
        self.send(data, None if self.remote else address)


@contextmanager
def bound(loop: Loop, kind: Any = Recorder, address: Any = LOOPBACK, **options: Any) -> Iterator[Any]:
    """A socket of datagrams that is ready, and is closed in the end."""
    made = loop.bind(address, kind, **options)
    try:
        poll_until(loop, lambda: made.connected)
        yield made
    finally:
        made.abort()
    poll_until(loop, lambda: not loop.map)


def client(peers: Peers, address: Any, family: int = socket.AF_INET) -> socket.socket:
    """A plain socket that is connected to ``address``."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    peers.keep(sock)
    sock.connect(address)
    sock.settimeout(5)
    return sock


def nobody(family: int = socket.AF_INET, host: str = "127.0.0.1") -> Any:
    """An address of this host where nobody receives."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        return sock.getsockname()


def received(loop: Loop, sock: socket.socket, count: int) -> list[bytes]:
    """So many datagrams of a plain socket, while the loop serves."""
    sock.setblocking(False)
    got: list[bytes] = []

    def done() -> bool:
        try:
            while len(got) < count:
                got.append(sock.recv(65536))
        except BlockingIOError:
            return False
        return True

    poll_until(loop, done)
    return got
