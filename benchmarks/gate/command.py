"""The command: measure, compare, tell."""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gate import comparison
from benchmarks.gate.clock import clock
from benchmarks.gate.comparison import Bounds, Finding, compare, show
from benchmarks.gate.counters import CountError, Engine, count, missing
from benchmarks.gate.environment import Environment
from benchmarks.gate.figures import BASELINE, Baseline, Figures
from benchmarks.gate.ratios import Ratio, measure
from benchmarks.gate.reference import ROOT, ReferenceError, Repository
from benchmarks.gate.rows import BYTES, CALLS, INSTRUCTIONS, KINDS, ROWS, Row
from benchmarks.run.compiler import CompileError
from benchmarks.run.text import render

ENOUGH = 20_200  # descriptors
WORKERS = 2  # rows at a time: callgrind has one thread
PASSED, FAILED, UNABLE = 0, 1, 2
OWN = "the baseline"
SKIPS = {"instructions": INSTRUCTIONS, "calls": CALLS, "bytes": BYTES}


class Unable(Exception):
    """The gate cannot do its work here; the text says why."""


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gate", description="See docs/gate.md.")
    parser.add_argument("rows", nargs="*", metavar="TEXT", help="only rows with this in their name (all)")
    parser.add_argument("--update", action="store_true", help="take what is measured for the new baseline")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and findings there")
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


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class Measured:
    environment: Environment
    figures: Figures = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)  # by the title of the row


def take(engine: Engine, rows: Sequence[Row], what: str, keep: Path | None = None) -> Measured:
    """Measures the rows, two at a time."""
    try:
        measured = Measured(Environment(**json.loads(engine.run(["benchmarks.gate.environment"]))))
    except CountError as error:
        raise Unable(f"{what} is no compiled cyncore: {error}") from error
    progress(f"{what}: {len(rows)} rows, in {measured.environment.name()}")

    def one(row: Row) -> None:
        try:
            figure = count(row, engine, keep)
            measured.figures.setdefault(row.kind, {})[row.name] = figure
            told = show(figure)
        except CountError as error:
            measured.failures[row.title()] = told = str(error)
        done = len(measured.failures) + sum(len(rows) for rows in measured.figures.values())
        progress(f"{what}, {done}/{len(rows)}, {row.title()}: {told}")

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, rows))
    return measured


@dataclass(frozen=True)
class Reference:
    """What to compare with."""

    what: str
    figures: Figures
    bounds: Bounds
    strict: bool = True
    failures: dict[str, str] = field(default_factory=dict)  # rows that could not be counted, by their titles


def choose(options: argparse.Namespace, now: Measured, rows: Sequence[Row], engine: Engine) -> Reference:
    """The baseline where it knows this environment, else the commit before, else the nearest that the baseline has."""
    baseline = Baseline.read()
    known = baseline.environments.get(now.environment.name())
    if options.against:
        return build(options.repository, options.against, now, rows, engine, Baseline())
    if known:
        return Reference(OWN, known.figures, comparison.STRICT)
    progress(f"the baseline does not know this environment: {now.environment.name()}")
    try:
        return build(options.repository, base(options), now, rows, engine, baseline)
    except ReferenceError as error:
        progress(f"there is no commit to compare with: {error}")
    nearest = baseline.nearest(now.environment)
    if nearest is None:
        raise Unable("there is no baseline: run `python -m benchmarks gate --update`")
    name, known = nearest
    same = known.likeness(now.environment) == 3
    bounds = comparison.SAME_PYTHON if same else comparison.OTHER_PYTHON
    return Reference(f"the baseline of another environment, {name}", known.figures, bounds, strict=False)


def base(options: argparse.Namespace) -> str:
    """The commit to compare with where nobody has asked for one."""
    repository = Repository(options.repository)
    if options.base:
        try:
            return repository.commit(options.base)
        except ReferenceError:  # a branch's first push has no commit before it
            progress(f"there is no commit {options.base}")
    return repository.base()


def build(folder: Path, name: str, now: Measured, rows: Sequence[Row], engine: Engine, baseline: Baseline) -> Reference:
    """An earlier commit, measured here, with what `baseline` allows over that of the commit."""
    repository = Repository(folder)
    commit = repository.commit(name)
    what = f"commit {commit[:12]}"
    progress(f"building {what}")
    with tempfile.TemporaryDirectory() as temporary:
        site = repository.build(commit, Path(temporary))
        before = take(Engine(site, engine.clock), rows, what)
    if not before.figures:
        raise ReferenceError(f"no row of {what} could be counted")
    if before.environment.build != now.environment.build:
        raise Unable(
            f"{what} was built by {before.environment.build}, and what is measured by {now.environment.build}: "
            "install this tree here (python -m pip install .)"
        )
    old, figures = repository.baseline(commit), before.figures
    for environment in sorted(old.environments.keys() & baseline.environments.keys()):
        pair = old.environments[environment].figures, baseline.environments[environment].figures
        if pair[0] != pair[1]:
            progress(f"what the baseline of {environment} allows more is allowed here")
            figures = comparison.allow(figures, *pair)
            break
    return Reference(what, figures, comparison.STRICT, failures=before.failures)


def table(findings: Sequence[Finding]) -> str:
    head = ["row", "was", "now", "change", ""]
    rows = []
    for one in findings:
        change = one.change()
        percent = f"{100 * change:+.1f} %" if change is not None else "-"
        rows.append([one.title(), show(one.was), show(one.now), percent, one.verdict])
    return render("What one event costs", head, rows)


def tell(reference: Reference, findings: Sequence[Finding], failures: dict[str, str], ratios: Sequence[Ratio]) -> bool:
    """Prints all of it. Returns whether the gate is passed."""
    bounds = ", ".join(f"{kind} {100 * reference.bounds[kind]:+.0f} %" for kind in KINDS)
    print(table(findings))
    print(f"Compared with {reference.what}; allowed: {bounds}.")
    if not reference.strict:
        print("NOT STRICT: only a large difference is seen here. `gate --against REV` in a git checkout is strict.")
    for one in findings:
        if one.verdict != comparison.SAME and one.title() not in failures:
            print(one.text())
    for title, why in failures.items():
        print(f"NOT COUNTED  {title}: {why}")
    for title, why in reference.failures.items():
        print(f"NOT COMPARED  {title}: not counted in {reference.what}: {why}")
    for ratio in ratios:
        print(ratio.text())
    verdicts = {one.verdict for one in findings}
    if verdicts & {comparison.BETTER, comparison.CHANGED, comparison.NEW} and reference.what == OWN:
        print("`python -m benchmarks gate --update` makes the better, changed and new figures the baseline.")
    failed = [one.title() for one in findings if one.verdict in comparison.FAILING]
    failed += [title for title in failures if title not in failed]
    failed += [ratio.what for ratio in ratios if ratio.failed()]
    print(f"gate: FAILED: {'; '.join(failed)}" if failed else "gate: passed")
    return not failed


def update(now: Measured) -> int:
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


def run(options: argparse.Namespace) -> int:
    skipped = {kind for name, kind in SKIPS.items() if getattr(options, f"skip_{name}")}
    kinds = [kind for kind in KINDS if kind not in skipped]
    reasons = [f"{kind} cannot be counted: {why}" for kind in kinds if (why := missing(kind))]
    if reasons:
        raise Unable("; ".join(reasons) + "; --skip-... leaves a kind out")
    rows = [row for row in ROWS if row.kind in kinds and all(text in row.title() for text in options.rows)]
    if not rows:
        raise Unable("no such row; there are: " + ", ".join(row.title() for row in ROWS))
    limit = raise_limit()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    engine = Engine(clock=clock())
    now = take(engine, rows, "this tree", options.keep)
    if options.update:
        return update(now)
    reference = choose(options, now, rows, engine)
    findings = compare(reference.figures, now.figures, reference.bounds, kinds)
    chosen = {row.title() for row in rows}
    findings = [one for one in findings if one.title() in chosen or not options.rows]
    ratios = [] if options.skip_ratios or options.rows else measure(limit)
    passed = tell(reference, findings, now.failures, ratios)
    if options.json:
        write(options.json, now, reference, findings, ratios, passed)
    return PASSED if passed else FAILED


def raise_limit() -> int:
    """So many descriptors as the rows need, or as we may have; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(ENOUGH, hard)
    if soft == resource.RLIM_INFINITY or soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def write(
    file: Path,
    now: Measured,
    reference: Reference,
    findings: Sequence[Finding],
    ratios: Sequence[Ratio],
    passed: bool,
) -> None:
    record = {
        "environment": now.environment.name(),
        "reference": reference.what,
        "strict": reference.strict,
        "figures": now.figures,
        "failures": now.failures,
        "findings": [one.record() for one in findings],
        "ratios": [one.record() for one in ratios],
        "passed": passed,
    }
    file.write_text(json.dumps(record, indent=1) + "\n")


def main(words: list[str]) -> int:
    options = parse(words)
    try:
        return run(options)
    except (Unable, ReferenceError, CompileError, ValueError) as error:
        print(f"gate: {error}", file=sys.stderr)
        return UNABLE
