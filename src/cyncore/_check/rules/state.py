# SPDX-License-Identifier: MIT
"""Rules about a channel's socket, buffer and attributes: CYN107, CYN202, CYN203, CYN212 to CYN214, CYN306."""

from __future__ import annotations

import ast
import builtins

from cyncore._check.channel import HANDLERS, Channel
from cyncore._check.report import Report
from cyncore._check.syntax import Function, argument, calls, dotted, self_name, stored, within

_HANDLERS = frozenset(HANDLERS)
_LAYOUTS = frozenset(
    {"dict", "list", "set", "frozenset", "tuple", "int", "float", "complex", "str", "bytes", "bytearray"}
)
_LAYOUTS_OUTSIDE = frozenset(
    {"socket.socket", "collections.deque", "collections.OrderedDict", "collections.defaultdict"}
)
_OWN = frozenset({"add_channel", "del_channel", "set_socket"})  # methods that a program may override


def check(channel: Channel, report: Report) -> None:
    _bases(channel, report)
    _init(channel, report)
    for function in channel.cls.methods.values():
        _tls(channel, function, report)
        _buffer(channel, function, report)
        _attributes(channel, function, report)


def _bases(channel: Channel, report: Report) -> None:
    cls = channel.cls
    for name in cls.bases:
        if not name or channel.program.classes(name, cls.module):
            continue
        for meaning in cls.module.meanings(name):
            plain = meaning.removeprefix("builtins.")
            kind = getattr(builtins, plain, None)
            fails = isinstance(kind, type) and issubclass(kind, BaseException)
            if fails or plain in _LAYOUTS or plain in _LAYOUTS_OUTSIDE:
                text = (
                    f"{cls.name} derives from {plain} too, which Python refuses: both have a layout in C of their own"
                )
                report.add(channel.module, cls.node, "CYN214", text)
                return


def _init(channel: Channel, report: Report) -> None:
    """CYN212, unless another method makes the call, perhaps because it must be made on the loop's thread."""
    cls = channel.cls
    function = cls.methods.get("__init__")
    if function is None or not channel.is_whole:
        return
    others = [one for owner in channel.line for one in owner.methods.values() if owner is cls or one.name != "__init__"]
    for one in others:
        for call in calls(one):
            if isinstance(call.func, ast.Attribute) and call.func.attr == "__init__":
                return
    text = f"{cls.name}.__init__() never calls the one of the class it derives from, so that it has no map and no state"
    report.add(channel.module, function, "CYN212", text)


def _tls(channel: Channel, function: Function, report: Report) -> None:
    """CYN202: a call of ``wrap_socket``. CYN203: a handshake in a loop, or on a socket that blocks."""
    label = f"{channel.cls.name}.{function.name}()"
    for call in calls(function):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        is_function = channel.module.means(call.func, "ssl.wrap_socket")  # of Python 3.11 and earlier
        if name == "wrap_socket" or is_function:
            text = f"{label} puts TLS on a socket of the loop, whose handshake and errors are then the program's"
            if _shakes_hands_at_once(call, 7 if is_function else 2):
                text = (
                    f"{label} puts TLS on a socket and shakes hands at once: where the socket blocks, every channel"
                    " waits for the peer, and where it does not, that is a ValueError"
                )
            report.add(channel.module, call, "CYN202", text)
    repeated = {call for node in within(function) if isinstance(node, ast.While) for call in calls(node)}
    blocks = any(_makes_it_block(call) for call in calls(function))
    for call in calls(function):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "do_handshake" and (call in repeated or blocks):
            how = "in a loop of its own" if call in repeated else "on a socket that it lets block"
            text = f"{label} shakes hands {how}, and every other channel waits for the peer"
            report.add(channel.module, call, "CYN203", text)


def _makes_it_block(call: ast.Call) -> bool:
    """``setblocking(True)``, or a timeout other than 0."""
    if not isinstance(call.func, ast.Attribute) or len(call.args) != 1 or not isinstance(call.args[0], ast.Constant):
        return False
    value = call.args[0].value
    return bool(value) if call.func.attr == "setblocking" else call.func.attr == "settimeout" and value != 0


def _shakes_hands_at_once(call: ast.Call, place: int) -> bool:
    """Is `do_handshake_on_connect`, the argument at ``place``, left at True? False where its value is not known."""
    if any(isinstance(one, ast.Starred) for one in call.args) or any(one.arg is None for one in call.keywords):
        return False
    given = argument(call, place, "do_handshake_on_connect")
    return given is None or (isinstance(given, ast.Constant) and bool(given.value))


def _buffer(channel: Channel, function: Function, report: Report) -> None:
    """CYN107: ``self.buffer = self.buffer[sent:]`` where ``sent`` is what send() returned."""
    instance = self_name(function)
    counts = {
        dotted(target)
        for node in within(function)
        if isinstance(node, ast.Assign) and _sends(node.value, instance)
        for target in stored(node)
    }
    for node in within(function):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Subscript):
            continue
        cut = node.value
        name = dotted(node.targets[0])
        if not name.startswith(f"{instance}.") or dotted(cut.value) != name or not isinstance(cut.slice, ast.Slice):
            continue
        start = cut.slice.lower
        if cut.slice.upper is None and start is not None and (dotted(start) in counts or _sends(start, instance)):
            text = f"{channel.cls.name}.{function.name}() copies all of {name} at every send"
            report.add(channel.module, node, "CYN107", text)


def _sends(node: ast.expr, instance: str) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not instance:
        return False
    owner = dotted(node.func.value)
    return node.func.attr in ("send", "write") and (
        owner.split(".")[0] == instance or owner.endswith("dispatcher") or not owner
    )


def _attributes(channel: Channel, function: Function, report: Report) -> None:
    instance = self_name(function)
    label = f"{channel.cls.name}.{function.name}()"
    for node in within(function):
        for target in stored(node):
            if isinstance(target, ast.Subscript) and _is_dict_of(target.value, instance) and _is_handler(target.slice):
                text = f"{label} puts a handler into the channel's __dict__, where the engine does not look again"
                report.add(channel.module, node, "CYN213", text)
            if instance and dotted(target) in (f"{instance}._fileno", f"{instance}._map") and function.name not in _OWN:
                text = f"{label} sets {dotted(target)}, which the engine reads when the channel joins or leaves a map"
                report.add(channel.module, node, "CYN306", text)
        given = node.args if isinstance(node, ast.Call) and dotted(node.func) == "object.__setattr__" else []
        if given and dotted(given[0]) == instance:
            text = f"{label} uses object.__setattr__(), which a channel refuses"
            report.add(channel.module, node, "CYN213", text, "setattr() or an assignment")


def _is_dict_of(node: ast.expr, instance: str) -> bool:
    if isinstance(node, ast.Call):
        return dotted(node.func) == "vars" and bool(node.args) and dotted(node.args[0]) == instance
    return bool(instance) and dotted(node) == f"{instance}.__dict__"


def _is_handler(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in _HANDLERS
