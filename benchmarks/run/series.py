"""A series: the samples of one peer under one shape of load, by round."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.run.figures import QUIET, Figure, median, ratio, spread
from benchmarks.run.load import Sample, Shape
from benchmarks.run.peers import Peer


def rate(sample: Sample) -> float:
    return sample.rate


@dataclass
class Series:
    peer: Peer
    shape: Shape
    samples: dict[int, Sample] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)  # why there are no samples, or no more of them

    def median(self, figure: Figure) -> float | None:
        return median(self.samples, figure)

    def spread(self) -> float | None:
        return spread(self.samples, rate)

    def ratio(self, other: Series | None, figure: Figure = rate) -> float | None:
        return ratio(self.samples, other.samples if other else None, figure)

    def record(self) -> dict[str, object]:
        return {
            "peer": self.peer.name,
            **self.shape.record(),
            "samples": {str(turn): sample.record() for turn, sample in self.samples.items()},
            "failures": self.failures,
        }


def rate_ratio(series: Series | None, other: Series | None) -> float | None:
    """The rate of one as a share of the other's; None where either was not measured."""
    return series.ratio(other) if series else None


def quiet(*every: Series | None, most: float = QUIET) -> bool:
    """Whether other processes left the machine alone during these series. `most`: the share they may have taken."""
    return all((series.median(Sample.disturbed) or 0.0) <= most for series in every if series)
