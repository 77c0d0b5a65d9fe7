"""The results of a session: the file that `--json` writes, from which charts and Markdown are made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.run import figures
from benchmarks.run.peers import RAW
from benchmarks.run.target import NOT_MEASURED
from benchmarks.run.text import number

SUMMARY = ["target", "wanted", "reached", "verdict"]

Recorded = dict[str, Any]  # a series, as Series.record() has made it


@dataclass(frozen=True)
class RecordedTarget:
    """A target, as Target.record() has made it."""

    what: str
    wanted: float
    at_least: bool
    value: float | None
    verdict: str

    def by_wanted(self) -> float | None:
        """The value as a share of the target, or the reciprocal where less is better: the target is met from 1 on."""
        if not self.value or self.value < 0:
            return None
        return self.value / self.wanted if self.at_least else self.wanted / self.value

    def reached(self) -> str:
        """The value as text, with the digits that are significant."""
        return number(self.value, 0 if self.value is not None and abs(self.value) >= 100 else 2)

    def bound(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.wanted:,g}"


class Results:
    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record
        self.peers: dict[str, Any] = record["peers"]
        self.tables: dict[str, Any] = record["tables"]

    @classmethod
    def read(cls, file: Path) -> Results:
        """Raises OSError, and ValueError where the file is not what `--json` writes."""
        record = json.loads(file.read_text())
        if not isinstance(record, dict) or not {"machine", "peers", "plan", "tables"} <= record.keys():
            raise ValueError(f"{file} was not written by python -m benchmarks --json")
        return cls(record)

    def targets(self) -> Iterator[tuple[str, RecordedTarget]]:
        """Every target with the name of its table."""
        for name, table in self.tables.items():
            for target in table.get("targets", []):
                yield name, RecordedTarget(**target)

    def failed(self) -> list[str]:
        """The names of the tables that failed."""
        return [name for name, table in self.tables.items() if "failed" in table]

    def summary(self) -> list[list[str]]:
        """A row for every target, with the columns of SUMMARY."""
        rows = [[target.what, target.bound(), target.reached(), target.verdict] for _, target in self.targets()]
        return rows + [[f"{name}: the table failed", "-", "-", NOT_MEASURED] for name in self.failed()]

    def series(self, table: str, **shape: object) -> list[Recorded]:
        """The series of a table that have samples, of one shape: series("idle", connections=10)."""
        every = self.tables.get(table, {}).get("series", [])
        return [one for one in every if one["samples"] and all(one.get(key) == shape[key] for key in shape)]

    def find(self, table: str, peer: str, **shape: object) -> Recorded | None:
        return next((one for one in self.series(table, **shape) if one["peer"] == peer), None)

    def versions(self, table: str | None = None) -> list[str]:
        """The versions of the peers that took part in this table, or in any; each once."""
        tables = self.peers.values() if table is None else [self.peers[table]]
        every = [(name, version) for one in tables for name, version in one["versions"].items()]
        return list(dict.fromkeys(version for name, version in every if name != RAW))

    def describe(self) -> str:
        """How it was measured."""
        plan = self.record["plan"]
        quick = "a QUICK run, no evidence; " if plan["quick"] else ""
        return (
            f"{self.record['machine']}; {self.record['placement']}; {quick}"
            f"medians of {plan['rounds']} round{'s' if plan['rounds'] > 1 else ''} of {plan['seconds']:g} s"
        )


def ratio(series: Recorded, other: Recorded | None, figure: str) -> float | None:
    """The median of the ratios of one to the other, each taken within a round that both have."""
    return figures.ratio(series["samples"], other["samples"] if other else None, figure)
