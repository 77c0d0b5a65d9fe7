# SPDX-License-Identifier: MIT
"""The descriptor of a loop that another one hosts, and the alarm that rings for its timers.

The kernel keeps what epoll is told, so the loop tells it the differences, as the compiled engine does. A registration
ends when the file is closed, and not when its number is: what leaves the loop is taken out at once.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from errno import EBADF, EEXIST, ENOENT, EOPNOTSUPP, EPERM
from typing import Any, Final

from .._rules import failure
from .poller import ERR, HUP, NVAL, PRI, READ, WRITE, Wake, Wants, _clamped, select

_AUDIT: Final = 16  # descriptors that are looked at whether they are open still
_AUDIT_AFTER: Final = 0.01  # seconds between two such looks


class Descriptor:
    """Waits in the place of the loop's poller, and has a descriptor that is readable while events wait.

    ``owner``: what the error names. OSError (EOPNOTSUPP) where this Python has no epoll.
    """

    backend = "epoll"

    def __init__(self, owner: object) -> None:
        if not hasattr(select, "epoll"):
            raise failure(
                EOPNOTSUPP, f"{owner!r} cannot be hosted: the engine in plain Python needs select.epoll for that"
            )
        self._epoll: Any = select.epoll()
        self._known: dict[int, int] = {}
        self.always: set[int] = set()  # regular files and their like, which epoll refuses because they are always ready
        self._audited_at = 0.0
        self._to_audit: list[int] = []

    def fileno(self) -> int:
        return int(self._epoll.fileno())

    def close(self) -> None:
        self._epoll.close()

    def after_fork(self) -> None:
        """In the child: the parent's is left alone."""
        self._epoll.close()
        self._epoll = select.epoll()
        self._known.clear()
        self.always.clear()

    def __call__(self, wants: dict[int, int], timeout: float | None) -> dict[int, int]:
        """Does what the pollers of `poller` do, for the `Wants` of a loop."""
        assert isinstance(wants, Wants)
        self.tell(wants)
        ready = dict.fromkeys(self._closed_ones(), NVAL)
        ready.update((fd, wants.get(fd, 0) & (READ | WRITE)) for fd in self.always)
        timeout = 0.0 if ready else _clamped(timeout)
        found = self._epoll.poll(-1 if timeout is None else timeout, max(1, len(self._known)))
        ready.update((fd, _mask(flags)) for fd, flags in found)
        return ready

    def tell(self, wants: Wants) -> None:
        """Gives the kernel what has changed."""
        if wants.seen_by is not self:
            wants.changed.update(wants, self._known)
            wants.seen_by = self
        while wants.changed:
            fd = wants.changed.pop()
            mask = wants.get(fd)
            if mask is not None:
                self._register(fd, mask)

    def forget(self, fd: int) -> None:
        """Takes it out, as long as its number is that of the file that was registered."""
        self.always.discard(fd)
        if self._known.pop(fd, None) is not None:
            with suppress(OSError, ValueError):  # closed already
                self._epoll.unregister(fd)

    def _register(self, fd: int, mask: int) -> None:
        flags = _flags(mask)
        self.always.discard(fd)
        try:
            if fd in self._known:
                self._either(self._epoll.modify, self._epoll.register, ENOENT, fd, flags)
            else:
                self._either(self._epoll.register, self._epoll.modify, EEXIST, fd, flags)
        except OSError as error:
            self._known.pop(fd, None)
            if error.errno == EPERM:
                self.always.add(fd)
            elif error.errno == EBADF:
                self._to_audit.append(fd)
                self._audited_at = 0.0
            else:
                raise
        else:
            self._known[fd] = mask

    @staticmethod
    def _either(first: Any, second: Any, error_number: int, fd: int, flags: int) -> None:
        """The number may be another file than the one that was registered."""
        try:
            first(fd, flags)
        except OSError as error:
            if error.errno != error_number:
                raise
            second(fd, flags)

    def _closed_ones(self) -> Iterable[int]:
        """Those of some descriptors that were closed behind the loop's back, of which epoll does not tell."""
        now = time.monotonic()
        if now - self._audited_at < _AUDIT_AFTER:
            return
        self._audited_at = now
        if not self._to_audit:
            self._to_audit = list(self._known)
        for _ in range(min(_AUDIT, len(self._to_audit))):
            fd = self._to_audit.pop()
            try:
                os.fstat(fd)
            except OSError:
                self._known.pop(fd, None)
                yield fd


def _flags(mask: int) -> int:
    flags = select.EPOLLIN if mask & READ else 0
    flags |= select.EPOLLOUT if mask & WRITE else 0
    return int(flags | (select.EPOLLPRI if mask & PRI else 0))


def _mask(flags: int) -> int:
    mask = READ if flags & select.EPOLLIN else 0
    mask |= WRITE if flags & select.EPOLLOUT else 0
    mask |= PRI if flags & select.EPOLLPRI else 0
    mask |= ERR if flags & select.EPOLLERR else 0
    return mask | (HUP if flags & select.EPOLLHUP else 0)


class Alarm:
    """A thread that makes a loop's wake-up descriptor readable at a moment. It is started when it is first needed."""

    def __init__(self, wake: Wake) -> None:
        self._state = _AlarmState(wake)
        self._thread: threading.Thread | None = None

    def set(self, when: float | None) -> None:
        """Rings at ``when``, in seconds of `time.monotonic`, and not at the moment that was set before. None: never."""
        state = self._state
        with state.changed:
            if when == state.when:
                return
            state.when = when
            if when is not None and when <= time.monotonic():
                state.when = None
                state.wake.set()
            elif self._thread is None and when is not None:
                self._thread = threading.Thread(target=state.run, name="cyncore alarm", daemon=True)
                self._thread.start()
            else:
                state.changed.notify()

    def close(self) -> None:
        with self._state.changed:
            self._state.is_over = True
            self._state.changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def __del__(self) -> None:
        state = self._state
        state.is_over = True
        if state.changed.acquire(blocking=False):  # else it is being used, and looks at `is_over` next
            state.changed.notify()
            state.changed.release()


class _AlarmState:
    """What the thread knows: not the `Alarm`, so that this can go while the thread waits."""

    def __init__(self, wake: Wake) -> None:
        self.wake = wake
        self.changed = threading.Condition()  # of a lock that a signal handler may take again
        self.when: float | None = None
        self.is_over = False

    def run(self) -> None:
        with self.changed:
            while not self.is_over:
                left = None if self.when is None else self.when - time.monotonic()
                if left is not None and left <= 0:
                    self.when = None
                    self.wake.set()
                    continue
                self.changed.wait(left if left is None else min(left, threading.TIMEOUT_MAX))
