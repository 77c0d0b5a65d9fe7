"""HTTP on asyncio's protocols, parsed by httptools; `uvloop_http` runs it on uvloop.

It is what a programmer writes by hand for one purpose. The files of a folder are in memory before the first request,
and only their paths are answered, with the fields that the servers of examples/ send. The lean protocol does not look
at the header fields of a request.
"""

from __future__ import annotations

import argparse
import asyncio
import email.utils
import mimetypes
import time
from collections.abc import Coroutine
from pathlib import Path

import httptools

from benchmarks.servers.listening import BACKLOG, serve_asyncio

MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
MALFORMED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Site:
    def __init__(self, folder: Path) -> None:
        self.files = {f"/{path.name}".encode(): self.rest(path) for path in folder.iterdir() if path.is_file()}
        self.second = 0
        self.date = b""

    @staticmethod
    def rest(path: Path) -> bytes:
        """The part of the answer that follows the date."""
        body, info = path.read_bytes(), path.stat()
        fields = (
            f"Content-Type: {mimetypes.guess_type(path)[0] or 'application/octet-stream'}\r\n"
            f'Content-Length: {len(body)}\r\nAccept-Ranges: bytes\r\nETag: "{info.st_mtime_ns:x}-{len(body):x}"\r\n'
            f"Last-Modified: {email.utils.formatdate(int(info.st_mtime), usegmt=True)}\r\n\r\n"
        )
        return fields.encode() + body

    def status_and_date(self) -> bytes:
        now = int(time.time())
        if now != self.second:
            self.second = now
            self.date = f"HTTP/1.1 200 OK\r\nDate: {email.utils.formatdate(now, usegmt=True)}\r\n".encode()
        return self.date


class LeanProtocol(asyncio.Protocol):
    def __init__(self, site: Site) -> None:
        self.site = site
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""

    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.write(MALFORMED)
            self.transport.close()

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_message_complete(self) -> None:
        rest = self.site.files.get(self.url)
        self.transport.write(MISSING if rest is None else self.site.status_and_date() + rest)
        if not self.parser.should_keep_alive():
            self.transport.close()


class HttpProtocol(LeanProtocol):
    def on_message_begin(self) -> None:
        self.fields: dict[bytes, bytes] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields[name.lower()] = value


async def listen(protocol: type[LeanProtocol], folder: Path) -> None:
    loop, site = asyncio.get_running_loop(), Site(folder)
    server = await loop.create_server(lambda: protocol(site), "127.0.0.1", 0, backlog=BACKLOG)
    await serve_asyncio(server)


def serve() -> Coroutine[object, object, None]:
    """The server that the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lean", action="store_true", help="do not look at header fields")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    return listen(LeanProtocol if options.lean else HttpProtocol, options.folder)
