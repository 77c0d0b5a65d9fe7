"""The thread table: the echo while another thread of the server computes without a pause."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.run import columns
from benchmarks.run.columns import Column, render_series
from benchmarks.run.load import Sample, Shape
from benchmarks.run.peers import ECHO, OLD, OURS, UVLOOP, Peer
from benchmarks.run.placement import Placement
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure_loads
from benchmarks.run.series import Series, quiet, rate, rate_ratio
from benchmarks.run.table import Table
from benchmarks.run.target import Target, conclude

BY_UVLOOP = Target("echo beside a computing thread, cyncore by uvloop", 20)
BURN = ("--burn",)
TAKEN = 0.25  # a larger share taken gives no verdict; three threads on two cores take something from each other


class Together(Placement):
    """Server and load on the same two cores, and the kernel decides which thread runs where.

    Three threads want to run. With a core for the load alone, the two threads of the server, which share a lock, would
    have to share the other core. SCHED_FIFO is never used: a thread that spins for the lock would keep the thread that
    holds it from running.
    """

    def __init__(self, placement: Placement) -> None:
        super().__init__(pin=False)
        self.cores = placement.cores

    def prefix(self, place: int) -> list[str]:
        return ["taskset", "-c", ",".join(str(core) for core in self.cores)] if self.cores else []

    def describe(self) -> str:
        cores = f"server and load on cores {self.cores[0]} and {self.cores[1]}" if self.cores else "not pinned"
        return f"{cores}, ordinary scheduling"


def thread_columns(uvloop: Series | None) -> list[Column]:
    return [
        columns.figure("messages/s", rate),
        columns.SPREAD,
        columns.ratio("by uvloop", lambda series: uvloop, digits=1),
        columns.P50,
        columns.P99,
        columns.share("loop busy", lambda sample: sample.server_first / sample.seconds),
        columns.share("thread", Sample.others_busy),
        columns.LOAD_BUSY,
        columns.figure("batch", Sample.batch, 1),
        columns.TAKEN,
    ]


def thread(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    plan = replace(plan, placement=Together(plan.placement))
    connections = plan.most(plan.connections)
    every = measure_loads(peers, [Shape(connections, connections, plan.size, plan.seconds, plan.warmup)], plan)
    found = {series.peer.name: series for series in every}
    ours, uvloop = found.get(OURS), found.get(UVLOOP)
    title = (
        f"Echo of {plan.size} bytes over {connections} connections beside a computing thread, medians, "
        f"{plan.rounds} x {plan.seconds:g} s, {plan.placement.describe()}"
    )
    text = render_series(title, [columns.NAME], thread_columns(uvloop), every)
    reached = (BY_UVLOOP, rate_ratio(ours, uvloop), quiet(ours, uvloop, most=TAKEN))
    return conclude(text, [reached], series=[series.record() for series in every])


NAMES = (OURS, UVLOOP, OLD, "asyncio")
PEERS = [replace(peer, arguments=(*peer.arguments, *BURN)) for peer in ECHO if peer.name in NAMES]
TABLE = Table("thread", peers=PEERS, run=thread, programs=("load",))
