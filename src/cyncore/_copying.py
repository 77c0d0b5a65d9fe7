# SPDX-License-Identifier: MIT
"""What `copy` and `pickle` take of a channel: the attributes that the old classes kept in its ``__dict__``."""

from __future__ import annotations

from copyreg import _slotnames  # type: ignore[attr-defined]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

_ATTRIBUTES = (
    *("socket", "_map", "_fileno", "addr", "connected", "accepting", "connecting", "closing"),
    *("out_buffer", "ac_in_buffer", "incoming", "producer_fifo", "terminator"),
)
_OF_ENGINE = ("_cyncore_", "_Channel__", "_ChatChannel__")  # what attributes of the engine in plain Python begin with


def inherited(channel: Any, beyond: type, name: str) -> Any:
    """The method of that name which the channel has from a class behind ``beyond``, other than object; or None."""
    mro = type(channel).__mro__
    for base in mro[mro.index(beyond) + 1 : -1]:
        if name in vars(base):
            return vars(base)[name].__get__(channel, type(channel))
    return None


def state_of(channel: Any) -> Any:
    """The state of a channel, as `object.__getstate__` writes it."""
    kind = type(channel)
    state: dict[str, Any] = {}
    for name in _ATTRIBUTES:
        value = getattr(channel, name, None) if _is_ours(kind, name) else None
        if value is not None and value is not False:
            state[name] = list(value) if name == "producer_fifo" else value
    own = object.__getattribute__(channel, "__dict__").items()
    state.update((name, value) for name, value in own if name not in state and not name.startswith(_OF_ENGINE))
    slots = {name: getattr(channel, name) for name in _slotnames(kind) or () if hasattr(channel, name)}
    return (state, slots) if slots else state


def restore(channel: Any, state: Any, setter: Any) -> None:
    """Gives a new channel that state. ``setter``: the `__setattr__` of the engine."""
    state, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, {})
    kind = type(channel)
    for name, value in (state or {}).items():
        ours = _is_ours(kind, name)
        if ours and name == "producer_fifo":
            channel.producer_fifo.extend(value)  # the queue itself tells its own channel what happens to it
        elif ours or not hasattr(type(getattr(kind, name, None)), "__set__"):
            setter(channel, name, value)
        else:  # a property of the program's, which keeps its value under its own name
            object.__getattribute__(channel, "__dict__")[name] = value
    for name, value in slots.items():
        setattr(channel, name, value)


def _is_ours(kind: type, name: str) -> bool:
    owner = next((base for base in kind.__mro__ if name in vars(base)), object)
    return str(owner.__module__).partition(".")[0] == "cyncore"
