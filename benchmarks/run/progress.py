"""The progress of a run, which goes to stderr, and how long the run will take."""

from __future__ import annotations

import sys
import time

LEAST_PACE = 0.3  # of the estimate: a table that failed at once says nothing about the others


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class Clock:
    """Estimates the time that is left, and corrects the estimate by the time that the finished tables have taken."""

    def __init__(self, cost: dict[str, float]) -> None:
        """`cost`: the estimate of every table, in seconds, in the order in which they run."""
        self.left = dict(cost)
        self.count = len(cost)
        self.done = 0.0  # seconds of the estimate
        self.began = time.monotonic()

    def announce(self, name: str) -> str:
        elapsed = time.monotonic() - self.began
        pace = max(elapsed / self.done, LEAST_PACE) if self.done else 1.0
        here, whole = duration(pace * self.left[name]), duration(pace * sum(self.left.values()))
        place = self.count - len(self.left) + 1
        return f"table {place} of {self.count}: {name}, about {here}; to the end {whole}"

    def finish(self, name: str) -> None:
        self.done += self.left.pop(name)
