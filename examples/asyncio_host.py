# SPDX-License-Identifier: MIT
"""A program of asyncio that serves an echo by streams of cyncore, in the same thread.

Try it with ``nc 127.0.0.1 7000``.
"""

from __future__ import annotations

import argparse
import asyncio
import signal

from cyncore import Loop, Stream
from cyncore.asyncio import host


class Echo(Stream):
    idle_deadline = 300
    write_deadline = 60
    echoed = 0

    def handle_data(self, data: bytes) -> None:
        Echo.echoed += len(data)
        self.write(data)

    def handle_full(self) -> None:  # the peer sends faster than it reads
        self.pause_reading()

    def handle_drained(self) -> None:
        self.resume_reading()


async def tell(seconds: float) -> None:
    """Whatever else the program has to do, in coroutines."""
    while True:
        await asyncio.sleep(seconds)
        print(f"{Echo.echoed} bytes so far", flush=True)


async def serve(address: tuple[str, int], seconds: float) -> None:
    with Loop() as loop, host(loop) as hosting:
        server = loop.listen(address, Echo)
        telling = asyncio.create_task(tell(seconds))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, loop.drain, 10)
        print("ready {}:{}".format(*server.address), flush=True)
        await hosting.wait()  # until the loop is drained
        telling.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7000, help="0: any")
    parser.add_argument("--every", type=float, default=60, help="seconds between two lines")
    options = parser.parse_args()
    asyncio.run(serve((options.host, options.port), options.every))


if __name__ == "__main__":
    main()
