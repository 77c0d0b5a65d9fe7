# SPDX-License-Identifier: MIT
"""What docs/processes.md shows is what happens."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.docs import block
from tests.support.examples import PATIENCE
from tests.support.script import run_script

PAGE = "docs/processes.md"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no pipes that a loop can wait for")


def test_child_sorts_and_ends() -> None:
    assert run_script(block(PAGE, "class Job")) == "it says one\nit says two\nit has ended with 0\n"


def test_input_is_shouted() -> None:
    words = [sys.executable, "-c", block(PAGE, "class Shout")]
    done = subprocess.run(words, input=b"hello\n", capture_output=True, timeout=PATIENCE, check=False)
    assert (done.stdout, done.stderr) == (b"HELLO\n", b"")
