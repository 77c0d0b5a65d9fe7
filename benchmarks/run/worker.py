"""A worker: a process that measures itself and prints one line of JSON, for what needs no load beside it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from benchmarks.run.load import ROOT, Placement, SampleError
from benchmarks.run.rounds import Plan, progress

Figures = dict[str, float]
Rounds = dict[int, Figures]  # by the number of the round
Key = TypeVar("Key")
PATIENCE = 120.0  # seconds


def work(module: str, words: Sequence[str], placement: Placement) -> Figures:
    """What a worker prints, on the server's core. Raises SampleError where it does not, or takes too long."""
    command = [*placement.prefix(0), sys.executable, "-m", f"benchmarks.workers.{module}", *words]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise SampleError(f"did not end within {PATIENCE:.0f} s") from None
    if done.returncode:
        raise SampleError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    figures: Figures = json.loads(done.stdout)
    return figures


def work_rounds(
    keys: Sequence[Key], plan: Plan, take: Callable[[Key], Figures], tell: Callable[[Key, Figures | None], str]
) -> tuple[dict[Key, Rounds], dict[Key, str]]:
    """Every key once, then every key again, there and back: the figures, and of those that failed the reason."""
    taken: dict[Key, Rounds] = {}
    failures: dict[Key, str] = {}
    for turn in range(plan.rounds):
        for key in keys if turn % 2 == 0 else reversed(keys):
            if key in failures:
                continue
            try:
                figures = take(key)
                taken.setdefault(key, {})[turn] = figures
                told = tell(key, figures)
            except SampleError as error:
                failures[key] = str(error)
                told = f"{tell(key, None)}: {error}"
            progress(f"round {turn + 1}/{plan.rounds}, {told}")
    return taken, failures


def median(rounds: Rounds | None, figure: str) -> float | None:
    return statistics.median(figures[figure] for figures in rounds.values()) if rounds else None


def spread(rounds: Rounds | None, figure: str) -> float | None:
    """How far the lowest is from the highest, as a share of the median."""
    if not rounds:
        return None
    values = [figures[figure] for figures in rounds.values()]
    return (max(values) - min(values)) / statistics.median(values)


def against(rounds: Rounds | None, other: Rounds | None, figure: str) -> float | None:
    """The median over the rounds that both have of the one's figure by the other's."""
    both = (rounds or {}).keys() & (other or {}).keys()
    if rounds is None or other is None or not both:
        return None
    return statistics.median(rounds[i][figure] / other[i][figure] for i in both)
