# SPDX-License-Identifier: MIT
"""CPython's own tests of the three old modules, run over ours in a process of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from support import ENGINE_FOLDER

# Runs in the other process: puts our modules in the old ones' place, runs the tests, writes their outcome to a file.
RUNNER = """
import sys
bound, name, outcome, patched_by = sys.argv[1].split(), sys.argv[2], sys.argv[3], sys.argv[4]
if patched_by == "gevent":
    from gevent import monkey
    monkey.patch_all()
elif patched_by == "eventlet":
    import eventlet
    eventlet.monkey_patch()
import importlib, json, unittest
for old in bound:
    sys.modules[old] = importlib.import_module("cyncore." + old)
tests = importlib.import_module(name)
for old in bound:
    used = getattr(tests, old, None)
    assert used is None or used.__name__ == "cyncore." + old, used
result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromModule(tests))
with open(outcome, "w") as file:
    json.dump({
        "run": result.testsRun,
        "failed": [[test.id(), trace] for test, trace in result.failures + result.errors],
        "skipped": [[test.id(), reason] for test, reason in result.skipped],
    }, file)
"""


def run(name: str, bound: Iterable[str], folder: Path, patched_by: str = "") -> dict[str, Any]:
    """Runs the module of tests called ``name`` with our modules in the place of the ``bound`` ones, in ``folder``.

    ``patched_by``: "gevent" or "eventlet", which replaces what blocks before anything else is imported.

    Returns ``run``, the number of tests; ``failed``, pairs of a test and its traceback; ``skipped``, pairs of a test
    and the reason. Skips the test that asks where this Python has no such tests, and fails it where they do not end.
    """
    if sys.version_info >= (3, 12):
        pytest.skip("this Python no longer has the old modules, nor their tests")
    if importlib.util.find_spec("test") is None or importlib.util.find_spec(name) is None:
        pytest.skip("this Python was installed without its own tests")
    path = os.pathsep.join(filter(None, [ENGINE_FOLDER, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUNNER, " ".join(bound), name, "outcome.json", patched_by],
        cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    written = Path(folder, "outcome.json")
    assert written.exists(), f"the tests did not come to an end (status {done.returncode}):\n{done.stderr[-4000:]}"
    return dict(json.loads(written.read_text()))


def check_none_failed(outcome: dict[str, Any]) -> None:
    failed = outcome["failed"]
    assert not failed, "\n\n".join(f"{name}\n{trace}" for name, trace in failed)
