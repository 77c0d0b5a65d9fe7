"""The kinds of channels: what they receive goes to `answer`, and what is emitted goes to the client."""

from __future__ import annotations

import socket
import sys
from typing import Any

from benchmarks.workers.old_programs.modules import asynchat, asyncore
from benchmarks.workers.random_old.common import CHANNELS

Map = dict[int, Any]
PIECE = 8192
MOST = 65536  # bytes that one send is offered


class Common:
    """What every kind has. `count` and `answer` come from the traits, and so does `begin`, which sets attributes."""

    total = 0
    partner: Any
    count: Any
    answer: Any
    begin: Any

    def relay(self: Any, data: bytes) -> None:
        """Takes what another channel has received."""
        self.emit(data)

    def log(self, message: object) -> None:
        pass

    def handle_close(self: Any) -> None:
        if self in CHANNELS:
            CHANNELS.remove(self)
        self.close()

    def handle_error(self) -> None:
        if isinstance(sys.exc_info()[1], (ConnectionResetError, BrokenPipeError)):
            self.handle_close()
        else:
            raise


class Buffered(Common, asyncore.dispatcher):
    """A channel that has its output in `out`."""

    out: Any
    emit: Any

    def __init__(self, sock: socket.socket, map: Map | None) -> None:
        asyncore.dispatcher.__init__(self, sock, map)
        self.pending: list[bytes] = []
        self.begin()

    def has_output(self) -> bool:
        return len(self.out) > 0

    def take_pending(self) -> None:
        for data in self.pending:
            self.emit(data)
        del self.pending[:]

    def handle_read(self) -> None:
        data = self.recv(PIECE)
        if data:
            self.count()
            self.answer(data)


class Listed(Buffered):
    """Pieces in a list, so that no attribute is ever assigned."""

    def __init__(self, sock: socket.socket, map: Map | None) -> None:
        Buffered.__init__(self, sock, map)
        self.out = []

    def emit(self, data: bytes) -> None:
        self.out.append(data)

    def handle_write(self) -> None:
        if not self.out:
            return
        data = self.out[0]
        sent = self.send(data)
        if sent == len(data):
            del self.out[0]
        else:
            self.out[0] = data[sent:]


class Joined(Buffered):
    """Bytes in an attribute, which is assigned at each change."""

    def __init__(self, sock: socket.socket, map: Map | None) -> None:
        Buffered.__init__(self, sock, map)
        self.out = b""

    def emit(self, data: bytes) -> None:
        self.out += data

    def handle_write(self) -> None:
        if self.out:
            sent = self.send(self.out[:MOST])
            self.out = self.out[sent:]


class WithSend(Common, asyncore.dispatcher_with_send):
    def __init__(self, sock: socket.socket, map: Map | None) -> None:
        asyncore.dispatcher_with_send.__init__(self, sock, map)
        self.begin()

    def emit(self, data: bytes) -> None:
        self.send(data)

    def handle_read(self) -> None:
        data = self.recv(PIECE)
        if data:
            self.count()
            self.answer(data)


class Chat(Common, asynchat.async_chat):
    """Answers lines."""

    def __init__(self, sock: socket.socket, map: Map | None) -> None:
        asynchat.async_chat.__init__(self, sock, map)
        self.set_terminator(b"\n")
        self.line: list[bytes] = []
        self.begin()

    def emit(self, data: bytes) -> None:
        self.push(data)

    def collect_incoming_data(self, data: bytes) -> None:
        self.line.append(data)

    def found_terminator(self) -> None:
        data = b"".join(self.line) + b"\n"
        self.line = []
        self.count()
        self.answer(data)


class Mixin:
    """A base that knows nothing of channels."""

    def extra(self) -> int:
        return 1


KINDS: dict[str, Any] = {"list": Listed, "bytes": Joined, "with_send": WithSend, "chat": Chat}
