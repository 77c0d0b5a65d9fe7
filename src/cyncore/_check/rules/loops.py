# SPDX-License-Identifier: MIT
"""Rules about how the loop is run, and the map: CYN104 to CYN106, CYN209, CYN211, CYN215, CYN217, and notes."""

from __future__ import annotations

import ast

from cyncore._check.module import Module
from cyncore._check.program import Program
from cyncore._check.report import Report
from cyncore._check.syntax import argument, catches_all, dotted, number, within

_SHORT = 0.1  # seconds; a loop that waits longer in each turn costs next to nothing
_CHANGES = frozenset({"close", "handle_close", "del_channel", "close_connection", "pop", "clear"})
_POLLERS = ("select.select", "select.poll", "select.epoll", "select.kqueue")
_PATCHED = frozenset({"recv", "recv_into", "send", "accept", "getsockopt", "fileno", "connect_ex"})


def check(program: Program, module: Module, report: Report) -> None:
    _imports(module, report)
    assert module.tree is not None  # a module without one is not checked
    for scope in (module.tree, *(one.node for same in module.classes.values() for one in same), *module.scopes):
        _Turns(program, module, scope, report).check()


class _Turns:
    """The calls of asyncore's functions in one function."""

    def __init__(self, program: Program, module: Module, scope: ast.AST, report: Report) -> None:
        self.program = program
        self.module = module
        self.scope = scope
        self.report = report
        self.nodes = within(scope)

    def check(self) -> None:
        loops = [node for node in self.nodes if isinstance(node, ast.While)]
        for node in self.nodes:
            if isinstance(node, ast.Call):
                name = self._old(node.func)
                if name in ("asyncore.loop", "asyncore.poll", "asyncore.poll2", "asyncore.poll3"):
                    self._turn(node, name, any(node in _all(loop) for loop in loops))
            elif isinstance(node, ast.For):
                self._walk(node)
            elif isinstance(node, ast.Try):
                self._guard(node)
            elif isinstance(node, (ast.Assign, ast.AugAssign)):
                self._patch(node)
            elif isinstance(node, (ast.Name, ast.Attribute)) and dotted(node).rpartition(".")[2] == "FD_SETSIZE":
                self._add(node, "CYN310", "FD_SETSIZE bounds no loop of cyncore's")
        for loop in loops:
            self._sleeps(loop)
        self._own_poller()

    def _old(self, node: ast.AST) -> str:
        return self.program.old_name(dotted(node), self.module)

    def _add(self, node: ast.AST, code: str, message: str) -> None:
        self.report.add(self.module, node, code, message)

    def _turn(self, call: ast.Call, name: str, repeated: bool) -> None:
        given = argument(call, 0, "timeout")
        timeout = self._value(given)
        counts = self._counts(call)
        if timeout is not None and timeout < 0:
            self._add(call, "CYN215", f"{name}() with a timeout of {timeout:g} is a ValueError")
        elif (
            counts and timeout is not None and timeout <= _SHORT and (repeated or (timeout > 0 and self._in_function()))
        ):
            often = f"{1 / timeout:,.0f} times a second" if timeout else "without a pause"
            self._add(
                call,
                "CYN104",
                f"{name}() with a timeout of {timeout:g} s runs up to {often}, and asks every predicate each time",
            )
        elif counts and repeated and given is None and name != "asyncore.loop":
            self._add(call, "CYN104", f"{name}() without a timeout does not wait, and its loop runs without a pause")
        elif counts and repeated:
            self._add(call, "CYN311", f"{name}() in a loop of the program's own asks every predicate at each turn")
        if name == "asyncore.loop" and argument(call, 1, "use_poll") is not None:
            self._add(call, "CYN303", "use_poll is taken and ignored: the best poller of the system serves")

    def _value(self, node: ast.expr | None) -> float | None:
        """The value of an argument, given as a number or by a name that the file defines."""
        if isinstance(node, ast.Name):
            node = self.module.values.get(node.id)
        elif isinstance(node, ast.Attribute):  # of the class, as far as can be told from the name alone
            same = [
                one.attributes[node.attr]
                for line in self.module.classes.values()
                for one in line
                if node.attr in one.attributes
            ]
            node = same[0] if len(same) == 1 else None
        return number(node)

    def _in_function(self) -> bool:
        return not isinstance(self.scope, ast.Module)

    def _sleeps(self, loop: ast.While) -> None:
        inside = _all(loop)
        if not any(isinstance(node, ast.Call) and self._counts(node) for node in inside):
            return
        # A pause after an error is another matter.
        errors = {inner for node in inside if isinstance(node, ast.ExceptHandler) for inner in within(node)}
        for node in inside:
            if node not in errors and isinstance(node, ast.Call) and self.module.means(node.func, "time.sleep"):
                self._add(node, "CYN105", "time.sleep() in a loop that polls: what becomes ready meanwhile waits")

    def _counts(self, call: ast.Call) -> bool:
        """A call that handles what is ready now and returns."""
        name = self._old(call.func)
        return name in _TURNS and (name != "asyncore.loop" or argument(call, 3, "count") is not None)

    def _own_poller(self) -> None:
        """CYN106: a function that polls by itself and looks into the map, or asks the predicates of others."""
        asked = {
            node.func.attr for node in self.nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        maps = any(
            self._old(node) == "asyncore.socket_map"
            for node in self.nodes
            if isinstance(node, (ast.Name, ast.Attribute))
        )
        if not maps and not {"readable", "writable"} <= asked:
            return
        for node in self.nodes:
            if isinstance(node, ast.Call) and self.module.means(node.func, *_POLLERS):
                self._add(
                    node,
                    "CYN106",
                    f"{dotted(node.func)}() serves channels past the engine, which then cannot spare the idle ones",
                )

    def _walk(self, loop: ast.For) -> None:
        walked: ast.expr = loop.iter
        if isinstance(walked, ast.Call) and isinstance(walked.func, ast.Attribute) and walked.func.attr in _VIEWS:
            walked = walked.func.value
        if self._old(walked) != "asyncore.socket_map" and not dotted(walked).endswith("._map"):
            return
        for node in _all(loop):
            changed = isinstance(node, ast.Delete) or (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES
            )
            if changed and not _is_left(loop):
                self._add(loop, "CYN211", f"{dotted(walked)} is walked while channels leave it: a RuntimeError")
                return

    def _guard(self, node: ast.Try) -> None:
        inside = [inner for statement in node.body for inner in [statement, *within(statement)]]
        if not any(isinstance(inner, ast.Call) and self._old(inner.func) in _TURNS for inner in inside):
            return
        earlier: set[str] = set()
        for handler in node.handlers:
            if catches_all(handler) and "KeyboardInterrupt" not in earlier:
                self._add(
                    handler, "CYN209", "KeyboardInterrupt, SystemExit and ExitNow are caught with everything else"
                )
            kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
            earlier |= {dotted(kind) for kind in kinds if kind is not None}

    def _patch(self, node: ast.Assign | ast.AugAssign) -> None:
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if not isinstance(target, ast.Attribute) or target.attr not in _PATCHED:
                continue
            if self.module.means(target.value, "socket.socket", "_socket.socket"):
                text = f"socket.socket.{target.attr} is replaced, which channels of plain sockets do not notice"
                self._add(node, "CYN217", text)


_TURNS = frozenset({"asyncore.loop", "asyncore.poll", "asyncore.poll2", "asyncore.poll3"})
_VIEWS = frozenset({"values", "items", "keys"})


def _all(loop: ast.While | ast.For) -> list[ast.AST]:
    return within(loop)


def _is_left(loop: ast.For) -> bool:
    """Does the walk end with the first change?"""
    return any(isinstance(node, (ast.Break, ast.Return)) for node in within(loop))


def _imports(module: Module, report: Report) -> None:
    """CYN301, once for each of the old modules."""
    for name in ("asyncore", "asynchat", "smtpd"):
        if name in module.imported:
            report.add(module, module.imported[name], "CYN301", f"Python has no {name} from 3.12 on")
