"""The idle table: one connection active, the others connected and silent."""

from __future__ import annotations

from benchmarks.echo import quiet, rate
from benchmarks.peers import OURS, RAW, Peer
from benchmarks.rounds import Plan, Series, interleave
from benchmarks.sample import Sample, Shape
from benchmarks.table import number, render
from benchmarks.target import Target

HEAD = ["server", "of N", "messages/s", "spread", "by raw C", "by own 10", "user us", "system us", "p50 us", "p99 us"]
HEAD += ["bytes/conn.", "rounds", "taken"]
FEW = 10
PATIENCE = 60.0
MEMORY_FROM = 1000  # connections; with fewer, a page more or less is all one sees


def row(series: Series, raw: Series | None, few: Series | None) -> list[str]:
    count = series.shape.connections
    if not series.samples:
        return [f"{series.peer.name}, {count:,}", "; ".join(series.failures) or "not run"]
    grown = series.median(lambda sample: sample.server_grown_bytes / count)
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
        number(grown if count >= MEMORY_FROM else None),
        str(len(series.samples)),
        f"{100 * series.median(Sample.disturbed):.0f} %",
    ]


def idle(peers: list[Peer], plan: Plan, counts: list[int], size: int) -> tuple[str, dict[str, object]]:
    """The table as text, and what it was made of."""
    shapes = [Shape(count, 1, size, plan.seconds, plan.warmup, PATIENCE) for count in counts]
    every = interleave(peers, shapes, plan)
    found = {(series.peer.name, series.shape.connections): series for series in every}
    rows = [
        row(series, found.get((RAW, series.shape.connections)), found.get((series.peer.name, FEW))) for series in every
    ]
    title = f"One active of N, {size} bytes, medians, {plan.rounds} x {plan.seconds:g} s"
    text = render(title, HEAD, rows)
    most = counts[-1]
    ours, few = found.get((OURS, most)), found.get((OURS, FEW))
    target = Target(f"one active of {most:,}, cyncore by its own rate at {FEW}", 0.95)
    value = ours.against(few, rate) if ours and most > FEW else None
    return f"{text}\n{target.judge(value, quiet=quiet(ours, few))}\n", {"series": [series.record() for series in every]}
