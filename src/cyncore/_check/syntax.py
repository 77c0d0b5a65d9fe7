# SPDX-License-Identifier: MIT
"""Questions about a syntax tree that every rule asks."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)

_LONGEST = 30  # attributes in a chain; the parts of a longer one would be read again and again


def dotted(node: ast.AST | None) -> str:
    """``a.b.c`` for a name or a chain of attributes, '' for anything else."""
    words: list[str] = []
    while isinstance(node, ast.Attribute) and len(words) < _LONGEST:
        words.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    words.append(node.id)
    return ".".join(reversed(words))


def within(node: ast.AST) -> list[ast.AST]:
    """Everything below ``node`` that runs when it does: nothing of the functions and classes defined in it.

    In the order of the text. Kept in the node, because many rules look through the same functions.
    """
    kept: list[ast.AST] | None = getattr(node, "_within", None)
    if kept is None:
        kept = list(_walk(node))
        node._within = kept  # type: ignore[attr-defined]
    return kept


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    waiting = _children(node)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        waiting = list(node.body) if isinstance(node.body, list) else [node.body]
    waiting.reverse()
    while waiting:
        inner = waiting.pop()
        yield inner
        if not isinstance(inner, SCOPES):
            more = _children(inner)
            more.reverse()
            waiting += more


def _children(node: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [one for one in value if isinstance(one, ast.AST)]
        elif isinstance(value, ast.AST) and not isinstance(value, (ast.expr_context, ast.operator)):
            found.append(value)
    return found


def calls(node: ast.AST) -> list[ast.Call]:
    """The calls that are made when ``node`` runs."""
    return [inner for inner in within(node) if isinstance(inner, ast.Call)]


def self_name(function: Function) -> str:
    """What a method calls the instance; '' for a static or class method."""
    for decorator in function.decorator_list:
        if dotted(decorator) in ("staticmethod", "classmethod"):
            return ""
    positional = function.args.posonlyargs + function.args.args
    return positional[0].arg if positional else ""


def called_method(call: ast.Call, instance: str) -> str:
    """``m`` where the call is ``self.m(...)`` or ``super().m(...)``, else ''."""
    target = call.func
    if not isinstance(target, ast.Attribute):
        return ""
    owner = target.value
    if instance and isinstance(owner, ast.Name) and owner.id == instance:
        return target.attr
    return target.attr if is_super(owner) else ""


def is_super(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def number(node: ast.AST | None) -> float | None:
    """The value of a literal number, also of a negative one; None for anything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = number(node.operand)
        return None if value is None else -value
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        try:
            return float(node.value)
        except OverflowError:  # an int of hundreds of digits
            return math.inf
    return None


def argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    """The argument of that name or place. None: not given, or hidden in ``*args``."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    given = call.args[: place + 1]
    if len(given) <= place or any(isinstance(one, ast.Starred) for one in given):
        return None
    return given[place]


def body_of(function: Function) -> list[ast.stmt]:
    """The statements of a function without its docstring."""
    first = function.body[0]
    has_doc = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return function.body[1:] if has_doc else function.body


def stored(node: ast.AST) -> list[ast.expr]:
    """What an assignment of any kind stores to."""
    if isinstance(node, ast.Assign):
        targets: list[ast.expr] = []
        for target in node.targets:
            targets += target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
        return targets
    if isinstance(node, (ast.AugAssign, ast.AnnAssign)):
        return [node.target]
    return []


def catches_all(handler: ast.ExceptHandler) -> bool:
    """A bare ``except:``, or one of BaseException, that does not raise again."""
    if handler.type is not None and dotted(handler.type) not in ("BaseException", "builtins.BaseException"):
        return False
    return not any(isinstance(node, (ast.Raise, ast.Return)) for node in within(handler)) and not leaves(handler)


def leaves(node: ast.AST) -> bool:
    """Does it end the process or the loop that it stands in?"""
    names = {dotted(call.func) for call in calls(node)}
    return bool(names & {"sys.exit", "os._exit", "exit", "quit"}) or any(isinstance(x, ast.Break) for x in within(node))
