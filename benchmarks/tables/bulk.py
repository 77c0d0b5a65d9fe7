"""The bulk table: the echo of large messages."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.run import columns
from benchmarks.run.columns import render_series
from benchmarks.run.load import Shape
from benchmarks.run.peers import ECHO, OURS, PYFTPDLIB, RAW, STREAM, UVLOOP, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure_loads
from benchmarks.run.series import Series, quiet, rate_ratio
from benchmarks.run.table import Table
from benchmarks.run.target import Reached, Target, conclude
from benchmarks.tables.echo import echo_columns

CONNECTIONS = 10
SIZE = 16384
RECV = 65536  # bytes that a handler asks for, as many as the libraries of the others read at once
WITH_SEND = "cyncore with_send"
WANTED = {OURS: (0.90, 1.15), WITH_SEND: (0.90, 1.15), STREAM: (0.95, 1.2)}  # by raw C, and by uvloop


def reader(peer: Peer) -> Peer:
    """The same peer, whose handlers read a whole message at once."""
    handled = peer.server in ("cyncore_echo", "asyncore_echo")
    return replace(peer, arguments=(*peer.arguments, "--recv", str(RECV))) if handled else peer


def reach(found: dict[str, Series]) -> list[Reached]:
    """For the plain class, for the one that keeps what a short send() leaves, and for streams."""
    reached: list[Reached] = []
    for name, wanted in WANTED.items():
        ours = found.get(name)
        for other, least in zip((RAW, UVLOOP), wanted, strict=True):
            target = Target(f"echo of 16 KiB, {name} by {other.removesuffix(' epoll')}", least)
            against = found.get(other)
            reached.append((target, rate_ratio(ours, against), quiet(ours, against)))
    return reached


def bulk(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    every = measure_loads(peers, [Shape(CONNECTIONS, CONNECTIONS, SIZE, plan.seconds, plan.warmup)], plan)
    found = {series.peer.name: series for series in every}
    title = f"Echo of 16 KiB over {CONNECTIONS} connections, medians, {plan.rounds} x {plan.seconds:g} s"
    text = render_series(title, [columns.NAME], echo_columns("messages/s", found.get(RAW)), every)
    return conclude(text, reach(found), series=[series.record() for series in every])


# The plain handler of pyftpdlib reads 8 KiB, and loses what a short send() leaves.
PEERS = [reader(peer) for peer in ECHO if peer.name != PYFTPDLIB]
TABLE = Table("bulk", peers=PEERS, run=bulk, programs=("load", "echo_epoll"))
