# SPDX-License-Identifier: MIT
"""What blocks, in threads of its own, while the test's thread serves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture(name="others")
def others_fixture() -> Iterator[Callable[[Callable[[], Any]], list[Any]]]:
    """Runs what blocks in a thread of its own. The list that is returned gets its result, or its exception."""
    threads: list[threading.Thread] = []

    def start(work: Callable[[], Any]) -> list[Any]:
        result: list[Any] = []

        def run() -> None:
            try:
                result.append(work())
            except Exception as error:
                result.append(error)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return result

    yield start
    for thread in threads:
        thread.join(10)
