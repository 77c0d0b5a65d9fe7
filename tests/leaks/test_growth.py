# SPDX-License-Identifier: MIT
"""Every public call leaves nothing behind: no block of memory, no descriptor and, on a debug build, no reference."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest

from tests.leaks.growth import growth, is_leak
from tests.leaks.names import CLASSES, MODULES, NOT_CALLED, names
from tests.leaks.rows import COVERS, ROWS, SLOW, Site

CALLS, FEW = 40, 10
# What seems to grow is looked at for longer. What is kept for later has been filled by then, and a leak never ends.
TIMES = (1, 4, 16, 64)


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    logger = logging.getLogger("cyncore")
    before, logger.disabled = logger.disabled, True
    yield
    logger.disabled = before


def test_every_public_function_and_method_has_a_row() -> None:
    covered = {name for row in COVERS.values() for name in row}
    assert sorted(set(names()) - covered - set(NOT_CALLED)) == []


def test_every_name_of_a_row_is_that_of_a_function_or_method() -> None:
    for name in [name for row in COVERS.values() for name in row]:
        kind, _, member = name.partition(".")
        assert callable(getattr(CLASSES.get(kind) or MODULES[kind], member)), name


def test_what_grows_is_noticed() -> None:
    kept: list[object] = []
    assert is_leak(growth(lambda: kept.append([]), CALLS), CALLS)
    assert not is_leak(growth(list, CALLS), CALLS)


def test_what_the_collector_takes_does_not_grow() -> None:
    def circle() -> None:
        made: dict[str, object] = {}
        made["itself"] = made

    assert not is_leak(growth(circle, CALLS), CALLS)


@pytest.mark.parametrize("name", ROWS)
def test_call_leaves_nothing_behind(name: str) -> None:
    gc.collect()
    if hasattr(gc, "freeze"):  # PyPy's collector has none
        gc.freeze()
    site = Site()
    try:
        for times in TIMES:
            count = times * (FEW if name in SLOW else CALLS)
            found = growth(lambda: ROWS[name](site), count)
            if not is_leak(found, count):
                break
    finally:
        site.close()
    assert not is_leak(found, count), f"{count} calls have left {found}"
