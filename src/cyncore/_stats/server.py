# SPDX-License-Identifier: MIT
"""StatsServer: shows a loop to those on the same machine, by HTTP."""

from __future__ import annotations

import ipaddress
import json
import os
import pkgutil
import socket
from typing import Any

from .._rules import number
from .collector import Collector
from .place import free_path
from .viewer import Viewer

CONNECTIONS = 64  # at once; those that watch are fewer
LONGEST = 1e6  # seconds from one look to the next
_page: list[bytes] = []


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


class StatsServer:
    """What `Loop.serve_stats` returns. Its methods are to be called from the thread that runs the loop."""

    __module__ = "cyncore"

    def __init__(self, loop: Any, address: Any, interval: float, max_viewers: int) -> None:
        if not 0 < number("interval", interval) <= LONGEST:
            raise ValueError(
                f"serve_stats: interval is a number of seconds above 0, and {LONGEST:g} at most: {interval!r}"
            )
        if max_viewers < 1:
            raise ValueError(f"serve_stats: max_viewers must be 1 or more: {max_viewers!r}")
        if address is None:
            if not hasattr(socket, "AF_UNIX"):
                raise OSError("serve_stats: this system has no Unix sockets; give it the address of a port")
            address = free_path()
        self._is_tcp = isinstance(address, tuple)
        if self._is_tcp and not (len(address) >= 2 and is_loopback(str(address[0]))):
            raise ValueError(
                f"serve_stats: {address!r} is not on the loopback interface, and what is shown is not for others"
            )
        if isinstance(address, (str, bytes)) and os.fsencode(address)[:1] == b"\0":
            raise ValueError(
                f"serve_stats: {address!r} is an abstract name, which every user of this machine can connect to; "
                "give it a path"
            )
        self.loop = loop
        self.interval = interval
        self.max_viewers = max_viewers
        self.missed = 0
        """Looks that viewers have missed, because they read too slowly."""
        self._watching: set[Viewer] = set()
        self._collector = Collector(loop, interval, self._tell)
        self._last: bytes = b""
        mode = None if self._is_tcp else 0o600
        self._server = loop.listen(address, self._make, mode=mode, max_connections=CONNECTIONS)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "at"
        return f"<cyncore.StatsServer {state} {self.address!r}, {self.viewers} watch>"

    @property
    def address(self) -> Any:
        """Its address: host and port, or the path of its Unix socket."""
        return self._server.address

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return bool(self._server.closed)

    @property
    def viewers(self) -> int:
        """How many watch it live."""
        return len(self._watching)

    def close(self) -> None:
        """Stops serving: closes the listener and the connections to it. Does nothing the second time."""
        self._server.close()
        for channel in list(self.loop.map.values()):
            if isinstance(channel, Viewer) and channel.stats_server is self:  # those that have not asked yet, too
                channel.close()
        self._collector.stop()

    # For its viewers

    def _make(self) -> Viewer:
        return Viewer(self)

    def page(self) -> bytes:
        if not _page:
            _page.append(pkgutil.get_data(__package__, "page.html") or b"")
        return _page[0]

    def is_ours(self, host: str) -> bool:
        """Does a Host header name this machine? A page from elsewhere may have had its name point here."""
        if not self._is_tcp:
            return True
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        return is_loopback(name)

    def watch(self, viewer: Viewer) -> bool:
        """A viewer wants to watch. Returns False if too many do."""
        if len(self._watching) >= self.max_viewers or self.closed:
            return False
        self._watching.add(viewer)
        self.loop.call_soon(self._begin)
        return True

    def _begin(self) -> None:
        if self._watching:
            self._collector.start()

    def viewer_gone(self, viewer: Viewer) -> None:
        self._watching.discard(viewer)
        if not self._watching:
            self._collector.stop()

    def _tell(self, snapshot: dict[str, Any]) -> None:
        snapshot["viewers"] = len(self._watching)
        event = b"data: " + json.dumps(snapshot).encode() + b"\n\n"
        for viewer in list(self._watching):
            if not viewer.show(event):
                self.missed += 1


def serve(loop: Any, address: Any = None, *, interval: float = 1.0, max_viewers: int = 16) -> StatsServer:
    """See `Loop.serve_stats`."""
    if isinstance(address, (str, bytes, os.PathLike)):
        address = os.fspath(address)
    return StatsServer(loop, address, interval, max_viewers)
