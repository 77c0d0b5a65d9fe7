# SPDX-License-Identifier: MIT
"""The platforms that .ci/platforms makes, and the results that docs/platforms.md gives of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = "bash .ci/platforms"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND.split(), *words], cwd=ROOT, capture_output=True, text=True, timeout=30)


def listed() -> list[str]:
    """The names, which the command shows after a page of help."""
    return re.findall(r"^(\S+) +(?:packaged|built) ", run().stdout, re.MULTILINE)


def test_lists_the_platforms() -> None:
    assert COMMAND == "bash .ci/platforms"
    assert {"i386", "s390x", "pypy"} <= set(listed())


def test_every_platform_has_a_result() -> None:
    page = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(listed())


def test_platform_that_is_not_there_is_refused() -> None:
    done = run("vax")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no platform vax" in done.stderr
