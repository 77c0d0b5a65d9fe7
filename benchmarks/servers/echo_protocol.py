"""The echo server of asyncio's documentation. `asyncio_echo` and `uvloop_echo` run it on their own loop."""

from __future__ import annotations

import argparse
import asyncio
import ssl

from benchmarks.servers.burner import start_burning
from benchmarks.servers.listening import BACKLOG, serve_asyncio


class EchoProtocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def serve() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--burn", action="store_true", help="start a thread that computes without a pause")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    options = parser.parse_args()
    context = None
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.tls)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(EchoProtocol, "127.0.0.1", 0, backlog=BACKLOG, ssl=context)
    if options.burn:
        start_burning()
    await serve_asyncio(server)
