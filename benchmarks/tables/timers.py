"""The timers table: what it costs to set a timer, to cancel it, and to let it fire."""

from __future__ import annotations

from benchmarks.run.figures import Figures, Rounds, median, quiet, ratio, spread
from benchmarks.run.peers import OURS, UVLOOP, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure
from benchmarks.run.table import Table
from benchmarks.run.target import Reached, Target, conclude
from benchmarks.run.text import number, percent, render
from benchmarks.run.worker import work
from benchmarks.workers.timer_calls import KINDS

HEAD = ["loop", "timers", "CPU us", "spread", "elapsed us", "uvloop by it", "bytes grown", "taken"]
COUNTS = {"cancelled": 1_000_000, "turned": 1_000_000, "fired": 100_000}
QUICK = 20  # --quick sets one of this many
NAMES = {
    "cancelled": "set, then cancelled",
    "turned": "set and cancelled in turn",
    "fired": "fired over a second",
}
WANTED = 2.0  # uvloop's CPU time by cyncore's
PEERS = [
    Peer(OURS, "cyncore", "cyncore"),
    Peer(UVLOOP, "uvloop", "uvloop"),
    Peer("rloop", "rloop", "rloop"),
    Peer("asyncio", "asyncio"),
]
Key = tuple[str, str]  # peer, kind
Taken = dict[Key, Rounds]


def row(key: Key, count: int, taken: Taken, failures: dict[Key, str]) -> list[str]:
    name, kind = key
    rounds = taken.get(key)
    if rounds is None:
        return [f"{name}, {NAMES[kind]}", failures.get(key, "not run")]
    return [
        f"{name}, {NAMES[kind]}",
        number(count),
        number(median(rounds, "cpu_us"), 2),
        percent(spread(rounds, "cpu_us")),
        number(median(rounds, "elapsed_us"), 2),
        number(ratio(taken.get((UVLOOP, kind)), rounds, "cpu_us"), 2),
        number(median(rounds, "grown_bytes")),
        percent(median(rounds, "taken")),
    ]


def reach(taken: Taken) -> list[Reached]:
    """Every target, with what was reached."""
    reached: list[Reached] = []
    for kind in KINDS:
        ours, uvloop = taken.get((OURS, kind)), taken.get((UVLOOP, kind))
        calm = quiet(ours, uvloop)
        target = Target(f"timers {NAMES[kind]}, uvloop's CPU time by cyncore's", WANTED)
        reached.append((target, ratio(uvloop, ours, "cpu_us"), calm))
    return reached


def timers(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    counts = {kind: COUNTS[kind] // (QUICK if plan.quick else 1) for kind in KINDS}
    modules = {peer.name: str(peer.module) for peer in peers}
    keys = [(name, kind) for kind in KINDS for name in modules]

    def take(key: Key) -> Figures:
        return work("timer_calls", [modules[key[0]], key[1], str(counts[key[1]])], plan.placement)

    def tell(key: Key, figures: Figures | None) -> str:
        cost = f": {figures['cpu_us']:.2f} us a timer" if figures else ""
        return f"{counts[key[1]]:,} timers {NAMES[key[1]]}, {key[0]}{cost}"

    taken, failures = measure(keys, plan, take, tell)
    title = f"Timers, a process each, us a timer, medians, {plan.rounds} rounds"
    text = render(title, HEAD, [row(key, counts[key[1]], taken, failures) for key in keys])
    series = [
        {"peer": key[0], "kind": key[1], "timers": counts[key[1]], "samples": rounds} for key, rounds in taken.items()
    ]
    failed = {", ".join(key): why for key, why in failures.items()}
    return conclude(text, reach(taken), series=series, failures=failed)


TABLE = Table("timers", peers=PEERS, run=timers, shapes=len(KINDS), window=3.5)
