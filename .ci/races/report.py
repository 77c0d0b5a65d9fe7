# SPDX-License-Identifier: MIT
"""What ThreadSanitizer has reported, by the places of the two accesses: ``report.py MODULES LOG...``.

Fails for a race of ours. A race is ours where one of the two accesses is in our code itself, or in what a header or the
C library does there for it; MODULES is the folder with the compiled modules. Where both are in the interpreter, such as
in a look into a dict, it is CPython's, whoever has called it.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

FRAME = re.compile(r"^ +#\d+ (\S+) (\S+) \((\S+?)\+0x", re.MULTILINE)  # function, file with line, module


def place(stack: str, modules: set[str]) -> tuple[str, bool]:
    """The innermost frame that is no function of the C library: a function and a line, and whether it is ours."""
    for function, line, module in FRAME.findall(stack):
        if line != "<null>" or module in modules:
            return f"{function} {line}", module in modules
    return "unknown", False


def places(report: str, modules: set[str]) -> list[tuple[str, bool]]:
    """Those of the two accesses."""
    stacks = [part for part in report.split("\n\n") if re.search(r"(read|write) of size", part, re.IGNORECASE)]
    return sorted(place(stack, modules) for stack in stacks[:2])


def main(folder: str, *paths: str) -> int:
    modules = {path.name for path in Path(folder).glob("*.so")}
    text = "".join(Path(path).read_text(errors="replace") for path in paths)
    counts = Counter(tuple(places(part, modules)) for part in text.split("==================\n") if "data race" in part)
    ours = 0
    for pair, count in counts.most_common():
        is_ours = any(of_ours for _, of_ours in pair)
        ours += is_ours
        print("ours" if is_ours else "CPython's", f"{count} times", *(name for name, _ in pair), sep="\n    ")
    others = [
        line for line in text.splitlines() if re.search("(WARNING|FATAL): Thread", line) and "data race" not in line
    ]
    print(f"{sum(counts.values())} races at {len(counts)} pairs of places, {ours} of them ours", *others, sep="\n")
    return 1 if ours or others else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
