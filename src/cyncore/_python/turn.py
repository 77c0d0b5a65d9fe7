# SPDX-License-Identifier: MIT
"""Whose turn it is: one thread at a time is in a loop, others wait."""

from __future__ import annotations

import threading


class Turn:
    """A lock that the thread which has it may take again, for a loop inside a handler."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.owner = 0  # the thread that has it, or had it last
        self.depth = 0  # runs that are within one another

    def take(self, timeout: float | None) -> bool:
        """Waits for the turn, at most ``timeout`` seconds. True: it is ours, and to be given back."""
        return self._lock.acquire(timeout=-1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))

    def take_first(self) -> bool:
        """Takes the turn if nobody is running, not even this thread."""
        while not self._lock.acquire(timeout=0.01):  # a thread that pushes holds it for a moment
            if self.depth:  # pragma: no branch - takes a push of another thread that lasts so long
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
        self.owner = threading.get_ident()

    def leave(self) -> None:
        """Ends it, and gives the turn back."""
        self.depth -= 1
        self._lock.release()

    def is_foreign(self) -> bool:
        """Does another thread run the loop?"""
        return self.depth > 0 and self.owner != threading.get_ident()

    def after_fork(self) -> None:
        """In the child: the turn of a thread that is not here any more ends."""
        if not self.depth or self.owner != threading.get_ident():
            self._lock = threading.RLock()
            self.depth = 0
