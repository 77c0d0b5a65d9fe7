# SPDX-License-Identifier: MIT
"""Sends lines to a server, and prints its answers, one for each: the arguments, or the lines of stdin.

python examples/line_client.py --port 7000 hello world
"""

from __future__ import annotations

import argparse
import sys

from cyncore import Lines, Loop, Stream


class Client(Stream):
    framing = Lines()
    connect_deadline = 10
    idle_deadline = 10

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.left = len(lines)
        self.error: BaseException | None = None

    def handle_connect(self) -> None:
        self.writelines(line.encode() + b"\n" for line in self.lines)

    def handle_frame(self, frame: bytes) -> None:
        print(frame.decode(errors="replace"), flush=True)
        self.left -= 1
        if not self.left:
            self.close()

    def handle_close(self, error: BaseException | None) -> None:
        self.error = error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7000)
    parser.add_argument("--tls", action="store_true", help="over TLS, with the certificates that this system trusts")
    parser.add_argument("lines", nargs="*", help="none: those of stdin")
    options = parser.parse_args()
    lines = options.lines or [line.rstrip("\n") for line in sys.stdin]
    if not lines:
        return
    with Loop() as loop:
        client = loop.connect((options.host, options.port), lambda: Client(lines), tls=True if options.tls else None)
        loop.run()
    if client.error is not None or client.left:
        sys.exit(str(client.error or "the server has closed the connection"))


if __name__ == "__main__":
    main()
