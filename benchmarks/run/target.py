"""A target: a figure that cyncore is meant to reach, and whether this run reached it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MET = "met"
MISSED = "MISSED"
NO_VERDICT = "no verdict"  # other processes used the same cores
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Target:
    what: str
    wanted: float
    at_least: bool = True  # False: `wanted` is the most that is allowed

    def verdict(self, value: float | None, *, quiet: bool = True) -> str:
        """MET, MISSED, NO_VERDICT or NOT_MEASURED. `quiet`: whether other processes left the machine alone."""
        if value is None:
            return NOT_MEASURED
        if not quiet:
            return NO_VERDICT
        met = value >= self.wanted if self.at_least else value <= self.wanted
        return MET if met else MISSED

    def judge(self, value: float | None, *, quiet: bool = True) -> str:
        """The line with the value and the verdict."""
        bound = f"{self.wanted:g} or {'more' if self.at_least else 'less'}"
        verdict = self.verdict(value, quiet=quiet)
        if value is None:
            return f"{self.what}: {verdict} (wanted: {bound})"
        told = "NO VERDICT: others used the same cores" if verdict == NO_VERDICT else verdict
        return f"{self.what}: {value:.2f} (wanted: {bound}), {told}"

    def record(self, value: float | None, *, quiet: bool = True) -> dict[str, object]:
        """What `--json` writes about it."""
        return {
            "what": self.what,
            "wanted": self.wanted,
            "at_least": self.at_least,
            "value": value,
            "verdict": self.verdict(value, quiet=quiet),
        }


Reached = tuple[Target, "float | None", bool]  # with the value, and whether other processes left the machine alone


def conclude(text: str, reached: Sequence[Reached], **record: object) -> tuple[str, dict[str, object]]:
    """What the `run` of a table returns: the text with the verdicts below it, and the record with the targets."""
    verdicts = [target.judge(value, quiet=calm) for target, value, calm in reached]
    targets = [target.record(value, quiet=calm) for target, value, calm in reached]
    return "\n".join([text, *verdicts]) + "\n", {**record, "targets": targets}
