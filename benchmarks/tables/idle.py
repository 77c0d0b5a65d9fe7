"""The idle table: one connection is active, the others are silent."""

from __future__ import annotations

from benchmarks.run import columns
from benchmarks.run.columns import Column, render_series
from benchmarks.run.load import Shape
from benchmarks.run.peers import ECHO, OURS, PYFTPDLIB, RAW, STREAM, UVLOOP, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure_loads
from benchmarks.run.series import Series, quiet, rate, rate_ratio
from benchmarks.run.table import Table
from benchmarks.run.target import Reached, Target, conclude
from benchmarks.run.text import number

FEW = 10
COUNTS = (FEW, 1000, 9000)
PATIENCE = 60.0  # seconds within which every connection must have been served once
QUICK_PATIENCE = 15.0
MEMORY_FROM = 1000  # connections; with fewer, a page more or less decides
COUNT = Column("of N", lambda series: f"{series.shape.connections:,}")
Found = dict[tuple[str, int], Series]  # by the peer and the number of connections


def grown(series: Series | None) -> float | None:
    """Bytes by which the resident memory of the server grew for each connection."""
    if series is None or not series.samples or series.shape.connections < MEMORY_FROM:
        return None
    return series.median(lambda sample: sample.server_grown_bytes / series.shape.connections)


def idle_columns(found: Found) -> list[Column]:
    def raw(series: Series) -> Series | None:
        return found.get((RAW, series.shape.connections))

    return [
        columns.figure("messages/s", rate),
        columns.SPREAD,
        columns.ratio("by raw C", raw),
        columns.ratio("by own 10", lambda series: found.get((series.peer.name, FEW))),
        columns.USER,
        columns.SYSTEM,
        columns.P50,
        columns.P99,
        Column("bytes/conn.", lambda series: number(grown(series))),
        columns.ROUNDS,
        columns.TAKEN,
    ]


def reach(found: Found, most: int) -> list[Reached]:
    ours, few, uvloop = found.get((OURS, most)), found.get((OURS, FEW)), found.get((UVLOOP, most))
    by_own = Target(f"one active of {most:,}, cyncore by its own rate at {FEW}", 0.97)
    by_uvloop = Target(f"one active of {most:,}, cyncore by uvloop", 1.3)
    memory = Target("an idle dispatcher made by accept, bytes", 500, at_least=False)
    stream_memory = Target("an idle stream made by accept, bytes", 450, at_least=False)
    return [
        (by_own, rate_ratio(ours, few) if most > FEW else None, quiet(ours, few)),
        (by_uvloop, rate_ratio(ours, uvloop), quiet(ours, uvloop)),
        (memory, grown(ours), True),  # other processes do not change how much memory it takes
        (stream_memory, grown(found.get((STREAM, most))), True),
    ]


def idle(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    counts = sorted({plan.most(count) for count in COUNTS})
    patience = QUICK_PATIENCE if plan.quick else PATIENCE
    shapes = [Shape(count, 1, plan.size, plan.seconds, plan.warmup, patience) for count in counts]
    every = measure_loads(peers, shapes, plan)
    found = {(series.peer.name, series.shape.connections): series for series in every}
    title = f"One active of N, {plan.size} bytes, medians, {plan.rounds} x {plan.seconds:g} s"
    text = render_series(title, [columns.NAME, COUNT], idle_columns(found), every)
    return conclude(text, reach(found, counts[-1]), series=[series.record() for series in every])


PEERS = [peer for peer in ECHO if peer.name not in ("cyncore with_send", PYFTPDLIB)]
TABLE = Table("idle", peers=PEERS, run=idle, programs=("load", "echo_epoll"), shapes=len(COUNTS))
