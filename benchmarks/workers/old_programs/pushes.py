"""Pushes: a handler of asynchat answers a line in five pieces."""

from __future__ import annotations

import socket

from benchmarks.workers.old_programs.modules import asynchat, asyncore
from benchmarks.workers.old_programs.program import Program, connect

PUSHES = 5


class Answering(asynchat.async_chat):
    """Five pushes answer a line, as with a status, headers and a body."""

    program: Program
    number = 0

    def __init__(self, sock: socket.socket) -> None:
        asynchat.async_chat.__init__(self, sock)
        self.set_terminator(b"\r\n")
        self.line: list[bytes] = []

    def collect_incoming_data(self, data: bytes) -> None:
        self.line.append(data)

    def found_terminator(self) -> None:
        self.line = []
        for _ in range(PUSHES):
            self.push(b"250-line\r\n")

    def handle_close(self) -> None:
        raise asyncore.ExitNow


class Gathering(Answering):
    gather_pushes = True  # an attribute that the old module does not have


def pushes(gather: int, active: int = 10) -> Program:
    program = connect([Gathering if gather else Answering] * active, fed=True)
    for conversation in program.conversations:
        conversation.reply = PUSHES * len(b"250-line\r\n")
    return program
