"""The traits of a random old program, drawn from a seed: the same program on every Python and on both modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

# In the order in which they are drawn. What real programs have more often stands here more than once. A change of the
# order or of a tuple's length gives every seed another program.
CHOICES: dict[str, tuple[Any, ...]] = {
    "kind": ("list", "bytes", "with_send", "chat", "list", "bytes"),
    "answer": ("own", "own", "peer", "queue", "thread", "thread", "refill", "tick"),
    "writable": (
        *("own", "own", "anded", "queue", "others", "count", "time", "always", "method", "try", "class_flag"),
    ),
    "readable": (*("default", "default", "true", "limit", "peer", "paused", "global", "counting", "class_count"),),
    "idle": (0, 0, 30, 300, 450),
    "loop": ("loop", "loop", "use_poll", "timeout", "counted", "poll", "poll2", "short_poll"),
    "clients": (1, 1, 4, 16),
    "depth": (1, 1, 8),
    "size": (1, 20, 400),
    "block": (0, 0, 0, 0.0005),
    "counter": ("none", "class", "instance", "global"),
    "own_map": (False, False, True),
    "churn": (0, 0, 20),
    "defaults": (True, False),
    "out": ("attribute", "attribute", "attribute", "attribute", "property"),
    "mixin": ("none", "none", "before", "after"),
}
BASE_WRITABLE = ("base", "base_and", "base")  # of a class that has its output in the hands of its base
CHAT_READABLE = ("default", "base_and", "paused")


@dataclass(frozen=True)
class Traits:
    """What a program is like. It has one class of channels."""

    kind: str  # of channel: its output is a list or bytes, or in the hands of dispatcher_with_send or async_chat
    answer: str  # how it gets to the output: by the handler, another channel, a thread, or when a predicate is asked
    writable: str  # the predicate
    readable: str
    idle: int  # channels on which nothing happens
    loop: str  # how the program runs its loop
    clients: int
    depth: int  # messages that a client has on their way at once
    size: int  # bytes of a message
    block: float  # seconds that every fifth handler, and every job of a thread, sleeps
    counter: str  # what every message adds to
    own_map: bool  # the channels are in a map of the program
    churn: int  # turns after which a client leaves and comes again; 0: it stays
    defaults: bool  # attributes have their first values in the class body, not in __init__
    out: str  # the output is an attribute or a property
    mixin: str  # where a class that knows nothing of channels is among the bases

    def describe(self) -> str:
        """All of them, each as `--trait` takes it."""
        return " ".join(f"{name}={value}" for name, value in asdict(self).items())


def draw(seed: int, fixed: Mapping[str, Any] | None = None) -> Traits:
    """The traits of this seed. Those of `fixed` are not drawn, and leave the others as they are."""
    chance = Random(seed)
    drawn = {name: chance.choice(choices) for name, choices in CHOICES.items()}
    return Traits(**fit({**drawn, **(fixed or {})}, chance))


def fit(drawn: dict[str, Any], chance: Random) -> dict[str, Any]:
    """The same traits, without those that make no sense together."""
    kind, answer = drawn["kind"], drawn["answer"]
    if kind in ("with_send", "chat"):
        drawn["out"] = "attribute"  # of the base
        drawn["writable"] = chance.choice(BASE_WRITABLE)
        if answer in ("queue", "refill", "tick"):  # which need a writable() and a handle_write() of the program
            drawn["answer"] = "own"
        if kind == "chat":
            drawn["readable"] = chance.choice(CHAT_READABLE)
    elif answer == "queue" and drawn["writable"] != "always":
        drawn["writable"] = "queue"  # or nobody would look at it
    return drawn


def parse_fixed(text: str) -> tuple[str, Any]:
    """A trait that is written as NAME=VALUE. Raises ValueError where there is no such trait or value."""
    name, _, word = text.partition("=")
    if name not in CHOICES:
        raise ValueError(f"no such trait: {name}; there are {', '.join(CHOICES)}")
    for value in CHOICES[name]:
        if str(value) == word:
            return name, value
    words = dict.fromkeys(map(str, CHOICES[name]))
    raise ValueError(f"{name} is not {word or 'empty'}, but one of {', '.join(words)}")
