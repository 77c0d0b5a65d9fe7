# SPDX-License-Identifier: MIT
"""An asyncio loop on the thread of a cyncore loop.

asyncio keeps a selector of its own, whose descriptor is a channel of the cyncore loop. So asyncio's registrations mean
exactly what they mean elsewhere, and both worlds wait in one system call. Either of them may be the one that runs:

- asyncio runs (`run_forever`, `run_until_complete`, `asyncio.Runner`): where it would wait, the cyncore loop makes a
  tick.
- The cyncore loop runs (`Loop.run`, `asyncore.loop`): when asyncio has something to do, it makes a round, which does
  not wait.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from errno import EOPNOTSUPP
from typing import TYPE_CHECKING, Any

from .._dispatcher import dispatcher
from .._engine import Handle, Loop
from .._rules import failure

if TYPE_CHECKING:
    _Kind = selectors.EpollSelector
else:
    _Kind = getattr(selectors, "EpollSelector", getattr(selectors, "KqueueSelector", object))


class _Bell(dispatcher):
    """The descriptor of asyncio's selector as a channel: it rings when asyncio has an event."""

    is_over = False

    def __init__(self, descriptor: Any, loop: Loop, ring: Callable[[], None]) -> None:
        super().__init__(map=loop.map)
        self.descriptor = descriptor
        self.loop = loop
        self.ring = ring
        self.connected = True
        self.hang()

    def hang(self) -> None:
        """Puts it into the map, where it is not."""
        if self._fileno is None and not self.is_over:
            self.set_socket(self.descriptor, self.loop.map)

    def handle_read_event(self) -> None:
        self.ring()

    def close(self) -> None:
        """Somebody closes all that is in the map, perhaps to end `asyncore.loop`. If a loop runs on, asyncio does."""
        self.take_down()
        if not self.loop.closed:
            self.loop.call_soon(self.hang)

    def take_down(self) -> None:
        self.del_channel()  # the descriptor is the selector's
        self.socket = None

    def __repr__(self) -> str:
        return f"<the events of asyncio at {id(self):#x}>"


class _Selector(_Kind):
    """asyncio's selector, which has the cyncore loop make a tick where it would wait."""

    wait: Callable[[float | None], bool] | None = None  # returns whether there may be events; None: do not wait at all

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.wait is not None and not self.wait(timeout):
            return []
        return super().select(0)


def _leave_out_last(handle: Any) -> None:
    """In debug mode a handle knows who has made it: not the method here, but who has called that."""
    if handle._source_traceback:
        del handle._source_traceback[-1]


class AsyncioLoop(asyncio.SelectorEventLoop):
    """An asyncio loop that shares its thread, and its wait, with a cyncore loop.

    ``loop``: the cyncore loop; None: one of its own, which is closed with it. While this loop is open, the map of the
    cyncore loop has one channel more, so that its `run` does not end by itself. What leaves the cyncore loop (an
    exception that `handle_error` raises, ExitNow) is told to the exception handler of this loop while asyncio runs.

    OSError (ENOTSUP) where Python has neither epoll nor kqueue.
    """

    def __init__(self, loop: Loop | None = None) -> None:
        if not hasattr(_Kind, "fileno"):
            raise failure(EOPNOTSUPP, "asyncio cannot share the wait of a loop without select.epoll or select.kqueue")
        self._is_own = loop is None
        self.cyncore_loop = Loop() if loop is None else loop
        self._rang = False  # the selector has events
        self._in_round = False
        self._is_patient = False  # it runs until a future is done, whatever stops the cyncore loop
        self._next_round: Handle | None = None
        self._alarm: Any = None  # for the next timer of asyncio
        selector = _Selector()
        selector.wait = self._tick
        self._bell: _Bell | None = None
        try:
            super().__init__(selector)
            self._bell = _Bell(selector, self.cyncore_loop, self._ring)
        except BaseException:
            selector.close()
            raise

    # asyncio runs

    def _tick(self, timeout: float | None) -> bool:
        """Waits, and serves the channels of the cyncore loop. Returns whether asyncio may have events."""
        loop = self.cyncore_loop
        if self._in_round or loop.closed:
            return True
        stops = loop._stops
        self._rang = False
        try:
            loop.poll(None if timeout is None else max(timeout, 0.0))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self.call_exception_handler({"message": f"an exception has left {loop!r}", "exception": error})
            return True
        if stops != loop._stops and not self._is_patient:
            self.stop()
        return self._rang

    if not TYPE_CHECKING:  # the types are asyncio's

        def run_until_complete(self, future):
            before, self._is_patient = self._is_patient, True
            try:
                return super().run_until_complete(future)
            finally:
                self._is_patient = before

    # The cyncore loop runs

    def _ring(self) -> None:
        self._rang = True
        if not self.is_running():
            self._round()

    def _round(self) -> None:
        """What asyncio has to do now: its events, the timers that are due, and the callbacks that are queued."""
        if self._next_round is not None:
            self._next_round.cancel()
            self._next_round = None
        if self.is_running() or self.is_closed():
            return
        super().call_soon(super().stop)
        self._in_round = True
        try:
            self.run_forever()
        finally:
            self._in_round = False
            if self._ready:  # type: ignore[attr-defined]  # by a callback, or by another thread just now
                self._want_round()
            self._look_ahead()

    def _want_round(self) -> None:
        if self._next_round is None and not self.cyncore_loop.closed:
            self._next_round = self.cyncore_loop.call_soon(self._round)

    def _look_ahead(self) -> None:
        """Has asyncio make a round when its next timer is due."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if timers and not self.cyncore_loop.closed:
            self._alarm = self.cyncore_loop.call_later(max(0.0, timers[0].when() - self.time()), self._round)

    if not TYPE_CHECKING:

        def call_soon(self, callback, *args, context=None):
            handle = super().call_soon(callback, *args, context=context)
            _leave_out_last(handle)
            if not self.is_running():
                self._want_round()
            return handle

        def call_at(self, when, callback, *args, context=None):
            handle = super().call_at(when, callback, *args, context=context)
            _leave_out_last(handle)
            if not self.is_running() and self._scheduled[0] is handle:
                self._look_ahead()
            return handle

    def stop(self) -> None:
        """Ends the run of asyncio; where the cyncore loop runs, that of the cyncore loop."""
        super().stop()
        if self._in_round:
            self.cyncore_loop.stop()

    def close(self) -> None:
        """Closes it, and the cyncore loop if that was made for it. RuntimeError while it runs."""
        if self.is_running():
            super().close()  # which refuses
        if self._bell is not None:
            self._bell.is_over = True
            self._bell.take_down()
            self._bell = None
        for handle in (self._next_round, self._alarm):
            if handle is not None:
                handle.cancel()
        super().close()
        if self._is_own:
            self.cyncore_loop.close()
