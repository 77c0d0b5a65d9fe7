"""One sample: one server in a process of its own, the load in another, each pinned to a core."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.run.compiler import program
from benchmarks.run.peers import Peer

ROOT = Path(__file__).resolve().parents[2]
STARTUP = 20.0  # seconds until a server must have said its port


class SampleError(Exception):
    """No figures; the text says why."""


@dataclass(frozen=True)
class Shape:
    """What the load does."""

    LOAD: ClassVar[str] = "load"  # the program that does it; it knows every field as an option

    connections: int
    active: int
    size: int = 64
    seconds: float = 2.0
    warmup: float = 0.5
    patience: float = 30.0  # seconds in which all connections must have been served once

    def label(self) -> str:
        return f"{self.active} of {self.connections}"

    def record(self) -> dict[str, object]:
        """What tells it from the table's other shapes."""
        return {"connections": self.connections, "active": self.active, "size": self.size}


@dataclass(frozen=True)
class Sample:
    """What the load saw. Times are in seconds unless the name says otherwise."""

    connected: int
    messages: int
    errors: int
    turns: int  # of the load's loop that brought something
    seconds: float
    rate: float
    p50_us: int
    p99_us: int
    load_user: float
    load_system: float
    server_user: float
    server_system: float
    server_cpu: float  # both, by the scheduler's own count
    server_first: float  # of that, by the server's first thread, which has the loop
    load_delay: float  # ready to run, and another process had the core
    server_delay: float
    server_grown_bytes: int
    server_peak_bytes: int  # the most it ever had resident

    def user_us(self) -> float:
        """User time a message. The ticks of /proc only share out what the scheduler counted."""
        ticks = self.server_user + self.server_system
        return self.cpu_us() * self.server_user / ticks if ticks else 0.0

    def system_us(self) -> float:
        return self.cpu_us() - self.user_us()

    def cpu_us(self) -> float:
        return 1e6 * self.server_cpu / self.messages

    def server_busy(self) -> float:
        return self.server_cpu / self.seconds

    def others_busy(self) -> float:
        """The share of a core that the server's other threads had."""
        return (self.server_cpu - self.server_first) / self.seconds

    def load_busy(self) -> float:
        return (self.load_user + self.load_system) / self.seconds

    def disturbed(self) -> float:
        """The share of the window that other processes took from the server or from the load, whichever lost more."""
        return max(self.load_delay, self.server_delay) / self.seconds

    def batch(self) -> float:
        """Messages that the load found at once, when it looked."""
        return self.messages / self.turns

    def record(self) -> dict[str, float]:
        return {**asdict(self), "user_us": self.user_us(), "system_us": self.system_us(), "cpu_us": self.cpu_us()}


class Placement:
    """Where a process runs: the server on the first allowed core, the load on the second."""

    def __init__(self, *, pin: bool = True, realtime: bool = False) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self.cores = cores[:2] if pin and len(cores) > 1 and shutil.which("taskset") else []
        self.realtime = realtime

    def prefix(self, place: int) -> list[str]:
        pinned = ["taskset", "-c", str(self.cores[place])] if self.cores else []
        return [*(["chrt", "-f", "10"] if self.realtime else []), *pinned]

    def describe(self) -> str:
        cores = f"server on core {self.cores[0]}, load on core {self.cores[1]}" if self.cores else "not pinned"
        return f"{cores}, {'SCHED_FIFO 10' if self.realtime else 'ordinary scheduling'}"


def read_port(process: subprocess.Popen[str], log: Path) -> int:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], STARTUP)
    words = process.stdout.readline().split() if ready else []
    if len(words) == 2 and words[0] == "listening":
        return int(words[1])
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=2)  # for the last of its stderr
    raise SampleError(f"the server did not start: {last_line(log)}")


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")


@contextlib.contextmanager
def server(peer: Peer, placement: Placement) -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """A running server: its process, its port, and what it wrote to stderr."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "stderr")
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [*placement.prefix(0), *peer.command()], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=stderr
            )
        try:
            yield process, read_port(process, log), log
        finally:
            stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def take(peer: Peer, shape: Shape, placement: Placement) -> Sample:
    """Starts the server and the load, and waits for the load's report. Raises SampleError where there is none."""
    bound = shape.patience + shape.warmup + shape.seconds + 20
    with server(peer, placement) as (process, port, log):
        options = {**asdict(shape), "port": port, "pid": process.pid}
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        command = [*placement.prefix(1), str(program(shape.LOAD)), *words]
        started = time.monotonic()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=bound)
        except subprocess.TimeoutExpired:
            raise SampleError(f"the load did not end within {bound:.0f} s") from None
        if done.returncode:
            raise SampleError(f"the load ended with {done.returncode}: {done.stderr.strip()}")
        sample = Sample(**json.loads(done.stdout))
        if sample.messages == 0 or sample.errors:
            raise SampleError(explain(sample, shape, time.monotonic() - started, done.stderr.strip() or last_line(log)))
        return sample


def explain(sample: Sample, shape: Shape, elapsed: float, said: str) -> str:
    """`said`: by the load about a reply, or by the server on its stderr."""
    if sample.errors:
        return f"{sample.errors} errors after {sample.messages} messages; {said}"
    if sample.connected < shape.connections:
        return f"served {sample.connected} of {shape.connections} connections in {elapsed:.0f} s"
    return f"no message came back in {shape.seconds:g} s"
