"""A worker: a program that measures itself in a process of its own, and needs no load beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.run.errors import MeasurementError
from benchmarks.run.figures import Figures
from benchmarks.run.folders import ROOT
from benchmarks.run.placement import SERVER, Placement

PATIENCE = 120.0  # seconds


def work(name: str, words: Sequence[str], placement: Placement) -> Figures:
    """Runs benchmarks.workers.NAME on the server's core, and returns the figures that it prints.

    Raises MeasurementError where it fails or takes too long.
    """
    command = [*placement.prefix(SERVER), sys.executable, "-m", f"benchmarks.workers.{name}", *words]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"did not end within {PATIENCE:.0f} s") from None
    if done.returncode:
        raise MeasurementError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    figures: Figures = json.loads(done.stdout)
    return figures
