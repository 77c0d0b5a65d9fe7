"""Mail on aiosmtpd, on uvloop's loop."""

from __future__ import annotations

import asyncio

import uvloop
from aiosmtpd.smtp import SMTP, Envelope, Session

from benchmarks.servers.listening import BACKLOG, serve_asyncio


class Taker:
    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return "250 OK"


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Taker()), "127.0.0.1", 0, backlog=BACKLOG)
    await serve_asyncio(server)


uvloop.run(serve())
