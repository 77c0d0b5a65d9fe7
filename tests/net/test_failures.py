# SPDX-License-Identifier: MIT
"""What fails on the way to a connection or a server: it is named, it costs what it must, and nothing stays open."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cyncore._net.inherited
from cyncore import Loop, Stream, TLSError
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder

# Servers


def test_server_of_all_addresses_does_without_a_family_that_the_system_lacks(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithoutIPv6(socket.socket):
        def __init__(self, family: int = -1, *more: Any, **options: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            super().__init__(family, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", WithoutIPv6)
        patch.setattr(
            socket,
            "getaddrinfo",
            lambda *_, **__: [
                (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("0.0.0.0", 0)),
                (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::", 0, 0, 0)),
            ],
        )
        server = loop.listen((None, 0), Stream)
    assert [address[0] for address in server.addresses] == ["0.0.0.0"]
    server.close()


def test_address_in_use_among_several_closes_the_others(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
            loop.listen(("service.example", port), Stream)
    assert not loop.map


@pytest.mark.parametrize("port", [70_000, -1])
def test_port_that_cannot_be_is_refused(loop: Loop, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(OverflowError):
        loop.listen(("127.0.0.1", port), Stream)
    assert not loop.map


@pytest.mark.parametrize("path", [b"/nowhere/at/all", "/nowhere/at/all"])
def test_path_in_no_folder_is_named(loop: Loop, path: Any) -> None:
    with pytest.raises(FileNotFoundError, match="'/nowhere/at/all'"):
        loop.listen(path, Stream)


def test_path_that_no_file_can_have_is_refused(loop: Loop) -> None:
    with pytest.raises(ValueError, match="null"):
        loop.listen("a\0b", Stream)


def test_socket_that_cannot_listen_is_closed(loop: Loop) -> None:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pytest.raises(OSError):  # noqa: PT011 (what it says is the system's)
        loop.listen(datagrams, Stream)
    assert datagrams.fileno() == -1


@pytest.mark.parametrize("where", ["factory", "handle_connect"])
def test_exit_of_a_connections_program_leaves_the_loop(loop: Loop, peers: Peers, where: str) -> None:
    class Leaving(Stream):
        def handle_connect(self) -> None:
            raise SystemExit("enough")

    def leave() -> Stream:
        raise SystemExit("enough")

    server = loop.listen(("127.0.0.1", 0), leave if where == "factory" else Leaving)
    peers.keep(socket.create_connection(server.address, 5))
    with pytest.raises(SystemExit, match="enough"):
        poll_until(loop, lambda: False, 100)
    server.close()
    for stream in list(loop.map.values()):
        stream.abort()


def test_draining_twice_is_draining_once(loop: Loop) -> None:
    loop.listen(("127.0.0.1", 0), Stream)
    loop.drain(5)
    loop.drain(5)
    loop.run()
    assert not loop.map


# Clients


def test_path_where_nobody_listens_is_named(loop: Loop, tmp_path: Path) -> None:
    stream = loop.connect(tmp_path / "nobody", Recorder)
    loop.run()
    assert isinstance(stream.seen[-1], FileNotFoundError)
    assert str(tmp_path / "nobody") in str(stream.seen[-1])


def test_local_address_of_another_machine_is_an_error_for_each_address(loop: Loop) -> None:
    loop.resolver = lambda host, port: [
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, 9)) for host in ("127.0.0.1", "127.0.0.2")
    ]
    stream = loop.connect(("service.example", 9), Recorder, local_address=("192.0.2.1", 0))
    loop.run()
    (error,) = stream.seen
    assert error.errno == errno.EADDRNOTAVAIL
    assert "127.0.0.1:9" in str(error)
    assert "127.0.0.2:9" in str(error)


def test_default_tls_of_a_client_checks_the_certificate(loop: Loop, server_tls: ssl.SSLContext) -> None:
    server = loop.listen(("127.0.0.1", 0), Stream, tls=server_tls)
    for _ in range(2):
        stream = loop.connect(server.address, Recorder, tls=True, server_hostname="localhost")
        poll_until(loop, lambda stream=stream: stream.is_over)  # type: ignore[misc]
        (error,) = stream.seen
        assert isinstance(error, TLSError)
        assert "certificate" in str(error)
    server.close()
    poll_until(loop, lambda: not loop.map)


def test_name_that_is_found_after_an_abort_is_not_connected_to(loop: Loop) -> None:
    threads: list[threading.Thread] = []
    answer = threading.Event()

    def resolver(host: str, port: int) -> list[Any]:
        threads.append(threading.current_thread())
        answer.wait(5)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", listener.getsockname())]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        loop.resolver = resolver
        stream = loop.connect(("service.example", 9), Recorder)
        poll_until(loop, lambda: threads)
        stream.abort()
        answer.set()
        threads[0].join(5)  # what it has found is on its way to the loop
        loop.poll(0)
        loop.poll(0)
        assert stream.seen == ["close"]
        with pytest.raises(BlockingIOError):
            listener.accept()


@every_backend
def test_many_names_at_once_are_all_resolved(loop: Loop) -> None:
    loop.resolver = lambda host, port: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", server.address)]
    server = loop.listen(("127.0.0.1", 0), Stream)
    streams = [loop.connect((f"host{number}.example", 9), Recorder) for number in range(100)]
    poll_until(loop, lambda: all(stream.connected for stream in streams))
    server.close()
    for stream in streams:
        stream.abort()
    poll_until(loop, lambda: not loop.map)


# Sockets that systemd passes, in this process


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A listening socket, which the environment says was passed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(cyncore._net.inherited, "FIRST", os.dup(listener.fileno()))
        monkeypatch.setattr(cyncore._net.inherited, "_passed", [])
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setenv("LISTEN_FDNAMES", "web")
        yield listener


def test_inherited_sockets_are_taken_once(loop: Loop, passed: socket.socket) -> None:
    found = cyncore.inherited("web")
    assert repr(found) == f"<inherited('web') descriptors [{cyncore._net.inherited.FIRST}]>"
    server = loop.listen(found, Stream)
    assert server.address == passed.getsockname()
    with pytest.raises(RuntimeError, match="taken already"):
        loop.listen(found, Stream)
    server.close()
    with pytest.raises(LookupError, match="no socket"):
        cyncore.inherited()


def test_inherited_descriptor_that_is_closed_is_named(loop: Loop, passed: socket.socket) -> None:
    found = cyncore.inherited()
    os.close(cyncore._net.inherited.FIRST)
    with pytest.raises(OSError, match=f"inherited descriptor {cyncore._net.inherited.FIRST}"):
        loop.listen(found, Stream)


def test_inherited_socket_for_datagrams_is_refused_and_closed(loop: Loop, passed: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        os.dup2(datagrams.fileno(), cyncore._net.inherited.FIRST)
    with pytest.raises(OSError, match="no stream socket"):
        loop.listen(cyncore.inherited(), Stream)
    with pytest.raises(OSError):  # noqa: PT011 (the descriptor is closed)
        os.fstat(cyncore._net.inherited.FIRST)


def test_count_of_inherited_sockets_that_is_no_number_is_refused(
    passed: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "many")
    with pytest.raises(ValueError, match="'many'"):
        cyncore.inherited()
    os.close(cyncore._net.inherited.FIRST)
