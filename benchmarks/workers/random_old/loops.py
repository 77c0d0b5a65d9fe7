"""The loops: how a program runs its loop until its map is empty, by the word of the trait."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.workers.old_programs.modules import asyncore
from benchmarks.workers.random_old.kinds import Map


def loop(map: Map) -> None:
    asyncore.loop(map=map)


def use_poll(map: Map) -> None:
    asyncore.loop(30.0, True, map)


def timeout(map: Map) -> None:
    asyncore.loop(0.5, False, map)


def counted(map: Map) -> None:
    while map:
        asyncore.loop(1.0, False, map, 1)


def poll(map: Map) -> None:
    while map:
        asyncore.poll(1.0, map)


def poll2(map: Map) -> None:
    while map:
        asyncore.poll2(1.0, map)


def short_poll(map: Map) -> None:
    while map:
        asyncore.poll(0.01, map)


LOOPS: dict[str, Callable[[Map], None]] = {
    one.__name__: one for one in (loop, use_poll, timeout, counted, poll, poll2, short_poll)
}
