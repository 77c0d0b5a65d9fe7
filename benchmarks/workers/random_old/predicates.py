"""The predicates: functions that become `writable` or `readable` of a class, by the words of the traits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.workers.random_old.common import QUEUE, STATE, Count
from benchmarks.workers.random_old.traits import Traits

Predicate = Callable[[Any], Any]
LIMIT = 1 << 16  # bytes, or pieces of a list, after which no more is read


def own(self: Any) -> Any:
    return bool(self.out)


def anded(self: Any) -> Any:
    return (not self.closing_soon) and len(self.out) > 0


def queued(self: Any) -> Any:
    return bool(self.out) or bool(QUEUE)


def others(self: Any) -> Any:
    return bool(self.out) or (self.partner is not None and bool(self.partner.pending))


def by_count(self: Any) -> Any:
    return len(self.out) > 0 and STATE["messages"] >= 0


def by_time(self: Any) -> Any:
    return bool(self.out) and time.time() >= self.since


def always(self: Any) -> Any:
    return True


def by_method(self: Any) -> Any:
    return self.has_output()


def tried(self: Any) -> Any:
    try:
        return (self.out and True) or False
    except AttributeError:
        return False


def by_class_flag(self: Any) -> Any:
    return Count.enabled and bool(self.out)


def limited(self: Any) -> Any:
    return len(self.out) < LIMIT


def limited_by_peer(self: Any) -> Any:
    return self.partner is None or len(self.partner.out) < LIMIT


def buffer_limited(self: Any) -> Any:
    return len(self.out_buffer) < LIMIT


def buffer_limited_by_peer(self: Any) -> Any:
    return self.partner is None or len(self.partner.out_buffer) < LIMIT


def unpaused(self: Any) -> Any:
    return not self.paused


def by_global(self: Any) -> Any:
    return not STATE["full"]


def counting(self: Any) -> Any:
    STATE["asked"] += 1
    return True


def by_class_count(self: Any) -> Any:
    return Count.total >= 0


WRITABLE: dict[str, Predicate] = {
    "own": own,
    "anded": anded,
    "queue": queued,
    "others": others,
    "count": by_count,
    "time": by_time,
    "always": always,
    "method": by_method,
    "try": tried,
    "class_flag": by_class_flag,
}
READABLE: dict[str, Predicate] = {
    "true": always,
    "limit": limited,
    "peer": limited_by_peer,
    "paused": unpaused,
    "global": by_global,
    "counting": counting,
    "class_count": by_class_count,
}
READABLE_WITH_SEND = {**READABLE, "limit": buffer_limited, "peer": buffer_limited_by_peer}


def writable_of_base(base: Any) -> Predicate:
    """What the base answers, and one thing more."""

    def writable(self: Any) -> Any:
        return base.writable(self) and not self.closing_soon

    return writable


def readable_of_base(base: Any) -> Predicate:
    def readable(self: Any) -> Any:
        return base.readable(self) and not STATE["full"]

    return readable


def refilling(rest: Predicate) -> Predicate:
    """A predicate that first takes what waits behind the output, when that is empty."""

    def writable(self: Any) -> Any:
        if self.pending and not self.out:
            self.take_pending()
        return rest(self)

    return writable


def ticking(rest: Predicate) -> Predicate:
    """A predicate that first takes what waits behind the output, whenever it is asked."""

    def writable(self: Any) -> Any:
        if self.pending:
            self.take_pending()
        return rest(self)

    return writable


def choose(traits: Traits, base: Any) -> dict[str, Predicate]:
    """The predicates that a class with these traits overrides, by their names."""
    chosen = {}
    if traits.writable == "base_and":
        chosen["writable"] = writable_of_base(base)
    elif traits.writable != "base":
        before = {"refill": refilling, "tick": ticking}.get(traits.answer)
        rest = WRITABLE[traits.writable]
        chosen["writable"] = before(rest) if before else rest
    if traits.readable == "base_and":
        chosen["readable"] = readable_of_base(base)
    elif traits.readable != "default":
        chosen["readable"] = (READABLE_WITH_SEND if traits.kind == "with_send" else READABLE)[traits.readable]
    return chosen
