"""The account of the scheduler: what a worker lost to other processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def read_delay() -> float:
    """Seconds in which this process was ready to run and another one had its core; 0 if the kernel does not count."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def spend(run: Callable[[], object]) -> tuple[float, float, float]:
    """Runs it. Returns the CPU seconds, the elapsed seconds, and those in which another process had the core."""
    began, cpu, delay = time.perf_counter(), time.process_time(), read_delay()  # the first is the last that is read
    run()
    return time.process_time() - cpu, time.perf_counter() - began, read_delay() - delay
