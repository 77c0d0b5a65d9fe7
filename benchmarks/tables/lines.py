"""The lines table: a server that answers each line with the same line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.run import columns
from benchmarks.run.columns import Column, render_series
from benchmarks.run.load import Sample, Shape
from benchmarks.run.peers import BATCHES, JOINED, LINES, OURS, RAW, STREAM, UVLOOP, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure_loads
from benchmarks.run.series import Series, quiet, rate, rate_ratio
from benchmarks.run.table import Table
from benchmarks.run.target import Reached, Target, conclude

CONNECTIONS = 50
SIZE = 64  # bytes, with CRLF
WANTED = {1: 1.3, 16: 5.0}  # lines in flight, and the rate as a multiple of a protocol's on uvloop
BY_JOINED = {1: 1.2, 16: 1.3}  # the same of streams, and of the protocol that joins its answers
Found = dict[tuple[str, Shape], Series]  # by the peer and the shape


@dataclass(frozen=True)
class Lines(Shape):
    """Every connection is active, with `flight` lines on their way."""

    PROGRAM: ClassVar[str] = "load_lines"

    flight: int = 1

    def label(self) -> str:
        return f"{self.flight} in flight"

    def record(self) -> dict[str, object]:
        return {**super().record(), "flight": self.flight}


def flight_of(series: Series) -> int:
    assert isinstance(series.shape, Lines)
    return series.shape.flight


FLIGHT = Column("in flight", lambda series: str(flight_of(series)))


def lines_columns(found: Found) -> list[Column]:
    def peer(name: str) -> Callable[[Series], Series | None]:
        return lambda series: found.get((name, series.shape))

    return [
        columns.figure("lines/s", rate),
        columns.SPREAD,
        columns.ratio("by raw C", peer(RAW)),
        columns.ratio("by uvloop", peer(UVLOOP)),
        columns.ratio("by joined", peer(JOINED)),
        columns.USER,
        columns.SYSTEM,
        columns.ratio("CPU by uvloop", peer(UVLOOP), Sample.cpu_us),
        columns.P50,
        columns.P99,
        columns.BUSY,
        columns.LOAD_BUSY,
        columns.figure("batch", Sample.batch, 1),
        columns.TAKEN,
    ]


def lines(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    shapes = {
        flight: Lines(CONNECTIONS, CONNECTIONS, SIZE, plan.seconds, plan.warmup, flight=flight) for flight in WANTED
    }
    every = measure_loads(peers, list(shapes.values()), plan)
    found = {(series.peer.name, series.shape): series for series in every}
    reached: list[Reached] = []
    for flight, shape in shapes.items():
        ours, uvloop = found.get((OURS, shape)), found.get((UVLOOP, shape))
        target = Target(f"lines, {flight} in flight, cyncore by uvloop", WANTED[flight])
        reached.append((target, rate_ratio(ours, uvloop), quiet(ours, uvloop)))
    for flight, shape in shapes.items():
        joined = found.get((JOINED, shape))
        for name, shown in ((STREAM, "stream"), (BATCHES, "joined stream")):
            stream = found.get((name, shape))
            target = Target(f"lines, {flight} in flight, {shown} by uvloop joined", BY_JOINED[flight])
            reached.append((target, rate_ratio(stream, joined), quiet(stream, joined)))
    title = f"Lines of {SIZE} bytes over {CONNECTIONS} connections, medians, {plan.rounds} x {plan.seconds:g} s"
    text = render_series(title, [columns.NAME, FLIGHT], lines_columns(found), sorted(every, key=flight_of))
    return conclude(text, reached, series=[series.record() for series in every])


TABLE = Table("lines", peers=LINES, run=lines, programs=("load_lines", "lines_epoll"), shapes=2)
