"""The connect table: connect, one echo, close, again and again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from benchmarks.run import columns
from benchmarks.run.columns import render_series
from benchmarks.run.load import Shape
from benchmarks.run.peers import ECHO, OURS, RAW, STREAM, UVLOOP, WATCHED, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure_loads
from benchmarks.run.series import quiet, rate_ratio
from benchmarks.run.table import Table
from benchmarks.run.target import Reached, Target, conclude
from benchmarks.tables.echo import echo_columns

CLIENTS = 50
SIZE = 64
BY_RAW = Target("connect, one echo, close, cyncore by raw C", 0.80)
BY_UVLOOP = Target("connect, one echo, close, cyncore by uvloop", 1.15)
BY_PLAIN = Target("connect, one echo, close, stream with deadlines by one without", 0.97)
# They accept connections as the peers without the suffix do.
LEFT_OUT = ("cyncore with_send", "asyncore with_send", "pyftpdlib push")


@dataclass(frozen=True)
class Calls(Shape):
    """A connection for every message."""

    PROGRAM: ClassVar[str] = "load_connect"

    def label(self) -> str:
        return f"{self.connections} clients"


def connect(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    # SCHED_FIFO starves the threads of the kernel, which have a part in every connect
    plan = replace(plan, placement=plan.placement.ordinary())
    clients = plan.most(CLIENTS)
    every = measure_loads(peers, [Calls(clients, clients, SIZE, plan.seconds, plan.warmup)], plan)
    found = {series.peer.name: series for series in every}
    ours, raw, uvloop, stream, watched = (found.get(name) for name in (OURS, RAW, UVLOOP, STREAM, WATCHED))
    title = f"Connect, echo {SIZE} bytes, close: {clients} clients, medians, {plan.rounds} x {plan.seconds:g} s, "
    title += plan.placement.describe()
    text = render_series(title, [columns.NAME], echo_columns("connections/s", raw), every)
    reached: list[Reached] = [
        (BY_RAW, rate_ratio(ours, raw), quiet(ours, raw)),
        (BY_UVLOOP, rate_ratio(ours, uvloop), quiet(ours, uvloop)),
        (BY_PLAIN, rate_ratio(watched, stream), quiet(watched, stream)),
    ]
    return conclude(text, reached, series=[series.record() for series in every])


PEERS = [
    *(peer for peer in ECHO if peer.name not in LEFT_OUT),
    Peer(WATCHED, "cyncore._stream.stream", "cyncore", "cyncore_stream", ("--deadlines",)),
]
TABLE = Table("connect", peers=PEERS, run=connect, programs=("load_connect", "echo_epoll"))
