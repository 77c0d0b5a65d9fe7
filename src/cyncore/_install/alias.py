# SPDX-License-Identifier: MIT
"""An old name of one of cyncore's modules, as the import system knows it: a spec, and a loader that gives the module.

Facts of the import system, and what follows from them:

- Another thread may find a module in ``sys.modules`` while it is still being imported, and keeps the object that it
  found. So the loader hands out cyncore's own module from the start, never one that is replaced in the end.
- The import system marks a module with the spec that it was found by, and `importlib.reload` goes by the mark. So the
  loader puts cyncore's own spec back.
- `runpy` asks the loader of the spec for the code by the name that it was given, and loaders refuse any name but their
  own. So the specs here have one that knows both.
"""

from __future__ import annotations

import importlib
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any
else:
    Any = object

PACKAGE = "cyncore"
NAMES = ("asyncore", "asynchat", "smtpd")


class EitherName:
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


class _Alias(EitherName):
    """Imports one of cyncore's modules as the module of the old name."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        answer_to_both(module)
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own  # the import system has just put the alias's there


class AliasSpec(ModuleSpec):
    """Where an old name is found: at cyncore's module, in cyncore's package."""

    def __init__(self, name: str, own: ModuleSpec) -> None:
        super().__init__(name, _Alias(own), origin=own.origin)  # type: ignore[arg-type]
        self.has_location = own.has_location
        self.cached = own.cached

    @property
    def parent(self) -> str:
        return PACKAGE  # what relative imports go by where runpy runs the module as a program


def answer_to_both(module: ModuleType) -> None:
    """Lets `runpy` run one of cyncore's modules by its old name although it is imported already."""
    spec = module.__spec__
    if spec is not None and not isinstance(spec.loader, EitherName):
        spec.loader = EitherName(spec)  # type: ignore[assignment]
