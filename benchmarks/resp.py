"""The resp table: PING, SET and GET, asked for by redis-benchmark with 16 commands in flight on each connection."""

from __future__ import annotations

import csv
import math
import socket

from benchmarks.peers import OURS, UVLOOP, Peer
from benchmarks.rounds import QUIET, Plan
from benchmarks.sample import SampleError, server
from benchmarks.table import Table, number, render
from benchmarks.target import Target
from benchmarks.usage import missing, per_request, run, watch
from benchmarks.worker import Figures, Rounds, against, median, spread, work_rounds

HEAD = ["server", "command", "commands/s", "spread", "by uvloop", "user us", "system us", "CPU by uvloop"]
HEAD += ["p50 us", "p99 us", "busy", "load busy", "taken"]
CONNECTIONS = 50
FLIGHT = 16
PACE = 150_000  # commands a second, about: redis-benchmark counts commands, not seconds
WARMUP = 20_000  # commands
TESTS = {"PING": "ping_mbulk", "SET": "set", "GET": "get"}  # as redis-benchmark calls them
WANTED = {name: Target(f"resp, {name}, {FLIGHT} in flight, cyncore by uvloop", 2.0) for name in TESTS}
PEERS = [
    Peer(OURS, "cyncore", "cyncore", "cyncore_resp"),
    Peer(UVLOOP, "uvloop", "uvloop", "uvloop_resp"),
    Peer("uvloop joined", "uvloop", "uvloop", "uvloop_resp", ("--joined",)),
]
TALK = {  # what is said before anything is measured, and what must come back
    b"*1\r\n$4\r\nPING\r\n": b"+PONG\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n": b"+OK\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n": b"$4\r\na\r\nb\r\n",
    b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n": b":1\r\n",
}
Key = tuple[str, str]  # peer, command
Taken = dict[Key, Rounds]


def ask(port: int) -> None:
    """Says a few commands at once. Raises SampleError where the answers are not what they should be."""
    expected = b"".join(TALK.values())
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as sock, sock.makefile("rb") as file:
            sock.sendall(b"".join(TALK))
            got = file.read(len(expected))
    except OSError as error:
        raise SampleError(f"no answer: {error!r}") from None
    if got != expected:
        raise SampleError(f"a wrong answer: {got!r}")


def read(report: str) -> Figures:
    """redis-benchmark's report of one test. Raises SampleError where it has none."""
    rows = list(csv.DictReader(report.splitlines()))
    try:
        figures = {name: float(rows[-1][name]) for name in ("rps", "p50_latency_ms", "p99_latency_ms")}
    except (IndexError, KeyError, TypeError, ValueError):
        raise SampleError(f"redis-benchmark said {report.strip()[-200:]!r}") from None
    return {
        "rate": figures["rps"],
        "p50_us": 1e3 * figures["p50_latency_ms"],
        "p99_us": 1e3 * figures["p99_latency_ms"],
    }


def take(peer: Peer, name: str, plan: Plan) -> Figures:
    """One server, and redis-benchmark twice: to warm up, and to measure."""
    count = math.ceil(PACE * plan.seconds)
    with server(peer, plan.placement) as (process, port, _):
        ask(port)
        command = ["redis-benchmark", "-p", str(port), "-P", str(FLIGHT), "-c", str(plan.most(CONNECTIONS)), "--csv"]
        command += ["-t", TESTS[name]]
        run([*command, "-n", str(WARMUP)], plan.placement, plan.warmup)
        report, used = watch(process.pid, [*command, "-n", str(count)], plan.placement, plan.seconds)
    return {**read(report), **per_request(used, count)}


def row(key: Key, taken: Taken, failures: dict[Key, str]) -> list[str]:
    peer, name = key
    rounds, uvloop = taken.get(key), taken.get((UVLOOP, name))
    if rounds is None:
        return [f"{peer}, {name}", failures.get(key, "not run")]
    return [
        peer,
        name,
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


def reach(taken: Taken) -> list[tuple[Target, float | None, bool]]:
    """Every target with what was reached, and whether the machine was ours."""
    reached = []
    for name, target in WANTED.items():
        ours, uvloop = taken.get((OURS, name)), taken.get((UVLOOP, name))
        quiet = all((median(rounds, "taken") or 0.0) <= QUIET for rounds in (ours, uvloop))
        reached.append((target, against(ours, uvloop, "rate"), quiet))
    return reached


def resp(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """The table as text, and what it was made of."""
    why = missing("redis-benchmark", "redis-tools")
    if why:
        targets = [target.record(None) for target in WANTED.values()]
        return f"resp: {why}\n", {"series": [], "left_out": why, "targets": targets}
    found = {peer.name: peer for peer in peers}
    keys = [(peer, name) for name in TESTS for peer in found]

    def tell(key: Key, figures: Figures | None) -> str:
        return f"{key[1]}, {key[0]}" + (f": {figures['rate']:,.0f} commands/s" if figures else "")

    taken, failures = work_rounds(keys, plan, lambda key: take(found[key[0]], key[1], plan), tell)
    count = plan.most(CONNECTIONS)
    title = f"RESP, {FLIGHT} in flight on {count} connections (redis-benchmark), medians, {plan.rounds} rounds"
    text = render(title, HEAD, [row(key, taken, failures) for key in keys])
    reached = reach(taken)
    record: dict[str, object] = {
        "series": [
            {"peer": key[0], "command": key[1], "connections": count, "flight": FLIGHT, "samples": rounds}
            for key, rounds in taken.items()
        ],
        "failures": {", ".join(key): said for key, said in failures.items()},
        "targets": [target.record(value, quiet=calm) for target, value, calm in reached],
    }
    verdicts = [target.judge(value, quiet=calm) for target, value, calm in reached]
    return "\n".join([text, *verdicts]) + "\n", record


TABLE = Table("resp", peers=PEERS, run=resp, shapes=len(TESTS), window=3.0)
