"""An external load: a program such as wrk, which reports a rate; the CPU time of the server is read beside it."""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.run.errors import MeasurementError
from benchmarks.run.figures import Figures
from benchmarks.run.placement import LOAD, Placement

PATIENCE = 60.0  # seconds beyond the time that a load should take, after which it is given up


@dataclass(frozen=True)
class CpuTime:
    """The CPU time of a process since its start."""

    user: int  # clock ticks
    system: int  # clock ticks
    cpu: float  # seconds of both, as the scheduler counts them, to the nanosecond
    delay: float  # seconds in which it was ready to run and another process had its core

    @classmethod
    def of(cls, pid: int) -> CpuTime:
        """Raises MeasurementError where the process has ended."""
        try:
            ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            cpu, delay, _ = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
        except OSError:
            raise MeasurementError("the server has ended") from None
        return cls(int(ticks[11]), int(ticks[12]), cpu / 1e9, delay / 1e9)


def run(command: Sequence[str], placement: Placement, seconds: float) -> str:
    """Runs a load that should take that many seconds, on the load's core, and returns its output.

    Raises MeasurementError where it fails.
    """
    try:
        done = subprocess.run(
            [*placement.prefix(LOAD), *command], capture_output=True, text=True, timeout=seconds + PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"{command[0]} did not end") from None
    if done.returncode:
        raise MeasurementError(
            f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-200:]}"
        )
    return done.stdout


def watch(pid: int, command: Sequence[str], placement: Placement, seconds: float) -> tuple[str, Figures]:
    """Runs the load. Returns its output, and what the server with that pid used meanwhile.

    "cpu" is in seconds, "user_share" a share of the CPU time, the others are shares of the elapsed time.
    """
    before, children, began = CpuTime.of(pid), resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    said = run(command, placement, seconds)
    elapsed, after = time.monotonic() - began, CpuTime.of(pid)
    children_after = resource.getrusage(resource.RUSAGE_CHILDREN)
    load = sum(getattr(children_after, name) - getattr(children, name) for name in ("ru_utime", "ru_stime"))
    ticks = after.user - before.user + after.system - before.system
    return said, {
        "cpu": after.cpu - before.cpu,
        "user_share": (after.user - before.user) / ticks if ticks else 0.0,
        "busy": (after.cpu - before.cpu) / elapsed,
        "load_busy": load / elapsed,
        "taken": (after.delay - before.delay) / elapsed,
    }


def per_request(used: Figures, requests: float) -> Figures:
    """The figures of watch(), with the CPU time of one request in microseconds."""
    cpu_us = 1e6 * used["cpu"] / requests
    user_us = cpu_us * used["user_share"]
    return {**used, "requests": requests, "cpu_us": cpu_us, "user_us": user_us, "system_us": cpu_us - user_us}


def missing(program: str, package: str) -> str | None:
    """Why this load cannot be run, or None where it can."""
    return None if shutil.which(program) else f"LEFT OUT, there is no {program} (apt-get install {package})"
