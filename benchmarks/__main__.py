"""`python -m benchmarks [echo] [idle] [tick] [lines] [mail]`: the tables, side by side. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import sys
import time
from pathlib import Path

from benchmarks import peers
from benchmarks.echo import echo
from benchmarks.idle import idle
from benchmarks.lines import lines
from benchmarks.mail import mail
from benchmarks.programs import CompileError, program
from benchmarks.rounds import Plan, progress
from benchmarks.sample import Placement
from benchmarks.tick import tick

PROGRAMS = {"echo": ["load", "echo_epoll"], "idle": ["load", "echo_epoll"], "lines": ["load_lines", "lines_epoll"]}
PROGRAMS["mail"] = ["load_mail"]
SPARE = 100  # descriptors for everything that is not a connection


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError("must be above 0 and at most 600")
    return value


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(peers.TABLES)} (all of them)")
    parser.add_argument("--rounds", type=int, default=5, help="how often every server is measured (5)")
    parser.add_argument("--seconds", type=positive, default=2.0, help="of every measured window (2)")
    parser.add_argument("--quick", action="store_true", help="one round of half a second, at most 1,000 connections")
    parser.add_argument("--size", type=int, default=64, help="bytes of a message of the echo and idle tables (64)")
    parser.add_argument("--connections", type=int, default=100, help="of the echo table (100)")
    parser.add_argument("--peers", help="a comma-separated choice of: " + ", ".join(peers.names()))
    parser.add_argument("--realtime", action="store_true", help="server and load under chrt -f 10 (needs the right to)")
    parser.add_argument("--no-pin", action="store_true", help="do not pin the server and the load to a core each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(words)
    if unknown := set(options.tables) - set(peers.TABLES):
        parser.error(f"no such table: {', '.join(sorted(unknown))}; there are {', '.join(peers.TABLES)}")
    if options.rounds < 1 or not 1 <= options.size <= 8192 or not 1 <= options.connections <= 10_000:
        parser.error("--rounds: 1 or more; --size: 1 to 8192 (one recv of the handlers); --connections: 1 to 10000")
    return options


def choose(wanted: str | None) -> list[str]:
    """The names of the peers that take part."""
    known = peers.names()
    if wanted is None:
        return known
    names = [name.strip() for name in wanted.split(",")]
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"no such peer: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def introduce_peers(table: str, names: list[str], told: set[str]) -> tuple[list[peers.Peer], dict[str, object]]:
    """Those of the table that are here, and what to record of all. `told` has the lines that were printed before."""
    here, out = peers.split([peer for peer in peers.TABLES[table] if peer.name in names])
    versions = {peer.name: peer.version() for peer in here}
    lines = [f"  {name}: {version}" for name, version in versions.items()]
    for line in lines + [f"  {name}: LEFT OUT, {reason}" for name, reason in out.items()]:
        if line not in told:
            print(line)
            told.add(line)
    return here, {"versions": versions, "left_out": out}


def raise_fd_limit() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def idle_counts(limit: int, *, quick: bool) -> list[int]:
    """10 and 1,000 connections, and the most of the usual numbers that the limit of descriptors allows."""
    sizes = [10, 1_000] if quick else [10, 1_000, 9_000, 10_000]
    fitting = [size for size in sizes if size + SPARE <= limit]
    return [size for size in fitting if size <= 1_000 or size == fitting[-1]]


def describe_machine() -> str:
    kernel = platform.uname()
    return (
        f"{kernel.system} {kernel.release} {kernel.machine}, {os.cpu_count()} cores, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def introduce(placement: Placement) -> dict[str, object]:
    load = os.getloadavg()[0]
    print(f"{describe_machine()}; {placement.describe()}; load average before the start {load:.2f}")
    if load > 0.5:
        print("The machine is not idle: trust the CPU times and the ratios, not the rates.")
    return {
        "machine": describe_machine(),
        "placement": placement.describe(),
        "load_average": load,
        "time": time.time(),
    }


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server in hand is stopped
    options = parse()
    limit = raise_fd_limit()
    counts = idle_counts(limit, quick=options.quick)
    placement = Placement(pin=not options.no_pin, realtime=options.realtime)
    plan = Plan(options.rounds, options.seconds, 0.5, placement)
    if options.quick:
        plan = Plan(1, 0.5, 0.2, placement)
    wanted = options.tables or list(peers.TABLES)
    try:
        for name in [name for table in wanted for name in PROGRAMS.get(table, [])]:
            program(name)
    except CompileError as error:
        sys.exit(str(error))
    names = choose(options.peers)
    record = introduce(placement)
    told: set[str] = set()
    here: dict[str, list[peers.Peer]] = {}
    record["peers"] = found = {}
    for table in wanted:
        here[table], found[table] = introduce_peers(table, names, told)
    print(flush=True)
    tables = {
        "echo": lambda: echo(here["echo"], plan, min(options.connections, limit - SPARE), options.size),
        "idle": lambda: idle(here["idle"], plan, counts, options.size),
        "tick": lambda: tick(here["tick"], plan, idle_counts(limit, quick=False)[-1]),
        "lines": lambda: lines(here["lines"], plan),
        "mail": lambda: mail(here["mail"], plan),
    }
    for table in wanted:
        text, record[table] = tables[table]()
        print(text, flush=True)
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")
        progress(f"wrote {options.json}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
