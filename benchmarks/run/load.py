"""The load: one of our C programs that talks to a server for a while, and the sample that it reports."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict, dataclass
from typing import ClassVar

from benchmarks.run.compiler import program
from benchmarks.run.errors import MeasurementError
from benchmarks.run.peers import Peer
from benchmarks.run.placement import LOAD, Placement
from benchmarks.run.server import last_line, server

GRACE = 20.0  # seconds beyond its own bounds after which the load is given up


@dataclass(frozen=True)
class Shape:
    """What the load does. Every field is an option of the program."""

    PROGRAM: ClassVar[str] = "load"  # of loads/

    connections: int
    active: int
    size: int = 64
    seconds: float = 2.0
    warmup: float = 0.5
    patience: float = 30.0  # seconds within which every connection must have been served once

    def label(self) -> str:
        return f"{self.active} of {self.connections}"

    def record(self) -> dict[str, object]:
        """What distinguishes it from the other shapes of the table."""
        return {"connections": self.connections, "active": self.active, "size": self.size}


@dataclass(frozen=True)
class Sample:
    """What the load reports about one window. Times are in seconds unless the name says otherwise."""

    connected: int
    messages: int
    errors: int
    turns: int  # of the load's loop, without those that brought no event
    seconds: float
    rate: float
    p50_us: int
    p99_us: int
    load_user: float
    load_system: float
    server_user: float
    server_system: float
    server_cpu: float  # user and system time, as the scheduler counts it, to the nanosecond
    server_first: float  # the part of server_cpu that the first thread spent, which runs the loop
    load_delay: float  # it was ready to run, and another process had its core
    server_delay: float
    server_grown_bytes: int
    server_peak_bytes: int  # the largest resident size that the server ever had

    def user_us(self) -> float:
        """User time a message. The clock ticks of /proc only divide what the scheduler has counted."""
        ticks = self.server_user + self.server_system
        return self.cpu_us() * self.server_user / ticks if ticks else 0.0

    def system_us(self) -> float:
        return self.cpu_us() - self.user_us()

    def cpu_us(self) -> float:
        return 1e6 * self.server_cpu / self.messages

    def server_busy(self) -> float:
        return self.server_cpu / self.seconds

    def others_busy(self) -> float:
        """The share of a core that the other threads of the server used."""
        return (self.server_cpu - self.server_first) / self.seconds

    def load_busy(self) -> float:
        return (self.load_user + self.load_system) / self.seconds

    def disturbed(self) -> float:
        """The share of the window that other processes took from the server, or from the load if that is more."""
        return max(self.load_delay, self.server_delay) / self.seconds

    def batch(self) -> float:
        """How many messages one wait of the load brought."""
        return self.messages / self.turns

    def record(self) -> dict[str, float]:
        return {**asdict(self), "user_us": self.user_us(), "system_us": self.system_us(), "cpu_us": self.cpu_us()}


def take(peer: Peer, shape: Shape, placement: Placement) -> Sample:
    """Starts the server and the load, and waits for the report of the load.

    Raises MeasurementError where either fails, and where a message was lost or changed.
    """
    with server(peer, placement) as (process, port, log):
        options = {**asdict(shape), "port": port, "pid": process.pid}
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        started = time.monotonic()
        done = run([*placement.prefix(LOAD), str(program(shape.PROGRAM)), *words], shape)
        sample = Sample(**json.loads(done.stdout))
        if sample.messages == 0 or sample.errors:
            said = done.stderr.strip() or last_line(log)
            raise MeasurementError(explain(sample, shape, time.monotonic() - started, said))
        return sample


def run(command: list[str], shape: Shape) -> subprocess.CompletedProcess[str]:
    bound = shape.patience + shape.warmup + shape.seconds + GRACE
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=bound)
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"the load did not end within {bound:.0f} s") from None
    if done.returncode:
        raise MeasurementError(f"the load ended with {done.returncode}: {done.stderr.strip()}")
    return done


def explain(sample: Sample, shape: Shape, elapsed: float, said: str) -> str:
    """Why this is no sample. `said`: the load's words about a wrong reply, or the server's last words on stderr."""
    if sample.errors:
        return f"{sample.errors} errors after {sample.messages} messages; {said}"
    if sample.connected < shape.connections:
        return f"served {sample.connected} of {shape.connections} connections in {elapsed:.0f} s"
    return f"no message came back in {shape.seconds:g} s"
