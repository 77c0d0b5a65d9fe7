# SPDX-License-Identifier: MIT
"""Deadlines: the times that a stream may take, watched by one timer of the loop.

Nothing happens at an event: the stream notes when input came and output moved. At the moment for which the timer was
set the next moment is computed from that, and the timer set again.
"""

from __future__ import annotations

from .._rules import EXITS, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

KINDS = ("connect", "handshake", "first_byte", "idle", "write", "life")


def has_deadlines(stream: Any) -> bool:
    """Does the stream, or its class, set any?"""
    return not (
        stream.idle_deadline is None
        and stream.write_deadline is None
        and stream.first_byte_deadline is None
        and stream.life_deadline is None
        and stream.handshake_deadline is None
        and stream.connect_deadline is None
    )


def _seconds(stream: Any, name: str) -> float | None:
    value = getattr(stream, name)
    return None if value is None else number(name, value)


def has_output(stream: Any) -> bool:
    """Does anything wait to be sent: bytes, a part of a file, or what a pipe holds for the stream?"""
    return bool(stream._output_waits or (stream._pipe is not None and stream._pipe.waits_for(stream)))


class Deadlines:
    """Those of one stream. An attribute named after a kind says when that deadline began, by `Loop.time`."""

    __slots__ = ("begun", "first_byte", "idle", "is_patient", "life", "limits", "phase", "stream", "timer", "write")

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.timer: Any = None
        self.phase = ""  # "connect", "handshake" or "open"
        self.begun = 0.0  # when the phase began
        self.is_patient = False  # the timer was due, and input that waits in the kernel gets the chance to be read
        self.life = stream.loop.time()
        self.first_byte = self.idle = self.write = 0.0
        self.read()

    def read(self) -> None:
        """Reads the attributes: those of the class as they are now, and those that the stream has itself."""
        self.limits = {kind: _seconds(self.stream, f"{kind}_deadline") for kind in KINDS}

    def changed(self) -> None:
        """The stream has set one of them."""
        self.read()
        self.set()

    def start(self, phase: str) -> None:
        """The stream begins to connect ("connect"), to shake hands ("handshake"), or is ready ("open")."""
        if phase == self.phase == "handshake":  # the TLS handshake follows the PROXY header, and shares its time
            return
        stream = self.stream
        self.phase = phase
        self.begun = self.first_byte = self.idle = self.write = stream.loop.time()
        if phase == "open":
            stream._input_at = 0.0
            stream._timed = True
        self.set()

    def set(self) -> None:
        """Sets the timer for the next moment, by what the attributes say now."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        moments = self.moments()
        if moments:
            self.timer = self.stream.loop.call_at(min(moments)[0], self.look)

    def moments(self) -> list[tuple[float, str]]:
        """When which deadline passes, as far as is known now."""
        stream = self.stream
        found = []
        seconds = self.limits["life"]
        if seconds is not None:
            found.append((self.life + seconds, "life"))
        if self.phase != "open":
            seconds = self.limits[self.phase]
            if seconds is not None:
                found.append((self.begun + seconds, self.phase))
            return found
        seconds = self.limits["first_byte"]
        if seconds is not None and stream._input_at <= 0.0:
            found.append((self.first_byte + seconds, "first_byte"))
        seconds = self.limits["idle"]
        if seconds is not None:
            if has_output(stream):  # the peer is being served: whether it takes what waits is for "write" to say
                self.idle = stream.loop.time()
            found.append((max(self.idle, stream._input_at) + seconds, "idle"))
        seconds = self.limits["write"]
        if seconds is not None:
            begin = max(self.write, stream._output_at) if has_output(stream) else stream.loop.time()
            found.append((begin + seconds, "write"))
        return found

    def look(self) -> None:
        """The timer is due: tells of what has passed, and sets it for what comes next."""
        stream = self.stream
        self.timer = None
        now = stream.loop.time()
        passed = [(moment, kind) for moment, kind in self.moments() if moment <= now]
        if passed and not self.is_patient:  # a handler may have blocked for long: the events of this tick come first
            self.is_patient = True
            self.timer = stream.loop.call_at(now, self.look)
            return
        self.is_patient = False
        for _, kind in passed:
            if stream._deadlines is not self:
                return
            setattr(self, "begun" if kind in ("connect", "handshake") else kind, now)
            try:
                stream.handle_timeout(kind)
            except EXITS:
                raise
            except BaseException as error:
                stream._fail(error)
        if stream._deadlines is self:
            self.set()

    def cancel(self) -> None:
        """The stream is gone."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
