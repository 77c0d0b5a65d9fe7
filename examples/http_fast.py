# SPDX-License-Identifier: MIT
"""Serve the files of a folder over HTTP/1.1, several times faster than http_server.py, which does most of the work.

    python examples/http_fast.py [--host HOST] [--port PORT] [-v] [FOLDER]

It shows what can be done about a program that was written for asyncore, without writing it anew:

- `readable` and `writable` are functions that the loop must ask all the time. Here what waits is in the buffer of
  `dispatcher_with_send`, and reading is paused meanwhile: the loop knows, and asks nobody.
- What most requests ask for is answered without thinking: a request line that was answered in this second, above header
  fields that are known to change nothing. A timer, which asyncore had none of, forgets the answers when the second is
  over, since the date in them is another one then; so a file that has changed is served a second later at most.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time

import cyncore

cyncore.install()  # http_server.py says `import asyncore`

import http_server  # noqa: E402

FIELDS_LIMIT = 2048  # bytes of header fields; where there are more, the program below looks at them
WELL_FORMED = re.compile(rb"\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)+\r\n")
SPECIAL = re.compile(
    rb"\r\n(?:content-length:|expect:|if-|range:|transfer-encoding:|connection:(?![ \t]*keep-alive[ \t]*\r\n))",
    re.IGNORECASE,
)


class Memory:
    """What was answered in this second, and what header fields were seen that change nothing."""

    def __init__(self, site: http_server.Site) -> None:
        self.site = site
        self.answers: dict[bytes, bytes] = {}  # by the request line
        self.fields: set[bytes] = set()  # from the end of the request line to the end of the empty line

    def is_plain(self, fields: bytes) -> bool:
        """Whether a GET gets the same with these fields as with any others. Clients that stay send them again."""
        if fields in self.fields:
            return True
        plain = (
            len(fields) <= FIELDS_LIMIT
            and WELL_FORMED.fullmatch(fields) is not None
            and SPECIAL.search(fields) is None
            and fields.lower().count(b"\r\nhost:") == 1
        )
        if plain:
            if len(self.fields) >= http_server.REMEMBERED:
                self.fields.clear()
            self.fields.add(fields)
        return plain

    def learn(self, request: http_server.Request, answer: http_server.Answer, output: bytes) -> None:
        """Keep the answer for this second if it is one of those that are given to everybody who asks for that path."""
        if request.method != "GET" or request.selective or request.http_1_0 or not request.keep_alive:
            return
        path = self.site.root + request.path
        entry = self.site.entries.get(path + "index.html" if path.endswith("/") else path)
        if answer.status != 200 or entry is None or entry.body is not answer.body:
            return  # only files that the site itself remembers: not those that were written a moment ago
        if not self.answers:
            left = 1.0 - time.time() % 1.0
            cyncore.Loop.of(cyncore.socket_map).call_later(left, self.answers.clear)
        if len(self.answers) < http_server.REMEMBERED:
            self.answers[request.line.encode("latin-1")] = output


class Connection(http_server.Connection, cyncore.dispatcher_with_send):
    readable = cyncore.dispatcher.readable  # the loop's own, which it need not ask
    writable = cyncore.dispatcher_with_send.writable

    def __init__(self, sock: socket.socket, client: str, memory: Memory, log: bool) -> None:
        super().__init__(sock, client, memory.site, log)
        self.memory = memory

    def handle_read(self) -> None:
        data = self.recv(http_server.SMALL)
        memory = self.memory
        end = data.find(b"\r\n")
        answer = memory.answers.get(data[:end])
        if answer is None or self.received or self.skip or self.draining or not memory.is_plain(data[end:]):
            self.receive(data)
            return
        sent = cyncore.dispatcher.send(self, answer)
        if sent < len(answer) and self.connected:
            self.hold(answer[sent:])

    def handle_write(self) -> None:
        self.initiate_send()
        if not self.out_buffer:
            self.resume_reading()
            self.go_on()
            self.serve()

    def push(self) -> None:
        output = self.output
        sent = cyncore.dispatcher.send(self, output)
        if sent == len(output):
            self.go_on()
        elif self.connected:
            self.hold(output[sent:])

    def go_on(self) -> None:
        """All that was to be sent is out. A big file goes one chunk an event, so that the others get their turn."""
        self.output = self.next_chunk()
        if self.output:
            self.hold(self.output)
        elif not self.keep:
            self.hang_up()

    def hold(self, output: bytes | memoryview) -> None:
        """Send this when the client takes it, and read nothing more until then."""
        self.output = self.out_buffer = output
        self.pause_reading()

    def begin(self, answer: http_server.Answer, request: http_server.Request | None) -> None:
        super().begin(answer, request)
        if request is not None and not self.log_requests:  # every request is to be logged
            self.memory.learn(request, answer, bytes(self.output))


class Server(http_server.Server):
    def __init__(self, site: http_server.Site, host: str, port: int, log: bool) -> None:
        super().__init__(site, host, port, log)
        self.memory = Memory(site)

    def handle_accepted(self, sock: socket.socket, addr: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):  # gone already: its first event says so
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Connection(sock, addr[0], self.memory, self.log_requests)


if __name__ == "__main__":
    http_server.main(Server)
