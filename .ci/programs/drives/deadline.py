# SPDX-License-Identifier: MIT
"""Waiting for something to become true, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 20.0


def wait_until(done: Callable[[], object], turn: Callable[[], object] = lambda: time.sleep(0.005)) -> None:
    """Calls ``turn()`` until ``done()``. Fails after `SECONDS`."""
    end = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < end, "it did not come to pass"
        turn()
