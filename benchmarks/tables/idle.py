"""The idle table: one connection active, the others connected and silent."""

from __future__ import annotations

from benchmarks.run.load import Sample, Shape
from benchmarks.run.peers import ECHO, OURS, PYFTPDLIB, RAW, UVLOOP, Peer
from benchmarks.run.rounds import Plan, Series, interleave
from benchmarks.run.table import Table, number, render
from benchmarks.run.target import Target
from benchmarks.run.verdicts import Reached, conclude
from benchmarks.tables.echo import quiet, rate

HEAD = ["server", "of N", "messages/s", "spread", "by raw C", "by own 10", "user us", "system us", "p50 us", "p99 us"]
HEAD += ["bytes/conn.", "rounds", "taken"]
FEW = 10
COUNTS = (FEW, 1000, 9000)
PATIENCE = 60.0  # seconds in which all must have been served once
QUICK_PATIENCE = 15.0
MEMORY_FROM = 1000  # connections; with fewer, a page more or less is all one sees


def grown(series: Series | None) -> float | None:
    """Bytes that the server's resident memory grew by for each connection."""
    if series is None or not series.samples or series.shape.connections < MEMORY_FROM:
        return None
    return series.median(lambda sample: sample.server_grown_bytes) / series.shape.connections


def row(series: Series, raw: Series | None, few: Series | None) -> list[str]:
    count = series.shape.connections
    if not series.samples:
        return [f"{series.peer.name}, {count:,}", "; ".join(series.failures) or "not run"]
    return [
        series.peer.name,
        f"{count:,}",
        number(series.rate()),
        f"{100 * series.spread():.0f} %",
        number(series.against(raw, rate), 2),
        number(series.against(few, rate), 2),
        number(series.median(Sample.user_us), 2),
        number(series.median(Sample.system_us), 2),
        number(series.median(lambda sample: sample.p50_us)),
        number(series.median(lambda sample: sample.p99_us)),
        number(grown(series)),
        str(len(series.samples)),
        f"{100 * series.median(Sample.disturbed):.0f} %",
    ]


def reach(found: dict[tuple[str, int], Series], most: int) -> list[Reached]:
    ours, few, uvloop = found.get((OURS, most)), found.get((OURS, FEW)), found.get((UVLOOP, most))
    by_own = Target(f"one active of {most:,}, cyncore by its own rate at {FEW}", 0.97)
    by_uvloop = Target(f"one active of {most:,}, cyncore by uvloop", 1.3)
    memory = Target("an idle dispatcher made by accept, bytes", 500, at_least=False)
    return [
        (by_own, ours.against(few, rate) if ours and most > FEW else None, quiet(ours, few)),
        (by_uvloop, ours.against(uvloop, rate) if ours else None, quiet(ours, uvloop)),
        (memory, grown(ours), True),  # whoever else runs: memory is not shared
    ]


def idle(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """The table as text, and what it was made of."""
    counts = sorted({plan.most(count) for count in COUNTS})
    patience = QUICK_PATIENCE if plan.quick else PATIENCE
    shapes = [Shape(count, 1, plan.size, plan.seconds, plan.warmup, patience) for count in counts]
    every = interleave(peers, shapes, plan)
    found = {(series.peer.name, series.shape.connections): series for series in every}
    rows = [
        row(series, found.get((RAW, series.shape.connections)), found.get((series.peer.name, FEW))) for series in every
    ]
    title = f"One active of N, {plan.size} bytes, medians, {plan.rounds} x {plan.seconds:g} s"
    return conclude(render(title, HEAD, rows), reach(found, counts[-1]), series=[series.record() for series in every])


PEERS = [peer for peer in ECHO if peer.name not in ("cyncore with_send", PYFTPDLIB)]
TABLE = Table("idle", peers=PEERS, run=idle, programs=("load", "echo_epoll"), shapes=len(COUNTS))
