# SPDX-License-Identifier: MIT
"""`install`: binds the names ``asyncore``, ``asynchat`` and ``smtpd``, and those of copies, to cyncore's modules.

Facts of the import system, and what follows from them:

- An import looks into ``sys.modules`` first, and then asks the finders in ``sys.meta_path`` in their order. So the
  modules that are cheap to import are put into ``sys.modules``. A finder at the front of ``sys.meta_path`` has the
  others, and gives a module again to a program that removes it from ``sys.modules``. So no other copy is ever found,
  and the standard library's modules give no DeprecationWarning.
- A module inside a package is also an attribute of the package, which the import system sets when it imports the
  module. So the name of a copy inside a package is bound by importing it, through the finder.
"""

from __future__ import annotations

import importlib
import sys
from _thread import RLock
from collections.abc import Iterable
from importlib.machinery import ModuleSpec

from .alias import NAMES, PACKAGE, answer_to_both
from .error import InstallError
from .finder import Finder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

# smtpd takes longer to import than the others together, and most programs do not use it.
_AT_ONCE = NAMES[:2]

# The copy for which cyncore has a module of its own.
_WAITRESS = "waitress.wasyncore"

_lock = RLock()


def install(*, replace: bool = False, replace_copies: Iterable[str] = ()) -> None:
    """Binds the names ``asyncore``, ``asynchat`` and ``smtpd`` to cyncore's modules, for the whole process.

    From then on ``import asyncore`` anywhere gives the module `cyncore.asyncore` itself, and so for the other two.
    smtpd is imported when a program first asks for it. Calling this again does nothing. May be called from any thread.

    ``waitress.wasyncore``, the copy of asyncore that waitress brings along, is bound to `cyncore.wasyncore` in the same
    way, unless it is in use already: then it stays, and the log says so. ``replace_copies`` names other copies inside
    packages, in full (``"package.asyncore"``): each is bound to the one of the three modules of which it is a copy, as
    its name or what it defines says. InstallError where there is no such module, or neither says it; TypeError for one
    string. The packages are not imported for that. A copy of asyncore that stays is logged once (``cyncore``).

    Where one of the names is bound to another copy already (of the standard library, of a distribution, or vendored):

    - A copy that was only imported is replaced.
    - A copy *in use* is not: InstallError says what uses it, and none of the names is bound. A copy is in use if its
      ``socket_map`` has channels, if there are classes derived from its classes or instances of them, if a module holds
      it or something defined in it (by ``import asyncore`` or by ``from asyncore import dispatcher``), or if it is
      being imported at the moment. Uses by the other copies that are to be replaced do not count, nor does the package
      around a copy, which has it as an attribute. A reference that only a function or an object holds is not found.
    - With ``replace`` it is replaced nevertheless. A module that holds the other copy keeps it. Classes derived from it
      stay on its loop, which cyncore's loop does not run.

    It cannot be undone: modules that were imported in between would keep cyncore's.
    """
    with _lock:
        wanted = {name: name for name in NAMES}
        if replace_copies:
            from . import copies  # few programs have any

            wanted.update(copies.chosen(replace_copies))
        for name in _AT_ONCE:
            importlib.import_module(f"{PACKAGE}.{name}")
        others = _others(wanted)
        if others and not replace:
            _refuse_if_used(others)
        if _WAITRESS not in wanted and not _waitress_is_in_use():
            wanted[_WAITRESS] = "wasyncore"
        _finder.give(wanted)
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        for name, own in wanted.items():
            _bind(name, sys.modules.get(f"{PACKAGE}.{own}"))
        if any(map(_finder.may_be_a_copy, list(sys.modules))):
            from . import copies

            copies.report_all(by_name=True)


def _bind(name: str, module: Any) -> None:
    """Binds ``name`` to one of cyncore's modules. None: it is not imported yet, and the finder will give it."""
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
    """The modules that have these names in ``sys.modules`` now, except those of cyncore that are wanted there."""
    found = {name: sys.modules.get(name) for name in wanted}
    return {
        name: module
        for name, module in found.items()
        if module is not None and module is not sys.modules.get(f"{PACKAGE}.{wanted[name]}")
    }


def _waitress_is_in_use() -> bool:
    """Is waitress' own copy in use? That is logged, and is no error: nobody has asked for this name."""
    others = _others({_WAITRESS: "wasyncore"})
    if not others:
        return False
    from . import copies, uses

    if not uses.uses(others):
        return False
    copies.report_used(_WAITRESS, "waitress")
    return True


def _refuse_if_used(others: dict[str, Any]) -> None:
    from . import uses  # only needed here, where there is another copy

    found = uses.uses(others)
    if found:
        raise InstallError(uses.refusal(others, found), found)


def _watched(name: str, path: Any, target: Any) -> ModuleSpec | None:
    from . import copies  # not before there may be one

    return copies.watched(name, path, target)


_finder = Finder(_watched)
