"""Mail on aiosmtpd, on uvloop's loop."""

from __future__ import annotations

import asyncio

import uvloop
from aiosmtpd.smtp import SMTP, Envelope, Session

BACKLOG = 1024


class Taker:
    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return "250 OK"


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Taker()), "127.0.0.1", 0, backlog=BACKLOG)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


uvloop.run(serve())
