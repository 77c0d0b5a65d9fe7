# SPDX-License-Identifier: MIT
"""Collector: looks at the loop once in a while, for those who watch it live, and only while somebody does.

Ten thousand channels must not make a tick long. So a look is made in pieces, a tick each, and reads four numbers of
each channel. What else there is to know is asked for the busiest ones only.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable
from typing import Any

from .documents import channel_document, since, stats_document
from .place import program

PIECE = 500  # descriptors that one tick looks at
BUSIEST = 25  # channels that are told
COUNTED = ("ticks", "events", "calls", "sweeps", "accepts", "errors", "bytes_in", "bytes_out")


class Collector:
    """``tell(snapshot)`` is called with each look at the loop."""

    def __init__(self, loop: Any, interval: float, tell: Callable[[dict[str, Any]], None]) -> None:
        self.loop = loop
        self.interval = interval
        self.tell = tell
        self.is_on = False
        self._handle: Any = None
        self._stats: Any = None  # of the look before
        # By descriptor, of that look, too: which channel it was, and its bytes. No objects that the garbage collector
        # counts: it would go through all of the program's again and again.
        self._which: list[Any] = []
        self._received: list[int] = []
        self._sent: list[int] = []
        self._busy: list[tuple[int, int, int, int, int]] = []

    def start(self) -> None:
        """Somebody watches. Does nothing if somebody did before."""
        if not self.is_on:
            self.is_on = True
            self._begin()

    def stop(self) -> None:
        """Nobody watches any more."""
        self.is_on = False
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._stats = None
        self._which, self._received, self._sent, self._busy = [], [], [], []

    def _begin(self) -> None:
        self._busy = []
        self._look(0)

    def _look(self, start: int) -> None:
        following, found = self.loop._traffic(start, PIECE)
        for fd, which, received, sent in found:
            moved_in, moved_out = self._moved(fd, which, received, sent)
            entry = (moved_in + moved_out, received + sent, fd, moved_in, moved_out)
            if len(self._busy) < BUSIEST:
                heapq.heappush(self._busy, entry)
            elif entry > self._busy[0]:
                heapq.heapreplace(self._busy, entry)
        if following >= 0:
            self._handle = self.loop.call_soon(self._look, following)
        else:
            self._end()

    def _moved(self, fd: int, which: Any, received: int, sent: int) -> tuple[int, int]:
        """The bytes that a channel has received and sent since the look before."""
        more = fd + 1 - len(self._which)
        if more > 0:
            self._which += [None] * more
            self._received += [0] * more
            self._sent += [0] * more
        is_same = self._which[fd] == which
        moved = received, sent
        if is_same:
            moved = max(received - self._received[fd], 0), max(sent - self._sent[fd], 0)
        self._which[fd], self._received[fd], self._sent[fd] = which, received, sent
        return moved

    def _end(self) -> None:
        stats, before = self.loop.stats(), self._stats
        seconds = self.interval if before is None else max(stats.uptime - before.uptime, 1e-3)
        top = []
        for _, _, fd, moved_in, moved_out in sorted(self._busy, reverse=True):
            for channel in self.loop.channels(fd, 1):
                if channel.fd == fd:  # else it has gone meanwhile
                    rates = (None, None) if before is None else (moved_in / seconds, moved_out / seconds)
                    top.append({**channel_document(channel), "in_rate": rates[0], "out_rate": rates[1]})
        snapshot = {
            "time": time.time(),
            "pid": os.getpid(),
            "program": program(),
            "interval": self.interval,
            "stats": stats_document(stats),
            "rates": None
            if before is None
            else {name: (getattr(stats, name) - getattr(before, name)) / seconds for name in COUNTED},
            "lag": since(stats.lag, stats.lag if before is None else before.lag),
            "handlers": since(stats.handler_times, stats.handler_times if before is None else before.handler_times),
            "top": top,
        }
        self._stats = stats
        self._handle = self.loop.call_later(self.interval, self._begin)
        self.tell(snapshot)
