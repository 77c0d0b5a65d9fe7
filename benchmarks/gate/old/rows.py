"""The rows: the old programs that are counted, and on how much work. Windows are those of the gate's own rows."""

from __future__ import annotations

from dataclasses import dataclass, field

FAR = 1  # pairs of windows that count: with 2,000 channels the old modules cost a hundred times as much
THREADS = 0.25  # noise: which thread gets the lock first decides whether a request takes two turns of the loop or three
UNSURE = 9.0  # as good as not judged: the old module costs 80,000 in one run and 360,000 in another, by its threads
DEEPER = 0.3  # a known loss: Python visits four more bases for each slot of a class that it makes


@dataclass(frozen=True)
class OldRow:
    name: str
    maker: str  # a function of benchmarks.workers.old_programs
    options: dict[str, int] = field(default_factory=dict)
    short: int = 4  # turns
    long: int = 12
    events: int = 1  # in a turn
    repeats: int = 3  # pairs of windows that count
    noise: float = 0.01  # the share of the cost by which two runs may differ, or by which a row is known to lose


ROWS = [
    # the longest come first, so that two at a time end together
    OldRow("relay, 2,000 idle", "relay", {"idle": 2000}, 1, 3, repeats=FAR),
    OldRow("relay over lists, 2,000 idle", "relay_list", {"idle": 2000}, 1, 3, repeats=FAR),
    OldRow("worker threads, 2,000 idle", "workers", {"idle": 2000}, 1, 3, noise=THREADS, repeats=FAR),
    OldRow("one active of 2,000 with predicates", "predicates", {"idle": 2000}, 1, 3, repeats=FAR),
    OldRow("echo beside 2,000 with predicates", "echo", {"idle": 2000, "active": 20}, 1, 3, events=20, repeats=FAR),
    OldRow("a quarter of a second of idleness, 2,000 channels", "idle", {"idle": 2000}, 1, 3),
    OldRow("relay, 20 idle", "relay", {"idle": 20}, 10, 40),
    OldRow("relay over lists, 20 idle", "relay_list", {"idle": 20}, 10, 40),
    OldRow("relay", "relay", {"idle": 0}, 20, 80),
    OldRow("relay over lists", "relay_list", {"idle": 0}, 20, 80),
    OldRow("worker threads", "workers", {"idle": 0}, 20, 80, noise=UNSURE),
    OldRow("predicates", "predicates", {"idle": 0, "active": 10}, 5, 20, events=10),
    OldRow("five pushes a handler", "pushes", {"gather": 0}, 5, 20, events=10),
    OldRow("five pushes a handler, gathered", "pushes", {"gather": 1}, 5, 20, events=10),
    OldRow("class attribute counted", "class_attribute", {}, 5, 20, events=10),
    OldRow("instance handler set and deleted", "instance_handler", {}, 6, 20, events=10),
    OldRow("class swapped", "swapped_class", {}, 6, 20, events=10),
    OldRow("class made for each connection", "class_each", {}, 16, 48, noise=DEEPER),
    OldRow("map changed by hand", "map_by_hand", {}, 20, 80),
    OldRow("loop(count=1)", "loop_count", {"idle": 10}, 20, 80),
    OldRow("poll()", "poll", {"idle": 10}, 20, 80),
    OldRow("short-lived clients", "visits", {}, 16, 48),
    OldRow("pipes", "pipes", {}, 20, 80),
    OldRow("datagrams", "datagrams", {}, 20, 80),
]
