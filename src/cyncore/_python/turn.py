# SPDX-License-Identifier: MIT
"""Whose turn it is: one thread at a time is in a loop, others wait."""

from __future__ import annotations

import threading


class Turn:
    """A lock that the thread which has it may take again, for a loop inside a handler."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner: threading.Thread | None = None  # the last one that had it stays the owner
        self._runner: int | None = None
        self.depth = 0  # runs that are within one another

    @property
    def owner_name(self) -> str:
        return self._owner.name if self._owner else "?"

    def take(self, timeout: float | None) -> bool:
        """Waits for the turn, at most ``timeout`` seconds. True: it is ours, and to be given back."""
        return self._lock.acquire(timeout=-1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))

    def take_first(self) -> bool:
        """Takes the turn if nobody is running, not even this thread."""
        while not self._lock.acquire(timeout=0.01):  # a thread that pushes holds it for a moment
            if self.depth:
                return False
        if self.depth:
            self._lock.release()
            return False
        return True

    def give_back(self) -> None:
        self._lock.release()

    def enter(self) -> None:
        """What was taken begins to run."""
        self.depth += 1
        self._owner = threading.current_thread()
        self._runner = threading.get_ident()

    def leave(self) -> None:
        """Ends it, and gives the turn back."""
        self.depth -= 1
        if not self.depth:
            self._runner = None
        self._lock.release()

    def is_foreign(self) -> bool:
        """Does the loop belong to another thread, one that lives?"""
        owner = self._owner
        return owner is not None and owner is not threading.current_thread() and owner.is_alive()

    def after_fork(self) -> None:
        """In the child: the turn of a thread that is not here any more ends."""
        if self._runner != threading.get_ident():
            self._lock = threading.RLock()
            self._runner = None
            self.depth = 0
