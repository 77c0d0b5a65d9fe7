# SPDX-License-Identifier: MIT
"""What the package tells Cython of its streams is true of those that are built."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

import cyncore

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def layout() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "layout.py"))


def test_the_files_are_written_anew_where_the_engine_has_changed(layout: dict[str, Any]) -> None:
    layout["check"]()


def test_the_size_is_that_of_a_stream(layout: dict[str, Any]) -> None:
    if not cyncore.native:
        pytest.skip("nothing is compiled")
    from cyncore._engine import StreamChannel

    pointer = 8 if object.__basicsize__ % 8 == 0 and tuple.__itemsize__ == 8 else 4
    header = object.__basicsize__ + pointer  # and the table of methods
    assert header + layout["size"](pointer) == StreamChannel.__basicsize__


def test_a_wide_number_has_its_width_where_a_pointer_is_narrow(layout: dict[str, Any]) -> None:
    """It was taken for a pointer: on i386, what was compiled against the package wrote into the stream's own."""
    assert [layout["measure"]("uint64_t", pointer)[0] for pointer in (4, 8)] == [8, 8]


def test_a_member_that_nobody_has_measured_is_refused(layout: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        layout["measure"]("long", 8)


def test_what_is_offered_is_in_the_table(layout: dict[str, Any]) -> None:
    offered = [text for text in layout["methods"]() if text]
    assert [text.partition("(")[0].split()[-1] for text in offered] == [
        "write_bytes",
        "handle_bytes",
        "handle_frame_bytes",
    ]


def test_a_member_more_is_another_layout(layout: dict[str, Any]) -> None:
    name, declared = layout["layout"]()
    names = layout["layout"].__globals__
    names["size"] = lambda pointer, size=names["size"]: size(pointer) + 8
    changed, _ = layout["layout"]()
    names["methods"] = lambda methods=names["methods"]: [*methods(), ""]
    again, _ = layout["layout"]()
    assert name in declared
    assert len({name, changed, again}) == 3
