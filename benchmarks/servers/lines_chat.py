"""Lines on asynchat; `cyncore_lines` and `asynchat_lines` give it their modules.

The documented shape: gather what comes, and when a line has ended, answer it.
"""

from __future__ import annotations

import socket
from types import ModuleType

BACKLOG = 1024


def make_handler(asynchat: ModuleType) -> type:
    class LineHandler(asynchat.async_chat):  # type: ignore[misc, name-defined]
        def __init__(self, sock: socket.socket) -> None:
            asynchat.async_chat.__init__(self, sock)
            self.set_terminator(b"\r\n")
            self.line: list[bytes] = []

        def collect_incoming_data(self, data: bytes) -> None:
            self.line.append(data)

        def found_terminator(self) -> None:
            line = b"".join(self.line)
            self.line = []
            self.push(line + b"\r\n")

    return LineHandler


def make_server(asyncore: ModuleType, handler: type) -> type:
    class LineServer(asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def __init__(self, host: str, port: int) -> None:
            asyncore.dispatcher.__init__(self)
            self.create_socket()
            self.set_reuse_addr()
            self.bind((host, port))
            self.listen(BACKLOG)

        def handle_accepted(self, sock: socket.socket, address: object) -> None:
            handler(sock)

    return LineServer


def serve(asyncore: ModuleType, asynchat: ModuleType) -> None:
    server = make_server(asyncore, make_handler(asynchat))("127.0.0.1", 0)
    print("listening", server.socket.getsockname()[1], flush=True)
    asyncore.loop(use_poll=True)
