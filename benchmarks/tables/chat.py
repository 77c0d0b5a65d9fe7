"""The chat table: a line to thousands of clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.run import columns
from benchmarks.run.columns import render_series
from benchmarks.run.load import Sample, Shape
from benchmarks.run.peers import CHAT, STREAM, UVLOOP, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure_loads
from benchmarks.run.series import quiet
from benchmarks.run.table import Table
from benchmarks.run.target import Target, conclude

CLIENTS = 5000
SIZE = 64  # bytes of a line, with CRLF


@dataclass(frozen=True)
class Chat(Shape):
    PROGRAM: ClassVar[str] = "load_chat"

    def label(self) -> str:
        return f"{self.connections} clients"


def wall_ms(sample: Sample) -> float:
    """The time from sending a line until everybody has it."""
    return 1e3 / sample.rate


def chat(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    clients = plan.most(CLIENTS)
    every = measure_loads(peers, [Chat(clients, clients, SIZE, plan.seconds, plan.warmup)], plan)
    found = {series.peer.name: series for series in every}
    stream, uvloop = found.get(STREAM), found.get(UVLOOP)
    target = Target(f"chat, a line to {clients:,} clients, stream by uvloop, wall time", 0.7, at_least=False)
    title = f"A line of {SIZE} bytes to {clients:,} clients, medians, {plan.rounds} x {plan.seconds:g} s"
    cells = [
        columns.figure("ms a line", wall_ms, 1),
        columns.SPREAD,
        columns.ratio("by uvloop", lambda series: uvloop, wall_ms),
        columns.USER,
        columns.SYSTEM,
        columns.ratio("CPU by uvloop", lambda series: uvloop, Sample.cpu_us),
        columns.BUSY,
        columns.LOAD_BUSY,
        columns.TAKEN,
    ]
    text = render_series(title, [columns.NAME], cells, every)
    wall = stream.ratio(uvloop, wall_ms) if stream else None
    return conclude(text, [(target, wall, quiet(stream, uvloop))], series=[series.record() for series in every])


TABLE = Table("chat", peers=CHAT, run=chat, programs=("load_chat",), window=4.0)
