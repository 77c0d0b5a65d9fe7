# SPDX-License-Identifier: MIT
"""examples/files.py: whole files and parts of them, what is not for strangers, and requests that are wrong."""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.examples import PATIENCE, Server, fetch, serving_stream, tool

BIG = bytes(range(256)) * 20_000
PAGE = b"<p>page</p>"
CHANGED = 1_700_000_000  # when the page was, in seconds since 1970


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outside = tmp_path_factory.mktemp("files")
    folder = outside / "root"
    (folder / "below").mkdir(parents=True)
    (folder / "page.html").write_bytes(PAGE)
    os.utime(folder / "page.html", (CHANGED, CHANGED))
    (folder / "a b%.txt").write_bytes(b"odd name")
    (folder / "empty").touch()
    (folder / "page.html.gz").write_bytes(b"packed")
    (folder / "below" / "big").write_bytes(BIG)
    (folder / ".secret").write_text("secret")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    (outside / "outside").write_text("secret")
    os.symlink(outside / "outside", folder / "link")
    os.symlink(outside, folder / "folder")
    os.mkfifo(folder / "fifo")
    return folder


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    with serving_stream("files.py", "--root", root) as server:
        yield server
    assert server.errors == b""


@pytest.fixture
def client(server: Server) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
    yield connection
    connection.close()


def ask(
    client: http.client.HTTPConnection, path: str, method: str = "GET", **fields: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """An answer: its status, its fields and its body."""
    client.request(method, path, headers={name.replace("_", "-"): value for name, value in fields.items()})
    answer = client.getresponse()
    return answer.status, answer.headers, answer.read()


def say(server: Server, data: bytes) -> bytes:
    """All that is answered to these bytes, until the server hangs up."""
    with socket.create_connection(server.address, PATIENCE) as sock, sock.makefile("rb") as file:
        sock.sendall(data)
        return file.read()


# Files


def test_files_are_served_whole_over_one_connection(client: http.client.HTTPConnection) -> None:
    status, fields, body = ask(client, "/page.html")
    sock = client.sock
    assert (status, body, fields["Content-Type"]) == (200, PAGE, "text/html")
    status, fields, body = ask(client, "/below/big?version=2")
    assert (status, body, fields["Content-Type"]) == (200, BIG, "application/octet-stream")
    assert ask(client, "/empty")[::2] == (200, b"")
    assert ask(client, "/none")[0] == 404
    assert ask(client, "/page.html")[::2] == (200, PAGE)
    assert client.sock is sock


def test_curl_gets_a_file(server: Server) -> None:
    url = "http://{}:{}".format(*server.address)
    assert fetch(f"{url}/page.html") == (200, PAGE)
    assert fetch(f"{url}/below/big", "--range", "1000-1999") == (206, BIG[1000:2000])
    assert fetch(f"{url}/page.html", "--head")[0] == 200


def test_files_go_over_https(root: Path, certificate: Path) -> None:
    with serving_stream("files.py", "--root", root, "--cert", certificate, "--key", certificate) as server:
        url = f"https://localhost:{server.address[1]}/below/big"
        options = "--cacert", str(certificate), "--resolve", "localhost:{1}:{0}".format(*server.address)
        assert fetch(url, *options) == (200, BIG)
        assert fetch(url, *options, "--range", "-1000") == (206, BIG[-1000:])


def test_a_head_has_the_fields_of_the_file_and_no_body(client: http.client.HTTPConnection) -> None:
    status, fields, body = ask(client, "/page.html", "HEAD")
    assert (status, fields["Content-Length"], body) == (200, str(len(PAGE)), b"")
    assert dict(fields) == dict(ask(client, "/page.html")[1])


@pytest.mark.parametrize("path", ["/p%61ge.html", "//page.html", "/%70%61%67%65%2E%68%74%6D%6C", "/page.html?a=%2e"])
def test_a_name_may_be_written_in_other_ways(client: http.client.HTTPConnection, path: str) -> None:
    assert ask(client, path)[::2] == (200, PAGE)


def test_a_name_is_decoded_once(client: http.client.HTTPConnection) -> None:
    assert ask(client, "/a%20b%25.txt")[::2] == (200, b"odd name")
    assert ask(client, "/a%2520b%2525.txt")[0] == 404


def test_a_packed_file_is_not_called_what_is_in_it(client: http.client.HTTPConnection) -> None:
    assert ask(client, "/page.html.gz")[1]["Content-Type"] == "application/octet-stream"


# Parts


@pytest.mark.parametrize(
    ("wanted", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=5119999-", len(BIG) - 1, len(BIG)),
        ("bytes=100-99999999999999999", 100, len(BIG)),
        ("bytes=-1", len(BIG) - 1, len(BIG)),
        ("bytes=-999999999", 0, len(BIG)),
    ],
)
def test_a_part_of_a_file(client: http.client.HTTPConnection, wanted: str, first: int, end: int) -> None:
    status, fields, body = ask(client, "/below/big", Range=wanted)
    assert (status, fields["Content-Range"]) == (206, f"bytes {first}-{end - 1}/{len(BIG)}")
    assert body == BIG[first:end]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/page.html", f"bytes={len(PAGE)}-"),
        ("/page.html", "bytes=999-1000"),
        ("/page.html", "bytes=-0"),
        ("/empty", "bytes=0-"),
        ("/empty", "bytes=-5"),
    ],
)
def test_a_part_that_is_not_there(client: http.client.HTTPConnection, path: str, wanted: str) -> None:
    status, fields, body = ask(client, path, Range=wanted)
    assert (status, fields["Content-Range"]) == (416, "bytes */" + ("0" if path == "/empty" else str(len(PAGE))))
    assert body == b""
    assert ask(client, "/page.html")[::2] == (200, PAGE)


@pytest.mark.parametrize(
    "wanted",
    [
        *("", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "bytes=1-2,4-5", "lines=1-2", "bytes=--1"),
        *("bytes=+1-2", "bytes= 1-2", "bytes=1-2x", "bytes=0x1-", "bytes=\xb2-", "bytes=" + "9" * 5000 + "-"),
    ],
)
def test_a_range_that_means_nothing_is_ignored(client: http.client.HTTPConnection, wanted: str) -> None:
    assert ask(client, "/page.html", Range=wanted)[::2] == (200, PAGE)


def test_a_part_is_sent_if_the_file_is_still_the_same(client: http.client.HTTPConnection) -> None:
    fields = ask(client, "/page.html")[1]
    for known in (fields["ETag"], fields["Last-Modified"]):
        assert ask(client, "/page.html", Range="bytes=1-2", If_Range=known)[::2] == (206, PAGE[1:3])
    for other in ('"other"', formatdate(CHANGED - 5, usegmt=True)):
        assert ask(client, "/page.html", Range="bytes=1-2", If_Range=other)[::2] == (200, PAGE)


# What the client has already


def test_a_file_that_has_not_changed_is_not_sent_again(client: http.client.HTTPConnection) -> None:
    fields = ask(client, "/page.html")[1]
    assert fields["Last-Modified"] == formatdate(CHANGED, usegmt=True)
    for seconds in (0, 1000):
        since = formatdate(CHANGED + seconds, usegmt=True)
        assert ask(client, "/page.html", If_Modified_Since=since)[::2] == (304, b"")
    tag = fields["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        status, fields, body = ask(client, "/page.html", If_None_Match=known)
        assert (status, fields["ETag"], body) == (304, tag, b"")
    assert ask(client, "/page.html")[::2] == (200, PAGE)


def test_a_file_that_has_changed_is_sent(client: http.client.HTTPConnection) -> None:
    assert ask(client, "/page.html", If_Modified_Since=formatdate(CHANGED - 1, usegmt=True))[0] == 200
    later = formatdate(CHANGED + 1000, usegmt=True)
    assert ask(client, "/page.html", If_None_Match='"other"', If_Modified_Since=later)[0] == 200


@pytest.mark.parametrize(
    "since", ["", "x", "Mon, 99 Nov 2023 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +2359", "1" * 5000, "-0000"]
)
def test_a_time_that_is_none_is_ignored(client: http.client.HTTPConnection, since: str) -> None:
    assert ask(client, "/page.html", If_Modified_Since=since)[::2] == (200, PAGE)


# What is not for strangers


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/none", "/.secret", "/.git/config", "/%2esecret", "/link", "/folder/outside", "/folder", "/fifo"),
        *("/../outside", "/below/../../outside", "/%2e%2e/outside", "/..%2foutside", "/below/..", "/.", "/below"),
        *("/page.html%00", "/%00", "/page.html/x", "/" + "x" * 5000, "/%ff%fe", "/%", "/%zz"),
    ],
)
def test_what_is_not_for_strangers_is_not_found(client: http.client.HTTPConnection, path: str) -> None:
    assert ask(client, path)[::2] == (404, b"")
    assert ask(client, "/page.html")[0] == 200


def test_a_file_that_may_not_be_read_is_forbidden(tmp_path: Path) -> None:
    (tmp_path / "locked").write_bytes(b"secret")
    (tmp_path / "locked").chmod(0)
    before: list[str] = []
    if os.geteuid() == 0:  # who may read everything, unless that is taken away
        before = [tool("setpriv"), "--bounding-set", "-dac_override,-dac_read_search"]
    with serving_stream("files.py", "--root", tmp_path, before=before) as server:
        assert fetch("http://{}:{}/locked".format(*server.address)) == (403, b"")


def test_a_file_in_whose_place_a_link_is_put_is_never_followed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "root", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    for place, text in ((folder / "below", b"for you"), (outside, b"a secret")):
        place.mkdir(exist_ok=True)
        (place / "file").write_bytes(text)
    os.symlink(outside, tmp_path / "link")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            os.rename(folder / "below", tmp_path / "kept")
            os.rename(tmp_path / "link", folder / "below")
            os.rename(folder / "below", tmp_path / "link")
            os.rename(tmp_path / "kept", folder / "below")

    with serving_stream("files.py", "--root", folder) as server:
        client = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
        swapper = threading.Thread(target=swap)
        swapper.start()
        try:
            got = {ask(client, "/below/file")[::2] for _ in range(1000)}
        finally:
            done.set()
            swapper.join(PATIENCE)
            client.close()
    assert got <= {(200, b"for you"), (404, b"")}


# Requests


@pytest.mark.parametrize(
    "request_line",
    [
        *(b"nonsense", b"GET", b"GET  /page.html HTTP/1.1", b"GET page.html HTTP/1.1", b"GET /page.html"),
        *(b"GET /page.html HTTP/2.0", b"GET /page.html HTTP/1.1 ", b"GET\t/page.html\tHTTP/1.1", b"\0", b"\xff\xfe"),
        *(b"GET /page.html HTTP/1.1\r\nno field", b"GET /page.html HTTP/1.1\r\nA: b\r\n folded: c"),
        *(b"GET /page.html HTTP/1.1\r\nA: \0", b"GET /page.html HTTP/1.1\r\nA : b"),
        *(b"GET /page.html HTTP/1.1\r\nContent-Length: 5", b"GET /page.html HTTP/1.1\r\nTransfer-Encoding: chunked"),
    ],
)
def test_what_is_no_request_is_refused(server: Server, request_line: bytes) -> None:
    got = say(server, request_line + b"\r\n\r\nGET /page.html HTTP/1.1\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert got.count(b"HTTP/1.1") == 1


def test_other_methods_are_refused(server: Server) -> None:
    assert fetch("http://{}:{}/page.html".format(*server.address), "--data", "x")[0] == 405


@pytest.mark.parametrize("start", [b"GET /", b"GET /page.html HTTP/1.1\r\nField: ", b"\r\n"])
def test_a_head_without_an_end_ends_its_connection_alone(
    server: Server, client: http.client.HTTPConnection, start: bytes
) -> None:
    client.connect()
    with socket.create_connection(server.address, PATIENCE) as sock, pytest.raises(ConnectionError):
        sock.sendall(start + b"x" * 100_000_000)
    assert ask(client, "/page.html")[::2] == (200, PAGE)


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    names = [b"/page.html", b"/none", b"/a%20b%25.txt", b"/page.html"] * 20
    got = say(
        server,
        b"".join(b"GET %b HTTP/1.1\r\n\r\n" % name for name in names)
        + b"GET /empty HTTP/1.1\r\nConnection: close\r\n\r\n",
    )
    bodies = [answer.partition(b"\r\n\r\n")[2] for answer in got.split(b"HTTP/1.1 ")[1:]]
    assert bodies == [PAGE, b"", b"odd name", PAGE] * 20 + [b""]


def test_a_request_in_single_bytes(server: Server) -> None:
    with socket.create_connection(server.address, PATIENCE) as sock, sock.makefile("rb") as file:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in b"GET /page.html HTTP/1.0\r\n\r\n":
            sock.sendall(bytes([place]))
        assert file.read().endswith(b"\r\n\r\n" + PAGE)


def test_many_requests_at_once_are_answered_with_few_files_open(server: Server) -> None:
    requests = b"GET /below/big HTTP/1.1\r\n\r\n" * 99 + b"GET /below/big HTTP/1.1\r\nConnection: close\r\n\r\n"
    before = server.descriptors()
    with socket.create_connection(server.address, PATIENCE) as sock, sock.makefile("rb") as file:
        sock.sendall(requests)
        most = 0
        for _ in range(100):
            for _ in iter(file.readline, b"\r\n"):
                pass
            most = max(most, server.descriptors())
            assert file.read(len(BIG)) == BIG
        assert file.read() == b""
    assert most <= before + 10  # its connection, and the file and folders of one request
