# SPDX-License-Identifier: MIT
"""Fetch pages over HTTP and write them to standard output.

    python -m cyncore examples/http_client.py [--timeout SECONDS] URL [URL...]

This is a program for asyncore, written as one was before Python 3.12 removed that module; Python 3.11 runs it as it is.
Exit code 0: every page came whole and with a status of success; 1: at least one did not, a line for each on stderr.
"""

from __future__ import annotations

import argparse
import asyncore
import http
import math
import os
import re
import socket
import sys
import time
import urllib.parse
from typing import Any, BinaryIO

HEAD_LIMIT = 64 * 1024


class Failure(Exception):
    """Why there is no page, in words for the user."""


class Fetch(asyncore.dispatcher):
    """One request to one address. The loop ends when this is over: `error` says how, None for well."""

    def __init__(self, family: int, address: Any, request: bytes, out: BinaryIO) -> None:
        super().__init__()
        self.over = False
        self.error: Exception | None = None
        self.reached = False  # the connection was there, so another address would be no better
        self.request = request
        self.out = out
        self.head = b""
        self.status = 0  # 0: still in the head
        self.left: int | None = None  # of the body; None: until the server closes
        self.last_progress = time.monotonic()
        self.create_socket(family, socket.SOCK_STREAM)
        try:
            self.connect(address)
        except OSError as error:  # no way there, and the system knows it at once
            self.end(error)

    def handle_connect(self) -> None:
        self.reached = True
        self.last_progress = time.monotonic()

    def writable(self) -> bool:
        return bool(self.request)

    def handle_write(self) -> None:
        sent = self.send(self.request)
        self.request = self.request[sent:]
        self.last_progress = time.monotonic()

    def handle_read(self) -> None:
        data = self.recv(256 * 1024)
        if not data:
            return  # `recv` has called handle_close
        self.last_progress = time.monotonic()
        if not self.status:
            self.head += data
            head, end, data = self.head.partition(b"\r\n\r\n")
            if not end:
                if len(head) > HEAD_LIMIT:
                    self.end(Failure("the head of the answer does not end"))
                return
            if not self.read_head(head):
                self.end(Failure("the answer is not HTTP"))
                return
        self.take(data)

    def read_head(self, head: bytes) -> bool:
        match = re.match(rb"HTTP/[0-9.]+ ([1-9][0-9]{2})\b", head)
        if match is None:
            return False
        self.status = int(match[1])
        length = re.search(rb"(?im)^content-length:[ \t]*([0-9]{1,18})[ \t]*\r?$", head)
        if length is not None:
            self.left = int(length[1])
        return True

    def take(self, data: bytes) -> None:
        """Write a piece of the body."""
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        try:
            self.out.write(data)
        except OSError as error:  # a closed pipe: not to be taken for a closed connection
            self.end(Failure(f"cannot write: {error.strerror}"))
            return
        if self.left == 0:
            self.end(None)

    def handle_close(self) -> None:
        if not self.reached:
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.end(OSError(error, os.strerror(error)) if error else Failure("cannot connect"))
        elif not self.status:
            self.end(Failure("the server closed the connection without an answer"))
        elif self.left:
            self.end(Failure(f"the server closed the connection {self.left} bytes too early"))
        else:
            self.end(None)

    def handle_error(self) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            raise  # a mistake in this program: let it be seen
        self.end(error)

    def end(self, error: Exception | None) -> None:
        self.error, self.over = error, True
        self.close()

    def run(self, timeout: float) -> None:
        """Run the loop until this is over. asyncore has no timers: each wait is cut to what is left of the time."""
        while not self.over:
            left = self.last_progress + timeout - time.monotonic()
            if left <= 0:
                self.end(Failure(f"no answer for {timeout:g} seconds"))
                return
            # A poll counts whole milliseconds: rounded up, the last of them is no busy wait.
            asyncore.loop(timeout=math.ceil(left * 1000) / 1000, use_poll=True, count=1)


def fetch(url: str, timeout: float, out: BinaryIO) -> None:
    """Write the page at the URL to `out`; raise Failure if there is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError as error:
        raise Failure(str(error)) from None
    if parts.scheme != "http" or not host:
        raise Failure("not an address that starts with http://HOST")
    target = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    if parts.query:
        target += "?" + urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    authority = parts.netloc.rpartition("@")[2]
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # In HTTP/1.0 an answer ends with its length or with the connection, never in chunks.
        request = f"GET {target} HTTP/1.0\r\nHost: {authority.encode('idna').decode()}\r\nConnection: close\r\n\r\n"
    except OSError as error:
        raise Failure(f"cannot find {host}: {error.strerror}") from None
    except UnicodeError:
        raise Failure(f"cannot find {host}: not a name") from None
    failures = []
    for family, _, _, _, address in addresses:
        attempt = Fetch(family, address, request.encode("ascii"), out)
        attempt.run(timeout)
        if attempt.reached:
            if attempt.error is not None:
                raise Failure(reason(attempt.error))
            if not 200 <= attempt.status < 300:
                phrases = {status.value: status.phrase for status in http.HTTPStatus}
                raise Failure(f"{attempt.status} {phrases.get(attempt.status, '')}".rstrip())
            return
        failures.append(f"{address[0]} port {port}: {reason(attempt.error)}")
    raise Failure("; ".join(failures))


def reason(error: Exception | None) -> str:
    return str((error.strerror if isinstance(error, OSError) else None) or error)


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError
    return value


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch pages over HTTP and write them to standard output.")
    parser.add_argument("--timeout", type=seconds, default=10.0, help="of silence, to give up after (default: 10)")
    parser.add_argument("urls", nargs="+", metavar="URL")
    options = parser.parse_args()
    code = 0
    for url in options.urls:
        try:
            fetch(url, options.timeout, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except Failure as failure:
            print(f"http_client: {url}: {failure}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()  # a write that failed may have left something behind
        sys.exit(status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Otherwise the interpreter tries to flush once more at its end, and complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
