# SPDX-License-Identifier: MIT
"""What uses another copy of an old module: `install` asks before it takes the copy's name away."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from . import provider
from .alias import NAMES

_SHOWN = 3  # of each kind of use; the rest is counted


def uses(others: dict[str, Any]) -> dict[str, list[str]]:
    """What uses each of the ``others``, in sentences. A copy that nothing uses is left out.

    ``others``: the modules by their names in ``sys.modules``. That one of them uses another does not count.
    """
    if not _uses(others):
        return {}
    gc.collect()  # a class that nothing refers to any more is a cycle, and derived from the copy until it is collected
    return _uses(others)


def refusal(others: dict[str, Any], uses: dict[str, list[str]]) -> str:
    """The message of the error with which `install` refuses."""
    lines = [f"another copy of {', '.join(uses)} is in use, and a program with two loops would hang"]
    for name, sentences in uses.items():
        lines.append(f"  {name} is {provider.described(name, getattr(others[name], '__file__', None))}:")
        lines += [f"    {sentence}" for sentence in sentences]
    options = "".join(f" --replace {name}" for name in uses if name not in NAMES)
    lines.append("Call cyncore.install() before anything imports these, or start the program with ")
    lines[-1] += f"`python -m cyncore{options}`."
    lines.append("install(replace=True) binds the names all the same; what is listed here stays on the other copy.")
    return "\n".join(lines)


def _uses(others: dict[str, Any]) -> dict[str, list[str]]:
    found = {name: list(_uses_of(module, others)) for name, module in others.items()}
    return {name: sentences for name, sentences in found.items() if sentences}


def _uses_of(module: Any, others: dict[str, Any]) -> Iterator[str]:
    if getattr(getattr(module, "__spec__", None), "_initializing", False):
        yield "it is being imported at this moment"
    names = _namespace(module)
    channels = names.get("socket_map")
    if channels:
        yield f"{len(channels)} in its socket_map: {_few(_kind(type(channel)) for channel in list(channels.values()))}"
    called = names.get("__name__", "")  # by its own word: a vendored copy may be bound to the old name from elsewhere
    values = list(names.values())
    own = [value for value in values if getattr(value, "__module__", None) == called]
    classes: list[type[Any]] = [value for value in own if isinstance(value, type)]
    derived = [kind for base in classes for kind in type.__subclasses__(base) if not _belongs_to(kind, others)]
    if derived:
        yield f"classes derived from it: {_few(map(_kind, derived))}"
    kept = {id(value) for value in values}
    users: list[Any] = [user for base in classes for user in gc.get_referrers(base) if type(user) is base]
    instances = [type(user) for user in users if id(user) not in kept]
    if instances:
        yield f"instances of its classes: {_few(map(_kind, instances))}"
    holders = list(_holders({id(value) for value in (module, channels, *own) if value is not None}, others))
    if holders:
        yield f"modules that hold it or a part of it: {_few(holders)}"


def _holders(wanted: set[int], others: dict[str, Any]) -> Iterator[str]:
    """The modules with one of ``wanted`` (by identity) among their names, and which names those are."""
    for name, module in list(sys.modules.items()):
        if any(module is other for other in others.values()):
            continue
        items = list(_namespace(module).items())
        # A package has what was imported inside it as an attribute, whether anybody uses it or not.
        held = [key for key, value in items if id(value) in wanted and f"{name}.{key}" not in others]
        if held:
            yield f"{name} ({', '.join(held[:_SHOWN])})"


def _belongs_to(kind: type, others: dict[str, Any]) -> bool:
    """Is the class one of the other copies' own?"""
    return any(_namespace(module).get("__name__") == kind.__module__ for module in others.values())


def _namespace(module: Any) -> dict[str, Any]:
    try:
        # Past the module's own __getattribute__, with which one that is imported lazily would import itself.
        namespace = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return namespace if isinstance(namespace, dict) else {}


def _kind(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _few(words: Iterable[str]) -> str:
    different = list(dict.fromkeys(words))
    more = len(different) - _SHOWN
    return ", ".join(different[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
