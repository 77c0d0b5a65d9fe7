# SPDX-License-Identifier: MIT
"""Loops over each backend, and loops that are ended where they would wait without end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cyncore import BACKENDS, Loop

# The fixture `loop` is made once for each backend of the engine in use, and not only for the one that it chooses.
every_backend = pytest.mark.parametrize("loop", BACKENDS, indirect=True)


@contextmanager
def ends_by_itself(loop: Loop) -> Iterator[None]:
    """Stops the loop, and fails, where what is inside would wait without end."""
    late: list[str] = []

    def end() -> None:
        late.append("stopped by the test")
        loop.stop()

    guard = threading.Timer(5, end)
    guard.start()
    try:
        yield
    finally:
        guard.cancel()
        guard.join()
    assert not late
