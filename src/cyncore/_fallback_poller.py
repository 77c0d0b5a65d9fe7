# SPDX-License-Identifier: MIT
"""Readiness of descriptors by ``select.poll`` or ``select.select``, and the descriptor that ends a wait.

A poller here is a function: it is told everything that is wanted at every wait, and remembers nothing. So there is
nothing to keep in step with the kernel, and nothing that a fork could share.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from typing import Any, Final

READ: Final = 1
WRITE: Final = 2
PRI: Final = 4
GONE: Final = 8  # event only: ERR or HUP
NVAL: Final = 16  # event only: the descriptor cannot be watched

_LONGEST: Final = 1_000_000.0  # seconds; poll(2) counts milliseconds in an int

# wants: descriptor -> interest; timeout in seconds, None: without end. Returns descriptor -> what is ready.
Poller = Callable[[dict[int, int], "float | None"], dict[int, int]]


def _clamped(timeout: float | None) -> float | None:
    return None if timeout is None else min(timeout, _LONGEST)


def by_poll(wants: dict[int, int], timeout: float | None) -> dict[int, int]:
    """Waits with poll(2), which rounds up to whole milliseconds."""
    poller = select.poll()
    ready: dict[int, int] = {}
    for fd, mask in wants.items():
        flags = select.POLLIN if mask & READ else 0
        flags |= select.POLLOUT if mask & WRITE else 0
        flags |= select.POLLPRI if mask & PRI else 0
        poller.register(fd, flags)
    timeout = _clamped(timeout)
    for fd, flags in poller.poll(None if timeout is None else timeout * 1000):
        mask = READ if flags & select.POLLIN else 0
        mask |= WRITE if flags & select.POLLOUT else 0
        mask |= PRI if flags & select.POLLPRI else 0
        mask |= GONE if flags & (select.POLLERR | select.POLLHUP) else 0
        mask |= NVAL if flags & select.POLLNVAL else 0
        ready[fd] = mask
    return ready


def by_select(wants: dict[int, int], timeout: float | None) -> dict[int, int]:
    """Waits with select(2), which fails as a whole for one bad descriptor: that one is looked for, and reported."""
    try:
        return _select(wants, timeout)
    except (OSError, ValueError):  # EBADF, or a number that select(2) has no bit for
        ready = {fd: NVAL for fd in wants if not _selectable(fd)}
        if not ready:
            raise
        return ready


def _select(wants: dict[int, int], timeout: float | None) -> dict[int, int]:
    flags = (READ, WRITE, PRI)
    reads, writes, urgent = ([fd for fd, mask in wants.items() if mask & flag] for flag in flags)
    ready: dict[int, int] = {}
    for flag, found in zip(flags, select.select(reads, writes, urgent, _clamped(timeout)), strict=True):
        for fd in found:
            ready[fd] = ready.get(fd, 0) | flag
    return ready


def _selectable(fd: int) -> bool:
    try:
        select.select([fd], [], [], 0)
    except (OSError, ValueError):  # the answer to the question
        return False
    return True


POLLERS: Final[dict[str, Poller]] = {
    **({"poll": by_poll} if hasattr(select, "poll") else {}),
    "select": by_select,
}


def readable_now(fd: int) -> bool:
    """Is there something to read or to accept, right now?"""
    best = next(iter(POLLERS.values()))
    return bool(best({fd: READ}, 0.0).get(fd, 0) & READ)


class Wake:
    """A descriptor that becomes readable when any thread says so: an eventfd, a pipe, or a socket on Windows."""

    def __init__(self) -> None:
        self._ends: tuple[Any, Any]
        if hasattr(os, "eventfd"):
            fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._ends = fd, fd
        elif os.name == "posix":
            self._ends = os.pipe()
            for end in self._ends:
                os.set_blocking(end, False)
        else:
            pair = socket.socketpair()  # select() on Windows takes nothing but sockets
            for sock in pair:
                sock.setblocking(False)
            self._ends = pair

    @property
    def fd(self) -> int:
        end = self._ends[0]
        return end if isinstance(end, int) else int(end.fileno())

    def set(self) -> None:
        end = self._ends[1]
        try:
            if isinstance(end, int):
                os.write(end, (1).to_bytes(8, "little"))
            else:
                end.send(b"\1")
        except BlockingIOError:  # full: it is readable already
            pass

    def clear(self) -> None:
        end = self._ends[0]
        try:
            while len(os.read(end, 4096) if isinstance(end, int) else end.recv(4096)) == 4096:
                pass
        except BlockingIOError:  # empty: another tick was first
            pass

    def close(self) -> None:
        for end in set(self._ends):
            if isinstance(end, int):
                os.close(end)
            else:
                end.close()
