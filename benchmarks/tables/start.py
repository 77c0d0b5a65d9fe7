"""The start table: how long a library takes to import, and how large the wheel is.

CYNCORE_WHEEL in the environment names the wheel; without it, the newest one for this Python in wheelhouse/ is taken.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

from benchmarks.run.errors import MeasurementError
from benchmarks.run.figures import Figures, Rounds, median, quiet, ratio, spread
from benchmarks.run.folders import ROOT
from benchmarks.run.peers import OURS, UVLOOP, Peer
from benchmarks.run.placement import SERVER, Placement
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure
from benchmarks.run.table import Table
from benchmarks.run.target import Reached, Target, conclude
from benchmarks.run.text import number, percent, render

HEAD = ["import", "ms", "spread", "CPU ms", "by cyncore", "modules", "taken"]
STARTS = 10  # of each program in a round
QUICK = 3
STATEMENTS = {
    OURS: "import cyncore",
    "cyncore.asyncore": "import cyncore.asyncore",
    "cyncore.smtpd": "import cyncore.smtpd",
    UVLOOP: "import asyncio, uvloop",
    "asyncio": "import asyncio",
    "asyncore": "import warnings; warnings.simplefilter('ignore'); import asyncore",
    "socket": "import socket",
}
PEERS = [
    Peer(OURS, "cyncore", "cyncore"),
    Peer("cyncore.asyncore", "cyncore.asyncore", "cyncore"),
    Peer("cyncore.smtpd", "cyncore.smtpd", "cyncore"),
    Peer(UVLOOP, "uvloop", "uvloop"),
    Peer("asyncio", "asyncio"),
    Peer("asyncore", "asyncore", "pyasyncore"),
    Peer("socket", "socket"),  # every program that uses any of the others needs it
]
BARE = "pass"
COUNT = "import sys; print(len(sys.modules))"
IMPORT = Target("import cyncore, ms more than the bare interpreter", 25, at_least=False)
WHEEL = Target("the wheel, kB", 1200, at_least=False)


def start(program: str, placement: Placement) -> tuple[float, float]:
    """Runs Python with that program. Returns the elapsed and the CPU milliseconds. Raises MeasurementError."""
    # Bytecode is kept between starts, as that of an installed package is.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    command = [*placement.prefix(SERVER), sys.executable, "-c", program]
    began = time.perf_counter()
    child = os.posix_spawnp(command[0], command, environment)
    _, status, usage = os.wait4(child, 0)
    elapsed = time.perf_counter() - began
    if status:
        raise MeasurementError(f"{program!r} failed")
    return 1e3 * elapsed, 1e3 * (usage.ru_utime + usage.ru_stime)


def modules(program: str) -> int:
    """How many modules are loaded after that program. Raises MeasurementError."""
    reader, writer = os.pipe()
    with open(reader) as answer:
        command = [sys.executable, "-c", f"{program}\n{COUNT}"]
        child = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
        os.close(writer)
        words = answer.read().split()
    os.waitpid(child, 0)
    if not words:
        raise MeasurementError(f"{program!r} failed")
    return int(words[-1])


def compare(program: str, starts: int, placement: Placement) -> Figures:
    """What the program costs beyond the bare interpreter. The two are started in turn."""
    start(program, placement)  # the first start reads from the disk, and may write bytecode
    pairs = [(start(BARE, placement), start(program, placement)) for _ in range(starts)]
    return {
        "ms": statistics.median(with_it[0] - bare[0] for bare, with_it in pairs),
        "cpu_ms": statistics.median(with_it[1] - bare[1] for bare, with_it in pairs),
        "bare_ms": statistics.median(bare[0] for bare, _ in pairs),
        "modules": modules(program) - modules(BARE),
        "taken": statistics.median(max(0.0, 1 - with_it[1] / with_it[0]) for _, with_it in pairs),
    }


def wheel() -> Path | None:
    """The wheel that CYNCORE_WHEEL names, or the newest one for this Python."""
    named = os.environ.get("CYNCORE_WHEEL")
    if named:
        return Path(named) if Path(named).is_file() else None
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    found = (ROOT / "wheelhouse").glob(f"cyncore-*-{version}-{version}-*.whl")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def row(name: str, taken: dict[str, Rounds], failures: dict[str, str]) -> list[str]:
    rounds = taken.get(name)
    if rounds is None:
        return [name, failures.get(name, "not run")]
    return [
        STATEMENTS[name].rpartition("; ")[2],
        number(median(rounds, "ms"), 1),
        percent(spread(rounds, "ms")),
        number(median(rounds, "cpu_ms"), 1),
        number(ratio(rounds, taken.get(OURS), "ms"), 2),
        number(median(rounds, "modules")),
        percent(median(rounds, "taken")),
    ]


def begin(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    starts = QUICK if plan.quick else STARTS

    def take(name: str) -> Figures:
        return compare(STATEMENTS[name], starts, plan.placement)

    def tell(name: str, figures: Figures | None) -> str:
        return f"start, {name}" + (f": {figures['ms']:.1f} ms" if figures else "")

    taken, failures = measure([peer.name for peer in peers], plan, take, tell)
    title = f"Import time beyond that of the bare interpreter, medians, {plan.rounds} rounds of {starts} starts"
    text = render(title, HEAD, [row(peer.name, taken, failures) for peer in peers])
    ours, file = taken.get(OURS), wheel()
    bare = f"The bare interpreter: {number(median(ours, 'bare_ms'), 1)} ms" if ours else ""
    measured = f"The wheel: {file.name}" if file else ""
    reached: list[Reached] = [
        (IMPORT, median(ours, "ms"), quiet(ours)),
        (WHEEL, file.stat().st_size / 1e3 if file else None, True),
    ]
    series = [{"peer": name, "samples": rounds} for name, rounds in taken.items()]
    lines = "\n".join(filter(None, [text, bare, measured]))
    return conclude(lines, reached, series=series, failures=failures, wheel=file.name if file else None)


TABLE = Table("start", peers=PEERS, run=begin, window=1.5)
