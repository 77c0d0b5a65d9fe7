# SPDX-License-Identifier: MIT
"""A plugin of pytest: sees to it that the classes of the program in PROGRAM_CLASSES derive from what they should.

Without it a program that had quietly taken its own copy would pass for one that ran over cyncore.
"""

import importlib
import os
import unittest

import pytest

if not hasattr(unittest.TestCase, "failUnless"):  # gone in 3.12, together with asyncore; old tests call both
    unittest.TestCase.failUnless = unittest.TestCase.assertTrue  # type: ignore[attr-defined]


def pytest_sessionstart() -> None:
    ours = os.environ["PROGRAM_OVER"] == "cyncore"
    for name in os.environ["PROGRAM_CLASSES"].split():
        module, _, attribute = name.partition(":")
        bases = getattr(importlib.import_module(module), attribute).__mro__
        if any(base.__module__.partition(".")[0] == "cyncore" for base in bases) != ours:
            pytest.exit(f"{name} derives from {[base.__module__ for base in bases]}", returncode=3)
