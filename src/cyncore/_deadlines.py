# SPDX-License-Identifier: MIT
"""Deadlines of a dispatcher: the times that its peer may take, watched by one timer of the loop.

The engine notes the times of events, and calls `opened` and `cancel`; events do nothing else. When the timer is due,
the next moment is computed from these times, and the timer set again.

A dispatcher keeps its output where it likes. What it wants is known, though: while it wants to write, a write event
means that the peer has made room. How long it has wanted to is only seen when the timer is due. So the peer has at
least the time of the write deadline, and at most twice as long.
"""

from __future__ import annotations

from ._engine import Loop, has_deadlines, set_timed, wants_to_write
from ._rules import EXITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

KINDS = ("connect", "first_byte", "idle", "write", "life")


def set_deadlines(channel: Any, seconds: dict[str, float | None]) -> None:
    """Replaces the deadlines of ``channel``, which begin now."""
    for kind, value in seconds.items():
        if value is not None and not value >= 0:
            raise ValueError(f"{channel!r}: the {kind} deadline is a number of seconds, 0 or more: {value!r}")
    limits = {kind: float(value) for kind, value in seconds.items() if value is not None}
    if not limits:
        set_timed(channel, None)
        return
    deadlines = Deadlines(channel, Loop.of(channel._map), limits)
    set_timed(channel, deadlines)
    deadlines.set()


class Deadlines:
    """Those of one channel. Times are seconds of `Loop.time`; 0: that has not happened."""

    __slots__ = (
        *("begun", "channel", "input_at", "is_patient", "limits", "loop", "opened_at", "output_at", "passed_at"),
        *("piece_at", "timer", "waits_since"),
    )

    def __init__(self, channel: Any, loop: Loop, limits: dict[str, float]) -> None:
        self.channel = channel
        self.loop = loop
        self.limits = limits
        self.timer: Any = None
        self.begun = loop.time()
        self.opened_at = self.begun if channel.connected else 0.0
        self.passed_at: dict[str, float] = {}  # when which has passed; it begins again then
        self.waits_since = 0.0  # when it was seen first that the channel wants to write
        self.is_patient = False  # the timer was due, and what the peer did meanwhile gets the chance to be seen
        self.input_at = self.piece_at = self.output_at = 0.0  # set by the engine

    # Called by the engine

    def opened(self) -> None:
        """A connect has succeeded."""
        if self.channel.connected and not self.opened_at:
            self.opened_at = self.loop.time()
            self.set()

    def cancel(self) -> None:
        """The channel leaves its map, or has other deadlines."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    # Looking

    def set(self) -> None:
        """Sets the timer for the next moment."""
        self.cancel()
        moments = self.moments()
        if moments:
            self.timer = self.loop.call_at(min(moments.values()), self.look)

    def moments(self) -> dict[str, float]:
        """When which deadline passes, as far as is known now."""
        limits, found = self.limits, {}
        now = self.loop.time()
        if not self.channel.connected and not self.opened_at:
            starts = {"connect": self.begun, "life": self.begun}
        else:
            if not self.opened_at:
                self.opened_at = now
            wants = wants_to_write(self.channel)
            if not wants:
                self.waits_since = 0.0
            elif not self.waits_since:
                self.waits_since = now
            last = self.input_seen()
            starts = {
                "idle": now if wants else max(self.opened_at, last),
                "write": max(self.waits_since, self.output_at) if wants else now,
                "life": self.begun,
            }
            if not last:
                starts["first_byte"] = self.opened_at
        for kind, begin in starts.items():
            if kind in limits:
                found[kind] = max(begin, self.passed_at.get(kind, 0.0)) + limits[kind]
        return found

    def input_seen(self) -> float:
        """When input came: the last whole piece, where the channel receives such."""
        if getattr(self.channel, "terminator", None):
            return self.piece_at
        return max(self.input_at, self.piece_at)

    def look(self) -> None:
        """The timer is due: tells of what has passed, and sets it for what comes next."""
        channel = self.channel
        self.timer = None
        now = self.loop.time()
        passed = [kind for kind, moment in self.moments().items() if moment <= now]
        if passed and not self.is_patient:  # a handler may have blocked for long: the events of this tick come first
            self.is_patient = True
            self.timer = self.loop.call_at(now, self.look)
            return
        self.is_patient = False
        for kind in passed:
            self.passed_at[kind] = now
            try:
                channel.handle_timeout(kind)
            except EXITS:
                raise
            except BaseException:
                channel.handle_error()
            if not has_deadlines(channel, self):  # it is closed, or has others now
                return
        self.set()
