# SPDX-License-Identifier: MIT
"""What a class of channels defines of its own: which predicates must be asked, which events it can handle.

A class may be changed while its channels are served, so each is compared with what it was once in every tick.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, ClassVar, Final, TypeVar
from weakref import WeakKeyDictionary

from .poller import PRI, READ

_Method = TypeVar("_Method", bound=Callable[..., Any])

_defaults: Final[dict[int, Callable[..., Any]]] = {}  # by their id, as a method of a program's may be unhashable


def default(method: _Method) -> _Method:
    """Marks a method of the engine's own: a class that has no other does not define it."""
    _defaults[id(method)] = method
    return method


def defines(obj: Any, name: str) -> bool:
    """Does the channel, or its class, have a method of that name which is not a default?

    Those are the methods marked with `default`, and the handlers of `dispatcher` that only say "unhandled".
    """
    if name in getattr(obj, "__dict__", ()) or kind_defines(type(obj), name):
        return True
    return name in _LOOKED_UP and type(obj).__getattribute__ is not _usual_look_up  # it may answer with anything


_usual_look_up: Final[Any] = object.__getattribute__
_LOOKED_UP: Final = frozenset({"readable", "writable", "handle_read", "handle_read_event"})


def kind_defines(kind: type, name: str) -> bool:
    """`defines` for a class."""
    method = getattr(kind, name, None)
    if method is None or id(method) in _defaults:
        return False
    return getattr(method, "unhandled", None) is not True


class Root:
    """What all channels derive from."""

    # Does it say itself what it wants, so that nobody asks its predicates?
    _cyncore_tells_interest: ClassVar[bool] = False
    # Is an error of its socket no hang-up, because nothing is connected?
    _cyncore_takes_errors: ClassVar[bool] = False
    # Does it say itself whether output waits, so that nobody asks writable()?
    _cyncore_tells_output: ClassVar[bool] = False


class Traits:
    """What the registry needs to know of a class, which has ``found`` as its decisive attributes.

    ``plain``: do its predicates, and whether output waits, decide everything that one of its channels wants? The other
    attributes exist only where that is true.
    """

    __slots__ = ("asks_readable", "asks_writable", "found", "plain", "reads", "special", "tells_output", "writes")

    def __init__(self, kind: type[Any], found: Any) -> None:
        self.found = found
        self.plain = (
            found is not None and issubclass(kind, Root) and _is_plain(*found[:4]) and not kind._cyncore_tells_interest
        )
        if not self.plain:
            return
        self.tells_output = kind._cyncore_tells_output
        self.asks_readable = kind_defines(kind, "readable")
        self.asks_writable = kind_defines(kind, "writable")
        self.writes = kind_defines(kind, "handle_write") or kind_defines(kind, "handle_write_event")
        if not self.asks_writable and self.writes and not self.tells_output:
            self.plain = False  # it always wants to write
        urgent = kind_defines(kind, "handle_expt") or kind_defines(kind, "handle_expt_event")
        self.reads = READ | PRI if urgent else READ
        # What an instance must not have of its own for the class to say it all, besides `accepting`.
        self.special: tuple[str, ...] = () if self.asks_readable else ("readable",)
        if not self.asks_writable:
            self.special += ("writable", "handle_write", "handle_write_event")


def _is_plain(readable: Any, writable: Any, accepting: Any, getter: Any) -> bool:
    methods = readable is not None and writable is not None
    return methods and accepting is False and getter is object.__getattribute__


_DECISIVE: Final = attrgetter(
    *("readable", "writable", "accepting", "__getattribute__"),
    *("handle_expt", "handle_expt_event", "handle_write", "handle_write_event"),
)

_known: WeakKeyDictionary[type, Traits] = WeakKeyDictionary()


class Kinds(dict[type, Traits]):
    """The traits of classes. Each is compared with its class once in the life of this dict, which is one tick."""

    def __missing__(self, kind: type) -> Traits:
        known = _known.get(kind)
        try:
            found = _DECISIVE(kind)
        except AttributeError:  # no dispatcher
            found = None
        if known is None or known.found is None or known.found != found:
            known = _known[kind] = Traits(kind, found)
        self[kind] = known
        return known
