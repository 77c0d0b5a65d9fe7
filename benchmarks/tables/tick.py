"""The tick table: what a tick of the loop costs when nothing happens."""

from __future__ import annotations

from benchmarks.run.figures import QUIET, Figures, Rounds, median
from benchmarks.run.peers import ECHO, OLD, OURS, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure
from benchmarks.run.table import Table
from benchmarks.run.target import Reached, Target, conclude
from benchmarks.run.text import number, percent, render
from benchmarks.run.worker import work
from benchmarks.workers.idle_channels import KINDS

HEAD = ["loop", "class", "10 channels, us", "N channels, us", "least", "a channel, ns", "by asyncore", "taken"]
FEW = 10
MOST = 10_000
EACH = 0.15  # us a channel whose predicates are both overridden: 1.5 ms for 10,000
NAMES = {
    "plain": "no predicate overridden",
    "overridden": "readable and writable overridden",
    "with_send": "dispatcher_with_send",
}
Key = tuple[str, str, int]  # loop, class, channels


def take_rounds(loops: list[Peer], counts: list[int], plan: Plan) -> tuple[dict[Key, Rounds], dict[Key, str]]:
    modules = {peer.name: str(peer.module) for peer in loops}
    keys = [(peer.name, kind, count) for kind in KINDS for count in counts for peer in loops]

    def take(key: Key) -> Figures:
        return work("idle_channels", [modules[key[0]], key[1], str(key[2])], plan.placement)

    def tell(key: Key, figures: Figures | None) -> str:
        cost = f": {figures['median_us']:,.1f} us a tick" if figures else ""
        return f"{key[2]:,} channels, {NAMES[key[1]]}, {key[0]}{cost}"

    return measure(keys, plan, take, tell)


def row(name: str, kind: str, most: int, taken: dict[Key, Rounds]) -> list[str]:
    many = median(taken.get((name, kind, most)), "median_us")
    few = median(taken.get((name, kind, FEW)), "median_us")
    old = median(taken.get((OLD, kind, most)), "median_us")
    each = 1e3 * (many - few) / (most - FEW) if many is not None and few is not None else None
    return [
        name,
        NAMES[kind],
        number(few, 1),
        number(many, 1),
        number(median(taken.get((name, kind, most)), "least_us"), 1),
        number(each, 1),
        number(many / old if many is not None and old is not None else None, 4),
        percent(taken_share(taken, name, kind, most)),
    ]


def taken_share(taken: dict[Key, Rounds], name: str, kind: str, most: int) -> float:
    """The share of the time that other processes took, with few channels or with many if that is more."""
    return max(median(taken.get((name, kind, count)), "taken") or 0.0 for count in (FEW, most))


def reach(most: int, taken: dict[Key, Rounds]) -> list[Reached]:
    """Every target, with what was reached."""
    over = median(taken.get((OURS, "overridden", most)), "median_us")
    plain = [median(taken.get((OURS, "plain", count)), "median_us") for count in (FEW, most)]
    cost = plain[1] - plain[0] if plain[0] is not None and plain[1] is not None else None
    calm = {kind: taken_share(taken, OURS, kind, most) <= QUIET for kind in KINDS}
    swept = Target(f"tick over {most:,} channels, both overridden, us", EACH * most, at_least=False)
    flat = Target(f"tick over {most:,} channels, none overridden, us more than over {FEW}", 5, at_least=False)
    return [(swept, over, calm["overridden"]), (flat, cost, calm["plain"])]


def tick(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    most = plan.most(MOST)
    taken, failures = take_rounds(peers, [FEW, most], plan)
    rows = [row(peer.name, kind, most, taken) for kind in KINDS for peer in peers]
    title = f"A tick over idle channels, loop(timeout=0, count=1), N = {most:,}, medians, {plan.rounds} rounds"
    remarks = [f"{name}, {NAMES[kind]}, {count:,} channels: {why}" for (name, kind, count), why in failures.items()]
    text = "\n".join([render(title, HEAD, rows), *remarks])
    samples = [{"loop": k[0], "class": k[1], "channels": k[2], "samples": rounds} for k, rounds in taken.items()]
    return conclude(text, reach(most, taken), series=samples, failures=remarks)


TABLE = Table("tick", peers=[peer for peer in ECHO if peer.name in (OURS, OLD)], run=tick, shapes=6, window=2.0)
