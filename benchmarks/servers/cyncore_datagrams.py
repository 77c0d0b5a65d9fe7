"""Datagrams that are sent back, on cyncore's Datagram."""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.servers.listening import announce
from cyncore import Datagram, Loop


class Echo(Datagram):
    def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
        self.send(data, address)


class BatchEcho(Datagram):
    """Takes what one system call has received together."""

    def handle_datagrams(self, batch: list[Any]) -> None:
        send = self.send
        for data, address in batch:
            send(data, address)


def serve() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", action="store_true", help="take those of one system call together")
    parser.add_argument("--plain", action="store_true", help="without UDP_SEGMENT and UDP_GRO")
    options = parser.parse_args()
    kind: type[Datagram] = BatchEcho if options.batches else Echo
    kind.offload = not options.plain
    with Loop() as loop:
        announce(loop.bind(("127.0.0.1", 0), kind).address[1])
        loop.run()


serve()
