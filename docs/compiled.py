# SPDX-License-Identifier: MIT
"""What the compiled engine says of its classes and methods, read from its sources, so that nothing has to be built."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

NATIVE = Path(__file__).resolve().parents[1] / "src/cyncore/_native"
CLASS = re.compile(r"cdef class (\w+)(?:\((\w+)\))?:")
METHOD = re.compile(r"    (?:def|cpdef) (?:[\w ]+ )?(\w+)\(")


class Docstrings:
    """``of("Loop.run")`` is the docstring of that method, also where a base class has it; ``of("Loop")`` of the class.

    None where there is none.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._bases: dict[str, str] = {}
        for path in sorted(NATIVE.glob("*.pyx")):
            self._read(iter(path.read_text(encoding="utf-8").splitlines()))

    def of(self, name: str) -> str | None:
        kind, dot, method = name.partition(".")
        if not dot:
            return self._texts.get(kind)
        while kind:
            found = self._texts.get(f"{kind}.{method}")
            if found is not None:
                return found
            kind = self._bases.get(kind, "")
        return None

    def _read(self, lines: Iterator[str]) -> None:
        """Takes the classes of a file, and their methods. The first of that name counts: a setter comes later."""
        kind = ""
        for line in lines:
            if line and line[0] not in " #@)":
                kind = ""
            if found := CLASS.match(line):
                kind, base = found[1], found[2] or ""
                self._bases[kind] = base
                name = kind
            elif kind and (found := METHOD.match(line)):
                name = f"{kind}.{found[1]}"
                while not line.rstrip().endswith(":"):  # the arguments go on
                    line = next(lines)
            else:
                continue
            text = _docstring(lines)
            if text:
                self._texts.setdefault(name, text)


def _docstring(lines: Iterator[str]) -> str:
    """The docstring that begins at the next line, or nothing."""
    line = next(lines, "").strip()
    if not line.startswith('"""'):
        return ""
    taken = [line[3:]]
    while not taken[-1].rstrip().endswith('"""'):
        taken.append(next(lines))
    taken[-1] = taken[-1].rstrip()[:-3]
    return inspect.cleandoc("\n".join(taken))
