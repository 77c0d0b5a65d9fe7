"""The worker of the timers table: `python -m benchmarks.workers.timer_calls LOOP KIND COUNT` prints one line of JSON.

LOOP is the module of a loop: cyncore, uvloop, asyncio or rloop. All are used in the same way, as their documentation
shows: `loop.call_later(seconds, callback)` in a callback of the running loop, and `cancel()` on what it returns.

KIND "cancelled" sets COUNT timers, and then cancels them in the order in which they were set. "turned" sets and cancels
one after the other, a thousand in each turn of the loop, as a program does with timeouts that hardly ever expire.
"fired" sets COUNT timers that expire within a second, and lets them fire. The figures end when the loop has stopped and
returned, so they include what it does to forget the timers.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.workers.scheduler import read_delay

KINDS = ("cancelled", "turned", "fired")
IN_A_TURN = 1_000
SECONDS = 1.0  # over which timers fire
FAR = (30.0, 300.0)  # seconds, between which timeouts are drawn at random
SEED = 20  # every loop gets the same delays
SPREAD = 10_007  # different delays


def make_loop(name: str) -> tuple[Any, Callable[[], None], Callable[[], None]]:
    """Returns the loop, a function that runs it until it is stopped, and one that closes it."""
    module = importlib.import_module(name)
    if name == "cyncore":
        loop = module.Loop()
        return loop, lambda: loop.run(forever=True), loop.close
    loop = module.new_event_loop()
    return loop, loop.run_forever, loop.close


def draw(low: float, high: float) -> list[float]:
    source = random.Random(SEED)
    return [source.uniform(low, high) for _ in range(SPREAD)]


def nothing() -> None:
    """The callback of a timer that does not fire."""


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Work:
    """The work of each kind, as methods. `peak` is the resident memory when the most timers were set, in bytes."""

    def __init__(self, loop: Any, count: int) -> None:
        self.loop = loop
        self.count = count
        self.left = count
        self.peak = 0
        self.delays = draw(*FAR)

    def cancelled(self) -> None:
        delays, call_later = self.delays, self.loop.call_later
        handles = [call_later(delays[i % SPREAD], nothing) for i in range(self.count)]
        self.peak = resident()
        for handle in handles:
            handle.cancel()
        self.loop.call_soon(self.loop.stop)

    def turned(self) -> None:
        if not self.left:
            self.loop.stop()
            return
        delays, call_later = self.delays, self.loop.call_later
        turn = min(self.left, IN_A_TURN)
        for i in range(self.left, self.left - turn, -1):
            call_later(delays[i % SPREAD], nothing).cancel()
        self.left -= turn
        self.peak = resident() if not self.left else 0
        self.loop.call_soon(self.turned)

    def fired(self) -> None:
        delays, call_later = draw(0.001, SECONDS), self.loop.call_later
        for i in range(self.count):
            call_later(delays[i % SPREAD], self.fire)
        self.peak = resident()

    def fire(self) -> None:
        self.left -= 1
        if not self.left:
            self.loop.stop()


def main(name: str, kind: str, count: int) -> None:
    loop, run, close = make_loop(name)
    work = Work(loop, count)
    loop.call_soon(loop.stop)
    run()  # the first turn is not measured, in which a loop makes what it needs
    gc.collect()
    base, delay, cpu, started = resident(), read_delay(), time.process_time(), time.perf_counter()
    loop.call_soon(getattr(work, kind))
    run()
    cpu, elapsed, delay = time.process_time() - cpu, time.perf_counter() - started, read_delay() - delay
    close()
    figures = {
        "timers": count,
        "cpu_us": 1e6 * cpu / count,
        "elapsed_us": 1e6 * elapsed / count,
        "grown_bytes": (work.peak - base) / count,
        "taken": delay / (delay + cpu),
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
