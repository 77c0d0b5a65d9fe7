"""Echo on pyftpdlib's loop, which is asyncore's model over epoll.

It is written as the documentation at the top of `pyftpdlib.ioloop` shows: an Acceptor, and an AsyncChat for each
connection. With --push, AsyncChat reads and writes, and keeps what the kernel does not take. Without it the handler
receives and sends itself, as on asyncore's plain `dispatcher`, and a send() that takes only a part loses the rest.
"""

from __future__ import annotations

import argparse
import socket

from pyftpdlib.ioloop import Acceptor, AsyncChat, IOLoop

from benchmarks.servers.listening import BACKLOG, announce


class EchoHandler(AsyncChat):
    def handle_read(self) -> None:
        data = self.recv(8192)
        if data:
            self.send(data)


class PushHandler(AsyncChat):
    def __init__(self, sock: socket.socket) -> None:
        AsyncChat.__init__(self, sock)
        self.set_terminator(None)  # everything that comes goes to collect_incoming_data

    def collect_incoming_data(self, data: bytes) -> None:
        self.push(data)


class EchoServer(Acceptor):
    def __init__(self, host: str, port: int, handler: type[AsyncChat]) -> None:
        Acceptor.__init__(self)
        self.handler = handler
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.set_reuse_addr()
        self.bind((host, port))
        self.listen(BACKLOG)

    def handle_accepted(self, sock: socket.socket, address: object) -> None:
        self.handler(sock)


parser = argparse.ArgumentParser()
parser.add_argument("--push", action="store_true", help="leave reading and writing to AsyncChat")
server = EchoServer("127.0.0.1", 0, PushHandler if parser.parse_args().push else EchoHandler)
announce(server.socket.getsockname()[1])
IOLoop.instance().loop()
