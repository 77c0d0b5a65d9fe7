"""The placement: on which core a process runs, and under which scheduling policy."""

from __future__ import annotations

import os
import shutil

SERVER, LOAD = 0, 1  # places


class Placement:
    """The server runs on the first allowed core, the load on the second, or both wherever the kernel puts them."""

    def __init__(self, *, pin: bool = True, realtime: bool = False) -> None:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []  # PyPy and macOS lack it
        self.cores = cores[:2] if pin and len(cores) > 1 and shutil.which("taskset") else []
        self.realtime = realtime

    def ordinary(self) -> Placement:
        """The same cores without real-time scheduling."""
        plain = Placement(pin=False)
        plain.cores = self.cores
        return plain

    def prefix(self, place: int) -> list[str]:
        """The words to put before a command that is to run at this place (SERVER or LOAD)."""
        pinned = ["taskset", "-c", str(self.cores[place])] if self.cores else []
        return [*(["chrt", "-f", "10"] if self.realtime else []), *pinned]

    def describe(self) -> str:
        cores = f"server on core {self.cores[0]}, load on core {self.cores[1]}" if self.cores else "not pinned"
        return f"{cores}, {'SCHED_FIFO 10' if self.realtime else 'ordinary scheduling'}"
