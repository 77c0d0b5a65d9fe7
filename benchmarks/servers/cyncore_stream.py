"""Echo, or lines, on cyncore's streams: what a new program would write."""

from __future__ import annotations

import argparse

from benchmarks.servers.burner import start_burning
from benchmarks.servers.listening import BACKLOG, announce
from cyncore import Lines, Loop, Stream


class Echo(Stream):
    def handle_data(self, data: bytes) -> None:
        self.write(data)


class LineEcho(Stream):
    framing = Lines(b"\r\n")

    def handle_frame(self, frame: bytes) -> None:
        self.write(frame + b"\r\n")


def serve() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", action="store_true", help="answer each line, by the framing of the stream")
    parser.add_argument("--burn", action="store_true", help="start a thread that computes without a pause")
    options = parser.parse_args()
    with Loop() as loop:
        server = loop.listen(("127.0.0.1", 0), LineEcho if options.lines else Echo, backlog=BACKLOG)
        announce(server.address[1])
        if options.burn:
            start_burning()
        loop.run()


serve()
