# SPDX-License-Identifier: MIT
"""What a program, or its tests, put in place of a name in an old module: it has to reach the code that uses the name.

The old modules were one file each, so that ``asyncore.socket = fake`` or ``smtpd.DEBUGSTREAM = sys.stderr`` reached
their classes. Here the classes are in other files.
"""

from __future__ import annotations

import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object


class OldModule(types.ModuleType):
    """A module that passes on what is assigned to its names: `_used_in` says which of them, and to which modules."""

    _used_in: dict[str, tuple[types.ModuleType, ...]]

    def __setattr__(self, name: str, value: Any) -> None:
        for module in self._used_in.get(name, ()):
            setattr(module, name, value)
        super().__setattr__(name, value)


def pass_on(name: str, used_in: dict[str, tuple[types.ModuleType, ...]]) -> None:
    """Has the module ``name`` pass on what is assigned to the names in ``used_in``."""
    module = sys.modules[name]
    module.__dict__["_used_in"] = used_in
    module.__class__ = OldModule
