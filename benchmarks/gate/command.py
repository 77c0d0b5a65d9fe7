"""`python -m benchmarks gate`: what an event costs, compared with what it cost before. docs/gate.md explains it."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.gate.baseline import BASELINE, Baseline
from benchmarks.gate.clock import clock
from benchmarks.gate.comparison import FAILING, Finding, compare, total
from benchmarks.gate.counters import Engine, missing
from benchmarks.gate.exit_codes import FAILED, PASSED, UNABLE, Unable
from benchmarks.gate.measurement import ENOUGH, Measured, take
from benchmarks.gate.ratios import measure
from benchmarks.gate.reference import Reference, choose
from benchmarks.gate.report import markdown, tell, tell_ratios, write
from benchmarks.gate.repository import RepositoryError
from benchmarks.gate.rows import BYTES, CALLS, INSTRUCTIONS, KINDS, ROWS, Row
from benchmarks.run.compiler import CompileError
from benchmarks.run.folders import ROOT
from benchmarks.run.machine import raise_fd_limit

SKIPS = {"instructions": INSTRUCTIONS, "calls": CALLS, "bytes": BYTES}


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gate", description="See docs/gate.md.")
    parser.add_argument("rows", nargs="*", metavar="TEXT", help="only rows with this in their name (all)")
    parser.add_argument("--update", action="store_true", help="take what is measured for the new baseline")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and findings there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, for a pull request")
    parser.add_argument("--against", metavar="REV", help="compare with this commit, built and measured here")
    parser.add_argument(
        "--base",
        metavar="REV",
        default=os.environ.get("CYNCORE_GATE_BASE") or None,
        help="compare with this commit where the baseline does not know this environment "
        "($CYNCORE_GATE_BASE, else HEAD, or HEAD^ where nothing is changed)",
    )
    parser.add_argument("--repository", type=Path, default=ROOT, metavar="FOLDER", help="the git checkout of commits")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave there what callgrind wrote")
    for name in SKIPS:
        parser.add_argument(f"--skip-{name}", action="store_true", help=f"do not count {name}")
    parser.add_argument("--skip-ratios", action="store_true", help="do not measure the ratios to raw C and uvloop")
    return parser.parse_args(words)


def update(now: Measured) -> int:
    """Makes these figures the baseline of their environment. Returns the exit code."""
    if now.failures:
        for title, why in now.failures.items():
            print(f"NOT COUNTED  {title}: {why}")
        return FAILED
    baseline = Baseline.read()
    others = [name for name in baseline.environments if name != now.environment.name()]
    baseline.renew(now.environment, now.figures)
    BASELINE.write_text(baseline.render())
    print(f"wrote {BASELINE.name}: {now.environment.name()}")
    for name in others:
        print(f"Not renewed, because it can only be measured there; if nobody will, remove it: {name}")
    return PASSED


def choose_rows(options: argparse.Namespace) -> list[Row]:
    """The rows that the command line asks for; none where it leaves the ratios alone.

    Raises Unable where one cannot be counted, and where nothing is left to measure.
    """
    kinds = choose_kinds(options)
    reasons = [f"{kind} cannot be counted: {why}" for kind in kinds if (why := missing(kind))]
    if reasons:
        raise Unable("; ".join(reasons) + "; --skip-... leaves a kind out")
    rows = [row for row in ROWS if row.kind in kinds and all(text in row.title() for text in options.rows)]
    if not rows and (kinds or options.rows or options.skip_ratios):
        raise Unable("no such row; there are: " + ", ".join(row.title() for row in ROWS))
    return rows


def choose_kinds(options: argparse.Namespace) -> list[str]:
    skipped = {kind for name, kind in SKIPS.items() if getattr(options, f"skip_{name}")}
    return [kind for kind in KINDS if kind not in skipped]


def run(options: argparse.Namespace) -> int:
    """Measures, compares and reports. Returns the exit code."""
    rows = choose_rows(options)
    limit = raise_fd_limit(ENOUGH)
    if not rows:
        if options.update or options.json or options.markdown:
            raise Unable("no row is counted, and the ratios alone are not written anywhere")
        return PASSED if tell_ratios(measure(limit)) else FAILED
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    engine = Engine(clock=clock())
    now = take(engine, rows, "this tree", options.keep)
    if options.update:
        return update(now)
    reference = choose(options, now, rows, engine)
    findings = judge(reference, now, options, rows)
    failing = {one.title() for one in findings if one.verdict in FAILING}
    if doubtful := [row for row in rows if row.title() in failing]:
        keep_the_lower(now, take(replace(engine, is_moved=True), doubtful, "this tree again", options.keep))
        findings = judge(reference, now, options, rows)
    ratios = [] if options.skip_ratios or options.rows else measure(limit)
    passed = tell(reference, findings, now.failures, ratios)
    if options.markdown:
        options.markdown.write_text(markdown(reference, findings, now.failures, passed))
    if options.json:
        write(options.json, now, reference, findings, ratios, passed)
    return PASSED if passed else FAILED


def judge(reference: Reference, now: Measured, options: argparse.Namespace, rows: list[Row]) -> list[Finding]:
    """The findings on the rows that were asked for."""
    findings = compare(reference.figures, now.figures, reference.bounds, choose_kinds(options))
    if not options.rows:
        return findings
    chosen = {row.title() for row in rows}
    return [one for one in findings if one.title() in chosen]


def keep_the_lower(now: Measured, again: Measured) -> None:
    """Puts the second count of a row in the place of the first one, where that was higher or failed.

    What a change costs is there in both. A table that grows within one window and not within another is in one only.
    So is what it costs that two names share a place in the interpreter's method cache, which goes by addresses.
    """
    for kind, rows in again.figures.items():
        figures = now.figures.setdefault(kind, {})
        for name, figure in rows.items():
            now.failures.pop(f"{kind}: {name}", None)
            if name not in figures or total(figure) < total(figures[name]):
                figures[name] = figure


def main(words: list[str]) -> int:
    """Runs the command with these words. Returns the exit code."""
    options = parse(words)
    try:
        return run(options)
    except (Unable, RepositoryError, CompileError, ValueError) as error:
        print(f"gate: {error}", file=sys.stderr)
        return UNABLE
