# SPDX-License-Identifier: MIT
"""Figures: what a loop counts. It has no other use than to be told."""

from __future__ import annotations

import time
from typing import Final

FIRST: Final = 10  # the first bucket of times is below 2 to the power of that, in ns; each has twice the time
BUCKETS: Final = 26


class Times:
    """A histogram of times."""

    __slots__ = ("counts", "most", "total")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.total = self.most = 0  # ns

    def note(self, seconds: float) -> None:
        taken = max(int(seconds * 1e9), 0)
        self.counts[min((taken >> FIRST).bit_length(), BUCKETS - 1)] += 1
        self.total += taken
        self.most = max(self.most, taken)


class Figures:
    """Those of one loop."""

    __slots__ = (
        *("accepts", "begun", "calls", "errors", "events", "handlers", "lag", "received", "sent", "since", "stamp"),
        *("begun_events", "sweeps"),
    )

    def __init__(self) -> None:
        self.events = self.calls = self.sweeps = self.accepts = self.errors = 0
        self.begun_events = 0  # those whose handlers were called, or are being called
        self.received = self.sent = 0  # bytes
        self.begun = self.stamp = time.monotonic()  # `stamp`: when a wait has ended last with something to do
        self.since = 0.0  # since then the loop works on what a wait has returned; 0: it does not
        self.lag, self.handlers = Times(), Times()

    def begin_work(self) -> None:
        """There is something to do."""
        if not self.since:
            self.since = self.stamp = time.monotonic()

    def end_work(self) -> None:
        """The loop looks for events again, or nobody runs it any more."""
        if self.since:
            self.lag.note(time.monotonic() - self.since)
            self.since = 0.0
