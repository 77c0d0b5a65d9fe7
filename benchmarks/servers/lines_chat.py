"""Lines on asynchat. `cyncore_lines` and `asynchat_lines` run it with their own modules.

It has the documented structure: the handler collects what comes, and answers when a line has ended.
"""

from __future__ import annotations

import socket
from types import ModuleType

from benchmarks.servers.listening import announce, listen


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


def serve(asyncore: ModuleType, asynchat: ModuleType) -> None:
    server = listen(asyncore, make_handler(asynchat))
    announce(server.socket.getsockname()[1])
    asyncore.loop(use_poll=True)
