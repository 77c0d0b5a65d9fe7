"""The start table: how long a library takes to import, and how large the wheel is.

CYNCORE_WHEEL in the environment names the wheel; without it, the newest one for this Python in wheelhouse/ is taken.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

from benchmarks.run.load import ROOT, Placement, SampleError
from benchmarks.run.peers import OURS, UVLOOP, Peer
from benchmarks.run.rounds import QUIET, Plan
from benchmarks.run.table import Table, number, render
from benchmarks.run.target import Target
from benchmarks.run.worker import Figures, Rounds, against, median, spread, work_rounds

HEAD = ["import", "ms", "spread", "CPU ms", "by cyncore", "modules", "taken"]
STARTS = 10  # of one program in a round
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
    Peer("socket", "socket"),  # what no program that uses any of them can do without
]
BARE = "pass"
COUNT = "import sys; print(len(sys.modules))"
IMPORT = Target("import cyncore, ms more than the bare interpreter", 25, at_least=False)
WHEEL = Target("the wheel, kB", 1200, at_least=False)


def start(program: str, placement: Placement) -> tuple[float, float]:
    """Runs a Python with it. Milliseconds: elapsed, and of CPU. Raises SampleError where it fails."""
    # Bytecode is kept between starts, as that of an installed package is.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    command = [*placement.prefix(0), sys.executable, "-c", program]
    began = time.perf_counter()
    child = os.posix_spawnp(command[0], command, environment)
    _, status, usage = os.wait4(child, 0)
    elapsed = time.perf_counter() - began
    if status:
        raise SampleError(f"{program!r} failed")
    return 1e3 * elapsed, 1e3 * (usage.ru_utime + usage.ru_stime)


def modules(program: str) -> int:
    """How many modules it leaves loaded."""
    reader, writer = os.pipe()
    with open(reader) as answer:
        command = [sys.executable, "-c", f"{program}\n{COUNT}"]
        child = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
        os.close(writer)
        words = answer.read().split()
    os.waitpid(child, 0)
    if not words:
        raise SampleError(f"{program!r} failed")
    return int(words[-1])


def compare(program: str, starts: int, placement: Placement) -> Figures:
    """What it takes beyond the bare interpreter, each started in turn with it."""
    start(program, placement)  # the first one reads from the disk, and may write bytecode
    pairs = [(start(BARE, placement), start(program, placement)) for _ in range(starts)]
    return {
        "ms": statistics.median(with_it[0] - bare[0] for bare, with_it in pairs),
        "cpu_ms": statistics.median(with_it[1] - bare[1] for bare, with_it in pairs),
        "bare_ms": statistics.median(bare[0] for bare, _ in pairs),
        "modules": modules(program) - modules(BARE),
        "taken": statistics.median(max(0.0, 1 - with_it[1] / with_it[0]) for _, with_it in pairs),
    }


def wheel() -> Path | None:
    """The one that was named, or the newest for this Python that is there."""
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
        number(100 * (spread(rounds, "ms") or 0.0)) + " %",
        number(median(rounds, "cpu_ms"), 1),
        number(against(rounds, taken.get(OURS), "ms"), 2),
        number(median(rounds, "modules")),
        number(100 * (median(rounds, "taken") or 0.0)) + " %",
    ]


def begin(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """The table as text, and what it was made of."""
    starts = QUICK if plan.quick else STARTS

    def take(name: str) -> Figures:
        return compare(STATEMENTS[name], starts, plan.placement)

    def tell(name: str, figures: Figures | None) -> str:
        return f"start, {name}" + (f": {figures['ms']:.1f} ms" if figures else "")

    taken, failures = work_rounds([peer.name for peer in peers], plan, take, tell)
    title = f"Import time beyond that of the bare interpreter, medians, {plan.rounds} rounds of {starts} starts"
    text = render(title, HEAD, [row(peer.name, taken, failures) for peer in peers])
    ours, file = taken.get(OURS), wheel()
    quiet = (median(ours, "taken") or 0.0) <= QUIET
    size = file.stat().st_size / 1e3 if file else None
    bare = [f"The bare interpreter: {number(median(ours, 'bare_ms'), 1)} ms"] if ours else []
    measured = [f"The wheel: {file.name}"] if file else []
    verdicts = [IMPORT.judge(median(ours, "ms"), quiet=quiet), WHEEL.judge(size)]
    record: dict[str, object] = {
        "series": [{"peer": name, "samples": rounds} for name, rounds in taken.items()],
        "failures": failures,
        "wheel": file.name if file else None,
        "targets": [IMPORT.record(median(ours, "ms"), quiet=quiet), WHEEL.record(size)],
    }
    return "\n".join([text, *bare, *measured, *verdicts]) + "\n", record


TABLE = Table("start", peers=PEERS, run=begin, window=1.5)
