"""The columns of a table of series: what stands above each, and how its cell is made of a series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.run.figures import Figure
from benchmarks.run.load import Sample
from benchmarks.run.series import Series, rate
from benchmarks.run.text import number, percent, render


@dataclass(frozen=True)
class Column:
    head: str
    cell: Callable[[Series], str]


def figure(head: str, what: Figure, digits: int = 0) -> Column:
    """The median of a figure."""
    return Column(head, lambda series: number(series.median(what), digits))


def share(head: str, what: Figure) -> Column:
    """The median of a share, in per cent."""
    return Column(head, lambda series: percent(series.median(what)))


def ratio(head: str, other: Callable[[Series], Series | None], what: Figure = rate, digits: int = 2) -> Column:
    """The ratio to another series, which `other` finds."""
    return Column(head, lambda series: number(series.ratio(other(series), what), digits))


NAME = Column("server", lambda series: series.peer.name)
SPREAD = Column("spread", lambda series: percent(series.spread()))
USER = figure("user us", Sample.user_us, 2)
SYSTEM = figure("system us", Sample.system_us, 2)
P50 = figure("p50 us", lambda sample: sample.p50_us)
P99 = figure("p99 us", lambda sample: sample.p99_us)
BUSY = share("busy", Sample.server_busy)
LOAD_BUSY = share("load busy", Sample.load_busy)
BATCH = figure("batch", Sample.batch)
ROUNDS = Column("rounds", lambda series: str(len(series.samples)))
TAKEN = share("taken", Sample.disturbed)


def render_series(title: str, keys: Sequence[Column], columns: Sequence[Column], every: Sequence[Series]) -> str:
    """The table as text. `keys` are the columns that tell the series apart: a series that failed has them, too."""
    rows = []
    for series in every:
        name = [column.cell(series) for column in keys]
        if series.samples:
            rows.append([*name, *(column.cell(series) for column in columns)])
        else:
            rows.append([", ".join(name), "; ".join(series.failures) or "not run"])
    return render(title, [column.head for column in (*keys, *columns)], rows)
