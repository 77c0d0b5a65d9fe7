"""The connect table: connect, one echo, hang up, and again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from benchmarks.run.load import Placement, Shape
from benchmarks.run.peers import ECHO, OURS, RAW, UVLOOP, Peer
from benchmarks.run.rounds import Plan, interleave
from benchmarks.run.table import Table, render
from benchmarks.run.target import Target
from benchmarks.run.verdicts import Reached, conclude
from benchmarks.tables import echo
from benchmarks.tables.echo import quiet, rate, row

HEAD = ["server", "connections/s", *echo.HEAD[2:]]
CLIENTS = 50
SIZE = 64
BY_RAW = Target("connect, one echo, close, cyncore by raw C", 0.80)
BY_UVLOOP = Target("connect, one echo, close, cyncore by uvloop", 1.15)
LEFT_OUT = ("cyncore with_send", "asyncore with_send", "pyftpdlib push")  # the same accepting as without


@dataclass(frozen=True)
class Calls(Shape):
    """A connection for every message."""

    LOAD: ClassVar[str] = "load_connect"

    def label(self) -> str:
        return f"{self.connections} clients"


def ordinary(placement: Placement) -> Placement:
    """The same without SCHED_FIFO, which starves the kernel's own threads: they have a part in every connect."""
    plain = Placement(pin=False)
    plain.cores = placement.cores
    return plain


def connect(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """The table as text, and what it was made of."""
    plan = replace(plan, placement=ordinary(plan.placement))
    clients = plan.most(CLIENTS)
    every = interleave(peers, [Calls(clients, clients, SIZE, plan.seconds, plan.warmup)], plan)
    found = {series.peer.name: series for series in every}
    ours, raw, uvloop = (found.get(name) for name in (OURS, RAW, UVLOOP))
    title = f"Connect, echo {SIZE} bytes, close: {clients} clients, medians, {plan.rounds} x {plan.seconds:g} s, "
    text = render(title + plan.placement.describe(), HEAD, [row(series, raw) for series in every])
    reached: list[Reached] = [
        (BY_RAW, ours.against(raw, rate) if ours else None, quiet(ours, raw)),
        (BY_UVLOOP, ours.against(uvloop, rate) if ours else None, quiet(ours, uvloop)),
    ]
    return conclude(text, reached, series=[series.record() for series in every])


PEERS = [peer for peer in ECHO if peer.name not in LEFT_OUT]
TABLE = Table("connect", peers=PEERS, run=connect, programs=("load_connect", "echo_epoll"))
