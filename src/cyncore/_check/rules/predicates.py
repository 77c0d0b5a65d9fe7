# SPDX-License-Identifier: MIT
"""Rules about ``readable`` and ``writable``: CYN101 to CYN103, and CYN204.

A class that defines neither is never asked. One that defines them is asked after each of its events and changes, at
every poll of the program's own, and once more after whatever else happened in the loop.
"""

from __future__ import annotations

import ast

from cyncore._check.channel import Channel, Method
from cyncore._check.module import Class
from cyncore._check.program import BUFFERED, CHAT
from cyncore._check.report import Report
from cyncore._check.syntax import Function, body_of, called_method, dotted, is_super, self_name, stored, within

_ASKED = "is asked after each of the channel's events, and again when others have had theirs"
_LOGS = frozenset({"debug", "info", "warning", "error", "log", "log_info", "print", "exception", "critical"})


def check(channel: Channel, report: Report) -> None:
    for name in ("readable", "writable"):
        function = channel.cls.methods.get(name)
        if function is not None:
            _Predicate(channel, name, function).check(report)
        elif name in channel.cls.attributes:
            _assigned_predicate(channel, name, report)
    _always_writable(channel, report)


class _Predicate:
    """One predicate that the class itself defines."""

    def __init__(self, channel: Channel, name: str, function: Function) -> None:
        self.channel = channel
        self.name = name
        self.function = function
        self.instance = self_name(function)
        self.label = f"{channel.cls.name}.{name}()"

    def check(self, report: Report) -> None:
        constant = constant_answer(self.function)
        if constant is not None:
            self._constant(constant, report)
        elif self._is_default():
            self._add(
                report, "CYN102", f"{self.label} only passes the question on, and has to be asked for it", "remove it"
            )
        elif self._works():
            self._add(report, "CYN103", f"{self.label} does work, which is done only when it {_ASKED}")
        elif self.name == "writable" and self._has_no_writer():
            text = f"{self.label} counts for nothing once connected, because the class handles no write event"
            self._add(report, "CYN102", text, "remove it")
        else:
            self._logic(report)

    def _add(self, report: Report, code: str, message: str, remedy: str = "") -> None:
        report.add(self.channel.module, self.function, code, message, remedy)

    def _logic(self, report: Report) -> None:
        buffer = self._buffer()
        more = f": whether {self.instance}.{buffer} is empty" if self.name == "writable" and buffer else ""
        if self.name == "readable":
            remedy = "pause_reading() and resume_reading() where its answer changes, and no readable() at all"
        elif self.channel.is_datagram:
            remedy = "none is needed for a socket or two; to do without, sendto() at once what may be lost"
        else:
            remedy = "derive from dispatcher_with_send or async_chat, whose output is known without asking"
        self._add(report, "CYN101", f"{self.label} {_ASKED}{more}", remedy)

    def _constant(self, answer: bool, report: Report) -> None:
        channel = self.channel
        away = self._away()
        if self.name == "writable" and answer:
            return  # CYN204 reports it where it does harm; elsewhere it has no effect
        if answer:
            self._add(
                report,
                "CYN102",
                f"{self.label} always says True, which is the default, and has to be asked for it",
                away,
            )
        elif self.name == "writable":
            if channel.writes and channel.is_plain:
                text = (
                    f"{self.label} always says False, so that the class's handle_write() is called only for a connect"
                )
                self._add(report, "CYN102", text, "remove both")
            elif channel.kind in (BUFFERED, CHAT):
                text = f"{self.label} always says False, so that what the socket does not take at once never leaves"
                self._add(report, "CYN102", text, away)
            else:
                text = f"{self.label} always says False, which goes without saying where no write event is handled"
                self._add(report, "CYN102", text, away)
        else:
            text = f"{self.label} always says False, and has to be asked for it"
            remedy = "call pause_reading() once it is in the map"
            if not self.channel.has("handle_read") and self.channel.is_plain:
                remedy = "remove it; a class without handle_read() is told of data once, and no more"
            self._add(report, "CYN102", text, remedy)

    def _away(self) -> str:
        """The remedy. Where a base class has a predicate too, removing this one would not be enough."""
        channel = self.channel
        above = channel.method(self.name, channel.cls)
        if above is not None and constant_answer(above.function) != constant_answer(self.function):
            return f"write `{self.name} = asyncore.dispatcher.{self.name}` in its place"
        return "remove it"

    def _is_default(self) -> bool:
        """Does it only ask its base class, and is that the old module's own?"""
        body = body_of(self.function)
        if len(body) != 1 or not isinstance(body[0], ast.Return) or not isinstance(body[0].value, ast.Call):
            return False
        call = body[0].value
        if not isinstance(call.func, ast.Attribute) or call.func.attr != self.name:
            return False
        above = is_super(call.func.value) or dotted(call.func.value) in self.channel.cls.bases
        return above and self.channel.method(self.name, self.channel.cls) is None and self.channel.is_whole

    def _works(self) -> bool:
        """Does it change the instance, or call something for its effect?"""
        for node in within(self.function):
            if any(dotted(target).startswith(f"{self.instance}.") for target in stored(node)):
                return True
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and not _is_silent(node):
                return True
        return False

    def _has_no_writer(self) -> bool:
        return self.channel.is_plain and self.channel.is_whole and not self.channel.writes

    def _buffer(self) -> str:
        """The attribute whose emptiness is the whole answer."""
        body = body_of(self.function)
        value = body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None
        if isinstance(value, ast.Compare):
            value = value.left
        if isinstance(value, ast.Call) and dotted(value.func) in ("len", "bool") and value.args:
            value = value.args[0]
            if isinstance(value, ast.Call) and dotted(value.func) == "len" and value.args:
                value = value.args[0]
        elif not (isinstance(value, ast.Attribute) and "buf" in value.attr.lower()):
            return ""
        name = dotted(value)
        return name.partition(".")[2] if name.startswith(f"{self.instance}.") else ""


def constant_answer(function: Function) -> bool | None:
    """What a method always returns, where its body shows that."""
    body = body_of(function)
    if not body or all(isinstance(one, ast.Pass) for one in body):
        return False
    last = body[-1]
    rest = body[:-1]
    if not isinstance(last, ast.Return) or not all(_is_silent(one) for one in rest):
        return None
    if last.value is None:
        return False
    return bool(last.value.value) if isinstance(last.value, ast.Constant) else None


def _is_silent(statement: ast.stmt) -> bool:
    """A statement that changes nothing: a log line, or text."""
    if not isinstance(statement, ast.Expr):
        return isinstance(statement, ast.Pass)
    value = statement.value
    if isinstance(value, ast.Call):
        return dotted(value.func).rpartition(".")[2] in _LOGS or _is_print(value)
    return isinstance(value, ast.Constant)


def _is_print(call: ast.Call) -> bool:
    name = dotted(call.func)
    return name.endswith("_debug") or name == "print"


def _assigned_predicate(channel: Channel, name: str, report: Report) -> None:
    """``readable = something`` in the class."""
    value = channel.cls.attributes[name]
    if isinstance(value, ast.Lambda):
        function = ast.FunctionDef(name, value.args, [ast.Return(value.body)], [])
        ast.copy_location(function, value)
        _Predicate(channel, name, function).check(report)


def _always_writable(channel: Channel, report: Report) -> None:
    """CYN204: write events reach code of the program, and nothing ever says that there is nothing to write."""
    cls = channel.cls
    if not channel.is_plain or not channel.is_whole or "writable" in channel.assigned:
        return
    owner, method = channel.owner("writable"), channel.method("writable")
    if owner is not None and (method is None or constant_answer(method.function) is not True):
        return
    writer = channel.method("handle_write") or channel.method("handle_write_event")
    if writer is None or not (_is_news(cls, writer, owner)) or _ends(writer):
        return
    place = (
        cls.methods.get("handle_write")
        or cls.methods.get("handle_write_event")
        or cls.methods.get("writable")
        or cls.node
    )
    says = f"{cls.name}.writable() always says True" if owner is not None else f"{cls.name} defines no writable()"
    idle = all(isinstance(one, ast.Pass) for one in body_of(writer.function))
    report.add(
        channel.module,
        place,
        "CYN204",
        f"{says}, so that {writer.function.name}() is called without pause while the socket has room",
        f"remove {writer.function.name}(), which does nothing" if idle else "",
    )


def _is_news(cls: Class, writer: Method, predicate: Class | None) -> bool:
    """Is it this class that causes it, not one that it derives from?"""
    return writer.owner is cls or predicate is cls


def _ends(writer: Method) -> bool:
    """Does every call of the handler close the channel, as in a server that sends a banner and no more?"""
    return any(
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and called_method(statement.value, writer.instance) in ("close", "handle_close")
        for statement in writer.function.body
    )
