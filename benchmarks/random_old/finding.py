"""A finding: what one random old program did on cyncore, beside what it did on the old modules."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field

from benchmarks.random_old.sample import Sample
from benchmarks.run.figures import Rounds, median, ratio
from benchmarks.run.peers import OLD, OURS
from benchmarks.run.text import number, percent
from benchmarks.workers.random_old.traits import Traits

LEAST_RATE = 0.9  # by asyncore's
MOST_CPU = 1.1
MOST_IDLE = 0.01  # of a core more than asyncore takes
HEAD = f"{'seed':>6}  {'rate':>5}  {'CPU':>5}  {'idle':>7}  {'asyncore':>8}  {'rounds':>6}  verdict"


def tell_ends(side: str, samples: list[Sample]) -> str:
    """How a program ended that did not always answer everything."""
    counted = Counter(sample.end for sample in samples if not sample.whole())
    return f"{side} {' and '.join(f'{end} ({count} of {len(samples)})' for end, count in counted.items())}"


@dataclass
class Finding:
    """The samples of one program, round by round. Ratios are to asyncore, and are medians of the rounds."""

    seed: int
    traits: Traits
    ours: list[Sample] = field(default_factory=list)
    old: list[Sample] = field(default_factory=list)

    def rounds(self) -> tuple[Rounds, Rounds]:
        """The figures of the rounds in which both have answered everything."""
        pairs = enumerate(zip(self.ours, self.old, strict=True))
        both = {turn: pair for turn, pair in pairs if pair[0].whole() and pair[1].whole()}
        return (
            {turn: ours.figures for turn, (ours, _) in both.items()},
            {turn: old.figures for turn, (_, old) in both.items()},
        )

    def different(self) -> str:
        """How cyncore's end differs, in words; empty where it does not, or where the old modules fail as often."""
        failed = sum(not sample.whole() for sample in self.ours)
        if failed > sum(not sample.whole() for sample in self.old) or any(sample.killed() for sample in self.ours):
            return tell_ends(OURS, self.ours)
        return ""

    def slower(self) -> list[str]:
        """Which figures are worse on cyncore; empty where none is."""
        ours, old = self.rounds()
        if not ours:
            return []
        worse = []
        if (ratio(ours, old, "rate") or 0.0) < LEAST_RATE:
            worse.append("rate")
        if (ratio(ours, old, "cpu_us") or 0.0) > MOST_CPU:
            worse.append("CPU")
        if (median(ours, "idle_busy") or 0.0) > (median(old, "idle_busy") or 0.0) + MOST_IDLE:
            worse.append("idle")
        return worse

    def worse(self) -> str:
        """What is worse on cyncore, in words; empty where nothing is."""
        return self.different() or ", ".join(self.slower())

    def unjudged(self) -> str:
        """Why there is nothing to compare with, in words; empty where there is something."""
        return "" if self.rounds()[0] or self.different() else tell_ends(OLD, self.old)

    def verdict(self) -> str:
        if self.different():
            return f"DIFFERENT: {self.different()}"
        if self.slower():
            return f"SLOWER: {', '.join(self.slower())}"
        return f"not judged: {self.unjudged()}" if self.unjudged() else "ok"

    def line(self) -> str:
        ours, old = self.rounds()
        cells = [
            f"{self.seed:>6}",
            f"{number(ratio(ours, old, 'rate'), 2):>5}",
            f"{number(ratio(ours, old, 'cpu_us'), 2):>5}",
            f"{percent(median(ours, 'idle_busy'), 1):>7}",
            f"{percent(median(old, 'idle_busy'), 1):>8}",
            f"{len(self.ours):>6}",
            self.verdict(),
        ]
        return "  ".join(cells) + (f"; {self.details()}" if self.worse() else "")

    def details(self) -> str:
        """The figures of both sides, and the traits."""
        ours, old = self.rounds()
        figures = [("rate", 0), ("cpu_us", 1), ("p50_us", 0), ("p99_us", 0), ("busy", 2), ("taken", 2)]
        told = [f"{name} {number(median(ours, name), n)} by {number(median(old, name), n)}" for name, n in figures]
        return "; ".join([*(told if ours else []), self.traits.describe()])

    def record(self) -> dict[str, object]:
        samples = {OURS: [asdict(one) for one in self.ours], OLD: [asdict(one) for one in self.old]}
        return {"seed": self.seed, "traits": asdict(self.traits), **samples, "verdict": self.verdict()}
