# SPDX-License-Identifier: MIT
"""Sockets of datagrams: bound, and connected where there is a remote, whose name may have to be found first."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from typing import Any, Final

from .._datagram import Datagram
from .._report import WARNING, report
from .._rules import EXITS
from .address import bound_path, check_pair, interleaved, is_path, numeric, path_family, words
from .client import NAME_LIMIT
from .resolver import resolve

AF_UNIX: Final = getattr(socket, "AF_UNIX", None)


class Options:
    """What `Loop.bind` was asked for."""

    def __init__(self, address: Any, reuse_port: bool, reuse_address: bool, broadcast: bool, mode: int | None) -> None:
        self.address = address
        self.reuse_port = reuse_port
        self.reuse_address = reuse_address
        self.broadcast = broadcast
        self.mode = mode

    def open_socket(self, family: int) -> socket.socket:
        """Makes the socket, of that family, and binds it. OSError, which names the address."""
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if self.reuse_address:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if self.broadcast:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if family == getattr(socket, "AF_INET6", None):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
            self._bind(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _bind(self, sock: socket.socket) -> None:
        if is_path(self.address):
            bound_path(sock, os.fspath(self.address), self.mode)
        elif self.address is not None:
            target = _local(self.address, sock.family)[4]
            try:
                sock.bind(target)
            except OSError as error:
                raise OSError(error.errno, f"{error.strerror}: {words(target)}") from None
        elif sock.family == AF_UNIX and sys.platform == "linux":
            sock.bind("")  # an abstract name (unix(7), Autobind), so that there is something to answer to

    def family(self) -> int:
        """The family that the local address names; 0: it names none. OSError for one that cannot be found."""
        if self.address is None:
            return 0
        if is_path(self.address):
            return path_family(self.address)
        return int(_local(self.address, 0)[0])


def _local(address: Any, family: int) -> tuple[Any, ...]:
    host, port = check_pair(address)
    if not host and not family:
        family = socket.AF_INET  # all addresses of IPv4; those of IPv6 are "::"
    found = socket.getaddrinfo(host or None, port, family, socket.SOCK_DGRAM, 0, socket.AI_PASSIVE)
    return found[0]


def bind(loop: Any, address: Any, datagram: Datagram, remote: Any, options: Options) -> None:
    """Gives ``datagram`` its socket: now, or when the name of ``remote`` was found. See `Loop.bind` for the errors."""
    datagram._adopt(loop, remote is not None)
    if isinstance(address, socket.socket):
        if address.type != socket.SOCK_DGRAM:
            raise TypeError(f"bind: a socket of datagrams (SOCK_DGRAM) is needed, not {address!r}")
        if remote is not None:
            raise ValueError("bind: a socket that is taken over has its remote already, or has none")
        address.setblocking(False)
        Datagram.__init__(datagram, address, loop=loop)
        return
    if remote is None:
        if address is None:
            raise ValueError("bind: an address is needed, or a remote")
        _open(loop, datagram, options.open_socket(options.family()), None)
        return
    if is_path(remote):
        _connect(loop, datagram, [(path_family(remote), 0, 0, "", os.fspath(remote))], options)
        return
    host, port = check_pair(remote)
    known = numeric(host, port)
    if known is not None:
        _connect(loop, datagram, known, options)
    else:
        family = options.family()  # what is wrong with the local address is told at once
        _Search(loop, datagram, host, options, family).start(port)


class _Search:
    """The name of a remote is looked for."""

    def __init__(self, loop: Any, datagram: Datagram, host: str, options: Options, family: int) -> None:
        self.loop = loop
        self.datagram = datagram
        self.host = host
        self.options = options
        self.family = family
        self.timer: Any = None

    def start(self, port: Any) -> None:
        # The timer also keeps `Loop.run` from ending: nothing else of it is in the loop meanwhile.
        late = TimeoutError(f"{self.host!r} was not found within {NAME_LIMIT} seconds")
        self.timer = self.loop.call_later(NAME_LIMIT, self.found, [], late)
        resolve(self.loop, self.host, port, self.found)

    def found(self, addresses: list[tuple[Any, ...]], error: BaseException | None) -> None:
        if self.timer is None:
            return
        self.timer.cancel()
        self.timer = None
        if self.datagram._is_gone:
            return
        try:
            if error is not None:
                raise error
            order = [info for info in interleaved(addresses) if self.family in (0, info[0])]
            if not order:
                raise OSError(f"{self.host!r} has no address of the family of {self.options.address!r}")
            _connect(self.loop, self.datagram, order, self.options)
            self.loop.network.ended(self.datagram)
        except EXITS:
            raise
        except BaseException as failure:  # of the name, of the socket, or of the class
            self.datagram._end(failure)


def _connect(loop: Any, datagram: Datagram, addresses: list[tuple[Any, ...]], options: Options) -> None:
    """Takes the first address to which there is a way: nothing is sent by that (connect(2))."""
    failure: OSError | None = None
    for family, _, _, _, target in addresses:
        sock = options.open_socket(family)
        try:
            sock.connect(target)
        except OSError as error:
            failure = OSError(error.errno, f"{error.strerror}: {words(target)}")
            _discard(sock)
            continue
        except BaseException:
            _discard(sock)
            raise
        _open(loop, datagram, sock, sock.getpeername())
        return
    raise failure or OSError("the name of the remote has no address")


def _open(loop: Any, datagram: Datagram, sock: socket.socket, remote: Any) -> None:
    try:
        path = sock.getsockname() if sock.family == AF_UNIX else ""
        if isinstance(path, str) and path:
            datagram._path = path, os.lstat(path).st_ino
        datagram._open(sock, loop, remote)
    except BaseException:
        datagram._path = None
        _discard(sock)
        raise
    loop.call_soon(datagram._ready)


def _discard(sock: socket.socket) -> None:
    """Closes a socket that nobody gets, and removes the file that it was bound to."""
    path = sock.getsockname() if sock.family == AF_UNIX else ""
    sock.close()
    if isinstance(path, str) and path:
        with suppress(OSError):
            os.unlink(path)


def remove_file(datagram: Datagram) -> None:
    """Removes the file of a Unix socket that has closed, if it is still its own."""
    if datagram._path is None or not datagram._is_gone:
        return
    (path, inode), datagram._path = datagram._path, None
    try:
        if os.lstat(path).st_ino == inode:
            os.unlink(path)
    except FileNotFoundError:  # somebody has removed it
        pass
    except OSError as error:
        report(WARNING, "%r: its file cannot be removed: %s", datagram, error)
