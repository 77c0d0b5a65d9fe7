"""The end of a table: what was promised, what was reached, and the record of both."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.run.target import Target

Reached = tuple[Target, "float | None", bool]  # with the value, and whether the machine was ours


def conclude(text: str, reached: Sequence[Reached], **record: object) -> tuple[str, dict[str, object]]:
    """What a table's `run` returns: the text with the verdicts below it, and the record with the targets."""
    verdicts = [target.judge(value, quiet=calm) for target, value, calm in reached]
    targets = [target.record(value, quiet=calm) for target, value, calm in reached]
    return "\n".join([text, *verdicts]) + "\n", {**record, "targets": targets}
