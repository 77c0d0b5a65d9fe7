# SPDX-License-Identifier: MIT
"""Servers: what they listen on, whom they refuse, and what a failing factory costs."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop, Stream
from tests.support.examples import require_ipv6
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, receive


class Echo(Stream):
    def handle_data(self, data: bytes) -> None:
        self.write(data)


@pytest.fixture
def serving(loop: Loop) -> Iterator[Loop]:
    yield loop
    for entry in list(loop.map.values()):
        (entry.abort if isinstance(entry, Stream) else entry.close)()
    loop.poll(0)


def dial(peers: Peers, address: Any, family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family)
    peers.keep(sock)
    sock.settimeout(5)
    sock.connect(address)
    return sock


@every_backend
def test_a_server_makes_a_stream_for_each_connection(loop: Loop, peers: Peers) -> None:
    server = loop.listen(("127.0.0.1", 0), Echo)
    socks = [dial(peers, server.address) for _ in range(20)]
    for number, sock in enumerate(socks):
        sock.sendall(b"%d" % number)
    for number, sock in enumerate(socks):
        assert receive(loop, sock, len(b"%d" % number)) == b"%d" % number
    assert server.connections == 20
    for sock in socks:
        sock.close()
    poll_until(loop, lambda: server.connections == 0)
    server.close()
    assert not loop.map


def test_a_stream_knows_its_server_and_its_peer(serving: Loop, peers: Peers) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = serving.listen(("127.0.0.1", 0), factory)
    sock = dial(peers, server.address)
    poll_until(serving, lambda: made and made[0].connected)
    assert made[0].server is server
    assert made[0].addr == sock.getsockname()
    server.close()


def test_all_addresses_of_both_families_share_a_port(serving: Loop, peers: Peers) -> None:
    server = serving.listen((None, 0), Echo)
    assert len({address[1] for address in server.addresses}) == 1
    sock = dial(peers, ("127.0.0.1", server.address[1]))
    sock.sendall(b"x")
    assert receive(serving, sock, 1) == b"x"
    server.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_a_server_listens_on_ipv6(serving: Loop, peers: Peers) -> None:
    try:
        server = serving.listen(("::1", 0), Echo)
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    sock = dial(peers, server.address, socket.AF_INET6)
    sock.sendall(b"x")
    assert receive(serving, sock, 1) == b"x"
    server.close()


def test_a_closed_server_accepts_nobody_and_keeps_its_streams(serving: Loop, peers: Peers) -> None:
    server = serving.listen(("127.0.0.1", 0), Echo)
    sock = dial(peers, server.address)
    poll_until(serving, lambda: server.connections == 1)
    server.close()
    assert server.closed
    server.close()
    with pytest.raises(ConnectionRefusedError):
        dial(peers, server.address)
    sock.sendall(b"x")
    assert receive(serving, sock, 1) == b"x"


def test_an_address_in_use_is_named(serving: Loop) -> None:
    server = serving.listen(("127.0.0.1", 0), Echo)
    with pytest.raises(OSError, match=f"127.0.0.1:{server.address[1]}"):
        serving.listen(server.address, Echo)
    server.close()


@pytest.mark.parametrize("address", [7000, ["127.0.0.1", 7000], None])
def test_what_is_no_address_is_a_type_error(loop: Loop, address: Any) -> None:
    with pytest.raises(TypeError, match="an address is"):
        loop.listen(address, Echo)


def test_what_is_no_factory_is_a_type_error(loop: Loop) -> None:
    with pytest.raises(TypeError, match="factory"):
        loop.listen(("127.0.0.1", 0), None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="SSLContext"):
        loop.listen(("127.0.0.1", 0), Echo, tls=True)


def test_a_socket_that_is_bound_is_taken_over(serving: Loop, peers: Peers) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = serving.listen(sock, Echo)
    client = dial(peers, server.address)
    client.sendall(b"x")
    assert receive(serving, client, 1) == b"x"
    server.close()
    assert sock.fileno() == -1


def test_a_unix_socket_has_the_mode_that_was_asked_for(serving: Loop, peers: Peers, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    server = serving.listen(path, Echo, mode=0o640)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    client = dial(peers, str(path), socket.AF_UNIX)
    client.sendall(b"x")
    assert receive(serving, client, 1) == b"x"
    server.close()
    assert not path.exists()


def test_the_file_of_a_server_that_is_gone_is_replaced(serving: Loop, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    serving.listen(str(path), Echo).close()


def test_the_file_of_a_server_that_lives_is_kept(serving: Loop, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    server = serving.listen(str(path), Echo)
    with pytest.raises(OSError, match=r"in use.*sock"):
        serving.listen(str(path), Echo)
    assert path.exists()
    server.close()


def test_a_file_that_is_no_socket_is_kept(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(OSError, match="in use"):
        loop.listen(str(path), Echo)
    assert path.read_text() == "precious"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux'")
def test_an_abstract_name_needs_no_file(serving: Loop, peers: Peers) -> None:
    name = f"\0cyncore-test-{os.getpid()}"
    server = serving.listen(name, Echo)
    client = dial(peers, name, socket.AF_UNIX)
    client.sendall(b"x")
    assert receive(serving, client, 1) == b"x"
    server.close()


def test_connections_above_the_limit_are_closed_and_logged_once(
    serving: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    server = serving.listen(("127.0.0.1", 0), Echo, max_connections=2)
    socks = [dial(peers, server.address) for _ in range(5)]
    with caplog.at_level(logging.WARNING, "cyncore"):
        assert [receive(serving, sock, 1) for sock in socks[2:]] == [b""] * 3
    assert server.connections == 2
    assert [record.getMessage() for record in caplog.records if "max_connections, 2" in record.getMessage()]
    assert len(caplog.records) == 1
    socks[0].close()
    poll_until(serving, lambda: server.connections == 1)
    late = dial(peers, server.address)
    late.sendall(b"x")
    assert receive(serving, late, 1) == b"x"
    server.close()


def test_connections_of_one_peer_are_limited(serving: Loop, peers: Peers) -> None:
    server = serving.listen(("127.0.0.1", 0), Echo, max_connections_per_peer=1)
    first = dial(peers, server.address)
    second = dial(peers, server.address)
    assert receive(serving, second, 1) == b""
    other = socket.socket()
    peers.keep(other)
    other.bind(("127.0.0.2", 0))
    other.connect(server.address)
    other.sendall(b"x")
    assert receive(serving, other, 1) == b"x"
    first.close()
    poll_until(serving, lambda: server.connections == 1)
    third = dial(peers, server.address)
    third.sendall(b"x")
    assert receive(serving, third, 1) == b"x"
    server.close()


@pytest.mark.parametrize("made", [LookupError("wrong"), 5, None])
def test_a_factory_that_fails_costs_one_connection(
    serving: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, made: Any
) -> None:
    calls: list[int] = []

    def factory() -> Any:
        calls.append(1)
        if len(calls) > 1:
            return Echo()
        if isinstance(made, Exception):
            raise made
        return made

    server = serving.listen(("127.0.0.1", 0), factory)
    lost = dial(peers, server.address)
    with caplog.at_level(logging.ERROR, "cyncore"):
        assert receive(serving, lost, 1) == b""
    assert caplog.records[0].exc_info is not None
    assert server.connections == 0
    served = dial(peers, server.address)
    served.sendall(b"x")
    assert receive(serving, served, 1) == b"x"
    server.close()


def test_a_class_that_cannot_serve_costs_its_connections(
    serving: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    class Modern(Stream):
        async def handle_data(self, data: bytes) -> None:  # type: ignore[override]
            pass

    server = serving.listen(("127.0.0.1", 0), Modern)
    with caplog.at_level(logging.ERROR, "cyncore"):
        assert receive(serving, dial(peers, server.address), 1) == b""
    assert server.connections == 0
    assert not server.closed
    server.close()


_WORKER = """
import sys, cyncore
class Pid(cyncore.Stream):
    def handle_connect(self):
        import os
        self.write(str(os.getpid()).encode())
        self.close()
with cyncore.Loop() as loop:
    server = loop.listen(("127.0.0.1", int(sys.argv[1])), Pid, reuse_port=True)
    print(server.address[1], flush=True)
    loop.drain_on_signals(1)
    loop.run()
"""


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT")
def test_two_processes_may_listen_on_one_port(peers: Peers) -> None:
    workers = []
    port = 0
    try:
        for _ in range(2):
            workers.append(
                subprocess.Popen([sys.executable, "-c", _WORKER, str(port)], stdout=subprocess.PIPE, text=True)
            )
            assert workers[-1].stdout is not None
            port = int(workers[-1].stdout.readline())
        seen = set()
        for _ in range(200):
            sock = dial(peers, ("127.0.0.1", port))
            seen.add(int(sock.recv(100)))
            sock.close()
            if len(seen) == 2:
                break
        assert seen == {worker.pid for worker in workers}
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            assert worker.wait(10) == 0
            assert worker.stdout is not None
            worker.stdout.close()


def test_socket_file_that_another_server_has_made_meanwhile_stays(
    serving: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(path)
    with socket.socket(socket.AF_UNIX) as other:

        class Probe(socket.socket):
            """Another server replaces the file behind the probe."""

            def connect_ex(self, address: Any) -> int:
                error = super().connect_ex(address)
                os.unlink(path)
                other.bind(path)
                other.listen(5)
                return error

        monkeypatch.setattr("cyncore._net.address.socket.socket", Probe)
        with pytest.raises(OSError, match="in use"):
            serving.listen(path, Stream)
        monkeypatch.undo()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def test_socket_file_that_cannot_be_removed_is_logged(
    serving: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = str(tmp_path / "sock")
    server = serving.listen(path, Stream)
    monkeypatch.setattr("os.unlink", refuse)
    server.close()
    monkeypatch.undo()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "its file cannot be removed: " in record.getMessage()


def test_socket_file_that_somebody_has_removed_is_no_trouble(
    serving: Loop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "sock")
    server = serving.listen(path, Stream)
    os.unlink(path)
    server.close()
    assert caplog.records == []


def test_a_socket_that_cannot_listen_is_closed(loop: Loop) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    with pytest.raises(OSError, match=r"(?i)not supported") as refused:  # in the words of the C library
        loop.listen(sock, Echo)
    assert refused.value.errno == errno.EOPNOTSUPP
    assert sock.fileno() == -1
    assert not loop.map


def test_one_address_of_several_that_is_in_use_frees_the_others(loop: Loop) -> None:
    require_ipv6()
    with socket.socket() as free, socket.socket(socket.AF_INET6) as taken:
        free.bind(("0.0.0.0", 0))
        port = free.getsockname()[1]
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind(("::", port))
        taken.listen()
        free.close()
        with pytest.raises(OSError, match=rf"\[::\]:{port}"):
            loop.listen((None, port), Echo)  # all that it had opened is closed: see `nothing_left`
    assert not loop.map


def test_all_addresses_are_those_of_the_families_that_there_are(serving: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old(socket.socket):
        def __init__(self, family: int = -1, *arguments: Any, **more: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *arguments, **more)

    found = [
        (family, socket.SOCK_STREAM, 0, "", target)
        for family, target in [(socket.AF_INET, ("0.0.0.0", 0)), (socket.AF_INET6, ("::", 0, 0, 0))]
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **more: found)
    monkeypatch.setattr(socket, "socket", Old)
    server = serving.listen((None, 0), Echo)
    assert [address[0] for address in server.addresses] == ["0.0.0.0"]


def test_a_path_that_cannot_be_is_refused_and_leaves_nothing(loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="null"):
        loop.listen(f"{tmp_path}/a\0b", Echo)


@pytest.mark.parametrize("where", ["factory", "handle_connect"])
def test_an_exit_while_a_connection_is_accepted_leaves_the_loop(serving: Loop, peers: Peers, where: str) -> None:
    class Leaving(Stream):
        def __init__(self) -> None:
            if where == "factory":
                raise SystemExit(3)

        def handle_connect(self) -> None:
            raise SystemExit(3)

    server = serving.listen(("127.0.0.1", 0), Leaving)
    dial(peers, server.address)
    with pytest.raises(SystemExit):
        serving.run()


def test_a_connection_that_ends_makes_room_for_one_of_the_same_peer(serving: Loop, peers: Peers) -> None:
    server = serving.listen(("127.0.0.1", 0), Echo, max_connections_per_peer=2)
    first, second = dial(peers, server.address), dial(peers, server.address)
    poll_until(serving, lambda: server.connections == 2)
    first.close()
    poll_until(serving, lambda: server.connections == 1)
    third = dial(peers, server.address)
    for sock in (second, third):
        sock.sendall(b"x")
        assert receive(serving, sock, 1) == b"x"
    assert receive(serving, dial(peers, server.address), 1) == b""


def test_a_server_that_closes_leaves_the_file_of_the_one_that_has_replaced_it(
    serving: Loop, peers: Peers, tmp_path: Path
) -> None:
    path = str(tmp_path / "socket")
    first = serving.listen(path, Echo)
    os.rename(path, tmp_path / "kept")  # or else the new file may have the same inode
    serving.listen(path, Echo)
    first.close()
    sock = dial(peers, path, socket.AF_UNIX)
    sock.sendall(b"x")
    assert receive(serving, sock, 1) == b"x"


def test_a_stale_file_that_somebody_else_removes_is_no_trouble(
    serving: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(path)
    probe = socket.socket.connect_ex

    def removed_meanwhile(sock: socket.socket, address: Any) -> int:
        error = probe(sock, address)
        os.unlink(path)
        return error

    monkeypatch.setattr(socket.socket, "connect_ex", removed_meanwhile)
    server = serving.listen(path, Echo)
    assert server.address == path
