"""What a server used while a load ran that is not ours, and says no more than how fast it was."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.run.load import Placement, SampleError
from benchmarks.run.worker import Figures

PATIENCE = 60.0  # seconds beyond those that a load should take


@dataclass(frozen=True)
class Usage:
    """Of a process, since its start."""

    user: int  # ticks of the clock
    system: int
    cpu: float  # seconds, both, by the scheduler's own count
    delay: float  # seconds that it was ready to run, and another process had the core

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Raises SampleError where it has ended."""
        try:
            ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            cpu, delay, _ = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
        except OSError:
            raise SampleError("the server has ended") from None
        return cls(int(ticks[11]), int(ticks[12]), cpu / 1e9, delay / 1e9)


def run(command: Sequence[str], placement: Placement, seconds: float) -> str:
    """What a load says that should take so long; it runs on the load's core. Raises SampleError where it fails."""
    try:
        done = subprocess.run(
            [*placement.prefix(1), *command], capture_output=True, text=True, timeout=seconds + PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise SampleError(f"{command[0]} did not end") from None
    if done.returncode:
        raise SampleError(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-200:]}")
    return done.stdout


def watch(pid: int, command: Sequence[str], placement: Placement, seconds: float) -> tuple[str, Figures]:
    """What the load says, and what the server used meanwhile: seconds, and shares of the time that it took."""
    before, children, began = Usage.of(pid), resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    said = run(command, placement, seconds)
    elapsed, after = time.monotonic() - began, Usage.of(pid)
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
    """The same, with CPU time a request in microseconds."""
    cpu_us = 1e6 * used["cpu"] / requests
    user_us = cpu_us * used["user_share"]
    return {**used, "requests": requests, "cpu_us": cpu_us, "user_us": user_us, "system_us": cpu_us - user_us}


def missing(program: str, package: str) -> str | None:
    """Why there is no such load, or None."""
    folders = os.get_exec_path()
    found = any(os.access(os.path.join(folder, program), os.X_OK) for folder in folders)
    return None if found else f"LEFT OUT, there is no {program} (apt-get install {package})"
