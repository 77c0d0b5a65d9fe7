"""The echo server of asyncio's documentation; `asyncio_echo` and `uvloop_echo` run it on their loop."""

from __future__ import annotations

import argparse
import asyncio

from benchmarks.servers.burner import start_burning

BACKLOG = 1024


class EchoProtocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def serve() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--burn", action="store_true", help="beside a thread that computes")
    burning = parser.parse_args().burn
    loop = asyncio.get_running_loop()
    server = await loop.create_server(EchoProtocol, "127.0.0.1", 0, backlog=BACKLOG)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    if burning:
        start_burning()
    async with server:
        await server.serve_forever()
