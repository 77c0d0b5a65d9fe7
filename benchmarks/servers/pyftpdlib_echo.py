"""Echo on pyftpdlib's loop, which is asyncore's model over epoll.

As the opening of `pyftpdlib.ioloop` shows it: an Acceptor, and AsyncChat for each connection. "--push" lets AsyncChat
read and write: it hands over what came, and keeps what the kernel does not take. Without it the handler does both
itself, as on asyncore's plain `dispatcher`; then a send() that takes only a part loses the rest.
"""

from __future__ import annotations

import argparse
import socket

from pyftpdlib.ioloop import Acceptor, AsyncChat, IOLoop

BACKLOG = 1024


class EchoHandler(AsyncChat):
    def handle_read(self) -> None:
        data = self.recv(8192)
        if data:
            self.send(data)


class PushHandler(AsyncChat):
    def __init__(self, sock: socket.socket) -> None:
        AsyncChat.__init__(self, sock)
        self.set_terminator(None)  # all that comes is for collect_incoming_data

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
print("listening", server.socket.getsockname()[1], flush=True)
IOLoop.instance().loop()
