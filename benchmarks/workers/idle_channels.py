"""The worker of the tick table: `python -m benchmarks.workers.idle_channels MODULE KIND COUNT` prints one line of JSON.

COUNT channels of one class, both ends of socketpairs on which nothing ever happens, and `loop(timeout=0, count=1)` over
them again and again. MODULE is cyncore.asyncore or asyncore.
"""

from __future__ import annotations

import importlib
import json
import socket
import statistics
import sys
import time
import warnings
from pathlib import Path
from types import ModuleType

SECONDS = 1.0  # of ticks measured, and
TICKS = 300  # so many at most
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


def read_delay() -> float:
    """Seconds in which this process was ready to run, and another had the core."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


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
