# SPDX-License-Identifier: MIT
"""Where a datagram may be sent to: how an address is written, which both engines check in the same way.

Sending never looks a name up, because that may block. A host is written in digits.
"""

from __future__ import annotations

import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

FLOW_MOST = 0xFFFFF  # a flow label of IPv6 has 20 bits
PATH_ROOM = 108 if sys.platform == "linux" else 104  # bytes of `sun_path` (unix(7), unix(4))


def checked(family: int, address: Any) -> Any:
    """``address`` as the methods of a socket of that family take it, so that they need not look a name up.

    TypeError for what is no address of that family. ValueError for a host that is not written in digits, for a port or
    another number that is none, and for a path that is empty or too long. What is returned is refused by no later step.
    """
    if family == getattr(socket, "AF_UNIX", None):
        if not isinstance(address, (str, bytes, os.PathLike)):
            raise TypeError(f"the address of a Unix datagram is a path, not {address!r}")
        path = os.fspath(address)
        _check_path(os.fsencode(path))
        return path
    is_six = family == getattr(socket, "AF_INET6", None)
    if not isinstance(address, tuple) or not 2 <= len(address) <= (4 if is_six else 2):
        raise TypeError(f"the address of a datagram is (host, port), not {address!r}")
    host, port = address[:2]
    if not isinstance(host, str) or not all(isinstance(number, int) for number in address[1:]):
        raise TypeError(f"the address of a datagram is (host, port), a str and an int, not {address!r}")
    port = int(port)  # a member of an enum, too: getaddrinfo takes no subclass
    if not 0 <= port <= 65535:
        raise ValueError(f"a port is 0 to 65535, not {port}")
    for number, most in zip(address[2:], (FLOW_MOST, 0xFFFFFFFF), strict=False):
        if not 0 <= number <= most:
            raise ValueError(f"the flow and the interface of an address are 0 to {most}, not {number}: {address!r}")
    flags = socket.AI_NUMERICHOST
    if is_six:
        flags |= getattr(socket, "AI_V4MAPPED", 0)
    if not host or "\0" in host:  # getaddrinfo(3) takes these for something else
        host = "?"
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM, 0, flags)[0][4]
    except (OSError, UnicodeError):
        raise ValueError(
            f"{address[0]!r} is no address in digits of the family of this socket: sending looks no name up"
        ) from None
    return (*found[:2], *address[2:], *found[len(address) :])


def _check_path(path: bytes) -> None:
    """ValueError for what is no path of a Unix socket. An abstract one, which a zero byte begins, may fill the room."""
    most = PATH_ROOM if path[:1] == b"\0" else PATH_ROOM - 1
    if not 0 < len(path) <= most:
        raise ValueError(f"a path of a Unix socket has 1 to {most} bytes: {path!r}")


def packed(family: int, host: Any) -> bytes:
    """A host as a control message has it. TypeError and ValueError for what is none of that family."""
    if not isinstance(host, str):
        raise TypeError(f"the source of a datagram is (host, interface), not one with {host!r}")
    try:
        return socket.inet_pton(family, host)
    except OSError:
        raise ValueError(f"{host!r} is no address in digits of the family of this socket") from None


def is_for_many(host: bytes) -> bool:
    """Is it the address of a group, or of a broadcast? Nothing can be sent from it."""
    return host[0] >= 224 if len(host) == 4 else host[0] == 0xFF
