# SPDX-License-Identifier: MIT
"""The table of a watcher's states in design.md, made from the flags in watcher.pxd.

``python docs/states.py`` writes it anew.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "cyncore" / "_native" / "watcher.pxd"
PAGE = ROOT / "docs" / "design.md"
START, END = "<!-- states: made by docs/states.py -->\n", "<!-- end of states -->\n"
FLAG = re.compile(r"    (\w+) = (1 << \d+|[A-Z_| ]+?)(?:\s+# (.*))?")


def table() -> str:
    """The flags in their groups, as a table of Markdown."""
    lines = SOURCE.read_text(encoding="utf-8").split("cdef enum:\n")[1].split("\n\n")[0].splitlines()
    rows = ["| group | flag | what it says |", "|---|---|---|"]
    group = ""
    for line in lines:
        if line.startswith("    # "):
            group = line.removeprefix("    # ")
        elif found := FLAG.fullmatch(line):
            name, value, meaning = found.groups()
            if value.startswith("1 <<"):
                rows.append(f"| {group} | `{name}` | {meaning or name.lower()} |")
            else:
                rows.append(f"| {group} | `{name}` | all of these: {value.replace(' |', ',')} |")
            group = ""
    return "\n".join(rows) + "\n"


def page() -> str:
    """design.md with the table as the code has it now."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    return f"{before}{START}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
