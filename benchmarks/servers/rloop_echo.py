"""Echo on rloop, an asyncio loop in Rust."""

from __future__ import annotations

import asyncio
import socket

import rloop

from benchmarks.servers.echo_protocol import EchoProtocol
from benchmarks.servers.listening import BACKLOG, announce


async def serve() -> None:
    loop = asyncio.get_running_loop()
    sock = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    port = sock.getsockname()[1]  # rloop takes the socket, and `server.sockets` is empty
    server = await loop.create_server(EchoProtocol, sock=sock, backlog=BACKLOG)
    announce(port)
    await loop.create_future()  # not serve_forever(), in which rloop 0.5 closes the socket
    server.close()


loop = rloop.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(serve())
