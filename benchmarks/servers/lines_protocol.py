"""Lines on asyncio's protocols and streams; `asyncio_lines` and `uvloop_lines` run them on their loop.

The protocol is what a programmer writes by hand: a buffer that is split at every CRLF, and a write for each line. The
joined protocol makes one write for all lines that came at once. The streams are those of asyncio's documentation.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Coroutine

from benchmarks.servers.listening import BACKLOG, serve_asyncio


class LineProtocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        *lines, self.buffer = (self.buffer + data).split(b"\r\n")
        for line in lines:
            self.transport.write(line + b"\r\n")


class JoinedProtocol(LineProtocol):
    def data_received(self, data: bytes) -> None:
        *lines, self.buffer = (self.buffer + data).split(b"\r\n")
        if lines:
            lines.append(b"")
            self.transport.write(b"\r\n".join(lines))


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()
    except ConnectionError:
        pass  # the load ends with a reset


async def serve_protocol(protocol: type[asyncio.Protocol]) -> None:
    loop = asyncio.get_running_loop()
    await serve_asyncio(await loop.create_server(protocol, "127.0.0.1", 0, backlog=BACKLOG))


async def serve_streams() -> None:
    await serve_asyncio(await asyncio.start_server(answer, "127.0.0.1", 0, backlog=BACKLOG))


def serve() -> Coroutine[object, object, None]:
    """The server that the command line asks for."""
    parser = argparse.ArgumentParser()
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--streams", action="store_true", help="StreamReader and StreamWriter, not a Protocol")
    ways.add_argument("--joined", action="store_true", help="one write for all lines that came at once")
    options = parser.parse_args()
    if options.streams:
        return serve_streams()
    return serve_protocol(JoinedProtocol if options.joined else LineProtocol)
