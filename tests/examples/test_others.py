# SPDX-License-Identifier: MIT
"""examples/echo_server.py, examples/timers.py and examples/README.md."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import sys
import threading

from tests.support.examples import EXAMPLES, PATIENCE, READY, serving, until


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


def test_sigterm_ends_the_echo_server() -> None:
    with serving("echo_server.py", "--port", 0, pattern=READY) as server:
        with socket.create_connection(server.address, PATIENCE) as sock:
            sock.sendall(b"hello")
            assert sock.recv(5) == b"hello"
            assert server.terminate() == 0
            assert sock.recv(5) == b""
        server.end()
        assert server.errors == b""


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
