# SPDX-License-Identifier: MIT
"""The tables of the C load: every one is measured, and a server that answers wrong is found out."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.script import ENGINE_FOLDER

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # it is there already, unless somebody says `pytest` and not `python -m pytest`

from benchmarks.run.compiler import program  # noqa: E402
from benchmarks.run.placement import Placement  # noqa: E402
from benchmarks.run.plan import Plan  # noqa: E402
from benchmarks.run.table import Table  # noqa: E402
from benchmarks.servers.echo_dispatcher import choose_by_turns  # noqa: E402
from benchmarks.tables import bulk, connect, crowd, datagrams, idle, thread  # noqa: E402

TINY = Plan(1, 0.05, 0.02, Placement(pin=False), limit=160, quick=True, connections=4)
PEERS = ("raw C epoll", "cyncore", "cyncore overriding", "asyncio")
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which(os.environ.get("CC", "cc")),
    reason="the load needs Linux and a compiler",
)


TABLES = [bulk.TABLE, connect.TABLE, crowd.TABLE, datagrams.TABLE, idle.TABLE, thread.TABLE]


@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
def test_a_table_is_measured(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), ENGINE_FOLDER])))
    taking_part = [peer for peer in table.peers if peer.name in PEERS]
    text, record = table.run(taking_part, TINY)
    taken = json.loads(json.dumps(record))["series"]
    assert [(one["peer"], one["failures"]) for one in taken if one["failures"]] == []
    assert {one["peer"] for one in taken} == {peer.name for peer in taking_part}
    assert "by uvloop: not measured" in text or table is crowd.TABLE


@pytest.fixture
def answering() -> Iterator[Callable[[Callable[[bytes], bytes]], int]]:
    """Starts a server that answers one message of one connection after the other; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def serve(answer: Callable[[bytes], bytes]) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    while data := connection.recv(1000):
                        connection.sendall(answer(data))
                except OSError:
                    pass  # the load ends with a reset

    def start(answer: Callable[[bytes], bytes]) -> int:
        threads.append(threading.Thread(target=serve, args=(answer,)))
        threads[-1].start()
        return int(listener.getsockname()[1])

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for one in threads:
        one.join()


@pytest.mark.parametrize("load", ["load", "load_connect"])
@pytest.mark.parametrize(
    ("answer", "errors"),
    [(bytes, 0), (lambda data: data[::-1], 1), (lambda data: data + b"!", 1)],
    ids=["right", "garbled", "too much"],
)
def test_every_byte_is_compared(
    answering: Callable[[Callable[[bytes], bytes]], int], load: str, answer: Callable[[bytes], bytes], errors: int
) -> None:
    words = ["--connections", "1", "--seconds", "5", "--warmup", "0", "--count", "20"]
    command = [str(program(load)), "--port", str(answering(answer)), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    report = json.loads(done.stdout)
    assert report["errors"] == errors
    assert (report["messages"] >= 20) is (errors == 0)


@pytest.mark.parametrize(
    ("answers", "errors"),
    [(lambda data: [data], 0), (lambda data: [data[::-1]], 1), (lambda data: [data] * 2, 1), (lambda data: [b""], 1)],
    ids=["right", "garbled", "twice", "empty"],
)
def test_every_datagram_is_compared(answers: Callable[[bytes], list[bytes]], errors: int) -> None:
    words = ["--connections", "1", "--seconds", "5", "--warmup", "0", "--count", "20", "--flight", "1"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.5)
        command = [str(program("load_datagrams")), "--port", str(server.getsockname()[1]), *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
            while load.poll() is None:
                try:
                    data, address = server.recvfrom(1000)
                except (TimeoutError, ConnectionRefusedError):
                    continue
                for answer in answers(data):
                    server.sendto(answer, address)
            assert load.stdout is not None
            report = json.loads(load.stdout.read())
    assert (report["errors"] > 0) is (errors > 0)
    assert (report["messages"] >= 20) is (errors == 0)


def test_only_some_connections_of_a_mixed_server_are_plain() -> None:
    made: list[type] = []

    class Handler:
        def __init__(self, sock: object) -> None:
            made.append(type(self))

    make = choose_by_turns(Handler, 3)
    for number in range(7):
        make(number)
    assert [kind is Handler for kind in made] == [True, False, False, True, False, False, True]
    assert (made[1].readable(None), made[1].writable(None)) == (True, False)
