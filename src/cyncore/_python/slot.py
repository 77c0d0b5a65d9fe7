# SPDX-License-Identifier: MIT
"""One entry of a loop's map: what its predicates answered, and what is wanted of its descriptor.

A slot is made when an entry is first seen and dropped when the entry goes. Its identity is the generation that
docs/design.md speaks of: an event whose slot is no longer the loop's belongs to a descriptor that was closed.
"""

from __future__ import annotations

import array
import time
from typing import Any, Final

from .._rules import BACKOFF_FIRST, BACKOFF_LAST, EXITS
from .channel import BufferedChannel, Channel
from .poller import PRI, READ, WRITE, Wants
from .stream import StreamChannel
from .traits import defines

try:
    import fcntl
    import termios
except ImportError:  # Windows, where select() reports no hang-up either
    pass

ALL: Final = READ | WRITE | PRI


class Slot:
    """``obj``, a channel or a foreign object, under the descriptor ``key_fd``."""

    def __init__(self, key_fd: int, obj: Any) -> None:
        self.key_fd = key_fd
        self.obj = obj
        self.wanted = 0  # its interest, as the poller knows it
        self.gone = False  # is it no longer the loop's?
        self.usual = False  # has nothing happened since it was found that its predicates decide everything?
        self.dirty = True  # its predicates are to be asked
        self.served = 0  # the wait whose event it had last
        self.pending = True  # its socket may hold data that the kernel does not know of; from an earlier loop, too
        self.backed_off_until = 0.0  # a listener that is out of descriptors
        self._readable = False  # what its predicates answered last
        self._writable = False
        self._state: tuple[bool, ...] = ()
        self._failed = False  # asking it has raised
        self.entered = time.monotonic()
        self.slowed = 0  # the interest that it may not have for a while, because it fires without end
        self._held = False  # hung up, with unread bytes in the kernel that nobody wants now
        self._backoff = 0  # milliseconds that it waited last, as a listener that is out of descriptors

    # Its predicates

    def ask(self, everyone: bool) -> None:
        """Asks the predicates that the entry defines, if ``everyone`` is asked or its own answers are out of date."""
        if self._failed and not (everyone or self.dirty):  # once is enough until something has happened
            return  # pragma: no cover - takes a predicate that fails in a wait which a signal interrupts
        try:
            self._ask(everyone)
        except EXITS:
            raise
        except BaseException:  # a predicate's trouble is the channel's, like a handler's
            self.fail()

    def fail(self) -> None:
        """A predicate has raised, and its exception is being handled."""
        self.dirty = self._readable = self._writable = self.usual = False
        self._failed = True
        if isinstance(self.obj, Channel) and self.obj._cyncore_loop is not None:
            self.obj._cyncore_loop._figures.errors += 1
        self.obj.handle_error()

    def _ask(self, everyone: bool) -> None:
        obj = self.obj
        if isinstance(obj, Channel):
            state = (*obj._cyncore_state(), obj._cyncore_paused)
            self.dirty = self.dirty or state != self._state
            self._state = state
        if not (everyone or self.dirty):
            return
        self.dirty = self._failed = False
        if isinstance(obj, Channel):
            if obj._cyncore_tells_interest:
                return
            self._readable = not defines(obj, "readable") or bool(obj.readable())
            self._writable = not defines(obj, "writable") or bool(obj.writable())
        else:
            self._readable = bool(obj.readable())
            self._writable = bool(obj.writable() and not obj.accepting)

    def becomes_usual(self, tells_output: bool) -> bool:
        """Are its predicates all that its interest depends on from here on? ``tells_output``: or its own buffer."""
        if self._held or self.slowed or self.pending or self.obj._cyncore_paused or self.obj._cyncore_muted_in:
            return False
        self.dirty = self._failed = False
        self._writable = tells_output
        self.wanted = -1  # so that what comes next is taken
        self.usual = True
        return True

    def answered(self, readable: bool, writable: bool) -> None:
        """The predicates have been asked, and what comes of it is to be looked at more closely."""
        self.usual = False
        self._readable, self._writable = readable, writable

    def take(self, wanted: int, wants: Wants) -> None:
        """The predicates of a usual entry have answered otherwise than before, and ``wanted`` comes of it."""
        self._readable = wanted & READ != 0
        self._writable = self._writable or wanted & WRITE != 0
        self.wanted = wanted
        wants.put(self.key_fd, wanted)

    def touch(self) -> None:
        """Something has happened to it: its predicates are to be asked, and may not be all that counts."""
        self.dirty = True
        self.usual = False

    # What it wants

    def arm(self, wants: Wants, pending: list[int]) -> None:
        """Puts its interest into ``wants``, and its descriptor into ``pending`` if its socket holds data."""
        wanted = self._interest_or_nothing()
        if self.gone:
            return
        if wanted != self.wanted:
            self.wanted = wanted
            wants.put(self.key_fd, wanted)
        if self.pending and self.holds_data():
            pending.append(self.key_fd)

    def _interest_or_nothing(self) -> int:
        """`interest`, and nothing where asking fails: a class may have made properties of the state."""
        if self._failed:
            return 0
        try:
            return self.interest()
        except EXITS:  # pragma: no cover - takes a class whose state leaves the loop when it is read
            raise
        except BaseException:  # as in ask()
            self.fail()
            return 0

    def interest(self) -> int:
        """The interest of this moment: what was answered last, and the state that nobody needs to be asked for."""
        obj = self.obj
        if isinstance(obj, Channel) and obj._cyncore_tells_interest:
            mask = obj._cyncore_interest()
        elif not isinstance(obj, Channel):
            mask = (READ | PRI if self._readable else 0) | (WRITE if self._writable else 0)
        elif obj.accepting:
            reads = self._readable and not obj._cyncore_paused and time.monotonic() >= self.backed_off_until
            mask = READ if reads else 0
        else:
            mask = self._interest_of_connection(obj)
        if self._held:
            self._held = not mask & READ
        return 0 if self._held else mask & ~self.slowed

    def _interest_of_connection(self, obj: Channel) -> int:
        muted = obj._cyncore_muted_in is not None and obj._cyncore_muted_in == obj._cyncore_state() and not reads(obj)
        mask = READ if self._readable and not obj._cyncore_paused and not muted else 0
        if mask and (defines(obj, "handle_expt") or defines(obj, "handle_expt_event")):
            mask |= PRI
        writes = self._writable
        if isinstance(obj, BufferedChannel) and not defines(obj, "writable"):
            writes = obj._cyncore_output or is_connecting(obj)
        if writes and (is_connecting(obj) or defines(obj, "handle_write") or defines(obj, "handle_write_event")):
            mask |= WRITE
        return mask

    def paused(self) -> str | None:
        """Why it does not want to read, in words, or None."""
        obj = self.obj
        by_loop = [
            words
            for is_so, words in (
                (self._held, "hung up"),
                (self.slowed == ALL, "it fires without end"),
                (self.slowed == WRITE, "it is writable without end"),
            )
            if is_so
        ]
        if not isinstance(obj, Channel):
            return ", ".join(by_loop) or None
        is_out = bool(obj.accepting) and time.monotonic() < self.backed_off_until
        muted = obj._cyncore_muted_in is not None and obj._cyncore_muted_in == obj._cyncore_state() and not reads(obj)
        found = [
            words
            for is_so, words in (
                (obj._cyncore_paused, "pause_reading()"),
                (muted, "it has no handle_read()"),
                (is_out, "out of descriptors"),
            )
            if is_so
        ] + by_loop
        if isinstance(obj, StreamChannel):
            found += obj._unwanted_because()
        elif defines(obj, "readable") and not self._readable:
            found.append("readable() is false")
        return ", ".join(found) or None

    def state(self) -> str:
        """What it is doing, in a word."""
        obj = self.obj
        if not isinstance(obj, Channel):
            return "foreign"
        if isinstance(obj, StreamChannel):
            return obj._state_word()
        if obj._cyncore_takes_errors:  # of datagrams
            return "closing" if obj.closing else "open"
        if obj.accepting:
            return "listening"
        return "open" if obj.connected else "connecting" if obj.connecting else "unconnected"

    def hold(self) -> None:
        """It has hung up: what is left to be read waits until it wants to read again."""
        self._held = True

    # Data that waits

    def holds_data(self) -> bool:
        """Does its socket (TLS) hold data that was taken from the kernel already, and does it want to read?"""
        if not self.pending:
            return False
        try:
            self.pending = self.pending_bytes() > 0
        except EXITS:
            raise
        except BaseException:  # as in ask()
            self.pending = False
            self.fail()
        return self.pending and bool(self._interest_or_nothing() & READ)

    def unread(self) -> int:
        """Bytes that wait in the kernel and in the socket; 0 where nobody can tell."""
        count = array.array("i", [0])
        try:
            fcntl.ioctl(self.key_fd, termios.FIONREAD, count)
        except OSError:  # pragma: no cover - what kinds of files cannot tell is up to the system
            pass
        return count[0] + self.pending_bytes()

    def pending_bytes(self) -> int:
        """Bytes that a TLS socket, or what behaves like one, has read from the kernel and not given out."""
        if self.gone or not isinstance(self.obj, Channel):
            return 0
        session = self.obj._session if isinstance(self.obj, StreamChannel) else None
        pending = getattr(self.obj._cyncore_plain_socket() if session is None else session, "pending", None)
        if not callable(pending):
            return 0
        count = pending()
        return count if isinstance(count, int) else 0

    # A listener that is out of descriptors

    def back_off(self) -> int:
        """Stops to want connections for a while, longer each time. Returns for how many milliseconds."""
        self._backoff = min(max(self._backoff * 2, BACKOFF_FIRST), BACKOFF_LAST)
        self.backed_off_until = time.monotonic() + self._backoff / 1000
        return self._backoff

    def accepted(self) -> None:
        """There was room: the next time it is out of descriptors is the first."""
        self._backoff = 0


def is_connecting(obj: Channel) -> bool:
    return bool(obj.connecting and not obj.connected)


def reads(obj: Channel) -> bool:
    return defines(obj, "handle_read") or defines(obj, "handle_read_event")
