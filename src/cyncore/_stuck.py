# SPDX-License-Identifier: MIT
"""Datagrams that Unix sockets have no room for, each destination's in a queue of its own.

A Unix socket without a peer is always writable, also while a receiver has no room (unix(7)). So one that does not read
holds up what is sent to it, and nothing else. To one destination, as the program writes it, the order stays.

Imported when the first such datagram waits.
"""

from __future__ import annotations

import os
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any
else:
    Any = Callable = object


class Stuck:
    """What one channel has to send to receivers that have no room. For the thread of its loop."""

    __slots__ = ("_queues", "size")

    def __init__(self) -> None:
        self._queues: dict[bytes, deque[tuple[Any, Any]]] = {}
        self.size = 0  # bytes of all

    def __bool__(self) -> bool:
        return bool(self._queues)

    def has(self, address: Any) -> bool:
        """Does something wait for that destination, so that what is sent to it must wait, too?"""
        return bool(self._queues) and os.fsencode(address) in self._queues

    def add(self, data: Any, address: Any, most: int | None) -> bool:
        """Has a datagram wait. Returns False if more than ``most`` bytes would; None: there is no such limit."""
        if most is not None and self.size + len(data) > most:
            return False
        self._queues.setdefault(os.fsencode(address), deque()).append((data, os.fspath(address)))
        self.size += len(data)
        return True

    def clear(self) -> None:
        """Forgets all of it."""
        self._queues.clear()
        self.size = 0

    def send(self, send: Callable[[Any, Any], bool]) -> None:
        """Tries each destination, by ``send(data, address)``, until that returns False.

        What ``send`` raises is passed on; the datagram is kept then. It may add, and it may clear.
        """
        for key, queue in list(self._queues.items()):
            while queue and self._queues.get(key) is queue:
                data, address = queue[0]
                if not send(data, address):
                    break
                if self._queues.get(key) is not queue:  # it was cleared meanwhile
                    return
                queue.popleft()
                self.size -= len(data)
            if not queue and self._queues.get(key) is queue:
                del self._queues[key]
