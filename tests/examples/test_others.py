# SPDX-License-Identifier: MIT
"""examples/echo_server.py, examples/timers.py and examples/README.md."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

from tests.support.examples import EXAMPLES, PATIENCE, READY, Server, serving, until


def test_echo_gives_back_every_byte() -> None:
    data = random.Random(5).randbytes(5_000_000)
    with serving("echo_server.py", "--port", 0, pattern=READY) as server:
        with socket.create_connection(server.address, PATIENCE) as sock:

            def send() -> None:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            with sock.makefile("rb") as file:
                assert file.read() == data
            sender.join(PATIENCE)
        before = server.descriptors()
        for _ in range(5):
            with socket.create_connection(server.address, PATIENCE) as sock:
                sock.sendall(b"hello")
                assert sock.recv(5) == b"hello"
        until(lambda: server.descriptors() <= before, "descriptors as before")
        assert server.interrupt() == 0
        server.end()
        assert server.errors == b""
        assert server.out().count("\n") == 1


def test_the_echo_server_takes_the_port_alone() -> None:
    with serving("echo_server.py", 0, pattern=READY) as server:
        assert server.address[1] != 0
        assert server.terminate() == 0


@contextlib.contextmanager
def busy_echo() -> Iterator[tuple[Server, socket.socket, int]]:
    """An echo server that was told to end, a connection on which it has not sent all back, and how much it took."""
    with (
        serving("echo_server.py", "--port", 0, pattern=READY) as server,
        socket.create_connection(server.address, PATIENCE) as busy,
        socket.create_connection(server.address, PATIENCE) as idle,
    ):
        idle.sendall(b"hello")
        assert idle.recv(5) == b"hello"
        busy.settimeout(1)  # nobody reads the answers: the kernel's buffers fill, and the server reads no more
        sent = 0
        with contextlib.suppress(TimeoutError):
            while True:
                sent += busy.send(bytes(65536))
        busy.settimeout(PATIENCE)
        server.process.terminate()
        assert idle.recv(5) == b""
        yield server, busy, sent


def test_the_echo_server_sends_back_what_it_has_received() -> None:
    with busy_echo() as (server, busy, sent):
        got = 0
        with contextlib.suppress(ConnectionResetError):  # what it has not received by then is lost
            while data := busy.recv(65536):
                got += len(data)
        assert 0 < got <= sent
        assert server.process.wait(PATIENCE) == 0
        server.end()
        assert server.errors == b""


def test_a_second_sigterm_ends_the_echo_server_at_once() -> None:
    with busy_echo() as (server, _, _):
        server.process.terminate()
        assert server.process.wait(PATIENCE) == -signal.SIGTERM


def test_timers() -> None:
    words = [sys.executable, str(EXAMPLES / "timers.py")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    # The first three are due at times of their own, which a busy machine may see together.
    assert sorted(lines[:3]) == ["0.2 s have passed", "a thread computed 499999500000", "received hello"]
    assert lines[3:] == ["silent for 1.0 s: closed", "done"]


def test_readme_names_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text()
    assert set(re.findall(r"\(([a-z_]+\.py)\)", text)) == {path.name for path in EXAMPLES.glob("*.py")}
    assert set(re.findall(r"examples/([a-z_]+\.py)", text)) == {path.name for path in EXAMPLES.glob("*.py")}
