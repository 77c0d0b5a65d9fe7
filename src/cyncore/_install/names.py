# SPDX-License-Identifier: MIT
"""The old names: ``asyncore``, ``asynchat`` and ``smtpd``, bound to cyncore's modules by `install`, and copies' names.

Facts of the import system, and what follows from them:

- What is in ``sys.modules`` is found before anything else, and what is not is asked of ``sys.meta_path`` in order. So
  the names are bound in the first as far as that is cheap, and a finder at the front of the second gives them to
  whoever imports the rest, or takes one out of ``sys.modules`` and imports it again: other copies never get a chance,
  nor do the DeprecationWarnings of the standard library's.
- Another thread may find a module in ``sys.modules`` while it is still being imported, and keeps the object that it
  found. So the loader hands out cyncore's own module from the start, never one that is replaced in the end.
- The import system marks a module with the spec that it was found by, and `importlib.reload` goes by the mark. So the
  loader puts cyncore's own spec back.
- A module inside a package is an attribute of that too, which the import system sets when the module is imported. So
  the name of a copy inside a package is bound by an import of it alone, through the finder.
- `runpy` asks the loader of the spec for the code by the name that it was given, and loaders refuse any name but their
  own. So the specs here have one that knows both.
"""

from __future__ import annotations

import importlib
import sys
from _thread import RLock
from collections.abc import Iterable
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any
else:
    Any = object

_PACKAGE = "cyncore"

NAMES = ("asyncore", "asynchat", "smtpd")

# smtpd costs more to import than the others together, and most programs have no use for it.
_AT_ONCE = NAMES[:2]

# The copy that has a stand-in of its own, and how its program is called.
_WAITRESS = "waitress.wasyncore"

# What the finder gives for a name: which of cyncore's modules.
_given = {name: name for name in NAMES}

_lock = RLock()


class InstallError(RuntimeError):
    """Names cannot be bound: another copy is in use, so that binding its name would leave a program with two loops, or
    what was given to be replaced is nothing that cyncore has a module for.

    ``uses`` has the names that are taken, each with what uses the other copy, one sentence a use.
    """

    def __init__(self, message: str, uses: dict[str, list[str]]) -> None:
        super().__init__(message)
        self.uses = uses


def install(*, replace: bool = False, replace_copies: Iterable[str] = ()) -> None:
    """Binds the names ``asyncore``, ``asynchat`` and ``smtpd`` to cyncore's modules, for the whole process.

    From then on ``import asyncore`` anywhere gives the module `cyncore.asyncore` itself, and so for the other two.
    smtpd is imported when it is asked for first. Calling this again does nothing. May be called from any thread.

    ``waitress.wasyncore``, the copy of asyncore that waitress brings along, is bound to `cyncore.wasyncore` in the same
    way, unless it is in use already: then it stays, and the log says so. ``replace_copies`` names other copies inside
    packages, in full (``"package.asyncore"``): each is bound to the one of the three modules that its name, or what it
    defines, says it is a copy of. InstallError where there is no such module, or nothing says that; TypeError for one
    string. Packages are not imported for that. Of a copy of asyncore that stays, the log (``cyncore``) tells once.

    Where one of the names is bound to another copy already (of the standard library, of a distribution, or vendored):

    - A copy that was only imported is replaced.
    - A copy *in use* is not: InstallError says by whom, and none of the names is bound. In use means that there
      are channels in its ``socket_map``, classes derived from its classes, instances of them, or modules that hold it
      or something defined in it (``import asyncore`` and ``from asyncore import dispatcher`` alike), or that it is
      being imported at the moment. What the copies to be replaced do with each other does not count, nor does the
      attribute of a package that is the copy inside it. A reference that only a function or an object holds is not
      found.
    - With ``replace`` it is replaced nevertheless. Whoever holds the other copy keeps it, and classes derived from it
      stay on its loop, which cyncore's does not run.

    There is no way back: modules that were imported in between would keep cyncore's.
    """
    with _lock:
        wanted = {name: name for name in NAMES}
        if replace_copies:
            from . import copies  # few programs have any

            wanted.update(copies.chosen(replace_copies))
        for name in _AT_ONCE:
            importlib.import_module(f"{_PACKAGE}.{name}")
        others = _others(wanted)
        if others and not replace:
            _refuse_if_used(others)
        if _WAITRESS not in wanted and not _keeps_its_own():
            wanted[_WAITRESS] = "wasyncore"
        _given.update(wanted)
        if not any(map(is_ours, sys.meta_path)):
            sys.meta_path.insert(0, _Finder())
        for name, own in wanted.items():
            _bind(name, sys.modules.get(f"{_PACKAGE}.{own}"))
        if any(map(_may_be_a_copy, list(sys.modules))):
            from . import copies

            copies.tell_of_all(by_name=True)


def _bind(name: str, module: Any) -> None:
    """Gives ``name`` to one of cyncore's modules; where that is not imported (None), the finder does when asked."""
    package, _, last = name.rpartition(".")
    before = sys.modules.get(name)
    if package:
        if before is not None and (before is not module or getattr(sys.modules.get(package), last, None) is not module):
            del sys.modules[name]
            if package in sys.modules:
                importlib.import_module(name)  # which gives the package its attribute too
    elif module is None:
        sys.modules.pop(name, None)
    else:
        answer_to_both(module)
        sys.modules[name] = module


def _others(wanted: dict[str, str]) -> dict[str, Any]:
    """What stands under the names in ``sys.modules`` and is not the one of cyncore's modules that is wanted there."""
    found = {name: sys.modules.get(name) for name in wanted}
    return {
        name: module
        for name, module in found.items()
        if module is not None and module is not sys.modules.get(f"{_PACKAGE}.{wanted[name]}")
    }


def _keeps_its_own() -> bool:
    """Is waitress' own copy in use? Whoever asked for the other names has made no mistake: it is told, and no error."""
    others = _others({_WAITRESS: "wasyncore"})
    if not others:
        return False
    from . import copies, uses

    if not uses.uses(others):
        return False
    copies.tell_of_known(_WAITRESS, "waitress")
    return True


def _may_be_a_copy(name: str) -> bool:
    if "asyncore" not in name:  # nearly all, and every import asks
        return False
    return "asyncore" in name.rpartition(".")[2] and name not in _given and not name.startswith(f"{_PACKAGE}.")


def _refuse_if_used(others: dict[str, Any]) -> None:
    from . import uses  # only needed here, where there is another copy

    found = uses.uses(others)
    if found:
        raise InstallError(uses.refusal(others, found), found)


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
        return _PACKAGE  # what relative imports go by where runpy runs the module as a program


class _Finder:
    """Finds the names that are bound, and looks at what else may be a copy of asyncore."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        name = _given.get(fullname)
        if name is None:
            if not _may_be_a_copy(fullname):
                return None
            from . import copies

            return copies.watched(fullname, path, target)
        from importlib.util import find_spec

        own = find_spec(f"{_PACKAGE}.{name}")
        if own is None:
            return None
        return _AliasSpec(fullname, own)

    def invalidate_caches(self) -> None:
        """Nothing is kept here."""


def is_ours(finder: Any) -> bool:
    """Is it the finder that `install` puts there?"""
    return type(finder) is _Finder


def answer_to_both(module: ModuleType) -> None:
    """Lets `runpy` run one of cyncore's modules by its old name although it is imported already."""
    spec = module.__spec__
    if spec is not None and not isinstance(spec.loader, _EitherName):
        spec.loader = _EitherName(spec)  # type: ignore[assignment]
