# SPDX-License-Identifier: MIT
"""CPython's own tests of the three old modules, and of what uses them, run over ours in a process of their own."""

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

from tests.support.script import ENGINE_FOLDER

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


def _skip_without(name: str) -> None:
    if sys.version_info >= (3, 12):
        pytest.skip("this Python no longer has the old modules, nor their tests")
    if importlib.util.find_spec("test") is None or importlib.util.find_spec(name) is None:
        pytest.skip("this Python was installed without its own tests")


def run(name: str, bound: Iterable[str], folder: Path, patched_by: str = "") -> dict[str, Any]:
    """Runs the module of tests called ``name`` with our modules in the place of the ``bound`` ones, in ``folder``.

    ``patched_by``: "gevent" or "eventlet", which replaces what blocks before anything else is imported.

    Returns ``run``, the number of tests; ``failed``, pairs of a test and its traceback; ``skipped``, pairs of a test
    and the reason. Skips the test that asks where this Python has no such tests, and fails it where they do not end.
    """
    _skip_without(name)
    path = os.pathsep.join(filter(None, [ENGINE_FOLDER, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUNNER, " ".join(bound), name, "outcome.json", patched_by],
        cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    written = Path(folder, "outcome.json")
    assert written.exists(), f"the tests did not come to an end (status {done.returncode}):\n{done.stderr[-4000:]}"
    return dict(json.loads(written.read_text()))


# The same for tests that use the old modules as servers: over ours, or over the old ones themselves.
SERVERS_RUNNER = """
import json, sys, unittest
over, name, outcome = sys.argv[1:]
if over == "ours":
    import cyncore
    cyncore.install()
suite = unittest.defaultTestLoader.loadTestsFromName(name)
used = [sys.modules[old] for old in ("asyncore", "asynchat", "smtpd") if old in sys.modules]
assert used
for module in used:
    assert module.__name__.startswith("cyncore.") == (over == "ours"), module
result = unittest.TextTestRunner(verbosity=2).run(suite)
with open(outcome, "w") as file:
    json.dump({
        "run": result.testsRun,
        "failed": [[test.id(), trace] for test, trace in result.failures + result.errors],
        "skipped": sorted([test.id(), reason] for test, reason in result.skipped),
    }, file)
"""


def run_both(name: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Runs the tests called ``name`` over the old modules and over ours, at the same time, each in a folder of its own.

    Returns the outcomes of both, as `run` does, and skips where that does.
    """
    _skip_without(".".join(name.split(".")[:2]))
    path = os.pathsep.join(filter(None, [ENGINE_FOLDER, os.environ.get("PYTHONPATH")]))
    running = []
    for over in "old", "ours":
        Path(folder, over).mkdir()
        with Path(folder, over, "log").open("w") as log:
            running.append(subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", SERVERS_RUNNER, over, name, "outcome.json"],
                cwd=Path(folder, over), env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log,
            ))  # fmt: skip
    try:
        for process in running:
            process.wait(250)
    finally:
        for process in running:
            process.kill()
            process.wait()
    outcomes = []
    for over, process in zip(("old", "ours"), running, strict=True):
        written, said = Path(folder, over, "outcome.json"), Path(folder, over, "log").read_text()
        assert written.exists(), f"over {over}: not run to the end (status {process.returncode}):\n{said[-4000:]}"
        outcomes.append(json.loads(written.read_text()))
    return outcomes[0], outcomes[1]


def check_none_failed(outcome: dict[str, Any]) -> None:
    failed = outcome["failed"]
    assert not failed, "\n\n".join(f"{name}\n{trace}" for name, trace in failed)
