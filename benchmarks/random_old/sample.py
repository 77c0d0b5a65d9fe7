"""A sample: how a program ended on one side, and what was measured of it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.run.figures import Figures
from benchmarks.run.folders import ROOT
from benchmarks.run.placement import SERVER, Placement
from benchmarks.workers.random_old.load import WHOLE

KILLED = "was killed by"
PATIENCE = 60.0  # seconds, beside those in which the clients talk


@dataclass(frozen=True)
class Sample:
    end: str  # "whole", or what went wrong
    figures: Figures = field(default_factory=dict)

    def whole(self) -> bool:
        return self.end == WHOLE

    def killed(self) -> bool:
        """Whether a signal ended the process, as when it has read where nothing is."""
        return self.end.startswith(KILLED)


@dataclass(frozen=True)
class Way:
    """In which way every program runs."""

    python: str
    seconds: float  # in which its clients talk
    placement: Placement
    fixed: Mapping[str, Any] = field(default_factory=dict)  # traits that are not drawn

    def command(self, side: str, seed: int) -> list[str]:
        cores = self.placement.cores
        words = [side, str(seed), json.dumps(dict(self.fixed)), str(self.seconds), str(cores[1] if cores else -1)]
        return [*self.placement.prefix(SERVER), self.python, "-m", "benchmarks.workers.random_old", *words]


def take(side: str, seed: int, way: Way) -> Sample:
    """Runs the program of this seed on one side, in a process of its own."""
    patience = PATIENCE + way.seconds
    try:
        done = subprocess.run(way.command(side, seed), cwd=ROOT, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        return Sample(f"did not end within {patience:.0f} s")
    return read(done.returncode, done.stdout, done.stderr)


def read(status: int, said: str, complained: str) -> Sample:
    """The sample that a process has left which has ended with this status."""
    last = next(iter(complained.strip().splitlines()[-1:]), "")
    if status < 0:
        return Sample(f"{KILLED} {signal.Signals(-status).name}")
    if status:
        return Sample(f"crashed: {last or 'it said nothing'}")
    figures: dict[str, Any] = json.loads(said)
    end = figures.pop("end")
    return Sample(f"{end}, {last}" if last and end != WHOLE else end, figures)  # a thread has complained, perhaps
