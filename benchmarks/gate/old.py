"""The gate of the old programs: what each costs on cyncore and on the old modules, side by side. See docs/gate.md.

python -m benchmarks old-gate
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.gate.clock import clock
from benchmarks.gate.command import FAILED, PASSED, UNABLE, WORKERS, Unable, progress, raise_limit
from benchmarks.gate.counters import MARK, CountError, Engine, missing, slope, summary
from benchmarks.gate.old_rows import ROWS, OldRow
from benchmarks.gate.rows import CALLS, INSTRUCTIONS
from benchmarks.run.compiler import CompileError
from benchmarks.run.peers import OLD, OURS
from benchmarks.run.text import render

# What differs from one run of the same program to the next: where Python's memory is, who had the lock of threads.
INCIDENTAL = {"futex", "brk", "mmap", "munmap", "mremap", "madvise"}
ORDERS = "descriptors of poll"
# What the kernel does is not counted, and is taken for so many instructions: little, since what costs most there (what
# is sent and received) is the same on both sides. A descriptor that poll is given is told to epoll once, by a call.
CALL, ORDER = 1000, 250
LEAST, LEAST_US = 2000.0, 20.0  # a difference below is none: threads, and what reading the clock adds
HEAD = ["program", "instr.", "asyncore", "calls", "asyncore", "given", "by asyncore", "waited us", "asyncore", ""]
FASTER, SLOWER = "", "SLOWER"


@dataclass(frozen=True)
class Asked:
    """What an event of a program costs."""

    instructions: float
    calls: dict[str, float]  # of the system, by name; and how many descriptors poll was given
    waited_us: float  # in which the loop waited, and nothing came

    def cost(self) -> float:
        """In instructions."""
        return self.instructions + sum((ORDER if name == ORDERS else CALL) * n for name, n in self.calls.items())

    def made(self) -> float:
        """System calls."""
        return sum(number for name, number in self.calls.items() if name != ORDERS)


def trace(text: str) -> list[Counter[str]]:
    """What was asked of the kernel in each window."""
    windows: list[Counter[str]] = []
    inside = False
    for line in text.splitlines():
        found = re.match(r"(?:\d+ +)?(\w+)\(", line)
        if not found or found[1] in INCIDENTAL:
            continue
        if found[1] == MARK:
            inside = not inside
            if inside:
                windows.append(Counter())
        elif inside:
            windows[-1][found[1]] += 1
            if given := re.match(r".*\], (\d+), -?\d+", line) if found[1] == "poll" else None:
                windows[-1][ORDERS] += int(given[1])
    return windows


def count_instructions(row: OldRow, family: str, engine: Engine, folder: Path) -> tuple[float, float]:
    """With the microseconds waited for nothing."""
    words = ["benchmarks.gate.old_windows", family, row.name]
    tool = ["valgrind", "--tool=callgrind", f"--dump-before={MARK}", f"--callgrind-out-file={folder / 'out'}"]
    said = json.loads(engine.run(words, tool))
    windows = [summary(folder / f"out.{2 * i + 2}") for i in range(len(said["turns"]))]
    events = (row.long - row.short) * row.events
    instructions, waited = (
        (statistics.median(one[3::2]) - statistics.median(one[2::2])) / events for one in (windows, said["waited"])
    )
    return instructions, 1e6 * waited


def count_calls(row: OldRow, family: str, engine: Engine, file: Path) -> dict[str, float]:
    words = ["benchmarks.gate.old_windows", family, row.name]
    turns = json.loads(engine.run(words, ["strace", "-f", "-qq", "-e", "signal=none", "-o", str(file)]))["turns"]
    windows = trace(file.read_text(errors="replace"))
    if len(windows) != len(turns):
        raise CountError(f"strace saw {len(windows)} windows of {len(turns)}")
    return slope(windows[2::2], windows[3::2], (row.long - row.short) * row.events, 1)


def count(row: OldRow, family: str, engine: Engine) -> Asked:
    """Raises CountError where it cannot be."""
    with tempfile.TemporaryDirectory() as folder:
        instructions, waited = count_instructions(row, family, engine, Path(folder))
        calls = count_calls(row, family, engine, Path(folder, "trace"))
    if row.maker == "idle":  # it waits for nothing: that is its work
        waited = 0.0
    return Asked(instructions, calls, waited)


@dataclass(frozen=True)
class Finding:
    """A program on both."""

    name: str
    ours: Asked
    old: Asked
    noise: float = 0.01  # a share of the cost

    def slower(self) -> list[str]:
        """In what cyncore is worse, as words; empty where it is not. A loop that waits for nothing is slow and idle."""
        ours, old = self.ours, self.old
        told = []
        if ours.cost() > old.cost() * (1 + self.noise) + LEAST:
            told.append(f"costs {ours.cost():,.0f} with the kernel's part, asyncore {old.cost():,.0f}")
        if ours.waited_us > old.waited_us + LEAST_US:
            told.append(f"waits {ours.waited_us:,.1f} us for nothing, asyncore {old.waited_us:,.1f}")
        return told

    def cells(self) -> list[str]:
        ours, old = self.ours, self.old
        return [
            self.name,
            f"{ours.instructions:,.0f}",
            f"{old.instructions:,.0f}",
            f"{ours.made():,.1f}",
            f"{old.made():,.1f}",
            f"{old.calls.get(ORDERS, 0):,.1f}",
            f"{ours.cost() / old.cost():.2f}" if old.cost() > LEAST else "-",
            f"{ours.waited_us:,.1f}",
            f"{old.waited_us:,.1f}",
            SLOWER if self.slower() else FASTER,
        ]

    def record(self) -> dict[str, object]:
        both = {OURS: asdict(self.ours), OLD: asdict(self.old)}
        return {"program": self.name, **both, "slower": self.slower()}


def calls_told(calls: dict[str, float]) -> str:
    return ", ".join(f"{name} {number:g}" for name, number in sorted(calls.items())) or "none"


def take(rows: Sequence[OldRow], engine: Engine) -> tuple[list[Finding], dict[str, str]]:
    """The findings, and of the rows that could not be counted the reason."""
    failures: dict[str, str] = {}

    def both(row: OldRow) -> Finding | None:
        try:
            found = Finding(row.name, count(row, OURS, engine), count(row, OLD, engine), row.noise)
        except CountError as error:
            failures[row.name] = str(error)
            progress(f"{row.name}: {error}")
            return None
        progress(f"{row.name}: {'; '.join(found.slower()) or 'not slower'}")
        return found

    with ThreadPoolExecutor(WORKERS) as pool:
        found = [one for one in pool.map(both, rows) if one is not None]
    return found, failures


def tell(findings: Sequence[Finding], failures: dict[str, str]) -> bool:
    """Prints all of it. Returns whether no program is slower."""
    title = "What one event of an old program costs, on cyncore and on the old modules with poll"
    print(render(title, HEAD, [one.cells() for one in findings]))
    for one in findings:
        if told := one.slower():
            print(f"SLOWER  {one.name}: {'; '.join(told)}")
            print(f"        cyncore: {calls_told(one.ours.calls)}; asyncore: {calls_told(one.old.calls)}")
    for name, why in failures.items():
        print(f"NOT COUNTED  {name}: {why}")
    failed = [one.name for one in findings if one.slower()] + list(failures)
    print(f"old programs: FAILED: {'; '.join(failed)}" if failed else "old programs: passed, none is slower")
    return not failed


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks old-gate", description="See docs/gate.md.")
    parser.add_argument("rows", nargs="*", metavar="TEXT", help="only programs with all these in their name (all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was counted there")
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> int:
    if reasons := [why for kind in (INSTRUCTIONS, CALLS) if (why := missing(kind))]:
        raise Unable("; ".join(reasons))
    rows = [row for row in ROWS if all(text in row.name for text in options.rows)]
    if not rows:
        raise Unable("no such program; there are: " + ", ".join(row.name for row in ROWS))
    raise_limit()
    findings, failures = take(rows, Engine(clock=clock()))
    passed = tell(findings, failures)
    if options.json:
        record = {"programs": [one.record() for one in findings], "failures": failures, "passed": passed}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return PASSED if passed else FAILED


def main(words: list[str]) -> int:
    """Returns the exit code: 0 where no program is slower, 1 where one is, 2 where it could not tell."""
    options = parse(words)
    try:
        return run(options)
    except (Unable, CompileError) as error:
        progress(f"old programs: {error}")
        return UNABLE
