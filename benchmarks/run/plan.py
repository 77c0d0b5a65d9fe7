"""The plan: what the command line asked for."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.run.placement import Placement

SPARE = 100  # descriptors of a process for everything that is not a connection


@dataclass(frozen=True)
class Plan:
    rounds: int
    seconds: float  # of a measured window
    warmup: float  # seconds before a window
    placement: Placement
    limit: int = 1024  # descriptors that a process may open; server and load are two processes
    quick: bool = False  # only to show that it works; the figures are no evidence
    size: int = 64  # bytes of a message, where the table does not say
    connections: int = 100  # where the table does not say

    def most(self, wanted: int) -> int:
        """That number of connections, or as many as the limit of descriptors allows."""
        return max(1, min(wanted, self.limit - SPARE))
