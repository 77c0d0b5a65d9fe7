# SPDX-License-Identifier: MIT
"""What the three modules of the distribution cyncore-shim do when they are imported.

A shim serves any later version of cyncore, so `stand_in` keeps its name, its arguments and its meaning.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import provider
from .alias import answer_to_both

_warned = False


def stand_in(name: str, file: str, module: ModuleType) -> Callable[[str], Any]:
    """Puts ``module`` in ``sys.modules`` in the place of the shim's module ``name``, whose file is ``file``.

    Returns a ``__getattr__`` for the shim's module: a thread that found it while it was still being imported keeps it.

    Warns (RuntimeWarning, once a process) where ``asyncore`` is or will be another's: asynchat and smtpd run on
    cyncore's loop, which the ``loop()`` of that asyncore does not serve.
    """
    if name != "__main__":  # run by python -m, there is nobody to import it
        _warn_of_a_mixture(name, file)
        answer_to_both(module)
        sys.modules[name] = module
    return module.__getattribute__


def _warn_of_a_mixture(name: str, file: str) -> None:
    global _warned
    other = None if name == "asyncore" or _warned else _foreign_asyncore(file)
    if other is None:
        return
    _warned = True
    ours = provider.distribution_of(name, file) or "cyncore-shim"
    warnings.warn(
        f"{name} comes from {ours} and runs on cyncore's loop, but asyncore comes from {other}, whose loop() does not "
        "serve it. Uninstall the other distribution, or call cyncore.install() before anything is imported.",
        RuntimeWarning,
        stacklevel=4,
    )


def _foreign_asyncore(file: str) -> str | None:
    """Describes what ``import asyncore`` gives, if that is neither cyncore's nor the shim's beside ``file``."""
    loaded = sys.modules.get("asyncore")
    if loaded is not None and loaded is sys.modules.get("cyncore.asyncore"):
        return None
    try:
        spec = importlib.util.find_spec("asyncore")
    except ValueError:  # a module that was made by hand has no spec
        return "a module made by hand"
    if spec is None or spec.origin is None or spec.parent == "cyncore":
        return None
    beside = os.path.join(os.path.dirname(file), "asyncore.py")
    if os.path.realpath(spec.origin) == os.path.realpath(beside):
        return None
    return provider.described("asyncore", spec.origin)
