# SPDX-License-Identifier: MIT
"""The full name of this host, with which a mail server greets."""

from __future__ import annotations

import socket

_getfqdn = socket.getfqdn
_known: tuple[str, str] | None = None  # the host's name, and its full name


def full_name() -> str:
    """``socket.getfqdn()``, which may ask a name server: it is called once for each name that the host has had."""
    global _known
    if socket.getfqdn is not _getfqdn:
        return socket.getfqdn()  # a test has put its own there
    name = socket.gethostname()
    if _known is None or _known[0] != name:
        _known = name, _getfqdn()
    return _known[1]
