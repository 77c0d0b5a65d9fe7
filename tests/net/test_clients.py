# SPDX-License-Identifier: MIT
"""Clients: the way to a connection, and what a failure says."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop, Stream
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, receive


class Echo(Stream):
    def handle_data(self, data: bytes) -> None:
        self.write(data)


class Client(Recorder):
    def handle_data(self, data: bytes) -> None:
        super().handle_data(data)
        self.close()


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def infos(*addresses: tuple[str, int]) -> list[Any]:
    found: list[Any] = []
    for host, port in addresses:
        found += socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return found


@every_backend
def test_a_client_connects_and_what_it_wrote_before_arrives(loop: Loop) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo)
    client = loop.connect(server.address, Client)
    client.write(b"early")
    assert client.seen == []
    poll_until(loop, lambda: client.is_over)
    assert client.seen == ["connect", "data", "close"]
    assert client.got == b"early"
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_a_refusal_names_the_address(loop: Loop) -> None:
    port = closed_port()
    client = loop.connect(("127.0.0.1", port), Client)
    loop.run()
    assert isinstance(client.seen[-1], ConnectionRefusedError)
    assert f"127.0.0.1:{port}" in str(client.seen[-1])
    assert client.seen[:-1] == []


def test_a_name_is_resolved_in_another_thread(loop: Loop) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo)
    threads: list[Any] = []

    def resolver(host: str, port: int) -> list[Any]:
        threads.append(threading.current_thread())
        assert host == "service.example"
        return infos(server.address)

    loop.resolver = resolver
    client = loop.connect(("service.example", 80), Client)
    client.write(b"x")
    poll_until(loop, lambda: client.is_over)
    assert client.got == b"x"
    assert threads[0] is not threading.current_thread()
    server.close()
    poll_until(loop, lambda: not loop.map)


@pytest.mark.parametrize("found", [OSError("no such name"), LookupError("broken"), []])
def test_a_name_that_is_not_found_ends_the_stream(loop: Loop, found: Any) -> None:
    def resolver(host: str, port: int) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    loop.resolver = resolver
    client = loop.connect(("service.example", 80), Client)
    loop.run()
    assert len(client.seen) == 1
    assert isinstance(client.seen[0], Exception)


def test_the_next_address_is_tried_when_one_fails(loop: Loop) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo)
    dead = closed_port()
    loop.resolver = lambda host, port: infos(("127.0.0.1", dead), server.address)
    client = loop.connect(("service.example", 80), Client, delay=60)
    client.write(b"x")
    poll_until(loop, lambda: client.is_over)
    assert client.got == b"x"
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_the_next_address_is_tried_beside_one_that_is_silent(loop: Loop, peers: Peers) -> None:
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(0)
    peers.keep(silent)
    for _ in range(4):  # a full backlog: further connects get no answer
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(silent.getsockname())
        peers.keep(waiting)
    server = loop.listen(("127.0.0.1", 0), Echo)
    loop.resolver = lambda host, port: infos(silent.getsockname(), server.address)
    client = loop.connect(("service.example", 80), Client, delay=0.02)
    client.write(b"x")
    poll_until(loop, lambda: client.is_over)
    assert client.got == b"x"
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_all_addresses_that_failed_are_named(loop: Loop) -> None:
    ports = closed_port(), closed_port()
    loop.resolver = lambda host, port: infos(*(("127.0.0.1", each) for each in ports))
    client = loop.connect(("service.example", 80), Client)
    loop.run()
    assert all(f"127.0.0.1:{port}" in str(client.seen[-1]) for port in ports)


def test_an_aborted_connect_is_told_once(loop: Loop) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo)
    client = loop.connect(server.address, Client)
    client.abort()
    server.close()
    loop.run()
    assert client.seen == ["close"]


def test_a_connect_deadline_bounds_a_slow_name(loop: Loop) -> None:
    held = threading.Event()

    class Hasty(Client):
        connect_deadline = 0.02

    def resolver(host: str, port: int) -> list[Any]:
        held.wait(5)
        return []

    loop.resolver = resolver
    client = loop.connect(("service.example", 80), Hasty)
    poll_until(loop, lambda: client.is_over)
    held.set()
    assert isinstance(client.seen[-1], TimeoutError)
    assert "connect" in str(client.seen[-1])


def test_a_client_connects_to_a_unix_socket(loop: Loop, tmp_path: Path) -> None:
    server = loop.listen(tmp_path / "sock", Echo)
    client = loop.connect(tmp_path / "sock", Client)
    client.write(b"x")
    poll_until(loop, lambda: client.is_over)
    assert client.got == b"x"
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_a_connected_socket_is_taken_over(loop: Loop, peers: Peers) -> None:
    ours, theirs = peers.pair()
    client = loop.connect(ours, Client)
    client.write(b"x")
    assert receive(loop, theirs, 1) == b"x"
    client.abort()


def test_a_client_may_choose_its_own_address(loop: Loop, peers: Peers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = loop.connect(listener.getsockname(), Client, local_address=("127.0.0.3", 0))
        poll_until(loop, lambda: client.connected)
        sock, address = listener.accept()
        peers.keep(sock)
        assert address[0] == "127.0.0.3"
    client.abort()


def test_what_makes_no_stream_is_a_type_error(loop: Loop) -> None:
    with pytest.raises(TypeError, match=r"cyncore\.Stream"):
        loop.connect(("127.0.0.1", 1), dict)  # type: ignore[arg-type]


# What makes no sense is told to the stream


class Wrong(Client):
    async def handle_data(self, data: bytes) -> None:  # type: ignore[override]
        """Nobody awaits it."""


def test_async_handler_of_a_client_ends_it_and_is_logged(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = loop.connect(listener.getsockname(), Wrong)
        poll_until(loop, lambda: stream.is_over)
    (error,) = stream.seen
    assert isinstance(error, TypeError)
    assert "Wrong.handle_data is an async function" in str(error)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_async_handler_of_a_client_with_a_connected_socket_ends_it(loop: Loop, peers: Peers) -> None:
    ours, _ = peers.pair()
    stream = loop.connect(ours, Wrong)
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[0], TypeError)
    assert ours.fileno() == -1


@pytest.mark.parametrize(
    "found",
    [
        [("not", "an", "address")],
        [5],
        [(socket.AF_INET, socket.SOCK_STREAM, 0, "", "no pair")],
        [("INET", socket.SOCK_STREAM, 0, "", ("127.0.0.1", 9))],
    ],
)
def test_resolver_that_returns_nonsense_ends_the_stream(found: Any, loop: Loop) -> None:
    loop.resolver = lambda host, port: found
    stream = loop.connect(("name.invalid", 9), Client)
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[0], (LookupError, TypeError, ValueError))


def test_local_address_that_makes_no_sense_ends_the_stream(loop: Loop) -> None:
    loop.resolver = lambda host, port: infos(("127.0.0.1", 9))
    stream = loop.connect(("name.invalid", 9), Client, local_address=5)  # type: ignore[arg-type]
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[0], TypeError)


def test_a_path_where_nobody_listens_is_named(loop: Loop, tmp_path: Path) -> None:
    client = loop.connect(str(tmp_path / "none"), Client)
    poll_until(loop, lambda: client.is_over)
    assert isinstance(client.seen[-1], FileNotFoundError)
    assert str(tmp_path / "none") in str(client.seen[-1])


def test_a_name_that_is_found_after_the_connect_was_aborted_is_forgotten(loop: Loop) -> None:
    held, found = threading.Event(), threading.Event()

    def resolver(host: str, port: int) -> list[Any]:
        held.wait(5)
        return infos(("127.0.0.1", port))

    loop.resolver = resolver
    server = loop.listen(("127.0.0.1", 0), Echo)
    client = loop.connect(("service.example", server.address[1]), Client)
    client.abort()
    held.set()
    loop.resolver = lambda host, port: found.set() or []  # type: ignore[func-returns-value]
    other = loop.connect(("other.example", 1), Client)
    poll_until(loop, lambda: client.is_over and other.is_over and found.is_set())
    for _ in range(3):
        loop.poll(0.01)
    assert client.seen == ["close"]
    assert server.connections == 0
    server.close()


def test_an_address_to_connect_from_that_is_not_ours_is_told(loop: Loop) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo)
    client = loop.connect(server.address, Client, local_address=("192.0.2.1", 0))
    poll_until(loop, lambda: client.is_over)
    assert isinstance(client.seen[-1], OSError)
    server.close()


def test_an_address_that_fails_at_once_is_followed_by_the_next(loop: Loop) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo)
    port = server.address[1]
    loop.resolver = lambda host, _: infos(("255.255.255.255", port), ("127.0.0.1", port))
    client = loop.connect(("service.example", port), Client)
    client.write(b"x")
    poll_until(loop, lambda: client.is_over)
    assert client.got == b"x"
    server.close()


def test_the_default_context_trusts_no_certificate_of_its_own(loop: Loop, server_tls: ssl.SSLContext) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo, tls=server_tls)
    for _ in range(2):
        client = loop.connect(server.address, Client, tls=True, server_hostname="localhost")
        poll_until(loop, lambda client=client: client.is_over)  # type: ignore[misc]
        assert "the certificate of the peer is refused" in str(client.seen[-1])
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_a_loop_may_be_closed_while_a_name_is_looked_for() -> None:
    begun, held, found = threading.Event(), threading.Event(), threading.Event()

    def resolver(host: str, port: int) -> list[Any]:
        begun.set()
        held.wait(10)
        found.set()
        return []

    with Loop() as loop:
        loop.resolver = resolver
        loop.connect(("service.example", 80), Client)
        poll_until(loop, begun.is_set)
    held.set()
    assert found.wait(10)  # the thread ends without a word: see `filterwarnings` and `nothing_left`


def test_facts_of_tls_have_the_names_of_asyncio(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo, tls=server_tls)
    client = loop.connect(server.address, Client, tls=client_tls, server_hostname="localhost")
    poll_until(loop, lambda: client.connected)
    assert client.get_extra_info("sslcontext") is client_tls
    assert client.get_extra_info("cipher")[1].startswith("TLS")
    assert client.get_extra_info("peercert")["subject"] == ((("commonName", "localhost"),),)
    assert client.get_extra_info("compression", "none") == "none"
    assert client.get_extra_info("alpn", "none") == "none"
    assert client.get_extra_info("anything else", 5) == 5
    client.close()
    server.close()
    poll_until(loop, lambda: not loop.map)
