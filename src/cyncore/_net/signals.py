# SPDX-License-Identifier: MIT
"""Signals: what a loop does when a signal comes, and the handlers that the program had before.

Python runs a handler in the main thread, between any two steps of it, perhaps inside of a handler of a channel. So all
that a handler here does is to queue calls of the loop, which ends its wait.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from errno import EINVAL
from typing import Any

from .._rules import not_callable


class Handler:
    """What a loop has put in the place of a signal's handler. It may be called by one that was set later."""

    def __init__(self, signals: Signals, number: int) -> None:
        self.signals = signals
        self.loop = signals.loop
        self.number = number
        self.before: Any = None
        self.calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []  # those of the program
        self.watches: list[Callable[[], None]] = []  # those of the loop itself
        self.drain: Callable[[], None] | None = None
        self.seen: list[int] = []  # the signals since drain_on_signals; of both numbers together

    def __call__(self, number: int, frame: Any) -> None:
        if self.is_over or self.loop.closed:
            self._pass_on(number, frame)
            return
        try:
            if self.calls or self.watches:
                self._call_before(number, frame)
        finally:
            for callback, args in self.calls:
                self.loop.call_soon_threadsafe(callback, *args)
            for watch in self.watches:
                self.loop.call_soon_threadsafe(watch)
            if self.drain is not None:
                self._drain()

    @property
    def is_over(self) -> bool:
        """Is there nothing left that it has to do for its loop?"""
        return not self.calls and not self.watches and self.drain is None

    def _drain(self) -> None:
        self.seen.append(self.number)
        if len(self.seen) > 1:
            self.loop.stop()
        else:
            self.loop.call_soon_threadsafe(self.drain)

    def _call_before(self, number: int, frame: Any) -> None:
        import signal

        before = self.before
        if callable(before) and before is not signal.default_int_handler:
            before(number, frame)

    def _pass_on(self, number: int, frame: Any) -> None:
        """The loop has no use for it any more, but could not put back what was before: now it can."""
        import signal

        was_set = signal.getsignal(number) is self
        self.signals.drop_those_over()
        self.put_back()  # it may have been set again when the loop had forgotten it
        if was_set and signal.getsignal(number) is not self:
            signal.raise_signal(number)
        elif callable(self.before):  # somebody else's handler has called this one
            self.before(number, frame)

    def put_back(self) -> None:
        """Sets the handler of before, unless another one was set meanwhile. ValueError outside of the main thread."""
        import signal

        found: Any = signal.getsignal(self.number)
        if found is not self:
            return
        before = self.before
        while isinstance(before, Handler) and (before.is_over or before.loop.closed):
            before = before.before  # another loop was done with it earlier
        signal.signal(self.number, signal.SIG_DFL if before is None else before)


class Signals:
    """What `Loop.add_signal_handler`, `Loop.remove_signal_handler` and `Loop.drain_on_signals` do."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self._handlers: dict[int, Handler] = {}

    def add(self, number: int, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        """See `Loop.add_signal_handler`."""
        if not callable(callback):
            raise not_callable(callback)
        if not isinstance(number, int):
            raise TypeError(f"add_signal_handler: a signal is a number, such as signal.SIGHUP, not {number!r}")
        self._installed("add_signal_handler", number).calls.append((callback, args))

    def remove(self, number: int) -> bool:
        """See `Loop.remove_signal_handler`."""
        _check_thread("remove_signal_handler")
        handler = self._handlers.get(number)
        if handler is None or not handler.calls:
            return False
        handler.calls.clear()
        self.drop_those_over()
        return True

    def watch(self, method: str, number: int, callback: Callable[[], None]) -> None:
        """Does what `add` does, for ``method`` of the loop itself; `remove` does not take it back."""
        handler = self._installed(method, number)
        if callback not in handler.watches:
            handler.watches.append(callback)

    def unwatch(self, number: int) -> None:
        """Takes back what `watch` has done."""
        if number in self._handlers:
            self._handlers[number].watches.clear()
            self.drop_those_over()

    def drain(self, drain: Callable[[], None]) -> None:
        """Has SIGTERM and SIGINT call ``drain``, and the second of them end the run."""
        import signal

        seen: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = self._installed("drain_on_signals", number)
            handler.seen = seen
            handler.drain = drain

    def end_drain(self) -> None:
        """The work is done: signals have nothing to drain any more."""
        for handler in list(self._handlers.values()):
            handler.drain = None
        self.drop_those_over()

    def close(self) -> None:
        """The loop closes."""
        for handler in list(self._handlers.values()):
            handler.calls.clear()
            handler.watches.clear()
            handler.drain = None
        self.drop_those_over()

    def _installed(self, method: str, number: int) -> Handler:
        """The handler of this loop for a signal, which is set if it is not."""
        import signal

        _check_thread(method)
        known = self._handlers.get(number)
        found: Any = signal.getsignal(number)
        if known is not None and found is known:
            return known
        if number in (getattr(signal, "SIGKILL", None), getattr(signal, "SIGSTOP", None)):  # PyPy says nothing
            raise OSError(EINVAL, os.strerror(EINVAL))
        handler = Handler(self, number)
        handler.before = signal.signal(number, handler)
        if known is not None:  # the program has set its own handler since: that one is before this one now
            handler.calls, handler.watches = known.calls, known.watches
            handler.drain, handler.seen = known.drain, known.seen
            known.calls, known.watches, known.drain = [], [], None
        self._handlers[number] = handler
        return handler

    def drop_those_over(self) -> None:
        """Puts back what was before the handlers that have nothing left to do."""
        for handler in list(self._handlers.values()):
            if handler.is_over:
                try:
                    handler.put_back()
                except ValueError:  # this is not the main thread: the next signal does it
                    return
                del self._handlers[handler.number]


def _check_thread(method: str) -> None:
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(f"{method}: Python handles signals in the main thread: it is to be called there")
