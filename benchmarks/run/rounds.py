"""The rounds: everything is measured once, then everything once more, so that a slow minute slows down everybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from benchmarks.run.errors import MeasurementError
from benchmarks.run.figures import Figures, Rounds
from benchmarks.run.load import Shape, take
from benchmarks.run.peers import Peer
from benchmarks.run.plan import Plan
from benchmarks.run.progress import progress
from benchmarks.run.series import Series

Item = TypeVar("Item")
Key = TypeVar("Key")
SCAN_LIMIT = 2000  # connections


def there_and_back(items: Sequence[Item], rounds: int) -> Iterator[tuple[int, Item]]:
    """Every item with the number of the round, in turn forwards and backwards."""
    for turn in range(rounds):
        for item in items if turn % 2 == 0 else reversed(items):
            yield turn, item


def measure_loads(peers: Sequence[Peer], shapes: Sequence[Shape], plan: Plan) -> list[Series]:
    """Measures every peer under every shape. A peer that fails under a shape is not tried with it again."""
    every = [Series(peer, shape) for peer in peers for shape in shapes]
    for turn, series in there_and_back(every, plan.rounds):
        if turn >= count_rounds(series.peer, series.shape, plan) or series.failures:
            continue
        where = f"round {turn + 1}/{plan.rounds}, {series.shape.label()}"
        try:
            sample = series.samples[turn] = take(series.peer, series.shape, plan.placement)
            progress(f"{where}, {series.peer.name}: {sample.rate:,.0f} messages/s")
        except MeasurementError as error:
            series.failures.append(str(error))
            progress(f"{where}, {series.peer.name}: {error}")
    return every


def count_rounds(peer: Peer, shape: Shape, plan: Plan) -> int:
    """A loop that asks every channel at every turn takes minutes for thousands of them, and so has one round there."""
    return 1 if peer.scans and shape.connections > SCAN_LIMIT else plan.rounds


def measure(
    keys: Sequence[Key], plan: Plan, take: Callable[[Key], Figures], tell: Callable[[Key, Figures | None], str]
) -> tuple[dict[Key, Rounds], dict[Key, str]]:
    """Calls `take` for every key in every round. A key that fails is not tried again.

    `tell` returns the line of progress. Returns the figures, and for the keys that failed the reason.
    """
    taken: dict[Key, Rounds] = {}
    failures: dict[Key, str] = {}
    for turn, key in there_and_back(keys, plan.rounds):
        if key in failures:
            continue
        try:
            figures = take(key)
            taken.setdefault(key, {})[turn] = figures
            told = tell(key, figures)
        except MeasurementError as error:
            failures[key] = str(error)
            told = f"{tell(key, None)}: {error}"
        progress(f"round {turn + 1}/{plan.rounds}, {told}")
    return taken, failures
