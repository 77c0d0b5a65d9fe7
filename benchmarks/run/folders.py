"""The folders of the checkout that the benchmarks read and write."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
LOADS = BENCHMARKS / "loads"
BUILD = BENCHMARKS / "build"  # not under version control
EXAMPLES = ROOT / "examples"
