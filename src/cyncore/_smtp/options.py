# SPDX-License-Identifier: MIT
"""What a mail server may be asked to do beyond the old one."""

from __future__ import annotations

from typing import Any

from .limits import Visitors


class ServerOptions:
    """What a `SMTPServer` may be asked to do beyond the old one: set in a class, or given to its constructor."""

    idle_timeout: float | None = None
    """Seconds from one command to the end of the next, and within a message from one piece to the next."""

    command_timeout: float | None = None
    """Seconds from the first byte of a command to its last."""

    data_timeout: float | None = None
    """Seconds for a whole message."""

    max_connections: int | None = None
    max_connections_per_peer: int | None = None

    max_errors: int | None = None
    """Commands of one connection that may be answered by 5xx."""

    max_recipients: int | None = 50_000
    """Of one message; None: any number. This one is on by itself, because without it one peer could fill the memory."""

    pipelining = False
    """Offer PIPELINING (RFC 2920). Commands that come before they are asked for are served either way."""

    tls_context: Any = None
    """An `ssl.SSLContext` with a certificate: offer STARTTLS (RFC 3207)."""

    tls_implicit = False
    """Begin with the handshake, without STARTTLS."""

    tls_timeout: float | None = 60.0
    """Seconds that a handshake may take."""

    require_starttls = False
    """Take no mail without TLS."""

    _visitors: Visitors | None = None

    def _set_options(self, options: dict[str, Any]) -> None:
        """Takes ``options`` by their names. Those of the class are looked at as well.

        TypeError for a name that there is not. ValueError for a value that cannot be meant, and where TLS is demanded
        without a ``tls_context``: such a server would take mail in plain text.
        """
        for name, value in options.items():
            if name not in _OPTION_NAMES:
                raise TypeError(f"SMTPServer has no option {name!r}")
            setattr(self, name, value)
        for name in _OPTION_NAMES:
            _check(name, getattr(self, name))
        for name in ("require_starttls", "tls_implicit"):
            if getattr(self, name) and self.tls_context is None:
                raise ValueError(f"{name} needs a tls_context")

    def _count_visitors(self) -> Visitors:
        """Where the server keeps its connections, from the first one that is to be counted on."""
        if self._visitors is None:
            self._visitors = Visitors()
        return self._visitors


NO_OPTIONS = ServerOptions()
_OPTION_NAMES = frozenset(name for name in vars(ServerOptions) if not name.startswith("_"))


_LONGEST = 1e9  # seconds; a clock that counts nanoseconds goes a little further


def _check(name: str, value: Any) -> None:
    if name == "tls_context":
        if getattr(getattr(value, "protocol", None), "name", "") == "PROTOCOL_TLS_CLIENT":
            raise ValueError("tls_context is for clients: PROTOCOL_TLS_SERVER, or Purpose.CLIENT_AUTH, is for servers")
    elif value is not None and name.endswith("_timeout") and not 0 < value <= _LONGEST:
        raise ValueError(f"{name} must be a number of seconds above zero, or None, not {value!r}")
    elif value is not None and name.startswith("max_") and not value > 0:
        raise ValueError(f"{name} must be above zero or None, not {value!r}")
