# SPDX-License-Identifier: MIT
"""The old modules, for the tests that compare: each is loaded under another name, whatever its own is bound to."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import warnings
from types import ModuleType
from unittest import mock


def load(name: str, **on: ModuleType) -> ModuleType:
    """A private copy of the old module ``name``, which finds those of ``on`` where it imports them.

    Raises ImportError where there is none: Python 3.12 has dropped all three.
    """
    spec = importlib.machinery.PathFinder.find_spec(name, [folder for folder in sys.path if folder])
    if spec is None or spec.origin is None:
        raise ImportError(f"there is no old {name} here (pip install py{name})")
    private = importlib.util.spec_from_file_location(f"_old_{name}", spec.origin)
    assert private is not None
    assert private.loader is not None
    module = importlib.util.module_from_spec(private)
    with warnings.catch_warnings(), mock.patch.dict(sys.modules, on):
        warnings.simplefilter("ignore")
        private.loader.exec_module(module)
    return module


def load_asynchat() -> tuple[ModuleType, ModuleType]:
    """The old asyncore, and the old asynchat on it. Raises ImportError as `load` does."""
    loop = load("asyncore")
    return loop, load("asynchat", asyncore=loop)
