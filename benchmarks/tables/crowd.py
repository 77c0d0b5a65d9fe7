"""The crowd table: the echo beside thousands of silent connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchmarks.run import columns
from benchmarks.run.columns import Column, render_series
from benchmarks.run.load import Shape
from benchmarks.run.peers import ECHO, OLD, OURS, PYFTPDLIB, RAW, UVLOOP, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure_loads
from benchmarks.run.series import Series, quiet, rate, rate_ratio
from benchmarks.run.table import Table
from benchmarks.run.target import Reached, Target, conclude
from benchmarks.tables.idle import PATIENCE, QUICK_PATIENCE, Found

IDLE = 10_000
ASKED = "cyncore overriding"  # the class of every idle connection overrides readable() and writable()
SILENT = Column("idle", lambda series: f"{series.shape.connections - series.shape.active:,}")


def crowd_columns(found: Found) -> list[Column]:
    def beside(name: str) -> Callable[[Series], Series | None]:
        return lambda series: found.get((name, series.shape.connections))

    def alone(series: Series) -> Series | None:
        name = OURS if series.peer.name == ASKED else series.peer.name
        return found.get((name, series.shape.active))

    return [
        columns.figure("messages/s", rate),
        columns.SPREAD,
        columns.ratio("by raw C", beside(RAW)),
        columns.ratio("by uvloop", beside(UVLOOP)),
        columns.ratio("by own alone", alone),
        columns.USER,
        columns.SYSTEM,
        columns.P50,
        columns.P99,
        columns.BUSY,
        columns.BATCH,
        columns.ROUNDS,
        columns.TAKEN,
    ]


def reach(found: Found, few: int, many: int) -> list[Reached]:
    alone, crowd, asked = found.get((OURS, few)), found.get((OURS, many)), found.get((ASKED, many))
    idle = f"{many - few:,}"
    plain = Target(f"echo beside {idle} idle connections, cyncore by its own rate without", 0.98)
    over = Target(f"echo beside {idle} that override both predicates, cyncore by its own rate without", 0.90)
    late = Target(f"echo beside {idle} that override both predicates, cyncore, p99 us", 10_000, at_least=False)
    p99 = asked.median(lambda sample: sample.p99_us) if asked else None
    return [
        (plain, rate_ratio(crowd, alone) if many > few else None, quiet(crowd, alone)),
        (over, rate_ratio(asked, alone) if many > few else None, quiet(asked, alone)),
        (late, p99, quiet(asked)),
    ]


def prepare(peer: Peer, every: int) -> Peer:
    """One of `every` connections is of the plain class: these are the active ones, which are spread evenly."""
    return replace(peer, arguments=(*peer.arguments, "--plain-every", str(every))) if peer.name == ASKED else peer


def crowd(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    active = plan.most(plan.connections)
    share = plan.most(active + IDLE) // active  # connections for each active one
    patience = QUICK_PATIENCE if plan.quick else PATIENCE
    shapes = [
        Shape(count, active, plan.size, plan.seconds, plan.warmup, patience) for count in (active, active * share)
    ]
    every = measure_loads([prepare(peer, share) for peer in peers], shapes, plan)
    found = {(series.peer.name, series.shape.connections): series for series in every}
    title = (
        f"Echo of {plan.size} bytes over {active} connections beside silent ones, medians, "
        f"{plan.rounds} x {plan.seconds:g} s"
    )
    text = render_series(title, [columns.NAME, SILENT], crowd_columns(found), every)
    return conclude(text, reach(found, active, active * share), series=[series.record() for series in every])


PEERS = [
    *(peer for peer in ECHO if peer.name in (RAW, OURS, UVLOOP, PYFTPDLIB, OLD, "asyncio")),
    Peer(ASKED, "cyncore.asyncore", "cyncore", "cyncore_echo"),
]
TABLE = Table("crowd", peers=PEERS, run=crowd, programs=("load", "echo_epoll"), shapes=2)
