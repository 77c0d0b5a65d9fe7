# SPDX-License-Identifier: MIT
"""``outcome.py NAME VERSION OVER JUNIT_XML EXPECTED``: prints what a program's tests came to, on one line.

Ends with 1 where a test failed that the file of expectations does not name, or where fewer passed than it says. A line
of it is ``NAME passed NUMBER``, ``NAME fails TEST REASON``, TEST being the end of the name that pytest gives it, or
``NAME fails-old TEST REASON`` for what fails over the old modules alone (OVER being ``old``).
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def read_expected(path: Path, program: str, over: str) -> tuple[int, dict[str, str]]:
    """How many tests pass at least, and the tests that fail with the reason."""
    least, failing = 1, {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(" ")
        what, _, rest = rest.strip().partition(" ")
        if name == program and what == "passed":
            least = int(rest)
        elif name == program and what in ("fails", f"fails-{over}"):
            test, _, reason = rest.strip().partition(" ")
            failing[test] = reason.strip()
    return least, failing


def main(program: str, version: str, over: str, xml: str, expected: str) -> int:
    least, failing = read_expected(Path(expected), program, over)
    passed, skipped, explained, unexplained = 0, 0, [], []
    for case in ElementTree.parse(xml).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            known = any(name.endswith(test) for test in failing)
            (explained if known else unexplained).append(name)
        elif "skipped" in kinds:
            skipped += 1
        else:
            passed += 1
    failed = len(explained) + len(unexplained)
    print(f"{program} {version}: {passed} passed, {failed} failed, {skipped} skipped", end="")
    print(f" ({len(explained)} of the failures explained)" if explained else "")
    for name in unexplained:
        print(f"    failed: {name}")
    if passed < least:
        print(f"    {least} are expected to pass")
    return 1 if unexplained or passed < least else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
