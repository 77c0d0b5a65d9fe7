# SPDX-License-Identifier: MIT
"""Readiness of descriptors by ``select.poll`` or ``select.select``, and the descriptor that ends a wait.

A poller here is a function that is given all that is wanted at every wait. A thread's poll object is kept, and told
what is different; the kernel keeps nothing between waits, so there is nothing that a fork could share.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from .._patched import own_select

# gevent and eventlet wait by functions of their own, which tell of less: `Loop._ask_kernel` sees to them.
select: Any = own_select()

READ: Final = 1
WRITE: Final = 2
PRI: Final = 4
ERR: Final = 8  # event only, like the rest
HUP: Final = 16
GONE: Final = ERR | HUP
NVAL: Final = 32  # the descriptor cannot be watched

# select() of Windows takes as many sockets as CPython has made room for (Modules/selectmodule.c), and tells of a
# connect that failed as an exceptional condition.
IS_WINDOWS: Final = os.name == "nt"
SELECTABLE: Final = 512 if IS_WINDOWS else sys.maxsize
EXCEPTIONAL: Final = WRITE if IS_WINDOWS else 0

_LONGEST: Final = 1_000_000.0  # seconds; poll(2) counts milliseconds in an int

# wants: descriptor -> interest; timeout in seconds, None: without end. Returns descriptor -> what is ready.
Poller = Callable[[dict[int, int], "float | None"], dict[int, int]]


def _clamped(timeout: float | None) -> float | None:
    return None if timeout is None else min(timeout, _LONGEST)


class Wants(dict[int, int]):
    """The interest in each descriptor, and which have ``changed`` since a poller has seen it."""

    def __init__(self) -> None:
        self.changed: set[int] = set()
        self.seen_by: Any = None
        self.kernel: Any = None  # the `Descriptor` of a hosted loop

    def put(self, fd: int, mask: int) -> None:
        self.changed.add(fd)
        if mask:
            self[fd] = mask
        else:
            self.pop(fd, None)
            if self.kernel is not None:
                self.kernel.forget(fd)


class _Registered(threading.local):
    """The poll object of a thread, and what it is registered with: none of it is the kernel's."""

    poller: Any = None
    wants: dict[int, int]
    last: Wants | None = None  # where these were taken from
    busy = False  # it waits: who asks now is a signal's handler, or another greenlet


_registered = _Registered()


def by_poll(wants: dict[int, int], timeout: float | None) -> dict[int, int]:
    """Waits with poll(2), which rounds up to whole milliseconds."""
    if _registered.busy:
        poller = select.poll()
        for number, interest in list(wants.items()):
            poller.register(number, _flags(interest))
        return _polled(poller, timeout)
    if _registered.poller is None:
        _registered.poller = select.poll()
        _registered.wants = {}
    poller, known = _registered.poller, _registered.wants
    changed = wants.changed if isinstance(wants, Wants) else set()
    if not (isinstance(wants, Wants) and wants.seen_by is poller and _registered.last is wants):
        changed.update(wants, known)
    _registered.last = None
    while changed:
        fd = changed.pop()  # other threads may add some meanwhile
        mask = wants.get(fd)
        if mask == known.get(fd):
            continue
        if mask is None:
            poller.unregister(fd)
            del known[fd]
        else:
            poller.register(fd, _flags(mask))
            known[fd] = mask
    if isinstance(wants, Wants):  # pragma: no branch - a loop always gives its `Wants`
        wants.seen_by = poller
        _registered.last = wants
    _registered.busy = True
    try:
        return _polled(poller, timeout)
    finally:
        _registered.busy = False


def _polled(poller: Any, timeout: float | None) -> dict[int, int]:
    timeout = _clamped(timeout)
    # PyPy drops the part of a millisecond: the loop would not sleep in the last one before a timer is due
    return {fd: _mask(flags) for fd, flags in poller.poll(None if timeout is None else math.ceil(timeout * 1000))}


def _flags(mask: int) -> int:
    flags = select.POLLIN if mask & READ else 0
    flags |= select.POLLOUT if mask & WRITE else 0
    return flags | (select.POLLPRI if mask & PRI else 0)


def _mask(flags: int) -> int:
    mask = READ if flags & select.POLLIN else 0
    mask |= WRITE if flags & select.POLLOUT else 0
    mask |= PRI if flags & select.POLLPRI else 0
    mask |= ERR if flags & select.POLLERR else 0
    mask |= HUP if flags & select.POLLHUP else 0
    return mask | (NVAL if flags & select.POLLNVAL else 0)


def by_select(wants: dict[int, int], timeout: float | None) -> dict[int, int]:
    """Waits with select(2), which fails as a whole for one bad descriptor: that one is looked for, and reported."""
    wants = dict(wants)  # it may change while we wait
    try:
        return _select(wants, timeout)
    except (OSError, ValueError):  # EBADF, or a number that select(2) has no bit for
        ready = {fd: NVAL for fd in wants if not _selectable(fd)}
        if not ready:  # pragma: no cover - whatever it was, it is gone when each descriptor is tried by itself
            raise
        return ready


def _select(wants: dict[int, int], timeout: float | None) -> dict[int, int]:
    flags = (READ, WRITE, PRI | EXCEPTIONAL)
    ready: dict[int, int] = {}
    if len(wants) > SELECTABLE:
        ready = dict.fromkeys(list(wants)[SELECTABLE:], NVAL)
        wants = {fd: mask for fd, mask in wants.items() if fd not in ready}
        timeout = 0
    lists = ([fd for fd, mask in wants.items() if mask & flag] for flag in flags)
    for flag, found in zip(flags, select.select(*lists, _clamped(timeout)), strict=True):
        for fd in found:
            ready[fd] = ready.get(fd, 0) | flag & wants[fd]
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
    return bool(_ready_now(fd, READ) & READ)


def gone_now(fd: int) -> bool:
    """Is there an error or a hang-up, right now?"""
    return bool(_ready_now(fd, 0) & (GONE | NVAL))


def hung_up_now(fd: int) -> bool:
    """Is there a hang-up, right now? An error alone is none."""
    return bool(_ready_now(fd, 0) & HUP)


def _ready_now(fd: int, interest: int) -> int:
    """What is ready of one descriptor. Not by the thread's poll object, which would have to forget all others."""
    if not hasattr(select, "poll"):
        return by_select({fd: interest}, 0.0).get(fd, 0)  # pragma: no cover - where there is no poll(2)
    poller = select.poll()
    poller.register(fd, _flags(interest))
    return sum(_mask(flags) for _, flags in poller.poll(0))


class Wake:
    """A descriptor that becomes readable when any thread says so, or a signal comes: a pipe, or a socket on Windows.

    No eventfd: what a signal writes there (its number, one byte; see `told_of_signals`) is to be told from a wake.
    """

    def __init__(self) -> None:
        self._ends: tuple[Any, ...]
        self._inside = 0  # uses of told_of_signals that are within one another
        self._others = -1  # the descriptor that the program wants signals to be written to
        if os.name == "posix":
            self._ends = os.pipe()
            for end in self._ends:
                os.set_blocking(end, False)
        else:  # pragma: no cover - Windows, where select() takes nothing but sockets
            pair = socket.socketpair()
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
                os.write(end, b"\0")  # no signal has that number
            else:  # pragma: no cover - a socket, on Windows
                end.send(b"\0")
        except BlockingIOError:  # full: it is readable already
            pass

    def clear(self) -> bool:
        """Empties it. Returns whether it was `set`; if not, there were signals at most."""
        end = self._ends[0]
        found = b""
        try:
            while len(part := os.read(end, 4096) if isinstance(end, int) else end.recv(4096)) == 4096:
                found += part
            found += part
        except BlockingIOError:  # empty: another tick was first
            pass
        signals = found.replace(b"\0", b"")
        if signals and self._others >= 0 and os.name == "posix":
            with suppress(OSError):  # full or closed: a signal would not have got there either
                os.write(self._others, signals)
        return b"\0" in found

    def told_of_signals(self) -> _Told:
        """In here a signal ends the wait once its handler has run; by itself Python would go on waiting (PEP 475)."""
        return _Told(self)

    def __del__(self) -> None:
        # Not the loop's: while that of an object runs, another thread may still find the object by a weak reference.
        self.close()

    def close(self) -> None:
        ends, self._ends = getattr(self, "_ends", ()), ()
        if ends and isinstance(ends[1], int):
            # Is it told still? So it is in the child of a fork that a handler made during the wait; and where a handler
            # has raised while the wait ended.
            with suppress(ValueError, OSError):  # another thread than the one that is told, or closed
                found = _set_wakeup_fd(-1)
                if found not in (-1, ends[1]):
                    _set_wakeup_fd(found)
        for end in ends:
            if isinstance(end, int):
                _close(end)
            else:  # pragma: no cover - a socket, on Windows
                end.close()


_close = os.close  # the last loops go when Python has emptied `os` and `signal` already
_set_wakeup_fd = partial(signal.set_wakeup_fd, warn_on_full_buffer=False)


class _Told:
    """`Wake.told_of_signals`."""

    __slots__ = ("_before", "_others", "_ours", "_wake")

    def __init__(self, wake: Wake) -> None:
        self._wake = wake

    def __enter__(self) -> None:
        wake = self._wake
        end = wake._ends[1]
        self._ours = end if isinstance(end, int) else end.fileno()
        self._before = wake._others
        self._others: int | None = None
        found: list[int] = []
        try:
            found.extend(map(_set_wakeup_fd, (self._ours,)))  # in one step, within which no handler runs and raises
            wake._inside += 1
            self._others = -1 if found[0] == self._ours and wake._inside == 1 else found[0]
            if self._others != self._ours:
                wake._others = self._others
        except ValueError:  # no handler runs in this thread
            if found:
                raise
        except BaseException:  # a handler has raised it
            if found:
                _put_back(found[0], self._ours)
                wake._inside, wake._others = 0, self._before
            raise

    def __exit__(self, *exception: object) -> None:
        if self._others is None:
            return
        wake = self._wake
        wake._inside -= 1
        _put_back(self._others, self._ours)
        if wake._others >= 0 and wake.clear():
            wake.set()
        wake._others = self._before


def _put_back(others: int, ours: int) -> None:
    """Ends `Wake.told_of_signals`, unless a handler has asked for signals itself meanwhile."""
    try:
        found = signal.set_wakeup_fd(others, warn_on_full_buffer=False)
    except (OSError, ValueError):  # it has been closed
        found = signal.set_wakeup_fd(-1)
    if found != ours:
        try:
            signal.set_wakeup_fd(found, warn_on_full_buffer=False)
        except (OSError, ValueError):  # so has that of the handler
            signal.set_wakeup_fd(-1)
