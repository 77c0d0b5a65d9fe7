# SPDX-License-Identifier: MIT
"""What CPython does inside is known to one file of the engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "src" / "cyncore" / "_native"
CYTHON = sorted([*NATIVE.glob("*.pyx"), *NATIVE.glob("*.pxd")])
C_IN_CYTHON = re.compile(r'^cdef extern from [^\n]*:\n\s*"""', re.MULTILINE)
STRUCTS = re.compile(
    r"\b(tp_(?!flags\b|name\b)\w+|(ob|ma|func|ml)_\w+|Py(ASCII|Dict|Function|List|MethodDescr)Object)\b",
)


@pytest.mark.parametrize("path", CYTHON, ids=lambda path: path.name)
def test_c_code_is_in_files_of_its_own(path: Path) -> None:
    assert not C_IN_CYTHON.search(path.read_text())


@pytest.mark.parametrize("path", CYTHON, ids=lambda path: path.name)
def test_members_of_the_structs_of_cpython_are_used_in_one_header_only(path: Path) -> None:
    assert not STRUCTS.search(path.read_text())


def test_that_header_is_where_these_members_are_used() -> None:
    assert STRUCTS.search((NATIVE / "cpython.h").read_text())
