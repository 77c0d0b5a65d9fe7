"""`python -m benchmarks [TABLE ...]`, or `gate`, `old-gate`, `random-old`, `charts FILE`, `report FILE`: README.md."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.run.machine import raise_fd_limit
from benchmarks.run.markdown import renew, report
from benchmarks.run.placement import Placement
from benchmarks.run.plan import Plan
from benchmarks.run.progress import progress
from benchmarks.run.results import Results
from benchmarks.run.session import Session
from benchmarks.run.table import Table
from benchmarks.tables import (
    bulk,
    chat,
    connect,
    crowd,
    datagrams,
    echo,
    http,
    idle,
    lines,
    loops,
    mail,
    old,
    resp,
    start,
    thread,
    tick,
    timers,
    tls,
)

MODULES = (
    echo,
    crowd,
    idle,
    bulk,
    thread,
    lines,
    connect,
    timers,
    http,
    resp,
    start,
    tick,
    mail,
    old,
    chat,
    datagrams,
    tls,
    loops,
)
TABLES: list[Table] = [*(module.TABLE for module in MODULES), tls.HANDSHAKES, tls.MEMORY]

CHARTS = Path("docs/benchmarks")  # README.md and docs/performance.md show the charts there


def names() -> list[str]:
    """The name of every peer once, in the order of the tables."""
    return list(dict.fromkeys(peer.name for table in TABLES for peer in table.peers))


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError("must be above 0 and at most 600")
    return value


def parse(words: list[str] | None = None) -> argparse.Namespace:
    tables = [table.name for table in TABLES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(tables)} (all of them)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each server is measured (5)")
    parser.add_argument("--seconds", type=positive, default=1.0, help="length of a measured window (1)")
    parser.add_argument("--quick", action="store_true", help="one round of half a second, only to show that it works")
    parser.add_argument("--size", type=int, default=64, help="bytes of a message in the echo and idle tables (64)")
    parser.add_argument("--connections", type=int, default=100, help="connections of the echo table (100)")
    parser.add_argument("--peers", help="only these, separated by commas: " + ", ".join(names()))
    parser.add_argument("--realtime", action="store_true", help="server and load under chrt -f 10 (needs the right to)")
    parser.add_argument("--no-pin", action="store_true", help="do not pin the server and the load to a core each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples to this file")
    parser.add_argument("--charts", type=Path, metavar="FOLDER", help="draw the charts there (needs matplotlib)")
    options = parser.parse_args(words)
    if unknown := set(options.tables) - set(tables):
        parser.error(f"no such table: {', '.join(sorted(unknown))}; there are {', '.join(tables)}")
    if options.rounds < 1 or not 1 <= options.size <= 8192 or not 1 <= options.connections <= 10_000:
        parser.error("--rounds: 1 or more; --size: 1 to 8192, one recv of the handlers; --connections: 1 to 10000")
    options.peers = choose(parser, options.peers)
    return options


def choose(parser: argparse.ArgumentParser, wanted: str | None) -> list[str]:
    """The names of the peers that may take part."""
    known = names()
    if wanted is None:
        return known
    chosen = [name.strip() for name in wanted.split(",")]
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(known)}")
    return chosen


def measure(words: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the running server is stopped
    options = parse(words)
    if options.charts:
        importlib.import_module("benchmarks.run.charts")  # better missed now than after an hour of measuring
    placement = Placement(pin=not options.no_pin, realtime=options.realtime)
    wanted = [table for table in TABLES if not options.tables or table.name in options.tables]
    results, status = Session(wanted, options.peers, plan(options, placement)).run(options.json)
    if options.json:
        progress(f"wrote {options.json}")
    if options.charts:
        draw(results, options.charts)
    return status


def plan(options: argparse.Namespace, placement: Placement) -> Plan:
    """The plan that these options describe."""
    rounds, seconds, warmup = (1, 0.5, 0.2) if options.quick else (options.rounds, options.seconds, 0.5)
    limit = raise_fd_limit()
    return Plan(rounds, seconds, warmup, placement, limit, options.quick, options.size, options.connections)


def draw(results: Results, folder: Path) -> None:
    from benchmarks.run.charts import draw  # here, because a run needs no matplotlib

    for path in draw(results, folder):
        progress(f"wrote {path}")


def read(parser: argparse.ArgumentParser, file: Path) -> Results:
    try:
        return Results.read(file)
    except (OSError, ValueError) as error:
        parser.error(str(error))


def draw_file(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks charts", description="Draws charts as PNG and SVG.")
    parser.add_argument("file", type=Path, metavar="FILE", help="results that --json wrote")
    parser.add_argument("folder", type=Path, nargs="?", default=CHARTS, metavar="FOLDER", help=f"({CHARTS})")
    options = parser.parse_args(words)
    draw(read(parser, options.file), options.folder)
    return 0


def report_file(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description="Prints results as Markdown.")
    parser.add_argument("file", type=Path, metavar="FILE", help="results that --json wrote")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="write them between the marks of this page")
    options = parser.parse_args(words)
    text = report(read(parser, options.file))
    try:
        if options.into:
            renew(options.into, text)
        else:
            print(text)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return 0


def gate(words: list[str]) -> int:
    from benchmarks.gate.command import main  # here, because the tables need nothing of it

    status: int = main(words)
    return status


def old_gate(words: list[str]) -> int:
    from benchmarks.gate.old.command import main

    status: int = main(words)
    return status


def random_old(words: list[str]) -> int:
    from benchmarks.random_old.command import main

    status: int = main(words)
    return status


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "charts": draw_file,
    "gate": gate,
    "old-gate": old_gate,
    "random-old": random_old,
    "report": report_file,
}


def main(words: list[str]) -> int:
    command = COMMANDS.get(words[0]) if words else None
    return command(words[1:]) if command else measure(words)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
