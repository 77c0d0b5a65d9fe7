"""The baseline: the figures that later ones are compared with, by environment, and the file that holds them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gate.environment import Environment
from benchmarks.gate.rows import BYTES, INSTRUCTIONS, KINDS
from benchmarks.run.folders import BENCHMARKS

BASELINE = BENCHMARKS / "baseline.json"
RESOLUTION = {INSTRUCTIONS: 0.005, BYTES: 0.01}  # an update keeps a figure that differs by a smaller share

Figure = float | dict[str, float]  # system calls are counted by name
Figures = dict[str, dict[str, Figure]]  # by kind and by the name of the row


@dataclass
class Known:
    """What the baseline holds of one environment."""

    python: str
    machine: str
    figures: Figures

    def likeness(self, other: Environment) -> int:
        """From 0, for nothing in common, to 3, for the same machine and Python."""
        return 2 * (self.machine == other.machine) + (self.python == other.python)


@dataclass
class Baseline:
    environments: dict[str, Known] = field(default_factory=dict)  # by Environment.name()

    @classmethod
    def parse(cls, text: str) -> Baseline:
        """Raises ValueError where the text is no baseline."""
        try:
            record = json.loads(text)["environments"]
            return cls(
                {
                    name: Known(one["python"], one["machine"], {kind: one[kind] for kind in KINDS if kind in one})
                    for name, one in record.items()
                }
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a baseline: {error!r}") from error

    @classmethod
    def read(cls, file: Path = BASELINE) -> Baseline:
        """The baseline in the file; an empty one where there is none. Raises ValueError and OSError."""
        return cls.parse(file.read_text()) if file.exists() else cls()

    def nearest(self, environment: Environment) -> tuple[str, Known] | None:
        """The most similar environment and its figures; the same machine counts for more than the same Python."""
        names = sorted(self.environments, key=lambda name: (-self.environments[name].likeness(environment), name))
        return (names[0], self.environments[names[0]]) if names else None

    def renew(self, environment: Environment, figures: Figures) -> None:
        """Replaces the figures of that environment. Rows that were not measured stay, and so do small differences."""
        known = self.environments.setdefault(environment.name(), Known(environment.python, environment.machine, {}))
        for kind, rows in figures.items():
            kept = known.figures.setdefault(kind, {})
            for name, figure in rows.items():
                kept[name] = settle(kept.get(name), figure, RESOLUTION.get(kind, 0.0))

    def render(self) -> str:
        """The text of the file: sorted, with a row in each line, so that a diff shows what has changed."""
        blocks = [render_known(name, self.environments[name]) for name in sorted(self.environments)]
        return '{\n "environments": {\n' + ",\n".join(blocks) + "\n }\n}\n"


def settle(old: Figure | None, new: Figure, resolution: float) -> Figure:
    """The figure for the file: the old one where the difference is smaller than the resolution."""
    if isinstance(new, dict):
        return {name: whole(calls) for name, calls in sorted(new.items())}
    if isinstance(old, (int, float)) and abs(new - old) <= resolution * old:
        return old
    return round(new)


def whole(number: float) -> float:
    return int(number) if number == int(number) else number


def render_known(name: str, known: Known) -> str:
    parts = [f'   "machine": {json.dumps(known.machine)}', f'   "python": {json.dumps(known.python)}']
    for kind, rows in known.figures.items():
        lines = [f"    {json.dumps(row)}: {json.dumps(rows[row], sort_keys=True)}" for row in sorted(rows)]
        parts.append(f"   {json.dumps(kind)}: {{\n" + ",\n".join(lines) + "\n   }")
    return f"  {json.dumps(name)}: {{\n" + ",\n".join(sorted(parts)) + "\n  }"
