"""The composition: the class of channels that has the traits of a program."""

from __future__ import annotations

from typing import Any

from benchmarks.workers.random_old.answers import ANSWERS, sharing
from benchmarks.workers.random_old.common import CHANNELS
from benchmarks.workers.random_old.counters import COUNTERS, blocking
from benchmarks.workers.random_old.kinds import KINDS, Mixin
from benchmarks.workers.random_old.predicates import choose
from benchmarks.workers.random_old.traits import Traits

DEFAULTS = {"closing_soon": False, "paused": False, "since": 0.0, "partner": None}


def begin(self: Any) -> None:
    self.hits = 0
    CHANNELS.append(self)


def begin_with_attributes(self: Any) -> None:
    self.closing_soon = False
    self.paused = False
    self.since = 0.0
    self.partner = None
    begin(self)


def get_out(self: Any) -> Any:
    return self.__dict__.get("_out")


def set_out(self: Any, value: Any) -> None:
    self.__dict__["_out"] = value


def compose(traits: Traits) -> Any:
    """Makes the class. It takes a socket and a map, or None."""
    kind = KINDS[traits.kind]
    bases = {"none": (kind,), "before": (Mixin, kind), "after": (kind, Mixin)}[traits.mixin]
    return type("Echo", bases, body(traits, kind))


def body(traits: Traits, kind: Any) -> dict[str, Any]:
    """What stands in the body of the class."""
    count = COUNTERS[traits.counter]
    attributes: dict[str, Any] = {
        "count": blocking(count, traits.block) if traits.block else count,
        "answer": ANSWERS[traits.answer],
        "begin": begin if traits.defaults else begin_with_attributes,
        **(DEFAULTS if traits.defaults else {}),
        **choose(traits, kind),
    }
    if traits.answer == "queue":
        attributes["handle_write"] = sharing(kind.handle_write)
    if traits.out == "property":
        attributes["out"] = property(get_out, set_out)
    return attributes
