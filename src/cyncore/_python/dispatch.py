# SPDX-License-Identifier: MIT
"""Dispatch: a batch of events, each to its channel, as asyncore.readwrite did it.

A handler may close any channel, change the map, or run the loop. So each event is compared with its slot before it is
dispatched, and a slot that has gone meanwhile gets no further call.
"""

from __future__ import annotations

import os
import time
from errno import EIO
from typing import TYPE_CHECKING, Any

from .._report import WARNING, report
from .._rules import (
    DISCONNECTED,
    EXITS,
    LOG_INTERVAL,
    OUT_OF_DESCRIPTORS,
    SLOW_HANDLERS,
    TIMED_EVENTS,
    TIMED_EVERY,
    spinning,
)
from .._spin import CANDIDATES, LOOK_EVERY, ROUND, Spins, Suspect, check_guard
from .calls import Calls
from .channel import Channel, timed
from .poller import ERR, GONE, HUP, NVAL, PRI, READ, WRITE, gone_now
from .registry import Registry
from .slot import ALL, Slot, is_connecting, reads
from .stream import StreamChannel

_logged_at = -LOG_INTERVAL  # when running out of descriptors was logged last


class Dispatch(Registry):
    """A registry that serves its channels. `Loop` derives from it."""

    _calls: Calls
    _stops: int

    if TYPE_CHECKING:  # the loop's

        def time(self) -> float: ...

    def __init__(self, map: Any) -> None:
        super().__init__(map)
        self._backed_off: list[Slot] = []  # listeners that are out of descriptors
        self._spins = Spins()
        self._chosen_last = -1  # the descriptor that a round has begun to suspect last
        self._looks_soon = False  # the next tick is looked at, because a pause has ended
        self._waits_on = True  # this tick waits for events, if there are none
        self._pauses_ended = 0

    def _dispatch_batch(self, events: list[tuple[Slot, int]], stops: int) -> int:
        this_wait = self._waits
        delivered = 0
        looks = this_wait % LOOK_EVERY == 0 and bool(self._spins.suspects or this_wait % ROUND == 0)
        looked_at = self._choose(events) if looks or self._looks_soon else set()
        timed_ones = TIMED_EVENTS if this_wait % TIMED_EVERY == 0 else 0
        for slot, ready in events:
            if self._stops != stops:
                break  # the rest is pending in the kernel still
            if not self._is_live(slot) or slot.served > this_wait:
                continue  # gone, or a loop inside a handler has served it since
            slot.served = this_wait
            self._predicates_stale = True
            self._figures.begun_events += 1
            timed_ones -= 1
            if self._slow_after is not None or timed_ones >= 0 or slot.key_fd in looked_at:
                count = self._dispatch_closely(slot, ready, slot.key_fd in looked_at)
            else:
                count = self._dispatch_event(slot, ready)
            delivered += count
            self._figures.events += count
            if slot.backed_off_until > 0.0:
                self._backed_off.append(slot)
        if looks:
            self._spins.finish(this_wait)
        return delivered

    def _dispatch_event(self, slot: Slot, ready: int) -> bool:
        """One event to one channel, as asyncore.readwrite did it. Returns False where it was not wanted any more."""
        obj = slot.obj
        slot.touch()
        at_end = ready & (READ | WRITE | PRI | GONE | NVAL) == HUP and _reads_end(obj)
        try:
            return self._call_handlers(slot, ready | READ if at_end else ready)
        except EXITS:
            raise
        except BaseException as error:
            if at_end and isinstance(error, OSError) and error.errno == EIO:  # the end of a terminal
                self._lost(obj)
            else:
                self._failed(obj, error)
        finally:
            if ready & NVAL and self._is_live(slot):  # the descriptor was closed behind our back
                del self._map[slot.key_fd]
                self._detach(slot.key_fd)
        return True

    def _call_handlers(self, slot: Slot, ready: int) -> bool:
        """Calls the handlers for one event, and handle_close after a hang-up. Returns False if it was not wanted."""
        obj = slot.obj
        if ready & NVAL:
            _hung_up(obj)
            return True
        wanted = slot.interest()
        # An error by itself may be a datagram's (ICMP): reading tells of it, and then it is over.
        failed = ready & GONE == ERR and not (isinstance(obj, Channel) and is_connecting(obj))
        unread = slot.unread() if ready & GONE else 0
        was_readable = ready & READ
        if failed:
            ready |= READ
        ready &= wanted | GONE
        if not ready:
            return False  # another channel's handler has paused this one
        if ready & READ:
            self._dispatch_read(slot)
        if ready & WRITE and not slot.gone:
            if isinstance(obj, Channel) and (deadlines := timed(obj)) is not None:
                deadlines.output_at = time.monotonic()
            obj.handle_write_event()
        if ready & PRI and not slot.gone:
            obj.handle_expt_event()
        if ready & GONE and not slot.gone:
            if not isinstance(obj, Channel) and self._map.get(slot.key_fd) is not obj:
                return True  # its read handler has taken it out by hand
            if ready & READ:
                self._hung_up_reading(slot, was_readable, unread, failed)
            elif not wanted & READ and unread > 0 and not (isinstance(obj, Channel) and obj._cyncore_takes_errors):
                slot.hold()  # until it wants to read again
            else:
                _hung_up(obj)
        return True

    def _hung_up_reading(self, slot: Slot, was_readable: int, unread: int, failed: bool) -> None:
        """Its read handler was called, and has perhaps read: then the rest, and the end, come with the next events."""
        reads_on = isinstance(slot.obj, Channel) and slot.obj._cyncore_last_recv in ("data", "end")
        if was_readable and (reads_on or slot.unread() < unread):
            return
        if not failed or gone_now(slot.key_fd):
            _hung_up(slot.obj)

    def _dispatch_read(self, slot: Slot) -> None:
        obj = slot.obj
        if not isinstance(obj, Channel):
            obj.handle_read_event()
            return
        obj._cyncore_last_recv = ""
        obj._cyncore_accept_errno = 0
        accepts = bool(obj.accepting)
        try:
            obj.handle_read_event()
        except OSError as error:
            if isinstance(error, BlockingIOError) and obj._cyncore_last_recv == "again":
                return  # a spurious event: there was nothing to read
            if not (accepts and error.errno in OUT_OF_DESCRIPTORS and error.errno == obj._cyncore_accept_errno):
                raise
        if (
            accepts and obj._cyncore_accept_errno in OUT_OF_DESCRIPTORS
        ):  # whether or not its own handler has caught the error
            self._back_off(slot, obj._cyncore_accept_errno)  # the connection waits in the backlog until there is room
            return
        slot.accepted()
        if not accepts and not obj._cyncore_last_recv and not reads(obj):
            obj._cyncore_muted_in = obj._cyncore_state()
        slot.pending = False  # also where asking fails, which is told once
        slot.pending = slot.pending_bytes() > 0

    def _back_off(self, slot: Slot, error: int) -> None:
        global _logged_at
        pause = slot.back_off()
        now = time.monotonic()
        if now - _logged_at >= LOG_INTERVAL:
            _logged_at = now
            report(
                WARNING,
                "%r fd %d cannot accept: %s; trying again every %d ms",
                *(slot.obj, slot.key_fd, OSError(error, os.strerror(error)), pause),
            )

    def _failed(self, channel: Any, error: BaseException) -> None:
        """What left a handler of the channel; called with the exception being handled."""
        is_new = isinstance(channel, Channel) and channel._cyncore_tells_interest
        if isinstance(error, OSError) and error.errno in DISCONNECTED and not is_new:
            self._lost(channel)
            return
        self._figures.errors += 1
        if is_new:
            channel._fail(error)
        else:
            channel.handle_error()

    def _lost(self, channel: Any) -> None:
        """Tells that the connection is lost; called with the exception being handled."""
        try:
            _hung_up(channel)
        except EXITS:
            raise
        except BaseException:  # perhaps its farewell, which fails: told to handle_error
            self._figures.errors += 1
            channel.handle_error()

    # Those that are slow, or fire without end

    def _choose(self, events: list[tuple[Slot, int]]) -> set[int]:
        """The descriptors that are to be looked at: those of suspects, and in a new round those of some others."""
        chosen = {slot.key_fd for slot, _ in events if slot.key_fd in self._spins.suspects}
        if self._looks_soon:  # at those whose pause is over
            self._looks_soon = False
            if self._waits % LOOK_EVERY:
                return {fd for fd in chosen if self._spins.was_slowed(fd)}
        if self._waits % ROUND == 0:  # by their descriptors, so that everybody's turn comes
            others = sorted(slot.key_fd for slot, _ in events if slot.key_fd > self._chosen_last)[:CANDIDATES]
            chosen.update(others)
            self._chosen_last = others[-1] if len(others) == CANDIDATES else -1
        return chosen

    def _dispatch_closely(self, slot: Slot, ready: int, is_looked_at: bool) -> bool:
        """`_dispatch_event`, and looks how long the handlers take, and whether they do anything."""
        obj, fd, tick = slot.obj, slot.key_fd, self._waits
        if is_looked_at and fd not in self._spins.suspects:
            self._spins.add(fd, obj, tick)
        if is_looked_at:
            self._spins.begin(fd, obj)
        begin = time.monotonic()
        delivered = self._dispatch_event(slot, ready)
        seconds = time.monotonic() - begin
        if tick == self._waits:
            self._figures.handlers.note(seconds)
        if self._is_slow(seconds, tick):
            report(WARNING, SLOW_HANDLERS, obj, fd, seconds)
        if is_looked_at and delivered and tick == self._waits and not slot.gone:
            suspect = self._spins.end(fd, obj, tick, seconds, begin, ready & ~WRITE != 0)
            if suspect is not None:
                self._slow(slot, suspect)
        return delivered

    @property
    def spin_guard(self) -> str | None:
        """What is done with a channel that fires without end and was named: "slow", "close" or None.

        ValueError for anything else.
        """
        return self._spins.guard

    @spin_guard.setter
    def spin_guard(self, value: str | None) -> None:
        self._spins.guard = check_guard(value)

    def _slow(self, slot: Slot, suspect: Suspect) -> None:
        """A channel fires without end: takes its interest away for a moment, or closes it."""
        if suspect.closes:
            self._close_spinning(slot)
        elif not self._waits_on:
            self._spins.go_on(suspect, self._waits)
        else:
            timer = self._calls.add_timer(self.time() + suspect.pause, self._end_pause, ())
            self._slowed[slot.key_fd] = timer, slot, suspect
            slot.slowed = WRITE if suspect.is_output else ALL
            self._interest_changed(slot.key_fd)

    def _end_pause(self) -> None:
        """A pause is over. All end, since each of them ends a wait, and those that go on are looked at at once."""
        self._pauses_ended += 1
        self._looks_soon = True
        self._go_on()

    def _go_on(self) -> None:
        """Gives the slowed channels their interest back."""
        for fd in list(self._slowed):  # in this order, so that an exit of a signal handler leaves it to the timer
            timer, slot, suspect = self._slowed[fd]
            slot.slowed = 0
            self._spins.go_on(suspect, self._waits)
            self._interest_changed(fd)
            del self._slowed[fd]
            timer.cancel()

    def _has_run_others(self, events: list[tuple[Slot, int]], tick: int) -> bool:
        """Has this tick called anybody else than the channels that were slowed?"""
        for slot, _ in events:
            found = self._slowed.get(slot.key_fd)
            suspect = self._spins.suspects.get(slot.key_fd) if found is None else found[2]
            if suspect is None or suspect.round != tick:  # it was not looked at: slowed ones have had other events
                return True
        return False

    def _close_spinning(self, slot: Slot) -> None:
        obj = slot.obj
        try:
            if isinstance(obj, StreamChannel):
                obj._end(spinning(obj))
            else:
                obj.close()
        except EXITS:
            raise
        except BaseException as error:
            self._failed(obj, error)
        if self._is_live(slot):  # a close() of its own has left it where it was
            del self._map[slot.key_fd]
            self._detach(slot.key_fd)
            if isinstance(obj, Channel):
                obj._cyncore_loop = None


def _reads_end(obj: Any) -> bool:
    """Does a hang-up without anything to read call the read handler first?

    A pipe ends like that, and a terminal. For select(2) that was readable, so a handler may wait for the empty read.
    """
    if not isinstance(obj, Channel):
        return True
    return bool(obj.connected) and not obj._cyncore_tells_interest and not obj._cyncore_takes_errors


def _hung_up(obj: Any) -> None:
    if isinstance(obj, Channel) and obj._cyncore_tells_interest:
        obj._on_close()
    else:
        obj.handle_close()
