"""The old table: patterns of old programs, on cyncore and on the modules that they were written for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from benchmarks.run.figures import Figures, Rounds, median, quiet, ratio
from benchmarks.run.peers import ECHO, OLD, OURS, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure
from benchmarks.run.table import Table
from benchmarks.run.target import Reached, Target, conclude
from benchmarks.run.text import number, percent, render
from benchmarks.run.worker import work

HEAD = ["program", "loop", "a second", "by asyncore", "CPU us", "by asyncore", "p99 us", "busy", "idle", "taken"]
BOTH = 2  # descriptors of a connection in the process of the program, which opens both ends before the client is forked


@dataclass(frozen=True)
class Row:
    """`rate` is the least that is wanted and `cpu` the most, both as shares of asyncore's."""

    name: str
    maker: str  # a function of benchmarks.workers.old_programs
    options: dict[str, int] = field(default_factory=dict)
    rate: float = 0.9
    cpu: float = 1.0


MANY = 2000
MOST = 9000
CROWD = 10_000
ROWS = [
    Row("relay", "relay", {"idle": 0}, rate=1.0),
    Row("relay, 20 idle", "relay", {"idle": 20}, rate=2.0),
    Row("relay, 200 idle", "relay", {"idle": 200}, rate=4.0),
    Row("relay, 2,000 idle", "relay", {"idle": MANY}, rate=40.0),
    Row("relay over lists", "relay_list", {"idle": 0}, rate=1.0),
    Row("relay over lists, 20 idle", "relay_list", {"idle": 20}, rate=2.0),
    Row("relay over lists, 200 idle", "relay_list", {"idle": 200}, rate=4.0),
    Row("relay over lists, 2,000 idle", "relay_list", {"idle": MANY}, rate=40.0),
    Row("worker threads", "workers", {"idle": 0, "active": 10, "threads": 4}),
    Row("worker threads, 2,000 idle", "workers", {"idle": MANY, "active": 10, "threads": 4}, rate=1.8),
    Row("one active of 10 with predicates", "predicates", {"idle": 10}),
    Row("one active of 9,000 with predicates", "predicates", {"idle": MOST}, rate=40.0),
    Row("echo", "echo", {"idle": 0, "active": 100}),
    Row("echo beside 10,000 with predicates", "echo", {"idle": CROWD, "active": 100}, rate=4.0),
    Row("five pushes a handler", "pushes", {"gather": 0}, cpu=0.8),
    Row("five pushes a handler, gathered", "pushes", {"gather": 1}, cpu=0.35),
    Row("class attribute counted", "class_attribute", cpu=0.7),
    Row("instance handler set and deleted", "instance_handler"),
    Row("class swapped", "swapped_class"),
    Row("class made for each connection", "class_each"),
    Row("map changed by hand", "map_by_hand"),
    Row("loop(count=1)", "loop_count", {"idle": 10}),
    Row("poll()", "poll", {"idle": 10}),
    Row("short-lived clients", "visits"),
    Row("pipes", "pipes"),
    Row("datagrams", "datagrams"),
]
IDLE = Target("old programs, the most of a core that an idle one takes on cyncore, %", 1.0, at_least=False)
Key = tuple[str, str]  # program, loop
Taken = dict[Key, Rounds]


def take_rounds(loops: list[Peer], plan: Plan) -> tuple[Taken, dict[Key, str]]:
    rows = {row.name: row for row in ROWS}
    keys = [(name, peer.name) for name in rows for peer in loops]
    core = plan.placement.cores[1] if plan.placement.cores else -1

    def take(key: Key) -> Figures:
        row = rows[key[0]]
        options = dict(row.options)
        if "idle" in options:
            options["idle"] = min(options["idle"], plan.most(options["idle"] + BOTH * options.get("active", 1)))
        words = [key[1], row.maker, json.dumps(options), str(plan.seconds), str(core)]
        return work("old_programs", words, plan.placement)

    def tell(key: Key, figures: Figures | None) -> str:
        return f"{key[0]}, {key[1]}" + (f": {figures['rate']:,.0f} a second" if figures else "")

    return measure(keys, plan, take, tell)


def cells(key: Key, taken: Taken, failures: dict[Key, str]) -> list[str]:
    rounds, old = taken.get(key), taken.get((key[0], OLD))
    if rounds is None:
        return [key[0], f"{key[1]}: {failures.get(key, 'not run')}"]
    return [
        *key,
        number(median(rounds, "rate")),
        number(ratio(rounds, old, "rate"), 2),
        number(median(rounds, "cpu_us"), 1),
        number(ratio(rounds, old, "cpu_us"), 2),
        number(median(rounds, "p99_us")),
        *(percent(median(rounds, name), 1) for name in ("busy", "idle_busy", "taken")),
    ]


def reach(taken: Taken) -> list[Reached]:
    """Every target, with what was reached."""
    reached: list[Reached] = []
    idle = []
    for row in ROWS:
        ours, old = taken.get((row.name, OURS)), taken.get((row.name, OLD))
        calm = quiet(ours, old)
        rate = Target(f"{row.name}, rate by asyncore's", row.rate)
        cpu = Target(f"{row.name}, CPU time by asyncore's", row.cpu, at_least=False)
        reached += [(rate, ratio(ours, old, "rate"), calm), (cpu, ratio(ours, old, "cpu_us"), calm)]
        if ours:
            idle.append(100 * (median(ours, "idle_busy") or 0.0))
    return [*reached, (IDLE, max(idle, default=None), True)]


def old(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    taken, failures = take_rounds(peers, plan)
    rows = [cells((row.name, peer.name), taken, failures) for row in ROWS for peer in peers]
    title = f"Old programs, as they are, medians, {plan.rounds} rounds"
    series = [{"program": key[0], "loop": key[1], "samples": rounds} for key, rounds in taken.items()]
    failed = {", ".join(key): why for key, why in failures.items()}
    return conclude(render(title, HEAD, rows), reach(taken), series=series, failures=failed)


TABLE = Table("old", peers=[peer for peer in ECHO if peer.name in (OURS, OLD)], run=old, shapes=2 * len(ROWS))
