"""A finding: whether an old program is slower on cyncore than on the old modules."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from benchmarks.gate.old.cost import DESCRIPTORS, Cost
from benchmarks.run.peers import OLD, OURS

# Smaller differences do not count: threads, and reading the clock, add as much.
LEAST = 2000.0  # instructions
LEAST_US = 20.0
HEAD = ["program", "instr.", "asyncore", "calls", "asyncore", "given", "by asyncore", "waited us", "asyncore", ""]
SLOWER = "SLOWER"


@dataclass(frozen=True)
class Finding:
    """The cost of a program on cyncore and on the old modules."""

    name: str
    ours: Cost
    old: Cost
    noise: float = 0.01  # a share of the cost by which two runs may differ

    def slower(self) -> list[str]:
        """What is worse on cyncore, in words; empty where nothing is."""
        ours, old = self.ours, self.old
        told = []
        # What is counted is a difference of two windows: nothing may come out as less than nothing.
        if ours.total() > max(old.total(), 0.0) * (1 + self.noise) + LEAST:
            told.append(f"costs {ours.total():,.0f} with the kernel's part, asyncore {old.total():,.0f}")
        if ours.waited_us > old.waited_us + LEAST_US:
            told.append(f"waits {ours.waited_us:,.1f} us for nothing, asyncore {old.waited_us:,.1f}")
        return told

    def cells(self) -> list[str]:
        ours, old = self.ours, self.old
        return [
            self.name,
            f"{ours.instructions:,.0f}",
            f"{old.instructions:,.0f}",
            f"{ours.system_calls():,.1f}",
            f"{old.system_calls():,.1f}",
            f"{old.calls.get(DESCRIPTORS, 0):,.1f}",
            f"{ours.total() / old.total():.2f}" if old.total() > LEAST else "-",
            f"{ours.waited_us:,.1f}",
            f"{old.waited_us:,.1f}",
            SLOWER if self.slower() else "",
        ]

    def record(self) -> dict[str, object]:
        both = {OURS: asdict(self.ours), OLD: asdict(self.old)}
        return {"program": self.name, **both, "slower": self.slower()}
