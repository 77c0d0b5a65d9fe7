# SPDX-License-Identifier: MIT
"""The options of a mail server, which the old module did not have."""

from __future__ import annotations

from typing import Any

from .connections import Connections


class ServerOptions:
    """The options of a `SMTPServer`, as attributes of a class. Its constructor takes each by its name as well."""

    idle_timeout: float | None = None
    """Seconds from the end of one command to the end of the next, and within a message from one piece to the next."""

    command_timeout: float | None = None
    """Seconds from the first byte of a command to its last."""

    data_timeout: float | None = None
    """Seconds for a whole message."""

    max_connections: int | None = None
    """Connections of all peers together; one more is told 421."""

    max_connections_per_peer: int | None = None
    """Connections of one host; one more is told 421."""

    max_errors: int | None = None
    """Replies of 5xx that one connection may get; after one more it is told 421."""

    max_recipients: int | None = 50_000
    """Recipients of one message; one more is told 452. It has a default, because one peer could fill the memory."""

    pipelining = False
    """Offer PIPELINING (RFC 2920). Commands that come before they are asked for are served either way."""

    tls_context: Any = None
    """An `ssl.SSLContext` with a certificate: offer STARTTLS (RFC 3207)."""

    tls_implicit = False
    """Begin with the handshake, without STARTTLS."""

    tls_timeout: float | None = 60.0
    """Seconds that a handshake may take."""

    require_starttls = False
    """Refuse mail with 530 until TLS is on."""

    _cyncore: Connections | None = None  # the connections that count towards a cap, from the first one on


NO_OPTIONS = ServerOptions()
_NAMES = frozenset(name for name in vars(ServerOptions) if not name.startswith("_"))
_FLAGS = frozenset({"pipelining", "require_starttls", "tls_implicit"})
_LONGEST = 1e9  # seconds; a clock that counts nanoseconds goes a little further


def set_options(server: ServerOptions, options: dict[str, Any]) -> None:
    """Sets ``options`` by their names. Those that the class of ``server`` has are checked as well.

    TypeError for a name that does not exist, and for a value that `option` would take for the program's own. Beside a
    ``tls_context`` that also holds for what the class says about requiring TLS. ValueError for a value out of range,
    and where TLS is required without a ``tls_context``: such a server would take mail in plain text.
    """
    for name, value in options.items():
        if name not in _NAMES:
            raise TypeError(f"SMTPServer has no option {name!r}")
        if not _is_option(name, value):
            raise TypeError(f"{name} cannot be {value!r}")
        setattr(server, name, value)
    for name in _NAMES:
        _check(name, option(server, name))
    for name in ("require_starttls", "tls_implicit"):
        value = getattr(server, name, None)
        # A program with a context is none for the old module: "yes" must not give it a server without TLS.
        if option(server, "tls_context") is not None and not _is_option(name, value):
            raise TypeError(f"{name} cannot be {value!r}")
        if option(server, name) and option(server, "tls_context") is None:
            raise ValueError(f"{name} needs a tls_context")


def option(server: ServerOptions, name: str) -> Any:
    """The value of an option of ``server``.

    A program that was written for the old module may use these names for purposes of its own. So what is no value for
    the option, as a method is none, leaves the option as if nobody had set it.
    """
    try:
        value = getattr(server, name)
    except Exception:  # out of a property of the program's
        return getattr(NO_OPTIONS, name)
    return value if _is_option(name, value) else getattr(NO_OPTIONS, name)


def _is_option(name: str, value: Any) -> bool:
    if name == "tls_context":
        return value is None or (hasattr(value, "wrap_bio") and not isinstance(value, type))
    if name in _FLAGS:
        return isinstance(value, int)
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def connections_of(server: ServerOptions) -> Connections:
    """The connections of the server that are counted. Made when they are asked for first."""
    if server._cyncore is None:
        server._cyncore = Connections()
    return server._cyncore


def _check(name: str, value: Any) -> None:
    """ValueError if the option ``name`` cannot have that value."""
    if name == "tls_context":
        if getattr(getattr(value, "protocol", None), "name", "") == "PROTOCOL_TLS_CLIENT":
            raise ValueError("tls_context is for clients: PROTOCOL_TLS_SERVER, or Purpose.CLIENT_AUTH, is for servers")
    elif value is not None and name.endswith("_timeout") and not 0 < value <= _LONGEST:
        raise ValueError(f"{name} must be above zero and at most {_LONGEST:,.0f} seconds, or None, not {value!r}")
    elif value is not None and name.startswith("max_") and not value > 0:
        raise ValueError(f"{name} must be above zero or None, not {value!r}")
