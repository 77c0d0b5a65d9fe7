"""The resp table: PING, SET and GET, asked for by redis-benchmark with 16 commands in flight on each connection."""

from __future__ import annotations

import csv
import math
import socket

from benchmarks.run.external_load import missing, per_request, run, watch
from benchmarks.run.load import SampleError, server
from benchmarks.run.peers import OURS, UVLOOP, Peer
from benchmarks.run.request_table import Key, head, reach, record, row
from benchmarks.run.rounds import Plan
from benchmarks.run.table import Table, render
from benchmarks.run.target import Target
from benchmarks.run.verdicts import conclude
from benchmarks.run.worker import Figures, work_rounds

HEAD = head("command", "commands")
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
    kept = record("command", taken, failures, connections=count, flight=FLIGHT)
    return conclude(text, reach(WANTED, taken), **kept)


TABLE = Table("resp", peers=PEERS, run=resp, shapes=len(TESTS), window=3.0)
