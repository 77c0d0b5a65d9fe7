"""Rounds: every peer once, then every peer again, so that a slow minute of the machine is everybody's slow minute."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.run.load import Placement, Sample, SampleError, Shape, take
from benchmarks.run.peers import Peer

SCAN_LIMIT = 2000
SPARE = 100  # descriptors of a process for everything that is not a connection
QUIET = 0.1  # the share of a window that may be taken before there is no verdict; FIFO processes lose 0.05 by the rules


@dataclass
class Series:
    """What one peer did in one shape: the samples by round, or why there are none."""

    peer: Peer
    shape: Shape
    samples: dict[int, Sample] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def median(self, figure: Callable[[Sample], float]) -> float:
        return statistics.median(figure(sample) for sample in self.samples.values())

    def rate(self) -> float:
        return self.median(lambda sample: sample.rate)

    def spread(self) -> float:
        """How far the fastest round is from the slowest, as a share of the median."""
        rates = [sample.rate for sample in self.samples.values()]
        return (max(rates) - min(rates)) / self.rate()

    def quiet(self) -> bool:
        return bool(self.samples) and self.median(Sample.disturbed) <= QUIET

    def against(self, other: Series | None, figure: Callable[[Sample], float]) -> float | None:
        """The median over the rounds that both have of this one's figure by the other's."""
        if other is None:
            return None
        both = sorted(self.samples.keys() & other.samples.keys())
        return statistics.median(figure(self.samples[i]) / figure(other.samples[i]) for i in both) if both else None

    def record(self) -> dict[str, object]:
        return {
            "peer": self.peer.name,
            **self.shape.record(),
            "samples": {str(i): sample.record() for i, sample in self.samples.items()},
            "failures": self.failures,
        }


@dataclass(frozen=True)
class Plan:
    """What the command line asked for."""

    rounds: int
    seconds: float
    warmup: float
    placement: Placement
    limit: int = 1024  # descriptors that a process may have; server and load are two processes
    quick: bool = False  # does it work? the figures are no evidence
    size: int = 64  # bytes of a message, where the table does not say
    connections: int = 100  # where the table does not say

    def most(self, wanted: int) -> int:
        """So many connections, or as many as the limit of descriptors leaves."""
        return max(1, min(wanted, self.limit - SPARE))

    def few(self, peer: Peer, shape: Shape) -> int:
        """How many rounds: a loop that asks everybody at every turn gets one where there are thousands."""
        return 1 if peer.scans and shape.connections > SCAN_LIMIT else self.rounds


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def interleave(peers: list[Peer], shapes: list[Shape], plan: Plan) -> list[Series]:
    """All shapes of all peers in every round, there and back. A peer that fails in a shape is not tried in it again."""
    every = [Series(peer, shape) for peer in peers for shape in shapes]
    for turn in range(plan.rounds):
        for series in every if turn % 2 == 0 else reversed(every):
            if turn >= plan.few(series.peer, series.shape) or series.failures:
                continue
            where = f"round {turn + 1}/{plan.rounds}, {series.shape.label()}"
            try:
                sample = series.samples[turn] = take(series.peer, series.shape, plan.placement)
                progress(f"{where}, {series.peer.name}: {sample.rate:,.0f} messages/s")
            except SampleError as error:
                series.failures.append(str(error))
                progress(f"{where}, {series.peer.name}: {error}")
    return every
