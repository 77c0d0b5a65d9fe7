# SPDX-License-Identifier: MIT
"""The PROXY header, versions 1 and 2: how a proxy tells the address of the client whose connection it passes on."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from .address import words

READ: Final = 1  # what a step wants, as the engines number it
SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"  # of version 2
LINE_LIMIT: Final = 107  # bytes of a line of version 1, with its end
FIXED: Final = 16  # bytes of a header of version 2 before its addresses
REST_LIMIT: Final = 4096  # bytes of a header of version 2 behind that: the addresses, and facts that are skipped

_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")


class Networks:
    """Whose connections begin with a header: ``networks`` are such as "10.0.0.0/8", an address, or "unix".

    ValueError for what is no network, TypeError for a string in place of several.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        if isinstance(networks, (str, bytes)):
            raise TypeError(f"proxy is a list of networks, such as [{networks!r}], not {networks!r}")
        names = list(networks)
        self._has_unix = "unix" in names
        self._networks = [ipaddress.ip_network(name) for name in names if name != "unix"]

    def __contains__(self, addr: Any) -> bool:
        """Is the peer at ``addr``, as `socket.accept` has it, one of them?"""
        if not isinstance(addr, tuple):
            return self._has_unix
        host = ipaddress.ip_address(addr[0].partition("%")[0])
        mapped = getattr(host, "ipv4_mapped", None)  # a socket of both families shows IPv4 so
        return any((mapped or host) in network for network in self._networks)


class Header:
    """Reads the header of one stream, byte for byte as far as it goes, and calls ``done(stream, client)``.

    ``client`` is an address, or None where the header names none: the proxy has connected on its own behalf, or does
    not know. A header that is wrong ends the stream with a ConnectionError, which names the peer and the cause.
    """

    def __init__(self, stream: Any, done: Callable[[Any, Any], object]) -> None:
        self._stream = stream
        self._done = done
        self._got = b""

    def begin(self) -> None:
        """Waits for the header: the stream has joined its loop."""
        self._stream._deadlines_started("handshake")
        self._stream._set_step(self._read, READ)

    def _read(self, ready: int) -> None:
        try:
            is_whole = self._take()
            client = client_of(self._got) if is_whole else None
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, ValueError) as error:
            peer = words(self._stream.addr) if self._stream.addr else "a Unix socket"
            self._stream._end(ConnectionError(f"PROXY header of {peer}: {error}"))
            return
        if is_whole:
            self._done(self._stream, client)

    def _take(self) -> bool:
        """Takes what has come of the header out of the socket, and nothing behind it. Is that all of the header?"""
        sock, got = self._stream.socket, self._got
        there = sock.recv(FIXED + REST_LIMIT - len(got), socket.MSG_PEEK)
        if not there:
            raise ValueError(f"it is cut off after {len(got)} bytes")
        size = size_of(got + there)
        count = len(there) if size is None else min(len(there), size - len(got))
        self._got = got + sock.recv(count)
        return len(self._got) == size


def size_of(data: bytes) -> int | None:
    """How long the header is that ``data`` begins with; None: not known yet, and all of ``data`` is part of it.

    ValueError for what is no header, or a longer one than is taken.
    """
    if data[0] == SIGNATURE[0]:
        if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
            raise ValueError("the signature of version 2 is wrong")
        if len(data) < FIXED:
            return None
        rest = int.from_bytes(data[14:FIXED], "big")
        if rest > REST_LIMIT:
            raise ValueError(f"it is longer than {FIXED + REST_LIMIT} bytes")
        return FIXED + rest
    if not b"PROXY ".startswith(data[:6]):
        raise ValueError("there is none")
    end = data.find(b"\n", 0, LINE_LIMIT)
    if end >= 0:
        return end + 1
    if len(data) >= LINE_LIMIT:
        raise ValueError(f"the line is longer than {LINE_LIMIT} bytes")
    return None


def client_of(header: bytes) -> Any:
    """The address of the client in a whole header; None where it names none. ValueError where it is wrong."""
    return _client_of_line(header) if header[:1] == b"P" else _client_of_binary(header)


def _client_of_line(line: bytes) -> Any:
    if not line.endswith(b"\r\n"):
        raise ValueError("the line does not end with CRLF")
    fields = line[:-2].split(b" ")
    if fields[1] == b"UNKNOWN":
        return None
    if len(fields) != 6 or fields[1] not in (b"TCP4", b"TCP6"):
        raise ValueError(f"the line is wrong: {line!r}")
    _, kind, source, target, *ports = fields
    for port in ports:
        if not _PORT.fullmatch(port) or int(port) > 65535:
            raise ValueError(f"{port!r} is no port")
    hosts = [_host(text, kind) for text in (source, target)]
    return _pair(hosts[0], int(ports[0]))


def _host(text: bytes, kind: bytes) -> Any:
    make: Any = ipaddress.IPv4Address if kind == b"TCP4" else ipaddress.IPv6Address
    if b"%" in text or not text.isascii():
        raise ValueError(f"{text!r} is no address")
    return make(text.decode())


def _pair(host: Any, port: int) -> tuple[Any, ...]:
    """An address as `socket.accept` would show it."""
    return (str(host), port) if host.version == 4 else (str(host), port, 0, 0)


def _client_of_binary(header: bytes) -> Any:
    version, command = divmod(header[12], 16)
    family, protocol = divmod(header[13], 16)
    if version != 2:
        raise ValueError(f"version {version} is not known")
    if command > 1:
        raise ValueError(f"command {command} is not known")
    if family > 3 or protocol > 2:
        raise ValueError(f"family {family} with protocol {protocol} is not known")
    if command == 0 or family == 0 or protocol == 0:
        return None
    body = header[FIXED:]
    if len(body) < (12, 36, 216)[family - 1]:
        raise ValueError(f"{len(body)} bytes are too few for its addresses")
    if family == 1:
        return _pair(ipaddress.IPv4Address(body[:4]), int.from_bytes(body[8:10], "big"))
    if family == 2:
        return _pair(ipaddress.IPv6Address(body[:16]), int.from_bytes(body[32:34], "big"))
    return body[:108].rstrip(b"\0").decode(errors="surrogateescape")
