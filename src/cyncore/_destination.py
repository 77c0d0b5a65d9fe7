# SPDX-License-Identifier: MIT
"""Where a datagram may be sent to: how an address is written, which both engines check in the same way.

Sending never looks a name up, because that may block. A host is written in digits.
"""

from __future__ import annotations

import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object


def checked(family: int, address: Any) -> Any:
    """``address`` as the methods of a socket of that family take it, so that they need not look a name up.

    TypeError for what is no address of that family. ValueError for a host that is not written in digits, and for a port
    that is none.
    """
    if family == getattr(socket, "AF_UNIX", None):
        if not isinstance(address, (str, bytes, os.PathLike)):
            raise TypeError(f"the address of a Unix datagram is a path, not {address!r}")
        return os.fspath(address)
    if not isinstance(address, tuple) or not 2 <= len(address) <= 4:
        raise TypeError(f"the address of a datagram is (host, port), not {address!r}")
    host, port = address[:2]
    if not isinstance(host, str) or not isinstance(port, int):
        raise TypeError(f"the address of a datagram is (host, port), a str and an int, not {address!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"a port is 0 to 65535, not {port}")
    flags = socket.AI_NUMERICHOST
    if family == getattr(socket, "AF_INET6", None):
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
