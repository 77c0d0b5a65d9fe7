# SPDX-License-Identifier: MIT
"""By when a peer must have done something."""

from __future__ import annotations

from collections.abc import Callable

from cyncore._engine import Loop, TimerHandle
from cyncore._tls.patience import patience


class Deadlines:
    """The limits on the time that a peer takes. All times are in seconds; None sets no limit.

    ``idle``: from the end of one command to the end of the next, and within a message from one piece to the next.
    ``command``: from the first byte of a command to its last. ``data``: for a whole message. More bytes extend none of
    these limits, except ``idle`` within a message. ``expired`` is called once, by the loop, when a limit has passed.

    A command costs no more than reading the clock. There is one timer: it runs out no later than the earliest limit
    can, looks whether one has passed, and sets itself again.

    A peer is not late because this process is. What the peer sent in time may lie unread while a handler works, for
    this peer or for another. So a limit that has passed is looked at once more, at least one tick later; what had come
    is served by then. The time from the end of a command to its reply does not count against the peer.
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
        self._idle_since = self._now()
        self._command_since: float | None = None
        self._data_since: float | None = None
        self._suspected: tuple[str, float, float] | None = None  # the limit that had passed at the last look
        self._due = 0.0
        self._timer: TimerHandle | None = None
        self._set_timer(self._idle_since)

    def received(self) -> None:
        """Bytes of a command came, or of a message once `message_begins` was called."""
        if self._data_since is not None:
            self._idle_since = self._now()
        elif self._command_since is None:
            self._command_since = self._now()

    def completed(self) -> None:
        """A command, or a message, is complete."""
        self._idle_since = self._now()
        self._command_since = self._data_since = None

    def answered(self) -> None:
        """What was complete has its reply. From now on the peer is waited for."""
        self._idle_since = self._now()
        if self._data_since is not None:
            self._data_since = self._idle_since

    def message_begins(self) -> None:
        """What comes from now on is a message."""
        self._data_since = self._now()

    def cancel(self) -> None:
        """Ends all limits. May be called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._expired = _do_nothing

    def _set_timer(self, now: float) -> None:
        # A command or a message that begins later than now is not late before its whole time from now has passed.
        ends = []
        if self._idle is not None:
            ends.append(self._idle_since + self._idle)
        if self._command is not None:
            ends.append((now if self._command_since is None else self._command_since) + self._command)
        if self._data is not None:
            ends.append((now if self._data_since is None else self._data_since) + self._data)
        self._look_at(min(ends))

    def _look_at(self, due: float) -> None:
        self._due = due
        self._timer = self._loop.call_at(due, self._look)

    def _passed(self, now: float) -> tuple[str, float, float] | None:
        """The limit that has passed: which one, the time that it counts from, and its seconds."""
        command, data = self._command_since, self._data_since
        if self._idle is not None and now >= self._idle_since + self._idle:
            return "idle", self._idle_since, self._idle
        if self._command is not None and command is not None and now >= command + self._command:
            return "command", command, self._command
        if self._data is not None and data is not None and now >= data + self._data:
            return "data", data, self._data
        return None

    def _look(self) -> None:
        now = self._now()
        passed, suspected = self._passed(now), self._suspected
        self._suspected = passed
        if passed is None:
            self._set_timer(now)
        elif passed != suspected:
            self._look_at(now + patience(now - self._due, passed[2]))
        else:
            expired = self._expired
            self.cancel()
            expired()


def _do_nothing() -> None:  # pragma: no cover - has the place of a callback that is let go of, and is never called
    pass
