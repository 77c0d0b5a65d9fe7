"""The bulk table: an echo of messages that fill a buffer."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.run.load import Shape
from benchmarks.run.peers import ECHO, OURS, PYFTPDLIB, RAW, UVLOOP, Peer
from benchmarks.run.rounds import Plan, Series, interleave
from benchmarks.run.table import Table, render
from benchmarks.run.target import Target
from benchmarks.run.verdicts import Reached, conclude
from benchmarks.tables.echo import HEAD, quiet, rate, row

CONNECTIONS = 10
SIZE = 16384
RECV = 65536  # what a handler asks for: as much as the others' libraries read at once
WITH_SEND = "cyncore with_send"
BY_RAW, BY_UVLOOP = 0.90, 1.15


def reader(peer: Peer) -> Peer:
    """The same, reading so much at once that a message is not cut."""
    handled = peer.server in ("cyncore_echo", "asyncore_echo")
    return replace(peer, arguments=(*peer.arguments, "--recv", str(RECV))) if handled else peer


def reach(found: dict[str, Series]) -> list[Reached]:
    """For the plain class, and for the one that does not lose what a short send() leaves."""
    reached: list[Reached] = []
    for name in (OURS, WITH_SEND):
        ours = found.get(name)
        for other, told, wanted in ((RAW, "raw C", BY_RAW), (UVLOOP, "uvloop", BY_UVLOOP)):
            target = Target(f"echo of 16 KiB, {name} by {told}", wanted)
            against = found.get(other)
            reached.append((target, ours.against(against, rate) if ours else None, quiet(ours, against)))
    return reached


def bulk(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """The table as text, and what it was made of."""
    every = interleave(peers, [Shape(CONNECTIONS, CONNECTIONS, SIZE, plan.seconds, plan.warmup)], plan)
    found = {series.peer.name: series for series in every}
    title = f"Echo of 16 KiB over {CONNECTIONS} connections, medians, {plan.rounds} x {plan.seconds:g} s"
    text = render(title, HEAD, [row(series, found.get(RAW)) for series in every])
    return conclude(text, reach(found), series=[series.record() for series in every])


# pyftpdlib's plain handler reads 8 KiB and would lose what a short send() leaves.
PEERS = [reader(peer) for peer in ECHO if peer.name != PYFTPDLIB]
TABLE = Table("bulk", peers=PEERS, run=bulk, programs=("load", "echo_epoll"))
