# SPDX-License-Identifier: MIT
"""CYN201: channels that are used from a thread which does not run their loop.

A function counts as a thread's where it is handed to ``Thread``, ``Timer``, an executor or ``_thread``, or is the
``run`` of a thread's class. One that runs a loop itself is left alone: then the channels may well be its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from cyncore._check.module import Class, Module
from cyncore._check.program import CHAT, Program
from cyncore._check.report import Report
from cyncore._check.syntax import FUNCTIONS, Function, argument, calls, dotted, self_name, stored, within

_TOUCHES = frozenset(
    {
        "push",
        "push_with_producer",
        "send",
        "close",
        "close_when_done",
        "set_terminator",
        "discard_buffers",
        "handle_close",
    }
    | {"initiate_send", "connect", "set_socket", "del_channel", "add_channel", "pause_reading", "resume_reading"}
)
_CHATS_ONLY = frozenset({"push_with_producer", "close_when_done", "set_terminator"})
_WORDS = re.compile(rb"[tT]hread|submit|run_in_executor|apply_async")
_TURNS = frozenset({"asyncore.loop", "asyncore.poll", "asyncore.poll2", "asyncore.poll3"})
_RUNS = frozenset({"run_map", "run_forever", "serve_forever"})
_THREADS = (
    "threading.Thread",
    "threading.Timer",
    "multiprocessing.pool.ThreadPool",
    "concurrent.futures.ThreadPoolExecutor",
)


@dataclass(eq=False)
class _Place:
    """Code that a thread runs: a function or a lambda, the class of the ``self`` in it, and what its names mean."""

    code: ast.AST
    cls: Class | None
    instance: str
    channels: set[str] = field(default_factory=set)  # names, also dotted ones, that stand for channels
    inner: dict[str, Function] = field(default_factory=dict)


def check(program: Program, module: Module, report: Report) -> None:
    if _WORDS.search(module.text):
        _Threads(program, module, report).check()


class _Threads:
    def __init__(self, program: Program, module: Module, report: Report) -> None:
        self.program = program
        self.module = module
        self.report = report
        self.groups = _groups(program)

    def check(self) -> None:
        for place in list(self._places()):
            for start in self._starts(place):
                self._thread(start)
        for same in self.module.classes.values():
            for cls in same:
                run = cls.methods.get("run")
                if run is not None and self._is_thread(cls):
                    self._thread(self._place(run, cls))

    # Where threads begin

    def _places(self) -> Iterator[_Place]:
        """The file itself, and every function in it."""
        assert self.module.tree is not None  # a module without one is not checked
        yield self._place(self.module.tree, None)
        owners = {
            function: cls for same in self.module.classes.values() for cls in same for function in cls.methods.values()
        }
        for function in self.module.scopes:
            yield self._place(function, owners.get(function))

    def _place(self, code: ast.AST, cls: Class | None, channels: set[str] | None = None) -> _Place:
        place = _Place(code, cls, self_name(code) if cls is not None and isinstance(code, FUNCTIONS) else "")
        place.inner = {node.name: node for node in within(code) if isinstance(node, FUNCTIONS)}
        place.channels = set(channels or ()) | self._channels(code, place)
        return place

    def _starts(self, place: _Place) -> Iterator[_Place]:
        """The functions that are handed to a thread here."""
        for call in calls(place.code):
            target: ast.expr | None = None
            given: ast.expr | None = None
            if self.module.means(call.func, *_THREADS) or self._is_thread_name(call.func):
                timer = dotted(call.func).endswith("Timer")
                target = argument(call, 1, "function") if timer else argument(call, 1, "target")
                given = argument(call, 2 if timer else 3, "args")
            elif self.module.means(call.func, "_thread.start_new_thread", "thread.start_new_thread"):
                target, given = argument(call, 0, "function"), argument(call, 1, "args")
            elif isinstance(call.func, ast.Attribute) and call.func.attr in (
                "submit",
                "run_in_executor",
                "apply_async",
            ):
                target = argument(call, 1 if call.func.attr == "run_in_executor" else 0, "fn")
                given = ast.Tuple(call.args[1:], ast.Load())
            if target is not None:
                yield from self._target(target, given, place)

    def _is_thread_name(self, node: ast.expr) -> bool:
        """Does the expression name a class of threads that the program defines?"""
        return any(self._is_thread(cls) for cls in self.program.classes(dotted(node), self.module) if dotted(node))

    def _is_thread(self, cls: Class) -> bool:
        return any(
            one.module.means(base, "threading.Thread") for one in self.program.ancestors(cls) for base in one.node.bases
        )

    def _target(self, target: ast.expr, given: ast.expr | None, place: _Place) -> Iterator[_Place]:
        if isinstance(target, ast.Call) and dotted(target.func).endswith("partial") and target.args:
            given = ast.Tuple(target.args[1:], ast.Load())
            target = target.args[0]
        if isinstance(target, ast.Lambda):
            yield _Place(target, place.cls, place.instance, place.channels, place.inner)
            return
        if isinstance(target, ast.Attribute) and target.attr in _TOUCHES and self._is_channel(target.value, place):
            self._found(target, target.attr, dotted(target))
            return
        found = self._function(target, place)
        if found is None:
            return
        code, cls = found
        sees = set(place.channels) if code in place.inner.values() else set()
        parameters = [one.arg for one in code.args.posonlyargs + code.args.args][1 if cls and self_name(code) else 0 :]
        values = given.elts if isinstance(given, (ast.Tuple, ast.List)) else []
        sees |= {name for name, value in zip(parameters, values, strict=False) if self._is_channel(value, place)}
        made = self._place(code, cls, sees)
        if code in place.inner.values() and cls is None:
            made.cls, made.instance = place.cls, place.instance  # it sees the self of the function around it
        yield made

    def _function(self, node: ast.expr, place: _Place) -> tuple[Function, Class | None] | None:
        """The function that an expression names: one defined beside it, in the file, or a method."""
        if isinstance(node, ast.Name):
            inner = place.inner.get(node.id) or self.module.functions.get(node.id)
            return (inner, None) if inner is not None else None
        if isinstance(node, ast.Attribute) and place.cls is not None and dotted(node.value) == place.instance:
            for cls in self.program.ancestors(place.cls):
                if node.attr in cls.methods and cls.module is self.module:
                    return cls.methods[node.attr], cls if cls is not place.cls else place.cls
        return None

    # What they do

    def _thread(self, start: _Place) -> None:
        places = list(self._reached(start))
        if any(self._runs_loop(call, place) for place in places for call in calls(place.code)):
            return
        for place in places:
            for call in calls(place.code):
                if isinstance(call.func, ast.Attribute) and call.func.attr in _TOUCHES:
                    sure = call.func.attr in _CHATS_ONLY and self._is_of_channels(call.func.value)
                    if sure or self._is_channel(call.func.value, place):
                        self._found(call, call.func.attr, dotted(call.func) or f"(...).{call.func.attr}")

    def _found(self, node: ast.AST, method: str, name: str) -> None:
        text = f"{name}() is called in another thread than the loop's"
        if method == "push":
            text += ", which broke the old async_chat; cyncore's hands a push on to the loop, and nothing else"
        else:
            text += ", which may be in a handler of the channel at that moment"
        self.report.add(self.module, node, "CYN201", text)

    def _reached(self, start: _Place) -> Iterator[_Place]:
        waiting, seen = [start], {start.code}
        while waiting:
            place = waiting.pop()
            yield place
            for call in calls(place.code):
                found = self._function(call.func, place)
                if found is not None and found[0] not in seen:
                    seen.add(found[0])
                    waiting.append(self._place(*found))

    def _runs_loop(self, call: ast.Call, place: _Place) -> bool:
        if self.program.old_name(dotted(call.func), self.module) in _TURNS:
            return True
        if not isinstance(call.func, ast.Attribute):
            return False
        owner = dotted(call.func.value).lower()
        return (
            call.func.attr in _RUNS
            or ("loop" in owner and call.func.attr in ("run", "poll", "loop"))
            or call.func.attr == "loop"
        )

    # What stands for a channel

    def _channels(self, code: ast.AST, place: _Place) -> set[str]:
        found: set[str] = set()
        if isinstance(code, FUNCTIONS):
            for one in code.args.posonlyargs + code.args.args + code.args.kwonlyargs:
                if one.annotation is not None and self._is_class(one.annotation):
                    found.add(one.arg)
        for node in within(code):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and self._is_class(node.value.func):
                found |= {dotted(target) for target in stored(node) if dotted(target)}
            elif isinstance(node, ast.For) and self._is_group(node.iter):
                found |= {dotted(target) for target in ast.walk(node.target) if dotted(target)}
        return found

    def _is_channel(self, node: ast.expr, place: _Place) -> bool:
        if isinstance(node, ast.Subscript):
            return self._is_group(node.value)
        name = dotted(node)
        if not name:
            return False
        if name in place.channels:
            return True
        if place.cls is not None and name == place.instance:
            return bool(self.program.kind(place.cls))
        if place.cls is not None and name.startswith(f"{place.instance}.") and name.count(".") == 1:
            return any(
                isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and self._is_class(node.value.func)
                for cls in self.program.ancestors(place.cls)
                for function in cls.methods.values()
                for node in within(function)
                if any(dotted(target) == f"{self_name(function)}.{name.partition('.')[2]}" for target in stored(node))
            )
        value = self.module.values.get(name)
        return isinstance(value, ast.Call) and self._is_class(value.func)

    def _is_class(self, node: ast.expr) -> bool:
        name = dotted(node)
        if not name:
            return False
        return any(self.program.kind(cls) for cls in self.program.classes(name, self.module)) or self.program.old_name(
            name, self.module
        ).rpartition(".")[2] in (CHAT, "dispatcher", "dispatcher_with_send", "file_dispatcher")

    def _is_group(self, node: ast.expr) -> bool:
        """A list, set or dict that channels are put into somewhere in the program."""
        while isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in ("values", "copy", "items", "keys"):
                node = node.func.value
            elif node.args and dotted(node.func) in ("list", "tuple", "set", "sorted", "enumerate"):
                node = node.args[0]
            else:
                return False
        return dotted(node).rpartition(".")[2] in self.groups or self._is_map(node)

    def _is_map(self, node: ast.expr) -> bool:
        """Is it ``socket_map``, by whatever name the file has imported it?"""
        return self.program.old_name(dotted(node), self.module) == "asyncore.socket_map"

    def _is_of_channels(self, owner: ast.expr) -> bool:
        """Is it an object that has a name? The names of the methods that are looked for are async_chat's alone."""
        return bool(dotted(owner)) or isinstance(owner, ast.Subscript)


@lru_cache(maxsize=1)  # the same for every file of a program
def _groups(program: Program) -> frozenset[str]:
    """The names of containers that channels put themselves into, or are put into when they are made."""
    found: set[str] = set()
    for module in program.modules:
        for cls in program.channels(module):
            for function in cls.methods.values():
                instance = self_name(function)
                if instance:
                    found |= set(_put_into(function, instance))
    return frozenset(found)


def _put_into(function: Function, instance: str) -> Iterator[str]:
    for node in within(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("append", "add"):
            if node.args and dotted(node.args[0]) == instance:
                yield dotted(node.func.value).rpartition(".")[2]
        elif isinstance(node, ast.Assign) and dotted(node.value) == instance:
            for target in stored(node):
                if isinstance(target, ast.Subscript):
                    yield dotted(target.value).rpartition(".")[2]
