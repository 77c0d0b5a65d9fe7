"""The account of the scheduler: what a worker lost to other processes."""

from __future__ import annotations

from pathlib import Path


def read_delay() -> float:
    """Seconds in which this process was ready to run and another one had its core; 0 if the kernel does not count."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0
