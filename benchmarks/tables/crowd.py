"""The crowd table: the echo beside thousands of connections that are silent."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.run.load import Sample, Shape
from benchmarks.run.peers import ECHO, OLD, OURS, PYFTPDLIB, RAW, UVLOOP, Peer
from benchmarks.run.rounds import Plan, Series, interleave
from benchmarks.run.table import Table, number, render
from benchmarks.run.target import Target
from benchmarks.run.verdicts import Reached, conclude
from benchmarks.tables.echo import quiet, rate
from benchmarks.tables.idle import PATIENCE, QUICK_PATIENCE

HEAD = ["server", "idle", "messages/s", "spread", "by raw C", "by uvloop", "by own alone", "user us", "system us"]
HEAD += ["p50 us", "p99 us", "busy", "batch", "rounds", "taken"]
IDLE = 10_000
ASKED = "cyncore overriding"  # the class of every idle connection overrides readable() and writable()
Found = dict[tuple[str, int], Series]


def row(series: Series, found: Found) -> list[str]:
    count, idle = series.shape.connections, series.shape.connections - series.shape.active
    if not series.samples:
        return [f"{series.peer.name}, {idle:,}", "; ".join(series.failures) or "not run"]
    own = OURS if series.peer.name == ASKED else series.peer.name
    return [
        series.peer.name,
        f"{idle:,}",
        number(series.rate()),
        f"{100 * series.spread():.0f} %",
        number(series.against(found.get((RAW, count)), rate), 2),
        number(series.against(found.get((UVLOOP, count)), rate), 2),
        number(series.against(found.get((own, series.shape.active)), rate), 2),
        number(series.median(Sample.user_us), 2),
        number(series.median(Sample.system_us), 2),
        number(series.median(lambda sample: sample.p50_us)),
        number(series.median(lambda sample: sample.p99_us)),
        f"{100 * series.median(Sample.server_busy):.0f} %",
        number(series.median(Sample.batch)),
        str(len(series.samples)),
        f"{100 * series.median(Sample.disturbed):.0f} %",
    ]


def reach(found: Found, few: int, many: int) -> list[Reached]:
    alone, crowd, asked = found.get((OURS, few)), found.get((OURS, many)), found.get((ASKED, many))
    idle = f"{many - few:,}"
    plain = Target(f"echo beside {idle} idle connections, cyncore by its own rate without", 0.98)
    over = Target(f"echo beside {idle} that override both predicates, cyncore by its own rate without", 0.90)
    late = Target(f"echo beside {idle} that override both predicates, cyncore, p99 us", 10_000, at_least=False)
    p99 = asked.median(lambda sample: sample.p99_us) if asked and asked.samples else None
    return [
        (plain, crowd.against(alone, rate) if crowd and many > few else None, quiet(crowd, alone)),
        (over, asked.against(alone, rate) if asked and many > few else None, quiet(asked, alone)),
        (late, p99, quiet(asked)),
    ]


def prepare(peer: Peer, every: int) -> Peer:
    """The active connections are spread evenly, and of the plain class: one of so many."""
    return replace(peer, arguments=(*peer.arguments, "--plain-every", str(every))) if peer.name == ASKED else peer


def crowd(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """The table as text, and what it was made of."""
    active = plan.most(plan.connections)
    share = plan.most(active + IDLE) // active  # connections, for each that is active
    patience = QUICK_PATIENCE if plan.quick else PATIENCE
    shapes = [
        Shape(count, active, plan.size, plan.seconds, plan.warmup, patience) for count in (active, active * share)
    ]
    every = interleave([prepare(peer, share) for peer in peers], shapes, plan)
    found = {(series.peer.name, series.shape.connections): series for series in every}
    title = (
        f"Echo of {plan.size} bytes over {active} connections beside silent ones, medians, "
        f"{plan.rounds} x {plan.seconds:g} s"
    )
    text = render(title, HEAD, [row(series, found) for series in every])
    return conclude(text, reach(found, active, active * share), series=[series.record() for series in every])


PEERS = [
    *(peer for peer in ECHO if peer.name in (RAW, OURS, UVLOOP, PYFTPDLIB, OLD, "asyncio")),
    Peer(ASKED, "cyncore.asyncore", "cyncore", "cyncore_echo"),
]
TABLE = Table("crowd", peers=PEERS, run=crowd, programs=("load", "echo_epoll"), shapes=2)
