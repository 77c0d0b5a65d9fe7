"""Figures by round, and what is made of them: medians, spreads and ratios.

A ratio is taken within each round, between two samples of the same minute, and only then is the median taken. What
slows the whole machine down for a while then slows down both sides.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

Figures = dict[str, float]  # what one measurement gave, by name
Rounds = dict[int, Figures]  # by the number of the round
Figure = str | Callable[[Any], float]  # the name of a figure, or a function of a sample
QUIET = 0.1  # a larger share taken by other processes gives no verdict; the kernel takes 0.05 of a FIFO process itself


def values(samples: Mapping[Any, Any], figure: Figure) -> dict[Any, float]:
    """One figure of every round."""
    if isinstance(figure, str):
        return {turn: sample[figure] for turn, sample in samples.items()}
    return {turn: figure(sample) for turn, sample in samples.items()}


def median(samples: Mapping[Any, Any] | None, figure: Figure) -> float | None:
    return float(statistics.median(values(samples, figure).values())) if samples else None


def spread(samples: Mapping[Any, Any] | None, figure: Figure) -> float | None:
    """The difference of the highest and the lowest round, as a share of the median."""
    if not samples:
        return None
    every = values(samples, figure).values()
    return (max(every) - min(every)) / statistics.median(every)


def ratio(samples: Mapping[Any, Any] | None, other: Mapping[Any, Any] | None, figure: Figure) -> float | None:
    """The median of the ratios of one to the other, over the rounds that both have."""
    mine, theirs = values(samples or {}, figure), values(other or {}, figure)
    both = mine.keys() & theirs.keys()
    return statistics.median(mine[turn] / theirs[turn] for turn in both) if both else None


def quiet(*every: Rounds | None) -> bool:
    """Whether other processes left the machine alone during these rounds. Needs the figure "taken"."""
    return all((median(rounds, "taken") or 0.0) <= QUIET for rounds in every)
