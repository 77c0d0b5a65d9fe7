# SPDX-License-Identifier: MIT
"""PROXY headers: who is believed, what is read of them and no more, and what a wrong one costs."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop, Stream
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, receive

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LINE = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
LINE6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"


def binary(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + struct.pack(">H", len(body)) + body


V4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + struct.pack(">HH", 56324, 443)
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1") * 2 + struct.pack(">HH", 1, 2)
UNIX = b"/run/client".ljust(108, b"\0") + bytes(108)
FACT = b"\x02\x00\x04name"  # the name of the host, which is skipped

CLIENT = ("192.0.2.1", 56324)
CLIENT6 = ("2001:db8::1", 1, 0, 0)
VALID = [
    (LINE, CLIENT),
    (LINE6, CLIENT6),
    (binary(0x21, 0x11, V4), CLIENT),
    (binary(0x21, 0x11, V4 + FACT), CLIENT),
    (binary(0x21, 0x21, V6), CLIENT6),
    (binary(0x21, 0x31, UNIX), "/run/client"),
    (binary(0x21, 0x11, V4.ljust(4096, b"\0")), CLIENT),
]
NAMELESS = [
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN 192.0.2.1 what ever\r\n",
    binary(0x20, 0x00, b""),
    binary(0x20, 0x11, V4),
    binary(0x21, 0x00, b"\0" * 20),
]
WRONG = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
    b"PROXY TCP4 192.0.2.1  198.51.100.2 56324 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 01 443\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.2 1 443\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 1 443\r\n",
    b"PROXY TCP6 fe80::1%lo 2001:db8::2 1 443\r\n",
    b"PROXY TCP9 192.0.2.1 198.51.100.2 1 443\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN " + b"x" * 100,
    b"\r\n\r\n\x00\r\nQUIX\n" + bytes(20),
    binary(0x11, 0x11, V4),
    binary(0x22, 0x11, V4),
    binary(0x21, 0x41, V4),
    binary(0x21, 0x13, V4),
    binary(0x21, 0x11, V4[:-1]),
    binary(0x21, 0x21, V6[:-1]),
    binary(0x21, 0x31, UNIX[:-1]),
    binary(0x21, 0x11, bytes(4097)),
    bytes(range(128, 256)),
    b"\x00" * 40,
]


class Service:
    """A server that believes the loopback, and the streams that it made."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.streams: list[Recorder] = []
        self.server: Any = None

    def listen(self, address: Any = ("127.0.0.1", 0), **options: Any) -> Any:
        options.setdefault("proxy", ["127.0.0.0/8"])
        self.server = self.loop.listen(address, self.make, **options)
        return self.server

    def make(self) -> Recorder:
        self.streams.append(Recorder())
        return self.streams[-1]

    def wait_over(self, count: int = 1) -> BaseException | str:
        poll_until(self.loop, lambda: len(self.streams) == count and self.streams[-1].is_over)
        last: BaseException | str = self.streams[-1].seen[-1]
        return last


@pytest.fixture
def service(loop: Loop) -> Iterator[Service]:
    made = Service(loop)
    yield made
    for entry in list(loop.map.values()):
        (entry.abort if isinstance(entry, Stream) else entry.close)()
    if made.server is not None:
        made.server.close()
    loop.poll(0)


def dial(peers: Peers, server: Any) -> socket.socket:
    sock = socket.socket(socket.AF_INET if isinstance(server.address, tuple) else socket.AF_UNIX)
    peers.keep(sock)
    sock.settimeout(5)
    sock.connect(server.address)
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@every_backend
@pytest.mark.parametrize(("header", "client"), VALID)
def test_the_address_is_the_one_that_the_header_names(
    request: pytest.FixtureRequest, loop: Loop, peers: Peers, header: bytes, client: Any
) -> None:
    service: Service = request.getfixturevalue("service")
    sock = dial(peers, service.listen())
    sock.sendall(header + b"behind it")
    poll_until(loop, lambda: service.streams and service.streams[0].got == b"behind it")
    assert service.streams[0].addr == client
    assert service.streams[0].get_extra_info("proxy") == sock.getsockname()


@pytest.mark.parametrize("header", NAMELESS)
def test_the_address_is_the_proxys_where_the_header_names_none(
    service: Service, loop: Loop, peers: Peers, header: bytes
) -> None:
    sock = dial(peers, service.listen())
    sock.sendall(header + b"behind it")
    poll_until(loop, lambda: service.streams and service.streams[0].got == b"behind it")
    assert service.streams[0].addr == sock.getsockname()


@pytest.mark.parametrize("header", [LINE, binary(0x21, 0x11, V4 + FACT)])
def test_a_header_may_come_in_single_bytes(service: Service, loop: Loop, peers: Peers, header: bytes) -> None:
    sock = dial(peers, service.listen())
    for at in range(len(header)):
        assert not (service.streams and service.streams[0].connected)
        sock.sendall(header[at : at + 1])
        loop.poll(0.01)
    sock.sendall(b"x")
    poll_until(loop, lambda: service.streams and service.streams[0].got == b"x")
    assert service.streams[0].addr == CLIENT


@pytest.mark.parametrize("header", [LINE, binary(0x21, 0x11, V4 + FACT)])
def test_nothing_behind_a_header_in_two_parts_is_lost(
    service: Service, loop: Loop, peers: Peers, header: bytes
) -> None:
    sock = dial(peers, service.listen())
    sock.sendall(header[:18])
    poll_until(loop, lambda: service.streams)
    loop.poll(0.01)
    sock.sendall(header[18:] + b"behind it")
    poll_until(loop, lambda: service.streams[0].got == b"behind it")
    assert service.streams[0].addr == CLIENT


def test_a_header_that_says_it_is_too_long_is_not_waited_for(service: Service, peers: Peers) -> None:
    dial(peers, service.listen()).sendall(SIGNATURE + b"\x21\x11\xff\xff")
    assert "longer than 4112 bytes" in str(service.wait_over())


@pytest.mark.parametrize("header", [LINE, binary(0x21, 0x11, V4 + FACT)])
def test_a_header_that_is_cut_at_any_byte_ends_its_stream(
    service: Service, loop: Loop, peers: Peers, header: bytes
) -> None:
    server = service.listen()
    for size in range(len(header)):
        with dial(peers, server) as sock:
            sock.sendall(header[:size])
            sock.shutdown(socket.SHUT_WR)
            error = service.wait_over(size + 1)
            assert isinstance(error, ConnectionError)
            assert f"127.0.0.1:{sock.getsockname()[1]}: it is cut off after {size} bytes" in str(error)
    assert server.connections == 0


@pytest.mark.parametrize("header", WRONG)
def test_a_wrong_header_costs_its_connection_and_no_other(
    service: Service, loop: Loop, peers: Peers, header: bytes
) -> None:
    server = service.listen()
    dial(peers, server).sendall(header)
    error = service.wait_over()
    assert isinstance(error, ConnectionError)
    assert "PROXY header of 127.0.0.1:" in str(error)
    assert "connect" not in service.streams[0].seen
    dial(peers, server).sendall(LINE)
    poll_until(loop, lambda: len(service.streams) == 2 and service.streams[1].connected)


def test_a_peer_that_is_not_believed_sends_data(service: Service, loop: Loop, peers: Peers) -> None:
    sock = dial(peers, service.listen(proxy=["192.0.2.0/24", "::1", "unix"]))
    sock.sendall(LINE)
    poll_until(loop, lambda: service.streams and service.streams[0].got == LINE)
    assert service.streams[0].addr == sock.getsockname()
    assert service.streams[0].get_extra_info("proxy") is None


def test_a_proxy_may_be_on_a_unix_socket(service: Service, loop: Loop, peers: Peers, tmp_path: Path) -> None:
    dial(peers, service.listen(str(tmp_path / "s"), proxy=["unix"])).sendall(LINE)
    poll_until(loop, lambda: service.streams and service.streams[0].connected)
    assert service.streams[0].addr == CLIENT


def test_a_part_of_a_header_waits_without_spinning(service: Service, loop: Loop, peers: Peers) -> None:
    sock = dial(peers, service.listen())
    sock.sendall(LINE[:10])
    poll_until(loop, lambda: service.streams)
    loop.poll(0.02)
    assert [loop.poll(0) for _ in range(5)] == [0] * 5


def test_a_handshake_deadline_bounds_the_header(service: Service, loop: Loop, peers: Peers) -> None:
    class Hurried(Recorder):
        handshake_deadline = 0.05

    service.streams.append(Hurried())
    service.make = lambda: service.streams[0]  # type: ignore[method-assign]
    sock = dial(peers, service.listen())
    sock.sendall(LINE[:10])
    assert isinstance(service.wait_over(), TimeoutError)


def test_tls_follows_the_header(service: Service, loop: Loop, peers: Peers) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate: it refuses, in TLS
    sock = dial(peers, service.listen(tls=context))
    sock.sendall(LINE + b"plain text, not TLS\r\n" * 3)
    error = service.wait_over()
    assert isinstance(error, ssl.SSLError)
    assert service.streams[0].addr == CLIENT


def test_tls_and_the_header_share_a_deadline(service: Service, loop: Loop, peers: Peers) -> None:
    class Patient(Recorder):
        handshake_deadline = 60

    stream = Patient()
    service.make = lambda: stream  # type: ignore[method-assign]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    sock = dial(peers, service.listen(tls=context))
    poll_until(loop, lambda: stream.addr is not None)
    began = stream._deadlines.begun
    sock.sendall(LINE)
    poll_until(loop, lambda: stream.addr == CLIENT)
    assert stream._deadlines.begun == began


def test_clients_behind_a_proxy_are_limited_one_by_one(
    service: Service, loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    server = service.listen(max_connections_per_peer=1)
    first = dial(peers, server)
    first.sendall(LINE)
    poll_until(loop, lambda: service.streams and service.streams[0].connected)
    other = dial(peers, server)
    other.sendall(LINE6)
    poll_until(loop, lambda: len(service.streams) == 2 and service.streams[1].connected)
    again = dial(peers, server)
    again.sendall(LINE)
    with caplog.at_level(logging.WARNING, "cyncore"):
        assert receive(loop, again, 1) == b""
    assert "192.0.2.1" in caplog.text
    first.close()
    poll_until(loop, lambda: server.connections == 1)
    last = dial(peers, server)
    last.sendall(LINE)
    poll_until(loop, lambda: len(service.streams) == 4 and service.streams[3].connected)


@pytest.mark.parametrize(("networks", "kind"), [("10.0.0.0/8", TypeError), (["10.0.0.1/8"], ValueError)])
def test_what_is_no_list_of_networks_is_refused(loop: Loop, networks: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        loop.listen(("127.0.0.1", 0), Recorder, proxy=networks)
    assert not loop.map
