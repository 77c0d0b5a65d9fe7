# SPDX-License-Identifier: MIT
"""What a loop was given: checked, so that the message names the argument before it does harm."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from typing import Any, Final

# When output leaves that a thread has for a channel of a loop.
NOW: Final = "now"
LATER: Final = "when the handlers have run"
ELSEWHERE: Final = "from another thread's loop"


def backend_name(name: str | None, known: tuple[str, ...]) -> str:
    """``name``, or what the environment says, or the first of ``known``."""
    if name is None:
        name = os.environ.get("CYNCORE_BACKEND") or known[0]
    if name not in known:
        raise ValueError(f"unknown backend {name!r}; there are: {', '.join(known)}")
    return name


def debug_wanted() -> bool:
    """What the environment and the interpreter's flags say."""
    return os.environ.get("CYNCORE_DEBUG", "") not in ("", "0") or sys.flags.dev_mode


def mapping(map: Any) -> Any:
    if not all(hasattr(map, name) for name in ("items", "get", "__contains__", "__delitem__")):
        raise TypeError(f"map must be a mapping of descriptors to channels, not {map!r}")
    return map


def checked_callback(callback: Callable[..., object]) -> Callable[..., object]:
    if not callable(callback):
        raise TypeError(f"callback must be callable, not {callback!r}")
    return callback


def number(name: str, value: Any) -> float:
    if not hasattr(value, "__float__") and not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a number, not {value!r}")
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats: as good as infinite
        return math.inf if value > 0 else -math.inf


def limit(timeout: float | None) -> float | None:
    """A timeout as the poller takes it: None for one that never ends."""
    if timeout is None:
        return None
    seconds = number("timeout", timeout)
    if not seconds >= 0:
        raise ValueError(f"timeout must be a number of seconds from 0 on, or None, not {timeout!r}")
    return None if seconds == math.inf else seconds
