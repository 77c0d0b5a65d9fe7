"""The lines table: a server that answers each line with the same line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.run.load import Sample, Shape
from benchmarks.run.peers import LINES, OURS, RAW, UVLOOP, Peer
from benchmarks.run.rounds import Plan, Series, interleave
from benchmarks.run.table import Table, number, render
from benchmarks.run.target import Target
from benchmarks.run.verdicts import conclude
from benchmarks.tables.echo import quiet, rate

HEAD = ["server", "in flight", "lines/s", "spread", "by raw C", "by uvloop", "user us", "system us", "CPU by uvloop"]
HEAD += ["p50 us", "p99 us", "busy", "load busy", "batch", "taken"]
CONNECTIONS = 50
SIZE = 64  # bytes, CRLF and all
WANTED = {1: 1.3, 16: 5.0}  # cyncore's rate by that of a protocol on uvloop, for so many lines in flight


@dataclass(frozen=True)
class Lines(Shape):
    """Every connection active, with so many lines under way."""

    LOAD: ClassVar[str] = "load_lines"

    flight: int = 1

    def label(self) -> str:
        return f"{self.flight} in flight"

    def record(self) -> dict[str, object]:
        return {**super().record(), "flight": self.flight}


def row(series: Series, flight: int, raw: Series | None, uvloop: Series | None) -> list[str]:
    if not series.samples:
        return [f"{series.peer.name}, {flight}", "; ".join(series.failures) or "not run"]
    return [
        series.peer.name,
        str(flight),
        number(series.rate()),
        f"{100 * series.spread():.0f} %",
        number(series.against(raw, rate), 2),
        number(series.against(uvloop, rate), 2),
        number(series.median(Sample.user_us), 2),
        number(series.median(Sample.system_us), 2),
        number(series.against(uvloop, Sample.cpu_us), 2),
        number(series.median(lambda sample: sample.p50_us)),
        number(series.median(lambda sample: sample.p99_us)),
        f"{100 * series.median(Sample.server_busy):.0f} %",
        f"{100 * series.median(Sample.load_busy):.0f} %",
        number(series.median(Sample.batch), 1),
        f"{100 * series.median(Sample.disturbed):.0f} %",
    ]


def lines(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """The table as text, and what it was made of."""
    shapes = {
        flight: Lines(CONNECTIONS, CONNECTIONS, SIZE, plan.seconds, plan.warmup, flight=flight) for flight in WANTED
    }
    every = interleave(peers, list(shapes.values()), plan)
    found = {(series.peer.name, series.shape): series for series in every}
    rows, reached = [], []
    for flight, shape in shapes.items():
        raw, uvloop, ours = (found.get((name, shape)) for name in (RAW, UVLOOP, OURS))
        rows += [row(series, flight, raw, uvloop) for series in every if series.shape == shape]
        target = Target(f"lines, {flight} in flight, cyncore by uvloop", WANTED[flight])
        value, calm = ours.against(uvloop, rate) if ours else None, quiet(ours, uvloop)
        reached.append((target, value, calm))
    title = f"Lines of {SIZE} bytes over {CONNECTIONS} connections, medians, {plan.rounds} x {plan.seconds:g} s"
    return conclude(render(title, HEAD, rows), reached, series=[series.record() for series in every])


TABLE = Table("lines", peers=LINES, run=lines, programs=("load_lines", "lines_epoll"), shapes=2)
