# SPDX-License-Identifier: MIT
"""What a mail server may set against peers that take too long, and against too many of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from cyncore._engine import Loop, TimerHandle


class Visitors:
    """The connections of a server, and how many of them each peer has.

    A connection counts until it leaves, or until nothing refers to it any more: a program that never closes one
    cannot make the count wrong for good.
    """

    def __init__(self) -> None:
        # The host that it came from, whatever its peer is said to be since (XCLIENT, the PROXY protocol).
        self._host_of: WeakKeyDictionary[Any, Hashable] = WeakKeyDictionary()
        self._of: dict[Hashable, WeakSet[Any]] = {}

    def __len__(self) -> int:
        return len(self._host_of)

    def count_of(self, host: Hashable) -> int:
        return len(self._of.get(host, ()))

    def enter(self, visitor: object, host: Hashable) -> None:
        self._host_of[visitor] = host
        self._of.setdefault(host, WeakSet()).add(visitor)

    def leave(self, visitor: object) -> None:
        """Does nothing for one that has left already, or was never let in."""
        host = self._host_of.pop(visitor, None)
        same = self._of.get(host)
        if same is not None:
            same.discard(visitor)
            if not same:
                del self._of[host]


class Deadlines:
    """By when a peer must have done what it is at. All times are in seconds, and None sets no limit.

    ``idle``: from one command to the end of the next, and in a message from one piece to the next. ``command``: from
    the first byte of a command to its last. ``data``: a whole message. Bytes that drip in move none of them but
    ``idle`` within a message. ``expired`` is called once, in the loop, when one has passed.

    Reading the clock is all that a command costs: there is one timer, which goes off no later than the earliest
    deadline can, looks whether one has passed, and sets itself again.

    A peer is not late because this process is. What came in time may lie unread while a handler works, for this peer
    or for another, so a deadline that has passed is looked at once more, after a tick at least, and by then what had
    come is served. And the time from a command to its reply is not the peer's.
    """

    def __init__(
        self,
        loop: Loop,
        idle: float | None,
        command: float | None,
        data: float | None,
        expired: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._idle = idle
        self._command = command
        self._data = data
        self._expired = expired
        self._now = loop.time
        self._since = self._now()
        self._line_since: float | None = None
        self._data_since: float | None = None
        self._doubt: tuple[str, float, float] | None = None  # what had passed at the last look
        self._due = 0.0
        self._timer: TimerHandle | None = None
        self._set(self._since)

    def came(self) -> None:
        """Bytes came: of a command, or of a message once that has begun."""
        if self._data_since is not None:
            self._since = self._now()
        elif self._line_since is None:
            self._line_since = self._now()

    def ended(self) -> None:
        """A command, or a message, is complete."""
        self._since = self._now()
        self._line_since = self._data_since = None

    def served(self) -> None:
        """What was complete has been answered; from now on it is the peer who is waited for."""
        self._since = self._now()
        if self._data_since is not None:
            self._data_since = self._since

    def data_begins(self) -> None:
        """What comes from now on is a message."""
        self._data_since = self._now()

    def cancel(self) -> None:
        """No more of this. May be called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._expired = _nothing

    def _set(self, now: float) -> None:
        # A line or a message that begins only after this is not late before `now` and its whole time.
        ends = []
        if self._idle is not None:
            ends.append(self._since + self._idle)
        if self._command is not None:
            ends.append((now if self._line_since is None else self._line_since) + self._command)
        if self._data is not None:
            ends.append((now if self._data_since is None else self._data_since) + self._data)
        self._look_at(min(ends))

    def _look_at(self, due: float) -> None:
        self._due = due
        self._timer = self._loop.call_at(due, self._look)

    def _passed(self, now: float) -> tuple[str, float, float] | None:
        """A limit that has been reached, since when its time runs, and the limit itself."""
        line, data = self._line_since, self._data_since
        if self._idle is not None and now >= self._since + self._idle:
            return "idle", self._since, self._idle
        if self._command is not None and line is not None and now >= line + self._command:
            return "command", line, self._command
        if self._data is not None and data is not None and now >= data + self._data:
            return "data", data, self._data
        return None

    def _look(self) -> None:
        now = self._now()
        passed, doubted = self._passed(now), self._doubt
        self._doubt = passed
        if passed is None:
            self._set(now)
        elif passed != doubted:
            self._look_at(now + patience(now - self._due, passed[2]))
        else:
            expired = self._expired
            self.cancel()
            expired()


def patience(late: float, limit: float) -> float:
    """Seconds that a peer is given at the end of ``limit`` seconds, where that was noticed ``late`` seconds later.

    What this process spent on other things it may have kept from the peer, a reply that the peer waits for included.
    """
    return limit if late > limit / 10 else late


def _nothing() -> None:
    pass
