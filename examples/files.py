# SPDX-License-Identifier: MIT
"""Serves the files of a folder over HTTP/1.1, or over HTTPS with --cert and --key. The kernel sends them.

    python examples/files.py --root FOLDER

Names that begin with a dot are not served, nor is what a link leads to outside of the folder.
"""

from __future__ import annotations

import argparse
import os
import ssl
import stat
import urllib.parse
from email.utils import formatdate
from mimetypes import guess_type

from cyncore import Lines, Loop, Stream

MOST_LINES = 100  # of a request
BODY = b"Content-Length: 0\r\n"


class Missing(Exception):
    """There is nothing to serve under that name."""


def open_below(root: int, path: str) -> int:
    """Opens a file below the folder, name by name, so that no link can lead out of it. Missing if there is none."""
    names = [name for name in urllib.parse.unquote(path.partition("?")[0]).split("/") if name]
    if not names or any(name.startswith(".") or "\0" in name for name in names):
        raise Missing
    folder = os.dup(root)
    try:
        for name in names[:-1]:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        raise Missing from None
    finally:
        os.close(folder)


class Browser(Stream):
    framing = Lines(b"\r\n", limit=8192)
    handshake_deadline = 10
    idle_deadline = 60
    write_deadline = 60

    def __init__(self, root: int) -> None:
        self.root = root
        self.head: list[str] = []

    def handle_frame(self, frame: bytes) -> None:
        if frame:
            self.head.append(frame.decode("latin-1"))
            if len(self.head) > MOST_LINES:
                self.answer("431 Request Header Fields Too Large", closes=True)
        elif self.head:
            request, *fields = self.head
            self.head = []
            self.busy = True
            self.serve(request.split(" "), {name.lower(): value.strip() for name, _, value in map(split, fields)})
            self.busy = False

    def serve(self, words: list[str], fields: dict[str, str]) -> None:
        if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
            self.answer("400 Bad Request", closes=True)
            return
        closes = words[2] == "HTTP/1.0" or fields.get("connection", "").lower() == "close"
        if words[0] not in ("GET", "HEAD"):
            self.answer("405 Method Not Allowed", b"Allow: GET, HEAD\r\n" + BODY, closes=True)  # it may have a body
            return
        if "content-length" in fields or "transfer-encoding" in fields:
            self.answer("400 Bad Request", closes=True)
            return
        try:
            fd = open_below(self.root, words[1])
        except Missing:
            self.answer("404 Not Found", closes=closes)
            return
        try:
            self.send_file(fd, words, fields.get("if-none-match"), closes)
        finally:
            os.close(fd)

    def send_file(self, fd: int, words: list[str], known: str | None, closes: bool) -> None:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            self.answer("404 Not Found", closes=closes)
            return
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        if known == tag:
            self.answer("304 Not Modified", f"ETag: {tag}\r\n".encode(), closes=closes)
            return
        kind = guess_type(words[1].partition("?")[0])[0] or "application/octet-stream"
        fields = f"Content-Type: {kind}\r\nContent-Length: {status.st_size}\r\nETag: {tag}\r\n"
        fields += f"Last-Modified: {formatdate(status.st_mtime, usegmt=True)}\r\n"
        self.write(self.status("200 OK", fields.encode(), closes))
        if words[0] == "GET":
            self.sendfile(fd, 0, status.st_size)
        if closes:
            self.close()

    def answer(self, status: str, fields: bytes = BODY, *, closes: bool) -> None:
        self.write(self.status(status, fields, closes))
        if closes:
            self.close()

    def status(self, status: str, fields: bytes, closes: bool) -> bytes:
        return f"HTTP/1.1 {status}\r\n".encode() + fields + (b"Connection: close\r\n\r\n" if closes else b"\r\n")


def split(field: str) -> tuple[str, str, str]:
    return field.partition(":")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0: any")
    parser.add_argument("--root", required=True, help="the folder")
    parser.add_argument("--cert", help="the certificate for HTTPS")
    parser.add_argument("--key", help="its private key")
    options = parser.parse_args()
    context = None
    if options.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.cert, options.key)
    root = os.open(options.root, os.O_RDONLY | os.O_DIRECTORY)
    with Loop() as loop:
        server = loop.listen((options.host, options.port), lambda: Browser(root), tls=context)
        loop.drain_on_signals(10)
        print("ready {}:{}".format(*server.address), flush=True)
        loop.run()


if __name__ == "__main__":
    main()
