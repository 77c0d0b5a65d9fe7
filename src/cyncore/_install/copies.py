# SPDX-License-Identifier: MIT
"""Copies of the old modules inside other packages: which module replaces one, and the log lines on those that stay.

Nothing here imports a copy, or the packages around it, to look at it. A package usually imports its copy, and a copy
that has been imported is in use and cannot be replaced any more.
"""

from __future__ import annotations

import pkgutil
import re
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

from cyncore._report import WARNING, report

from .error import InstallError
from .finder import found_by_others

# The classes and functions that a copy of each module defines. Those that it only imports do not count.
_DEFINES = {
    "asyncore": {"dispatcher", "loop", "poll"},
    "asynchat": {"async_chat"},
    "smtpd": {"SMTPChannel", "SMTPServer"},
}
_CALLED = re.compile(r"_*(w?asyncore|asynchat|smtpd)[_0-9]*")

_reported: set[str] = set()


def chosen(names: Iterable[str]) -> dict[str, str]:
    """Which of cyncore's modules replaces each of the copies ``names`` (in full: ``package.module``).

    TypeError for one string in place of several; InstallError where there is no such module, or nothing says what it
    is a copy of.
    """
    if isinstance(names, str):
        raise TypeError(f"replace_copies takes several names: [{names!r}]")
    return {name: _replacement_for(name) for name in names}


def _replacement_for(name: str) -> str:
    if not all(part.isidentifier() for part in name.split(".")):
        raise InstallError(f"{name!r} is no name of a module", {})
    if name.partition(".")[0] == "cyncore":
        raise InstallError(f"{name} is cyncore's own, and no copy", {})
    spec = _located(name)
    if spec is None:
        raise InstallError(f"there is no module {name} to be replaced", {})
    defined = _defined_in(spec, name)
    kinds = [kind for kind, needed in _DEFINES.items() if needed <= defined]
    called = _CALLED.fullmatch(name.rpartition(".")[2])
    if called is not None and kinds in ([], [called[1].lstrip("w")]):
        return called[1]
    if len(kinds) == 1:
        return kinds[0]
    what = f"what makes up {' and '.join(kinds)}" if kinds else "nothing that makes up asyncore, asynchat or smtpd"
    raise InstallError(f"{name} cannot be replaced: it defines {what}, so nothing says what it is a copy of", {})


def _located(name: str) -> ModuleSpec | None:
    """Where the module would be imported from, found without an import of the packages around it."""
    path: Any = None
    spec = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        if count > 1 and path is None:
            return None  # inside of a module that is no package
        outer = ".".join(parts[:count])
        try:
            spec = found_by_others(outer, path)
        except (ImportError, KeyError) as error:
            # KeyError: its path is made from that of the package around it, which is not imported. From Python 3.15 on
            # it is the cause of an ImportError, which says so.
            if not isinstance(error.__cause__ or error, KeyError):
                return None
            spec = _namespace(outer, path)
        if spec is None:
            return None
        path = getattr(sys.modules.get(outer), "__path__", spec.submodule_search_locations)
    return spec


def _namespace(name: str, path: Iterable[str]) -> ModuleSpec:
    """A package without an ``__init__``, as the finders of the folders ``path`` have it."""
    folders: list[str] = []
    for folder in path:
        found = pkgutil.get_importer(folder)
        spec = None if found is None else found.find_spec(name)
        if spec is not None and spec.loader is None:
            folders += spec.submodule_search_locations or []
    made = ModuleSpec(name, None, is_package=True)
    made.submodule_search_locations = folders
    return made


def _defined_in(spec: ModuleSpec, name: str) -> set[str]:
    """The classes and functions of the module, by its code; none where it has no code to be read."""
    get_code = getattr(spec.loader, "get_code", None)
    try:
        code = None if get_code is None else get_code(name)
    except (ImportError, SyntaxError, OSError):
        return set()
    return set() if code is None else {part.co_name for part in code.co_consts if isinstance(part, CodeType)}


# Reports


def watched(name: str, path: Any, target: Any) -> ModuleSpec | None:
    """What the other finders find, with a loader that reports the module if it is a copy of asyncore."""
    spec = found_by_others(name, path, target)
    if spec is not None and hasattr(spec.loader, "exec_module"):
        spec.loader = _Watch(spec)  # type: ignore[assignment]
    return spec


class _Watch:
    """Leaves the import to the module's own loader, and then reports the module if it is a copy of asyncore."""

    def __init__(self, spec: ModuleSpec) -> None:
        self._spec = spec
        self._loader: Any = spec.loader

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # copying and pickling ask for these before there is a loader
            raise AttributeError(attribute)
        return getattr(self._loader, attribute)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        create = getattr(self._loader, "create_module", None)
        module: ModuleType | None = None if create is None else create(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._spec.loader = module.__loader__ = self._loader  # the module is to show no trace of this
        self._loader.exec_module(module)
        _report_if_copy(self._spec.name, module)


def report_all(*, by_name: bool) -> None:
    """Reports the copies of asyncore that are imported, each once a process.

    ``by_name``: only those whose names are like asyncore's.
    """
    for name, module in list(sys.modules.items()):
        if not by_name or "asyncore" in name.rpartition(".")[2]:
            _report_if_copy(name, module)


def report_used(name: str, program: str) -> None:
    """Reports a copy that `install` would have replaced if it had not been in use."""
    if name not in _reported:
        _reported.add(name)
        report(
            WARNING,
            "%s is in use already and keeps its own loop, which is not cyncore's: call cyncore.install() before "
            "anything imports it, or start the program with `python -m cyncore -m %s`",
            name,
            program,
        )


def _report_if_copy(name: str, module: Any) -> None:
    if name not in _reported and _is_copy(module):
        _reported.add(name)
        report(
            WARNING,
            "%s is a copy of asyncore with a loop of its own, which is not cyncore's; to have cyncore in its place, "
            "start the program with `python -m cyncore --replace %s`, or call cyncore.install(replace_copies=[%r])",
            name,
            name,
            name,
        )


def _is_copy(module: Any) -> bool:
    """Does the module itself define what makes up asyncore?"""
    try:
        names = object.__getattribute__(module, "__dict__")  # a module that is imported lazily must stay unimported
        called, parts = names["__name__"], [names["dispatcher"], names["loop"], names["poll"]]
    except (AttributeError, KeyError, TypeError):
        return False
    if called == "__main__" or not isinstance(parts[0], type) or "socket_map" not in names:
        return False
    if str(called).partition(".")[0] == "cyncore":
        return False
    return all(getattr(part, "__module__", None) == called for part in parts)
