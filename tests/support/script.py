# SPDX-License-Identifier: MIT
"""Scripts that run in a process of their own, with the engine that is under test."""

from __future__ import annotations

import os
import subprocess
import sys

import cyncore

ENGINE_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(cyncore.__file__)))


def run_script(source: str, *options: str) -> str:
    """Runs ``source`` with the engine in use, warnings being errors, and returns what it printed.

    Fails where it fails, prints to stderr, or does not end.
    """
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), ENGINE_FOLDER]))
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", source],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
