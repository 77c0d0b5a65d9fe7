# SPDX-License-Identifier: MIT
"""What docs/inspection.md shows is what happens, and its tables name every field."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cyncore import ChannelInfo, Histogram, LoopStats
from cyncore._stats.viewer import ROUTES
from tests.support.docs import ROOT, block
from tests.support.script import run_script

PAGE = "docs/inspection.md"


def test_first_program_prints_its_figures() -> None:
    assert run_script(block(PAGE, "loop.channels()[0]")) == "5 bytes in\n2 events, 5 bytes out, 0 errors\n"


@pytest.mark.parametrize("kind", [LoopStats, ChannelInfo, Histogram])
def test_every_field_is_described(kind: type) -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert [name for name in kind._fields if f"`{name}`" not in text] == []  # type: ignore[attr-defined]


def test_server_of_the_page_serves_until_it_is_closed() -> None:
    assert run_script(block(PAGE, "loop.serve_stats")).startswith("http://127.0.0.1:")


def test_paths_are_those_that_are_served() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert [path for path in ROUTES if f"| `{path}" not in text] == []


def test_program_that_is_stuck_is_logged_where_it_is() -> None:
    done = subprocess.run(
        [sys.executable, "-c", block(PAGE, "loop.watch_handlers")],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert "a handler or a call runs for 0." in done.stderr
    assert "in stuck" in done.stderr


def test_monitor_of_the_page_sees_the_handler() -> None:
    seen = "Receiver.handle_data\n" if sys.version_info >= (3, 12) else ""
    assert run_script(block(PAGE, "sys.monitoring")) == seen
