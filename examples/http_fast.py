# SPDX-License-Identifier: MIT
"""Serve the files of a folder over HTTP/1.1, several times faster than http_server.py, which does most of the work.

    python examples/http_fast.py [--host HOST] [--port PORT] [-v] [FOLDER]

It is written for a stream, which adds:

- Answers wait in the stream, and the kernel sends big files. While much of it waits, no further request is read.
- A client that says nothing, or does not take its answer, is sent away after a minute.
- What most requests ask for is answered without thinking: a request line that was answered in this second, above header
  fields that are known to change nothing. A timer forgets the answers when the second is over, since the date in them
  is another one then; so a file that has changed is served a second later at most.
"""

from __future__ import annotations

import re
import sys
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

    def __init__(self, loop: cyncore.Loop, site: http_server.Site) -> None:
        self.loop = loop
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
            self.loop.call_later(left, self.answers.clear)
        if len(self.answers) < http_server.REMEMBERED:
            self.answers[request.line.encode("latin-1")] = output


class Connection(http_server.Conversation, cyncore.Stream):
    idle_deadline = 60  # seconds
    write_deadline = 60

    def __init__(self, memory: Memory, log: bool) -> None:
        self.memory = memory
        self.site = memory.site
        self.log_requests = log

    def handle_connect(self) -> None:
        self.client = self.addr[0]

    def handle_data(self, data: bytes) -> None:
        memory = self.memory
        end = data.find(b"\r\n")
        answer = memory.answers.get(data[:end])
        if answer is None or self.received or self.skip or not memory.is_plain(data[end:]):
            self.received += data
            self.serve()
        else:
            self.write(answer)

    def serve(self) -> None:
        """Answer the requests that are here, in their order, as long as the client takes the answers."""
        while self.received and not self.closing:
            if self.output_size > self.high_water:
                self.pause_reading()
                self.loop.call_soon(self.go_on)  # the other clients come first
                return
            try:
                head = self.take_head()
                if head is None:
                    return
                request = http_server.parse_request(head)
            except http_server.Refused as refusal:
                self.keep = False
                self.write(self.start_of(http_server.page(refusal.status), None))
            else:
                self.keep = request.keep_alive
                self.skip = request.body_size
                self.answer(self.site.answer(request), request)
            if not self.keep:
                self.close()

    def answer(self, answer: http_server.Answer, request: http_server.Request) -> None:
        output = self.start_of(answer, request)
        if answer.file is not None:
            with answer.file:
                self.high_water = self.low_water = 0  # a file stays open until it is sent: no more than two
                self.write(output)
                self.sendfile(answer.file, answer.file.tell(), answer.file_size)
            return
        self.write(output)
        if not self.log_requests:  # every request is to be logged
            self.memory.learn(request, answer, output)

    def handle_full(self) -> None:
        self.pause_reading()

    def handle_drained(self) -> None:
        self.resume_reading()
        self.serve()

    def go_on(self) -> None:
        """Answers the requests that were left, unless `handle_drained` will do so."""
        if self.output_size <= self.high_water and not self.closing:
            self.handle_drained()


def main() -> None:
    options = http_server.command_line()
    with cyncore.Loop() as loop:
        memory = Memory(loop, http_server.Site(options.folder))
        loop.drain_on_signals(10)
        try:
            server = loop.listen((options.host, options.port), lambda: Connection(memory, options.verbose))
        except OSError as error:
            sys.exit(f"http_fast: cannot listen on {options.host} port {options.port}: {error.strerror}")
        host, port = server.address[:2]
        print(f"ready [{host}]:{port}" if ":" in host else f"ready {host}:{port}", flush=True)
        loop.run()


if __name__ == "__main__":
    main()
