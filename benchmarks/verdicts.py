"""The end of a table: what was promised, what was reached, and the record of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.rounds import Series
from benchmarks.target import Target

Reached = tuple[Target, "float | None", bool]  # with the value, and whether the machine was ours


def conclude(text: str, every: Iterable[Series], reached: Sequence[Reached]) -> tuple[str, dict[str, object]]:
    """What a table's `run` returns."""
    verdicts = [target.judge(value, quiet=calm) for target, value, calm in reached]
    targets = [target.record(value, quiet=calm) for target, value, calm in reached]
    return "\n".join([text, *verdicts]) + "\n", {"series": [series.record() for series in every], "targets": targets}
