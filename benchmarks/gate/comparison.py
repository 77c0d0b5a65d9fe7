"""The comparison: which rows cost more than they did, by how much, and whether that fails the gate."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from benchmarks.gate.baseline import Figure, Figures
from benchmarks.gate.rows import BYTES, CALLS, INSTRUCTIONS

WORSE = "WORSE"
BETTER = "better"
SAME = "same"
CHANGED = "changed"  # other system calls, but no more of them
NEW = "new"  # the reference has no such row
MISSING = "MISSING"  # the row could not be counted
FAILING = (WORSE, MISSING)

Bounds = dict[str, float]
STRICT: Bounds = {INSTRUCTIONS: 0.03, CALLS: 0.0, BYTES: 0.05}
# For another interpreter, compiler or C library. The system calls are the loop's own and depend on none of these.
SAME_PYTHON: Bounds = {INSTRUCTIONS: 0.25, CALLS: 0.0, BYTES: 0.10}
OTHER_PYTHON: Bounds = {INSTRUCTIONS: 0.60, CALLS: 0.0, BYTES: 0.50}


@dataclass(frozen=True)
class Finding:
    kind: str
    name: str
    was: Figure | None
    now: Figure | None
    bound: float
    verdict: str

    def title(self) -> str:
        return f"{self.kind}: {self.name}"

    def change(self) -> float | None:
        """The difference as a share of the earlier figure."""
        if self.was is None or self.now is None or not total(self.was):
            return None
        return total(self.now) / total(self.was) - 1

    def text(self) -> str:
        """A line that names the row, both figures and the difference."""
        change = self.change()
        percent = f", {100 * change:+.1f} % (at most {100 * self.bound:+.0f} %)" if change is not None else ""
        calls = f" ({calls_changed(self.was, self.now)})" if isinstance(self.was, dict) else ""
        return f"{self.verdict}  {self.title()}: {show(self.was)} -> {show(self.now)}{percent}{calls}"

    def record(self) -> dict[str, object]:
        return {"row": self.title(), "was": self.was, "now": self.now, "bound": self.bound, "verdict": self.verdict}


def total(figure: Figure) -> float:
    return sum(figure.values()) if isinstance(figure, dict) else figure


def show(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    number = total(figure)
    return f"{number:,.0f}" if number == int(number) or number >= 100 else f"{number:,.2f}"


def calls_changed(was: Figure | None, now: Figure | None) -> str:
    """The system calls whose number has changed."""
    before, after = (figure if isinstance(figure, dict) else {} for figure in (was, now))
    names = [name for name in sorted({*before, *after}) if before.get(name, 0) != after.get(name, 0)]
    told = [f"{name} {before.get(name, 0):g} -> {after.get(name, 0):g}" for name in names]
    return ", ".join(told) or "the same calls"


def judge(was: Figure | None, now: Figure | None, bound: float) -> str:
    if was is None:
        return NEW
    if now is None:
        return MISSING
    before, after = total(was), total(now)
    if after > before * (1 + bound):
        return WORSE
    if after < before * (1 - bound):
        return BETTER
    return CHANGED if isinstance(was, dict) and was != now else SAME


def compare(was: Figures, now: Figures, bounds: Bounds, kinds: Collection[str]) -> list[Finding]:
    """Compares every row of these kinds that either side has."""
    found = []
    for kind in kinds:
        before, after = was.get(kind, {}), now.get(kind, {})
        for name in sorted({*before, *after}):
            old, new = before.get(name), after.get(name)
            found.append(Finding(kind, name, old, new, bounds[kind], judge(old, new, bounds[kind])))
    return found


def allow(figures: Figures, before: Figures, after: Figures) -> Figures:
    """The figures, raised by what a change of the baseline from `before` to `after` lets a row cost more.

    A commit that makes a row cost more on purpose renews the baseline of one environment. In another environment, which
    compares the commit with its parent, the row may cost more in the same proportion.
    """
    return {
        kind: {
            name: allow_row(figure, before.get(kind, {}).get(name), after.get(kind, {}).get(name))
            for name, figure in rows.items()
        }
        for kind, rows in figures.items()
    }


def allow_row(figure: Figure, before: Figure | None, after: Figure | None) -> Figure:
    if isinstance(figure, dict) and isinstance(before, dict) and isinstance(after, dict):
        names = {*figure, *before, *after}
        more = {name: figure.get(name, 0) + after.get(name, 0) - before.get(name, 0) for name in names}
        return {name: calls for name, calls in more.items() if calls > 0}
    if isinstance(figure, dict) or isinstance(before, dict) or isinstance(after, dict) or not before or not after:
        return figure
    return figure * max(1.0, after / before)
