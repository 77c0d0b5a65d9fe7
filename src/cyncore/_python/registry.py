# SPDX-License-Identifier: MIT
"""Registry: the entries of a map, and what the poller is told of them.

The rules are those of docs/design.md, kept in a plain way: every tick compares the map with what it was and asks
everyone if Python code ran, in one pass that also says what each is to be watched for.
"""

from __future__ import annotations

import time
from errno import EBADF
from operator import is_
from typing import Any, Final, cast

from .._report import WARNING, report
from .._rules import EXITS, LAST_DESCRIPTOR, SLOW_PREDICATES, failure
from .._spin import Suspect
from .calls import TimerHandle
from .channel import Channel, set_timed, timed
from .figures import Figures
from .maps import Serving
from .poller import PRI, READ, WRITE, Wants
from .slot import Slot
from .traits import Kinds, Traits, defines

_ROUNDS: Final = 4  # of questions before a wait, where predicates change the map: they must not keep the loop from it

_NOTHING: Final[dict[str, Any]] = {}


class Registry:
    """What a `Loop` keeps of its map: a slot for every entry, and their interest."""

    def __init__(self, map: Any) -> None:
        self._map = map
        self._slots: dict[int, Slot] = {}
        self._taken: tuple[list[int], list[Any]] | None = None  # descriptors and channels that the slots were made of
        self._waits = 0
        self._kinds = Kinds()
        self._states_known = False  # do the slots hold the states in which the channels were asked last?
        self._wants = Wants()
        self._pending: list[int] | None = None  # sockets that hold data; None: `_wants` is not up to date
        self._dirty = False  # has a predicate changed what others want?
        self._was_used = False  # has a channel ever joined it?
        self._slowed: dict[int, tuple[TimerHandle, Slot, Suspect]] = {}  # by descriptor: those that fire without end
        self._slow_after: float | None = None  # seconds after which predicates and handlers are logged as slow
        self._predicates_stale = False  # has Python code run since everyone was asked?
        self._figures = Figures()

    @property
    def map(self) -> Any:
        return self._map

    # What the channels want

    def _prepare(self, sweep_all: bool) -> None:
        """Takes over the map as it is, and asks the predicates that are to be asked."""
        self._kinds = Kinds()
        self._read_map()
        everyone, self._predicates_stale = sweep_all or self._predicates_stale, False
        for _ in range(_ROUNDS):
            self._ask(everyone)
            if not self._read_map():
                break  # else a predicate has added channels or taken some out, and others may know of it

    def _ask(self, everyone: bool) -> None:
        if everyone:
            self._states_known = self._dirty = False
            self._pending = self._sweep()
            self._figures.sweeps += 1
            return
        self._pending = None
        everyone, self._states_known = not self._states_known, True
        for slot in list(self._slots.values()):
            if self._is_live(slot):
                self._ask_slot(slot, everyone)

    def _ask_slot(self, slot: Slot, everyone: bool) -> None:
        """Asks one, and logs it where its predicates are slow."""
        if self._slow_after is None:
            slot.ask(everyone)
            return
        waits, begin = self._waits, time.monotonic()
        slot.ask(everyone)
        seconds = time.monotonic() - begin
        obj = slot.obj
        own = not isinstance(obj, Channel) or defines(obj, "readable") or defines(obj, "writable")
        if own and self._is_slow(seconds, waits):
            report(WARNING, SLOW_PREDICATES, slot.obj, slot.key_fd, seconds)

    def _is_slow(self, seconds: float, waits: int) -> bool:
        """Did what took so long do so by itself, and not run the loop, which has served others?"""
        return self._slow_after is not None and seconds >= self._slow_after and waits == self._waits

    def _sweep(self) -> list[int]:
        """Asks everyone, and puts what comes of it into `_wants`. Returns the descriptors of sockets that hold data.

        The usual case is written out, for it is most of a tick: nothing but the predicates decides, and nothing
        happened.
        """
        pending: list[int] = []
        wants, count = self._wants, len(self._map)
        last: Any = None  # the class of the one before
        for slot in list(self._slots.values()):
            obj = slot.obj
            if len(self._map) != count and not self._is_live(slot):
                continue  # a predicate of another one has closed it
            if type(obj) is not last:
                last = type(obj)
                traits = self._kinds[last]
            own = obj.__dict__ if traits.plain else _NOTHING
            if self._slow_after is not None or not (traits.plain and _is_usual(slot, traits, own)):
                slot.usual = False
                self._ask_slot(slot, True)
                slot.arm(wants, pending)
                continue
            try:
                mask = traits.reads if not traits.asks_readable or obj.readable() else 0
                if traits.asks_writable:
                    silent = not obj.writable()
                else:
                    silent = not (obj.connecting or (traits.tells_output and obj._cyncore_output))
            except EXITS:
                raise
            except BaseException:  # as in Slot.ask()
                slot.fail()
                slot.arm(wants, pending)
                continue
            if not silent and not traits.writes:  # it does if it is connecting, or has a handler of its own
                slot.answered(mask != 0, True)
                slot.arm(wants, pending)
                continue
            if mask == READ and ("handle_expt" in own or "handle_expt_event" in own):
                mask = READ | PRI
            if not silent:
                mask |= WRITE
                slot.usual = False  # its answer is not what follows from its mask any more
            if mask != slot.wanted and not slot.gone:
                slot.take(mask, wants)
        return pending

    def _arm_all(self) -> list[int]:
        """Puts what everyone wants at this moment, by the last answers, into `_wants`. Returns as `_sweep`."""
        pending: list[int] = []
        for slot in list(self._slots.values()):
            slot.arm(self._wants, pending)
        return pending

    def _interest_changed(self, fd: int | None) -> None:
        self._dirty = True
        slot = self._slots.get(-1 if fd is None else fd)
        if slot is not None:
            slot.usual = False
        self._changed()

    def _changed(self) -> None:
        """Something has changed of which a host must know, if there is one and no tick is in progress."""

    # The map

    def _read_map(self) -> bool:
        """Makes the slots those of the map. Returns whether that changed any."""
        if self._is_map_as_read():
            return False
        items = {fd: channel for fd, channel in list(self._map.items()) if fd is not None}  # no descriptor yet
        changed = False
        for fd, channel in list(items.items()):
            if not isinstance(fd, int) or not 0 <= fd <= LAST_DESCRIPTOR:
                self._refuse_entry(items.pop(fd), fd)
                continue
            slot = self._slots.get(fd)
            if slot is None or slot.obj is not channel:
                changed = True
                self._attach(fd, channel)
        for fd in self._slots.keys() - items.keys():
            changed = True
            gone = self._slots[fd].obj
            self._detach(fd)
            if isinstance(gone, Channel) and gone._cyncore_loop is cast(Serving, self):
                gone._cyncore_loop = None
        self._taken = list(items), list(items.values())
        return changed

    def _is_map_as_read(self) -> bool:
        """Is the map as it was when it was read last? Compared by identity: channels may be equal to others."""
        if self._taken is None or type(self._map) is not dict:
            return False
        fds, channels = self._taken
        if not len(fds) == len(self._map) == len(self._slots):
            return False
        return fds == list(self._map) and all(map(is_, channels, list(self._map.values())))

    def _refuse_entry(self, channel: Any, key: object) -> None:
        """A key that is no descriptor costs its channel, not the loop."""
        del self._map[key]
        try:
            raise failure(EBADF, f"{key!r}, the key of {channel!r} in the map, is no open file descriptor")
        except OSError:  # so that handle_error() finds an exception being handled, as ever
            channel.handle_error()

    def _attach(self, fd: int, channel: Any) -> None:
        self._detach(fd)
        self._slots[fd] = Slot(fd, channel)
        if isinstance(channel, Channel) and channel._cyncore_loop is None:
            channel._cyncore_loop = cast(Serving, self)  # every registry is a part of a loop
            channel._cyncore_place = fd

    def _detach(self, fd: int) -> None:
        self._was_used = True
        slot = self._slots.pop(fd, None)
        if slot is not None:
            slot.gone = True
            slowed = self._slowed.pop(fd, None)
            if slowed is not None:
                slowed[0].cancel()
            self._wants.put(fd, 0)
            if isinstance(slot.obj, Channel) and timed(slot.obj) is not None:
                set_timed(slot.obj, None)
        self._taken = None
        self._changed()

    def _wants_to_write(self, fd: int | None) -> bool:
        slot = self._slots.get(-1 if fd is None else fd)
        return slot is not None and slot._interest_or_nothing() & WRITE != 0

    def _is_live(self, slot: Slot) -> bool:
        """Is it still what the map holds for its descriptor?"""
        return self._slots.get(slot.key_fd) is slot and self._map.get(slot.key_fd) is slot.obj


def _is_usual(slot: Slot, traits: Traits, own: dict[str, Any]) -> bool:
    """Do its class, and nothing that it has of its own, say all that counts? ``own``: the attributes of the channel."""
    if not (slot.usual or slot.becomes_usual(not traits.asks_writable)) or "accepting" in own:
        return False
    return not traits.special or own.keys().isdisjoint(traits.special)
