# SPDX-License-Identifier: MIT
"""The screen of `top` in colour, drawn by rich. ImportError where that is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .look import COLUMNS, MORE, cells, clean, facts, title


def drawn(look: dict[str, Any], width: int, rows: int) -> Group:
    """One look."""
    head = Text(clean(title(look)), style="bold")
    figures = []
    for name, value in facts(look):
        is_bad = name == "errors" and value != "0"
        figures.append(Text.assemble((f"{name} ", "dim"), (value, "bold red" if is_bad else "bold")))
    table = Table(expand=True, box=None, header_style="dim", pad_edge=False)
    columns = COLUMNS + (MORE if width >= 100 else ())
    for name, form in columns:
        table.add_column(name, justify="right" if form[0] == ">" else "left", no_wrap=True, overflow="ellipsis")
    for channel in look["top"][:rows]:
        style = "yellow" if channel["paused"] else "" if channel["in_rate"] or channel["out_rate"] else "dim"
        shown = cells(channel)[: len(columns)]
        table.add_row(*(Text(clean(value)) for value in shown), style=style)
    return Group(head, Columns(figures, padding=(0, 2)), Text(""), table)


def screen(looks: Iterator[dict[str, Any]], rows: int | None) -> None:
    """Shows each look until there are no more."""
    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for look in looks:
            width, height = console.size
            live.update(drawn(look, width, rows or max(height - 6, 3)), refresh=True)
