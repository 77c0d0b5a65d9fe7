"""The echo table: every connection active, one message in flight on each."""

from __future__ import annotations

from benchmarks.run.load import Sample, Shape
from benchmarks.run.peers import ECHO, OURS, RAW, UVLOOP, Peer
from benchmarks.run.rounds import Plan, Series, interleave
from benchmarks.run.table import Table, number, render
from benchmarks.run.target import Target
from benchmarks.run.verdicts import conclude

HEAD = ["server", "messages/s", "spread", "by raw C", "user us", "system us", "CPU by raw C", "p50 us", "p99 us"]
HEAD += ["busy", "load busy", "batch", "taken"]
BY_RAW = Target("echo, cyncore by raw C", 0.95)
BY_UVLOOP = Target("echo, cyncore by uvloop", 1.15)
USER = Target("echo, cyncore, user CPU a message, us", 0.30, at_least=False)


def rate(sample: Sample) -> float:
    return sample.rate


def row(series: Series, raw: Series | None) -> list[str]:
    if not series.samples:
        return [series.peer.name, "; ".join(series.failures) or "not run"]
    return [
        series.peer.name,
        number(series.rate()),
        f"{100 * series.spread():.0f} %",
        number(series.against(raw, rate), 2),
        number(series.median(Sample.user_us), 2),
        number(series.median(Sample.system_us), 2),
        number(series.against(raw, Sample.cpu_us), 2),
        number(series.median(lambda sample: sample.p50_us)),
        number(series.median(lambda sample: sample.p99_us)),
        f"{100 * series.median(Sample.server_busy):.0f} %",
        f"{100 * series.median(Sample.load_busy):.0f} %",
        number(series.median(Sample.batch)),
        f"{100 * series.median(Sample.disturbed):.0f} %",
    ]


def quiet(*series: Series | None) -> bool:
    """Whether the machine was ours while these were measured."""
    return all(one.quiet() for one in series if one is not None)


def echo(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """The table as text, and what it was made of."""
    connections = plan.most(plan.connections)
    shape = Shape(connections, connections, plan.size, plan.seconds, plan.warmup)
    every = interleave(peers, [shape], plan)
    found = {series.peer.name: series for series in every}
    ours, raw, uvloop = (found.get(name) for name in (OURS, RAW, UVLOOP))
    title = f"Echo of {plan.size} bytes over {connections} connections, medians, {plan.rounds} x {plan.seconds:g} s"
    text = render(title, HEAD, [row(series, raw) for series in every])
    reached = [
        (BY_RAW, ours.against(raw, rate) if ours else None, quiet(ours, raw)),
        (BY_UVLOOP, ours.against(uvloop, rate) if ours else None, quiet(ours, uvloop)),
        (USER, ours.median(Sample.user_us) if ours and ours.samples else None, quiet(ours)),
    ]
    return conclude(text, reached, series=[series.record() for series in every])


TABLE = Table("echo", peers=ECHO, run=echo, programs=("load", "echo_epoll"))
