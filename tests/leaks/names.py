# SPDX-License-Identifier: MIT
"""Every public function and method: what must have a row."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import cyncore
from cyncore import asynchat, asyncore, smtpd

# A class of which all methods are another's has no rows of its own for them.
CLASSES: dict[str, Any] = {
    "Loop": cyncore.Loop,
    "Handle": cyncore.Handle,
    "TimerHandle": cyncore.TimerHandle,
    "dispatcher": cyncore.dispatcher,
    "dispatcher_with_send": cyncore.dispatcher_with_send,
    "file_dispatcher": asyncore.file_dispatcher,
    "file_wrapper": asyncore.file_wrapper,
    "async_chat": asynchat.async_chat,
    "simple_producer": asynchat.simple_producer,
    "SMTPServer": smtpd.SMTPServer,
    "SMTPChannel": smtpd.SMTPChannel,
    "Stream": cyncore.Stream,
    "Datagram": cyncore.Datagram,
    "Process": cyncore.Process,
    "Server": cyncore.Server,
    "Lines": cyncore.Lines,
    "Prefixed": cyncore.Prefixed,
    "Exactly": cyncore.Exactly,
    "Histogram": cyncore.Histogram,
}
MODULES: dict[str, ModuleType] = {"asyncore": asyncore, "asynchat": asynchat, "cyncore": cyncore}
NOT_CALLED = {
    "cyncore.install": "it binds names for the whole process, once",
    "cyncore.inherited": "it takes the variables of systemd away, once",
    "SMTPChannel.collect_incoming_data": "called by the input of a session",
    "SMTPChannel.found_terminator": "called by the input of a session",
    **dict.fromkeys(
        [f"{kind}.handle_{what}_event" for kind in ("Stream", "Datagram") for what in ("read", "write")],
        "called by the loop for each event",
    ),
    "Histogram.count": "of tuples",
    "Histogram.index": "of tuples",
}


def names() -> Iterator[str]:
    """The names, such as "Loop.call_soon"."""
    seen: set[int] = set()
    kept: list[Any] = []  # so that no number in `seen` is used again
    for kind, cls in CLASSES.items():
        for name in dir(cls):
            if name.startswith("_"):
                continue
            member = inspect.getattr_static(cls, name)
            member = getattr(member, "__func__", member)
            if callable(member) and not inspect.isclass(member) and id(member) not in seen:
                seen.add(id(member))
                kept.append(member)
                yield f"{kind}.{name}"
    for module_name, module in MODULES.items():
        for name in getattr(module, "__all__", dir(module)):
            member = getattr(module, name)
            if inspect.isfunction(member) and not name.startswith("_") and id(member) not in seen:
                seen.add(id(member))
                kept.append(member)
                yield f"{module_name}.{name}"
