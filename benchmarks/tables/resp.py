"""The resp table: redis-benchmark sends PING, SET and GET, with 16 commands in flight on each connection."""

from __future__ import annotations

import csv
import math
import socket

from benchmarks.run.errors import MeasurementError
from benchmarks.run.external_load import per_request, run, watch
from benchmarks.run.figures import Figures
from benchmarks.run.peers import OURS, UVLOOP, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.request_table import RequestTable
from benchmarks.run.server import server
from benchmarks.run.table import Table
from benchmarks.run.target import Target

CONNECTIONS = 50
FLIGHT = 16
PACE = 150_000  # commands a second, about; redis-benchmark is told a number of commands, not seconds
WARMUP = 20_000  # commands
TESTS = {"PING": "ping_mbulk", "SET": "set", "GET": "get"}  # by the names that redis-benchmark has for them
REQUESTS = RequestTable(
    name="resp",
    load="redis-benchmark",
    package="redis-tools",
    kind="command",
    unit="commands",
    wanted={name: Target(f"resp, {name}, {FLIGHT} in flight, cyncore by uvloop", 2.0) for name in TESTS},
)
PEERS = [
    Peer(OURS, "cyncore", "cyncore", "cyncore_resp"),
    Peer(UVLOOP, "uvloop", "uvloop", "uvloop_resp"),
    Peer("uvloop joined", "uvloop", "uvloop", "uvloop_resp", ("--joined",)),
]
TALK = {  # sent before anything is measured, and the answers that must come back
    b"*1\r\n$4\r\nPING\r\n": b"+PONG\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n": b"+OK\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n": b"$4\r\na\r\nb\r\n",
    b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n": b":1\r\n",
}


def ask(port: int) -> None:
    """Sends a few commands at once. Raises MeasurementError where the answers are not those expected."""
    expected = b"".join(TALK.values())
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as sock, sock.makefile("rb") as file:
            sock.sendall(b"".join(TALK))
            got = file.read(len(expected))
    except OSError as error:
        raise MeasurementError(f"no answer: {error!r}") from None
    if got != expected:
        raise MeasurementError(f"a wrong answer: {got!r}")


def read(report: str) -> Figures:
    """The figures in the report of redis-benchmark about one test. Raises MeasurementError where it has none."""
    rows = list(csv.DictReader(report.splitlines()))
    try:
        figures = {name: float(rows[-1][name]) for name in ("rps", "p50_latency_ms", "p99_latency_ms")}
    except (IndexError, KeyError, TypeError, ValueError):
        raise MeasurementError(f"redis-benchmark said {report.strip()[-200:]!r}") from None
    return {
        "rate": figures["rps"],
        "p50_us": 1e3 * figures["p50_latency_ms"],
        "p99_us": 1e3 * figures["p99_latency_ms"],
    }


def take(peer: Peer, name: str, plan: Plan) -> Figures:
    """Starts the server, and runs redis-benchmark twice: to warm up, and to measure."""
    count = math.ceil(PACE * plan.seconds)
    with server(peer, plan.placement) as (process, port, _):
        ask(port)
        command = ["redis-benchmark", "-p", str(port), "-P", str(FLIGHT), "-c", str(plan.most(CONNECTIONS)), "--csv"]
        command += ["-t", TESTS[name]]
        run([*command, "-n", str(WARMUP)], plan.placement, plan.warmup)
        report, used = watch(process.pid, [*command, "-n", str(count)], plan.placement, plan.seconds)
    return {**read(report), **per_request(used, count)}


def resp(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    count = plan.most(CONNECTIONS)
    title = f"RESP, {FLIGHT} in flight on {count} connections (redis-benchmark), medians, {plan.rounds} rounds"

    def measure(peer: Peer, name: str) -> Figures:
        return take(peer, name, plan)

    return REQUESTS.run(peers, plan, title, measure, connections=count, flight=FLIGHT)


TABLE = Table("resp", peers=PEERS, run=resp, shapes=len(TESTS), window=3.0)
