"""Echo and lines on cyncore's streams."""

from __future__ import annotations

import argparse
import ssl

import cyncore
from benchmarks.servers.listening import BACKLOG, announce


class Echo(cyncore.Stream):
    def handle_data(self, data: bytes) -> None:
        self.write(data)


class Lines(cyncore.Stream):
    framing = cyncore.Lines(b"\r\n")

    def handle_frame(self, frame: bytes) -> None:
        self.write(frame + b"\r\n")


class Watched(Echo):
    """With deadlines that nobody misses."""

    handshake_deadline = 10
    first_byte_deadline = 30
    idle_deadline = 60
    write_deadline = 30


KINDS: dict[str, type[cyncore.Stream]] = {"echo": Echo, "lines": Lines, "watched": Watched}

parser = argparse.ArgumentParser()
parser.add_argument("--kind", choices=KINDS, default="echo")
parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
options = parser.parse_args()
context = None
if options.tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*options.tls)
with cyncore.Loop() as loop:
    server = loop.listen(("127.0.0.1", 0), KINDS[options.kind], tls=context, backlog=BACKLOG)
    announce(server.address[1])
    loop.run()
