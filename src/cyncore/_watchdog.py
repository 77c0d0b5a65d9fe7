# SPDX-License-Identifier: MIT
"""Watchdog: a thread that sees a handler which does not return, while it runs, and logs where it is.

It reads what the loop counts anyway: as long as the loop is at work and none of its counts moves, one handler or
callback has it. So nothing is added to an event. A handler that keeps the GIL in C code keeps this thread from running,
too; it is seen when it lets go.

Imported when somebody asks for it.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from typing import Any
from weakref import ref

from ._patched import is_patched
from ._report import WARNING, report
from ._rules import STILL_RUNS, number

LOOKS = 4  # looks in the time that a handler may take


class Watchdog:
    """Watches the handlers of one loop, which it does not keep alive, until `stop`."""

    def __init__(self, loop: Any, seconds: float) -> None:
        self.seconds = number("seconds", seconds)
        if not 0.0 < self.seconds <= threading.TIMEOUT_MAX:
            raise ValueError(f"watch_handlers: seconds must be above zero: {seconds!r}")
        if is_patched():
            raise RuntimeError(
                "watch_handlers: the threads of this process are greenlets (gevent or eventlet), "
                "which do not run while a handler does"
            )
        self._ended = threading.Event()
        self._loop = ref(loop, lambda _: self._ended.set())
        self._last: Any = None  # what the loop had counted at the last look; None: it waited
        self._since = 0.0  # since then it is the same
        self._is_told = False
        threading.Thread(target=self._run, name="cyncore watchdog", daemon=True).start()

    def stop(self) -> None:
        """Ends the thread, soon. Does nothing the second time."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(self.seconds / LOOKS):
            loop = self._loop()
            if loop is not None:
                try:
                    self._look(loop, time.monotonic())
                except Exception:  # of the program's logging: the next one may be told, and this error is, too
                    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            del loop  # so that it can go

    def _look(self, loop: Any, now: float) -> None:
        found = loop._progress()
        if found is None or found != self._last:
            self._last, self._since, self._is_told = found, now, False
            return
        if self._is_told or now - self._since < self.seconds:
            return
        frame = sys._current_frames().get(found[0])
        lines = [] if frame is None else traceback.format_stack(frame)
        if loop._progress() == found:  # else it has just returned
            self._is_told = True
            report(WARNING, STILL_RUNS, loop, now - self._since, "".join(lines).rstrip())
