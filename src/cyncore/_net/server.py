# SPDX-License-Identifier: MIT
"""Server: accepts connections, and makes a stream for each."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from .._dispatcher import dispatcher
from .._report import ERROR, WARNING, report
from .._rules import EXITS, LOG_INTERVAL
from .._stream.stream import Stream


class Listener(dispatcher):
    """One listening socket of a server. What fails costs a connection, never the listener."""

    def __init__(self, server: Server, sock: socket.socket, map: Any) -> None:
        self.server = server
        dispatcher.__init__(self, sock, map)
        self.accepting = True

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        self.server._accepted(sock, addr)

    def handle_error(self) -> None:
        report(ERROR, "%r: accepting failed", self.server, error=sys.exc_info()[1])

    def handle_close(self) -> None:
        """A listener is not closed by what the kernel reports of it."""


class Server:
    """What `Loop.listen` returns. Its methods are to be called from the thread that runs the loop."""

    __module__ = "cyncore"

    def __init__(self, network: Any, factory: Callable[[], Stream], sockets: list[socket.socket], path: Any) -> None:
        self.loop = network.loop
        self.factory = factory
        self.connections = 0
        """How many streams it has."""
        self.tls: Any = None
        self.max_connections: int | None = None
        self.max_connections_per_peer: int | None = None
        self.proxies: Any = None
        self._network = network
        self._path = path
        self._inode = None if path is None else os.lstat(path).st_ino
        self._peers: dict[Any, int] = {}
        self._refused_at = float("-inf")
        self._addresses = [sock.getsockname() for sock in sockets]
        self._listeners = [Listener(self, sock, self.loop.map) for sock in sockets]

    def __repr__(self) -> str:
        state = "listening" if self._listeners else "closed"
        return f"<cyncore.Server {state} {self._addresses[0]!r}, {self.connections} connections>"

    @property
    def address(self) -> Any:
        """The address of its first socket, as the kernel has it."""
        return self._addresses[0]

    @property
    def addresses(self) -> list[Any]:
        """The addresses of all of its sockets."""
        return list(self._addresses)

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return not self._listeners

    def close(self) -> None:
        """Stops accepting, and removes the file of a Unix socket. Its streams live on."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
        if listeners and self._path is not None:
            try:
                if os.lstat(self._path).st_ino == self._inode:  # else another server has replaced it
                    os.unlink(self._path)
            except FileNotFoundError:  # somebody has removed it
                pass
            except OSError as error:
                report(WARNING, "%r: its file cannot be removed: %s", self, error)
        self._network.servers.discard(self)

    def _accepted(self, sock: socket.socket, addr: Any) -> None:
        header = self.proxies is not None and addr in self.proxies
        peer = addr[0] if isinstance(addr, tuple) and not header else None  # of a proxy, the header tells who it is
        if self._is_full(peer):
            sock.close()
            return
        try:
            stream = self.factory()
            if not isinstance(stream, Stream):
                raise TypeError(f"the factory of {self!r} must return a cyncore.Stream, not {stream!r}")
        except EXITS:
            sock.close()
            raise
        except BaseException as error:  # costs this connection
            sock.close()
            report(ERROR, "%r: the factory failed", self, error=error)
            return
        self.connections += 1
        if self.max_connections_per_peer is not None and peer is not None:
            self._peers[peer] = self._peers.get(peer, 0) + 1
        try:
            stream._accepted(sock, addr, self, peer)
            if header:
                self._begin_header(stream)
            else:
                stream._serve()
        except EXITS:
            raise
        except BaseException as error:  # of its class, perhaps: an async handler, or a framing that is none
            report(ERROR, "%r: %r cannot serve a connection", self, stream, error=error)
            stream.abort()

    def _begin_header(self, stream: Stream) -> None:
        from .proxy_header import Header

        Header(stream, self._header_read).begin()

    def _header_read(self, stream: Stream, client: Any) -> None:
        """A proxy has told the address of the client; None: it has not."""
        stream._proxy = stream.addr
        if client is not None:
            stream.addr = client
            peer = client[0] if isinstance(client, tuple) else None
            if self.max_connections_per_peer is not None and peer is not None:
                if self._has_most(peer):
                    self._refuse(peer, f"max_connections_per_peer, {self.max_connections_per_peer}")
                    stream.abort()
                    return
                self._peers[peer] = self._peers.get(peer, 0) + 1
                stream._peer_key = peer
        stream._serve()

    def _has_most(self, peer: Any) -> bool:
        most = self.max_connections_per_peer
        return most is not None and peer is not None and self._peers.get(peer, 0) >= most

    def _is_full(self, peer: Any) -> bool:
        if self.max_connections is not None and self.connections >= self.max_connections:
            limit = f"max_connections, {self.max_connections}"
        elif self._has_most(peer):
            limit = f"max_connections_per_peer, {self.max_connections_per_peer}"
        else:
            return False
        self._refuse(peer, limit)
        return True

    def _refuse(self, peer: Any, limit: str) -> None:
        now = time.monotonic()
        if now - self._refused_at >= LOG_INTERVAL:
            self._refused_at = now
            report(WARNING, "%r: a connection of %s was closed: %s", self, peer, limit)

    def _ended(self, peer: Any) -> None:
        """One of its streams is gone."""
        self.connections -= 1
        if peer in self._peers:
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]
