# SPDX-License-Identifier: MIT
"""The system calls of a Python program, as strace tells them."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cyncore
from tests.support.script import ENGINE_FOLDER

STRACE = shutil.which("strace")


@functools.cache
def can_trace() -> bool:
    """Some containers have strace and do not let it trace."""
    if STRACE is None:
        return False
    done = subprocess.run([STRACE, "-o", os.devnull, "true"], capture_output=True, timeout=20, check=False)
    return done.returncode == 0


def trace(source: str, calls: str, folder: Path, inject: str = "") -> list[str]:
    """Its calls of these names (with commas between them) and its children's, a line each.

    ``inject``: what strace is to put in the place of some calls, as its option of that name has it.
    """
    if not cyncore.native:
        pytest.skip("only the compiled engine makes a promise of it")
    if not can_trace():
        pytest.skip("no strace here")
    told = folder / "trace"
    options = ["-f", "-e", f"trace={calls}", *(["-e", f"inject={inject}"] if inject else []), "-o", str(told)]
    done = subprocess.run(
        [str(STRACE), *options, sys.executable, "-W", "error", "-c", source],
        env={**os.environ, "PYTHONPATH": ENGINE_FOLDER},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in told.read_text().splitlines() if re.match(r"\d+ +\w+\(", line)]  # not "... resumed>"
