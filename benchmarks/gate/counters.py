"""The counters: callgrind and strace, which count what a worker does between two marks."""

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

from benchmarks.gate.baseline import Figure
from benchmarks.gate.rows import BYTES, CALLS, INSTRUCTIONS, Row
from benchmarks.run.folders import ROOT

PATIENCE = 240.0  # seconds that a row may take
TOOLS = {INSTRUCTIONS: "valgrind", CALLS: "strace"}
MARK = "getppid"  # a system call that the worker makes before and after every window, and nobody else makes


class CountError(Exception):
    """There is no figure; the text says why."""


@dataclass(frozen=True)
class Engine:
    """The cyncore that is measured."""

    path: Path | None = None  # where to import it from, before what is installed
    clock: Path | None = None  # the library to be preloaded
    is_moved: bool = False  # compile what it imports, so that all it has lies elsewhere in memory

    def environment(self) -> dict[str, str]:
        """The variables that a worker needs, and no others, because they would move what is in its memory."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV") if key in os.environ}
        path = str(self.path) if self.path else os.environ.get("PYTHONPATH", "")
        ours = {"PYTHONPATH": path, "LD_PRELOAD": str(self.clock or "")}
        if self.is_moved:
            ours["PYTHONPYCACHEPREFIX"] = os.devnull  # below which no compiled module is found
        given = {name: value for name, value in ours.items() if value}
        return {**kept, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", **given}

    def run(self, words: list[str], before: list[str] | None = None) -> str:
        """Runs a module, under the tool `before`, and returns what it prints. Raises CountError where it fails."""
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
    """The figure of a row. `keep` is a folder that gets what callgrind wrote. Raises CountError."""
    words = ["benchmarks.gate.workloads", row.kind, row.name]
    if row.kind == BYTES:
        return float(json.loads(engine.run(words))["bytes"])
    with tempfile.TemporaryDirectory() as folder:
        if row.kind == CALLS:
            return calls(row, engine, words, Path(folder, "trace"))
        return instructions(row, engine, words, keep or Path(folder))


def instructions(row: Row, engine: Engine, words: list[str], folder: Path) -> float:
    """The difference of the medians, because Python rehashes a table or frees memory in a window here and there."""
    name = re.sub(r"\W+", "-", row.name)
    tool = ["valgrind", "--tool=callgrind", f"--dump-before={MARK}", f"--callgrind-out-file={folder / name}"]
    turns = json.loads(engine.run(words, tool))["turns"]
    windows = [summary(folder / f"{name}.{2 * i + 2}") for i in range(len(turns))]
    short, long = windows[2::2], windows[3::2]
    return (statistics.median(long) - statistics.median(short)) / ((row.long - row.short) * row.events)


def summary(file: Path) -> int:
    """The instructions in one dump of callgrind, which are those since the mark before. Raises CountError."""
    try:
        found = re.search(r"^summary: (\d+)", file.read_text(errors="replace"), re.MULTILINE)
    except OSError as error:
        raise CountError(f"callgrind did not see the mark ({MARK}): no {file.name}") from error
    if not found:
        raise CountError(f"callgrind wrote no summary into {file.name}")
    return int(found[1])


def calls(row: Row, engine: Engine, words: list[str], trace: Path) -> dict[str, float]:
    """The difference of the minima, by name, because Python asks for memory in a window here and there."""
    windows = [count_names(window) for window in strace(engine, words, trace)]
    return slope(windows[2::2], windows[3::2], row.long - row.short, row.unit)


def strace(engine: Engine, words: list[str], trace: Path) -> list[list[str]]:
    """Runs a worker under strace. Returns the lines of every window. Raises CountError where a window is missing."""
    turns = json.loads(engine.run(words, ["strace", "-f", "-qq", "-e", "signal=none", "-o", str(trace)]))["turns"]
    windows = split_windows(trace.read_text(errors="replace"))
    if len(windows) != len(turns):
        raise CountError(f"strace saw {len(windows)} windows of {len(turns)}")
    return windows


def split_windows(text: str) -> list[list[str]]:
    """The lines of a trace that begin a system call, by the window in which they stand, without the process id."""
    windows: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        call = re.sub(r"^\d+ +", "", line)
        if not (name := call_name(call)):
            continue  # the second half of an interrupted line
        if name == MARK:
            inside = not inside
            if inside:
                windows.append([])
        elif inside:
            windows[-1].append(call)
    return windows


def call_name(call: str) -> str:
    """The name of a system call in a line of strace; empty where the line begins none."""
    found = re.match(r"(\w+)\(", call)
    return found[1] if found else ""


def count_names(window: list[str]) -> Counter[str]:
    return Counter(call_name(call) for call in window)


def slope(short: list[Counter[str]], long: list[Counter[str]], turns: int, unit: int) -> dict[str, float]:
    """Calls for `unit` turns, where the long windows have that many turns more than the short ones."""
    names = sorted({name for window in [*short, *long] for name in window})
    more = {name: min(w[name] for w in long) - min(w[name] for w in short) for name in names}
    return {name: round(unit * calls / turns, 2) for name, calls in more.items() if calls}
