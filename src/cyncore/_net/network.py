# SPDX-License-Identifier: MIT
"""Network: the servers, the clients and the datagrams of one loop, and how their work ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

from .._datagram import Datagram
from .._report import WARNING, report
from .._stream.stream import Stream
from .address import bound_sockets, check_pair, check_path, is_path
from .client import Connect
from .datagrams import Options, bind, remove_file
from .inherited import Inherited
from .notify import notify
from .server import Server
from .signals import Signals

BACKLOG = 1024


class Network:
    """What `Loop.listen`, `Loop.connect`, `Loop.bind`, `Loop.drain` and `Loop.drain_on_signals` do."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.servers: set[Server] = set()
        self._connecting: set[Stream | Datagram] = set()
        self.processes: set[Any] = set()  # the children that run
        self._children: Any = None  # what notices their ends where there is no pidfd
        self._tls: Any = None  # what connect(tls=True) uses
        self._is_ready = False
        self._drain_timer: Any = None
        self.signals = Signals(loop)
        self._is_draining = False
        self._stops = False  # the run ends when the work has
        self.drains = 0  # those that have ended

    # Servers

    def listen(
        self,
        address: Any,
        factory: Callable[[], Stream],
        *,
        tls: Any = None,
        backlog: int = BACKLOG,
        reuse_port: bool = False,
        mode: int | None = None,
        max_connections: int | None = None,
        max_connections_per_peer: int | None = None,
        proxy: Iterable[str] = (),
    ) -> Server:
        """See `Loop.listen`."""
        if not callable(factory):
            raise TypeError(f"the factory of a server is called for each connection, and {factory!r} cannot be called")
        _check_context(tls, "listen")
        _check_serves(tls)
        _check_count("max_connections", max_connections)
        _check_count("max_connections_per_peer", max_connections_per_peer)
        proxies = _networks(proxy)
        if isinstance(address, Inherited):
            sockets = address.sockets()
        elif isinstance(address, socket.socket):
            sockets = [address]
        else:
            sockets = bound_sockets(address, reuse_port, mode)
        try:
            for sock in sockets:
                sock.listen(backlog)
            path = os.fspath(address) if is_path(address) and os.fspath(address)[:1] not in ("\0", b"\0") else None
            server = Server(self, factory, sockets, path)
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        server.tls = tls or None
        server.max_connections = max_connections
        server.max_connections_per_peer = max_connections_per_peer
        server.proxies = proxies
        self.servers.add(server)
        if not self._is_ready:
            self._is_ready = True
            notify("READY=1")
        return server

    def serve_stats(self, address: Any, **options: Any) -> Any:
        """See `Loop.serve_stats`."""
        from .._stats.server import serve

        return serve(self.loop, address, **options)

    # Clients

    def connect(
        self,
        address: Any,
        factory: Callable[[], Stream],
        *,
        tls: Any = None,
        server_hostname: str | None = None,
        session: Any = None,
        local_address: Any = None,
        delay: float = 0.25,
    ) -> Stream:
        """See `Loop.connect`."""
        if tls is True:
            if self._tls is None:
                import ssl

                self._tls = ssl.create_default_context()
            tls = self._tls
        _check_context(tls, "connect")
        if is_path(address):
            check_path(address)
        elif not isinstance(address, socket.socket):
            check_pair(address)  # a mistake of the program, told to who makes it
        if tls and server_hostname is None and isinstance(address, tuple):
            server_hostname = address[0]
        stream = _made(factory)
        stream._adopt(self.loop)
        stream._tls_wanted = (tls, server_hostname, session) if tls else None
        if isinstance(address, socket.socket):
            address.setblocking(False)
            self.loop.call_soon(stream._connected, address, None)
            return stream
        race = Connect(stream, self.loop, local_address, delay)
        stream._race = race
        self._connecting.add(stream)
        stream._deadlines_started("connect")
        self.loop.call_soon(self._start, race, stream, address)
        return stream

    def _start(self, race: Connect, stream: Stream, address: Any) -> None:
        if race.is_over:
            return
        try:
            race.start(address)
        except (OSError, TypeError, ValueError) as error:
            race.fail(error)

    # Processes and pipes

    def open_pipe(self, file: Any, factory: Callable[[], Stream]) -> Stream:
        """See `Loop.open_pipe`."""
        _check_posix("open_pipe")
        from .._descriptor import descriptor_of

        stream = _made(factory)
        stream._serve_descriptor(descriptor_of(file, "open_pipe"), self.loop)
        return stream

    def spawn(self, args: Any, factory: Callable[[], Any], **options: Any) -> Any:
        """See `Loop.spawn`."""
        _check_posix("spawn")
        from .process import spawn

        return spawn(self, args, factory, **options)

    def children(self) -> Any:
        """Those whose end is told by SIGCHLD."""
        if self._children is None:
            from .process import Children

            self._children = Children(self)
        return self._children

    def process_ended(self, process: Any) -> None:
        """A child of the loop has ended."""
        self.processes.discard(process)
        if self._is_draining and not self._left():
            self._drained()

    # Datagrams

    def bind(
        self,
        address: Any,
        factory: Callable[[], Datagram],
        *,
        remote: Any = None,
        reuse_port: bool = False,
        reuse_address: bool = False,
        broadcast: bool = False,
        mode: int | None = None,
    ) -> Datagram:
        """See `Loop.bind`."""
        datagram = factory()
        if not isinstance(datagram, Datagram):
            raise TypeError(f"the factory must return a cyncore.Datagram, not {datagram!r}")
        options = Options(address, reuse_port, reuse_address, broadcast, mode)
        self._connecting.add(datagram)  # until it is in the map
        try:
            bind(self.loop, address, datagram, remote, options)
        except BaseException:
            self._connecting.discard(datagram)
            raise
        if datagram.socket is not None:
            self._connecting.discard(datagram)
        if not self._is_ready and remote is None:
            self._is_ready = True
            notify("READY=1")
        return datagram

    # The end

    def ended(self, stream: Stream | Datagram) -> None:
        """A stream of the loop, or a datagram's socket, is connected, or gone."""
        self._connecting.discard(stream)
        if isinstance(stream, Datagram):
            remove_file(stream)
        if self._is_draining and stream.closing and not self._left(stream):
            self._drained()

    def _left(self, but: Any = None) -> list[Any]:
        """The streams, the sockets of datagrams and the children that there are still, but for one."""
        served = [entry for entry in list(self.loop.map.values()) if isinstance(entry, (Stream, Datagram))]
        return [one for one in [*served, *self._connecting, *self.processes] if one is not but]

    def drain(self, seconds: float) -> None:
        """See `Loop.drain`."""
        if self._is_draining:
            return
        self._is_draining = True
        notify("STOPPING=1")
        for server in list(self.servers):
            server.close()
        self._drain_timer = self.loop.call_later(seconds, self._abort_all)
        for one in self._left():
            if not (isinstance(one, Stream) and one._process is not None and one._process.running):
                one._drain()  # the streams of a child end with it
        if not self._left():
            self._drained()

    def _abort_all(self) -> None:
        for process in list(self.processes):
            try:
                process.kill()
            except OSError as error:  # it has become another user's
                self.processes.discard(process)
                report(WARNING, "%r cannot be killed, and is left: %s", process, error)
        for stream in self._left():
            if isinstance(stream, (Stream, Datagram)):
                stream.abort()
        if self._is_draining and not self.processes:  # else the end of the last one ends the drain
            self._drained()

    def _drained(self) -> None:
        self._is_draining = False
        self.drains += 1
        if not self.loop.closed:
            self.loop.wake()  # a host looks whether the work has ended
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None
        self.signals.end_drain()
        if self._stops and not self.loop.closed:
            self._stops = False
            self._stop_after(2)

    def _stop_after(self, ticks: int) -> None:
        """Ends the run when the last ends were told, which is queued, and what is queued there was called."""
        if ticks:
            self.loop.call_soon(self._stop_after, ticks - 1)
        else:
            self.loop.call_soon(self.loop.stop)

    def drain_on_signals(self, seconds: float) -> None:
        """See `Loop.drain_on_signals`."""
        self.signals.drain(lambda: self._drain_and_stop(seconds))

    def _drain_and_stop(self, seconds: float) -> None:
        self._stops = True
        self.drain(seconds)

    def closed(self) -> None:
        """The loop closes: a signal has nothing to call any more, and nobody waits for children."""
        for process in self.processes:
            process._let_go()
        self.signals.close()


def _networks(proxy: Iterable[str]) -> Any:
    """Whose connections begin with a PROXY header; None: nobody's."""
    if not proxy:
        return None
    from .proxy_header import Networks

    return Networks(proxy)


def _made(factory: Callable[[], Stream]) -> Stream:
    stream = factory()
    if not isinstance(stream, Stream):
        raise TypeError(f"the factory must return a cyncore.Stream, not {stream!r}")
    return stream


def _check_posix(method: str) -> None:
    if os.name != "posix":  # pragma: no cover - Windows, where no wait takes a pipe
        raise NotImplementedError(f"{method}: pipes and children can be waited for on POSIX only, not on {os.name}")


def _check_context(tls: Any, method: str) -> None:
    if tls is None or tls is False:
        return
    import ssl

    if not isinstance(tls, ssl.SSLContext):
        raise TypeError(f"{method}: tls must be an ssl.SSLContext, not {tls!r}")


def _check_serves(tls: Any) -> None:
    """ValueError for a context that is for clients only, with which every handshake would fail."""
    if not tls:
        return
    import ssl

    if tls.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError(
            "listen: tls is a context for clients: ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) is for a server"
        )


def _check_count(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, int):
        raise TypeError(f"listen: {name} must be an int or None, not {value!r}")
