# SPDX-License-Identifier: MIT
"""The examples of streams, each with real clients, and ended by SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.examples import EXAMPLES, PATIENCE, Server, tool, tool_environment

READY = r"^ready (?P<host>[0-9.]+):(?P<port>\d+)$"


@contextmanager
def serving(script: str, *args: object) -> Iterator[Server]:
    """An example that runs, and that SIGTERM must end in order."""
    words = [sys.executable, str(EXAMPLES / script), "--port", "0", *map(str, args)]
    server = Server(
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE), READY
    )
    try:
        yield server
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
    finally:
        server.end()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("keys")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def fetch(url: str, *options: str) -> tuple[int, bytes]:
    """The status and the body that curl gets."""
    done = subprocess.run(
        [tool("curl"), "-s", "-w", "%{stderr}%{http_code}", "--path-as-is", "--max-time", "20", *options, url],
        capture_output=True,
        env=tool_environment(),
    )
    return int(done.stderr.decode()[-3:]), done.stdout


def test_the_echo_gives_back_every_byte() -> None:
    data = bytes(range(256)) * 4000
    with serving("stream_echo.py") as server, socket.create_connection(server.address, PATIENCE) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as file:
            assert file.read() == data


def test_the_tls_echo_gives_back_what_it_is_sent(keys: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=str(keys[0]))
    with serving("tls_echo.py", "--cert", keys[0], "--key", keys[1]) as server:
        plain = socket.create_connection(server.address, PATIENCE)
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"
            sock.unwrap()


def test_the_tls_echo_says_why_a_connection_failed(keys: tuple[Path, Path]) -> None:
    with serving("tls_echo.py", "--cert", keys[0], "--key", keys[1]) as server:
        sock = socket.create_connection(server.address, PATIENCE)
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        server.await_error_line("an HTTP request in plain text")
        sock.close()


def test_a_line_in_the_chat_reaches_everybody_else() -> None:
    with serving("chat.py") as server:
        guests = [socket.create_connection(server.address, PATIENCE) for _ in range(3)]
        files = [guest.makefile("rb") for guest in guests]
        names = ["{}:{}".format(*guest.getsockname()).encode() for guest in guests]
        for number, file in enumerate(files):
            assert file.readline() == b"you are %b, one of %d\n" % (names[number], number + 1)
        guests[1].sendall(b"hello\r\n")
        assert files[0].readline() == files[2].readline() == names[1] + b": hello\n"
        guests[0].sendall(b"hi\n")
        assert files[1].readline() == files[2].readline() == names[0] + b": hi\n"
        for each in (*guests, *files):
            each.close()


def test_a_guest_that_does_not_read_is_sent_away_and_the_others_stay() -> None:
    line = b"x" * 999 + b"\n"
    with serving("chat.py") as server:
        talker, reader, sleeper = (socket.create_connection(server.address, PATIENCE) for _ in range(3))
        sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with talker, reader, sleeper, reader.makefile("rb") as heard:
            reader.settimeout(PATIENCE)
            for greeted in (heard, talker.makefile("rb"), sleeper.makefile("rb")):
                greeted.readline()
            before = server.descriptors()
            while server.descriptors() >= before:
                talker.sendall(line * 100)
                for _ in range(100):
                    assert heard.readline().endswith(line)
            talker.sendall(b"still here\n")
            assert heard.readline().endswith(b": still here\n")


def test_a_line_of_the_chat_that_does_not_end_costs_its_guest_alone() -> None:
    with (
        serving("chat.py") as server,
        socket.create_connection(server.address, PATIENCE) as endless,
        socket.create_connection(server.address, PATIENCE) as other,
        other.makefile("rb") as heard,
    ):
        heard.readline()
        endless.sendall(b"x" * 5000)
        with endless.makefile("rb") as told:
            told.readline()
            try:
                assert told.read() == b""
            except ConnectionResetError:
                pass
        with socket.create_connection(server.address, PATIENCE) as third:
            third.sendall(b"hello\n")
            assert heard.readline().endswith(b": hello\n")


def test_the_line_client_prints_the_answers() -> None:
    with serving("stream_echo.py") as server:
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


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "below").mkdir(parents=True)
    (folder / "page.html").write_text("<p>page</p>")
    (folder / "below" / "big").write_bytes(bytes(range(256)) * 20_000)
    (folder / ".secret").write_text("secret")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    (tmp_path / "outside").write_text("secret")
    os.symlink(tmp_path / "outside", folder / "link")
    os.symlink(tmp_path, folder / "folder")
    return folder


def test_files_are_served_whole(root: Path) -> None:
    with serving("files.py", "--root", root) as server:
        url = "http://{}:{}".format(*server.address)
        assert fetch(f"{url}/page.html") == (200, b"<p>page</p>")
        assert fetch(f"{url}/below/big?version=2") == (200, (root / "below" / "big").read_bytes())
        assert fetch(f"{url}/page.html", "--head")[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/none", "/.secret", "/.git/config", "/link", "/folder/outside", "/../outside", "/%2e%2e/outside", "/below"],
)
def test_files_that_are_not_for_strangers_are_not_found(root: Path, path: str) -> None:
    with serving("files.py", "--root", root) as server:
        assert fetch("http://{}:{}".format(*server.address) + path)[0] == 404


def test_files_go_over_https(root: Path, keys: tuple[Path, Path]) -> None:
    with serving("files.py", "--root", root, "--cert", keys[0], "--key", keys[1]) as server:
        url = f"https://localhost:{server.address[1]}/below/big"
        got = fetch(url, "--cacert", str(keys[0]), "--resolve", "localhost:{1}:{0}".format(*server.address))
        assert got == (200, (root / "below" / "big").read_bytes())


def test_files_refuse_what_is_no_request_for_a_file(root: Path) -> None:
    with serving("files.py", "--root", root) as server:
        assert fetch("http://{}:{}/page.html".format(*server.address), "--data", "x")[0] == 405
        with socket.create_connection(server.address, PATIENCE) as sock, sock.makefile("rb") as file:
            sock.sendall(b"nonsense\r\n\r\n")
            assert file.readline() == b"HTTP/1.1 400 Bad Request\r\n"


def test_two_requests_share_a_connection(root: Path) -> None:
    with serving("files.py", "--root", root) as server, socket.create_connection(server.address, PATIENCE) as sock:
        sock.sendall(b"GET /page.html HTTP/1.1\r\n\r\nGET /page.html HTTP/1.1\r\nConnection: close\r\n\r\n")
        with sock.makefile("rb") as file:
            assert file.read().count(b"<p>page</p>") == 2


def test_many_requests_at_once_are_answered_in_order_with_few_files_open(root: Path) -> None:
    big = (root / "below" / "big").read_bytes()
    requests = b"GET /below/big HTTP/1.1\r\n\r\n" * 99 + b"GET /below/big HTTP/1.1\r\nConnection: close\r\n\r\n"
    with serving("files.py", "--root", root) as server, socket.create_connection(server.address, PATIENCE) as sock:
        before = server.descriptors()
        sock.sendall(requests)
        most = 0
        with sock.makefile("rb") as file:
            for _ in range(100):
                for _ in iter(file.readline, b"\r\n"):
                    pass
                most = max(most, server.descriptors())
                assert file.read(len(big)) == big
            assert file.read() == b""
        assert most <= before + 10  # its connection, and the file and folders of one request


def test_the_proxy_joins_a_client_with_its_target(root: Path) -> None:
    with serving("files.py", "--root", root) as target, serving("proxy.py") as proxy:
        url = "http://{}:{}/below/big".format(*target.address)
        options = "--proxytunnel", "--proxy", "http://{}:{}".format(*proxy.address)
        assert fetch(url, *options) == (200, (root / "below" / "big").read_bytes())


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
    with serving("proxy.py") as server, socket.create_connection(server.address, PATIENCE) as sock:
        sock.sendall(request_line + b"\r\n\r\n")
        with sock.makefile("rb") as file:
            assert file.readline().split(b" ")[1] == status
