# SPDX-License-Identifier: MIT
"""The platforms that .ci/platforms makes, and the results that docs/platforms.md gives of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.script import ENGINE_FOLDER

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


def test_suite_that_is_stopped_says_what_has_failed_so_far(tmp_path: Path) -> None:
    """The test that was interrupted may leave descriptors: `timeout` of a platform ends the suite anywhere."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="ascii")
    (tmp_path / "test_both.py").write_text(
        "import os\n"
        "def test_that_fails():\n    assert False\n"
        "def test_that_is_stopped():\n    kept.extend(os.pipe())\n    raise KeyboardInterrupt\n"
        "kept = []\n",
        encoding="ascii",
    )
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.conftest", "-ra"]
    around = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}  # it may ask for reruns
    done = subprocess.run(
        [*words, "-c", str(tmp_path / "pytest.ini"), str(tmp_path)],
        cwd=ROOT,
        env={**around, "PYTHONPATH": os.pathsep.join([ENGINE_FOLDER, str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert "FAILED" in done.stdout
    assert "test_that_fails" in done.stdout
    assert "1 failed in" in done.stdout
