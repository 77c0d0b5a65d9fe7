# SPDX-License-Identifier: MIT
"""Rules about what handlers do: CYN205 to CYN210, CYN216, CYN218, and the notes CYN304, CYN305, CYN308, CYN309."""

from __future__ import annotations

import ast

from cyncore._check.channel import Channel, Method
from cyncore._check.program import CHAT, SMTP_CHANNEL, SMTP_SERVER
from cyncore._check.report import Report
from cyncore._check.syntax import (
    Function,
    argument,
    body_of,
    called_method,
    calls,
    catches_all,
    dotted,
    number,
    self_name,
    within,
)

_BLOCKING = (
    "time.sleep",
    "socket.create_connection",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyname_ex",
    "socket.gethostbyaddr",
    "socket.getfqdn",
    "urllib.request.urlopen",
    "urllib.request.urlretrieve",
    "urllib2.urlopen",
    "requests.get",
    "requests.post",
    "requests.put",
    "requests.patch",
    "requests.delete",
    "requests.head",
    "requests.request",
    "subprocess.run",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "os.system",
    "os.wait",
    "input",
    "raw_input",
    "smtplib.SMTP",
    "smtplib.SMTP_SSL",
    "ftplib.FTP",
)
_HOST_GIVEN = frozenset({"smtplib.SMTP", "smtplib.SMTP_SSL", "ftplib.FTP"})  # connect if given a host
_WAITS = {
    ("queue.Queue", "get"): 1,
    ("queue.SimpleQueue", "get"): 1,
    ("queue.LifoQueue", "get"): 1,
    ("queue.PriorityQueue", "get"): 1,
    ("threading.Event", "wait"): 0,
    ("threading.Thread", "join"): 0,
    ("subprocess.Popen", "wait"): 0,
    ("subprocess.Popen", "communicate"): 1,
}


def check(channel: Channel, report: Report) -> None:
    _blocking(channel, report)
    _errors(channel, report)
    _closing(channel, report)
    for function in channel.cls.methods.values():
        _accept(channel, function, report)
    _options(channel, report)
    _text(channel, report)
    _notes(channel, report)


def _blocking(channel: Channel, report: Report) -> None:
    for handler in channel.handlers():
        for method in channel.reached(handler):
            for call in calls(method.function):
                name = _blocks(call, method, channel)
                if name:
                    by = "" if method.function is handler.function else f", reached from {handler.function.name}(),"
                    where = f"{method.owner.name}.{method.function.name}()"
                    report.add(
                        method.module, call, "CYN205", f"{name} in {where}{by} holds up every channel of the loop"
                    )


def _blocks(call: ast.Call, method: Method, channel: Channel) -> str:
    """The name of the call, if it is one that waits; else ''."""
    name = dotted(call.func)
    for meaning in method.module.meanings(name) if name else ():
        meaning = meaning.removeprefix("builtins.")
        if meaning in _BLOCKING and not (meaning in _HOST_GIVEN and not call.args and not call.keywords):
            if meaning == "time.sleep" and call.args and number(call.args[0]) == 0:
                return ""
            return f"{meaning}()"
    if not isinstance(call.func, ast.Attribute):
        return ""
    owner = dotted(call.func.value)
    instance, _, attribute = owner.partition(".")
    if not attribute or instance != method.instance:
        return ""
    if _is_looked_at(channel, attribute):
        return ""
    for kind in _made_as(channel, attribute):
        timeout_at = _WAITS.get((kind, call.func.attr))
        if timeout_at is not None and not _is_bounded(call, timeout_at):
            return f"{owner}.{call.func.attr}() without a timeout"
    return ""


def _made_as(channel: Channel, attribute: str) -> list[str]:
    """The full names of what is called to make the values that the class assigns to the attribute."""
    found = []
    for node in channel.assigned.get(attribute, ()):
        value = getattr(node, "value", None)
        if isinstance(value, ast.Call):
            found += channel.module.meanings(dotted(value.func)) if dotted(value.func) else []
    return found


def _is_looked_at(channel: Channel, attribute: str) -> bool:
    """Does the class check anywhere whether the call would return at once, as in ``writable()``?"""
    return any(
        isinstance(call.func, ast.Attribute)
        and call.func.attr in ("empty", "qsize", "is_set", "is_alive", "poll")
        and dotted(call.func.value).rpartition(".")[2] == attribute
        for cls in channel.line
        for function in cls.methods.values()
        for call in calls(function)
    )


def _is_bounded(call: ast.Call, timeout_at: int) -> bool:
    if argument(call, timeout_at, "timeout") is not None:
        return True
    blocks = argument(call, 0, "block")
    return timeout_at == 1 and isinstance(blocks, ast.Constant) and not blocks.value


def _errors(channel: Channel, report: Report) -> None:
    cls = channel.cls
    function = cls.methods.get("handle_error")
    if function is None:
        return
    label = f"{cls.name}.handle_error()"
    for statement in body_of(function):
        if isinstance(statement, ast.Raise):
            report.add(channel.module, statement, "CYN206", f"{label} raises, which ends the loop for all channels")
            return
    if channel.listens or channel.is_datagram:
        return  # what failed was one connection or datagram of many
    if not channel.closes(Method(cls, function)):
        report.add(
            channel.module, function, "CYN207", f"{label} leaves a failed channel open, and the same event comes again"
        )


def _closing(channel: Channel, report: Report) -> None:
    cls = channel.cls
    function = cls.methods.get("handle_close")
    if function is None or channel.is_datagram:
        return
    if channel.closes(Method(cls, function)):
        return
    asks = channel.owner("readable") is not None or "readable" in channel.assigned
    if asks or {"pause_reading", "del_channel"} & channel.called:
        return  # other code may close it
    text = f"{cls.name}.handle_close() leaves the channel open, and the end of the stream is told again and again"
    report.add(channel.module, function, "CYN208", text)


def _accept(channel: Channel, function: Function, report: Report) -> None:
    instance = self_name(function)
    guarded = {
        inner
        for node in within(function)
        if isinstance(node, ast.Try) and any(_takes_type_errors(handler) for handler in node.handlers)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    tested = {name for node in within(function) for name in _tested(node)}
    kept: set[str] = set()
    for node in within(function):
        if node in guarded:
            continue
        if not isinstance(node, (ast.Assign, ast.Subscript)):
            continue
        value = node.value
        if not (_is_accept(value, instance) or (isinstance(value, ast.Name) and value.id in kept)):
            continue
        if isinstance(node, ast.Subscript) or isinstance(node.targets[0], (ast.Tuple, ast.List)):
            text = "gives None where the connection was lost meanwhile, and a TypeError follows"
            report.add(channel.module, node, "CYN210", f"accept() in {channel.cls.name} {text}")
        elif isinstance(node.targets[0], ast.Name) and node.targets[0].id not in tested:
            kept.add(node.targets[0].id)


def _is_accept(node: ast.AST | None, instance: str) -> bool:
    return isinstance(node, ast.Call) and called_method(node, instance) == "accept"


def _takes_type_errors(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or dotted(kind) in ("TypeError", "Exception", "BaseException") for kind in kinds)


def _tested(node: ast.AST) -> set[str]:
    test = getattr(node, "test", None) if isinstance(node, (ast.If, ast.While, ast.IfExp, ast.Assert)) else None
    if isinstance(node, (ast.BoolOp, ast.Compare)):
        test = node
    if isinstance(node, ast.Match):
        test = node.subject
    return {inner.id for inner in ast.walk(test) if isinstance(inner, ast.Name)} if test is not None else set()


def _options(channel: Channel, report: Report) -> None:
    """CYN216: since Python 3.5 options come as keywords, unless the server decodes its data."""
    function = channel.cls.methods.get("process_message")
    if function is None or channel.kind != SMTP_SERVER:
        return
    arguments = function.args
    names = {one.arg for one in arguments.args + arguments.kwonlyargs + arguments.posonlyargs}
    if arguments.kwarg is not None or {"mail_options", "rcpt_options"} <= names:
        return
    if any(b"decode_data" in module.text for module in channel.program.modules):
        return  # the server may set decode_data, and then gets no options
    text = f"{channel.cls.name}.process_message() takes no options, and is given mail_options and rcpt_options"
    report.add(channel.module, function, "CYN216", text)


def _text(channel: Channel, report: Report) -> None:
    """CYN218: a str handed to what takes bytes only."""
    if channel.kind == SMTP_CHANNEL or channel.program.carries("asynchat"):
        return  # the push() of smtpd takes text, and that of a project's own copy may do so too
    own = channel.method("push") is not None or channel.method("send") is not None
    for function in channel.cls.methods.values():
        instance = self_name(function)
        for call in calls(function):
            name = called_method(call, instance)
            wanted = (name == "push" and channel.kind == CHAT) or name == "send"
            if wanted and not own and call.args and channel.is_whole and _is_text(call.args[0]):
                report.add(
                    channel.module, call, "CYN218", f"{channel.cls.name} gives {name}() a str, and a TypeError follows"
                )


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, (ast.Mod, ast.Add)) and (_is_text(node.left) or _is_text(node.right))
    if isinstance(node, ast.Call):
        made = node.func
        return isinstance(made, ast.Attribute) and made.attr in ("format", "join") and _is_text(made.value)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _notes(channel: Channel, report: Report) -> None:
    cls, module = channel.cls, channel.module
    for name in ("handle_read_event", "handle_write_event", "handle_expt_event"):
        if name in cls.methods:
            text = f"{cls.name}.{name}() takes the place of the engine's own, and every event goes through it"
            report.add(module, cls.methods[name], "CYN304", text)
    if "handle_expt" in cls.methods:
        text = f"{cls.name}.handle_expt() is called for urgent data; a connect that fails goes to handle_error()"
        report.add(module, cls.methods["handle_expt"], "CYN305", text)
    for handler in channel.handlers():
        for method in channel.reached(handler):
            _note_body(channel, method, report)
    if channel.kind == CHAT and not channel.has("max_incoming") and _is_last(channel):
        text = f"{cls.name} collects what a peer sends without limit until the terminator comes"
        report.add(module, cls.node, "CYN307", text)


def _is_last(channel: Channel) -> bool:
    """Is the class a chat by itself, not only a helper for classes that are?"""
    return channel.owner("collect_incoming_data") is not None or channel.owner("found_terminator") is not None


def _note_body(channel: Channel, method: Method, report: Report) -> None:
    where = f"{method.owner.name}.{method.function.name}()"
    for node in within(method.function):
        if isinstance(node, ast.Call) and method.module.means(node.func, "os.fork"):
            text = f"os.fork() in {where}: the child goes on in the loop, with a poller of its own and the same sockets"
            report.add(method.module, node, "CYN308", text)
        if isinstance(node, ast.ExceptHandler) and catches_all(node):
            report.add(
                method.module, node, "CYN309", f"{where} catches KeyboardInterrupt, SystemExit and ExitNow as well"
            )
