"""The thread table: the echo beside a thread of the server's process that does nothing but compute."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.run.load import Placement, Sample, Shape
from benchmarks.run.peers import ECHO, OLD, OURS, UVLOOP, Peer
from benchmarks.run.rounds import Plan, Series, interleave
from benchmarks.run.table import Table, number, render
from benchmarks.run.target import Target
from benchmarks.run.verdicts import conclude
from benchmarks.tables.echo import rate

HEAD = ["server", "messages/s", "spread", "by uvloop", "p50 us", "p99 us"]
HEAD += ["loop busy", "thread", "load busy", "batch", "taken"]
BY_UVLOOP = Target("echo beside a computing thread, cyncore by uvloop", 20)
BURN = ("--burn",)
TAKEN = 0.25  # the share of a window that threads of a sample may take from each other when they change places


class Together(Placement):
    """Server and load on the same two cores, as the kernel likes it.

    Three threads want to run, so to give the load a core of its own would give the other to two that share a lock. And
    never SCHED_FIFO: a thread that waits for the lock, and spins, would keep the one that has it from running.
    """

    def __init__(self, placement: Placement) -> None:
        super().__init__(pin=False)
        self.cores = placement.cores

    def prefix(self, place: int) -> list[str]:
        return ["taskset", "-c", ",".join(str(core) for core in self.cores)] if self.cores else []

    def describe(self) -> str:
        cores = f"server and load on cores {self.cores[0]} and {self.cores[1]}" if self.cores else "not pinned"
        return f"{cores}, ordinary scheduling"


def row(series: Series, uvloop: Series | None) -> list[str]:
    if not series.samples:
        return [series.peer.name, "; ".join(series.failures) or "not run"]
    return [
        series.peer.name,
        number(series.rate()),
        f"{100 * series.spread():.0f} %",
        number(series.against(uvloop, rate), 1),
        number(series.median(lambda sample: sample.p50_us)),
        number(series.median(lambda sample: sample.p99_us)),
        f"{100 * series.median(lambda sample: sample.server_first / sample.seconds):.0f} %",
        f"{100 * series.median(Sample.others_busy):.0f} %",
        f"{100 * series.median(Sample.load_busy):.0f} %",
        number(series.median(Sample.batch), 1),
        f"{100 * series.median(Sample.disturbed):.0f} %",
    ]


def quiet(*series: Series | None) -> bool:
    """Whether no others used the two cores: then two threads run at most, and one waits for the lock."""
    return all(one.median(Sample.disturbed) <= TAKEN for one in series if one is not None and one.samples)


def thread(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """The table as text, and what it was made of."""
    plan = replace(plan, placement=Together(plan.placement))
    connections = plan.most(plan.connections)
    every = interleave(peers, [Shape(connections, connections, plan.size, plan.seconds, plan.warmup)], plan)
    found = {series.peer.name: series for series in every}
    ours, uvloop = found.get(OURS), found.get(UVLOOP)
    title = (
        f"Echo of {plan.size} bytes over {connections} connections beside a computing thread, medians, "
        f"{plan.rounds} x {plan.seconds:g} s, {plan.placement.describe()}"
    )
    text = render(title, HEAD, [row(series, uvloop) for series in every])
    value = ours.against(uvloop, rate) if ours else None
    return conclude(text, [(BY_UVLOOP, value, quiet(ours, uvloop))], series=[series.record() for series in every])


NAMES = (OURS, UVLOOP, OLD, "asyncio")
PEERS = [replace(peer, arguments=(*peer.arguments, *BURN)) for peer in ECHO if peer.name in NAMES]
TABLE = Table("thread", peers=PEERS, run=thread, programs=("load",))
