# SPDX-License-Identifier: MIT
"""Inspection: what a loop tells of itself, and of its channels."""

from __future__ import annotations

import time
from typing import Any

from .channel import Channel, timed, traffic
from .dispatch import Dispatch
from .figures import FIRST, Times
from .poller import PRI, READ, WRITE
from .slot import Slot
from .stream import StreamChannel
from .turn import Turn


def _infos() -> Any:
    """The module that has the classes of what is told. Most programs never need it."""
    from .. import _inspection

    return _inspection


def _histogram(times: Times) -> Any:
    return _infos().histogram(FIRST, tuple(times.counts), times.total, times.most)


def _queued(obj: Any) -> int:
    """The bytes that are kept for it, to be sent."""
    if isinstance(obj, StreamChannel):
        return obj.output_size
    count = getattr(
        type(obj), "_cyncore_kept_output", None
    )  # of the class: the object may have a __getattr__ of its own
    return 0 if count is None else int(count(obj))


class Inspection(Dispatch):
    """A loop that can be looked into. `Loop` derives from it."""

    _backend: str
    _turn: Turn
    _waiting: bool
    _gathered: list[Any]
    _watchdog: Any = None
    _closed: bool

    def stats(self) -> Any:
        """What the loop has counted since it was made: a `LoopStats`. From any thread."""
        figures = self._figures
        return _infos().LoopStats(
            backend=self._backend,
            uptime=time.monotonic() - figures.begun,
            ticks=self._waits,
            events=figures.events,
            calls=figures.calls,
            sweeps=figures.sweeps,
            accepts=figures.accepts,
            errors=figures.errors,
            bytes_in=figures.received,
            bytes_out=figures.sent,
            channels=len(self._map),
            queued_calls=0 if self._closed else self._calls.count_queued(),
            timers=0 if self._closed else self._calls.count_timers(),
            lag=_histogram(figures.lag),
            handler_times=_histogram(figures.handlers),
        )

    def channels(self, start: int = 0, most: int | None = None) -> list[Any]:
        """A list of `ChannelInfo`, by descriptor: of the channels from descriptor ``start`` on.

        ``most``: of so many at most; None: of all. ValueError if either is below zero, RuntimeError where the loop is
        closed.
        """
        self._check("channels")
        module = _infos()
        left = module.limits(start, most)
        if left == 1 and start in self._map:
            found = [start]  # asked for the busiest ones
        else:
            found = sorted(fd for fd in list(self._map) if isinstance(fd, int) and fd >= start)
        now = time.monotonic()
        return [
            self._info_of(self._slot_of(fd, self._map[fd]), now, module) for fd in (found if left < 0 else found[:left])
        ]

    def _slot_of(self, fd: int, obj: Any) -> Slot:
        """Its slot; one that has come since the loop has looked at the map has one for the moment."""
        slot = self._slots.get(fd)
        return slot if slot is not None and slot.obj is obj else Slot(fd, obj)

    def _check(self, method: str) -> None:
        raise NotImplementedError  # pragma: no cover - the loop's

    def _info_of(self, slot: Slot, now: float, module: Any) -> Any:
        obj = slot.obj
        is_known = isinstance(obj, Channel)
        received, sent, active = traffic(obj) if is_known else (0, 0, 0.0)
        age = max(now - slot.entered, 0.0)
        return module.channel_info(
            obj,
            timed(obj) if is_known else None,
            now,
            fd=slot.key_fd,
            peer=obj.addr if is_known else None,
            state=slot.state(),
            wanted=tuple(slot.wanted > 0 and slot.wanted & mask != 0 for mask in (READ, WRITE, PRI)),
            paused=slot.paused(),
            bytes_in=received,
            bytes_out=sent,
            queued=_queued(obj),
            unread=len(obj._input) if isinstance(obj, StreamChannel) else 0,
            age=age,
            idle=max(now - max(active, slot.entered), 0.0) if is_known else None,
        )

    def watch_handlers(self, seconds: float | None) -> None:
        """Has a thread log the traceback of each handler and callback that runs for ``seconds``, while it still runs.

        None: no more. It ends with the loop. The child of a fork must call this again. ValueError for zero or less,
        RuntimeError where gevent or eventlet have replaced threads, or the loop is closed.
        """
        self._check("watch_handlers")
        from .._watchdog import Watchdog

        made = None if seconds is None else Watchdog(self, seconds)
        self._end_watch()
        self._watchdog = made

    def _end_watch(self) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None

    def _progress(self) -> tuple[int, ...] | None:
        """What changes whenever a handler or a call returns, after the thread that runs the loop; None: the loop waits,
        or nobody runs it. From any thread.
        """
        if self._closed or not self._turn.depth or self._waiting:
            return None
        figures = self._figures
        return self._turn.owner, self._waits, figures.begun_events, figures.calls, len(self._gathered)

    def _traffic(self, start: int, most: int) -> tuple[int, list[tuple[int, Any, int, int]]]:
        """Looks at ``most`` descriptors from ``start`` on. Returns where the next look begins, or -1 at the end, and a
        list of those in use: descriptor, what tells its users apart, bytes in, bytes out.
        """
        end, found = start + most, []
        for fd in range(start, end):
            slot = self._slots.get(fd)
            if slot is not None:
                received, sent, _ = traffic(slot.obj) if isinstance(slot.obj, Channel) else (0, 0, 0.0)
                found.append((fd, slot.entered, received, sent))
        return (end if end <= max(self._slots, default=-1) else -1), found
