"""The answers: functions that become `answer` of a class, and bring what was received to an output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.workers.random_old.common import JOBS, QUEUE


def to_own(self: Any, data: bytes) -> None:
    self.emit(data)


def to_peer(self: Any, data: bytes) -> None:
    """To the channel of another connection, from which the client reads its answers."""
    self.partner.relay(data)


def to_queue(self: Any, data: bytes) -> None:
    """To a list that every channel empties which may write."""
    QUEUE.append((self, data))


def to_thread(self: Any, data: bytes) -> None:
    JOBS.put((self, data))


def to_pending(self: Any, data: bytes) -> None:
    """To a list that writable() empties."""
    self.pending.append(data)


ANSWERS: dict[str, Callable[[Any, bytes], None]] = {
    "own": to_own,
    "peer": to_peer,
    "queue": to_queue,
    "thread": to_thread,
    "refill": to_pending,
    "tick": to_pending,
}


def sharing(write: Callable[[Any], None]) -> Callable[[Any], None]:
    """A handle_write that first brings the answers of the queue to their channels."""

    def handle_write(self: Any) -> None:
        while QUEUE:
            channel, data = QUEUE.pop(0)
            channel.emit(data)
        write(self)

    return handle_write
