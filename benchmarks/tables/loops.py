"""The loops table: what two loops in two threads do, whose handlers compute, by one."""

from __future__ import annotations

import os

from benchmarks.run.figures import Figures, median, quiet, spread
from benchmarks.run.peers import OURS, Peer
from benchmarks.run.placement import Placement
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure
from benchmarks.run.table import Table
from benchmarks.run.target import Target, conclude
from benchmarks.run.text import number, percent, render
from benchmarks.run.worker import work

COUNT = 10_000  # messages in each loop
QUICK = 20  # --quick passes one of this many
HEAD = ["loop", "us a message, one loop", "two loops", "two by one", "spread", "CPU by one", "taken"]
GAIN = Target("messages a second of two loops by one, without the GIL", 1.8)
PEERS = [Peer(OURS, "cyncore", "cyncore")]


class Anywhere(Placement):
    """Each loop on a core of its own, as the kernel decides."""

    def __init__(self) -> None:
        super().__init__(pin=False)

    def prefix(self, place: int) -> list[str]:
        return []


def missing() -> str | None:
    return "two loops need two cores" if (os.cpu_count() or 1) < 2 else None


def loops(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record. With the GIL there is no target."""
    count = COUNT // (QUICK if plan.quick else 1)

    def take(name: str) -> Figures:
        return work("two_loops", [str(count)], Anywhere())

    def tell(name: str, figures: Figures | None) -> str:
        gain = f": {figures['gain']:.2f} of what one does" if figures else ""
        return f"two loops of {name}{gain}"

    taken, failures = measure([peer.name for peer in peers], plan, take, tell)
    rows = []
    for peer in peers:
        rounds = taken.get(peer.name)
        if rounds is None:
            rows.append([peer.name, failures.get(peer.name, "not run")])
            continue
        rows.append(
            [
                peer.name,
                number(median(rounds, "one_us"), 1),
                number(median(rounds, "two_us"), 1),
                number(median(rounds, "gain"), 2),
                percent(spread(rounds, "gain")),
                number(median(rounds, "cpu"), 2),
                percent(median(rounds, "taken")),
            ]
        )
    ours = taken.get(OURS)
    is_free = bool(median(ours, "is_free"))
    title = f"Two loops in two threads, {'without' if is_free else 'with'} the GIL, medians, {plan.rounds} rounds"
    reached = [(GAIN, median(ours, "gain"), quiet(ours))] if is_free else []
    series = [{"peer": name, "messages": count, "samples": rounds} for name, rounds in taken.items()]
    return conclude(render(title, HEAD, rows), reached, series=series, failures=failures)


TABLE = Table("loops", peers=PEERS, run=loops, window=2.0, missing=missing)
