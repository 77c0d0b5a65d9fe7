"""The echo server of asyncore's documentation; `cyncore_echo` and `asyncore_echo` give it their module.

`dispatcher` is the plain class, and what the budget is about. `dispatcher_with_send` is what asyncore's documentation
itself takes for its echo: there the plain class asks for write events it has no use for, at every turn of the loop.
"""

from __future__ import annotations

import argparse
import socket
from types import ModuleType

BACKLOG = 1024


def make_handler(asyncore: ModuleType, base: str) -> type:
    class EchoHandler(getattr(asyncore, base)):  # type: ignore[misc]
        def handle_read(self) -> None:
            data = self.recv(8192)
            if data:
                self.send(data)

    return EchoHandler


def make_server(asyncore: ModuleType, handler: type) -> type:
    class EchoServer(asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def __init__(self, host: str, port: int) -> None:
            asyncore.dispatcher.__init__(self)
            self.create_socket()
            self.set_reuse_addr()
            self.bind((host, port))
            self.listen(BACKLOG)

        def handle_accepted(self, sock: socket.socket, address: object) -> None:
            handler(sock)

    return EchoServer


def serve(asyncore: ModuleType) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", choices=["dispatcher", "dispatcher_with_send"], default="dispatcher")
    handler = make_handler(asyncore, parser.parse_args().base)
    server = make_server(asyncore, handler)("127.0.0.1", 0)
    print("listening", server.socket.getsockname()[1], flush=True)
    asyncore.loop(use_poll=True)
