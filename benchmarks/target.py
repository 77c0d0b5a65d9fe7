"""A target: what was promised for cyncore, and whether this run keeps it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    what: str
    wanted: float
    at_least: bool = True

    def judge(self, value: float | None, *, quiet: bool = True) -> str:
        bound = f"{self.wanted:g} or {'more' if self.at_least else 'less'}"
        if value is None:
            return f"{self.what}: not measured (wanted: {bound})"
        if not quiet:
            return f"{self.what}: {value:.2f} (wanted: {bound}), NO VERDICT: others used the same cores"
        met = value >= self.wanted if self.at_least else value <= self.wanted
        return f"{self.what}: {value:.2f} (wanted: {bound}), {'met' if met else 'MISSED'}"
