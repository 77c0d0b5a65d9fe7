"""A table as text: numbers with their digits, the first column to the left and the others to the right."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def percent(share: float | None, digits: int = 0) -> str:
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def render(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A row that is shorter than the head is a name and a remark, which runs over the columns it leaves free."""
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
