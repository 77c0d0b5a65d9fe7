# SPDX-License-Identifier: MIT
"""The attributes of the old classes, which were all in the ``__dict__`` of a channel. Most are kept elsewhere now.

A ``__setattr__`` of the program's may put what is assigned straight into that dict; `copy` and `pickle` look there.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

_NAMES = (
    *("socket", "_map", "_fileno", "addr", "connected", "accepting", "connecting", "closing"),
    *("out_buffer", "ac_in_buffer", "incoming", "producer_fifo", "terminator"),
)
_PRIVATE = ("_Channel__", "_ChatChannel__")  # what attributes of the engine in plain Python begin with


def _owner(kind: type, name: str) -> type:
    return next((base for base in kind.__mro__ if name in vars(base)), object)


def _is_ours(kind: type) -> bool:
    return str(kind.__module__).partition(".")[0] == "cyncore"


def _is_of_engine(kind: type, name: str) -> bool:
    """Is it an attribute of the engine's? A class of the program's may be called Channel, too."""
    return name.startswith("_cyncore_") or (name.startswith(_PRIVATE) and _is_ours(_owner(kind, name)))


def _is_computed(kind: type, name: str) -> bool:
    """Is it a property of the program's, which may keep its value under its own name?"""
    owner = _owner(kind, name)
    return not _is_ours(owner) and hasattr(type(vars(owner).get(name)), "__set__")


def adopt(kind: type, engine: Any) -> None:
    """Has the engine know what a ``__setattr__`` of the program's has put into the dict of a channel.

    ``kind``: the class of the channel. Nothing happens where that method is none of the program's, or was seen before.
    ``engine``: the class whose `__setattr__` is the engine's.
    """
    owner = _owner(kind, "__setattr__")
    own = vars(owner)["__setattr__"]
    if owner is object or _is_ours(owner) or hasattr(own, "adopts"):
        return

    def __setattr__(self: Any, name: str, value: Any) -> None:
        if owner is not kind:  # looked up at each call: a base may get another one, and `self` may have bases between
            super(kind, self).__setattr__(name, value)  # type: ignore[arg-type]
        else:
            bound = own.__get__(self, type(self)) if hasattr(own, "__get__") else own
            bound(name, value)
        held = object.__getattribute__(self, "__dict__")
        if name in held and not _is_computed(type(self), name):
            engine.__setattr__(self, name, held[name])

    __setattr__.adopts = own  # type: ignore[attr-defined]
    type.__setattr__(kind, "__setattr__", __setattr__)


def inherited(channel: Any, beyond: type, name: str) -> Any:
    """The method of that name which the channel has from a class behind ``beyond``, other than object; or None."""
    mro = type(channel).__mro__
    for base in mro[mro.index(beyond) + 1 : -1]:
        if name in vars(base):
            return vars(base)[name].__get__(channel, type(channel))
    return None


def state_of(channel: Any) -> Any:
    """The state of a channel, as `object.__getstate__` writes it."""
    from copyreg import _slotnames  # type: ignore[attr-defined]

    kind = type(channel)
    state: dict[str, Any] = {}
    for name in _NAMES:
        value: Any = getattr(channel, name, False) if _is_ours(_owner(kind, name)) else False
        if value is not False and (value is not None or name == "terminator"):
            state[name] = list(value) if name == "producer_fifo" else value
    own = object.__getattribute__(channel, "__dict__").items()
    state.update((name, value) for name, value in own if name not in state and not _is_of_engine(kind, name))
    slots = {name: getattr(channel, name) for name in _slotnames(kind) or () if hasattr(channel, name)}
    return (state, slots) if slots else state


def restore(channel: Any, state: Any, engine: Any) -> None:
    """Gives a new channel that state."""
    state, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, {})
    kind = type(channel)
    for name, value in (state or {}).items():
        if name == "producer_fifo" and _is_ours(_owner(kind, name)):
            channel.producer_fifo.extend(value)  # the queue itself tells its own channel what happens to it
        elif _is_computed(kind, name):
            object.__getattribute__(channel, "__dict__")[name] = value
        else:
            engine.__setattr__(channel, name, value)
    for name, value in slots.items():
        setattr(channel, name, value)
