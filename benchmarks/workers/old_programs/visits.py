"""Visits: clients that connect, send one line, and see the connection closed."""

from __future__ import annotations

import socket
from typing import Any

from benchmarks.workers.old_programs.modules import asyncore
from benchmarks.workers.old_programs.program import Program, loop

BACKLOG = 1024


class Visitor(asyncore.dispatcher_with_send):
    """Answers a line, and closes."""

    program: Program

    def handle_read(self) -> None:
        data = self.recv(8192)
        if data:
            self.send(data)
            self.close()
            self.program.served(0)

    def handle_close(self) -> None:
        self.close()


class Server(asyncore.dispatcher):
    kind: type[Visitor] = Visitor

    def __init__(self, program: Program) -> None:
        asyncore.dispatcher.__init__(self)
        self.program = program
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.set_reuse_addr()
        self.bind(("127.0.0.1", 0))
        self.listen(BACKLOG)

    def handle_accepted(self, sock: socket.socket, address: Any) -> None:
        self.make(sock, address).program = self.program

    def make(self, sock: socket.socket, address: Any) -> Visitor:
        return Visitor(sock)


class ClassMaker(Server):
    """Makes a subclass for each connection, as frameworks do that mix in what a client asked for."""

    def make(self, sock: socket.socket, address: Any) -> Visitor:
        kind: type[Visitor] = type("Visitor", (Visitor,), {"address": address})
        return kind(sock)


def make_visits(kind: type[Server]) -> Program:
    program = Program(loop)
    server = kind(program)
    program.address = server.socket.getsockname()
    program.closers.append(server.close)
    return program


def visits() -> Program:
    return make_visits(Server)


def class_each() -> Program:
    return make_visits(ClassMaker)
