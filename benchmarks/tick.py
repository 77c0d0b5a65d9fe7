"""The tick table: what one turn of the loop costs when nothing happens."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from benchmarks.idle_channels import KINDS
from benchmarks.peers import OURS, Peer
from benchmarks.rounds import QUIET, Plan, progress
from benchmarks.sample import ROOT, SampleError
from benchmarks.table import number, render
from benchmarks.target import Target

HEAD = ["loop", "class", "10 channels, us", "N channels, us", "least", "a channel, ns", "by asyncore", "taken"]
FEW = 10
EACH = 0.15  # us a channel whose predicates are both overridden: 1.5 ms for 10,000
NAMES = {
    "plain": "no predicate overridden",
    "overridden": "readable and writable overridden",
    "with_send": "dispatcher_with_send",
}
Key = tuple[str, str, int]  # loop, class, channels
Figures = dict[str, float]


def take_tick(peer: Peer, kind: str, count: int, plan: Plan) -> Figures:
    words = [sys.executable, "-m", "benchmarks.idle_channels", str(peer.module), kind, str(count)]
    command = [*plan.placement.prefix(0), *words]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        raise SampleError("did not end within 120 s") from None
    if done.returncode:
        raise SampleError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    figures: Figures = json.loads(done.stdout)
    return figures


def run_rounds(loops: list[Peer], counts: list[int], plan: Plan) -> tuple[dict[Key, list[Figures]], dict[Key, str]]:
    keys = [(peer, kind, count) for kind in KINDS for count in counts for peer in loops]
    taken: dict[Key, list[Figures]] = {}
    failures: dict[Key, str] = {}
    for turn in range(plan.rounds):
        for peer, kind, count in keys:
            key = peer.name, kind, count
            if key in failures:
                continue
            try:
                figures = take_tick(peer, kind, count, plan)
                taken.setdefault(key, []).append(figures)
                told = f"{figures['median_us']:,.1f} us a tick"
            except SampleError as error:
                told = failures[key] = str(error)
            progress(f"round {turn + 1}/{plan.rounds}, {count:,} channels, {NAMES[kind]}, {peer.name}: {told}")
    return taken, failures


def median(samples: list[Figures] | None, figure: str) -> float | None:
    return statistics.median(sample[figure] for sample in samples) if samples else None


def row(name: str, kind: str, most: int, taken: dict[Key, list[Figures]]) -> list[str]:
    many = median(taken.get((name, kind, most)), "median_us")
    few = median(taken.get((name, kind, FEW)), "median_us")
    old = median(taken.get(("asyncore", kind, most)), "median_us")
    each = 1e3 * (many - few) / (most - FEW) if many is not None and few is not None else None
    return [
        name,
        NAMES[kind],
        number(few, 1),
        number(many, 1),
        number(median(taken.get((name, kind, most)), "least_us"), 1),
        number(each, 1),
        number(many / old if many is not None and old is not None else None, 4),
        number(100 * taken_share(taken, name, kind, most)) + " %",
    ]


def taken_share(taken: dict[Key, list[Figures]], name: str, kind: str, most: int) -> float:
    """The share of the time that other processes took from this one, the worse of few channels and many."""
    return max(median(taken.get((name, kind, count)), "taken") or 0.0 for count in (FEW, most))


def judge(most: int, taken: dict[Key, list[Figures]]) -> list[str]:
    over = median(taken.get((OURS, "overridden", most)), "median_us")
    plain = [median(taken.get((OURS, "plain", count)), "median_us") for count in (FEW, most)]
    cost = plain[1] - plain[0] if plain[0] is not None and plain[1] is not None else None
    quiet = {kind: taken_share(taken, OURS, kind, most) <= QUIET for kind in KINDS}
    return [
        Target(f"tick over {most:,} channels, both overridden, us", EACH * most, at_least=False).judge(
            over, quiet=quiet["overridden"]
        ),
        Target(f"tick over {most:,} channels, none overridden, us more than over {FEW}", 5, at_least=False).judge(
            cost, quiet=quiet["plain"]
        ),
    ]


def tick(peers: list[Peer], plan: Plan, most: int) -> tuple[str, dict[str, object]]:
    """The table as text, and what it was made of."""
    loops = [peer for peer in peers if peer.name in (OURS, "asyncore")]
    taken, failures = run_rounds(loops, [FEW, most], plan)
    rows = [row(peer.name, kind, most, taken) for kind in KINDS for peer in loops]
    title = f"A tick over idle channels, loop(timeout=0, count=1), N = {most:,}, medians, {plan.rounds} rounds"
    remarks = [f"{name}, {NAMES[kind]}, {count:,} channels: {why}" for (name, kind, count), why in failures.items()]
    text = render(title, HEAD, rows) + "\n" + "\n".join([*remarks, *judge(most, taken)]) + "\n"
    samples = [{"loop": k[0], "class": k[1], "channels": k[2], "samples": taken[k]} for k in taken]
    return text, {"series": samples, "failures": remarks}
