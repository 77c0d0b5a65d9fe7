# SPDX-License-Identifier: MIT
"""PROXY headers: both engines read the same of them, however they are cut, and take no byte of what follows."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any

from cyncore._net.proxy_header import client_of, size_of
from tests.fuzz.engines import Engine, Fields, engines, send

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
TOKENS = (
    b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"\r\n", SIGNATURE, b"\x21\x11\x00\x0c", b"\x21\x21\x00\x24",
    b"\x21\x31\x00\xd8", b"\x20\x00\x00\x00", b"192.0.2.1 ", b"2001:db8::1 ", b"::", b"65535", b"65536", b" ", b"%",
)  # fmt: skip
LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})\r\n")


def by_the_book(data: bytes) -> Any:
    """What the specification says of it: the client, None where it names none; ValueError where it is wrong."""
    if data.startswith(SIGNATURE) and len(data) >= 16:
        version, family, size = data[12], data[13], int.from_bytes(data[14:16], "big")
        body = data[16 : 16 + size]
        if size > 4096 or len(body) < size or version not in (0x20, 0x21) or family >> 4 > 3 or family & 15 > 2:
            raise ValueError
        if version == 0x20 or not family >> 4 or not family & 15:
            return None
        if size < {1: 12, 2: 36, 3: 216}[family >> 4]:
            raise ValueError
        if family >> 4 == 1:
            return socket.inet_ntop(socket.AF_INET, body[:4]), int.from_bytes(body[8:10], "big")
        if family >> 4 == 2:
            return str(ipaddress.ip_address(body[:16])), int.from_bytes(body[32:34], "big"), 0, 0
        return body[:108].rstrip(b"\0").decode(errors="surrogateescape")
    line, end, _ = data[:107].partition(b"\n")
    line += end
    if re.fullmatch(rb"PROXY UNKNOWN( [^\n]*)?\r\n", line):
        return None
    found = LINE.fullmatch(line)
    if not found or int(found[4]) > 65535 or int(found[5]) > 65535:
        raise ValueError
    kind = ipaddress.IPv4Address if found[1] == b"TCP4" else ipaddress.IPv6Address
    host, _ = kind(found[2].decode()), kind(found[3].decode())
    return (str(host), int(found[4])) if found[1] == b"TCP4" else (str(host), int(found[4]), 0, 0)


def read_at_once(data: bytes) -> tuple[Any, bytes]:
    """What the functions of the module say, and what follows the header."""
    size = size_of(data) if data else None
    if size is None or size > len(data):
        raise ValueError(f"it is cut off after {len(data)} bytes")
    return client_of(data[:size]), data[size:]


def wanted_of(data: bytes) -> Any:
    try:
        client, rest = read_at_once(data)
        wanted: Any = ("client", client, rest)
    except ValueError as error:
        wanted = ("error", str(error))
    try:
        right: Any = by_the_book(data)
    except ValueError:
        assert wanted[0] == "error", f"taken for a header: {wanted}"
    else:
        assert wanted[:2] == ("client", right), f"{wanted} instead of {right!r}"
    return wanted


def listener(engine: Engine) -> Any:
    """An abstract Unix listener of that engine, which all inputs share, and what its streams are told."""
    if not hasattr(engine, "streams"):
        told: list[Any] = []

        class Kind(engine.package.Stream):  # type: ignore[misc, name-defined]
            def handle_connect(self) -> None:
                told.append(["client", self.addr, b""])

            def handle_data(self, data: bytes) -> None:
                told[-1][2] += data

            def handle_close(self, error: BaseException | None) -> None:
                told.append(error)

        server = engine.loop.listen(f"\0fuzz {id(engine):x} {id(told):x}", Kind, proxy=("unix",))
        engine.keeps = next(iter(engine.loop.map.values()))
        engine.streams = server, told  # type: ignore[attr-defined]
    return engine.streams  # type: ignore[attr-defined]


def read(engine: Engine, parts: list[bytes]) -> Any:
    server, told = listener(engine)
    told.clear()

    def sign() -> Any:
        return len(told), told and told[0] and not isinstance(told[0], BaseException) and len(told[0][2])

    with socket.socket(socket.AF_UNIX) as far:
        far.connect(server.address)
        far.setblocking(False)
        engine.settle(sign)
        for part in parts:
            send(far, part)
            engine.settle(sign)
        try:
            far.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        engine.settle(sign)
    engine.settle(sign)
    assert server.connections == 0, "a stream is left"
    if isinstance(told[0], BaseException):
        assert len(told) == 1, told
        assert isinstance(told[0], ConnectionError), told
        return "error", str(told[0]).removeprefix("PROXY header of a Unix socket: ")
    assert told[1:] == [None], told
    return tuple(told[0])


def run(data: bytes) -> None:
    """AssertionError for a header that is not read as it must be."""
    parts = Fields(data).pieces()
    whole = b"".join(parts)
    wanted = wanted_of(whole)
    if wanted[:2] == ("client", None):
        wanted = ("client", "", wanted[2])  # the address of a Unix peer
    for engine in engines():
        for some in (parts, [whole] if whole else []):
            got = read(engine, some)
            assert got == wanted, f"{engine.package.__name__}: {got} instead of {wanted}"
