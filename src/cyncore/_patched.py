# SPDX-License-Identifier: MIT
"""What a program may have put in the place of Python's own: the class of sockets, and the wait of ``select``.

gevent and eventlet do both, proxies and guards of tests the first. What is read by its layout, or called past its
methods, must be Python's own; and where somebody else decides who waits, the loop waits by what they have put there.
"""

from __future__ import annotations

import _socket
import os
import select
import socket
import stat
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, ModuleType

# What the engine does by system calls where a socket is plain.
_IN_C = ("fileno", "getpeername", "gettimeout", "recv", "send", "sendmsg", "setblocking")

_LONGEST = 1_000_000.0  # seconds


def plain_socket() -> type | None:
    """Python's own class of sockets, whatever the name of it in ``socket`` holds by now. None: there is none."""
    if not all(type(vars(_socket.socket).get(name)) is MethodDescriptorType for name in _IN_C):
        return None  # pragma: no cover - PyPy, whose sockets are written in Python
    return next(filter(_is_pythons, type.__subclasses__(_socket.socket)), None)


def _is_pythons(kind: type) -> bool:
    return (
        kind.__qualname__ == "socket"
        and kind.__bases__ == (_socket.socket,)
        and any(map(_is_written_there, vars(kind).values()))
    )


def _is_written_there(method: object) -> bool:
    return type(method) is FunctionType and method.__globals__ is vars(socket)


def has_own_methods(kind: type) -> bool:
    """Has nobody put a method of their own into the class that `plain_socket` says?"""
    made, theirs = vars(kind), vars(_socket.socket)
    # Who takes a patch back by an assignment leaves the method of the base in the class.
    return all(made.get(name, theirs[name]) is theirs[name] for name in _IN_C) and all(
        _is_written_there(made.get(name)) for name in ("__init__", "accept", "close")
    )


def is_patched() -> bool:
    """Has somebody put a function of their own in the place of ``select.select``, or of ``select.poll``?"""
    kinds = {type(select.select), type(getattr(select, "poll", select.select))}
    return kinds != {BuiltinFunctionType}


def own_select() -> ModuleType:
    """The module ``select`` as Python made it: a copy, which nobody patches."""
    spec = select.__spec__
    loader = getattr(spec, "loader", None)
    if loader is None:
        return select
    from importlib.util import module_from_spec  # nobody else needs it

    made = module_from_spec(spec)
    loader.exec_module(made)
    return made


def _is_file(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode)


def wait(seconds: float | None, wants: dict[int, int]) -> None:
    """Waits by what stands in the place of ``select``, at most ``seconds`` (None: without end), so that others run.

    ``wants``: descriptor -> 1 to read, 2 to write, 4 for urgent data, or their sum. What is ready is for the caller to
    find out. A descriptor that cannot be waited for ends the wait.
    """
    kind = getattr(select, "poll", None)
    try:
        if kind is None or type(kind) is BuiltinFunctionType:
            if any(map(_is_file, wants)):
                seconds, wants = 0, {}  # always ready, and nothing that epoll, which eventlet waits by, would take
            reads, writes, urgent = ([fd for fd, mask in wants.items() if mask & flag] for flag in (1, 2, 4))
            select.select(reads, writes, urgent, None if seconds is None else min(seconds, _LONGEST))
            return
        import math  # the socket of Python 3.14 does without it, and few programs get here

        poller = kind()  # it has no highest descriptor
        for fd, mask in wants.items():
            flags = [select.POLLIN, select.POLLOUT, select.POLLPRI]
            poller.register(fd, sum(flag for at, flag in enumerate(flags) if mask & 1 << at))
        poller.poll(None if seconds is None else math.ceil(min(seconds, _LONGEST) * 1000))
    except (OSError, ValueError):  # closed, or too high for select(2): whoever asks the kernel next is told of it
        pass
