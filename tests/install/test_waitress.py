# SPDX-License-Identifier: MIT
"""waitress, as it is installed, serves on cyncore's loop: in one command, or after `cyncore.install()`."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.script import ENGINE_FOLDER, run_script, send_signal

APP = """
import sys, threading

def describe():
    import waitress
    from waitress import channel, server, trigger, wasyncore
    kinds = channel.HTTPChannel, server.TcpWSGIServer, trigger.trigger
    yield " ".join(sorted({base.__module__ for kind in kinds for base in kind.__mro__[:-1]}))
    yield f"{wasyncore.__name__} {waitress.wasyncore is wasyncore is sys.modules['waitress.wasyncore']}"

def app(environ, start_response):
    path, body = environ["PATH_INFO"], environ["wsgi.input"].read()
    start_response("200 OK", [("X-Thread", threading.current_thread().name), ("X-Read", str(len(body)))])
    if path == "/large":  # without a length: in chunks
        return (b"%07d." % (part % 10**7) * 8192 for part in range(160))
    return ["\\n".join(describe()).encode()] if path == "/described" else [body or b"hello"]
"""
OURS = "cyncore cyncore.wasyncore waitress.channel waitress.server waitress.trigger"


class Server:
    def __init__(self, process: subprocess.Popen[str], port: int, said: str) -> None:
        self.process = process
        self.port = port
        self.said = said  # before it served

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def dialled(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def get(self, path: str = "/", body: object = None) -> tuple[bytes, http.client.HTTPResponse]:
        client = self.connect()
        try:
            client.request("POST" if body else "GET", path, body)  # type: ignore[arg-type]
            response = client.getresponse()
            return response.read(), response
        finally:
            client.close()


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[Server]:
    """waitress with `APP`, started with these words of Python's, until the end of the block."""
    (folder / "program.py").write_text(APP)
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), ENGINE_FOLDER]))
    with subprocess.Popen(
        # a debug build tells of what is not closed where nobody asks for it
        [sys.executable, "-W", "ignore::ResourceWarning", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            said = ""
            for line in process.stdout:
                found = re.search(r"Serving on http://127\.0\.0\.1:(\d+)", line)
                if found:
                    yield Server(process, int(found[1]), said)
                    break
                said += line
            else:
                raise AssertionError(said)
        finally:
            process.kill()


ONE_COMMAND = ("-m", "cyncore", "-m", "waitress", "--listen=127.0.0.1:0", "program:app")


def chunks(*parts: bytes) -> Iterator[bytes]:
    yield from parts


def test_one_command_serves_on_cyncore_s_loop(tmp_path: Path) -> None:
    with serving(tmp_path, *ONE_COMMAND) as server:
        described = server.get("/described")[0].decode().splitlines()
        assert [name for name in described[0].split() if not name.startswith("cyncore._")] == OURS.split()
        assert described[1] == "cyncore.wasyncore True"
        assert server.said == ""


def test_plain_waitress_is_left_alone(tmp_path: Path) -> None:
    with serving(tmp_path, *ONE_COMMAND[2:]) as server:
        assert b"cyncore" not in server.get("/described")[0]


def test_script_of_waitress_serves_on_cyncore_s_loop(tmp_path: Path) -> None:
    source = "import sys; from waitress.runner import run; sys.exit(run())"
    (tmp_path / "waitress-serve").write_text(source)
    with serving(tmp_path, "-m", "cyncore", "waitress-serve", *ONE_COMMAND[4:]) as server:
        assert server.get("/described")[0].endswith(b"cyncore.wasyncore True")


def test_program_that_installs_first_serves_on_cyncore_s_loop(tmp_path: Path) -> None:
    source = (
        "import logging; logging.basicConfig(level=logging.INFO); import cyncore; cyncore.install()\n"
        "import waitress, program; waitress.serve(program.app, listen='127.0.0.1:0')\n"
    )
    (tmp_path / "main.py").write_text(source)
    with serving(tmp_path, "main.py") as server:
        assert server.get("/described")[0].endswith(b"cyncore.wasyncore True")
        assert server.said == ""


def test_connection_is_kept_for_many_requests_in_worker_threads(tmp_path: Path) -> None:
    with serving(tmp_path, *ONE_COMMAND) as server:
        client = server.connect()
        threads = set()
        for number in range(50):
            client.request("POST", "/", b"%d" % number)
            response = client.getresponse()
            assert response.read() == b"%d" % number
            threads.add(response.headers["X-Thread"])
        client.close()
        assert threads
        assert "MainThread" not in threads


def test_large_answer_comes_whole_in_chunks(tmp_path: Path) -> None:
    with serving(tmp_path, *ONE_COMMAND) as server:
        body, response = server.get("/large")
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert body == b"".join(b"%07d." % part * 8192 for part in range(160))


def test_large_bodies_are_read_whole(tmp_path: Path) -> None:
    with serving(tmp_path, *ONE_COMMAND) as server:
        body = os.urandom(3_000_000)
        assert server.get("/", body)[0] == body
        assert server.get("/", chunks(body[:1000], body[1000:]))[0] == body  # in chunks


def test_client_that_waits_to_be_told_is_told_to_continue(tmp_path: Path) -> None:
    with serving(tmp_path, *ONE_COMMAND) as server, server.dialled() as client:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 3\r\n\r\n"
        client.sendall(head)
        with client.makefile("rb") as file:
            assert (file.readline(), file.readline()) == (b"HTTP/1.1 100 Continue\r\n", b"\r\n")
            client.sendall(b"abc")
            assert file.read().endswith(b"\r\n\r\nabc")


def test_requests_that_come_at_once_are_answered_in_order(tmp_path: Path) -> None:
    with serving(tmp_path, *ONE_COMMAND) as server, server.dialled() as client:
        requests = [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n%03d" % n for n in range(20)]
        last = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        client.sendall(b"".join([*requests, last]))
        said = b"".join(iter(lambda: client.recv(65536), b""))
        assert re.findall(rb"\r\n\r\n(\d\d\d)", said) == [b"%03d" % n for n in range(20)]


def test_clients_at_once_are_all_answered(tmp_path: Path) -> None:
    with serving(tmp_path, *ONE_COMMAND) as server:
        bodies: list[bytes] = []

        def ask() -> None:
            bodies.append(server.get("/", os.urandom(10_000))[0])

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [len(body) for body in bodies] == [10_000] * 20


def test_silent_connection_is_closed_after_its_time(tmp_path: Path) -> None:
    words = (*ONE_COMMAND[:-1], "--channel-timeout=1", "--cleanup-interval=1", ONE_COMMAND[-1])
    with serving(tmp_path, *words) as server, server.dialled() as client:
        assert client.recv(10) == b""


@pytest.mark.skipif(os.name != "posix", reason="elsewhere these are no signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_as_they_end_plain_waitress(tmp_path: Path, number: signal.Signals) -> None:
    ends = []
    for words in ONE_COMMAND, ONE_COMMAND[2:]:
        with serving(tmp_path, *words) as server:
            assert server.get()[0] == b"hello"
            send_signal(server.process, number)
            try:
                said = server.process.communicate(timeout=20)[0]
            except subprocess.TimeoutExpired:
                server.process.send_signal(signal.SIGABRT)  # it shows what its threads do
                said = server.process.communicate(timeout=20)[0]
            lines = [line for line in said.splitlines() if "queue depth" not in line]  # of how busy the machine was
            ends.append((server.process.wait(20), lines))
    assert ends[0] == ends[1]


# What install() does


def test_install_binds_the_copy_before_and_after_its_package() -> None:
    for order in "cyncore.install(); import waitress\n", "import waitress, waitress.wasyncore; cyncore.install()\n":
        start = "import sys, types, cyncore\n"
        if order.startswith("import"):  # whose own modules would use the copy at once
            start += "package = sys.modules['waitress'] = types.ModuleType('waitress'); package.__path__ = [PATH]\n"
        start += f"from importlib.util import find_spec\n{order}from waitress import wasyncore\n"
        path = "__import__('importlib.util').util.find_spec('waitress').submodule_search_locations[0]"
        run_script(
            f"path = {path}\n{start.replace('PATH', 'path')}"
            "assert waitress.wasyncore is wasyncore is sys.modules['waitress.wasyncore'] is cyncore.wasyncore\n"
        )


def test_copy_that_is_in_use_stays_and_that_is_told_once() -> None:
    said = run_script(
        "import sys, io; sys.stderr = io.StringIO()\nimport waitress, cyncore; own = waitress.wasyncore\n"
        "cyncore.install(); cyncore.install(replace=True); import asyncore; assert asyncore is cyncore.asyncore\n"
        "from waitress import wasyncore; assert wasyncore is own is sys.modules['waitress.wasyncore']\n"
        "assert waitress.server.wasyncore is own; print(sys.stderr.getvalue(), end='')\n"
    )
    assert said == (
        "waitress.wasyncore is in use already and keeps its own loop, which is not cyncore's: call cyncore.install() "
        "before anything imports it, or start the program with `python -m cyncore -m waitress`\n"
    )


def test_copy_that_is_in_use_is_refused_where_it_is_asked_for() -> None:
    said = run_script(
        "import waitress, cyncore\n"
        "try: cyncore.install(replace_copies=['waitress.wasyncore'])\n"
        "except cyncore.InstallError as error: print(error)\n"
    )
    assert said.startswith("another copy of waitress.wasyncore is in use")
    assert "waitress.server.TcpWSGIServer" in said or "waitress.server.BaseWSGIServer" in said
    assert re.search(r"waitress.wasyncore is .*wasyncore\.py \(waitress \d", said)


def test_module_of_its_name_is_reloaded_as_what_it_is() -> None:
    run_script(
        "import cyncore, importlib; cyncore.install(); import waitress\n"
        "assert importlib.reload(waitress.wasyncore) is cyncore.wasyncore is waitress.wasyncore\n"
        "assert waitress.wasyncore.__spec__.name == 'cyncore.wasyncore'\n"
    )
