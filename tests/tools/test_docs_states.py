# SPDX-License-Identifier: MIT
"""The table of states in design.md is that of the code."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_table_of_states_is_made_from_the_flags() -> None:
    states = runpy.run_path(str(ROOT / "docs" / "states.py"))
    assert states["page"]() == (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    assert states["table"]().count("\n") > 20
