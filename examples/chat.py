# SPDX-License-Identifier: MIT
"""A chat room for thousands: each line goes to everybody else.

Who is silent for long is sent away, and so is who does not read what the others say. Try it with two
``nc 127.0.0.1 7001``.
"""

from __future__ import annotations

import argparse

from cyncore import Lines, Loop, Stream


class Guest(Stream):
    framing = Lines(limit=1000)
    idle_deadline = 600
    max_output = 1_000_000

    def __init__(self, room: set[Guest]) -> None:
        self.room = room

    def handle_connect(self) -> None:
        self.name = "{}:{}".format(*self.addr).encode()
        self.room.add(self)
        self.say(b"comes in")

    def handle_frame(self, frame: bytes) -> None:
        self.say(frame.rstrip())

    def handle_close(self, error: BaseException | None) -> None:
        self.room.discard(self)
        self.say(b"leaves")

    def say(self, words: bytes) -> None:
        line = self.name + b": " + words + b"\n"
        for guest in self.room:
            if guest is not self:
                guest.write(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7001, help="0: any")
    options = parser.parse_args()
    room: set[Guest] = set()
    with Loop() as loop:
        server = loop.listen((options.host, options.port), lambda: Guest(room))
        loop.drain_on_signals(5)
        print("ready {}:{}".format(*server.address), flush=True)
        loop.run()


if __name__ == "__main__":
    main()
