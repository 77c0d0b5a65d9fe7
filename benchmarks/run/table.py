"""A table of `python -m benchmarks`: who takes part, and how it is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.run.peers import Peer
from benchmarks.run.plan import Plan

START = 0.8  # seconds to start a server and to stop it


@dataclass(frozen=True)
class Table:
    """`run` takes the peers that are installed and the plan. It returns the table as text, and the record for `--json`:
    {"series": [...], "targets": [Target.record(...), ...]}.
    """

    name: str
    peers: Sequence[Peer]
    run: Callable[[list[Peer], Plan], tuple[str, dict[str, object]]]
    programs: tuple[str, ...] = ()  # of loads/, to be compiled first
    shapes: int = 1  # how many windows each peer is measured in, in every round
    window: float | None = None  # seconds of a window, where the plan does not determine it
    missing: Callable[[], str | None] = lambda: None  # why it cannot be measured on this machine, or None

    def estimate(self, peers: int, plan: Plan) -> float:
        """About how many seconds it takes with this number of peers."""
        window = plan.seconds + plan.warmup if self.window is None else self.window / (4 if plan.quick else 1)
        return plan.rounds * self.shapes * peers * (window + START)
