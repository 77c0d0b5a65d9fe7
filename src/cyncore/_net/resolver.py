# SPDX-License-Identifier: MIT
"""Finding the addresses of a name off the loop's thread.

getaddrinfo(3) blocks, and nothing ends it early. So it runs in threads that nobody waits for: at most `MOST` at once,
which end when no name is left to be found.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from .address import name_failed

MOST: Final = 8

_lock = threading.Lock()
_waiting: deque[tuple[Any, Callable[[str, Any], Any], str, Any, Callable[..., object]]] = deque()
_running = 0


def addresses(host: str, port: Any) -> list[Any]:
    """What `Loop.resolver` does if the program sets no other."""
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except socket.gaierror as error:
        raise name_failed(error, host) from None


def resolve(loop: Any, host: str, port: Any, done: Callable[..., object]) -> None:
    """Has ``done(found, error)`` called in the loop, with a list in the form of `socket.getaddrinfo`, or with why."""
    global _running
    with _lock:
        _waiting.append((loop, loop.resolver or addresses, host, port, done))
        if _running >= MOST:
            return
        _running += 1
    threading.Thread(target=_work, name="cyncore resolver", daemon=True).start()


def _work() -> None:
    global _running
    while True:
        with _lock:
            if not _waiting:
                _running -= 1
                return
            loop, resolver, host, port, done = _waiting.popleft()
        found: list[Any] = []
        failure: BaseException | None = None
        try:
            found = list(resolver(host, port))
        except BaseException as error:  # whatever it is, it is the connection's
            failure = error
        try:
            loop.call_soon_threadsafe(done, found, failure)
        except RuntimeError:  # the loop was closed meanwhile
            pass
        del loop, resolver, done, found, failure
