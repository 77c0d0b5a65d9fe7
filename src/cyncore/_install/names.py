# SPDX-License-Identifier: MIT
"""The old names: ``asyncore``, ``asynchat`` and ``smtpd``, bound to cyncore's modules by `install`, and copies' names.

Facts of the import system, and what follows from them:

- What is in ``sys.modules`` is found before anything else, and what is not is asked of ``sys.meta_path`` in order. So
  the names are bound in the first as far as that is cheap, and a finder at the front of the second gives them to
  whoever imports the rest, or takes one out of ``sys.modules`` and imports it again: other copies never get a chance,
  nor do the DeprecationWarnings of the standard library's.
- A module inside a package is an attribute of that too, which the import system sets when the module is imported. So
  the name of a copy inside a package is bound by an import of it alone, through the finder.
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

# smtpd costs more to import than the others together, and most programs have no use for it.
_AT_ONCE = NAMES[:2]

# The copy that has a stand-in of its own, and how its program is called.
_WAITRESS = "waitress.wasyncore"

_lock = RLock()


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
            importlib.import_module(f"{PACKAGE}.{name}")
        others = _others(wanted)
        if others and not replace:
            _refuse_if_used(others)
        if _WAITRESS not in wanted and not _keeps_its_own():
            wanted[_WAITRESS] = "wasyncore"
        _finder.give(wanted)
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        for name, own in wanted.items():
            _bind(name, sys.modules.get(f"{PACKAGE}.{own}"))
        if any(map(_finder.may_be_a_copy, list(sys.modules))):
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
        if module is not None and module is not sys.modules.get(f"{PACKAGE}.{wanted[name]}")
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


def _refuse_if_used(others: dict[str, Any]) -> None:
    from . import uses  # only needed here, where there is another copy

    found = uses.uses(others)
    if found:
        raise InstallError(uses.refusal(others, found), found)


def _watched(name: str, path: Any, target: Any) -> ModuleSpec | None:
    from . import copies  # not before there may be one

    return copies.watched(name, path, target)


_finder = Finder(_watched)
