# SPDX-License-Identifier: MIT
"""The files of a program: found below what the command line names, read and parsed, never imported.

A file that cannot be read or parsed is a finding like any other: a report without findings covers every file.
"""

from __future__ import annotations

import ast
import os
import stat
import warnings
from collections.abc import Iterator

from .rule import RULES, Finding

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})
_BUILT = frozenset({"build", "dist"})  # unless they are packages
_LARGEST = 16 * 1024 * 1024  # bytes; a larger file was not written by hand, and would take minutes


class Unread(Exception):
    """A file that gives no tree. ``args``: code, message, line."""


def find(path: str, seen: set[str]) -> Iterator[str]:
    """The file of that name, or those of Python below the folder of that name, unless they were ``seen`` before."""
    for found in _below(path) if os.path.isdir(path) else [path]:
        real = os.path.realpath(found)
        if real not in seen:
            seen.add(real)
            yield found


def _below(top: str) -> Iterator[str]:
    failed: list[str] = []
    for folder, folders, names in os.walk(top, onerror=lambda error: failed.append(error.filename)):
        folders[:] = sorted(name for name in folders if not _is_skipped(folder, name))
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name.endswith((".py", ".pyw")) or ("." not in name and _is_script(path)):
                yield path
    yield from failed  # folders, which will be reported as unreadable


def _is_skipped(folder: str, name: str) -> bool:
    path = os.path.join(folder, name)
    if name.startswith(".") or name in _SKIPPED or name.endswith(".egg-info"):
        return True
    if os.path.exists(os.path.join(path, "pyvenv.cfg")):
        return True
    return name in _BUILT and not os.path.exists(os.path.join(path, "__init__.py"))


def _is_script(path: str) -> bool:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            first = file.readline(200)
    except OSError:  # a file that need not be Python need not be readable
        return False
    return first.startswith(b"#!") and b"python" in first


def read(path: str) -> bytes:
    """The bytes of a file. `Unread` (CYN001) where there is none, or it is no plain file, or too large."""
    try:
        state = os.stat(path)
        if stat.S_ISDIR(state.st_mode):
            os.listdir(path)  # its error says more than that it is a folder
        if not stat.S_ISREG(state.st_mode):
            raise Unread("CYN001", "is not a plain file", 1)
        if state.st_size > _LARGEST:
            raise Unread("CYN001", f"has {state.st_size:,} bytes; {_LARGEST:,} are read at most", 1)
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Unread("CYN001", f"cannot be read: {error.strerror or error}", 1) from None


def parse(data: bytes, path: str) -> ast.Module:
    """The tree of a file. `Unread` (CYN002) where this Python cannot make one, whatever the reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes and the like are the program's own business
        try:
            return ast.parse(data, path)
        except SyntaxError as error:  # also of an unknown encoding, and of bytes that do not fit it
            line = error.lineno if error.lineno and error.lineno > 0 else 1
            raise Unread("CYN002", f"cannot be parsed: {error.msg}", line) from None
        except (RecursionError, MemoryError):
            raise Unread("CYN002", "cannot be parsed: it is nested too deeply", 1) from None
        except ValueError as error:  # pragma: no cover - null bytes, in the first releases of Python 3.10 and 3.11
            raise Unread("CYN002", f"cannot be parsed: {error}", 1) from None


def unread(path: str, error: Unread) -> Finding:
    """The finding for a file that was not read."""
    code, message, line = error.args
    return Finding(path, line, 1, code, message, RULES[code].remedy)
