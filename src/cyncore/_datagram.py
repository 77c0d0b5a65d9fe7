# SPDX-License-Identifier: MIT
"""Datagram: the class that programs of datagrams derive from. The engine's DatagramChannel receives and sends.

Facts that shape it:
- A socket that receives from everybody has no connection to lose. What fails for one datagram, or in one call of a
  handler, costs that datagram, and the socket goes on.
- An interface has a number, a name and addresses. IPv4 joins a group by any of these (ip(7)), IPv6 by the number only
  (ipv6(7)), so everything is turned into the number where the system takes it.
"""

from __future__ import annotations

import socket
import struct
import time
from errno import ENODEV

from ._engine import native
from ._report import ERROR, WARNING, report
from ._rules import EXITS, LOG_INTERVAL, async_handler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._native.datagram import DatagramChannel
else:
    Any = object
    if native:  # here, and not in `_engine`: a program without datagrams does not load it
        from ._native.datagram import DatagramChannel
    else:
        from ._python.datagram import DatagramChannel

HANDLERS = (
    *("handle_ready", "handle_datagram", "handle_datagrams", "handle_truncated", "handle_send_error"),
    *("handle_drain", "handle_error", "handle_close"),
)
_AF_INET6 = getattr(socket, "AF_INET6", None)
_logged_at: dict[type, float] = {}  # when a class has logged last that a handler failed


class Datagram(DatagramChannel):
    """A socket of datagrams. Derive from it, and define the handlers that you need, such as `handle_datagram`.

    ``sock``: a bound or connected `socket.socket` of datagrams to take over, which is made non-blocking; None:
    `Loop.bind` makes one. ``loop``: the loop that serves it. Unless a docstring says otherwise, a method is to be
    called from the thread that runs the loop. TypeError for a socket of another type, or without a loop.
    """

    __module__ = "cyncore"

    max_output: int | None = 1048576
    """Bytes that may wait to be sent; what is sent beyond them is dropped, and told. None: any number."""

    max_size: int = 65535
    """Bytes of the largest datagram that is received whole. A larger one is given to `handle_truncated`."""

    offload: bool = True
    """Whether the kernel may cut up and join datagrams (UDP_SEGMENT, UDP_GRO). Read when the socket is opened."""

    wants_destination: bool = False
    """Whether handlers get the address that a datagram was sent to. Read when the socket is opened."""

    _path: Any = None  # the file of a Unix socket, which is removed when it closes: the path, and what identifies it

    def __init__(self, sock: Any = None, *, loop: Any = None) -> None:
        if sock is None:
            return
        name = type(self).__qualname__
        if loop is None:
            raise TypeError(f"{name}(sock) needs its loop: {name}(sock, loop=loop)")
        if sock.type != socket.SOCK_DGRAM:
            raise TypeError(f"{name}(sock) needs a socket of datagrams (SOCK_DGRAM), not {sock!r}")
        sock.setblocking(False)
        self._open(sock, loop, _peer_of(sock))
        loop.call_soon(self._ready)

    def __repr__(self) -> str:
        words = [f"{type(self).__module__}.{type(self).__qualname__}"]
        if self.closing:
            words.append("closed" if self._is_gone else "closing")
        elif self.socket is not None:
            words.append(f"at {self.get_extra_info('sockname')!r}")
        if self.remote is not None:
            words.append(f"to {self.remote!r}")
        return f"<{' '.join(words)} at {id(self):#x}>"

    # Handlers

    def handle_ready(self) -> None:
        """The socket is bound, and the name of its remote was found: datagrams leave, and come."""

    if TYPE_CHECKING:  # with whatever comes behind the address, which only some classes get

        def handle_datagram(self, data: bytes, address: Any, *destination: Any, **_: Any) -> None: ...
        def handle_datagrams(self, batch: list[Any]) -> None:
            """What one system call has received, in place of a call of `handle_datagram` for each: a list of
            (data, address), or of (data, address, destination). Only a class that wants it defines it.
            """

    else:

        def handle_datagram(self, data, address, destination=None):
            """``data`` came from ``address``. ``destination``: (host, interface) that it was sent to, and only given
            where `wants_destination` is set; None if the system does not tell.
            """
            kind = type(self)
            if kind not in _warned:
                _warned.add(kind)
                report(WARNING, "%r: input is discarded: %s does not define handle_datagram", self, kind.__qualname__)

    def handle_truncated(self, data: bytes, address: Any, size: int) -> None:
        """A datagram of ``size`` bytes came, more than `max_size`; ``data`` is the beginning. Drops it, with a log."""
        if _may_log(type(self)):
            report(
                WARNING, "%r: a datagram of %d bytes from %r is longer than max_size, and dropped", self, size, address
            )

    def handle_send_error(self, error: Exception, address: Any) -> None:
        """A datagram to ``address`` (None: not known) was not delivered, as far as anybody has told. Does nothing."""

    def handle_drain(self) -> None:
        """The loop drains. Closes the socket, unless `busy` is true."""
        if not self.busy:
            self.close()

    def handle_error(self, error: BaseException) -> None:
        """A handler has raised ``error``: logs it, at most once a second for a class. The socket goes on."""
        if _may_log(type(self)):
            report(ERROR, "%r: a handler failed", self, error=error)

    def handle_close(self, error: BaseException | None) -> None:
        """The socket is closed: the last call. ``error``: why; None: it was closed in order."""

    # Facts

    @property
    def address(self) -> Any:
        """The address of the socket itself, as the kernel has it; None where there is no socket."""
        return self.get_extra_info("sockname")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Returns a fact about the socket, or ``default``.

        The names are those of asyncio, "socket", "sockname" and "peername"; and "gso" and "gro", whether the kernel
        cuts up and joins datagrams for it.
        """
        sock = self.socket
        if name == "peername":
            return default if self.remote is None else self.remote
        if name in ("gso", "gro"):
            return self._gso if name == "gso" else self._gro
        if sock is None or self._is_gone:
            return default
        if name == "socket":
            return sock
        try:
            return sock.getsockname() if name == "sockname" else default
        except OSError:
            return default

    # Options of the socket

    def _option(self, four: str, six: str) -> tuple[int, int]:
        """The level and the number of an option, for the family of the socket. OSError if there is no such option."""
        sock = self._its_socket()
        is_six = sock.family == _AF_INET6
        name = six if is_six else four
        level = getattr(socket, "IPPROTO_IPV6", 41) if is_six else socket.IPPROTO_IP
        number = getattr(socket, name, None)
        if number is None or sock.family not in (socket.AF_INET, _AF_INET6):
            raise OSError(f"{self!r}: its socket has no option {name}")
        return level, number

    def _its_socket(self) -> Any:
        if self.socket is None or self._is_gone:
            raise OSError(f"{self!r} has no socket")
        return self.socket

    @property
    def ttl(self) -> int:
        """How many routers pass a datagram on that is sent to one host. OSError as from setsockopt(2)."""
        return int(self._its_socket().getsockopt(*self._option("IP_TTL", "IPV6_UNICAST_HOPS")))

    @ttl.setter
    def ttl(self, hops: int) -> None:
        self._its_socket().setsockopt(*self._option("IP_TTL", "IPV6_UNICAST_HOPS"), hops)

    @property
    def multicast_ttl(self) -> int:
        """How many routers pass a datagram on that is sent to a group; 1 at first. OSError as from setsockopt(2)."""
        return int(self._its_socket().getsockopt(*self._option("IP_MULTICAST_TTL", "IPV6_MULTICAST_HOPS")))

    @multicast_ttl.setter
    def multicast_ttl(self, hops: int) -> None:
        self._its_socket().setsockopt(*self._option("IP_MULTICAST_TTL", "IPV6_MULTICAST_HOPS"), hops)

    @property
    def multicast_loopback(self) -> bool:
        """Whether this host gets what is sent to a group; true at first. OSError as from setsockopt(2)."""
        return bool(self._its_socket().getsockopt(*self._option("IP_MULTICAST_LOOP", "IPV6_MULTICAST_LOOP")))

    @multicast_loopback.setter
    def multicast_loopback(self, on: bool) -> None:
        self._its_socket().setsockopt(*self._option("IP_MULTICAST_LOOP", "IPV6_MULTICAST_LOOP"), int(bool(on)))

    def set_multicast_interface(self, interface: Any) -> None:
        """Has datagrams to groups leave through ``interface``: its name, its number or, for IPv4, an address of it.

        OSError for one that is not there.
        """
        level, number = self._option("IP_MULTICAST_IF", "IPV6_MULTICAST_IF")
        if self._its_socket().family == _AF_INET6:
            self._its_socket().setsockopt(level, number, _index_of(interface))
        else:
            self._its_socket().setsockopt(level, number, _mreqn("0.0.0.0", interface))

    def join(self, group: str, interface: Any = None) -> None:
        """Receives what is sent to ``group``, an address in digits, through ``interface``.

        That is its name, its number or, for IPv4, an address of it; None: the system chooses. OSError if it is joined
        already, or there is no such interface.
        """
        self._membership(group, interface, "IP_ADD_MEMBERSHIP", "IPV6_JOIN_GROUP")

    def leave(self, group: str, interface: Any = None) -> None:
        """Ends what `join` with the same arguments has begun. OSError if it was not joined."""
        self._membership(group, interface, "IP_DROP_MEMBERSHIP", "IPV6_LEAVE_GROUP")

    def _membership(self, group: str, interface: Any, four: str, six: str) -> None:
        level, number = self._option(four, six)
        sock = self._its_socket()
        if sock.family == _AF_INET6:
            request = socket.inet_pton(sock.family, group) + struct.pack("@I", _index_of(interface))
        else:
            request = _mreqn(group, interface)
        try:
            sock.setsockopt(level, number, request)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}: group {group} on {interface!r}, {self!r}") from None

    # For the loop

    def _drain(self) -> None:
        self._draining = True
        try:
            self.handle_drain()
        except EXITS:
            raise
        except BaseException as error:
            self._fail(error)

    # For the engine

    def _fail(self, error: BaseException) -> None:
        """A handler has raised ``error``, which is being handled."""
        try:
            self.handle_error(error)
        except EXITS:
            raise
        except BaseException as failure:
            report(ERROR, "%r: handle_error failed", self, error=failure)
            self._end(error)

    def _gone(self) -> None:
        """The socket is closed; `handle_close` follows."""
        loop = self.loop
        if loop is not None and loop.network is not None:
            loop.network.ended(self)

    def _check_class(self) -> None:
        """Called when a socket is opened. TypeError for a handler that is a coroutine."""
        kind = type(self)
        if kind not in _checked:
            wrong = async_handler(self, HANDLERS)
            if wrong is not None:
                raise wrong
            _checked.add(kind)


_warned: set[type] = set()
_checked: set[type] = set()


def _may_log(kind: type) -> bool:
    """Whether a second has passed since this class has logged: anybody can send what makes a handler fail."""
    now = time.monotonic()
    if now - _logged_at.get(kind, -LOG_INTERVAL) < LOG_INTERVAL:
        return False
    _logged_at[kind] = now
    return True


def _peer_of(sock: Any) -> Any:
    try:
        return sock.getpeername() or None
    except OSError:  # it is connected to nobody
        return None


def _index_of(interface: Any) -> int:
    """The number of an interface; 0: the system chooses. OSError if there is none of that name."""
    if interface is None:
        return 0
    if isinstance(interface, int):
        return interface
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:  # whose text, in some versions of Python, does not say what is missing
        raise OSError(error.errno or ENODEV, f"there is no interface {interface!r}") from error


def _mreqn(group: str, interface: Any) -> bytes:
    """What IPv4 takes for a group and an interface: struct ip_mreqn (ip(7)). OSError for what is no address."""
    if isinstance(interface, str):
        try:
            return socket.inet_aton(group) + socket.inet_aton(interface)  # a struct ip_mreq: an address of it
        except OSError:  # it is a name
            pass
    index = _index_of(interface)
    return socket.inet_aton(group) + bytes(4) + (struct.pack("@i", index) if index else b"")
