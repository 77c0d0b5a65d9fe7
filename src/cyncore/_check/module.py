# SPDX-License-Identifier: MIT
"""One file of a program, as far as the others need to know it: what it imports, and which classes it defines.

Most files of a program have nothing to do with channels. Only statements are looked at here, never the expressions
in them, and the tree itself is dropped again unless the rules will want it.
"""

from __future__ import annotations

import ast
import builtins
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from .syntax import Function, dotted


@dataclass(eq=False)
class Class:
    """A class statement. ``bases``: what it derives from, as written there; '' where that is no name."""

    name: str
    module: Module
    node: ast.ClassDef
    bases: list[str]
    methods: dict[str, Function] = field(default_factory=dict)
    attributes: dict[str, ast.expr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for statement in _statements(self.node.body):
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.methods[statement.name] = statement
            elif isinstance(statement, ast.Assign):
                for target in statement.targets:
                    if isinstance(target, ast.Name):
                        self.attributes[target.id] = statement.value
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
                self.attributes[statement.target.id] = statement.value

    def defines(self, name: str) -> bool:
        return name in self.methods or name in self.attributes


@dataclass(eq=False)
class Module:
    """``parts``: its place below the root of the program, ``("package", "module")``."""

    path: str
    parts: tuple[str, ...]
    is_package: bool
    text: bytes
    tree: ast.Module | None
    imports: dict[str, list[str]] = field(default_factory=dict)  # a name here -> what it may stand for
    stars: list[str] = field(default_factory=list)
    imported: dict[str, ast.stmt] = field(default_factory=dict)  # modules, by their full names
    scopes: list[Function] = field(default_factory=list)  # every function in it, also of classes and functions
    classes: dict[str, list[Class]] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    values: dict[str, ast.expr] = field(default_factory=dict)  # what is assigned at its top level

    def read(self, tree: ast.Module) -> None:
        self._read(tree.body, top=True)

    def forget(self) -> None:
        """Drops the tree, and all but what the classes derive from."""
        self.tree = None
        self.functions.clear()
        self.scopes.clear()
        self.values.clear()
        for found in (one for same in self.classes.values() for one in same):
            found.node.body.clear()
            found.methods.clear()
            found.attributes.clear()

    def recall(self, tree: ast.Module) -> None:
        """Takes the tree again that `forget` has dropped."""
        self.tree = tree
        self.imports.clear()
        self.stars.clear()
        self.imported.clear()
        self.scopes.clear()
        self.classes.clear()
        self.read(tree)

    def _read(self, body: Iterable[ast.stmt], top: bool) -> None:
        for statement in _statements(body):
            if isinstance(statement, ast.Import):
                self._import(statement)
            elif isinstance(statement, ast.ImportFrom):
                self._import_from(statement)
            elif isinstance(statement, ast.ClassDef):
                made = Class(
                    statement.name, self, statement, [name for base in statement.bases for name in _names(base)]
                )
                self.classes.setdefault(statement.name, []).append(made)
                self._read(statement.body, top=False)
            elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.scopes.append(statement)
                if top:
                    self.functions[statement.name] = statement
                self._read(statement.body, top=False)
            elif top and isinstance(statement, ast.Assign):
                for target in statement.targets:
                    if isinstance(target, ast.Name):
                        self.values[target.id] = statement.value

    def _import(self, statement: ast.Import) -> None:
        for alias in statement.names:
            self.imported.setdefault(alias.name, statement)
            if alias.asname:
                self._bind(alias.asname, alias.name)
            else:
                first = alias.name.partition(".")[0]
                self._bind(first, first)

    def _import_from(self, statement: ast.ImportFrom) -> None:
        source = statement.module or ""
        if statement.level:
            # Leading dots name a module by its place, starting from this one.
            up = statement.level - (1 if self.is_package else 0)
            home = self.parts[: len(self.parts) - up] if up else self.parts
            source = "/" + ".".join([*home, *filter(None, [source])])
        self.imported.setdefault(source, statement)
        for alias in statement.names:
            if alias.name == "*":
                self.stars.append(source)
            else:
                target = f"{source}.{alias.name}" if source not in ("", "/") else source + alias.name
                self._bind(alias.asname or alias.name, target)

    def _bind(self, name: str, target: str) -> None:
        targets = self.imports.setdefault(name, [])
        if target not in targets:
            targets.append(target)

    def meanings(self, name: str) -> list[str]:
        """What a dotted name of this file may stand for, written from the root of all modules."""
        first, _, rest = name.partition(".")
        targets = self.imports.get(first, [])
        if not targets:
            return [f"builtins.{name}"] if hasattr(builtins, first) else [name]
        return [f"{target}.{rest}" if rest else target for target in targets]

    def means(self, node: ast.AST | None, *wanted: str) -> bool:
        """Does the expression name one of the things ``wanted``, such as ``time.sleep``?"""
        name = dotted(node)
        return bool(name) and any(meaning.removeprefix("builtins.") in wanted for meaning in self.meanings(name))


def parts_of(path: str, top: str) -> tuple[str, ...]:
    """A file's place in the tree below ``top`` (the folder that was named), as the parts of a module's name."""
    relative = os.path.relpath(path, top) if top else path
    stem = os.path.splitext(relative)[0]
    # A dot in a folder's name, as in program-1.0, would look like one between two names.
    parts = [part.replace(".", "_") for part in stem.split(os.sep) if part not in ("", ".", "..")]
    if parts[-1:] == ["__init__"]:
        parts.pop()
    if parts:
        return tuple(parts)
    return (os.path.basename(os.path.abspath(top or ".")),)


def _names(base: ast.expr) -> list[str]:
    """The names of a base: also those handed to a call, as to ``with_metaclass(Meta, Base)``."""
    if isinstance(base, ast.Subscript):  # a generic class
        return _names(base.value)
    if isinstance(base, ast.Call):
        return ["", *(dotted(argument) for argument in base.args)]
    return [dotted(base)]


def _statements(body: Iterable[ast.stmt]) -> Iterable[ast.stmt]:
    """The statements of a body and of the branches in it, not of what is defined in it."""
    waiting = list(body)[::-1]  # no recursion: a thousand elif are a thousand statements nested in one another
    while waiting:
        statement = waiting.pop()
        yield statement
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        inner: list[ast.stmt] = []
        for name in ("body", "orelse", "finalbody"):
            inner += getattr(statement, name, ())
        for branch in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            inner += branch.body
        waiting += inner[::-1]
