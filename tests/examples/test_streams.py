# SPDX-License-Identifier: MIT
"""The examples of streams, each with real clients, and ended by SIGTERM."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.examples import EXAMPLES, PATIENCE, fetch, serving_stream


def test_the_echo_gives_back_every_byte() -> None:
    data = bytes(range(256)) * 4000
    with serving_stream("stream_echo.py") as server, socket.create_connection(server.address, PATIENCE) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as file:
            assert file.read() == data


def test_the_tls_echo_gives_back_what_it_is_sent(certificate: Path) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    with serving_stream("tls_echo.py", "--cert", certificate, "--key", certificate) as server:
        plain = socket.create_connection(server.address, PATIENCE)
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"
            sock.unwrap()


def test_the_tls_echo_says_why_a_connection_failed(certificate: Path) -> None:
    with serving_stream("tls_echo.py", "--cert", certificate, "--key", certificate) as server:
        sock = socket.create_connection(server.address, PATIENCE)
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        server.await_error_line("an HTTP request in plain text")
        sock.close()


def test_the_line_client_prints_the_answers() -> None:
    with serving_stream("stream_echo.py") as server:
        words = [sys.executable, str(EXAMPLES / "line_client.py"), "--port", str(server.address[1])]
        done = subprocess.run([*words, "one", "two"], capture_output=True, text=True, timeout=PATIENCE)
        assert (done.returncode, done.stdout, done.stderr) == (0, "one\ntwo\n", "")
        done = subprocess.run(words, input="three\n", capture_output=True, text=True, timeout=PATIENCE)
        assert done.stdout == "three\n"


def test_the_line_client_says_why_it_failed() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        words = [sys.executable, str(EXAMPLES / "line_client.py"), "--port", str(closed.getsockname()[1]), "x"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert "Connection refused" in done.stderr


def test_the_proxy_joins_a_client_with_its_target(tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    (tmp_path / "big").write_bytes(data)
    with serving_stream("files.py", "--root", tmp_path) as target, serving_stream("proxy.py") as proxy:
        url = "http://{}:{}/big".format(*target.address)
        options = "--proxytunnel", "--proxy", "http://{}:{}".format(*proxy.address)
        assert fetch(url, *options) == (200, data)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", b"405"),
        (b"nonsense", b"400"),
        (b"CONNECT nowhere HTTP/1.1", b"400"),
        (b"CONNECT host:99999 HTTP/1.1", b"400"),
        (b"CONNECT 127.0.0.1:1 HTTP/1.1", b"502"),
    ],
)
def test_the_proxy_says_what_is_wrong(request_line: bytes, status: bytes) -> None:
    with serving_stream("proxy.py") as server, socket.create_connection(server.address, PATIENCE) as sock:
        sock.sendall(request_line + b"\r\n\r\n")
        with sock.makefile("rb") as file:
            assert file.readline().split(b" ")[1] == status
