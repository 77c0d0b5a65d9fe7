# SPDX-License-Identifier: MIT
"""Serves the files of a folder over HTTP/1.1, or over HTTPS with --cert and --key. The kernel sends them.

    python examples/files.py --root FOLDER

Names that begin with a dot are not served, nor is what a link leads to. A client may ask for a part of a file, and
for a file only if it has changed.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import ssl
import stat
from email.utils import formatdate, parsedate_to_datetime
from mimetypes import guess_type
from urllib.parse import unquote_to_bytes

from cyncore import Lines, Loop, Stream

RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\0\r\n]*")  # RFC 9110, section 5
REFUSALS = {
    errno.EACCES: "403 Forbidden",
    errno.EPERM: "403 Forbidden",
    errno.EMFILE: "503 Service Unavailable",
    errno.ENFILE: "503 Service Unavailable",
}


def open_below(root: int, names: list[bytes]) -> int:
    """Opens a file below the folder. OSError if there is none for strangers.

    Each name is opened in the folder that was opened before it, and never through a link. So it does not matter what
    somebody puts in the place of a folder meanwhile.
    """
    if not names or any(name.startswith(b".") or b"\0" in name for name in names):
        raise FileNotFoundError
    folder = os.dup(root)
    try:
        for name in names[:-1]:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        # A FIFO would keep open() waiting for a writer.
        return os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)


def part_of(size: int, wanted: str) -> range | None:
    """The part of so many bytes that a Range field asks for: an empty one is not there. None: it means nothing."""
    match = RANGE.fullmatch(wanted)
    if match is None or wanted == "bytes=-":
        return None  # several parts are not served, which is allowed: the client gets the whole
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


def is_known(tag: str, changed: float, fields: dict[str, str]) -> bool:
    """Does the client have this file already? Only what it says about the time counts, unless it names a tag."""
    if "if-none-match" in fields:
        known = [each.strip().removeprefix("W/") for each in fields["if-none-match"].split(",")]
        return tag in known or known == ["*"]
    try:
        return int(changed) <= parsedate_to_datetime(fields["if-modified-since"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return False


class Browser(Stream):
    framing = Lines(b"\r\n\r\n", limit=16384)  # the head of a request
    handshake_deadline = 10
    idle_deadline = 60  # for a whole head
    write_deadline = 60
    high_water = low_water = 0  # no request is read while an answer waits: each answer has a file open

    def __init__(self, root: int) -> None:
        self.root = root
        self.closes = False  # behind the answer

    def handle_frame(self, frame: bytes) -> None:
        head = frame.lstrip(b"\r\n").decode("latin-1")
        if head:
            self.pause_reading()
            self.loop.call_soon(self.go_on)
            self.closes = True
            self.serve(*head.split("\r\n"))
            if self.closes:
                self.close()

    def go_on(self) -> None:
        """Takes the next request, unless `handle_drained` will do so."""
        if not self.output_size:
            self.handle_drained()

    def handle_drained(self) -> None:
        if not self.closing:
            self.resume_reading()

    def serve(self, request: str, *lines: str) -> None:
        words = request.split(" ")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if len(words) != 3 or not words[1].startswith("/") or not words[2].startswith("HTTP/1."):
            self.answer("400 Bad Request")
            return
        if not all(FIELD.fullmatch(line) for line in lines):
            self.answer("400 Bad Request")  # what follows it may be read otherwise by what stands before this server
            return
        method, target, version = words
        if method not in ("GET", "HEAD"):
            self.answer("405 Method Not Allowed", "Allow: GET, HEAD")
            return
        if fields.get("content-length", "0") != "0" or "transfer-encoding" in fields:
            self.answer("400 Bad Request")  # where the next request begins would be a guess
            return
        self.closes = version == "HTTP/1.0" or fields.get("connection", "").lower() == "close"
        path = unquote_to_bytes(target.partition("?")[0].encode("latin-1"))
        try:
            fd = open_below(self.root, [name for name in path.split(b"/") if name])
        except OSError as error:
            self.answer(REFUSALS.get(error.errno or 0, "404 Not Found"))
            return
        try:
            self.serve_file(fd, path, method, fields)
        finally:
            os.close(fd)

    def serve_file(self, fd: int, path: bytes, method: str, fields: dict[str, str]) -> None:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            self.answer("404 Not Found")
            return
        size = status.st_size
        tag = f'"{status.st_mtime_ns:x}-{size:x}"'
        modified = formatdate(status.st_mtime, usegmt=True)
        about = [f"ETag: {tag}", f"Last-Modified: {modified}", "Accept-Ranges: bytes"]
        if is_known(tag, status.st_mtime, fields):
            self.answer("304 Not Modified", *about, length=None)
            return
        text, part = "200 OK", range(size)
        if method == "GET" and fields.get("if-range", tag) in (tag, modified):
            wanted = part_of(size, fields.get("range", ""))
            if wanted is not None and not wanted:
                self.answer("416 Range Not Satisfiable", f"Content-Range: bytes */{size}")
                return
            if wanted is not None:
                text, part = "206 Partial Content", wanted
                about.append(f"Content-Range: bytes {part.start}-{part.stop - 1}/{size}")
        kind, packed = guess_type(path.decode("utf-8", "replace"))
        about.append("Content-Type: " + (kind if kind and not packed else "application/octet-stream"))
        self.answer(text, *about, length=len(part))
        if method == "GET" and part:
            self.sendfile(fd, part.start, len(part))

    def answer(self, status: str, *fields: str, length: int | None = 0) -> None:
        lines = [f"HTTP/1.1 {status}", *fields]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        if self.closes:
            lines.append("Connection: close")
        self.write("\r\n".join([*lines, "", ""]).encode())


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
        loop.drain_on_signals(10)
        server = loop.listen((options.host, options.port), lambda: Browser(root), tls=context)
        print("ready {}:{}".format(*server.address), flush=True)
        loop.run()


if __name__ == "__main__":
    main()
