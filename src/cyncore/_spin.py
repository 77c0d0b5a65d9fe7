# SPDX-License-Identifier: MIT
"""Channels that fire without end: their events come tick after tick, and nothing that their handlers do ends that.

The engines call this once in `LOOK_EVERY` ticks, and only for a channel that is suspected: its descriptor looked the
same to them before and after its handlers ran, at the beginning of a round of `ROUND` ticks. From then on it must have
an event in every tick that is looked at, without progress, until it is named in the log; else it is suspected no more.

A channel that was named is slowed, unless `Loop.spin_guard` is None: its interest is taken away for a moment, and each
time that it goes on without progress, for twice as long. Only its interest in writing is taken where it fires because
it is writable: so it receives as before. What it has not read, or sent, from one look to the next must be the same for
that, in all of the ticks between: a busy channel cannot be slowed.

A program may rely on being called in every tick: its handler may look at what another one, or a call, has left for it.
So whatever else the loop runs gives all slowed channels their interest back, in that tick. A pause is for a loop that
would wait, and in which nothing else happens. What another thread does without a word to the loop is noticed when the
pause ends. A tick that does not wait, as those of ``poll(0)``, slows nobody, unless a host waits for the loop.

What progress is, the kernel says, since a handler may use the socket as it likes, or a library may for it:
- A TCP connection counts what was received, and what was acknowledged. With what waits in both directions, this says
  how much the program has read and written, exactly (Linux).
- Of another stream, and of a pipe, only what waits is known. A peer may put back exactly what the program has taken
  while a handler runs. So this counts only where the handlers took less time than any peer needs for that.
- Of anything else, such as datagrams, nothing is known, and it is never named.
"""

from __future__ import annotations

import os
import sys

from ._report import WARNING, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

LOOK_EVERY = 32
"""Ticks between two that are looked at."""

ROUND = 1024
"""Ticks after which other channels are suspected."""

CANDIDATES = 4
"""Channels that are looked at for the first time in a round: more would cost a busy loop something."""

SLOW_FIRST = 0.001
"""Seconds for which a channel is slowed at first; twice as long each time after that."""

SLOW_LAST = 0.01
"""The longest such pause: it makes 100 calls a second without effect."""

CLOSE_AFTER = 2.0
"""Seconds without progress since it was slowed, after which a channel is closed where `Loop.spin_guard` asks for it."""

GUARDS = (None, "slow", "close")

_LOOKS = ROUND // LOOK_EVERY  # without progress, until a channel is named
_MOST = 16  # channels that are suspected at once
_SHORT = 5e-6  # seconds in which no peer answers
_PAUSE = 1.0  # seconds between two lines in the log

_LISTEN = 10  # the state of a listener in struct tcp_info of Linux


class State:
    """What a descriptor looks like. ``marks``: what changes if the program reads or writes."""

    __slots__ = ("backlog", "is_exact", "marks", "unread")

    def __init__(self, marks: tuple[Any, ...], unread: int = 0, backlog: int = 0, is_exact: bool = False) -> None:
        self.marks = marks
        self.unread = unread  # bytes
        self.backlog = backlog  # of a listener: connections
        self.is_exact = is_exact  # nothing but the program changes the marks


class Suspect:
    """A channel that may fire without end."""

    __slots__ = ("before", "closes", "fd", "ident", "is_output", "looks", "marks", "pause", "round", "since")

    def __init__(self, fd: int, ident: int, this_round: int) -> None:
        self.fd = fd
        self.ident = ident  # of the channel. A reference would keep it alive, which its program could tell
        self.looks = 0
        self.round = this_round  # the tick in which it was looked at last
        self.before: State | None = None
        self.marks: tuple[Any, ...] | None = None  # after the look before
        self.is_output = False  # it fires because it is writable
        self.pause = 0.0  # seconds for which it was slowed last; 0: it was not, or it has made progress since
        self.since = 0.0  # when it was slowed first
        self.closes = False  # is it to be closed, rather than slowed once more?


class Spins:
    """The suspects of one loop."""

    __slots__ = ("_named", "_named_at", "guard", "suspects")

    def __init__(self) -> None:
        self.suspects: dict[int, Suspect] = {}
        self.guard: str | None = "slow"  # what is done with a channel that was named: `Loop.spin_guard`
        self._named: dict[int, int] = {}  # descriptors of the channels that were named, and which these are
        self._named_at = float("-inf")

    def add(self, fd: int, channel: Any, tick: int) -> None:
        """Suspects ``channel`` from now on."""
        if (self.guard is not None or not self.is_named(fd, channel)) and len(self.suspects) < _MOST:
            self.suspects[fd] = Suspect(fd, id(channel), tick)

    def begin(self, fd: int, channel: Any) -> None:
        """A suspect has an event: called before its handlers are."""
        suspect = self.suspects.get(fd)
        if suspect is None:
            return
        if suspect.ident == id(channel):
            suspect.before = _state_of(fd)
        else:
            del self.suspects[fd]  # it has closed, and another one has its descriptor

    def end(self, fd: int, channel: Any, tick: int, seconds: float, now: float, reads: bool) -> Suspect | None:
        """Its handlers have run, for ``seconds``. ``reads``: the event was that it is readable.

        Returns the suspect if it is to be slowed for its `pause`, or closed; `go_on` must follow when that is over.
        """
        suspect = self.suspects.get(fd)
        if suspect is None:
            return None
        before, after = suspect.before, _state_of(fd)
        if before is None or after is None or before.marks != after.marks:
            del self.suspects[fd]
            return None
        if suspect.marks is not None and suspect.marks != before.marks:  # it was busy in the ticks between
            suspect.looks = 0
            suspect.pause = 0.0
        suspect.round = tick
        suspect.marks = after.marks
        if before.is_exact or seconds < _SHORT:
            suspect.looks += 1
        if suspect.looks < _LOOKS:
            return None
        if not self.is_named(fd, channel):
            if now - self._named_at < _PAUSE:
                return None
            self._named[fd] = id(channel)
            self._named_at = now
            report(WARNING, "%r fd %d fires without end: %s", channel, fd, _advice(before, reads))
        del self.suspects[fd]
        if self.guard is None:
            return None
        suspect.is_output = not reads
        if not suspect.pause:
            suspect.since = now
        suspect.pause = min(max(suspect.pause * 2, SLOW_FIRST), SLOW_LAST)
        suspect.closes = self.guard == "close" and now - suspect.since >= CLOSE_AFTER
        if suspect.closes:
            report(WARNING, "%r fd %d fires without end, and is closed", channel, fd)
        return suspect

    def go_on(self, suspect: Suspect, tick: int) -> None:
        """A slowed channel has its events again. If it still does nothing at the next look, it is slowed once more."""
        suspect.round = tick
        suspect.looks = _LOOKS - 1
        self.suspects[suspect.fd] = suspect

    def was_slowed(self, fd: int) -> bool:
        """Was the channel of that descriptor slowed, and has made no progress since, as far as anybody has looked?"""
        suspect = self.suspects.get(fd)
        return suspect is not None and suspect.pause > 0.0

    def is_named(self, fd: int, channel: Any) -> bool:
        """Was this channel named in the log?"""
        return self._named.get(fd) == id(channel)

    def finish(self, tick: int) -> None:
        """A tick that is looked at is over: one that had no event in it does not fire without end."""
        for fd, suspect in list(self.suspects.items()):
            if suspect.round <= tick - LOOK_EVERY:  # one that has just gone on may have its first event in the next
                del self.suspects[fd]


def _advice(state: State, reads: bool) -> str:
    if state.backlog:
        return "connections wait, and handle_accept() does not accept() them; it must, or the channel must be closed"
    if not reads:
        return (
            "it is writable, and its handlers have nothing to send; writable() must be false then, "
            "or the class must not define handle_write()"
        )
    if state.unread:
        return (
            f"{state.unread} bytes wait, and its handlers do not read them; handle_read() must recv() them, "
            "or the channel must be closed, or call pause_reading()"
        )
    return "its peer has closed the connection, and the channel stays open; handle_close() must close() it"


def _state_of(fd: int) -> State | None:
    """Returns the state of a descriptor, or None where nobody can tell whether the program reads and writes."""
    if sys.platform == "win32":
        return None
    import _socket  # not `socket`, whose class a program may have replaced

    unread, unsent = _waiting(fd, True), _waiting(fd, False)
    try:
        blocks = sys.implementation.name == "pypy" and os.get_blocking(fd)
        sock = _socket.socket(fileno=fd)
    except OSError:  # no socket: a pipe, what tells nothing, or a descriptor that the program has closed
        return None if unread is None else State((unread,), unread)
    try:
        if sys.implementation.name == "pypy":
            os.set_blocking(fd, blocks)  # a socket that is made there of a number blocks
        if sys.platform == "linux" and sock.proto == _socket.IPPROTO_TCP:
            info = sock.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, 192)
            if info[0] == _LISTEN:
                backlog = int.from_bytes(info[24:28], sys.byteorder)  # tcpi_unacked
                return State((backlog,), backlog=backlog) if backlog else None
            if len(info) >= 136 and unread is not None and unsent is not None:
                acked = int.from_bytes(info[120:128], sys.byteorder)  # tcpi_bytes_acked
                received = int.from_bytes(info[128:136], sys.byteorder)  # tcpi_bytes_received
                return State((received - unread, acked + unsent), unread, is_exact=True)
        if unread is None or sock.type != _socket.SOCK_STREAM:  # of datagrams, only the first one is counted
            return None
        return State((unread, unsent), unread)
    except OSError:  # of a system that does not know one of these
        return None
    finally:
        sock.detach()


def _waiting(fd: int, is_input: bool) -> int | None:
    """How many bytes wait to be read, or to be sent; None where nobody can tell."""
    count = bytearray(4)
    try:
        import fcntl
        import termios

        fcntl.ioctl(fd, termios.FIONREAD if is_input else termios.TIOCOUTQ, count)
    except (ImportError, OSError):  # a process without a descriptor left cannot import them
        return None
    return int.from_bytes(count, sys.byteorder)


def check_guard(value: Any) -> Any:
    """A value of `Loop.spin_guard`. ValueError for anything else."""
    if value not in GUARDS:
        raise ValueError(f"spin_guard is None, 'slow' or 'close', not {value!r}")
    return value
