# SPDX-License-Identifier: MIT
"""TLS as docs/check.md says that it goes wrong (CYN202, CYN203), and as it says that it goes right."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop, TLSError, asyncore, socket_map
from tests.support.docs import bind, names_of, pair_of
from tests.support.examples import PATIENCE
from tests.support.peers import poll_until

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make a certificate with")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and a certificate for example.org."""
    path: Path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=example.org"
    command += " -addext subjectAltName=DNS:example.org"
    subprocess.run([*command.split(), "-keyout", path, "-out", f"{path}.cert"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.cert").read_bytes())
    return path


@pytest.fixture
def server(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(autouse=True)
def trust(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ssl.SSLContext]:
    """What the examples get from `create_default_context` trusts the certificate of these tests."""
    plain = ssl.create_default_context

    def trusting() -> ssl.SSLContext:
        return plain(cafile=str(certificate))

    monkeypatch.setattr(ssl, "create_default_context", trusting)
    bind(monkeypatch)
    return trusting


class Thread(threading.Thread):
    """Says what its function returned, or raises what it raised."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__()
        self._function = function
        self._failed: BaseException | None = None
        self._result: Any = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._failed = error

    def result(self) -> Any:
        self.join()
        if self._failed is not None:
            raise self._failed
        return self._result


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(PATIENCE)
        yield sock


def client_of(names: dict[str, Any], address: tuple[str, int], size: int = 0) -> Any:
    """The example's client, connecting; what it is given goes to `got`."""

    class Client(names["Client"]):  # type: ignore[misc]
        got = b""

        def store(self, data: bytes) -> None:
            self.got += data

        def handle_error(self) -> None:
            self.failed = asyncore.compact_traceback()[1]
            self.close()

    client = Client()
    client.create_socket()
    if size:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
    client.connect(address)
    return client


def talk(listener: socket.socket, context: ssl.SSLContext) -> bytes:
    """The server's end of one conversation, which blocks. Returns what it was asked."""
    sock, _ = listener.accept()
    sock.settimeout(PATIENCE)
    with context.wrap_socket(sock, server_side=True) as tls:
        asked = tls.recv(1000)
        tls.sendall(b"x" * 100_000)
        return asked


def test_handshake_at_once_on_a_channel_s_socket_is_a_value_error(listener: socket.socket) -> None:
    client = client_of(names_of(pair_of("CYN202")[0]), listener.getsockname())
    poll_until(Loop.of(socket_map), lambda: not socket_map)
    assert client.failed is ValueError


def test_client_shakes_hands_asks_and_is_answered(listener: socket.socket, server: ssl.SSLContext) -> None:
    thread = Thread(lambda: talk(listener, server))
    client = client_of(names_of(pair_of("CYN202")[1]), listener.getsockname())
    poll_until(Loop.of(socket_map), lambda: not socket_map)
    assert thread.result() == b"GET / HTTP/1.0\r\n\r\n"
    assert client.got == b"x" * 100_000


def test_client_does_not_spin_while_the_server_is_silent(listener: socket.socket) -> None:
    client = client_of(names_of(pair_of("CYN202")[1]), listener.getsockname())
    sock, _ = listener.accept()
    loop = Loop.of(socket_map)
    with sock:
        poll_until(loop, lambda: client.connected)
        assert sock.recv(1) == b"\x16"  # it has said hello
        assert [loop.poll(0) for _ in range(20)] == [0] * 20
        client.close()


def test_certificate_that_is_not_trusted_closes_the_client(
    listener: socket.socket, server: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    thread = Thread(lambda: talk(listener, server))
    client = client_of(names_of(pair_of("CYN202")[1]), listener.getsockname())
    poll_until(Loop.of(socket_map), lambda: not socket_map)
    assert client.failed is TLSError
    with pytest.raises(OSError, match=r"(?i)alert|certificate|eof|reset"):
        thread.result()


class Listener(asyncore.dispatcher):
    """Gives what it accepts to a class of the example."""

    def __init__(self, kind: Any, context: ssl.SSLContext) -> None:
        super().__init__()
        self.kind, self.context = kind, context
        self.create_socket()
        self.bind(("127.0.0.1", 0))
        self.listen(5)
        self.address = self.socket.getsockname()

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        self.kind(sock, self.context)


def ask(address: tuple[str, int], trusting: Callable[[], ssl.SSLContext]) -> bytes:
    """The client's end of one conversation, which blocks."""
    with (
        socket.create_connection(address, PATIENCE) as sock,
        trusting().wrap_socket(sock, server_hostname="example.org") as tls,
    ):
        tls.sendall(b"hello")
        return tls.recv(100)


def test_peers_that_say_nothing_keep_nobody_waiting(
    server: ssl.SSLContext, trust: Callable[[], ssl.SSLContext]
) -> None:
    names = names_of(pair_of("CYN203")[1])
    listener = Listener(names["Session"], server)
    with socket.create_connection(listener.address, PATIENCE), socket.create_connection(listener.address, PATIENCE):
        poll_until(Loop.of(socket_map), lambda: len(socket_map) == 3)
        thread = Thread(lambda: ask(listener.address, trust))
        poll_until(Loop.of(socket_map), lambda: not thread.is_alive())
        assert thread.result() == b"hello"
    poll_until(Loop.of(socket_map), lambda: len(socket_map) == 1)
    listener.close()


def test_handshake_that_does_not_wait_costs_no_turns(server: ssl.SSLContext) -> None:
    names = names_of(pair_of("CYN203")[1])
    listener = Listener(names["Session"], server)
    loop = Loop.of(socket_map)
    with socket.create_connection(listener.address, PATIENCE):
        poll_until(loop, lambda: len(socket_map) == 2)
        assert [loop.poll(0) for _ in range(20)] == [0] * 20
    poll_until(loop, lambda: len(socket_map) == 1)
    listener.close()


@pytest.mark.parametrize("at_once", [True, False])
def test_handshake_that_waits_for_its_peer_keeps_everybody_waiting(
    server: ssl.SSLContext, trust: Callable[[], ssl.SSLContext], at_once: bool
) -> None:
    """Either in a loop of its own, as the example has it, or in ``wrap_socket()`` on what was just accepted."""

    class AtOnce(asyncore.dispatcher_with_send):
        def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
            super().__init__(context.wrap_socket(sock, server_side=True))

    listener = Listener(AtOnce if at_once else names_of(pair_of("CYN203")[0])["Session"], server)
    kind: Any = listener.kind
    served = threading.Event()
    silent = socket.create_connection(listener.address, PATIENCE)

    def release() -> None:
        started.wait(PATIENCE)
        assert not served.wait(0.2)
        silent.close()

    started = threading.Event()

    def begin(sock: socket.socket, context: ssl.SSLContext) -> None:
        started.set()
        kind(sock, context)

    listener.kind = begin
    thread = Thread(release)
    Loop.of(socket_map).call_later(0.05, served.set)
    with pytest.raises(OSError, match=r"(?i)eof|reset|violation"):
        _until_it_fails(listener)
    thread.result()
    asyncore.close_all()


def _until_it_fails(listener: Listener) -> None:
    failed: list[BaseException] = []

    def note() -> None:
        error = asyncore.sys.exc_info()[1]
        assert error is not None
        failed.append(error)

    listener.handle_error = note  # type: ignore[method-assign]
    poll_until(Loop.of(socket_map), lambda: failed)
    raise failed[0]
