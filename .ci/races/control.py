# SPDX-License-Identifier: MIT
"""The two races that every run must report before its silence means anything; `run` hands this file to pytest.

One is in a module of its own, and shows the tools: the compiler, the interpreter without a GIL, the log and the report.
The other one is a use of the engine that docs/loop.md forbids, and shows that its modules are looked at as well.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import cyncore
from cyncore import asyncore
from cyncore._native import control  # type: ignore[attr-defined]

THREADS = 2


def side_by_side(work: Callable[[], object]) -> None:
    failures: list[BaseException] = []
    meeting = threading.Barrier(THREADS)

    def guarded() -> None:
        try:
            meeting.wait(60)
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_modules_are_compiled_and_no_gil_puts_the_threads_into_an_order() -> None:
    assert cyncore.native
    assert not sys._is_gil_enabled()


def test_race_of_the_control() -> None:
    side_by_side(lambda: control.count(20, THREADS))


def test_race_of_two_threads_that_change_one_channel() -> None:
    """It takes a while: counting the references to the channel puts most of the changes into an order."""
    channel = asyncore.dispatcher()

    def change() -> None:
        for _ in range(20_000):
            channel.connecting = True

    side_by_side(change)
