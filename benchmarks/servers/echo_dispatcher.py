"""The echo server of asyncore's documentation. `cyncore_echo` and `asyncore_echo` run it with their own module.

`dispatcher` is the plain class, for which the targets are. The documentation of asyncore itself uses
`dispatcher_with_send` for its echo, because the old plain class asks for write events that it has no use for, at every
turn of the loop. It is also the class for messages that may not fit into the buffer of the socket: the send() of the
plain class returns how much was sent, and this echo does not look at that.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from benchmarks.servers.burner import start_burning
from benchmarks.servers.listening import announce, listen


def make_handler(asyncore: ModuleType, base: str, most: int) -> type:
    class EchoHandler(getattr(asyncore, base)):  # type: ignore[misc]
        def handle_read(self) -> None:
            data = self.recv(most)
            if data:
                self.send(data)

    return EchoHandler


def make_asking(handler: type) -> type:
    class AskingHandler(handler):  # type: ignore[misc]
        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return False

    return AskingHandler


def choose_by_turns(handler: Any, every: int) -> Callable[[object], object]:
    """Makes handlers: connections number 0, every, 2 * every ... are plain, and the others override both predicates."""
    asking, accepted = make_asking(handler), itertools.count()
    return lambda sock: handler(sock) if next(accepted) % every == 0 else asking(sock)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", choices=["dispatcher", "dispatcher_with_send"], default="dispatcher")
    parser.add_argument("--recv", type=int, default=8192, help="bytes that the handlers ask for (8192)")
    parser.add_argument(
        "--plain-every",
        type=int,
        default=1,
        help="one connection of so many is plain, the others override both predicates (1)",
    )
    parser.add_argument("--burn", action="store_true", help="start a thread that computes without a pause")
    return parser.parse_args()


def serve(asyncore: ModuleType) -> None:
    options = parse()
    handler = make_handler(asyncore, options.base, options.recv)
    mixed = choose_by_turns(handler, options.plain_every) if options.plain_every > 1 else handler
    server = listen(asyncore, mixed)
    announce(server.socket.getsockname()[1])
    if options.burn:
        start_burning()
    asyncore.loop(use_poll=True)
