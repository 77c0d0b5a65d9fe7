# SPDX-License-Identifier: MIT
"""The finder that gives cyncore's modules to whoever imports the old names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec

from .alias import NAMES, PACKAGE, AliasSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object


class Finder:
    """An entry of ``sys.meta_path`` that finds cyncore's modules under other names.

    ``watch``: finds, with the arguments of `find_spec`, a module whose name is like that of a copy of asyncore.
    """

    def __init__(self, watch: Callable[[str, Any, Any], ModuleSpec | None]) -> None:
        self._watch = watch
        self._given = {name: name for name in NAMES}

    def give(self, names: dict[str, str]) -> None:
        """Finds these names from now on. Each comes with the name of one of cyncore's modules."""
        self._given.update(names)

    def may_be_a_copy(self, name: str) -> bool:
        """Is the name like that of a copy of asyncore, and not one that this finder gives to cyncore's modules?"""
        if "asyncore" not in name:  # nearly all, and every import asks
            return False
        last = name.rpartition(".")[2]
        return "asyncore" in last and name not in self._given and not name.startswith(f"{PACKAGE}.")

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        name = self._given.get(fullname)
        if name is None:
            return self._watch(fullname, path, target) if self.may_be_a_copy(fullname) else None
        from importlib.util import find_spec

        own = find_spec(f"{PACKAGE}.{name}")
        return None if own is None else AliasSpec(fullname, own)

    def invalidate_caches(self) -> None:
        """Nothing is kept here."""


def found_by_others(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
    """What the finders other than cyncore's find."""
    for finder in list(sys.meta_path):
        find = None if isinstance(finder, Finder) else getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = None if find is None else find(name, path, target)
        if spec is not None:
            return spec
    return None
