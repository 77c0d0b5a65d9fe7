"""The results of a session: what `--json` writes, and what charts and reports are made of."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.run.peers import RAW
from benchmarks.run.table import number

Series = dict[str, Any]  # of one peer in one shape, as Series.record() has it


@dataclass(frozen=True)
class Reached:
    """A target as it was recorded."""

    what: str
    wanted: float
    at_least: bool
    value: float | None
    verdict: str

    def by_wanted(self) -> float | None:
        """What was reached by what was wanted, upside down where less is better: from 1 on it is met."""
        if not self.value or self.value < 0:
            return None
        return self.value / self.wanted if self.at_least else self.wanted / self.value

    def reached(self) -> str:
        """As text, with as many digits as it is worth."""
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

    def targets(self) -> Iterator[tuple[str, Reached]]:
        """With the name of the table that each is from."""
        for name, table in self.tables.items():
            for target in table.get("targets", []):
                yield name, Reached(**target)

    def failed(self) -> list[str]:
        return [name for name, table in self.tables.items() if "failed" in table]

    def series(self, table: str, **shape: object) -> list[Series]:
        """What has samples, of one shape: series("idle", connections=10)."""
        every = self.tables.get(table, {}).get("series", [])
        return [one for one in every if one["samples"] and all(one.get(key) == shape[key] for key in shape)]

    def find(self, table: str, peer: str, **shape: object) -> Series | None:
        return next((one for one in self.series(table, **shape) if one["peer"] == peer), None)

    def versions(self, table: str | None = None) -> list[str]:
        """Of the peers that took part, in this table or in any, each once."""
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


def median(series: Series, figure: str) -> float:
    return float(statistics.median(sample[figure] for sample in series["samples"].values()))


def against(series: Series, other: Series | None, figure: str) -> float | None:
    """The median over the rounds that both have of the one's figure by the other's."""
    if other is None:
        return None
    mine, theirs = series["samples"], other["samples"]
    both = mine.keys() & theirs.keys()
    return statistics.median(mine[i][figure] / theirs[i][figure] for i in both) if both else None
