"""A table: who takes part, how it is measured, and what its text looks like (the first column to the left, the others
to the right)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.run.peers import Peer
    from benchmarks.run.rounds import Plan

START = 0.8  # seconds: to start a server and to stop it


@dataclass(frozen=True)
class Table:
    """One table of `python -m benchmarks`.

    `run` takes the peers that are here and the plan. It returns the table as text, and a record of what that was made
    of: {"series": [...], "targets": [Target.record(...), ...]}.
    """

    name: str
    peers: Sequence[Peer]
    run: Callable[[list[Peer], Plan], tuple[str, dict[str, object]]]
    programs: tuple[str, ...] = ()  # in C, to be compiled before
    shapes: int = 1  # how many windows a peer is measured in, in every round
    window: float | None = None  # seconds of one, where the plan does not say it

    def estimate(self, peers: int, plan: Plan) -> float:
        """About how many seconds it takes with so many peers."""
        window = plan.seconds + plan.warmup if self.window is None else self.window / (4 if plan.quick else 1)
        return plan.rounds * self.shapes * peers * (window + START)


def number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def render(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A short row is a name and a remark, which runs over the columns it leaves free."""
    whole = [row for row in rows if len(row) == len(head)]
    widths = [max(len(row[i]) for row in [head, *whole]) for i in range(len(head))]
    widths[0] = max(widths[0], *(len(row[0]) for row in rows)) if rows else widths[0]
    lines = [title, "", line(head, widths), "  ".join("-" * width for width in widths)]
    return "\n".join([*lines, *(line(row, widths) for row in rows)]) + "\n"


def line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, rest = row[0].ljust(widths[0]), row[1:]
    if len(row) < len(widths):
        return "  ".join([first, *rest])
    return "  ".join([first, *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))])
