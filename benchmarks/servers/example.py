"""A program of examples/, as a module: so what is measured is what is shown."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parent.parent.parent / "examples"


def load(name: str) -> ModuleType:
    sys.path.append(str(FOLDER))  # they import each other
    return importlib.import_module(name)
