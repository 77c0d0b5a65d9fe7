"""An old program: what a client needs to know of it, and the channels that several of them have."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.workers.old_programs.modules import asyncore

MESSAGE = b"x" * 62 + b"\r\n"
LEFT = b""  # an empty datagram ends the program, as the end of a stream does


@dataclass
class Conversation:
    """A client writes `request` to one end, and reads `reply` bytes from the other."""

    ask: socket.socket | int
    answer: socket.socket | int
    request: bytes = MESSAGE
    reply: int = len(MESSAGE)


@dataclass
class Program:
    """A program that is ready to run.

    A handler that has sent a whole answer calls `served` with the number of the conversation. Programs that do not call
    it, because their answers leave later (asynchat) or because all their requests are there already, are `fed`.
    """

    run: Callable[[], None]
    conversations: list[Conversation] = field(default_factory=list)
    address: tuple[str, int] | None = None  # that clients connect to, or send datagrams to
    datagrams: bool = False
    fed: bool = False
    closers: list[Callable[[], object]] = field(default_factory=list)
    served: Callable[[int], None] = lambda number: None

    def close(self) -> None:
        for close in self.closers:
            close()


def loop() -> None:
    """The loop that nearly every program has."""
    try:
        asyncore.loop(timeout=30.0, use_poll=True)
    except asyncore.ExitNow:
        pass


class Channel(asyncore.dispatcher_with_send):
    """A class with handlers only. The program ends when the client leaves."""

    program: Program
    number = 0

    def handle_read(self) -> None:
        data = self.recv(8192)
        if data:
            self.send(data)

    def handle_close(self) -> None:
        raise asyncore.ExitNow


class Predicated(asyncore.dispatcher):
    """A class with a buffer and both predicates, like the examples in the documentation of asyncore."""

    program: Program
    number = 0
    out = b""

    def readable(self) -> bool:
        return len(self.out) < 65536

    def writable(self) -> bool:
        return bool(self.out)

    def handle_read(self) -> None:
        self.out += self.recv(8192)

    def handle_write(self) -> None:
        sent = self.send(self.out)
        self.out = self.out[sent:]
        if not self.out:
            self.program.served(self.number)

    def handle_close(self) -> None:
        raise asyncore.ExitNow


standing: dict[type, list[Any]] = {}


def stand(kind: type[asyncore.dispatcher], count: int) -> None:
    """Makes that many idle channels of a class, at both ends of socketpairs, once in a process."""
    have = standing.setdefault(kind, [])
    while len(have) < count:
        have.extend(kind(end) for end in socket.socketpair())


def connect(kinds: list[Any], fed: bool = False, run: Callable[[], None] = loop) -> Program:
    """A program with a channel of each class, each on a connection of its own."""
    program = Program(run, fed=fed)
    # SOCK_SEQPACKET keeps requests apart that wait already
    how = socket.SOCK_SEQPACKET if fed else socket.SOCK_STREAM
    for number, kind in enumerate(kinds):
        near, far = socket.socketpair(socket.AF_UNIX, how)
        channel = kind(near)
        channel.program, channel.number = program, number
        program.conversations.append(Conversation(far, far))
        program.closers += [channel.close, far.close]
    return program
