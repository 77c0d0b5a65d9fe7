"""A table of requests that a public program makes, several kinds of them: its rows, its targets and its record."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.run.peers import OURS, UVLOOP
from benchmarks.run.rounds import QUIET
from benchmarks.run.table import number
from benchmarks.run.target import Target
from benchmarks.run.verdicts import Reached
from benchmarks.run.worker import Rounds, against, median, spread

Key = tuple[str, str]  # peer, kind of request
Taken = dict[Key, Rounds]


def head(kind: str, what: str) -> list[str]:
    head = ["server", kind, f"{what}/s", "spread", "by uvloop", "user us", "system us", "CPU by uvloop"]
    return [*head, "p50 us", "p99 us", "busy", "load busy", "taken"]


def row(key: Key, taken: Taken, failures: dict[Key, str]) -> list[str]:
    peer, kind = key
    rounds, uvloop = taken.get(key), taken.get((UVLOOP, kind))
    if rounds is None:
        return [f"{peer}, {kind}", failures.get(key, "not run")]
    return [
        peer,
        kind,
        number(median(rounds, "rate")),
        number(100 * (spread(rounds, "rate") or 0.0)) + " %",
        number(against(rounds, uvloop, "rate"), 2),
        number(median(rounds, "user_us"), 2),
        number(median(rounds, "system_us"), 2),
        number(against(rounds, uvloop, "cpu_us"), 2),
        number(median(rounds, "p50_us")),
        number(median(rounds, "p99_us")),
        *(number(100 * (median(rounds, figure) or 0.0)) + " %" for figure in ("busy", "load_busy", "taken")),
    ]


def reach(wanted: Mapping[str, Target], taken: Taken) -> list[Reached]:
    """Of every kind the target with what was reached, and whether the machine was ours."""
    reached = []
    for kind, target in wanted.items():
        ours, uvloop = taken.get((OURS, kind)), taken.get((UVLOOP, kind))
        quiet = all((median(rounds, "taken") or 0.0) <= QUIET for rounds in (ours, uvloop))
        reached.append((target, against(ours, uvloop, "rate"), quiet))
    return reached


def record(kind: str, taken: Taken, failures: dict[Key, str], **shape: object) -> dict[str, object]:
    """What the results keep of it. ``kind`` is what the kinds of request are called there."""
    series = [{"peer": key[0], kind: key[1], **shape, "samples": rounds} for key, rounds in taken.items()]
    return {"series": series, "failures": {", ".join(key): said for key, said in failures.items()}}
