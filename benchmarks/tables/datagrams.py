"""The datagrams table: a server that sends each datagram back, to few senders of many and to many senders of few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.run import columns
from benchmarks.run.columns import Column, render_series
from benchmarks.run.load import Sample, Shape
from benchmarks.run.peers import DATAGRAMS, OURS, RAW, TOGETHER, UVLOOP, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure_loads
from benchmarks.run.series import Series, quiet, rate, rate_ratio
from benchmarks.run.table import Table
from benchmarks.run.target import Reached, Target, conclude

SIZE = 64  # bytes
# Sockets of the load, datagrams on their way on each, and whether those that leave together leave as one.
SHAPES = {"4 x 32": (4, 32, 0), "4 x 32 joined": (4, 32, 1), "50 x 1": (50, 1, 0)}
BY_UVLOOP, BY_RAW = 2.0, 0.8
Found = dict[tuple[str, Shape], Series]  # by the peer and the shape


@dataclass(frozen=True)
class Datagrams(Shape):
    """Every socket is active, with `flight` datagrams on their way."""

    PROGRAM: ClassVar[str] = "load_datagrams"

    flight: int = 1
    joined: int = 0

    def label(self) -> str:
        return f"{self.connections} x {self.flight}" + (" joined" if self.joined else "")

    def record(self) -> dict[str, object]:
        return {**super().record(), "flight": self.flight, "joined": self.joined}


IN_FLIGHT = Column("in flight", lambda series: series.shape.label())


def datagram_columns(found: Found) -> list[Column]:
    def peer(name: str) -> Callable[[Series], Series | None]:
        return lambda series: found.get((name, series.shape))

    return [
        columns.figure("datagrams/s", rate),
        columns.SPREAD,
        columns.ratio("by raw C", peer(RAW)),
        columns.ratio("by uvloop", peer(UVLOOP)),
        columns.USER,
        columns.SYSTEM,
        columns.ratio("CPU by raw C", peer(RAW), Sample.cpu_us),
        columns.ratio("CPU by uvloop", peer(UVLOOP), Sample.cpu_us),
        columns.P50,
        columns.P99,
        columns.BUSY,
        columns.LOAD_BUSY,
        columns.figure("batch", Sample.batch, 1),
        columns.TAKEN,
    ]


def datagrams(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    shapes = {
        name: Datagrams(sockets, sockets, SIZE, plan.seconds, plan.warmup, flight=flight, joined=joined)
        for name, (sockets, flight, joined) in SHAPES.items()
    }
    every = measure_loads(peers, list(shapes.values()), plan)
    found = {(series.peer.name, series.shape): series for series in every}
    reached: list[Reached] = []
    for name, shape in shapes.items():
        raw, uvloop = found.get((RAW, shape)), found.get((UVLOOP, shape))
        for peer, shown in ((OURS, "Datagram"), (TOGETHER, "Datagram in batches")):
            ours = found.get((peer, shape))
            for other, words, wanted in ((uvloop, "uvloop", BY_UVLOOP), (raw, "raw C", BY_RAW)):
                target = Target(f"datagrams, {name}, {shown} by {words}", wanted)
                reached.append((target, rate_ratio(ours, other), quiet(ours, other)))
    title = f"Datagrams of {SIZE} bytes, medians, {plan.rounds} x {plan.seconds:g} s"
    order = sorted(every, key=lambda series: list(shapes.values()).index(series.shape))
    text = render_series(title, [columns.NAME, IN_FLIGHT], datagram_columns(found), order)
    return conclude(text, reached, series=[series.record() for series in every])


TABLE = Table(
    "datagrams", peers=DATAGRAMS, run=datagrams, programs=("load_datagrams", "datagrams_epoll"), shapes=len(SHAPES)
)
