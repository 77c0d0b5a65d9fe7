# SPDX-License-Identifier: MIT
"""The TLS socket of a mail server's connection. A stranger may send bytes that are no TLS, and nobody wants a line in
the log for each: to the channel, the connection is lost.
"""

from __future__ import annotations

import ssl
from errno import ECONNRESET

from cyncore._tls.socket import TlsSocket


class QuietSocket(TlsSocket):
    """A `TlsSocket` that raises ConnectionResetError where TLS fails."""

    __slots__ = ()

    def _failure(self, error: ssl.SSLError) -> BaseException:
        return ConnectionResetError(ECONNRESET, str(super()._failure(error)))
