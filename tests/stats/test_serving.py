# SPDX-License-Identifier: MIT
"""`Loop.serve_stats`: what its viewers get, and what they cannot do to the loop."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cyncore import Datagram, Loop, Stream
from cyncore._stats import collector, place
from cyncore._stats.documents import address_text
from cyncore._stats.viewer import MOST_CHANNELS
from tests.support.loops import every_backend
from tests.support.peers import Peers, Recorder, poll_until
from tests.support.streams import connected


class Quiet(Stream):
    def handle_data(self, data: bytes) -> None:
        pass


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime folder of a session, of this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def server(loop: Loop) -> Iterator[Any]:
    made = loop.serve_stats(("127.0.0.1", 0), interval=0.01)
    yield made
    made.close()
    for channel in list(loop.map.values()):
        if isinstance(channel, Stream):
            channel.abort()
    loop.poll(0)


def dial(server: Any) -> socket.socket:
    if isinstance(server.address, tuple):
        sock = socket.create_connection(server.address)
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(server.address)
    sock.setblocking(False)
    return sock


def ask(loop: Loop, server: Any, path: str, *, method: str = "GET", host: str = "localhost") -> tuple[str, str, bytes]:
    """Asks once. Returns the line of the status, the rest of the head, and the body."""
    with dial(server) as sock:
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        found = bytearray()

        def ended() -> bool:
            try:
                data = sock.recv(1 << 20)
            except BlockingIOError:
                return False
            found.extend(data)
            return not data

        poll_until(loop, ended)
    head, _, body = bytes(found).partition(b"\r\n\r\n")
    status, _, rest = head.decode().partition("\r\n")
    return status, rest, body


def looks(data: bytes) -> list[dict[str, Any]]:
    """The whole looks in what a viewer has received."""
    events = data.partition(b"\r\n\r\n")[2].split(b"\n\n")[:-1]
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


def watch(loop: Loop, sock: socket.socket, most: int) -> list[dict[str, Any]]:
    sock.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    found = bytearray()

    def has_all() -> bool:
        try:
            found.extend(sock.recv(1 << 20))
        except BlockingIOError:
            pass
        return len(looks(bytes(found))) >= most

    poll_until(loop, has_all)
    return looks(bytes(found))


# What is shown


@every_backend
def test_metrics_are_what_prometheus_reads(loop: Loop) -> None:
    server = loop.serve_stats(("127.0.0.1", 0))
    status, head, body = ask(loop, server, "/metrics")
    assert status == "HTTP/1.1 200 OK"
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert families["cyncore_loop_accepts"].samples[0].value == 1
    assert families["cyncore_loop_info"].samples[0].labels["backend"] == loop.backend
    buckets = [sample for sample in families["cyncore_loop_lag_seconds"].samples if sample.name.endswith("_bucket")]
    assert buckets[-1].labels["le"] == "+Inf"
    assert [one.value for one in buckets] == sorted(one.value for one in buckets)
    server.close()
    loop.poll(0)


def test_the_page_is_whole_and_asks_nobody_else(loop: Loop, server: Any) -> None:
    status, head, body = ask(loop, server, "/")
    assert status == "HTTP/1.1 200 OK"
    assert "Content-Type: text/html; charset=utf-8" in head
    assert f"Content-Length: {len(body)}" in head
    assert body.strip().endswith(b"</html>")
    assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"https://" not in body


def test_figures_are_shown_as_json(loop: Loop, server: Any) -> None:
    _, _, body = ask(loop, server, "/stats.json")
    found = json.loads(body)
    assert found["backend"] == loop.backend
    assert len(found["lag"]["counts"]) == len(found["lag"]["bounds"]) + 1


def test_channels_come_in_pages(loop: Loop, server: Any, peers: Peers) -> None:
    for _ in range(5):
        connected(peers, loop, Quiet)
    first = json.loads(ask(loop, server, "/channels.json?most=3")[2])
    assert len(first["channels"]) == 3
    second = json.loads(ask(loop, server, f"/channels.json?start={first['next']}&most=1000000")[2])
    assert second["next"] is None
    fds = [channel["fd"] for page in (first, second) for channel in page["channels"]]
    assert fds == sorted(set(fds))
    assert len(fds) == first["of"] == 7  # the listener and the viewer, too


def test_a_page_has_no_more_channels_than_a_tick_can_tell(loop: Loop, server: Any, peers: Peers) -> None:
    for _ in range(MOST_CHANNELS):
        Quiet(peers.pair()[0], loop=loop)
    assert len(json.loads(ask(loop, server, "/channels.json?most=100000")[2])["channels"]) == MOST_CHANNELS


def test_watching_shows_look_after_look_with_rates(loop: Loop, server: Any, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, Quiet)
    theirs.send(b"12345")
    with dial(server) as sock:
        found = watch(loop, sock, 2)
    assert (found[0]["rates"], found[1]["pid"]) == (None, os.getpid())
    assert found[1]["rates"]["ticks"] > 0
    assert stream.socket.fileno() in [channel["fd"] for channel in found[0]["top"]]
    poll_until(loop, lambda: server.viewers == 0)


def test_the_busiest_come_first(loop: Loop, server: Any, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "PIECE", 2)  # many pieces
    monkeypatch.setattr(collector, "BUSIEST", 2)
    made = [connected(peers, loop, Quiet) for _ in range(6)]
    for number, (_, theirs) in enumerate(made):
        theirs.send(bytes(1000 * (number + 1)))
    poll_until(loop, lambda: loop.stats().bytes_in >= 21_000)
    with dial(server) as sock:
        top = watch(loop, sock, 1)[0]["top"]
    assert [channel["bytes_in"] for channel in top] == [6000, 5000]


def test_nothing_is_looked_at_while_nobody_watches(loop: Loop, server: Any) -> None:
    with dial(server) as sock:
        watch(loop, sock, 1)
        assert loop.stats().timers > 0
    poll_until(loop, lambda: server.viewers == 0)
    loop.poll(0)
    assert not server._collector.is_on
    assert loop.stats().timers == 0


# Whom it serves


def test_a_unix_socket_is_for_this_user_alone(loop: Loop, runtime: Path) -> None:
    server = loop.serve_stats(runtime / "figures")
    assert stat.S_IMODE(os.stat(server.address).st_mode) == 0o600
    assert ask(loop, server, "/stats.json", host="anything")[0] == "HTTP/1.1 200 OK"
    server.close()
    assert not (runtime / "figures").exists()
    loop.poll(0)


def test_without_an_address_the_process_can_be_found(loop: Loop, runtime: Path) -> None:
    server = loop.serve_stats()
    with Loop() as other:
        second = other.serve_stats()
        assert place.paths_of(os.getpid()) == [server.address, second.address]
        second.close()
    assert server.address == str(runtime / f"cyncore-{os.getpid()}.sock")
    server.close()
    assert place.paths_of(os.getpid()) == []


def test_a_file_of_an_earlier_process_is_replaced(loop: Loop, runtime: Path) -> None:
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(runtime / f"cyncore-{os.getpid()}.sock"))
    server = loop.serve_stats()
    assert server.address.endswith(f"cyncore-{os.getpid()}.sock")
    server.close()


def test_a_folder_that_others_can_enter_is_refused(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    (tmp_path / f"cyncore-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"cyncore-{os.getuid()}").chmod(0o777)
    with pytest.raises(PermissionError, match="belongs to this user alone"):
        loop.serve_stats()


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.0.2.1", "::", "example.org"])
def test_an_address_that_others_reach_is_refused(loop: Loop, host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        loop.serve_stats((host, 0))


@pytest.mark.parametrize(
    "options", [{"interval": 0}, {"interval": -1}, {"interval": float("inf")}, {"interval": 1e300}, {"max_viewers": 0}]
)
def test_arguments_that_make_no_sense_are_refused(loop: Loop, options: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        loop.serve_stats(("127.0.0.1", 0), **options)


@pytest.mark.parametrize(
    ("host", "status"), [("evil.example", 403), ("127.0.0.1:80", 200), ("[::1]:80", 200), ("", 403)]
)
def test_a_page_from_elsewhere_is_shown_nothing(loop: Loop, server: Any, host: str, status: int) -> None:
    assert ask(loop, server, "/stats.json", host=host)[0].split()[1] == str(status)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 405),
        ("GET", "/nothing", 404),
        ("HEAD", "/", 200),
        ("HEAD", "/channels.json?start=x", 400),
        ("GET", "/channels.json?start=x", 400),
        ("GET", "/channels.json?start=99999999999999999999", 200),
        ("GET", "//[", 400),
    ],
)
def test_other_requests_are_refused(loop: Loop, server: Any, method: str, path: str, status: int) -> None:
    found, _, body = ask(loop, server, path, method=method)
    assert found.split()[1] == str(status)
    assert (body == b"") == (method == "HEAD")


@pytest.mark.parametrize(
    ("data", "status"), [(b"nonsense\r\n\r\n", b"400"), (b"GET / HTTP/1.1\r\n" + b"a" * 9000, b"431")]
)
def test_nonsense_costs_the_viewer_alone(loop: Loop, server: Any, data: bytes, status: bytes) -> None:
    with dial(server) as sock:
        sock.sendall(data)
        found = bytearray()

        def ended() -> bool:
            try:
                more = sock.recv(65536)
            except BlockingIOError:
                return False
            found.extend(more)
            return not more

        poll_until(loop, ended)
    assert found.split(b" ")[1] == status
    assert ask(loop, server, "/stats.json")[0] == "HTTP/1.1 200 OK"


def test_no_more_than_so_many_watch(loop: Loop) -> None:
    server = loop.serve_stats(("127.0.0.1", 0), max_viewers=1)
    with dial(server) as sock:
        watch(loop, sock, 1)
        status, head, _ = ask(loop, server, "/events")
        assert status == "HTTP/1.1 503 Service Unavailable"
        assert "Retry-After" in head
    poll_until(loop, lambda: server.viewers == 0)
    server.close()
    loop.poll(0)


def test_a_viewer_that_does_not_read_misses_looks_and_piles_up_nothing(loop: Loop, server: Any) -> None:
    with dial(server) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        watch(loop, sock, 1)
        (viewer,) = server._watching
        viewer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sizes = []

        def has_missed() -> bool:
            sizes.append(viewer.output_size)
            return server.missed >= 3

        poll_until(loop, has_missed, 3000)
        assert max(sizes) < 100_000
    poll_until(loop, lambda: server.viewers == 0)


def test_closing_ends_those_who_watch(loop: Loop) -> None:
    server = loop.serve_stats(("127.0.0.1", 0))
    with dial(server) as sock:
        watch(loop, sock, 1)
        server.close()
        server.close()
        poll_until(loop, lambda: not loop.map)
    assert server.closed
    assert "closed" in repr(server)


def test_another_thread_can_look_while_the_loop_runs() -> None:
    with Loop() as loop:
        server = loop.serve_stats(("127.0.0.1", 0))
        found: list[bytes] = []

        def look() -> None:
            with socket.create_connection(server.address) as sock:
                sock.sendall(b"GET /stats.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
                while data := sock.recv(65536):
                    found.append(data)
            loop.call_soon_threadsafe(server.close)

        thread = threading.Thread(target=look)
        thread.start()
        loop.run()
        thread.join()
    assert b"".join(found).startswith(b"HTTP/1.1 200 OK")


def test_addresses_are_shown_as_people_write_them() -> None:
    assert [address_text(one) for one in (("::1", 80, 0, 0), ("127.0.0.1", 80), "/run/x", b"\0name", "", None)] == [
        *("[::1]:80", "127.0.0.1:80", "/run/x", "@name"),
        *(None, None),
    ]


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError


@pytest.mark.parametrize("address", [Unspeakable(), (Unspeakable(), 80)])
def test_an_address_that_cannot_be_shown_hides_nobody_else(loop: Loop, server: Any, peers: Peers, address: Any) -> None:
    channel, _ = peers.channel(Recorder, loop.map)
    channel.addr = address
    found = json.loads(ask(loop, server, "/channels.json")[2])["channels"]
    assert len(found) == 3
    assert f"<{type(address).__name__}>" in [one["peer"] for one in found]
    with dial(server) as viewer:
        assert len(watch(loop, viewer, 2)[1]["top"]) == 3
    channel.close()


def test_channels_of_datagrams_are_shown(loop: Loop, server: Any) -> None:
    channel = loop.bind(("127.0.0.1", 0), Datagram)
    found = json.loads(ask(loop, server, "/channels.json")[2])["channels"]
    assert "cyncore.Datagram" in [one["kind"] for one in found]
    with dial(server) as viewer:
        assert "cyncore.Datagram" in [one["kind"] for one in watch(loop, viewer, 1)[0]["top"]]
    channel.abort()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets here")
def test_a_path_that_is_too_long_is_named_with_the_reason(loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"too long: .*xxx") as caught:
        loop.serve_stats(str(tmp_path / ("x" * 200)))
    assert caught.value.errno == errno.ENAMETOOLONG


@pytest.mark.parametrize("address", ["\0figures", b"\0figures"])
def test_an_abstract_name_is_refused(address: Any) -> None:
    with Loop() as loop, pytest.raises(ValueError, match="abstract name"):
        loop.serve_stats(address)


def test_a_closed_server_answers_no_connection_that_was_there() -> None:
    with Loop() as loop:
        server = loop.serve_stats(("127.0.0.1", 0))
        with socket.create_connection(server.address[:2], timeout=5) as client:
            poll_until(loop, lambda: len(loop.map) == 2)
            server.close()
            poll_until(loop, lambda: not loop.map)
            assert client.recv(1) == b""
