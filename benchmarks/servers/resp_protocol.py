"""RESP on asyncio's protocols; `uvloop_resp` runs it on uvloop.

The code of examples/resp_server.py parses and answers the commands, so only the loops differ. The protocol is what a
programmer writes by hand, with a write for each answer. The joined protocol makes one write for all answers to what
came at once.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Coroutine

from benchmarks.servers.example import load
from benchmarks.servers.listening import BACKLOG, serve_asyncio

resp_server = load("resp_server")


class RespProtocol(asyncio.Protocol):
    def __init__(self, store: object) -> None:
        self.session = resp_server.Session(store)

    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for answer in self.session.feed(data):
            self.transport.write(answer)
        if self.session.ended:
            self.transport.close()


class JoinedProtocol(RespProtocol):
    def data_received(self, data: bytes) -> None:
        self.transport.write(b"".join(self.session.feed(data)))
        if self.session.ended:
            self.transport.close()


async def listen(protocol: type[RespProtocol]) -> None:
    loop = asyncio.get_running_loop()
    store = resp_server.Store(loop.call_later)
    server = await loop.create_server(lambda: protocol(store), "127.0.0.1", 0, backlog=BACKLOG)
    await serve_asyncio(server)


def serve() -> Coroutine[object, object, None]:
    """The server that the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--joined", action="store_true", help="one write for all answers to what came at once")
    return listen(JoinedProtocol if parser.parse_args().joined else RespProtocol)
