# SPDX-License-Identifier: MIT
"""What ThreadSanitizer has reported, by the places of the two accesses: ``report.py LOG...``. Fails for a race of ours.

A race is ours where one of the two accesses is in our code itself. Where both are in the interpreter, such as in a look
into a dict, it is CPython's, whoever has called it.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

OURS = re.compile(r"_native/|csrc/|cpython\.h")


def places(report: str) -> list[str]:
    """The innermost frames of the two accesses: a function and a line."""
    stacks = [part for part in report.split("\n\n") if re.search(r"(read|write) of size", part, re.IGNORECASE)]
    found = []
    for stack in stacks[:2]:
        frame = re.search(r"#0 (\S+) (\S+)", stack)
        found.append(f"{frame[1]} {frame[2]}" if frame else "unknown")
    return sorted(found)


def main(paths: list[str]) -> int:
    text = "".join(Path(path).read_text(errors="replace") for path in paths)
    counts = Counter(tuple(places(part)) for part in text.split("==================\n") if "data race" in part)
    ours = 0
    for pair, count in counts.most_common():
        is_ours = any(OURS.search(place) for place in pair)
        ours += is_ours
        print("ours" if is_ours else "CPython's", f"{count} times", *pair, sep="\n    ")
    others = [line for line in text.splitlines() if "WARNING: ThreadSanitizer" in line and "data race" not in line]
    print(f"{sum(counts.values())} races at {len(counts)} pairs of places, {ours} of them ours", *others, sep="\n")
    return 1 if ours or others else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
