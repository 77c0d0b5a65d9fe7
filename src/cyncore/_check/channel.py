# SPDX-License-Identifier: MIT
"""One class of channels as the rules see it: what it defines, inherits, and calls from its handlers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property

from .module import Class, Module
from .program import BUFFERED, CHAT, DISPATCHER, FILE, SMTP_CHANNEL, Program
from .syntax import Function, called_method, calls, dotted, self_name, stored, within

HANDLERS = (
    "handle_read",
    "handle_write",
    "handle_connect",
    "handle_accept",
    "handle_accepted",
    "handle_close",
    "handle_error",
    "handle_expt",
    "handle_read_event",
    "handle_write_event",
    "handle_expt_event",
    "handle_connect_event",
    "readable",
    "writable",
    "collect_incoming_data",
    "found_terminator",
    "process_message",
)


class Method:
    """A method, and the class that has it."""

    def __init__(self, owner: Class, function: Function) -> None:
        self.owner = owner
        self.function = function
        self.instance = self_name(function)

    @property
    def module(self) -> Module:
        return self.owner.module


class Channel:
    """A class with its own methods, and those that it inherits from classes of the program."""

    def __init__(self, program: Program, cls: Class) -> None:
        self.program = program
        self.cls = cls
        self.line = program.ancestors(cls)
        self.kind = program.kind(cls)
        self.is_whole = program.is_whole(cls)

    @property
    def module(self) -> Module:
        return self.cls.module

    def method(self, name: str, after: Class | None = None) -> Method | None:
        """The method that is called by that name, or by ``super()`` in the class ``after``."""
        line = self.line[self.line.index(after) + 1 :] if after in self.line else self.line
        for cls in line:
            if name in cls.methods:
                return Method(cls, cls.methods[name])
            if name in cls.attributes:
                return None
        return None

    def owner(self, name: str) -> Class | None:
        """The class of the program that defines the attribute. None: no class does, or one of the old modules."""
        return next((cls for cls in self.line if cls.defines(name)), None)

    def has(self, name: str) -> bool:
        """Does the program define ``name``: as a method, as an attribute, or by setting it on an instance?"""
        return self.owner(name) is not None or name in self.assigned

    @cached_property
    def assigned(self) -> dict[str, list[ast.AST]]:
        """The attributes that its methods set on the instance, and the statements that do."""
        found: dict[str, list[ast.AST]] = {}
        for cls in self.line:
            for function in cls.methods.values():
                instance = self_name(function)
                for node in within(function):
                    for target in stored(node):
                        if isinstance(target, ast.Attribute) and dotted(target.value) == instance and instance:
                            found.setdefault(target.attr, []).append(node)
        return found

    @cached_property
    def called(self) -> set[str]:
        """The names of all methods that it calls, on whatever object."""
        return {
            call.func.attr
            for cls in self.line
            for function in cls.methods.values()
            for call in calls(function)
            if isinstance(call.func, ast.Attribute)
        }

    @cached_property
    def listens(self) -> bool:
        return "listen" in self.called or any(self.owner(name) for name in ("handle_accept", "handle_accepted"))

    @cached_property
    def is_datagram(self) -> bool:
        return any(
            isinstance(node, (ast.Attribute, ast.Name)) and dotted(node).rpartition(".")[2] == "SOCK_DGRAM"
            for cls in self.line
            for function in cls.methods.values()
            for node in within(function)
        )

    @property
    def is_plain(self) -> bool:
        """Does the class send by itself, without a buffer that the engine knows?"""
        return self.kind in (DISPATCHER, FILE) or self.kind not in (BUFFERED, CHAT, SMTP_CHANNEL)

    @property
    def writes(self) -> bool:
        """Would a write event reach code of the program?"""
        return self.has("handle_write") or self.has("handle_write_event")

    def handlers(self) -> Iterator[Method]:
        """The handlers that the program defines and the loop calls."""
        names = [*HANDLERS, *(name for cls in self.line for name in cls.methods if name.startswith("smtp_"))]
        for name in dict.fromkeys(names):
            found = self.method(name)
            if found is not None:
                yield found

    def reached(self, start: Method) -> Iterator[Method]:
        """The method and all those of the instance that it calls, directly or not."""
        waiting, seen = [start], {start.function}
        while waiting:
            method = waiting.pop()
            yield method
            for call in calls(method.function):
                name = called_method(call, method.instance)
                above = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call)
                found = self.method(name, method.owner if above else None) if name else None
                if found is not None and found.function not in seen:
                    seen.add(found.function)
                    waiting.append(found)

    def closes(self, method: Method, depth: int = 0) -> bool:
        """May it close the channel, or pass it to code that may? False only where that can be ruled out."""
        if depth > 8:
            return True
        for node in within(method.function):
            if isinstance(node, ast.Raise):
                return True
            if isinstance(node, ast.Call) and self._call_closes(node, method, depth):
                return True
        return False

    def _call_closes(self, call: ast.Call, method: Method, depth: int) -> bool:
        name = called_method(call, method.instance)
        if any(dotted(argument) == method.instance for argument in call.args) and method.instance:
            return dotted(call.func) not in ("print", "repr", "str", "id", "type")  # the channel was passed on
        if not name:
            last = dotted(call.func).rpartition(".")[2]
            return last in ("close", "shutdown", "exit", "_exit", "close_all") or _hands_on(call, method.instance)
        if name in ("close", "handle_close", "del_channel", "close_when_done") or name not in _HARMLESS:
            found = self.method(name, method.owner if isinstance(call.func, ast.Attribute) and _above(call) else None)
            if found is None or found.function is method.function:
                return True
            return self.closes(found, depth + 1)
        return False


_HARMLESS = frozenset({"log", "log_info", "log_exception", "debug", "warning", "error", "info"})


def _above(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call)


def _hands_on(call: ast.Call, instance: str) -> bool:
    """Does a bound method of the instance leave with the call, as with ``call_later(0, self.close)``?"""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return bool(instance) and any(
        isinstance(one, ast.Lambda)
        or (isinstance(one, ast.Attribute) and dotted(one.value) == instance and one.attr in _CLOSERS)
        for one in given
    )


_CLOSERS = frozenset({"close", "handle_close", "del_channel", "close_when_done"})
