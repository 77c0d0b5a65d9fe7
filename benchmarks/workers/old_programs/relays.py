"""Relays: what one channel reads, another one sends. So it changes what the other's writable() answers."""

from __future__ import annotations

import socket
from typing import Any

from benchmarks.workers.old_programs.program import Conversation, Predicated, Program, connect, stand


class Relay(Predicated):
    """The buffer of the other channel is an attribute, which is assigned from here."""

    other: Any = None

    def handle_read(self) -> None:
        self.other.out += self.recv(8192)


class Listed(Predicated):
    """The buffer is a list in an attribute, so no attribute is ever assigned."""

    def __init__(self, sock: socket.socket) -> None:
        Predicated.__init__(self, sock)
        self.answers: list[bytes] = []

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return bool(self.answers)

    def handle_write(self) -> None:
        self.send(self.answers.pop(0))
        self.program.served(self.number)


class ListRelay(Listed):
    other: Any = None

    def handle_read(self) -> None:
        self.other.answers.append(self.recv(8192))


def make_relay(kind: type[Any], idle: int) -> Program:
    stand(kind, idle)
    program = connect([])
    left, right = socket.socketpair(), socket.socketpair()
    ends = [kind(left[0]), kind(right[0])]
    ends[0].other, ends[1].other = ends[1], ends[0]
    for end in ends:
        end.program = program
    program.conversations.append(Conversation(left[1], right[1]))
    program.closers += [end.close for end in (*ends, left[1], right[1])]
    return program


def relay(idle: int) -> Program:
    return make_relay(Relay, idle)


def relay_list(idle: int) -> Program:
    return make_relay(ListRelay, idle)
