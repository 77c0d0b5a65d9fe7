# SPDX-License-Identifier: MIT
"""A cyncore loop that an asyncio loop serves: one descriptor to watch, and one timer."""

from __future__ import annotations

import asyncio
import os
from types import TracebackType
from typing import TYPE_CHECKING

from .._engine import ExitNow, Loop

if TYPE_CHECKING:
    from typing_extensions import Self

_SHORTEST = 0.001  # seconds: asyncio and uvloop count in milliseconds, and must not come early again and again


class Hosting:
    """What `host` returns: the loop is served until `stop`, or until the loop itself ends.

    A context manager, which stops it. All of it belongs to the thread of the asyncio loop.
    """

    def __init__(self, loop: Loop, asyncio_loop: asyncio.AbstractEventLoop) -> None:
        before = loop.hosting
        if before is not None and not before._host.is_closed():
            raise RuntimeError(f"{loop!r} is hosted already")
        if loop.running:
            raise RuntimeError(f"{loop!r} cannot be hosted while it runs")
        self.loop = loop
        self.error: BaseException | None = None
        self._host = asyncio_loop
        self._pid = os.getpid()
        if before is not None:
            before.stop()  # nobody did, and its asyncio loop has been closed
        self._fd = loop.fileno(timers=False)
        self._ends = self._count_ends()
        self._call: asyncio.Handle | None = None  # of `_serve`, for the next deadline
        self._due: float | None = None  # that deadline
        self._end = asyncio.Event()
        try:
            asyncio_loop.add_reader(self._fd, self._serve)
        except NotImplementedError:
            raise NotImplementedError(
                f"{asyncio_loop!r} watches no descriptors, so that it cannot host {loop!r}"
            ) from None
        loop.hosting = self
        self._look_ahead()

    def __repr__(self) -> str:
        return f"<cyncore.asyncio.Hosting of {self.loop!r}{' ended' if self.ended else ''}>"

    @property
    def ended(self) -> bool:
        """Is the loop served no more?"""
        return self._end.is_set()

    def stop(self) -> None:
        """Serves the loop no more. Its channels, calls and timers stay as they are. Does nothing the second time."""
        if self.ended:
            return
        self.loop.hosting = None
        self._cancel()
        is_there = not self._host.is_closed()
        if is_there and os.getpid() == self._pid:  # the child of a fork would take it out of the parent's loop
            self._host.remove_reader(self._fd)
        try:
            self._end.set()
        except RuntimeError:
            if is_there:
                raise  # else who waits for it will never run

    async def wait(self) -> None:
        """Returns when it has ended, and raises the error that has ended it, if that was one."""
        await self._end.wait()
        if self.error is not None:
            raise self.error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self) -> None:
        """One tick of the loop, which does not wait."""
        if self.loop.closed:
            self.stop()
            return
        try:
            self.loop.poll(0)
        except (KeyboardInterrupt, SystemExit):  # they end asyncio's own run; if that goes on, so does the loop
            raise
        except BaseException as error:
            self.error = error
            self.stop()
            if not isinstance(error, ExitNow):
                message = f"{self.loop!r} is served no more, because of an error that left it"
                self._host.call_exception_handler({"message": message, "exception": error, "cyncore_loop": self.loop})
            return
        if self._ends != self._count_ends():
            self.stop()
        elif not self.ended:  # else a handler has stopped it
            self._look_ahead()

    def _count_ends(self) -> int:
        """How often the loop was stopped, or its work was drained."""
        network = self.loop.network
        return self.loop._stops + (0 if network is None else int(network.drains))

    def _look_ahead(self) -> None:
        """Has the loop served when it next has something to do without an event."""
        due = self.loop.next_deadline()
        if due == self._due and self._call is not None:
            return
        self._cancel()
        if due is None:
            return
        left = due - self.loop.time()
        self._due = due
        self._call = (
            self._host.call_later(max(left, _SHORTEST), self._alarm) if left > 0 else self._host.call_soon(self._alarm)
        )

    def _alarm(self) -> None:
        self._call = None
        self._serve()

    def _cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None


def host(loop: Loop, asyncio_loop: asyncio.AbstractEventLoop | None = None) -> Hosting:
    """Has an asyncio loop (None: the running one) serve ``loop``, in its thread, until the `Hosting` is stopped.

    It ends by itself when ``loop`` is stopped, drained or closed, and when an exception leaves it, which the exception
    handler of the asyncio loop is told (of an ExitNow it is not). KeyboardInterrupt and SystemExit end asyncio's run.

    RuntimeError if no asyncio loop runs, or if ``loop`` runs or is hosted already; NotImplementedError where the
    asyncio loop watches no descriptors (the proactor of Windows); OSError (ENOTSUP) where the platform has neither
    epoll nor kqueue. To be called in the thread of the asyncio loop.
    """
    return Hosting(loop, asyncio.get_running_loop() if asyncio_loop is None else asyncio_loop)
