# SPDX-License-Identifier: MIT
"""Pipe: two streams joined, so that each sends what the other receives.

Where both are plain sockets on Linux the bytes stay in the kernel: splice(2) moves them from one socket into a pipe of
the kernel, and out of it into the other socket. Such a pipe is taken when bytes come, and given back when they have
left, so a connection that is idle has none.
"""

from __future__ import annotations

import os
import sys
from errno import EAGAIN, EINTR, EMFILE, ENFILE, EWOULDBLOCK
from functools import partial

from .._descriptor import Descriptor
from .._engine import StreamChannel, is_paused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final
else:
    Any = object

READ: Final = 1
WRITE: Final = 2
SIZE: Final = 1 << 20  # bytes that a pipe of the kernel is asked to hold, and that one event moves at most
PROGRESS: Final = 65536  # bytes that put the write deadline off
SPARE: Final = 16  # pipes that are kept for the next one who needs one
F_SETPIPE_SZ: Final = 1031
CAN_SPLICE: Final = sys.platform == "linux" and hasattr(os, "splice")

_spare: list[tuple[int, int]] = []
_pid = os.getpid()


def take_pipe() -> tuple[int, int] | None:
    """Returns the two ends of an empty pipe of the kernel; None where the process has no descriptor left."""
    global _pid
    if _pid != os.getpid():  # the child of a fork shares them with its parent
        _pid = os.getpid()
        while _spare:
            close_pipe(_spare.pop())
    if _spare:
        return _spare.pop()
    try:
        ends = os.pipe()
    except OSError as error:
        if error.errno in (EMFILE, ENFILE):
            return None
        raise
    import fcntl

    for fd in ends:
        os.set_blocking(fd, False)
    try:
        fcntl.fcntl(ends[1], F_SETPIPE_SZ, SIZE)
    except OSError:  # above the limit of this user: it holds 64 KiB
        pass
    return ends


def close_pipe(ends: tuple[int, int]) -> None:
    for fd in ends:
        os.close(fd)


def give_back(ends: tuple[int, int]) -> None:
    """The pipe is empty, and may serve others."""
    if len(_spare) < SPARE and _pid == os.getpid():
        _spare.append(ends)
    else:
        close_pipe(ends)


def can_splice(stream: Any) -> bool:
    """Do the bytes of the stream pass through the kernel as they are, by a socket?"""
    return stream._session is None and not isinstance(stream.socket, Descriptor)


class Way:
    """One direction: from the input of one stream to the output of the other."""

    __slots__ = ("at_work", "copied", "ended", "ends", "held", "is_over", "source", "taken", "target")

    def __init__(self, source: Any, target: Any) -> None:
        self.source = source
        self.target = target
        self.at_work = source  # whose socket is used: the one that an OSError is of
        self.ends: tuple[int, int] | None = None
        self.held = 0  # bytes in the pipe of the kernel
        self.copied = source.unread  # bytes that did not go through it
        self.taken = 0  # bytes that the target has taken since progress was noted
        self.ended = False  # the input has ended
        self.is_over = False  # and so has the output

    @property
    def waits(self) -> bool:
        """Are there bytes that the target has not taken?"""
        return bool(self.held or self.copied)

    def move(self) -> None:
        """Moves what is there and fits now."""
        for _ in range(4):
            if self.waits and not self._out():
                return
            if self.ended or is_paused(self.source) or not self._into():
                break
        if self.waits:
            self._out()
        if not self.waits:
            if self.ends is not None:
                give_back(self.ends)
                self.ends = None
            if self.ended and not self.is_over:
                self.is_over = True
                self.target._send_eof()

    def _into(self) -> bool:
        """Takes from the source. Returns False if there is nothing now."""
        self.at_work = self.source
        if self.ends is None:
            self.ends = take_pipe()
        try:
            if self.ends is None:
                self.copied = self.source.socket.recv(65536)
                count = len(self.copied)
            else:
                count = os.splice(self.source.socket.fileno(), self.ends[1], SIZE, flags=3)  # MOVE and NONBLOCK
                self.held += count
        except OSError as error:
            if error.errno in (EAGAIN, EWOULDBLOCK, EINTR):
                return False
            raise
        self.ended = not count
        self.source._note_bytes(count, 0)
        self.source._note_progress(True)
        self.target._note_progress(False)  # its output begins to wait
        return bool(count)

    def _out(self) -> bool:
        """Gives to the target. Returns False if it takes no more now."""
        self.at_work = self.target
        sent = 0
        try:
            if self.copied:
                sent = self.target.socket.send(self.copied)
                self.copied = self.copied[sent:]
            elif self.ends is not None:
                sent = os.splice(self.ends[0], self.target.socket.fileno(), self.held, flags=3)
                self.held -= sent
        except OSError as error:
            if error.errno in (EAGAIN, EWOULDBLOCK, EINTR):
                return False
            raise
        self.target._note_bytes(0, sent)
        self.taken += sent
        if self.taken >= PROGRESS or not self.waits:
            self.taken = 0
            self.target._note_progress(False)
        return not self.waits

    def drop(self) -> None:
        """The target is gone, and so are the bytes that it has not taken."""
        if self.ends is not None:
            close_pipe(self.ends)
            self.ends = None
        self.held = 0
        self.copied = b""
        self.ended = self.is_over = True


class Pipe:
    """Joins two streams. It begins when both are connected, and what was written to them before has left."""

    def __init__(self, one: Any, other: Any) -> None:
        self.streams = (one, other)
        self.ways: tuple[Way, ...] = ()
        self.reached: set[Any] = set()
        self.paused: set[Any] = set()  # those that the program has paused
        self.held_up: set[Any] = set()  # those whose bytes are copied to one that has no room
        self.is_over = False

    def open(self) -> None:
        try:
            for stream in self.streams:
                if is_paused(stream):
                    self.paused.add(stream)
                stream._pipe = self
                stream._hold_input()
                stream._queue_part(Mark(self))
        except RuntimeError:  # one has ended its output with `write_eof`: both are as they were
            self.is_over = True
            for stream in self.streams:
                stream._pipe = None
                stream._hold_input(False)
            raise

    def begin(self, stream: Any) -> None:
        """What was written to ``stream`` before has left."""
        if self.is_over:
            return  # the other one is gone: this one closes
        if stream.closing:
            return  # the program has closed it meanwhile: it ends now, and then so does the other
        self.reached.add(stream)
        stream._set_step(self.wait, 0)
        if len(self.reached) < 2:
            return
        for each in self.streams:
            each._hold_input(False)
        if CAN_SPLICE and all(can_splice(each) for each in self.streams):
            one, other = self.streams
            self.ways = (Way(one, other), Way(other, one))
            for each in self.streams:
                each._take_unread()
            self.step(0)
        else:
            self.copy()

    def wait(self, ready: int) -> None:
        """The other stream is not ready yet. A hang-up is told by what is read, or sent, later."""

    def copy(self) -> None:
        """One of them has TLS, or the system has no splice: each passes its input on by its handlers."""
        one, other = self.streams
        for source, target in ((one, other), (other, one)):
            source.framing = None
            source.handle_data = target.write
            source.handle_eof = target.write_eof
            target.handle_full = partial(self.hold_up, source, True)
            target.handle_drained = partial(self.hold_up, source, False)
        for source in self.streams:
            source._set_step(None)
            source._cut_soon()

    def pause(self, stream: Any, on: bool) -> None:
        """The program pauses the input of ``stream``, or has it go on."""
        (self.paused.add if on else self.paused.discard)(stream)
        self.reading_changed(stream)

    def hold_up(self, stream: Any, on: bool) -> None:
        """What ``stream`` receives has no room, or has it again."""
        (self.held_up.add if on else self.held_up.discard)(stream)
        self.reading_changed(stream)

    def reading_changed(self, stream: Any) -> None:
        if stream in self.paused or stream in self.held_up:
            StreamChannel.pause_reading(stream)
        else:
            StreamChannel.resume_reading(stream)
        if self.ways:
            self.step(0)

    def step(self, ready: int) -> None:
        """Something is ready on one of the two."""
        for way in self.ways:
            try:
                way.move()
            except OSError as error:
                way.at_work._end(error)  # which calls `gone`
                return
        if all(way.is_over for way in self.ways):
            self.end()
            return
        incoming, outgoing = self.ways
        for stream, way, back in ((self.streams[0], incoming, outgoing), (self.streams[1], outgoing, incoming)):
            if stream._is_gone:
                continue
            wants = 0 if way.ended or way.waits or is_paused(stream) else READ
            if back.waits:
                wants |= WRITE
            if stream._step != self.step or stream._step_wants != wants:
                stream._set_step(self.step, wants)

    def finish(self) -> bool:
        """The program closes one of the two: no more is taken from either, and both end when what was has left.

        Returns False if the bytes do not go through the kernel: then each stream closes by itself.
        """
        for way in self.ways:
            way.ended = True
        if self.ways:
            self.step(0)
        return bool(self.ways)

    def waits_for(self, stream: Any) -> bool:
        """Are there bytes in the pipe that ``stream`` has not taken?"""
        return any(way.target is stream and way.waits for way in self.ways)

    def end(self) -> None:
        """Everything was passed on: what is left of the two closes."""
        self.is_over = True
        for stream in self.streams:
            stream._pipe = None
            if not stream._is_gone:
                stream._set_step(None)
                stream.close()

    def gone(self, stream: Any) -> None:
        """One of the two is gone: so is the other, after what it has to send."""
        stream._pipe = None
        if self.is_over:
            return
        if self.ways:
            for way in self.ways:
                way.ended = True
                if way.target is stream:
                    way.drop()
            self.step(0)
            return
        self.is_over = True
        for each in self.streams:
            each._pipe = None
            for name in ("handle_data", "handle_eof", "handle_full", "handle_drained"):
                each.__dict__.pop(name, None)
            if each is not stream:
                each._hold_input(False)
                if each._step is not None and each in self.reached:
                    each._set_step(None)
                each.close()


class Mark:
    """The place in a stream's output from which on it belongs to the pipe."""

    __slots__ = ("pipe",)

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe

    def send(self, stream: Any) -> bool:
        self.pipe.begin(stream)
        return True

    def close(self) -> None:
        """There is nothing to give back."""
