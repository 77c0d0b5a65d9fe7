# SPDX-License-Identifier: MIT
"""A server of cyncore whose handlers give work to coroutines of asyncio, in the same thread.

It answers each line, the name of a host, with the addresses of that host. Try it with ``nc 127.0.0.1 7000``.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket

from cyncore import Lines, Loop, Stream
from cyncore.asyncio import AsyncioLoop

guest: AsyncioLoop
tasks: set[asyncio.Task[None]] = set()  # asyncio itself keeps no reference to them


class Lookup(Stream):
    framing = Lines(limit=300)
    idle_deadline = 300
    write_deadline = 60

    def handle_frame(self, frame: bytes) -> None:
        self.pause_reading()  # one question at a time
        task = guest.create_task(self.answer(frame.decode("ascii", "replace").strip()))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def answer(self, name: str) -> None:
        try:
            found = await guest.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            text = f"error: {error}"
        else:
            text = " ".join(sorted({str(address[0]) for *_, address in found}))
        if not self.closing:  # the peer may have left meanwhile
            self.write(f"{text}\n".encode())
            self.resume_reading()


def main() -> None:
    global guest
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7000, help="0: any")
    options = parser.parse_args()
    with Loop() as loop:
        guest = AsyncioLoop(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            guest.add_signal_handler(number, loop.stop)
        server = loop.listen((options.host, options.port), Lookup)
        print("ready {}:{}".format(*server.address), flush=True)
        loop.run()
        guest.run_until_complete(guest.shutdown_default_executor())
        guest.close()


if __name__ == "__main__":
    main()
