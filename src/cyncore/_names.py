# SPDX-License-Identifier: MIT
"""The old names: ``asyncore``, ``asynchat`` and ``smtpd``, bound to cyncore's modules by `install`.

Facts of the import system, and what follows from them:

- What is in ``sys.modules`` is found before anything else, and what is not is asked of ``sys.meta_path`` in order. So
  the names are bound in the first as far as that is cheap, and a finder at the front of the second gives them to
  whoever imports the rest, or takes one out of ``sys.modules`` and imports it again: other copies never get a chance,
  nor do the DeprecationWarnings of the standard library's.
- Another thread may find a module in ``sys.modules`` while it is still being imported, and keeps the object that it
  found. So the loader hands out cyncore's own module from the start, never one that is replaced in the end.
- The import system marks a module with the spec that it was found by, and `importlib.reload` goes by the mark. So the
  loader puts cyncore's own spec back.
- `runpy` asks the loader of the spec for the code by the name that it was given, and loaders refuse any name but their
  own. So the specs here have one that knows both.
"""

from __future__ import annotations

import importlib
import sys
from _thread import RLock
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any
else:
    Any = object

NAMES = ("asyncore", "asynchat", "smtpd")

# smtpd costs more to import than the others together, and most programs have no use for it.
_AT_ONCE = NAMES[:2]

_lock = RLock()


class InstallError(RuntimeError):
    """Another copy of an old module is in use, so that binding its name would leave a program with two loops.

    ``uses`` has the names that are taken, each with what uses the other copy, one sentence a use.
    """

    def __init__(self, message: str, uses: dict[str, list[str]]) -> None:
        super().__init__(message)
        self.uses = uses


def install(*, replace: bool = False) -> None:
    """Binds the names ``asyncore``, ``asynchat`` and ``smtpd`` to cyncore's modules, for the whole process.

    From then on ``import asyncore`` anywhere gives the module `cyncore.asyncore` itself, and so for the other two.
    smtpd is imported when it is asked for first. Calling this again does nothing. May be called from any thread.

    Where one of the names is bound to another copy already (of the standard library, of a distribution, or vendored):

    - A copy that was only imported is replaced.
    - A copy *in use* is not: InstallError says by whom, and none of the three names is bound. In use means that there
      are channels in its ``socket_map``, classes derived from its classes, instances of them, or modules that hold it
      or something defined in it (``import asyncore`` and ``from asyncore import dispatcher`` alike), or that it is
      being imported at the moment. What the copies to be replaced do with each other does not count. A reference that
      only a function or an object holds is not found.
    - With ``replace`` it is replaced nevertheless. Whoever holds the other copy keeps it, and classes derived from it
      stay on its loop, which cyncore's does not run.

    There is no way back: modules that were imported in between would keep cyncore's.
    """
    with _lock:
        bound = {name: importlib.import_module(f"{__package__}.{name}") for name in _AT_ONCE}
        others = _others()
        if others and not replace:
            _refuse_if_used(others)
        if not any(type(finder) is _Finder for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder())
        for name in NAMES:
            module = bound.get(name) or sys.modules.get(f"{__package__}.{name}")
            if module is None:
                sys.modules.pop(name, None)  # the finder gives it when it is asked for
            else:
                answer_to_both(module)
                sys.modules[name] = module


def _others() -> dict[str, Any]:
    """What stands under the old names in ``sys.modules`` and is not cyncore's."""
    found = {name: sys.modules.get(name) for name in NAMES}
    return {
        name: module
        for name, module in found.items()
        if module is not None and module is not sys.modules.get(f"{__package__}.{name}")
    }


def _refuse_if_used(others: dict[str, Any]) -> None:
    from . import _uses  # only needed here, where there is another copy

    uses = _uses.uses(others)
    if uses:
        raise InstallError(_uses.refusal(others, uses), uses)


class _EitherName:
    """The loader of one of cyncore's modules, which gives its code and source under the old name too."""

    def __init__(self, own: ModuleSpec) -> None:
        self._name = own.name
        self._loader: Any = own.loader

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # copying and pickling ask for these before there is a loader
            raise AttributeError(attribute)
        return getattr(self._loader, attribute)

    def get_code(self, fullname: str | None = None) -> CodeType | None:
        code: CodeType | None = self._loader.get_code(self._name)
        return code

    def get_source(self, fullname: str | None = None) -> str | None:
        source: str | None = self._loader.get_source(self._name)
        return source

    def get_filename(self, fullname: str | None = None) -> str:
        return str(self._loader.get_filename(self._name))

    def is_package(self, fullname: str | None = None) -> bool:
        return False


class _Alias(_EitherName):
    """Imports one of cyncore's modules as the module of the old name."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        answer_to_both(module)
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own  # the import system has just put the alias's there


class _AliasSpec(ModuleSpec):
    """Where an old name is found: at cyncore's module, in cyncore's package."""

    def __init__(self, name: str, own: ModuleSpec) -> None:
        super().__init__(name, _Alias(own), origin=own.origin)  # type: ignore[arg-type]
        self.has_location = own.has_location
        self.cached = own.cached

    @property
    def parent(self) -> str:
        return __package__ or ""  # what relative imports go by where runpy runs the module as a program


class _Finder:
    """Finds the old names."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname not in NAMES:
            return None
        from importlib.util import find_spec

        own = find_spec(f"{__package__}.{fullname}")
        if own is None:
            return None
        return _AliasSpec(fullname, own)

    def invalidate_caches(self) -> None:
        """Nothing is kept here."""


def answer_to_both(module: ModuleType) -> None:
    """Lets `runpy` run one of cyncore's modules by its old name although it is imported already."""
    spec = module.__spec__
    if spec is not None and not isinstance(spec.loader, _EitherName):
        spec.loader = _EitherName(spec)  # type: ignore[assignment]
