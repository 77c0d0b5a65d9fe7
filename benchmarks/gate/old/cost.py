"""The cost of an old program: what one of its events takes, on cyncore or on the old modules."""

from __future__ import annotations

import json
import re
import statistics
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gate.counters import MARK, Engine, call_name, count_names, slope, strace, summary
from benchmarks.gate.old.rows import OldRow

WORKER = "benchmarks.gate.old.windows"
# These differ from one run of a program to the next: memory that Python asks for, and waits for the lock of threads.
INCIDENTAL = {"futex", "brk", "mmap", "munmap", "mremap", "madvise"}
DESCRIPTORS = "descriptors of poll"
# Instructions that stand for the part of the kernel, which is not counted. They are few, because sending and receiving,
# which cost the most there, are the same on both sides. A descriptor that every poll is given is one that epoll is told
# once, by a system call.
CALL, DESCRIPTOR = 1000, 250


@dataclass(frozen=True)
class Cost:
    """Of one event of a program."""

    instructions: float
    calls: dict[str, float]  # system calls by name, and how many descriptors poll was given
    waited_us: float  # microseconds of waits that ended without an event

    def total(self) -> float:
        """In instructions, with those that stand for the part of the kernel."""
        kernel = sum((DESCRIPTOR if name == DESCRIPTORS else CALL) * number for name, number in self.calls.items())
        return self.instructions + kernel

    def system_calls(self) -> float:
        return sum(number for name, number in self.calls.items() if name != DESCRIPTORS)


def count(row: OldRow, family: str, engine: Engine) -> Cost:
    """Counts a program on one of the families, cyncore or asyncore. Raises CountError."""
    words = [WORKER, family, row.name]
    with tempfile.TemporaryDirectory() as folder:
        instructions, waited = count_instructions(row, words, engine, Path(folder))
        calls = count_calls(row, words, engine, Path(folder, "trace"))
    if row.maker == "idle":  # waiting for nothing is its work
        waited = 0.0
    return Cost(instructions, calls, waited)


def count_instructions(row: OldRow, words: list[str], engine: Engine, folder: Path) -> tuple[float, float]:
    """The instructions of an event, and the microseconds that it waited for nothing."""
    tool = ["valgrind", "--tool=callgrind", f"--dump-before={MARK}", f"--callgrind-out-file={folder / 'out'}"]
    said = json.loads(engine.run(words, tool))
    windows = [summary(folder / f"out.{2 * i + 2}") for i in range(len(said["turns"]))]
    events = (row.long - row.short) * row.events
    instructions, waited = (
        (statistics.median(one[3::2]) - statistics.median(one[2::2])) / events for one in (windows, said["waited"])
    )
    return instructions, 1e6 * waited


def count_calls(row: OldRow, words: list[str], engine: Engine, trace: Path) -> dict[str, float]:
    windows = [count_window(window) for window in strace(engine, words, trace)]
    return slope(windows[2::2], windows[3::2], (row.long - row.short) * row.events, 1)


def count_window(window: list[str]) -> Counter[str]:
    """The system calls in these lines of strace by name, and the descriptors that poll was given."""
    calls = count_names([call for call in window if call_name(call) not in INCIDENTAL])
    given = [re.match(r"poll\(.*\], (\d+), -?\d+", call) for call in window]
    if descriptors := sum(int(found[1]) for found in given if found):
        calls[DESCRIPTORS] = descriptors
    return calls
