"""Counters: the tools that count what a worker does between its marks, and what the counts come to."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gate.figures import Figure
from benchmarks.gate.rows import BYTES, CALLS, INSTRUCTIONS, Row

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240.0  # seconds of a row
TOOLS = {INSTRUCTIONS: "valgrind", CALLS: "strace"}
MARK = "getppid"


class CountError(Exception):
    """No figure; the text says why."""


@dataclass(frozen=True)
class Engine:
    """The cyncore that is measured."""

    path: Path | None = None  # to be found before what is installed
    clock: Path | None = None  # to be preloaded

    def environment(self) -> dict[str, str]:
        """Nothing of ours that is not needed: it would move what is in memory about."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV") if key in os.environ}
        path = str(self.path) if self.path else os.environ.get("PYTHONPATH", "")
        ours = {"PYTHONPATH": path, "LD_PRELOAD": str(self.clock or "")}
        given = {name: value for name, value in ours.items() if value}
        return {**kept, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", **given}

    def run(self, words: list[str], before: list[str] | None = None) -> str:
        """What a module of ours prints, under the tool `before`. CountError where it fails."""
        command = [*(before or []), sys.executable, "-m", *words]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=self.environment(), capture_output=True, text=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            raise CountError(f"did not end within {PATIENCE:.0f} s") from None
        except OSError as error:
            raise CountError(f"{command[0]}: {error.strerror}") from error
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("==")]
            raise CountError(said[-1] if said else f"ended with {done.returncode}: {done.stderr[-300:]}")
        return done.stdout


def missing(kind: str) -> str | None:
    """Why this kind cannot be counted here, or None."""
    tool = TOOLS.get(kind)
    if tool is None:
        return None
    if shutil.which(tool) is None:
        return f"{tool} is not installed (apt install {tool})"
    trial = (
        [tool, "true"] if tool == "strace" else [tool, "--tool=callgrind", f"--callgrind-out-file={os.devnull}", "true"]
    )
    done = subprocess.run(trial, capture_output=True, text=True, check=False)
    return f"{tool} does not work here: {done.stderr.strip()[-200:]}" if done.returncode else None


def count(row: Row, engine: Engine, keep: Path | None = None) -> Figure:
    """The row's figure. `keep`: a folder that gets what callgrind wrote. CountError where there is none."""
    words = ["benchmarks.gate.workloads", row.kind, row.name]
    if row.kind == BYTES:
        return float(json.loads(engine.run(words))["bytes"])
    with tempfile.TemporaryDirectory() as folder:
        if row.kind == CALLS:
            return calls(row, engine, words, Path(folder, "trace"))
        return instructions(row, engine, words, keep or Path(folder))


def instructions(row: Row, engine: Engine, words: list[str], folder: Path) -> float:
    """Medians: Python rehashes or gives memory back in a window here and there."""
    name = re.sub(r"\W+", "-", row.name)
    tool = ["valgrind", "--tool=callgrind", f"--dump-before={MARK}", f"--callgrind-out-file={folder / name}"]
    turns = json.loads(engine.run(words, tool))["turns"]
    windows = [summary(folder / f"{name}.{2 * i + 2}") for i in range(len(turns))]
    short, long = windows[2::2], windows[3::2]
    return (statistics.median(long) - statistics.median(short)) / ((row.long - row.short) * row.events)


def summary(file: Path) -> int:
    """The instructions of one dump of callgrind: those since the mark before."""
    try:
        found = re.search(r"^summary: (\d+)", file.read_text(errors="replace"), re.MULTILINE)
    except OSError as error:
        raise CountError(f"callgrind did not see the mark ({MARK}): no {file.name}") from error
    if not found:
        raise CountError(f"callgrind wrote no summary into {file.name}")
    return int(found[1])


def calls(row: Row, engine: Engine, words: list[str], trace: Path) -> dict[str, float]:
    """The least of all windows, by name: Python asks for memory in a window here and there."""
    turns = json.loads(engine.run(words, ["strace", "-f", "-qq", "-e", "signal=none", "-o", str(trace)]))["turns"]
    windows = traced(trace.read_text(errors="replace"))
    if len(windows) != len(turns):
        raise CountError(f"strace saw {len(windows)} windows of {len(turns)}")
    return slope(windows[2::2], windows[3::2], row.long - row.short, row.unit)


def traced(text: str) -> list[Counter[str]]:
    """What was called in each window of a trace."""
    windows: list[Counter[str]] = []
    inside = False
    for line in text.splitlines():
        found = re.match(r"(?:\d+ +)?(\w+)\(", line)
        if not found:
            continue  # the second half of a call
        if found[1] == MARK:
            inside = not inside
            if inside:
                windows.append(Counter())
        elif inside:
            windows[-1][found[1]] += 1
    return windows


def slope(short: list[Counter[str]], long: list[Counter[str]], turns: int, unit: int) -> dict[str, float]:
    """Calls for `unit` turns, where the long windows have so many turns more than the short ones."""
    names = sorted({name for window in [*short, *long] for name in window})
    more = {name: min(w[name] for w in long) - min(w[name] for w in short) for name in names}
    return {name: round(unit * calls / turns, 2) for name, calls in more.items() if calls}
