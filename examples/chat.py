# SPDX-License-Identifier: MIT
"""A chat room for 5,000: each line goes to everybody else.

Who is silent for long is sent away, and so is who does not read what the others say, or whose line does not end. Try
it with two ``nc 127.0.0.1 7001``.
"""

from __future__ import annotations

import argparse
import resource

from cyncore import Lines, Loop, Stream

GUESTS = 5000
SPARE = 50  # descriptors for everything that is not a guest


class Guest(Stream):
    framing = Lines(limit=1000)
    idle_deadline = 600
    write_deadline = 60  # for who stops reading in a room where little is said
    max_output = 1_000_000

    def __init__(self, room: set[Guest]) -> None:
        self.room = room

    def handle_connect(self) -> None:
        self.name = "{}:{}".format(*self.addr).encode()
        self.room.add(self)
        self.write(b"you are %b, one of %d\n" % (self.name, len(self.room)))

    def handle_frame(self, frame: bytes) -> None:
        line = self.name + b": " + frame.rstrip() + b"\n"
        for guest in self.room:
            if guest is not self:
                guest.write(line)

    def handle_close(self, error: BaseException | None) -> None:
        self.room.discard(self)


def allow_descriptors(wanted: int) -> None:
    """Raises the limit of this process, as far as that is allowed; above it, guests wait to be accepted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft not in (resource.RLIM_INFINITY, hard) and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7001, help="0: any")
    parser.add_argument("--idle", type=float, default=600, help="seconds after which the silent are sent away")
    options = parser.parse_args()
    Guest.idle_deadline = options.idle
    allow_descriptors(GUESTS + SPARE)
    room: set[Guest] = set()
    with Loop() as loop:
        loop.drain_on_signals(5)
        server = loop.listen((options.host, options.port), lambda: Guest(room), max_connections=GUESTS)
        print("ready {}:{}".format(*server.address), flush=True)
        loop.run()


if __name__ == "__main__":
    main()
