# SPDX-License-Identifier: MIT
"""Serve the files of a folder over HTTP/1.1.

    python -m cyncore examples/http_server.py [--host HOST] [--port PORT] [-v] [FOLDER]

This is a program for asyncore, written as one was before Python 3.12 removed that module: `import asyncore`,
dispatchers, `readable` and `writable`. It needs nothing but the standard library, and Python 3.11 runs it as it is.

What begins with a dot (.git, .env) is not served, .well-known excepted, nor is what a link leads to outside of the
folder. It is an example for a trusted network all the same: asyncore has no timers, so a client that says nothing is
never sent away.
"""

from __future__ import annotations

import argparse
import asyncore
import contextlib
import email.utils
import errno
import functools
import html
import http
import mimetypes
import os
import re
import signal
import socket
import stat
import sys
import time
import urllib.parse
from typing import BinaryIO, NamedTuple

CHUNK = 256 * 1024  # of a big file, what a connection holds in memory
SMALL = 64 * 1024  # a file up to this size goes out together with its header, and is remembered
REMEMBERED = 256  # files, and request heads
LINE_LIMIT = 8 * 1024  # of a request line
HEAD_LIMIT = 16 * 1024  # of a request line and the header fields below it
SKIP_LIMIT = 1024 * 1024  # of what a client sends although nobody wants it: a body with GET, the rest behind a mistake

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
ABSOLUTE = re.compile(rb"(?i:https?)://[^/?#]*")
RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)
SERVED = ("GET", "HEAD")
UNSERVED = ("CONNECT", "DELETE", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")  # known, but not for files
SELECTIVE = ("if-none-match", "if-modified-since", "range")  # fields that can change what a GET brings
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}


# ------------------------------------------------------------------------------------------------------------- Requests


class Refused(Exception):
    """A request that cannot be understood. Where the next one begins is unknown then, so the connection ends."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Request(NamedTuple):
    line: str
    method: str
    path: str  # below the folder: '', 'a/b' or 'a/b/'; never with '..'
    fields: dict[str, str]  # names in lower case
    selective: bool  # whether a field of SELECTIVE is there
    body_size: int
    http_1_0: bool
    keep_alive: bool


@functools.lru_cache(maxsize=REMEMBERED)  # a client on a kept connection sends the same head over and over
def parse_request(head: bytes) -> Request:
    """Read a request's head (without the empty line at its end); raise Refused if that is not possible."""
    line, *rest = head.split(b"\r\n")
    parts = line.split(b" ")
    if len(parts) != 3 or not TOKEN.fullmatch(parts[0]) or not re.fullmatch(rb"HTTP/[0-9]\.[0-9]", parts[2]):
        raise Refused(400)
    if not parts[2].startswith(b"HTTP/1."):
        raise Refused(505)
    method, target, http_1_0 = parts[0].decode(), parts[1], parts[2] == b"HTTP/1.0"
    fields = parse_fields(rest)
    if "host" not in fields and not http_1_0:
        raise Refused(400)
    if "transfer-encoding" in fields:
        raise Refused(501)
    body_size = fields.get("content-length", "0")
    if not (body_size.isascii() and body_size.isdigit()):
        raise Refused(400)
    if len(body_size) > 18 or int(body_size) > SKIP_LIMIT:
        raise Refused(413)
    options = {option.strip().lower() for option in fields.get("connection", "").split(",")}
    return Request(
        line=line.decode("latin-1"),
        method=method,
        path=parse_target(target) if method in SERVED else "",
        fields=fields,
        selective=any(name in fields for name in SELECTIVE),
        body_size=int(body_size),
        http_1_0=http_1_0,
        # Who says `Expect: 100-continue` may or may not send the body after our answer: we could not tell which.
        keep_alive="expect" not in fields and "close" not in options and (not http_1_0 or "keep-alive" in options),
    )


def parse_fields(lines: list[bytes]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name) or any(byte in value for byte in b"\r\n\0"):
            raise Refused(400)
        key, text = name.decode().lower(), value.strip(b" \t").decode("latin-1")
        if key in fields:
            if key == "host":
                raise Refused(400)
            text = f"{fields[key]}, {text}"  # two lengths that way are no number, which is refused
        fields[key] = text
    return fields


def parse_target(target: bytes) -> str:
    """The path below the folder that a request's target means. '..' never leads above the folder."""
    if not target.startswith(b"/"):
        match = ABSOLUTE.match(target)  # what a client sends that takes us for a proxy
        if match is None:
            raise Refused(400)
        target = target[match.end() :] or b"/"
    path = urllib.parse.unquote_to_bytes(re.split(rb"[?#]", target, maxsplit=1)[0])
    if b"\0" in path:
        raise Refused(400)
    parts = os.fsdecode(path).split("/")
    kept: list[str] = []
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            if os.path.basename(part) != part:  # Windows: a drive or a backslash
                raise Refused(400)
            kept.append(part)
    return "/".join(kept) + ("/" if kept and parts[-1] in ("", ".", "..") else "")


# -------------------------------------------------------------------------------------------------------------- Answers


class Answer(NamedTuple):
    status: int
    fields: bytes  # header lines, each with its line end
    body: bytes = b""
    file: BinaryIO | None = None  # where the rest of the body comes from,
    file_size: int = 0  # and how much of it


class Entry(NamedTuple):
    """A file as it was at one moment."""

    stamp: tuple[int, ...]
    size: int
    modified: int
    etag: str
    fields: bytes  # those that go with a 200
    body: bytes | None  # None: a big file


def stamp_of(info: os.stat_result) -> tuple[int, ...]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def page(status: int, text: str = "", *, kind: str = "text/plain", extra: str = "") -> Answer:
    body = (text or f"{status} {http.HTTPStatus(status).phrase}\n").encode("utf-8", "surrogateescape")
    fields = f"{extra}Content-Type: {kind}; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    return Answer(status, fields.encode(), body)


def is_hidden(path: str) -> bool:
    """Whether a part of the path begins with a dot, as .git and .env do: they are not for everybody."""
    return any(part.startswith(".") and part != ".well-known" for part in path.replace(os.sep, "/").split("/"))


def content_type(path: str) -> str:
    kind, encoding = mimetypes.guess_type(path)
    if encoding is not None:  # said as `Content-Encoding`, the client would unpack a file that it wants packed
        return "application/gzip" if encoding == "gzip" else "application/octet-stream"
    return kind or "application/octet-stream"


def is_unmodified(fields: dict[str, str], entry: Entry) -> bool:
    """Whether the client has this entry already (and gets a 304)."""
    tags = fields.get("if-none-match")
    if tags is not None:  # wins over the date
        return tags == "*" or entry.etag in (tag.strip().removeprefix("W/") for tag in tags.split(","))
    date = email.utils.parsedate_tz(fields.get("if-modified-since", ""))
    try:
        return date is not None and entry.modified <= email.utils.mktime_tz(date)
    except (ValueError, OverflowError):
        return False


def wanted_range(fields: dict[str, str], entry: Entry) -> tuple[int, int] | None:
    """First byte and the end of the range that is asked for; None: the whole file. Raise ValueError if it is not there.

    A list of ranges gets the whole file, as a server may decide.
    """
    match = RANGE.fullmatch(fields.get("range", ""))
    if match is None or match.groups() == ("", ""):
        return None
    if fields.get("if-range", entry.etag) not in (entry.etag, email.utils.formatdate(entry.modified, usegmt=True)):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, entry.size - int(last)), entry.size
    else:
        start, stop = int(first), min(int(last) + 1, entry.size) if last else entry.size
        if last and int(last) < start:
            return None  # not a range at all
    if start >= stop:
        raise ValueError
    return start, stop


def answer_with(entry: Entry, request: Request, file: BinaryIO | None) -> Answer:
    """What the request gets of the entry; `file` is open on it if the entry has no body."""
    status, fields, start, stop = 200, entry.fields, 0, entry.size
    if request.selective:
        if is_unmodified(request.fields, entry):
            return Answer(304, f"ETag: {entry.etag}\r\n".encode())
        try:
            span = wanted_range(request.fields, entry) if request.method == "GET" else None
        except ValueError:
            return page(416, extra=f"Content-Range: bytes */{entry.size}\r\n")
        if span is not None:
            start, stop = span
            whole = f"Content-Length: {entry.size}\r\n"
            part = f"Content-Length: {stop - start}\r\nContent-Range: bytes {start}-{stop - 1}/{entry.size}\r\n"
            status, fields = 206, fields.replace(whole.encode(), part.encode())
    if entry.body is not None:
        return Answer(status, fields, entry.body[start:stop])
    if request.method == "HEAD" or file is None:
        return Answer(status, fields)
    file.seek(start)
    return Answer(status, fields, file=file, file_size=stop - start)


class Site:
    """The folder that is served."""

    def __init__(self, folder: str) -> None:
        self.root = os.path.join(os.path.abspath(folder), "")
        self.entries: dict[str, Entry] = {}
        self.second = 0
        self.date = b""

    def date_line(self) -> bytes:
        now = int(time.time())
        if now != self.second:
            self.second, self.date = now, f"Date: {email.utils.formatdate(now, usegmt=True)}\r\n".encode()
        return self.date

    def answer(self, request: Request) -> Answer:
        if request.method not in SERVED:
            return page(405, extra="Allow: GET, HEAD\r\n") if request.method in UNSERVED else page(501)
        try:
            entry = self.remembered(request)
            if entry is not None:
                return answer_with(entry, request, None)
            place = self.place_of(request.path)
            if os.path.isdir(place):
                return self.folder_answer(place, request)
            return page(404) if request.path.endswith("/") else self.file_answer(place, request.path, request)
        except PermissionError:
            return page(403)
        except OSError as error:
            return page(503 if error.errno in (errno.EMFILE, errno.ENFILE, errno.EIO) else 404)
        except ValueError:  # a name that the file system cannot have
            return page(404)

    def remembered(self, request: Request) -> Entry | None:
        path = self.root + request.path
        if path.endswith("/"):
            path += "index.html"
        entry = self.entries.get(path)
        if entry is None:
            return None
        try:
            return entry if entry.stamp == stamp_of(os.stat(path)) else None
        except OSError:  # gone, or a link to nowhere: who looks for it again finds out
            return None

    def place_of(self, path: str) -> str:
        """The place without links that a path below the folder leads to.

        Raise FileNotFoundError if nothing is there for the client: also beside the folder, and what is hidden.
        """
        try:
            place = os.path.realpath(self.root + path, strict=True)
        except PermissionError as error:  # told apart from what is missing, this would describe other folders
            raise FileNotFoundError(path) from error
        inside = os.path.relpath(place, os.path.realpath(self.root))
        if is_hidden(path) or (inside != "." and is_hidden(inside)):  # '..' begins with a dot as well
            raise FileNotFoundError(path)
        return place

    def folder_answer(self, place: str, request: Request) -> Answer:
        if request.path and not request.path.endswith("/"):  # the links of the page would lead beside the folder
            where = "/" + urllib.parse.quote(os.fsencode(request.path)) + "/"
            return page(301, extra=f"Location: {where}\r\n")
        with contextlib.suppress(FileNotFoundError):
            name = request.path + "index.html"
            return self.file_answer(self.place_of(name), name, request)
        title = html.escape(f"Folder /{request.path}")
        lines = ["<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8">', f"<title>{title}</title></head>"]
        lines += ["<body>", f"<h1>{title}</h1>", "<ul>", '<li><a href="../">../</a></li>' if request.path else ""]
        for name in self.names_in(place, request.path):
            # The dot keeps a name with a colon from being read as a scheme.
            lines.append(f'<li><a href="./{urllib.parse.quote(os.fsencode(name))}">{html.escape(name)}</a></li>')
        return page(200, "\n".join([*lines, "</ul>", "</body></html>", ""]), kind="text/html")

    def names_in(self, place: str, path: str) -> list[str]:
        """What a client may ask for in the folder, which a request calls `path`; folders with a slash at the end."""
        names = []
        with contextlib.ExitStack() as stack:
            folder: str | int = place
            if os.scandir in os.supports_fd:
                folder = self.open_place(place, stat.S_IFDIR)
                stack.callback(os.close, folder)
            for item in stack.enter_context(os.scandir(folder)):
                with contextlib.suppress(OSError):  # a link to nowhere
                    if item.is_symlink():
                        self.place_of(path + item.name)
                    if not is_hidden(item.name):
                        names.append(item.name + ("/" if item.is_dir() else ""))
        return sorted(names)

    def file_answer(self, place: str, path: str, request: Request) -> Answer:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(place, "rb", buffering=0, opener=self.open_file))
            answer = answer_with(self.entry_of(self.root + path, file), request, file)
            if answer.file is not None:
                stack.pop_all()  # the connection closes it
        return answer

    def open_file(self, place: str, _: int) -> int:
        return self.open_place(place, stat.S_IFREG)

    def open_place(self, place: str, kind: int) -> int:
        """Open what is at a place without links. A link that somebody has put in the way meanwhile is an error."""
        if os.open not in os.supports_dir_fd:  # Windows
            if stat.S_IFMT(os.stat(place).st_mode) != kind:
                raise FileNotFoundError(place)
            return os.open(place, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        root = os.path.realpath(self.root)
        *folders, last = os.path.relpath(place, root).split(os.sep)
        passing = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
        folder = os.open(root, passing)
        try:
            for name in folders:
                above, folder = folder, os.open(name, passing, dir_fd=folder)
                os.close(above)
            if stat.S_IFMT(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode) != kind:
                raise FileNotFoundError(place)  # a pipe, a device: to open one may do something
            return os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        finally:
            os.close(folder)

    def entry_of(self, path: str, file: BinaryIO) -> Entry:
        info = os.fstat(file.fileno())  # of the file that is open: the name can have got another one since
        body = file.read(info.st_size) if info.st_size <= SMALL else None
        size = info.st_size if body is None else len(body)
        modified = min(int(info.st_mtime), int(time.time()))
        etag = f'"{info.st_mtime_ns:x}-{size:x}"'
        fields = (
            f"Content-Type: {content_type(path)}\r\nContent-Length: {size}\r\nAccept-Ranges: bytes\r\nETag: {etag}\r\n"
            f"Last-Modified: {email.utils.formatdate(modified, usegmt=True)}\r\n"
        )
        entry = Entry(stamp_of(info), size, modified, etag, fields.encode(), body)
        # A file that was written just now can be written again within one tick of the file system's clock.
        if body is not None and time.time() - max(info.st_mtime, info.st_ctime) > 2:
            if len(self.entries) >= REMEMBERED:
                self.entries.clear()
            self.entries[path] = entry
        return entry


# ---------------------------------------------------------------------------------------------------------- Connections


class Conversation:
    """What a connection knows of HTTP. It knows no socket: http_fast.py uses it, too."""

    site: Site
    client: str
    log_requests: bool
    received = b""
    skip = 0  # bytes of a body that belongs to an answered request
    keep = True  # False: the answer under way is the last one

    def take_head(self) -> bytes | None:
        """Take the next request's head out of what was received; None while it is not complete."""
        if self.skip:
            skipped = min(self.skip, len(self.received))
            self.skip -= skipped
            self.received = self.received[skipped:]
        if self.received[:1] in (b"\r", b"\n"):  # old clients send a line end after a body
            self.received = self.received.lstrip(b"\r\n")
        end = self.received.find(b"\r\n\r\n")
        seen = self.received if end < 0 else self.received[:end]
        if len(seen) > LINE_LIMIT and b"\n" not in seen[:LINE_LIMIT]:
            raise Refused(414)
        if len(seen) > HEAD_LIMIT:
            raise Refused(431)
        if end < 0:
            if b"\n\n" in seen:  # its lines end otherwise than ours: nothing more will come
                raise Refused(400)
            return None
        self.received = self.received[end + 4 :]
        return seen

    def start_of(self, answer: Answer, request: Request | None) -> bytes:
        """The answer without what is in its file."""
        parts = [STATUS_LINES[answer.status], self.site.date_line(), answer.fields]
        if not self.keep:
            parts.append(b"Connection: close\r\n")
        elif request is not None and request.http_1_0:
            parts.append(b"Connection: keep-alive\r\n")
        parts.append(b"\r\n")
        body = b"" if request is not None and request.method == "HEAD" else answer.body
        parts.append(body)
        if self.log_requests:
            line = "(not understood)" if request is None else ascii(request.line)[1:-1]  # no control characters
            words = (time.strftime("%H:%M:%S"), self.client, answer.status, len(body) + answer.file_size, line)
            print(*words, file=sys.stderr, flush=True)
        return b"".join(parts)


class Connection(Conversation, asyncore.dispatcher):
    """One client. While an answer waits for the client to take it, nothing more is read: neither a fast sender
    nor a slow reader makes us hold more than a few requests and one chunk, and a client that closed its sending side
    gets everything it asked for before we see that it did."""

    stopping = False  # no connection is kept after its answer

    def __init__(self, sock: socket.socket, client: str, site: Site, log: bool) -> None:
        super().__init__(sock)
        self.client = client
        self.site = site
        self.log_requests = log
        self.output: bytes | memoryview = b""
        self.file: BinaryIO | None = None
        self.file_left = 0
        self.draining = False  # the last answer is out, and the client still talks

    def readable(self) -> bool:
        return not self.output

    def writable(self) -> bool:
        return bool(self.output)

    def handle_read(self) -> None:
        self.receive(self.recv(SMALL))

    def receive(self, data: bytes) -> None:
        if self.draining:
            self.skip += len(data)
            if self.skip > SKIP_LIMIT:
                self.close()
        elif data:
            self.received += data
            self.serve()

    def handle_write(self) -> None:
        self.push()
        self.serve()

    def handle_close(self) -> None:
        self.close()

    def close(self) -> None:
        self.received = self.output = b""
        if self.file is not None:
            self.file.close()
            self.file = None
        super().close()

    def serve(self) -> None:
        """Answer the requests that are here, in their order, as long as the client takes the answers."""
        while self.received and not self.output and not self.draining:
            try:
                head = self.take_head()
                if head is None:
                    return
                request = parse_request(head)
            except Refused as refusal:
                self.keep = False
                self.skip = SKIP_LIMIT
                self.begin(page(refusal.status), None)
            else:
                self.keep = request.keep_alive and not self.stopping
                self.skip = request.body_size
                self.begin(self.site.answer(request), request)
            self.push()

    def begin(self, answer: Answer, request: Request | None) -> None:
        """Make the answer what is to be sent."""
        self.output = self.start_of(answer, request)
        if answer.file is not None:
            self.file, self.file_left = answer.file, answer.file_size
            self.output += self.next_chunk()

    def next_chunk(self) -> bytes:
        if self.file is None:
            return b""
        data = self.file.read(min(CHUNK, self.file_left))
        self.file_left -= len(data)
        if not data:  # the file has shrunk: the length that we announced will not be reached
            self.keep, self.file_left = False, 0
        if not self.file_left:
            self.file.close()
            self.file = None
        return data

    def push(self) -> None:
        """Send what the client takes now. A big file goes one chunk an event, so that the others get their turn."""
        output = self.output
        sent = self.send(output)
        if sent < len(output):
            if sent:  # otherwise it takes nothing now, or is gone: then `send` has closed us
                self.output = memoryview(output)[sent:]
            return
        self.output = self.next_chunk()
        if not self.output and not self.keep:
            self.hang_up()

    def hang_up(self) -> None:
        """End the connection after its last answer. A socket that is closed with bytes unread resets the connection,
        and the client may lose the answer: so one that may be sending still is listened to, for a while."""
        if self.skip <= len(self.received):
            self.close()
            return
        self.received, self.skip, self.draining = b"", 0, True
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()


class Stop(asyncore.dispatcher):
    """Ends the work in order at SIGTERM: answers under way are finished. A second one is not waited for.

    asyncore knows nothing of signals, and the handler of one may interrupt anything. But Python writes the numbers of
    signals to a socket, which wakes the loop.
    """

    def __init__(self, server: Server) -> None:
        ours, self.bell = socket.socketpair()
        super().__init__(ours)
        self.server = server
        self.bell.setblocking(False)
        signal.set_wakeup_fd(self.bell.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, forget_signal)

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        if signal.SIGTERM in self.recv(100):
            self.server.close()
            self.close()
            Connection.stopping = True
            for channel in list(asyncore.socket_map.values()):
                if isinstance(channel, Connection):
                    channel.keep = False
                    if not channel.output:
                        channel.close()

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        self.bell.close()
        super().close()


class Server(asyncore.dispatcher):
    def __init__(self, site: Site, host: str, port: int, log: bool) -> None:
        super().__init__()
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        self.site = site
        self.log_requests = log
        self.create_socket(family, kind)
        self.set_reuse_addr()
        self.bind(address)
        self.listen(1024)

    def place(self) -> str:
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def handle_accepted(self, sock: socket.socket, addr: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):  # gone already: its first event says so
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Connection(sock, addr[0], self.site, self.log_requests)


def forget_signal(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)


def port_number(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError
    return port


def command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve the files of a folder over HTTP/1.1.")
    parser.add_argument("--host", default="127.0.0.1", help="address or name to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port_number, default=8000, help="0: any that is free (default: %(default)s)")
    parser.add_argument("-v", "--verbose", action="store_true", help="write a line for every request to stderr")
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="default: the current folder")
    options = parser.parse_args()
    if not os.path.isdir(options.folder):
        parser.error(f"not a folder: {options.folder}")
    return options


def main() -> None:
    options = command_line()
    try:
        server = Server(Site(options.folder), options.host, options.port, options.verbose)
    except OSError as error:
        sys.exit(f"http_server: cannot listen on {options.host} port {options.port}: {error.strerror}")
    Stop(server)
    print(f"ready {server.place()}", flush=True)
    try:
        asyncore.loop(use_poll=True)
    except KeyboardInterrupt:
        pass
    finally:
        asyncore.close_all()


if __name__ == "__main__":
    main()
