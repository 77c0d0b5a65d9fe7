# SPDX-License-Identifier: MIT
"""Viewer: a connection to the server of figures. It asks once, by HTTP, and is answered; or it watches.

What a viewer does wrong costs the viewer. One that reads slowly misses looks: no more than one waits for it.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .._rules import LAST_DESCRIPTOR
from .._stream.stream import Stream
from .documents import channel_document, prometheus_text, stats_document

MOST_HEADER = 8192  # bytes of a request
MOST_CHANNELS = 200  # in one page
REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
SAFE = (
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
)
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Viewer(Stream):
    """One connection. ``stats_server``: whose it is."""

    first_byte_deadline = 10.0
    handshake_deadline = 10.0
    write_deadline = 30.0
    high_water = 1 << 20

    def __init__(self, stats_server: Any) -> None:
        self.stats_server = stats_server
        self.request = b""
        self.is_head = False  # is only the head of the answer wanted?
        self.is_watching = False
        super().__init__()

    def handle_connect(self) -> None:
        self.life_deadline = 60.0  # until it watches

    def handle_data(self, data: bytes) -> None:
        if self.is_watching:
            return
        self.request += data
        head, end, _ = self.request.partition(b"\r\n\r\n")
        if len(head) > MOST_HEADER:
            self.answer(431, TEXT, "the request is too long\n")
        elif end:
            self.pause_reading()
            self.serve(head.decode("latin-1").split("\r\n"))

    def handle_eof(self) -> None:
        self.close()

    def handle_close(self, error: BaseException | None) -> None:
        self.stats_server.viewer_gone(self)

    # Requests

    def serve(self, lines: list[str]) -> None:
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self.answer(400, TEXT, "this is no request of HTTP/1.1\n")
            return
        if words[0] not in ("GET", "HEAD"):
            self.answer(405, TEXT, "only GET and HEAD are served\n", "Allow: GET, HEAD\r\n")
            return
        self.is_head = words[0] == "HEAD"
        hosts = [line.partition(":")[2].strip() for line in lines[1:] if line.lower().startswith("host:")]
        if not self.stats_server.is_ours(hosts[0] if hosts else ""):
            self.answer(403, TEXT, "the Host header names another machine\n")
            return
        try:
            url = urlsplit(words[1])
        except ValueError:  # brackets that hold no address
            self.answer(400, TEXT, "this is no path\n")
            return
        route = getattr(self, f"get_{ROUTES.get(url.path, 'nothing')}")
        route(parse_qs(url.query))

    def get_nothing(self, query: dict[str, list[str]]) -> None:
        self.answer(404, TEXT, f"there are {', '.join(ROUTES)}\n")

    def get_page(self, query: dict[str, list[str]]) -> None:
        self.answer(200, "text/html; charset=utf-8", self.stats_server.page())

    def get_metrics(self, query: dict[str, list[str]]) -> None:
        text = prometheus_text(self.loop.stats())
        self.answer(200, "text/plain; version=0.0.4; charset=utf-8", text)

    def get_stats(self, query: dict[str, list[str]]) -> None:
        self.answer(200, JSON, json.dumps(stats_document(self.loop.stats())))

    def get_channels(self, query: dict[str, list[str]]) -> None:
        try:
            start = min(max(int(query.get("start", ["0"])[0]), 0), LAST_DESCRIPTOR)
            most = min(max(int(query.get("most", ["100"])[0]), 1), MOST_CHANNELS)
        except ValueError:
            self.answer(400, TEXT, "start and most are numbers\n")
            return
        found = self.loop.channels(start, most + 1)
        document = {
            "channels": [channel_document(channel) for channel in found[:most]],
            "next": found[most].fd if len(found) > most else None,
            "of": self.loop.stats().channels,
        }
        self.answer(200, JSON, json.dumps(document))

    def get_events(self, query: dict[str, list[str]]) -> None:
        if self.is_head:
            self.answer(200, "text/event-stream", "")
            return
        if not self.stats_server.watch(self):
            self.answer(503, TEXT, "too many watch already\n", "Retry-After: 10\r\n")
            return
        self.is_watching = True
        self.life_deadline = None
        self.resume_reading()  # to see when it leaves
        self.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{SAFE}Connection: close\r\n\r\n".encode())

    def answer(self, status: int, kind: str, body: str | bytes, more: str = "") -> None:
        data = body.encode() if isinstance(body, str) else body
        head = (
            f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n"
            f"{more}{SAFE}Connection: close\r\n\r\n"
        )
        self.write(head.encode() if self.is_head else head.encode() + data)
        self.close()

    def show(self, event: bytes) -> bool:
        """Sends a look at the loop. Returns False if the one before has not left yet: then the viewer misses this."""
        if self.output_size:
            return False
        self.write(event)
        return True


ROUTES = {
    "/": "page",
    "/metrics": "metrics",
    "/events": "events",
    "/stats.json": "stats",
    "/channels.json": "channels",
}
