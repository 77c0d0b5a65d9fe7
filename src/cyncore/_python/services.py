# SPDX-License-Identifier: MIT
"""Services: the methods of a loop for servers, clients, processes and signals, which are above the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

_network: Any = None


def set_network(make: Callable[[Any], Any]) -> None:
    """Sets what makes the network of a loop: its servers and clients, which are built on this module."""
    global _network
    _network = make


class Services:
    """A loop that passes on what is asked of its network. `Loop` derives from it."""

    network: Any = None  # its servers and clients, made at their first use

    if TYPE_CHECKING:  # the loop's

        def _check(self, method: str) -> None: ...

    def _services(self) -> Any:
        if self.network is None:
            self.network = _network(self)
        return self.network

    def listen(self, address: Any, factory: Any, **options: Any) -> Any:
        """Listens on ``address``, and makes a stream by ``factory()`` for each connection. Returns the server."""
        self._check("listen")
        return self._services().listen(address, factory, **options)

    def connect(self, address: Any, factory: Any, **options: Any) -> Any:
        """Connects to ``address``, for a stream made by ``factory()``. Returns the stream at once."""
        self._check("connect")
        return self._services().connect(address, factory, **options)

    def open_pipe(self, file: Any, factory: Any) -> Any:
        """Serves a pipe, a terminal or a file, by a stream made by ``factory()``. Returns the stream at once."""
        self._check("open_pipe")
        return self._services().open_pipe(file, factory)

    def spawn(self, args: Any, factory: Any, **options: Any) -> Any:
        """Starts a program, and returns the process that ``factory()`` has made."""
        self._check("spawn")
        return self._services().spawn(args, factory, **options)

    def bind(self, address: Any, factory: Any, **options: Any) -> Any:
        """Opens a socket of datagrams at ``address``, for a `Datagram` made by ``factory()``, which it returns."""
        self._check("bind")
        return self._services().bind(address, factory, **options)

    def drain(self, seconds: float) -> None:
        """Ends the work in order: no new connections, the idle closed, what is left after ``seconds`` aborted."""
        self._check("drain")
        self._services().drain(seconds)

    def drain_on_signals(self, seconds: float) -> None:
        """Has SIGTERM and SIGINT drain the loop and then end its run; a second one ends it now. Main thread only."""
        self._check("drain_on_signals")
        self._services().drain_on_signals(seconds)

    def serve_stats(self, address: Any = None, **options: Any) -> Any:
        """Shows the figures and the channels by HTTP, to this machine alone. Returns the server of it.

        ``address``: a host and port of the loopback interface, or the path of a Unix socket, which only this user can
        open; None: a socket that ``python -m cyncore top PID`` finds. ``interval``: seconds between two looks, while
        somebody watches. ``max_viewers``: how many may watch at once. ValueError for an address of another interface,
        OSError where it cannot listen.
        """
        self._check("serve_stats")
        return self._services().serve_stats(address, **options)

    def add_signal_handler(self, number: int, callback: Callable[..., object], *args: Any) -> None:
        """Has ``callback(*args)`` called in the next tick when the signal ``number`` comes. In the main thread only."""
        self._check("add_signal_handler")
        self._services().signals.add(number, callback, args)

    def remove_signal_handler(self, number: int) -> bool:
        """Takes back what `add_signal_handler` has added. Returns True if there was any. In the main thread only."""
        self._check("remove_signal_handler")
        found: bool = self._services().signals.remove(number)
        return found
