"""`python -m benchmarks random-old`: random old programs, on cyncore and on the old modules. See docs/gate.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gate.exit_codes import FAILED, PASSED, UNABLE, Unable
from benchmarks.random_old.finding import HEAD, Finding
from benchmarks.random_old.sample import Way, take
from benchmarks.random_old.sides import find
from benchmarks.run.machine import raise_fd_limit
from benchmarks.run.peers import OLD, OURS
from benchmarks.run.placement import Placement
from benchmarks.run.progress import progress
from benchmarks.workers.random_old.traits import draw, parse_fixed

ENOUGH = 1024  # descriptors, for the most idle channels; select() takes no more


def judge(seed: int, way: Way, rounds: int) -> Finding:
    """Runs the program of this seed on both sides, in turns. Only one that is worse has more than one round."""
    finding = Finding(seed, draw(seed, way.fixed))
    samples = {OURS: finding.ours, OLD: finding.old}
    for turn in range(rounds):
        for side in (OLD, OURS) if turn % 2 == 0 else (OURS, OLD):
            samples[side].append(take(side, seed, way))
        if not finding.worse():
            break
    return finding


def show(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Prints the line of each as soon as it is there."""
    print(HEAD, flush=True)
    for finding in findings:
        print(finding.line(), flush=True)
        yield finding


def summarize(findings: Sequence[Finding]) -> bool:
    """Prints the summary. Returns whether nothing is worse on cyncore."""
    print()
    for name, chosen in (
        ("different", [one for one in findings if one.different()]),
        ("slower", [one for one in findings if one.slower() and not one.different()]),
        ("not judged", [one for one in findings if one.unjudged()]),
    ):
        if chosen:
            told = "; ".join(f"{one.seed} ({one.worse() or one.unjudged()})" for one in chosen)
            print(f"{len(chosen)} of {len(findings)} {name}: {told}")
    failed = sum(bool(one.worse()) for one in findings)
    print(f"random old programs: {f'FAILED, {failed} of {len(findings)}' if failed else 'passed, none is slower'}")
    return not failed


def parse_seeds(text: str) -> range:
    first, _, last = text.partition("-")
    try:
        seeds = range(int(first), int(last or first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a seed or a range of seeds, as 100-159, and not {text}") from None
    if not seeds:
        raise argparse.ArgumentTypeError(f"no seeds: {text}")
    return seeds


def parse_trait(text: str) -> tuple[str, Any]:
    try:
        return parse_fixed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks random-old", description="See docs/gate.md.")
    parser.add_argument("--seeds", type=parse_seeds, default="0-19", metavar="A-B", help="of the programs (0-19)")
    parser.add_argument("--rounds", type=int, default=3, help="of a program that is worse in the first one (3)")
    parser.add_argument("--seconds", type=float, default=0.6, help="in which the clients talk, in each round (0.6)")
    parser.add_argument("--trait", type=parse_trait, action="append", metavar="NAME=VALUE", help="of all programs")
    parser.add_argument("--python", default=sys.executable, metavar="FILE", help="runs the programs (this Python)")
    parser.add_argument("--pin", action="store_true", help="pin the program and its clients to a core each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples to this file")
    options = parser.parse_args(words)
    if options.rounds < 1 or not 0 < options.seconds <= 600:
        parser.error("--rounds: 1 or more; --seconds: above 0 and at most 600")
    return options


def run(options: argparse.Namespace) -> int:
    """Runs every program, and reports. Returns the exit code."""
    progress(find(options.python))
    raise_fd_limit(ENOUGH)
    way = Way(options.python, options.seconds, Placement(pin=options.pin), dict(options.trait or []))
    findings = list(show(judge(seed, way, options.rounds) for seed in options.seeds))
    passed = summarize(findings)
    if options.json:
        record = {"programs": [one.record() for one in findings], "passed": passed}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return PASSED if passed else FAILED


def main(words: list[str]) -> int:
    """Runs the command with these words. Returns the exit code."""
    options = parse(words)
    try:
        return run(options)
    except Unable as error:
        progress(f"random old programs: {error}")
        return UNABLE
