# SPDX-License-Identifier: MIT
"""examples/http_server.py and examples/http_fast.py: HTTP/1.1 as raw bytes, under curl and under wrk."""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.examples import (
    EXAMPLES,
    PATIENCE,
    Server,
    allowing_descriptors,
    command,
    require_ipv6,
    serving_http,
    tool,
    tool_environment,
    until,
)

MEBIBYTE = 1024 * 1024
TEXT = b"0123456789" * 10
BIG = random.Random(1).randbytes(3 * MEBIBYTE + 17)  # more than any socket buffer takes at once


class Response(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes


class Client:
    """A connection on which a test writes its own bytes."""

    def __init__(self, server: Server) -> None:
        self.sock = socket.create_connection(server.address, PATIENCE)
        self.file = self.sock.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def response(self, *, to_head: bool = False) -> Response:
        """Read one response: exactly its bytes, as its length says."""
        status = self.file.readline()
        assert re.fullmatch(rb"HTTP/1\.1 \d{3} [A-Za-z ()'-]+\r\n", status), status
        fields = {}
        for line in iter(self.file.readline, b"\r\n"):
            assert line.endswith(b"\r\n"), line
            name, _, value = line.decode("latin-1").partition(":")
            assert name.lower() not in fields
            fields[name.lower()] = value.strip()
        code = int(status.split()[1])
        assert email.utils.parsedate(fields["date"])
        empty = to_head or code == 304
        size = 0 if empty else int(fields["content-length"])
        body = self.file.read(size)
        assert len(body) == size
        return Response(code, fields, body)

    def ask(self, target: str, *lines: str, method: str = "GET") -> Response:
        head = [f"{method} {target} HTTP/1.1", "Host: test", *lines, "", ""]
        self.send("\r\n".join(head).encode("latin-1"))
        return self.response(to_head=method == "HEAD")

    def at_end(self) -> bool:
        """Whether the server has closed, with nothing more to read; waits for it."""
        return self.file.read(1) == b""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    (root / "secret").write_bytes(b"not to be served")
    (root / "beside" / "sub").mkdir(parents=True)
    (root / "beside" / "page").write_bytes(b"not to be served")
    (root / "site-too").mkdir()
    (root / "site-too" / "page").write_bytes(b"not to be served")
    site = root / "site"
    (site / "sub" / "deep").mkdir(parents=True)
    (site / "indexed").mkdir()
    (site / "text.txt").write_bytes(TEXT)
    (site / "big.bin").write_bytes(BIG)
    (site / "empty").write_bytes(b"")
    (site / "a b&c;<é>.html").write_bytes(b"<p>odd name</p>")
    (site / "indexed" / "index.html").write_bytes(b"<p>index</p>")
    (site / "packed.txt.gz").write_bytes(gzip.compress(TEXT))
    (site / "sub" / "http:x").write_bytes(b"colon")
    os.mkfifo(site / "pipe")
    for name in (".env", ".git/config", "sub/.hidden", ".well-known/page", ".well-known/.hidden", ".open/page"):
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_bytes(b"dotted")
    link = {
        "out": "../secret",
        "out-folder": "../beside",
        "out-absolute": root / "secret",
        "out-like": "../site-too",
        "sub/out-index": "../../beside/page",
        "round": "round",
        "broken": "none",
        "to-hidden": ".env",
        "to-hidden-folder": ".open",
        "to-text": "text.txt",
        "sub/to-big": site / "big.bin",
        "to-sub": "sub",
        "there-and-back": "../site/text.txt",
    }
    for name, target in link.items():
        (site / name).symlink_to(target)
    (site / "folder-index" / "index.html").mkdir(parents=True)
    (site / "out-index").mkdir()
    (site / "out-index" / "index.html").symlink_to("../../secret")
    for path in (site / "text.txt", site / "big.bin"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return site


@pytest.fixture(scope="module", params=["http_server.py", "http_fast.py"])
def script(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(folder: Path, script: str) -> Iterator[Server]:
    with serving_http(folder, script=script) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server) as client:
        yield client


def test_file(client: Client) -> None:
    response = client.ask("/text.txt")
    assert (response.status, response.body) == (200, TEXT)
    assert response.fields["content-type"] == "text/plain"
    assert response.fields["last-modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert "connection" not in response.fields


def test_big_file(client: Client) -> None:
    assert client.ask("/big.bin").body == BIG


@pytest.mark.parametrize("target", ["/text.txt", "/big.bin", "/", "/empty", "/sub", "/none"])
def test_head_has_the_fields_of_get_and_no_body(client: Client, target: str) -> None:
    head = client.ask(target, method="HEAD")
    get = client.ask(target)  # what a body would leave behind would be read here
    assert head.status == get.status
    assert {**head.fields, "date": ""} == {**get.fields, "date": ""}


def test_keep_alive(client: Client) -> None:
    for _ in range(3):
        assert client.ask("/text.txt").body == TEXT
        assert client.ask("/none").status == 404
        assert client.ask("/empty").body == b""
    assert client.ask("/text.txt", "Connection: Close").fields["connection"] == "close"
    assert client.at_end()


def test_pipelining_keeps_the_order(client: Client) -> None:
    targets = ["/text.txt", "/big.bin", "/empty", "/none", "/big.bin", "/indexed/"] * 20
    client.send("".join(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n" for target in targets).encode())
    for target in targets:
        response = client.response()
        expected = {"/text.txt": TEXT, "/big.bin": BIG, "/empty": b"", "/indexed/": b"<p>index</p>"}.get(target)
        assert response.status == (404 if expected is None else 200)
        assert expected is None or response.body == expected


def test_request_in_single_bytes(client: Client) -> None:
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in b"\r\nGET /text.txt HTTP/1.1\r\nHost: test\r\n\r\n":
        client.send(bytes([byte]))
    assert client.response().body == TEXT


def test_closed_sending_side_still_gets_every_answer(client: Client) -> None:
    client.send(b"GET /big.bin HTTP/1.1\r\nHost: test\r\n\r\n" * 3)
    client.sock.shutdown(socket.SHUT_WR)
    assert [client.response().body == BIG for _ in range(3)] == [True] * 3
    assert client.at_end()


def test_http_1_0(server: Server) -> None:
    with Client(server) as client:
        client.send(b"GET /text.txt HTTP/1.0\r\n\r\n")
        response = client.response()
        assert (response.body, response.fields["connection"]) == (TEXT, "close")
        assert client.at_end()
    with Client(server) as client:
        for _ in range(2):
            client.send(b"GET /text.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            response = client.response()
            assert (response.body, response.fields["connection"]) == (TEXT, "keep-alive")


@pytest.mark.parametrize(("target", "whole"), [("/text.txt", TEXT), ("/big.bin", BIG)])
def test_ranges(client: Client, target: str, whole: bytes) -> None:
    size = len(whole)
    spans = {
        "0-0": (0, 1),
        "10-19": (10, 20),
        "50-": (50, size),
        f"{size - 1}-": (size - 1, size),
        "90-999999999": (90, size),
        "-7": (size - 7, size),
        f"-{size * 2}": (0, size),
    }
    for text, (start, stop) in spans.items():
        response = client.ask(target, f"Range: bytes={text}")
        assert response.status == 206, text
        assert response.fields["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert response.body == whole[start:stop]
    for text in (f"{size}-", f"{size}-{size + 5}", "-0"):
        response = client.ask(target, f"Range: bytes={text}")
        assert response.status == 416, text
        assert response.fields["content-range"] == f"bytes */{size}"
    for text in ("bytes=5-4", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes", "bytes=" + "9" * 30 + "-"):
        response = client.ask(target, f"Range: {text}")
        assert (response.status, response.body) == (200, whole), text


def test_range_of_an_empty_file(client: Client) -> None:
    assert client.ask("/empty", "Range: bytes=0-").status == 416


def test_if_range(client: Client) -> None:
    fields = client.ask("/text.txt").fields
    for validator in (fields["etag"], fields["last-modified"]):
        assert client.ask("/text.txt", "Range: bytes=0-4", f"If-Range: {validator}").body == TEXT[:5]
    for validator in ('"other"', "Sun, 09 Sep 2001 01:46:41 GMT", f"W/{fields['etag']}"):
        response = client.ask("/text.txt", "Range: bytes=0-4", f"If-Range: {validator}")
        assert (response.status, response.body) == (200, TEXT)


@pytest.mark.parametrize("target", ["/text.txt", "/big.bin"])
def test_conditions(client: Client, target: str) -> None:
    tag = client.ask(target, method="HEAD").fields["etag"]
    unmodified = [
        f"If-None-Match: {tag}",
        f'If-None-Match: "x", W/{tag}',
        "If-None-Match: *",
        "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT",
        "If-Modified-Since: Mon, 10 Sep 2001 00:00:00 GMT",
    ]
    for line in unmodified:
        response = client.ask(target, line)
        assert (response.status, response.fields["etag"]) == (304, tag), line
    for line in (
        'If-None-Match: "x"',
        "If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT",
        "If-Modified-Since: some day",
        "If-Modified-Since: Sun, 99 Sep 99999 99:99:99 GMT",
    ):
        assert client.ask(target, line, method="HEAD").status == 200, line
    both = ('If-None-Match: "x"', "If-Modified-Since: Mon, 10 Sep 2001 00:00:00 GMT")
    assert client.ask(target, *both, method="HEAD").status == 200  # the tag wins


def test_listing_and_index(client: Client) -> None:
    listing = client.ask("/")
    assert listing.fields["content-type"] == "text/html; charset=utf-8"
    page = listing.body.decode()
    assert '<a href="./a%20b%26c%3B%3C%C3%A9%3E.html">a b&amp;c;&lt;é&gt;.html</a>' in page
    assert '<a href="./sub/">sub/</a>' in page
    assert "../" not in page
    page = client.ask("/sub/").body.decode()
    assert '<a href="../">' in page
    assert '<a href="./http%3Ax">http:x</a>' in page
    assert client.ask("/indexed/").body == b"<p>index</p>"


def test_folder_without_its_slash_is_redirected(client: Client) -> None:
    for target in ("/sub/deep", "//sub//deep", "/sub/deep?q", "http://elsewhere/sub/deep"):
        response = client.ask(target)
        assert (response.status, response.fields["location"]) == (301, "/sub/deep/")
    assert client.ask("/sub/deep/").status == 200


def test_targets(client: Client) -> None:
    for target in (
        "/%74ext.txt",
        "/text.txt?x=/../",
        "/text.txt#f",
        "http://test/text.txt",
        "/sub/../text.txt",
        "/./text.txt",
    ):
        assert client.ask(target).body == TEXT, target
    for target in ("/a%20b%26c;%3C%C3%A9%3E.html", "/a%20b&c;<\u00c3\u00a9>.html"):  # the bytes of UTF-8, quoted or not
        assert client.ask(target).body == b"<p>odd name</p>", target
    assert client.ask("http://test").status == 200
    for target in ("/text.txt/", "/none", "/pipe", "/" + "x" * 300, "/x%zz", "/text.txt%2F"):
        assert client.ask(target).status == 404, target


def test_nothing_above_the_folder(client: Client) -> None:
    for target in ("/../secret", "/%2e%2e/secret", "/..%2fsecret", "/sub/../../secret", "/sub/..%2f..%2fsecret"):
        assert client.ask(target).status == 404, target
    assert client.ask("/../text.txt").body == TEXT  # '..' at the top stays there


@pytest.mark.parametrize(
    "target",
    ["/.env", "/%2eenv", "/.git/config", "/.git/", "/.git", "/sub/.hidden", "/sub/../.env", "/.well-known/.hidden"],
)
def test_nothing_whose_name_begins_with_a_dot(client: Client, target: str) -> None:
    assert client.ask(target).status == 404
    assert client.ask(target, "Range: bytes=0-1").status == 404


def test_well_known_is_what_it_says(client: Client) -> None:
    assert client.ask("/.well-known/page").body == b"dotted"
    assert client.ask("/.well-known").status == 301


@pytest.mark.parametrize(
    "target",
    [
        "/out",
        "/out-absolute",
        "/out-folder",  # a redirect would tell that there is a folder
        "/out-folder/",
        "/out-folder/page",
        "/out-folder/sub",
        "/out-like/page",
        "/sub/out-index",
        "/to-sub/out-index",
        "/to-hidden",
        "/to-hidden-folder/page",
        "/round",
        "/round/x",
        "/broken",
    ],
)
def test_no_link_leads_out_of_the_folder(client: Client, target: str) -> None:
    assert client.ask(target).status == 404


def test_links_within_the_folder_are_followed(client: Client) -> None:
    assert client.ask("/to-text").body == TEXT
    assert client.ask("/sub/to-big").body == BIG
    assert client.ask("/there-and-back").body == TEXT
    assert client.ask("/to-sub").status == 301
    assert client.ask("/to-sub/http%3Ax").body == b"colon"


def test_listings_name_only_what_is_served(client: Client) -> None:
    names = set(re.findall(r'href="\./([^"]*)"', client.ask("/").body.decode()))
    assert {"text.txt", "to-text", "to-sub/", ".well-known/", "indexed/", "there-and-back"} <= names
    assert not {name for name in names if name.startswith((".", "out", "round", "to-hidden", "broken"))} - {
        ".well-known/",
        "out-index/",
    }
    assert "hidden" not in client.ask("/sub/").body.decode()


def test_an_index_that_leads_out_is_none(client: Client) -> None:
    response = client.ask("/out-index/")
    assert (response.status, "<h1>Folder /out-index/</h1>" in response.body.decode()) == (200, True)
    assert "index.html" not in response.body.decode()


def test_an_index_that_is_a_folder_is_listed(client: Client) -> None:
    assert '<a href="./index.html/">' in client.ask("/folder-index/").body.decode()


def test_a_file_that_becomes_a_link_is_not_served_any_more(client: Client, folder: Path) -> None:
    path = folder / "turning"
    path.unlink(missing_ok=True)  # of the other program's turn
    path.write_bytes(b"for all")
    os.utime(path, (1, 1))
    until(lambda: client.ask("/turning").body == b"for all", "it is served")
    path.unlink()
    path.symlink_to("../secret")
    until(lambda: client.ask("/turning").status == 404, "it is not served")


def test_a_link_that_is_put_in_the_way_meanwhile_is_not_followed(folder: Path) -> None:
    """Between the look where a path leads and the opening of it, somebody exchanges a folder for a link."""
    check = f"""
import os, http_server
site = http_server.Site({str(folder)!r})
folder = {str(folder / "exchanged")!r}
os.mkdir(folder)
with open(os.path.join(folder, "page"), "w") as file:
    file.write("for all")
request = http_server.parse_request(b"GET /exchanged/page HTTP/1.0")
assert site.answer(request).body == b"for all"
resolve = site.place_of

def place_of(path):
    place = resolve(path)
    os.rename(folder, folder + "-away")
    os.symlink("../beside", folder)
    return place

site.place_of = place_of
assert os.path.exists(os.path.join(folder, "page"))
print(site.answer(request).status)
with open(os.path.join(folder, "page")) as file:
    print(file.read())
"""
    words = [sys.executable, "-c", "import cyncore\ncyncore.install()\n" + check]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, cwd=EXAMPLES)
    assert (done.stdout, done.stderr) == ("404\nnot to be served\n", "")


def test_content_types(client: Client) -> None:
    assert client.ask("/indexed/index.html").fields["content-type"] == "text/html"
    assert client.ask("/big.bin").fields["content-type"] == "application/octet-stream"
    packed = client.ask("/packed.txt.gz")
    assert packed.fields["content-type"] == "application/gzip"
    assert "content-encoding" not in packed.fields


def test_unreadable_file(client: Client, folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = folder / "locked"
    path.write_bytes(b"x")
    path.chmod(0)
    assert client.ask("/locked").status == 403


def test_other_methods(client: Client) -> None:
    response = client.ask("/text.txt", "Content-Length: 5", method="POST")  # its body comes below, and is not a request
    assert (response.status, response.fields["allow"]) == (405, "GET, HEAD")
    client.send(b"GET /")
    assert client.ask("*", method="OPTIONS").status == 405
    assert client.ask("/text.txt", method="BREW").status == 501
    assert client.ask("/text.txt").body == TEXT


def test_body_of_a_get_is_skipped(client: Client) -> None:
    body = b"GET /none HTTP/1.1\r\n\r\n" * 10_000
    client.send(b"GET /text.txt HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert client.response().body == TEXT
    assert client.ask("/empty").status == 200


def test_expected_continue_ends_the_connection(client: Client) -> None:
    response = client.ask("/text.txt", "Content-Length: 5", "Expect: 100-continue", method="PUT")
    assert (response.status, response.fields["connection"]) == (405, "close")
    assert client.at_end()


HOST = b"Host: test\r\n"
REFUSED = [
    (400, b"GET /\r\n\r\n"),
    (400, b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n"),
    (400, b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n"),
    (400, b"GET / HTTP/x\r\n" + HOST + b"\r\n"),
    (400, b"\x16\x03\x01 hello\r\n\r\n"),
    (400, b"G(T / HTTP/1.1\r\n" + HOST + b"\r\n"),
    (400, b"GET text.txt HTTP/1.1\r\n" + HOST + b"\r\n"),
    (400, b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n"),
    (400, b"GET / HTTP/1.1\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n" + HOST * 2 + b"\r\n"),
    (400, b"GET / HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n" + HOST + b"Space : x\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n folded\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rc\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n" + HOST + b"A: b\nC: d\r\n\r\n"),
    (400, b"GET / HTTP/1.1\n" + b"Host: test\n\n"),
    (400, b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 1_0\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    (413, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1048577\r\n\r\n"),
    (413, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"),
    (414, b"GET /" + b"x" * 9000),
    (414, b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    (431, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000),
    (431, b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 5000 + b"\r\n"),
    (501, b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    (505, b"GET / HTTP/2.0\r\n" + HOST + b"\r\n"),
]


@pytest.mark.parametrize(("status", "request_bytes"), REFUSED, ids=range(len(REFUSED)))
def test_refused(client: Client, status: int, request_bytes: bytes) -> None:
    client.send(request_bytes)
    response = client.response()
    assert (response.status, response.fields["connection"]) == (status, "close")
    assert client.at_end()


def test_refusal_reaches_a_client_that_is_still_sending(client: Client) -> None:
    """Closed with unread bytes, the socket would reset the connection, and the answer could be lost."""
    client.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + b"8000\r\n" + b"x" * 500_000)
    assert client.response().status == 501


def test_a_changed_file_is_served_anew(client: Client, folder: Path) -> None:
    path = folder / "changing"
    for number in range(50):  # the same size, and within one tick of the file system's clock
        path.write_bytes(b"%03d" % number)
        assert client.ask("/changing").body == b"%03d" % number
    os.utime(path, (1, 1))
    client.ask("/changing")
    path.write_bytes(b"end")
    os.utime(path, (1, 1))
    assert client.ask("/changing").body == b"end"


def test_a_file_that_shrinks_ends_the_connection(client: Client, folder: Path) -> None:
    path = folder / "shrinking"
    path.write_bytes(b"x" * 64 * MEBIBYTE)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.send(b"GET /shrinking HTTP/1.1\r\nHost: test\r\n\r\n")
    for line in iter(client.file.readline, b"\r\n"):
        assert line
    os.truncate(path, MEBIBYTE)
    assert len(client.file.read()) < 64 * MEBIBYTE  # up to the end of the connection


def test_access_log(folder: Path, script: str) -> None:
    with serving_http(folder, "-v", script=script) as server, Client(server) as client:
        client.ask("/text.txt")
        client.ask("/\x1b[1m")
        server.await_error_line(" 127.0.0.1 200 100 GET /text.txt HTTP/1.1")
        server.await_error_line(r" 404 14 GET /\x1b[1m HTTP/1.1")


def test_silent_without_v_and_clean_end(folder: Path, script: str) -> None:
    with serving_http(folder, script=script) as server, Client(server) as client:
        client.ask("/text.txt")
        assert server.interrupt() == 0
        assert client.at_end()
        server.end()
        assert server.errors == b""
        assert server.out().count("\n") == 1


def test_sigterm_lets_an_answer_under_way_come_to_its_end(folder: Path, script: str) -> None:
    with serving_http(folder, script=script) as server, Client(server) as client, Client(server) as idle:
        idle.ask("/text.txt")
        client.send(b"GET /big.bin HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.file.read(1) == b"H"  # the answer has begun, and does not fit into what the kernel holds
        server.process.terminate()
        assert idle.at_end()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.address, PATIENCE)
        rest = client.file.read()
        assert rest[rest.index(b"\r\n\r\n") + 4 :] == BIG
        assert server.process.wait(PATIENCE) == 0
        server.end()
        assert server.errors == b""


def test_a_second_sigterm_ends_the_server_at_once(tmp_path: Path, script: str) -> None:
    (tmp_path / "text.txt").write_bytes(b"text")
    with (tmp_path / "endless.bin").open("wb") as file:
        file.truncate(1 << 30)  # more than sockets hold, so that the first signal does not end it
    with serving_http(tmp_path, script=script) as server, Client(server) as client, Client(server) as idle:
        idle.ask("/text.txt")
        client.send(b"GET /endless.bin HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.file.read(1) == b"H"
        server.process.terminate()
        assert idle.at_end()  # the first one was seen
        server.process.terminate()
        status = server.process.wait(PATIENCE)
        assert status == (0 if script == "http_fast.py" else -signal.SIGTERM)


def test_port_in_use_and_bad_arguments(server: Server, folder: Path, script: str) -> None:
    for args, code, text in (
        (["--port", server.address[1], folder], 1, "cannot listen on 127.0.0.1 port"),
        (["--port", "70000", folder], 2, "70000"),
        ([folder / "none"], 2, "not a folder"),
    ):
        done = subprocess.run(command(script, *args), capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == code
        assert text in done.stderr
        assert "Traceback" not in done.stderr


def test_ipv6(folder: Path, script: str) -> None:
    require_ipv6()
    with serving_http(folder, "--host", "::1", script=script) as server, Client(server) as client:
        assert client.ask("/text.txt").body == TEXT


def test_clients_that_leave_cost_nothing(server: Server) -> None:
    """In the head, in the middle of an answer, with a reset, or without a word: no descriptor stays behind."""
    with Client(server) as client:
        client.ask("/text.txt")
        before = server.descriptors()
        for number in range(40):
            with Client(server) as leaver:
                if number % 4 != 0:
                    leaver.send(b"GET /big.bin HTTP/1.1\r\nHost: test\r\n"[: 20 if number % 4 == 1 else None] + b"\r\n")
                if number % 4 == 2:
                    leaver.file.read(1000)
                if number % 4 == 3:
                    leaver.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        until(lambda: server.descriptors() == before, "descriptors as before")
        assert client.ask("/big.bin").body == BIG
    assert server.errors == b""


# -------------------------------------------------------------------------------------------------------- curl and wrk


@pytest.fixture(scope="module")
def huge(folder: Path) -> str:
    """A file of 100 MB in the folder; its checksum."""
    digest = hashlib.sha256()
    numbers = random.Random(2)
    with open(folder / "huge.bin", "wb") as file:
        for _ in range(100):
            data = numbers.randbytes(1_000_000)
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def url_of(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.address[1]}/{path}"


def curl(*args: object) -> str:
    words = [tool("curl"), "--silent", "--show-error", "--noproxy", "*", *map(str, args)]
    return subprocess.run(
        words, check=True, capture_output=True, text=True, timeout=PATIENCE, env=tool_environment()
    ).stdout


def test_curl_huge_file(server: Server, huge: str, tmp_path: Path) -> None:
    curl("-f", "-o", tmp_path / "got", url_of(server, "huge.bin"))
    assert checksum(tmp_path / "got") == huge


def test_curl_ranges(server: Server, huge: str, folder: Path, tmp_path: Path) -> None:
    whole = (folder / "huge.bin").read_bytes()
    for text, part in (
        ("0-999", whole[:1000]),
        ("50000000-59999999", whole[50_000_000:60_000_000]),
        ("-5", whole[-5:]),
    ):
        assert curl("-r", text, "-o", tmp_path / "part", "-w", "%{http_code}", url_of(server, "huge.bin")) == "206"
        assert (tmp_path / "part").read_bytes() == part
    (tmp_path / "got").write_bytes(whole[:12_345_678])
    curl("-f", "-C", "-", "-o", tmp_path / "got", url_of(server, "huge.bin"))  # goes on where it was broken off
    assert checksum(tmp_path / "got") == huge


def test_curl_keeps_the_connection(server: Server, tmp_path: Path) -> None:
    urls = [url_of(server, "text.txt"), url_of(server, "big.bin"), url_of(server, "none")]
    outputs = [word for number in range(3) for word in ("-o", tmp_path / str(number))]
    connects = curl(*outputs, "-w", "%{num_connects} %{http_code}\n", *urls)
    assert connects.split("\n") == ["1 200", "0 200", "0 404", ""]
    assert (tmp_path / "1").read_bytes() == BIG


def test_curl_condition_and_upload(server: Server, tmp_path: Path) -> None:
    assert curl("-z", "Mon, 10 Sep 2001 00:00:00 GMT", "-w", "%{http_code}", url_of(server, "text.txt")) == "304"
    (tmp_path / "upload").write_bytes(b"x" * 3 * MEBIBYTE)
    code = curl("-T", tmp_path / "upload", "-o", os.devnull, "-w", "%{http_code}", url_of(server, "text.txt"))
    assert code == "413"


def test_curl_that_leaves_in_the_middle(server: Server, huge: str, tmp_path: Path) -> None:
    before = server.descriptors()
    got = tmp_path / "got"
    words = [
        tool("curl"),
        "--silent",
        "--noproxy",
        "*",
        "--limit-rate",
        "2M",
        "-o",
        str(got),
        url_of(server, "huge.bin"),
    ]
    with subprocess.Popen(words, env=tool_environment()) as leaver:
        until(lambda: got.exists() and got.stat().st_size > 100_000, "the first bytes came")
        assert server.descriptors() > before
        leaver.send_signal(signal.SIGKILL)
    assert got.stat().st_size < 100_000_000
    until(lambda: server.descriptors() == before, "descriptors as before")
    assert curl("-f", url_of(server, "text.txt")).encode() == TEXT


# Counts, in every thread of wrk, the responses that are not exactly the file.
WRK_SCRIPT = """
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args)
  local file = io.open(args[1], "rb")
  expected, right, wrong = file:read("*a"), 0, 0
  file:close()
end
function response(status, headers, body)
  if status == 200 and body == expected then right = right + 1 else wrong = wrong + 1 end
end
function done(summary, latency, requests)
  local right, wrong, errors = 0, 0, summary.errors
  for _, thread in ipairs(threads) do right, wrong = right + thread:get("right"), wrong + thread:get("wrong") end
  print(string.format("right %d wrong %d connect %d read %d write %d status %d timeout %d", right, wrong,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
"""


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Lets this process's children have 1,000 connections."""
    with allowing_descriptors(4096):
        yield


@pytest.mark.load
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("many_descriptors")
def test_wrk_with_a_thousand_connections(folder: Path, script: str, huge: str, tmp_path: Path) -> None:
    """Every response is the file, and a big file gets through meanwhile."""
    (tmp_path / "check.lua").write_text(WRK_SCRIPT)
    page = folder / "page.html"
    page.write_bytes(random.Random(3).randbytes(4096))
    with serving_http(folder, script=script) as server:
        before = server.descriptors()
        # How soon answers come is not what is tested: by default wrk calls it an error after 2 s.
        words = [tool("wrk"), "-c1000", "-t2", "-d10s", "--timeout", "30s", "-s", str(tmp_path / "check.lua")]
        words += [url_of(server, "page.html"), "--", str(page)]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=tool_environment()
        ) as load:
            until(lambda: server.descriptors() > 500, "wrk has connected")
            curl("-f", "-o", tmp_path / "got", url_of(server, "huge.bin"))
            report, _ = load.communicate(timeout=60)
        print(report)
        assert checksum(tmp_path / "got") == huge
        assert load.returncode == 0
        assert re.search(r"^right [1-9]\d* wrong 0 connect 0 read 0 write 0 status 0 timeout 0$", report, re.M), report
        until(lambda: server.descriptors() == before, "descriptors as before")
        assert server.errors == b""
        assert server.out().count("\n") == 1
