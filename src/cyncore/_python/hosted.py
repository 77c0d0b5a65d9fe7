# SPDX-License-Identifier: MIT
"""Hosted: what a loop does for another one that hosts it, which watches a descriptor and calls `poll`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._rules import thread_name
from .channel import tell_of_assignments
from .descriptor import Alarm, Descriptor
from .poller import READ
from .tick import Tick


class Hosted(Tick):
    """A loop that another one can host. `Loop` derives from it."""

    if TYPE_CHECKING:  # the loop's

        def _check_open(self, method: str) -> None: ...
        def _enter(self) -> None: ...

    def __init__(self, map: Any) -> None:
        super().__init__(map)
        self._descriptor: Descriptor | None = None  # that a host watches
        self._alarm: Alarm | None = None  # rings for timers, where the host does not look at `next_deadline`

    def fileno(self, *, timers: bool = True) -> int:
        """A descriptor for another loop to watch, which hosts this one: it is readable when `poll` has work.

        ``timers``: False where the host looks at `next_deadline` after each `poll`; else a thread waits for timers.
        From now on epoll waits, and assignments to attributes of channels cost a call. OSError (EOPNOTSUPP) where
        Python has no epoll; RuntimeError while another thread runs the loop.
        """
        self._check("fileno")
        if not self._turn.take(0):
            raise RuntimeError(f"{self!r} cannot be hosted while it runs, in thread {thread_name(self._turn.owner)}")
        self._enter()
        try:
            descriptor = self._descriptor
            if descriptor is None:
                descriptor = self._descriptor = Descriptor(self)
                self._poller = descriptor
                self._wants.kernel = descriptor
                tell_of_assignments()
                if self._backend != "python":
                    self._backend = descriptor.backend
            self._is_hosted = True
            if timers and self._alarm is None:
                self._alarm = Alarm(self._wake)
            elif not timers and self._alarm is not None:
                self._alarm.close()
                self._alarm = None
            self._settle(descriptor)
            return descriptor.fileno()
        finally:
            self._turn.leave()

    def next_deadline(self) -> float | None:
        """The moment at which the loop has something to do even if no descriptor becomes ready; None: never."""
        self._check_open("next_deadline")
        if self._calls.queued() or self._is_always_ready() or any(slot.holds_data() for slot in self._slots.values()):
            return self.time()
        return min(self._moments(), default=None)

    def _is_always_ready(self) -> bool:
        return self._descriptor is not None and bool(self._descriptor.always)

    def _settle(self, descriptor: Descriptor) -> None:
        """Before the host waits: the kernel is given what the channels want by now."""
        if self._predicates_stale or self._dirty or not self._is_map_as_read():
            self._prepare(False)
        if self._gathered:  # a predicate has written
            self._flush_gathered()
        self._pending = self._arm_all()
        if self._wants.get(self._wake.fd) != READ:
            self._wants.put(self._wake.fd, READ)
        descriptor.tell(self._wants)
        if self._alarm is not None:
            self._alarm.set(self.next_deadline())

    def _changed(self) -> None:
        if self._descriptor is not None and not self._turn.depth and not self._rung and not self._closed:
            self._rung = True
            self._wake.set()
