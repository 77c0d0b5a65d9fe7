"""`python -m benchmarks old-gate`: what old programs cost, beside the old modules. docs/gate.md explains it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.gate.clock import clock
from benchmarks.gate.counters import CountError, Engine, missing
from benchmarks.gate.exit_codes import FAILED, PASSED, UNABLE, Unable
from benchmarks.gate.measurement import ENOUGH, WORKERS
from benchmarks.gate.old.cost import count
from benchmarks.gate.old.finding import HEAD, SLOWER, Finding
from benchmarks.gate.old.rows import ROWS, OldRow
from benchmarks.gate.rows import CALLS, INSTRUCTIONS
from benchmarks.run.compiler import CompileError
from benchmarks.run.machine import raise_fd_limit
from benchmarks.run.peers import OLD, OURS
from benchmarks.run.progress import progress
from benchmarks.run.text import render


def calls_told(calls: dict[str, float]) -> str:
    return ", ".join(f"{name} {number:g}" for name, number in sorted(calls.items())) or "none"


def finding(row: OldRow, engine: Engine) -> Finding:
    """Counts a program on both. Raises CountError."""
    return Finding(row.name, count(row, OURS, engine), count(row, OLD, engine), row.noise)


def take(rows: Sequence[OldRow], engine: Engine) -> tuple[list[Finding], dict[str, str]]:
    """Counts every program on both. Returns the findings, and the reason for each row that could not be counted."""
    failures: dict[str, str] = {}

    def both(row: OldRow) -> Finding | None:
        try:
            found = finding(row, engine)
            if found.slower():  # by chance, perhaps, on a busy machine
                again = finding(row, engine)
                found = found if again.slower() else again
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
    """Prints the table, the slower programs and the verdict. Returns whether no program is slower."""
    title = "What one event of an old program costs, on cyncore and on the old modules with poll"
    print(render(title, HEAD, [one.cells() for one in findings]))
    for one in findings:
        if told := one.slower():
            print(f"{SLOWER}  {one.name}: {'; '.join(told)}")
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
    """Counts, compares and reports. Returns the exit code."""
    if reasons := [why for kind in (INSTRUCTIONS, CALLS) if (why := missing(kind))]:
        raise Unable("; ".join(reasons))
    rows = [row for row in ROWS if all(text in row.name for text in options.rows)]
    if not rows:
        raise Unable("no such program; there are: " + ", ".join(row.name for row in ROWS))
    raise_fd_limit(ENOUGH)
    findings, failures = take(rows, Engine(clock=clock()))
    passed = tell(findings, failures)
    if options.json:
        record = {"programs": [one.record() for one in findings], "failures": failures, "passed": passed}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return PASSED if passed else FAILED


def main(words: list[str]) -> int:
    """Runs the command with these words. Returns the exit code."""
    options = parse(words)
    try:
        return run(options)
    except (Unable, CompileError) as error:
        progress(f"old programs: {error}")
        return UNABLE
