"""A table of requests that an external load makes: several kinds of request, each asked of every peer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.run.external_load import missing
from benchmarks.run.figures import Figures, Rounds, median, quiet, ratio, spread
from benchmarks.run.peers import OURS, UVLOOP, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure
from benchmarks.run.target import Reached, Target, conclude
from benchmarks.run.text import number, percent, render

Key = tuple[str, str]  # peer, kind of request
Taken = dict[Key, Rounds]


@dataclass(frozen=True)
class RequestTable:
    name: str
    load: str  # the program
    package: str  # the Debian package that has the program
    kind: str  # what the kinds of request are called: a column, and a key of the record
    unit: str  # what is counted: a column
    wanted: Mapping[str, Target]  # by the kind

    def run(
        self, peers: list[Peer], plan: Plan, title: str, take: Callable[[Peer, str], Figures], **shape: object
    ) -> tuple[str, dict[str, object]]:
        """`take` measures one kind of request on one peer. `shape` goes into the record of every series."""
        if why := missing(self.load, self.package):
            targets = [target.record(None) for target in self.wanted.values()]
            return f"{self.name}: {why}\n", {"series": [], "left_out": why, "targets": targets}
        found = {peer.name: peer for peer in peers}
        keys = [(name, kind) for kind in self.wanted for name in found]

        def tell(key: Key, figures: Figures | None) -> str:
            rate = f": {figures['rate']:,.0f} {self.unit}/s" if figures else ""
            return f"{self.kind} {key[1]}, {key[0]}{rate}"

        taken, failures = measure(keys, plan, lambda key: take(found[key[0]], key[1]), tell)
        text = render(title, self.head(), [row(key, taken, failures) for key in keys])
        series = [{"peer": key[0], self.kind: key[1], **shape, "samples": rounds} for key, rounds in taken.items()]
        failed = {", ".join(key): why for key, why in failures.items()}
        return conclude(text, self.reach(taken), series=series, failures=failed)

    def head(self) -> list[str]:
        head = ["server", self.kind, f"{self.unit}/s", "spread", "by uvloop", "user us", "system us", "CPU by uvloop"]
        return [*head, "p50 us", "p99 us", "busy", "load busy", "taken"]

    def reach(self, taken: Taken) -> list[Reached]:
        """The target of every kind, with what was reached."""
        reached: list[Reached] = []
        for kind, target in self.wanted.items():
            ours, uvloop = taken.get((OURS, kind)), taken.get((UVLOOP, kind))
            reached.append((target, ratio(ours, uvloop, "rate"), quiet(ours, uvloop)))
        return reached


def row(key: Key, taken: Taken, failures: Mapping[Key, str]) -> list[str]:
    peer, kind = key
    rounds, uvloop = taken.get(key), taken.get((UVLOOP, kind))
    if rounds is None:
        return [f"{peer}, {kind}", failures.get(key, "not run")]
    return [
        peer,
        kind,
        number(median(rounds, "rate")),
        percent(spread(rounds, "rate")),
        number(ratio(rounds, uvloop, "rate"), 2),
        number(median(rounds, "user_us"), 2),
        number(median(rounds, "system_us"), 2),
        number(ratio(rounds, uvloop, "cpu_us"), 2),
        number(median(rounds, "p50_us")),
        number(median(rounds, "p99_us")),
        *(percent(median(rounds, figure)) for figure in ("busy", "load_busy", "taken")),
    ]
