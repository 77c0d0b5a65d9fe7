# SPDX-License-Identifier: MIT
"""Runs at the start of every Python that a program's tests start: binds the names before anything asks for them.

PROGRAM_OVER says over what the program runs: ``cyncore`` or ``old``. PROGRAM_COPIES names copies of the old modules
that the program brings along, which cyncore replaces as it does for everybody, and what stands in for each of them in a
run over the old modules: ``waitress.wasyncore=waitress_wasyncore``.
"""

import importlib
import os
import sys
import warnings

copies = dict(pair.split("=") for pair in os.environ.get("PROGRAM_COPIES", "").split())

if os.environ.get("PROGRAM_OVER") == "cyncore":
    importlib.import_module("cyncore").install(replace_copies=copies)
else:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the old modules' own
        for copy, stand_in in copies.items():
            sys.modules[copy] = importlib.import_module(stand_in)
