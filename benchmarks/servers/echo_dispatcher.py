"""The echo server of asyncore's documentation; `cyncore_echo` and `asyncore_echo` give it their module.

`dispatcher` is the plain class, and what the budget is about. `dispatcher_with_send` is what asyncore's documentation
itself takes for its echo: there the plain class asks for write events it has no use for, at every turn of the loop. It
also is what a program must take whose messages may not fit into the socket's buffer: the plain class's send() says how
much went out, and this echo does not look.
"""

from __future__ import annotations

import argparse
import socket
from types import ModuleType

from benchmarks.servers.burner import start_burning

BACKLOG = 1024


def make_handler(asyncore: ModuleType, base: str, most: int) -> type:
    class EchoHandler(getattr(asyncore, base)):  # type: ignore[misc]
        def handle_read(self) -> None:
            data = self.recv(most)
            if data:
                self.send(data)

    return EchoHandler


def make_asking(handler: type) -> type:
    class AskingHandler(handler):  # type: ignore[misc, valid-type]
        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return False

    return AskingHandler


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


def make_mixed(server: type, handler: type, every: int) -> type:
    """A listener whose connections number 0, every, 2 * every ... are plain; the others override both predicates."""
    asking = make_asking(handler)

    class MixedServer(server):  # type: ignore[misc, valid-type]
        accepted = 0

        def handle_accepted(self, sock: socket.socket, address: object) -> None:
            handler(sock) if self.accepted % every == 0 else asking(sock)
            self.accepted += 1

    return MixedServer


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", choices=["dispatcher", "dispatcher_with_send"], default="dispatcher")
    parser.add_argument("--recv", type=int, default=8192, help="bytes that the handlers ask for (8192)")
    parser.add_argument("--plain-every", type=int, default=1, help="all others override readable() and writable() (1)")
    parser.add_argument("--burn", action="store_true", help="beside a thread that computes")
    return parser.parse_args()


def serve(asyncore: ModuleType) -> None:
    options = parse()
    handler = make_handler(asyncore, options.base, options.recv)
    kind = make_server(asyncore, handler)
    if options.plain_every > 1:
        kind = make_mixed(kind, handler, options.plain_every)
    server = kind("127.0.0.1", 0)
    print("listening", server.socket.getsockname()[1], flush=True)
    if options.burn:
        start_burning()
    asyncore.loop(use_poll=True)
