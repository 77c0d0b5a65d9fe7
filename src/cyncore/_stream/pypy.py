# SPDX-License-Identifier: MIT
"""What PyPy's `ssl` gets wrong, and CPython's does not."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any


def _told(name: str) -> Callable[..., Any]:
    def call(session: Session, *arguments: Any) -> Any:
        try:
            return getattr(session._inner, name)(*arguments)
        except RuntimeError as error:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol") from error

    return call


class Session:
    """A session that tells of a connection which was lost as CPython's does: by an SSLEOFError.

    OpenSSL 3.5 has no words for an error of the system. PyPy 7.3.19 raises a RuntimeError then ("cannot use string() on
    NULL"): out of every write to a peer that has gone, for example.
    """

    __slots__ = ("_inner",)

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    do_handshake = _told("do_handshake")
    read = _told("read")
    write = _told("write")
    shutdown = _told("shutdown")
