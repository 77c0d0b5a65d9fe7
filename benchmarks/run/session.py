"""A session: tables measured one after the other, and what they came to."""

from __future__ import annotations

import json
import os
import platform
import resource
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.run import peers
from benchmarks.run.compiler import program
from benchmarks.run.load import Placement
from benchmarks.run.results import Results
from benchmarks.run.rounds import Plan, progress
from benchmarks.run.table import Table, render
from benchmarks.run.target import NOT_MEASURED

LEAST_PACE = 0.3  # of the estimate: a table that failed at once says nothing of the others


def raise_fd_limit() -> int:
    """Raises the soft limit of descriptors to the hard one, and returns that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def processor() -> str:
    """What the kernel calls it, or the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def describe_machine() -> str:
    kernel = ".".join(platform.release().split(".")[:2])
    return (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()} {kernel} {platform.machine()}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class Session:
    """What `python -m benchmarks` does: `names` are the peers that may take part."""

    def __init__(self, tables: Sequence[Table], names: Sequence[str], plan: Plan) -> None:
        self.tables = tables
        self.names = names
        self.plan = plan
        self.told: set[str] = set()
        self.failed: list[str] = []

    def introduce(self, placement: Placement) -> dict[str, object]:
        load = os.getloadavg()[0]
        print(f"{describe_machine()}; {placement.describe()}; load average before the start {load:.2f}")
        if load > 0.5:
            print("The machine is not idle: trust the CPU times and the ratios, not the rates.")
        plan = {key: value for key, value in asdict(self.plan).items() if key != "placement"}
        return {
            "machine": describe_machine(),
            "placement": placement.describe(),
            "load_average": load,
            "time": time.time(),
            "plan": plan,
            "peers": {},
            "tables": {},
        }

    def introduce_peers(self, table: Table) -> tuple[list[peers.Peer], dict[str, object]]:
        """Those of the table that are here, and what to record of all."""
        here, out = peers.split([peer for peer in table.peers if peer.name in self.names])
        versions = {peer.name: peer.version() for peer in here}
        lines = [f"  {name}: {version}" for name, version in versions.items()]
        for line in lines + [f"  {name}: LEFT OUT, {reason}" for name, reason in out.items()]:
            if line not in self.told:
                print(line)
                self.told.add(line)
        return here, {"versions": versions, "left_out": out}

    def measure(self, table: Table, here: list[peers.Peer]) -> dict[str, object]:
        """The table's record. What goes wrong in one is no reason to go without the others."""
        try:
            for name in table.programs:
                program(name)
            text, record = table.run(here, self.plan)
        except Exception as error:
            traceback.print_exc()
            print(f"The table {table.name} FAILED: {error!r}\n", flush=True)
            self.failed.append(table.name)
            return {"failed": repr(error), "series": [], "targets": []}
        print(text, flush=True)
        return record

    def run(self, file: Path | None = None) -> tuple[Results, int]:
        """Measures all tables: the results, and what the process should end with, which is 1 where a table failed.

        `file` gets the results as JSON after every table, so that a run that is broken off leaves what it had.
        """
        record = self.introduce(self.plan.placement)
        here: dict[str, list[peers.Peer]] = {}
        results = Results(record)
        for table in self.tables:
            here[table.name], results.peers[table.name] = self.introduce_peers(table)
        cost = {table.name: table.estimate(len(here[table.name]), self.plan) for table in self.tables}
        print(f"About {duration(sum(cost.values()))} for {len(self.tables)} tables.\n", flush=True)
        clock = Clock(cost)
        for table in self.tables:
            progress(clock.announce(table.name))
            results.tables[table.name] = self.measure(table, here[table.name])
            clock.finish(table.name)
            if file is not None:
                file.write_text(json.dumps(record, indent=1) + "\n")
        print(summary(results))
        if self.plan.quick:
            print("A quick run shows that everything works. Its figures, and its verdicts, are no evidence.")
        if self.failed:
            print(f"FAILED: {', '.join(self.failed)}")
        return results, 1 if self.failed else 0


class Clock:
    """How far a run is, and how long it will take: the estimate, corrected by what the tables before have taken."""

    def __init__(self, cost: dict[str, float]) -> None:
        self.left = dict(cost)
        self.count = len(cost)
        self.done = 0.0  # of the estimate
        self.began = time.monotonic()

    def announce(self, name: str) -> str:
        elapsed = time.monotonic() - self.began
        pace = max(elapsed / self.done, LEAST_PACE) if self.done else 1.0
        here, whole = duration(pace * self.left[name]), duration(pace * sum(self.left.values()))
        place = self.count - len(self.left) + 1
        return f"table {place} of {self.count}: {name}, about {here}; to the end {whole}"

    def finish(self, name: str) -> None:
        self.done += self.left.pop(name)


def summary(results: Results) -> str:
    """Every target that was looked at: what was wanted, what was reached."""
    rows = []
    for _, target in results.targets():
        rows.append([target.what, target.bound(), target.reached(), target.verdict])
    rows += [[f"{name}: the table failed", "-", "-", NOT_MEASURED] for name in results.failed()]
    return render("Wanted and reached", ["target", "wanted", "reached", "verdict"], rows)
