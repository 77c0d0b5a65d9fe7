# SPDX-License-Identifier: MIT
"""Streams that are joined by `pipe`, each with a real peer."""

from __future__ import annotations

import socket
from typing import Any

import pytest

import cyncore._stream.pipe
from cyncore import Loop

from .peers import Peers
from .streams import Recorder, tcp_pair


@pytest.fixture(name="way", params=["splice", "copy"])
def way_fixture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How bytes get from one stream to the other: each test runs with both."""
    if request.param == "copy":
        monkeypatch.setattr(cyncore._stream.pipe, "CAN_SPLICE", False)
    return str(request.param)


def joined(loop: Loop, peers: Peers) -> tuple[Any, socket.socket, Any, socket.socket]:
    """Two joined streams, each followed by the socket at its other end."""
    (one, near), (other, far) = tcp_pair(peers), tcp_pair(peers)
    first, second = Recorder(one, loop=loop), Recorder(other, loop=loop)
    first.pipe(second)
    return first, near, second, far


def blocked(loop: Loop, sock: socket.socket) -> int:
    """Sends as much as the way to the other end holds, while nobody takes it. Returns how many bytes that was."""
    sock.setblocking(False)
    total = stuck = 0
    while stuck < 20:
        try:
            total += sock.send(bytes(100_000))
            stuck = 0
        except BlockingIOError:
            stuck += 1
        loop.poll(0.005)
    return total
