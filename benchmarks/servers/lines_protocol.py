"""Lines on asyncio's protocols and streams; `asyncio_lines` and `uvloop_lines` run them on their loop.

The protocol is what one writes by hand: a buffer, split at every CRLF, and a write for each line; "joined" is written
by somebody who knows what a write costs. The streams are those of asyncio's documentation.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Coroutine

BACKLOG = 1024


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
    await announce(await loop.create_server(protocol, "127.0.0.1", 0, backlog=BACKLOG))


async def serve_streams() -> None:
    await announce(await asyncio.start_server(answer, "127.0.0.1", 0, backlog=BACKLOG))


async def announce(server: asyncio.Server) -> None:
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def serve() -> Coroutine[object, object, None]:
    """What the command line asks for."""
    parser = argparse.ArgumentParser()
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--streams", action="store_true", help="StreamReader and StreamWriter, not a Protocol")
    ways.add_argument("--joined", action="store_true", help="one write for all lines that came at once")
    options = parser.parse_args()
    if options.streams:
        return serve_streams()
    return serve_protocol(JoinedProtocol if options.joined else LineProtocol)
