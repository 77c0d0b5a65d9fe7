"""A session: tables that are measured one after the other, and the summary of their targets."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.run import peers
from benchmarks.run.compiler import program
from benchmarks.run.machine import describe_machine
from benchmarks.run.plan import Plan
from benchmarks.run.progress import Clock, duration, progress
from benchmarks.run.results import SUMMARY, Results
from benchmarks.run.table import Table
from benchmarks.run.text import render


class Session:
    def __init__(self, tables: Sequence[Table], names: Sequence[str], plan: Plan) -> None:
        """`names`: the peers that may take part."""
        self.tables = tables
        self.names = names
        self.plan = plan
        self.told: set[str] = set()
        self.failed: list[str] = []

    def introduce(self) -> dict[str, object]:
        """Prints where the session runs, and returns the record that it fills."""
        placement = self.plan.placement
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
        """Prints who takes part. Returns the peers of the table that are installed, and what to record about all."""
        here, out = peers.split([peer for peer in table.peers if peer.name in self.names])
        versions = {peer.name: peer.version() for peer in here}
        lines = [f"  {name}: {version}" for name, version in versions.items()]
        for line in lines + [f"  {name}: LEFT OUT, {reason}" for name, reason in out.items()]:
            if line not in self.told:
                print(line)
                self.told.add(line)
        return here, {"versions": versions, "left_out": out}

    def measure(self, table: Table, here: list[peers.Peer]) -> dict[str, object]:
        """Prints the table and returns its record. A table that fails does not keep the others from being measured."""
        if reason := table.missing():
            print(f"The table {table.name} is LEFT OUT: {reason}\n", flush=True)
            return {"left_out": reason, "series": [], "targets": []}
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
        """Measures all tables. Returns the results and the exit code, which is 1 where a table failed.

        The results go to `file` as JSON after every table, so that a run that is interrupted leaves what it has.
        """
        record = self.introduce()
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


def summary(results: Results) -> str:
    """Every target with what was wanted and what was reached."""
    return render("Wanted and reached", SUMMARY, results.summary())
