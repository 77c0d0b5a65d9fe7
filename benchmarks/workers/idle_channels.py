"""The worker of the tick table: `python -m benchmarks.workers.idle_channels MODULE KIND COUNT` prints one line of JSON.

It opens COUNT channels of one class, on socketpairs on which nothing ever happens, and calls `loop(timeout=0, count=1)`
again and again. MODULE is cyncore.asyncore or asyncore.
"""

from __future__ import annotations

import importlib
import json
import socket
import statistics
import sys
import time
import warnings
from types import ModuleType

from benchmarks.workers.scheduler import read_delay

SECONDS = 1.0  # of ticks, or
TICKS = 300  # this many, whichever comes first
WARMUP = 5
KINDS = ("plain", "overridden", "with_send")


def make_class(asyncore: ModuleType, kind: str) -> type:
    class Plain(asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def handle_read(self) -> None:
            self.recv(8192)

    class Overridden(Plain):
        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return False

    class WithSend(asyncore.dispatcher_with_send):  # type: ignore[misc, name-defined]
        def handle_read(self) -> None:
            self.recv(8192)

    return {"plain": Plain, "overridden": Overridden, "with_send": WithSend}[kind]


def open_channels(channel: type, count: int) -> list[object]:
    pairs = [socket.socketpair() for _ in range(count // 2)]
    return [channel(end) for pair in pairs for end in pair]


def time_ticks(asyncore: ModuleType) -> list[float]:
    for _ in range(WARMUP):
        asyncore.loop(timeout=0, use_poll=True, count=1)
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < TICKS and time.perf_counter() < end:
        started = time.perf_counter()
        asyncore.loop(timeout=0, use_poll=True, count=1)
        times.append(time.perf_counter() - started)
    return times


def main(module: str, kind: str, count: int) -> None:
    warnings.simplefilter("ignore", DeprecationWarning)
    asyncore = importlib.import_module(module)
    channels = open_channels(make_class(asyncore, kind), count)
    delay, started = read_delay(), time.perf_counter()
    times = time_ticks(asyncore)
    delay, elapsed = read_delay() - delay, time.perf_counter() - started
    figures = {
        "channels": len(channels),
        "ticks": len(times),
        "taken": delay / elapsed,
        "median_us": 1e6 * statistics.median(times),
        "least_us": 1e6 * min(times),
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
