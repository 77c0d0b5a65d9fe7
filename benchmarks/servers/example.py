"""The programs of examples/ as modules, so that what is measured is what the documentation shows."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load(name: str) -> ModuleType:
    sys.path.append(str(EXAMPLES))  # because they import each other
    return importlib.import_module(name)
