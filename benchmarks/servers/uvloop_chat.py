"""A chat on uvloop: each line goes to everybody. A greeting tells the load that it is in the room."""

from __future__ import annotations

import asyncio

import uvloop

from benchmarks.servers.listening import BACKLOG, serve_asyncio

MOST = 1_000_000  # bytes that a guest may leave unread

room: set[Guest] = set()


class Guest(asyncio.Protocol):
    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        self.transport = transport
        self.buffer = b""
        room.add(self)
        transport.write(b"welcome\r\n")

    def data_received(self, data: bytes) -> None:
        *lines, self.buffer = (self.buffer + data).split(b"\r\n")
        for line in lines:
            line += b"\r\n"
            for guest in room:
                guest.hear(line)

    def hear(self, line: bytes) -> None:
        self.transport.write(line)
        if self.transport.get_write_buffer_size() > MOST:
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        room.discard(self)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    await serve_asyncio(await loop.create_server(Guest, "127.0.0.1", 0, backlog=BACKLOG))


uvloop.run(serve())
