"""A target: what was promised for cyncore, and whether this run keeps it."""

from __future__ import annotations

from dataclasses import dataclass

MET = "met"
MISSED = "MISSED"
NO_VERDICT = "no verdict"  # others used the same cores
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Target:
    what: str
    wanted: float
    at_least: bool = True

    def verdict(self, value: float | None, *, quiet: bool = True) -> str:
        """MET, MISSED, NO_VERDICT or NOT_MEASURED. `quiet`: whether the machine was ours in the meantime."""
        if value is None:
            return NOT_MEASURED
        if not quiet:
            return NO_VERDICT
        met = value >= self.wanted if self.at_least else value <= self.wanted
        return MET if met else MISSED

    def judge(self, value: float | None, *, quiet: bool = True) -> str:
        """A line that says so."""
        bound = f"{self.wanted:g} or {'more' if self.at_least else 'less'}"
        verdict = self.verdict(value, quiet=quiet)
        if value is None:
            return f"{self.what}: {verdict} (wanted: {bound})"
        told = "NO VERDICT: others used the same cores" if verdict == NO_VERDICT else verdict
        return f"{self.what}: {value:.2f} (wanted: {bound}), {told}"

    def record(self, value: float | None, *, quiet: bool = True) -> dict[str, object]:
        """The same for a file."""
        return {
            "what": self.what,
            "wanted": self.wanted,
            "at_least": self.at_least,
            "value": value,
            "verdict": self.verdict(value, quiet=quiet),
        }
