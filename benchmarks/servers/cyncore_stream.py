"""Echo, lines or a chat on cyncore's streams: what a new program would write."""

from __future__ import annotations

import argparse
import ssl

from benchmarks.servers.burner import start_burning
from benchmarks.servers.listening import BACKLOG, announce
from cyncore import Lines, Loop, Stream


class Echo(Stream):
    def handle_data(self, data: bytes) -> None:
        self.write(data)


class WatchedEcho(Echo):
    """With deadlines that nobody misses."""

    handshake_deadline = 10
    first_byte_deadline = 30
    idle_deadline = 60
    write_deadline = 30


class LineEcho(Stream):
    framing = Lines(b"\r\n")

    def handle_frame(self, frame: bytes) -> None:
        self.write(frame + b"\r\n")


class BatchEcho(Stream):
    """Takes the lines of one read together, and joins its answers."""

    framing = Lines(b"\r\n")

    def handle_frames(self, frames: list[bytes]) -> None:
        frames.append(b"")
        self.write(b"\r\n".join(frames))


room: set[Guest] = set()


class Guest(Stream):
    """Each line goes to everybody. A greeting tells the load that it is in the room."""

    framing = Lines(b"\r\n")
    max_output = 1_000_000

    def handle_connect(self) -> None:
        room.add(self)
        self.write(b"welcome\r\n")

    def handle_frame(self, frame: bytes) -> None:
        line = frame + b"\r\n"
        for guest in room:
            guest.write(line)

    def handle_close(self, error: BaseException | None) -> None:
        room.discard(self)


def choose(options: argparse.Namespace) -> type[Stream]:
    if options.chat:
        return Guest
    if options.lines:
        return LineEcho
    if options.batches:
        return BatchEcho
    return WatchedEcho if options.deadlines else Echo


def serve() -> None:
    parser = argparse.ArgumentParser()
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--lines", action="store_true", help="answer each line, by the framing of the stream")
    kinds.add_argument("--batches", action="store_true", help="answer the lines of one read together")
    kinds.add_argument("--chat", action="store_true", help="pass each line on to everybody")
    kinds.add_argument("--deadlines", action="store_true", help="set deadlines that nobody misses")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--burn", action="store_true", help="start a thread that computes without a pause")
    options = parser.parse_args()
    context = None
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.tls)
    with Loop() as loop:
        server = loop.listen(("127.0.0.1", 0), choose(options), tls=context, backlog=BACKLOG)
        announce(server.address[1])
        if options.burn:
            start_burning()
        loop.run()


serve()
