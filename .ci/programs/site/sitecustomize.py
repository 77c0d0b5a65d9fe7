# SPDX-License-Identifier: MIT
"""Runs at the start of every Python that a program's tests start: binds the names before anything asks for them.

PROGRAM_OVER says over what the program runs: ``cyncore`` or ``old``. PROGRAM_COPIES names copies of the old modules
that the program brings along, and what stands in for each: ``waitress.wasyncore=waitress_wasyncore``.
"""

import importlib
import os
import sys
import warnings

if os.environ.get("PROGRAM_OVER") == "cyncore":
    importlib.import_module("cyncore").install()

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the old modules' own
    for pair in os.environ.get("PROGRAM_COPIES", "").split():
        copy, _, stand_in = pair.partition("=")
        sys.modules[copy] = importlib.import_module(stand_in)
