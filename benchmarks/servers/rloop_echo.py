"""Echo on rloop, an asyncio loop in Rust."""

from __future__ import annotations

import asyncio
import socket

import rloop

from benchmarks.servers.echo_protocol import BACKLOG, EchoProtocol


async def serve() -> None:
    loop = asyncio.get_running_loop()
    sock = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    port = sock.getsockname()[1]  # from now on rloop has it, and shows none in `server.sockets`
    server = await loop.create_server(EchoProtocol, sock=sock, backlog=BACKLOG)
    print("listening", port, flush=True)
    await loop.create_future()  # not serve_forever(): where serving has begun, rloop 0.5 closes the socket there
    server.close()


loop = rloop.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(serve())
