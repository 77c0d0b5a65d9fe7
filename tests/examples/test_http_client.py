# SPDX-License-Identifier: MIT
"""examples/http_client.py: against our server, Debian's nginx, and servers that fail."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.examples import (
    EXAMPLES,
    PATIENCE,
    Server,
    command,
    require_ipv6,
    serving_http,
    tool,
    tool_environment,
    until,
)

TEXT = b"a page\n"
BIG = random.Random(4).randbytes(5_000_000)


def fetch(*args: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command("http_client.py", *args), capture_output=True, timeout=PATIENCE)


def assert_fails(done: subprocess.CompletedProcess[bytes], *texts: str) -> None:
    """Exit code 1, and one line that says why."""
    errors = done.stderr.decode()
    assert done.returncode == 1, errors
    assert errors.startswith("http_client: ")
    assert errors.count("\n") == 1, errors
    for text in texts:
        assert text in errors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    (site / "text.txt").write_bytes(TEXT)
    (site / "big.bin").write_bytes(BIG)
    (site / "a b é.txt").write_bytes(b"odd name")
    return site


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving_http(folder) as server:
        yield server


def free_port() -> int:
    """A port that is free on every loopback address."""
    while True:
        with socket.socket() as sock, contextlib.ExitStack() as stack:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
            try:
                other = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
                other.bind(("::1", 0))  # whether there is IPv6
            except OSError:
                return port
            with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as same:
                same.bind(("::1", port))
                return port


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_our_server(server: Server) -> None:
    base = f"http://127.0.0.1:{server.address[1]}"
    done = fetch(f"{base}/text.txt")
    assert (done.returncode, done.stdout, done.stderr) == (0, TEXT, b"")
    assert fetch(f"{base}/big.bin").stdout == BIG
    assert b"text.txt</a>" in fetch(base).stdout
    for target in ("a b é.txt", "a%20b%20%C3%A9.txt", "a b é.txt?q=1 2#f"):
        assert fetch(f"{base}/{target}").stdout == b"odd name"


def test_our_server_by_name(server: Server) -> None:
    done = fetch(f"http://localhost:{server.address[1]}/text.txt")
    assert (done.returncode, done.stdout) == (0, TEXT)


def test_our_server_over_ipv6(folder: Path) -> None:
    require_ipv6()
    with serving_http(folder, "--host", "::1") as server:
        assert fetch(f"http://[::1]:{server.address[1]}/big.bin").stdout == BIG


def test_several_pages_in_order(server: Server) -> None:
    base = f"http://127.0.0.1:{server.address[1]}"
    done = fetch(f"{base}/text.txt", f"{base}/none", f"{base}/text.txt")
    assert_fails(done, "/none: 404 Not Found")
    assert done.stdout == TEXT + b"404 Not Found\n" + TEXT


NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/temp;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/temp;
    uwsgi_temp_path {folder}/temp;
    scgi_temp_path {folder}/temp;
    server {{ {listen} root {site}; }}
}}
"""


def await_port(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until something listens on the port, or the process has ended."""

    def answers() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    until(lambda: process.poll() is not None or answers(), "nginx is up")


@pytest.fixture(scope="module")
def nginx(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an nginx on 127.0.0.1 and, if there is IPv6, ::1."""
    program = tool("nginx")
    own = tmp_path_factory.mktemp("nginx")
    for _ in range(5):  # another program can take the port before nginx does
        port = free_port()
        listen = f"listen 127.0.0.1:{port};" + (f" listen [::1]:{port};" if has_ipv6() else "")
        (own / "nginx.conf").write_text(NGINX.format(folder=own, site=folder, listen=listen))
        with open(own / "log", "wb") as log:
            words = [program, "-p", str(own), "-c", str(own / "nginx.conf")]
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=tool_environment())
        try:
            await_port(process, port)
            if process.poll() is None:
                yield port
                return
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(PATIENCE)
    pytest.fail(f"nginx does not start: {(own / 'log').read_text()}")


def test_nginx(nginx: int) -> None:
    done = fetch(f"http://127.0.0.1:{nginx}/text.txt", f"http://localhost:{nginx}/big.bin")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == TEXT + BIG
    assert_fails(fetch(f"http://127.0.0.1:{nginx}/none"), "404 Not Found")


def test_nginx_over_ipv6(nginx: int) -> None:
    require_ipv6()
    assert fetch(f"http://[::1]:{nginx}/big.bin").stdout == BIG


def test_nginx_by_a_name_of_ipv6(nginx: int) -> None:
    require_ipv6()
    for name in ("localhost", "ip6-localhost"):
        with contextlib.suppress(OSError):
            socket.getaddrinfo(name, nginx, socket.AF_INET6)
            assert fetch(f"http://{name}:{nginx}/text.txt").stdout == TEXT
            return
    pytest.skip("no name here means ::1")


# Runs the client with a name that has these addresses: what the machine's own names mean differs.
WITH_NAME = """
import runpy, socket, sys
real = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    return [found for address in {addresses} for found in real(address, *args, **kwargs)]
socket.getaddrinfo = getaddrinfo
sys.argv[0] = {client!r}
runpy.run_path({client!r}, run_name="__main__")
"""


@pytest.mark.parametrize("addresses", [("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
@pytest.mark.parametrize("serving", [0, 1])
def test_addresses_are_tried_in_turn(folder: Path, tmp_path: Path, addresses: tuple[str, str], serving: int) -> None:
    require_ipv6()
    script = tmp_path / "with_name.py"
    script.write_text(WITH_NAME.format(addresses=addresses, client=str(EXAMPLES / "http_client.py")))
    with serving_http(folder, "--host", addresses[serving]) as server:
        words = [sys.executable, "-m", "cyncore", str(script), f"http://some.name:{server.address[1]}/text.txt"]
        done = subprocess.run(words, capture_output=True, timeout=PATIENCE)
        assert (done.returncode, done.stdout, done.stderr) == (0, TEXT, b"")
    done = subprocess.run(words, capture_output=True, timeout=PATIENCE)  # nobody serves now
    assert_fails(done, "127.0.0.1 port", "::1 port", "Connection refused")


def test_refused() -> None:
    with socket.socket() as sock:  # bound, so that nobody else takes the port, and not listening
        sock.bind(("127.0.0.1", 0))
        done = fetch(f"http://127.0.0.1:{sock.getsockname()[1]}/")
    assert_fails(done, "Connection refused")
    assert done.stdout == b""


def test_host_that_accepts_and_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert_fails(fetch("--timeout", 1, f"http://127.0.0.1:{sock.getsockname()[1]}/"), "no answer for 1 seconds")


@pytest.mark.skipif(sys.platform != "linux", reason="what a full backlog does differs between systems")
def test_host_that_never_accepts() -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # Linux lets one more than the backlog in, and drops what comes then
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        assert_fails(fetch("--timeout", 1, f"http://127.0.0.1:{full.getsockname()[1]}/"), "no answer for 1 seconds")


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that gives one client these bytes, whatever it asks for; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock = listener.accept()[0]
            with sock:
                sock.recv(65536)
                sock.sendall(answer)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            thread.join(PATIENCE)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-", "without an answer"),
        (b"SSH-2.0-x\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234", "6 bytes too early"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, "does not end"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "302 Found"),
        (b"HTTP/1.1 599 Odd\r\n\r\n", ": 599"),
    ],
)
def test_bad_answers(answer: bytes, text: str) -> None:
    with answering(answer) as url:
        assert_fails(fetch(url), text)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nX: 1\r\ncontent-length: 5\r\n\r\nhello, and more than that",
    ],
)
def test_bodies_with_and_without_a_length(answer: bytes) -> None:
    with answering(answer) as url:
        done = fetch(url)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello", b"")


@pytest.mark.parametrize("url", ["https://localhost/", "localhost:80", "http://", "http://h:port/", "http://[::1/"])
def test_urls_that_are_none(url: str) -> None:
    assert_fails(fetch(url))


@pytest.mark.parametrize("name", ["no.such.name.invalid", "a..b", "x" * 70])
def test_names_that_are_none(name: str) -> None:
    assert_fails(fetch(f"http://{name}/"), "cannot find")


def test_reader_that_leaves(server: Server) -> None:
    """`http_client.py URL | head`: no traceback."""
    words = command("http_client.py", f"http://127.0.0.1:{server.address[1]}/big.bin")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stderr is not None
        assert client.stdout.read(10) == BIG[:10]
        client.stdout.close()
        errors = client.stderr.read().decode()
        assert client.wait(PATIENCE) == 1
    assert "Traceback" not in errors
    assert "Exception" not in errors
