# SPDX-License-Identifier: MIT
"""CPython's own tests of asyncore, unchanged, run over the drop-in in a process of their own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NAME = "test.test_asyncore"

# Runs in the other process: puts the drop-in in the old one's place, runs the tests, writes their outcome to a file.
RUNNER = """
import importlib, json, sys, unittest
sys.modules["asyncore"] = drop_in = importlib.import_module("cyncore.asyncore")
tests = importlib.import_module(sys.argv[1])
assert tests.asyncore is drop_in
result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromModule(tests))
with open(sys.argv[2], "w") as file:
    json.dump({
        "run": result.testsRun,
        "failed": [[test.id(), trace] for test, trace in result.failures + result.errors],
        "skipped": [[test.id(), reason] for test, reason in result.skipped],
    }, file)
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the old tests said, run once."""
    if sys.version_info >= (3, 12):
        pytest.skip("this Python no longer has asyncore, nor its tests")
    if importlib.util.find_spec("test") is None or importlib.util.find_spec(NAME) is None:
        pytest.skip("this Python was installed without its own tests")
    folder = tmp_path_factory.mktemp("stdlib")  # the tests write files into the current folder
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUNNER, NAME, "outcome.json"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    written = Path(folder, "outcome.json")
    assert written.exists(), f"the tests did not come to an end (status {done.returncode}):\n{done.stderr[-4000:]}"
    return dict(json.loads(written.read_text()))


@pytest.mark.timeout(300)
def test_none_of_the_old_tests_fails(outcome: dict[str, Any]) -> None:
    failed = outcome["failed"]
    assert not failed, "\n\n".join(f"{name}\n{trace}" for name, trace in failed)


@pytest.mark.timeout(300)
def test_all_of_the_old_tests_ran(outcome: dict[str, Any]) -> None:
    # 3.10.13 and 3.11.7 have 101 each; a module that silently shrank to nothing would pass the test above.
    assert outcome["run"] >= 100


@pytest.mark.timeout(300)
def test_only_what_no_unix_socket_can_do_is_skipped(outcome: dict[str, Any]) -> None:
    for name, reason in outcome["skipped"]:
        assert "UnixSockets" in name, (name, reason)
        assert reason in ("Not applicable to AF_UNIX sockets.", "test specific to AF_INET and AF_INET6"), (name, reason)
