# SPDX-License-Identifier: MIT
"""A ``__setattr__`` of the program's own, which may put what is assigned straight into the ``__dict__`` of a channel.

With the old modules that was all of an assignment. Here most of what a channel has is not in its ``__dict__``, and the
engine would not see it there.
"""

from __future__ import annotations

from functools import wraps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any
else:
    Any = object


def adopt(kind: type, note: Callable[[Any, str], None]) -> None:
    """Has ``note`` called with the channel and the name after each assignment that a ``__setattr__`` has served.

    ``kind``: the class of the channel. Nothing happens where that method is none of the program's, or was seen before.
    """
    owner = next(base for base in kind.__mro__ if "__setattr__" in vars(base))
    own = vars(owner)["__setattr__"]
    if str(owner.__module__).partition(".")[0] == "cyncore" or owner is object or getattr(own, "adopts", False):
        return

    @wraps(own)
    def __setattr__(self: Any, name: str, value: Any) -> None:
        bound = own.__get__(self, type(self)) if hasattr(own, "__get__") else own
        bound(name, value)
        note(self, name)

    __setattr__.adopts = True  # type: ignore[attr-defined]
    type.__setattr__(kind, "__setattr__", __setattr__)
