# SPDX-License-Identifier: MIT
"""An HTTP proxy for CONNECT, as browsers use it for https (RFC 9110, section 9.3.6).

Try it with ``curl --proxytunnel --proxy http://127.0.0.1:3128 http://127.0.0.1:8080/``.
"""

from __future__ import annotations

import argparse

from cyncore import Lines, Loop, Stream

MOST_LINES = 100  # of a request


class Upstream(Stream):
    """The connection that a client has asked for."""

    connect_deadline = 10

    def __init__(self, client: Client) -> None:
        self.client = client

    def handle_connect(self) -> None:
        self.client.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.client.resume_reading()
        self.client.pipe(self)

    def handle_close(self, error: BaseException | None) -> None:
        if not self.client.closing:
            self.client.refuse("504 Gateway Timeout" if isinstance(error, TimeoutError) else "502 Bad Gateway")


class Client(Stream):
    framing = Lines(b"\r\n", limit=8192)
    first_byte_deadline = 30
    idle_deadline = 300
    write_deadline = 60

    target: tuple[str, int] | None = None
    lines = 0

    def handle_frame(self, frame: bytes) -> None:
        self.lines += 1
        if self.lines > MOST_LINES:
            self.refuse("431 Request Header Fields Too Large")
        elif self.lines == 1:
            self.read_request(frame.decode("latin-1").split(" "))
        elif not frame and self.target is not None:
            self.pause_reading()  # what comes behind the head is for the tunnel
            self.loop.connect(self.target, lambda: Upstream(self))

    def read_request(self, words: list[str]) -> None:
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self.refuse("400 Bad Request")
            return
        host, _, port = words[1].rpartition(":")
        if words[0] != "CONNECT":
            self.refuse("405 Method Not Allowed")
        elif not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            self.refuse("400 Bad Request")
        else:
            self.target = host.strip("[]"), int(port)

    def refuse(self, status: str) -> None:
        self.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        self.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3128, help="0: any")
    options = parser.parse_args()
    with Loop() as loop:
        loop.drain_on_signals(10)
        server = loop.listen((options.host, options.port), Client)
        print("ready {}:{}".format(*server.address), flush=True)
        loop.run()


if __name__ == "__main__":
    main()
