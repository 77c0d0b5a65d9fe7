# SPDX-License-Identifier: MIT
"""A stream needs no call of super().__init__(): every method and attribute does what it does with one."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from cyncore import Loop, Stream
from tests.support.peers import Peers, poll_until
from tests.support.streams import receive


class Bare(Stream):
    def __init__(self) -> None:
        pass

    def handle_data(self, data: bytes) -> None:
        self.write(data)


class Made(Stream):
    def __init__(self) -> None:
        super().__init__()


def piped(stream: Any) -> None:
    stream.pipe(5)


USES: dict[str, Callable[[Any], object]] = {
    "write": lambda stream: stream.write(b"x"),
    "writelines": lambda stream: stream.writelines([b"x", b"y"]),
    "write_eof": lambda stream: stream.write_eof(),
    "write after write_eof": lambda stream: (stream.write_eof(), stream.write(b"x")),
    "sendfile": lambda stream: stream.sendfile(-1),
    "close": lambda stream: stream.close(),
    "abort": lambda stream: stream.abort(),
    "pause_reading": lambda stream: stream.pause_reading(),
    "resume_reading": lambda stream: stream.resume_reading(),
    "pipe": piped,
    "start_tls": lambda stream: stream.start_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)),
    "get_extra_info": lambda stream: [stream.get_extra_info(name, 5) for name in ("socket", "peername", "cipher")],
    "framing": lambda stream: setattr(stream, "framing", 5),
    "idle_deadline": lambda stream: setattr(stream, "idle_deadline", 5.0),
    "max_output": lambda stream: (setattr(stream, "max_output", 1), stream.write(b"xx")),
    "busy": lambda stream: (setattr(stream, "busy", True), setattr(stream, "busy", False)),
    "handle_timeout": lambda stream: stream.handle_timeout("idle"),
    "handle_error": lambda stream: stream.handle_error(ValueError()),
    "handle_drain": lambda stream: stream.handle_drain(),
    "handle_eof": lambda stream: stream.handle_eof(),
}

FACTS = ("loop", "connected", "closing", "addr", "server", "busy", "output_size", "reading", "unread", "socket")


def outcome(stream: Any, use: Callable[[Any], object]) -> list[object]:
    """What the use returned or raised, and what is known of the stream afterwards."""
    try:
        told: object = repr(use(stream))
    except Exception as error:
        told = type(error)
    return [told, *(getattr(stream, name, "missing") for name in FACTS)]


@pytest.mark.parametrize("use", USES)
def test_use_without_init_is_as_with_it(use: str) -> None:
    assert outcome(Bare(), USES[use]) == outcome(Made(), USES[use])


def test_client_and_server_without_init_talk(loop: Loop, peers: Peers) -> None:
    server = loop.listen(("127.0.0.1", 0), Bare)
    made: list[bytes] = []

    class Client(Stream):
        def __init__(self) -> None:
            pass

        def handle_connect(self) -> None:
            self.write(b"ping")

        def handle_data(self, data: bytes) -> None:
            made.append(data)
            self.abort()

    loop.connect(server.address, Client)
    poll_until(loop, lambda: made and server.connections == 0)
    assert made == [b"ping"]
    server.close()


def test_connected_socket_is_served_without_init(peers: Peers, loop: Loop) -> None:
    ours, theirs = peers.pair()
    stream = loop.connect(ours, Bare)
    poll_until(loop, lambda: stream.connected)
    theirs.settimeout(5)
    theirs.sendall(b"ping")
    poll_until(loop, lambda: stream.output_size == 0 and stream.connected)
    assert receive(loop, theirs, 4) == b"ping"
    stream.abort()
    loop.poll(0)
