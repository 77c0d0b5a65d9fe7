"""What all servers do in the same way: the backlog, and the line that announces the port."""

from __future__ import annotations

from types import ModuleType
from typing import Any

BACKLOG = 1024  # enough for a crowd that connects at once, which would otherwise have to send its SYNs again


def announce(port: int) -> None:
    """Prints the line that benchmarks.run.server waits for."""
    print("listening", port, flush=True)


def listen(asyncore: ModuleType, handler: Any) -> Any:
    """A listening dispatcher of that module, on a free port of 127.0.0.1. It calls `handler` with each new socket."""

    class Server(asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            asyncore.dispatcher.__init__(self)
            self.create_socket()
            self.set_reuse_addr()
            self.bind(("127.0.0.1", 0))
            self.listen(BACKLOG)

        def handle_accepted(self, sock: object, address: object) -> None:
            handler(sock)

    return Server()


async def serve_asyncio(server: Any) -> None:
    """Announces the port of an asyncio.Server, and serves until the process ends."""
    announce(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()
