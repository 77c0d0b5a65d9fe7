"""The clock of the workers that are counted, as a library to be preloaded."""

from __future__ import annotations

from pathlib import Path

from benchmarks.run.compiler import library


def clock() -> Path:
    """The path of the library, compiled where it is out of date. Raises CompileError."""
    return library(Path(__file__).with_name("clock.c"))
