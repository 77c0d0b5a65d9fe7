"""The counters: functions that become `count` of a class, and what a handler does beside its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.workers.random_old.common import CHANCE, STATE

SHARE = 0.2  # of the messages whose handler blocks


def count_nothing(self: Any) -> None:
    pass


def count_in_class(self: Any) -> None:
    type(self).total += 1


def count_in_instance(self: Any) -> None:
    self.hits += 1


def count_in_global(self: Any) -> None:
    STATE["messages"] += 1


COUNTERS: dict[str, Callable[[Any], None]] = {
    "none": count_nothing,
    "class": count_in_class,
    "instance": count_in_instance,
    "global": count_in_global,
}


def blocking(count: Callable[[Any], None], seconds: float) -> Callable[[Any], None]:
    """A counter that sleeps now and then, as a handler does that asks a database."""

    def count_and_block(self: Any) -> None:
        count(self)
        if CHANCE.random() < SHARE:
            time.sleep(seconds)

    return count_and_block
