"""The echo table: every connection active, one message in flight on each."""

from __future__ import annotations

from benchmarks.run import columns
from benchmarks.run.columns import Column, render_series
from benchmarks.run.load import Sample, Shape
from benchmarks.run.peers import ECHO, NATIVE, OURS, RAW, STREAM, UVLOOP, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure_loads
from benchmarks.run.series import Series, quiet, rate, rate_ratio
from benchmarks.run.table import Table
from benchmarks.run.target import Reached, Target, conclude

BY_RAW = Target("echo, cyncore by raw C", 0.95)
BY_UVLOOP = Target("echo, cyncore by uvloop", 1.15)
USER = Target("echo, cyncore, user CPU a message, us", 0.30, at_least=False)
STREAM_BY_RAW = Target("echo, stream by raw C", 0.95)
STREAM_BY_UVLOOP = Target("echo, stream by uvloop", 1.15)
STREAM_USER = Target("echo, stream by uvloop, user CPU a message", 0.7, at_least=False)
NATIVE_BY_RAW = Target("echo, handler in Cython by raw C", 0.98)
NATIVE_USER = Target("echo, handler in Cython by raw C, user CPU a message", 2.0, at_least=False)


def user_ratio(series: Series | None, other: Series | None) -> float | None:
    """User CPU a message by the other's, over all rounds: one round of raw C has few clock ticks of it, or none."""
    mine, theirs = (sum(map(Sample.user_us, one.samples.values())) if one else 0.0 for one in (series, other))
    return mine / theirs if mine and theirs else None


def echo_columns(unit: str, raw: Series | None) -> list[Column]:
    return [
        columns.figure(unit, rate),
        columns.SPREAD,
        columns.ratio("by raw C", lambda series: raw),
        columns.USER,
        columns.SYSTEM,
        columns.ratio("CPU by raw C", lambda series: raw, Sample.cpu_us),
        columns.P50,
        columns.P99,
        columns.BUSY,
        columns.LOAD_BUSY,
        columns.BATCH,
        columns.TAKEN,
    ]


def echo(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    connections = plan.most(plan.connections)
    shape = Shape(connections, connections, plan.size, plan.seconds, plan.warmup)
    every = measure_loads(peers, [shape], plan)
    found = {series.peer.name: series for series in every}
    ours, raw, uvloop, stream, native = (found.get(name) for name in (OURS, RAW, UVLOOP, STREAM, NATIVE))
    title = f"Echo of {plan.size} bytes over {connections} connections, medians, {plan.rounds} x {plan.seconds:g} s"
    text = render_series(title, [columns.NAME], echo_columns("messages/s", raw), every)
    reached: list[Reached] = [
        (BY_RAW, rate_ratio(ours, raw), quiet(ours, raw)),
        (BY_UVLOOP, rate_ratio(ours, uvloop), quiet(ours, uvloop)),
        (USER, ours.median(Sample.user_us) if ours else None, quiet(ours)),
        (STREAM_BY_RAW, rate_ratio(stream, raw), quiet(stream, raw)),
        (STREAM_BY_UVLOOP, rate_ratio(stream, uvloop), quiet(stream, uvloop)),
        (STREAM_USER, stream.ratio(uvloop, Sample.user_us) if stream else None, quiet(stream, uvloop)),
        (NATIVE_BY_RAW, rate_ratio(native, raw), quiet(native, raw)),
        (NATIVE_USER, user_ratio(native, raw), quiet(native, raw)),
    ]
    return conclude(text, reached, series=[series.record() for series in every])


TABLE = Table("echo", peers=ECHO, run=echo, programs=("load", "echo_epoll"))
