# SPDX-License-Identifier: MIT
"""What examples/http_fast.py does of its own: it answers from memory, and must not where another answer is due.

The rest is held by test_http_server.py, which runs over both programs.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.examples import PATIENCE, Server, serving_http, until

TEXT = b"0123456789" * 10
PAGE = random.Random(2).randbytes(60_000)
SETTLED = 2.5  # seconds; a file that was written later is not remembered
HOST = b"Host: test\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    (root / "text.txt").write_bytes(TEXT)
    (root / "page.bin").write_bytes(PAGE)
    (root / "index.html").write_bytes(b"<p>index</p>")
    (root / "changing").write_bytes(b"before")
    written = (root / "changing").stat().st_ctime
    until(lambda: time.time() - written > SETTLED, "the files have not changed for a while")
    return root


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving_http(folder, script="http_fast.py") as server:
        yield server


def answers(server: Server, *requests: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each, asked one after the other on one connection."""
    got = []
    with socket.create_connection(server.address, PATIENCE) as sock, sock.makefile("rb") as file:
        for request in requests:
            sock.sendall(request)
            got.append(answer(file, head=request.startswith(b"HEAD")))
    return got


def answer(file: object, *, head: bool = False) -> tuple[int, bytes]:
    status = int(file.readline().split()[1])  # type: ignore[attr-defined]
    size = 0
    for line in iter(file.readline, b"\r\n"):  # type: ignore[attr-defined]
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and status != 304 and not head:
            size = int(value)
    return status, file.read(size)  # type: ignore[attr-defined]


def settle(server: Server) -> None:
    """What was sent before has been read by the server when this returns."""
    answers(server, get(b"/none"))


def get(path: bytes = b"/text.txt", fields: bytes = HOST, version: bytes = b"1.1") -> bytes:
    return b"GET " + path + b" HTTP/" + version + b"\r\n" + fields + b"\r\n"


def test_the_same_again(server: Server) -> None:
    assert answers(server, *[get()] * 20) == [(200, TEXT)] * 20
    assert answers(server, *[get(b"/")] * 3) == [(200, b"<p>index</p>")] * 3


def test_fields_that_change_nothing(server: Server) -> None:
    fields = [HOST + b"X-Request: %d\r\nConnection: Keep-Alive\r\n" % number for number in range(300)]
    assert answers(server, get(), *[get(fields=one) for one in fields]) == [(200, TEXT)] * 301


@pytest.mark.parametrize(
    ("fields", "status", "body"),
    [
        (HOST + b"Range: bytes=0-3\r\n", 206, b"0123"),
        (HOST + b"rANGE: bytes=0-3\r\n", 206, b"0123"),
        (HOST + b"If-None-Match: *\r\n", 304, b""),
        (HOST + b"If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n", 304, b""),
        (HOST + b"Transfer-Encoding: chunked\r\n", 501, b"501 Not Implemented\n"),
        (HOST + b"Content-Length: x\r\n", 400, b"400 Bad Request\n"),
        (HOST + HOST, 400, b"400 Bad Request\n"),
        (HOST + b"no colon\r\n", 400, b"400 Bad Request\n"),
        (HOST + b" folded: line\r\n", 400, b"400 Bad Request\n"),
        (HOST + b"A: b\0c\r\n", 400, b"400 Bad Request\n"),
        (HOST + b"A: b\nHost: c\r\n", 400, b"400 Bad Request\n"),
        (b"X: y\r\n", 400, b"400 Bad Request\n"),
        (b"", 400, b"400 Bad Request\n"),
    ],
)
def test_fields_that_change_the_answer(server: Server, fields: bytes, status: int, body: bytes) -> None:
    assert answers(server, get(), get(), get(fields=fields))[2] == (status, body)


@pytest.mark.parametrize("fields", [b"Connection: close\r\n", b"Connection: keep-alive, close\r\n", b"Expect: x\r\n"])
def test_an_end_that_was_asked_for(server: Server, fields: bytes) -> None:
    with socket.create_connection(server.address, PATIENCE) as sock, sock.makefile("rb") as file:
        for request in (get(), get(), get(fields=HOST + fields)):
            sock.sendall(request)
            assert answer(file) == (200, TEXT)
        assert file.read() == b""


def test_another_version_and_another_method(server: Server) -> None:
    asked = [get(), get(), get(version=b"1.0", fields=b"Connection: keep-alive\r\n"), get().replace(b"GET", b"HEAD")]
    assert answers(server, *asked, get()) == [(200, TEXT), (200, TEXT), (200, TEXT), (200, b""), (200, TEXT)]


def test_an_old_client_that_does_not_ask_to_stay(server: Server) -> None:
    with socket.create_connection(server.address, PATIENCE) as sock, sock.makefile("rb") as file:
        sock.sendall(get(version=b"1.0", fields=b"Connection: keep-alive\r\n"))
        assert answer(file) == (200, TEXT)
        sock.sendall(get(version=b"1.0"))
        assert answer(file) == (200, TEXT)
        assert file.read() == b""


def test_a_field_that_looks_like_a_request(server: Server) -> None:
    with socket.create_connection(server.address, PATIENCE) as sock, sock.makefile("rb") as file:
        sock.sendall(get())
        assert answer(file) == (200, TEXT)
        sock.sendall(b"GET /none HTTP/1.1\r\nX: ")
        settle(server)
        sock.sendall(get())
        assert answer(file)[0] == 404


def test_a_body_is_not_taken_for_a_request(server: Server) -> None:
    body = get()
    with socket.create_connection(server.address, PATIENCE) as sock, sock.makefile("rb") as file:
        sock.sendall(get())
        assert answer(file) == (200, TEXT)
        sock.sendall(get(b"/page.bin", HOST + b"Content-Length: %d\r\n" % len(body)))
        assert answer(file) == (200, PAGE)
        sock.sendall(body)  # it looks like what was answered just now
        sock.sendall(get(b"/none"))
        assert answer(file)[0] == 404


def test_in_pieces_and_many_at_once(server: Server) -> None:
    with socket.create_connection(server.address, PATIENCE) as sock, sock.makefile("rb") as file:
        for sent, count in ((get(), 1), (get() + get()[:20], 1), (get()[20:], 1), (get() * 50, 50), (get(), 1)):
            sock.sendall(sent)
            assert [answer(file) for _ in range(count)] == [(200, TEXT)] * count


def test_a_client_that_reads_late_gets_everything(server: Server) -> None:
    count = 200
    with socket.create_connection(server.address, PATIENCE) as sock, sock.makefile("rb") as file:
        for _ in range(count):  # each in a packet of its own; the answers are more than the kernel holds
            sock.sendall(get(b"/page.bin"))
        sock.shutdown(socket.SHUT_WR)
        assert [answer(file) for _ in range(count)] == [(200, PAGE)] * count
        assert file.read() == b""


def test_a_client_that_asks_on_without_reading(server: Server) -> None:
    count = 120
    with socket.socket() as sock:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a packet for each request
        sock.connect(server.address)
        for _ in range(count):
            sock.sendall(get(b"/page.bin"))
            settle(server)
        with sock.makefile("rb") as file:
            assert [answer(file) for _ in range(count)] == [(200, PAGE)] * count


def test_a_changed_file_is_served_soon(server: Server, folder: Path) -> None:
    assert answers(server, get(b"/changing"), get(b"/changing")) == [(200, b"before")] * 2
    (folder / "changing").write_bytes(b"behind")
    until(lambda: answers(server, get(b"/changing")) == [(200, b"behind")], "the file is served anew")


def test_a_file_that_is_gone_is_not_served_for_long(server: Server, folder: Path) -> None:
    path = folder / "index.html"
    assert answers(server, get(b"/index.html"), get(b"/index.html"))[1][0] == 200
    os.rename(path, folder / "away.html")
    try:
        until(lambda: answers(server, get(b"/index.html"))[0][0] == 404, "the file is not found")
    finally:
        os.rename(folder / "away.html", path)
