"""Datagrams: one socket that answers everybody."""

from __future__ import annotations

import socket

from benchmarks.workers.old_programs.modules import asyncore
from benchmarks.workers.old_programs.program import LEFT, Program, loop


class Datagrams(asyncore.dispatcher):
    def __init__(self) -> None:
        asyncore.dispatcher.__init__(self)
        self.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.bind(("127.0.0.1", 0))

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        data, address = self.socket.recvfrom(8192)
        if data == LEFT:
            raise asyncore.ExitNow
        self.socket.sendto(data, address)


def datagrams() -> Program:
    server = Datagrams()
    return Program(loop, address=server.socket.getsockname(), datagrams=True, fed=True, closers=[server.close])
