# SPDX-License-Identifier: MIT
"""All files of a program together: which of its classes are channels, and how they come to be that.

A channel is what derives from one of the classes of asyncore, asynchat or smtpd: the library's, cyncore's, or those of
a copy that a project carries under a name of its own. Copies in the program are known by what their classes define;
those outside of it by the name of their module.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from .module import Class, Module
from .syntax import dotted

DISPATCHER = "dispatcher"
BUFFERED = "dispatcher_with_send"
FILE = "file_dispatcher"
CHAT = "async_chat"
SMTP_SERVER = "SMTPServer"
SMTP_CHANNEL = "SMTPChannel"

FUNCTIONS = frozenset({"loop", "poll", "poll2", "poll3", "socket_map", "close_all", "readwrite"})

_KINDS = {
    "dispatcher": DISPATCHER,
    "dispatcher_with_send": BUFFERED,
    "file_dispatcher": FILE,
    "async_chat": CHAT,
    "SMTPServer": SMTP_SERVER,
    "DebuggingServer": SMTP_SERVER,
    "PureProxy": SMTP_SERVER,
    "MailmanProxy": SMTP_SERVER,
    "SMTPChannel": SMTP_CHANNEL,
}
_OUTSIDE = {  # classes of other projects that programs derive from
    "pyftpdlib.ioloop.AsyncChat": CHAT,
    "pyftpdlib.ioloop.Connector": CHAT,
    "pyftpdlib.ioloop.Acceptor": CHAT,
    "pyftpdlib.handlers.FTPHandler": CHAT,
    "pyftpdlib.handlers.TLS_FTPHandler": CHAT,
    "pyftpdlib.handlers.DTPHandler": CHAT,
    "pyftpdlib.handlers.ThrottledDTPHandler": CHAT,
    "pyftpdlib.servers.FTPServer": CHAT,
    "pyinotify.AsyncNotifier": FILE,
}
_OLD = re.compile(r"(?:^|[./])_?w?(asyncore|asynchat|smtpd)(?:_\w+)?$")
_PLAIN = frozenset({"object", "Thread", "ABC", "Generic", "Protocol", "Enum"})  # bases that make no channel

# What must be there, besides its name, for a class to be the old module's own.
_COPIES = {
    "dispatcher": ("asyncore", {"create_socket", "set_socket", "handle_error"}),
    "async_chat": ("asynchat", {"set_terminator", "push"}),
    "SMTPServer": ("smtpd", {"process_message", "handle_accepted"}),
}

_MOST = 100  # ancestors of a class that are kept; only a generated program has more


class Program:
    """The modules of a program. Resolving a name follows imports from file to file."""

    def __init__(self) -> None:
        self.modules: list[Module] = []
        self._by_last: dict[str, list[Module]] = {}
        self._ancestors: dict[Class, tuple[list[Class], str, bool]] = {}
        self._copies: dict[Module, str] = {}

    def add(self, module: Module) -> None:
        self.modules.append(module)
        self._by_last.setdefault(module.parts[-1], []).append(module)

    def prepare(self) -> None:
        """Finds the copies of old modules. Call it when all modules are added, and again when some were read again."""
        self._ancestors.clear()
        self._copies.clear()
        for module in self.modules:
            name = _copy_of(module)
            if name:
                self._copies[module] = name

    def copy_of(self, module: Module) -> str:
        """Which old module it is a copy of: ``asyncore``, ``asynchat``, ``smtpd`` or ''."""
        return self._copies.get(module, "")

    def carries(self, name: str) -> bool:
        """Has the program a copy of that old module?"""
        return name in self._copies.values()

    def concerns(self, module: Module) -> bool:
        """Does the file define, import or run channels?"""
        if any(self.kind(one) for same in module.classes.values() for one in same):
            return True
        if any(self._is_old(name, module) for name in module.imported):
            return True
        return any(
            self._is_old(meaning, module)
            or self.old_name(name, module)
            or any(map(self.kind, self.classes(name, module)))
            for name, meanings in module.imports.items()
            for meaning in meanings
        )

    def _is_old(self, name: str, asker: Module) -> bool:
        if _OLD.search(name) or name.partition(".")[0] == "cyncore":
            return True
        module = self.module(name, asker) if name.strip("/") else None
        return module is not None and module in self._copies

    # Names

    def module(self, name: str, asker: Module | None = None) -> Module | None:
        """The module called ``name``: by its place if that begins with ``/``, else the nearest whose name ends so."""
        parts = tuple(name.lstrip("/").split("."))
        found = [one for one in self._by_last.get(parts[-1], ()) if one.parts[-len(parts) :] == parts]
        if name.startswith("/"):
            found = [one for one in found if one.parts == parts]
        if asker is not None and len(found) > 1:
            found.sort(key=lambda one: (-_common(one.parts, asker.parts), len(one.parts)))
        return found[0] if found else None

    def classes(self, name: str, asker: Module, depth: int = 0) -> list[Class]:
        """The classes of the program that ``name``, written in ``asker``, may stand for."""
        if depth > 20:  # modules that import each other
            return []
        if name in asker.classes:
            return asker.classes[name]
        first = name.partition(".")[0]
        found = []
        for meaning in asker.meanings(name):
            if first in asker.imports:
                found += self._classes_at(meaning, asker, depth)
        if not found and "." not in name and name in asker.values:
            value = asker.values[name]
            found = [
                one for other in _alternatives(value) if other != name for one in self.classes(other, asker, depth + 1)
            ]
        if not found and "." not in name:
            for source in asker.stars:
                other = self.module(source, asker)
                if other is not None and other is not asker:
                    found += self.classes(name, other, depth + 1)
        return found

    def _classes_at(self, meaning: str, asker: Module, depth: int) -> list[Class]:
        words = meaning.lstrip("/").split(".")
        root = "/" if meaning.startswith("/") else ""
        for length in range(len(words) - 1, 0, -1):
            module = self.module(root + ".".join(words[:length]), asker)
            if module is not None and not (module is asker and length == len(words)):
                return self.classes(".".join(words[length:]), module, depth + 1)
        return []

    def old_name(self, name: str, asker: Module) -> str:
        """``asyncore.loop`` where ``name``, as ``asker`` has it, is the library's, cyncore's or a copy's; else ''."""
        if not name:
            return ""
        first = name.partition(".")[0]
        if first not in asker.imports:
            if "." in name:
                return ""
            if asker in self._copies:
                return f"{self._copies[asker]}.{name}"
            return next((found for source in asker.stars if (found := self._old(source, name, asker))), "")
        for meaning in asker.meanings(name):
            source, _, last = meaning.rpartition(".")
            found = self._old(source, last, asker)
            if found:
                return found
        return ""

    def _old(self, source: str, last: str, asker: Module) -> str:
        if last not in FUNCTIONS and last not in _KINDS:
            return ""
        matched = _OLD.search(source)
        if matched:
            return f"{matched[1]}.{last}"
        if source in ("cyncore", "cyncore.dispatcher", "cyncore.asyncore"):
            return f"asyncore.{last}"
        module = self.module(source, asker) if source else None
        copied = self._copies.get(module, "") if module is not None else ""
        return f"{copied}.{last}" if copied else ""

    # Classes

    def ancestors(self, one: Class) -> list[Class]:
        """The class and those of the program that it derives from, nearest first."""
        return self._look_up(one)[0]

    def kind(self, one: Class) -> str:
        """The class of asyncore, asynchat or smtpd that it derives from, of several the most special; '' for none."""
        return self._look_up(one)[1]

    def is_whole(self, one: Class) -> bool:
        """Is all that it derives from known?"""
        return self._look_up(one)[2]

    def channels(self, module: Module) -> Iterator[Class]:
        """The channels that a file defines. Those of a copy of an old module are not the program's."""
        if module in self._copies:
            return
        for same in module.classes.values():
            for one in same:
                if self.kind(one):
                    yield one

    def _look_up(self, one: Class) -> tuple[list[Class], str, bool]:
        known = self._ancestors.get(one)
        if known is None:
            self._ancestors[one] = ([one], "", False)  # for a class that seems to derive from itself
            try:
                known = self._ancestors[one] = self._find_ancestors(one)
            except RecursionError:  # hundreds of classes, each derived from the one before: nobody wrote that by hand
                return self._ancestors[one]
        return known

    def _find_ancestors(self, one: Class) -> tuple[list[Class], str, bool]:
        if one.module in self._copies and one.name in _KINDS:
            return [], _KINDS[one.name], True
        line, kinds, whole = [one], [], True
        for name in one.bases:
            kind = self._kind_of_name(name, one)
            if kind:
                kinds.append(kind)
                continue
            bases = [base for base in self.classes(name, one.module) if base is not one] if name else []
            if not bases and name.rpartition(".")[2] not in _PLAIN:
                whole = False
            for base in bases:
                more, kind, known = self._look_up(base)
                # Python's order, except in rare hierarchies: a shared base comes after all that derive from it.
                line = ([other for other in line if other not in more] + more)[:_MOST]
                kinds.append(kind)
                whole = whole and known
        strongest = max(kinds, key=_STRENGTH.index, default="")
        return line, strongest, whole

    def _kind_of_name(self, name: str, one: Class, depth: int = 0) -> str:
        if name in one.module.classes and one.module not in self._copies:
            return ""
        kind = _KINDS.get(self.old_name(name, one.module).rpartition(".")[2], "")
        if kind or not name:
            return kind
        for other in _alternatives(one.module.values[name]) if name in one.module.values else ():
            kind = kind or (self._kind_of_name(other, one, depth + 1) if depth < 20 else "")
        if kind:
            return kind
        return next((_OUTSIDE[meaning] for meaning in one.module.meanings(name) if meaning in _OUTSIDE), "")


_STRENGTH = ["", DISPATCHER, FILE, BUFFERED, CHAT, SMTP_SERVER, SMTP_CHANNEL]


def _alternatives(value: ast.AST) -> list[str]:
    """The names in ``A`` or ``A if test else B``."""
    if isinstance(value, ast.IfExp):
        return _alternatives(value.body) + _alternatives(value.orelse)
    name = dotted(value)
    return [name] if name else []


def _copy_of(module: Module) -> str:
    for name, (old, methods) in _COPIES.items():
        for found in module.classes.get(name, ()):
            if methods <= found.methods.keys():
                return old
    return ""


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):  # pragma: no branch - else one path is the start of the other
        if left != right:
            break
        count += 1
    return count
