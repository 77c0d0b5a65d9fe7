# SPDX-License-Identifier: MIT
"""A look at a loop, in the words of a terminal: what the server tells its viewers, made short."""

from __future__ import annotations

from typing import Any


def count(value: float | None) -> str:
    if value is None:
        return "-"
    at = 0
    while abs(value) >= 10000 and at < 3:
        value /= 1000
        at += 1
    return f"{value:.0f}{('', 'k', 'M', 'G')[at]}" if at or value >= 100 or value == int(value) else f"{value:.1f}"


def size(value: float | None) -> str:
    if value is None:
        return "-"
    at = 0
    while abs(value) >= 1024 and at < 4:
        value /= 1024
        at += 1
    unit = ("B", "KiB", "MiB", "GiB", "TiB")[at]
    return f"{value:.0f} {unit}" if not at or value >= 10 else f"{value:.1f} {unit}"


def seconds(value: float | None) -> str:
    if value is None:
        return "-"
    if value < 1e-3:
        return f"{value * 1e6:.0f} us"
    if value < 1:
        return f"{value * 1e3:.0f} ms"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.0f} h"


def facts(look: dict[str, Any]) -> list[tuple[str, str]]:
    """What is shown above the channels: pairs of a name and a value."""
    stats, rates = look["stats"], look["rates"] or {}
    return [
        ("channels", count(stats["channels"])),
        ("events/s", count(rates.get("events"))),
        ("in/s", size(rates.get("bytes_in"))),
        ("out/s", size(rates.get("bytes_out"))),
        ("calls/s", count(rates.get("calls"))),
        ("accepted", count(stats["accepts"])),
        ("lag 99%", seconds(look["lag"]["p99"]) if look["lag"]["times"] else "-"),
        ("lag max", seconds(stats["lag"]["most"])),
        ("errors", count(stats["errors"])),
    ]


def title(look: dict[str, Any]) -> str:
    stats = look["stats"]
    return f"{look['program']}  process {look['pid']}, {stats['backend']}, up {seconds(stats['uptime'])}"


COLUMNS = (("fd", ">6"), ("class", "<16"), ("peer", "<22"), ("state", "<10"), ("in/s", ">9"), ("out/s", ">9"))
MORE = (("queued", ">9"), ("age", ">7"), ("idle", ">7"))


def cells(channel: dict[str, Any]) -> list[str]:
    state = "paused" if channel["paused"] and channel["state"] == "open" else channel["state"]
    return [
        str(channel["fd"]),
        channel["kind"].rpartition(".")[2],
        channel["peer"] or "-",
        state,
        *(size(channel["in_rate"]), size(channel["out_rate"]), size(channel["queued"]) if channel["queued"] else "-"),
        *(seconds(channel["age"]), seconds(channel["idle"]) if (channel["idle"] or 0) >= 1 else "-"),
    ]


def text(look: dict[str, Any], width: int, rows: int) -> str:
    """One look as plain text."""
    columns = COLUMNS + (MORE if width >= 100 else ())
    lines = [clean(title(look))]
    line = ""
    for name, value in facts(look):
        part = f"{name} {value}"
        if line and len(line) + len(part) + 3 > width:
            lines.append(line)
            line = ""
        line += f"   {part}" if line else part
    lines += [line, "", " ".join(f"{name:{form}}" for name, form in columns)]
    for channel in look["top"][:rows]:
        shown = []
        for value, (_, form) in zip(cells(channel), columns, strict=False):
            room = int(form[1:])
            shown.append(f"{clean(value)[:room]:{form}}")
        lines.append(" ".join(shown))
    return "\n".join(line[:width].rstrip() for line in lines)


def clean(words: str) -> str:
    """Without what a terminal would take for a command: the name of a socket may have anything in it."""
    return "".join(letter if letter.isprintable() else "?" for letter in words)
