"""A measurement of all rows, two at a time, and the environment that it was made in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gate.baseline import Figures
from benchmarks.gate.comparison import show
from benchmarks.gate.counters import CountError, Engine, count
from benchmarks.gate.environment import Environment
from benchmarks.gate.exit_codes import Unable
from benchmarks.gate.rows import Row
from benchmarks.run.progress import progress

ENOUGH = 20_200  # descriptors: what the largest row needs
WORKERS = 2  # rows at a time; callgrind runs one thread of a process at a time


@dataclass
class Measured:
    environment: Environment
    figures: Figures = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)  # the reason why a row was not counted, by its title


def take(engine: Engine, rows: Sequence[Row], what: str, keep: Path | None = None) -> Measured:
    """Measures the rows. `what` names the engine in messages; `keep` is a folder that gets what callgrind wrote.

    Raises Unable where the engine is not compiled.
    """
    try:
        measured = Measured(Environment(**json.loads(engine.run(["benchmarks.gate.environment"]))))
    except CountError as error:
        raise Unable(f"{what} is no compiled cyncore: {error}") from error
    progress(f"{what}: {len(rows)} rows, in {measured.environment.name()}")

    def one(row: Row) -> None:
        try:
            figure = count(row, engine, keep)
            measured.figures.setdefault(row.kind, {})[row.name] = figure
            told = show(figure)
        except CountError as error:
            measured.failures[row.title()] = told = str(error)
        done = len(measured.failures) + sum(len(rows) for rows in measured.figures.values())
        progress(f"{what}, {done}/{len(rows)}, {row.title()}: {told}")

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, rows))
    return measured
