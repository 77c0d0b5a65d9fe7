# SPDX-License-Identifier: MIT
"""docs/deploy.md: the program is ready when it says so, takes systemd's socket, and ends in order; the units are valid.

What systemd does is done here by its own tools where they are installed, and by its protocols where not.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.docs import block, blocks
from tests.support.examples import PATIENCE, tool, tool_environment
from tests.support.script import ENGINE_FOLDER

PAGE = "docs/deploy.md"
ACTIVATE = "systemd-socket-activate -l 127.0.0.1:7000 --fdname=echo python echo.py"

# Puts the socket where systemd puts it, and becomes the program.
LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "echo"}
os.execv(sys.executable, [sys.executable, "echo.py"])
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is for Linux")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the program in it."""
    text = block(PAGE, "class Echo")
    assert "loop.run()" in text
    (tmp_path / "echo.py").write_text(text, encoding="utf-8")
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [ENGINE_FOLDER, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **more}


@pytest.fixture
def systemd(folder: Path) -> Iterator[socket.socket]:
    """The socket at which systemd is told of a service, which is at ``folder / "notify"``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(folder / "notify"))
        sock.settimeout(PATIENCE)
        yield sock


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """The socket of the unit."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def start(folder: Path, listener: socket.socket) -> subprocess.Popen[bytes]:
    """Starts the service as systemd does."""
    words = [sys.executable, "-c", LAUNCHER, str(listener.fileno())]
    env = environment(NOTIFY_SOCKET=str(folder / "notify"))
    return subprocess.Popen(words, cwd=folder, env=env, pass_fds=[listener.fileno()])


def ask(sock: socket.socket) -> bytes:
    sock.sendall(b"hello")
    return sock.recv(100)


def stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(PATIENCE)


def test_service_says_when_it_is_ready_and_when_it_stops(
    folder: Path, systemd: socket.socket, listener: socket.socket
) -> None:
    process = start(folder, listener)
    try:
        assert systemd.recv(100) == b"READY=1"
        with socket.create_connection(listener.getsockname(), PATIENCE) as sock:
            assert ask(sock) == b"hello"
        assert stop(process) == 0
        assert systemd.recv(100) == b"STOPPING=1"
    finally:
        process.kill()
        process.wait()


def test_clients_wait_while_the_service_restarts(folder: Path, systemd: socket.socket, listener: socket.socket) -> None:
    process = start(folder, listener)
    try:
        assert systemd.recv(100) == b"READY=1"
        assert stop(process) == 0
        with socket.create_connection(listener.getsockname(), PATIENCE) as sock:
            sock.sendall(b"is anybody there?")
            process = start(folder, listener)
            assert sock.recv(100) == b"is anybody there?"
        assert stop(process) == 0
    finally:
        process.kill()
        process.wait()


def test_socket_of_systemd_s_own_tool_is_served(folder: Path) -> None:
    tool("systemd-socket-activate")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()
    tool_name, *words = shlex.split(ACTIVATE.replace("7000", str(address[1])).replace("python", sys.executable))
    env = environment()
    kept = [word for name in ("PYTHONPATH", "CYNCORE_BACKEND") if name in env for word in ("-E", name)]  # by that tool
    process = subprocess.Popen(
        [tool_name, *kept, *words], cwd=folder, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        assert process.stderr is not None
        assert b"Listening on" in process.stderr.readline()
        with socket.create_connection(address, PATIENCE) as sock:  # has the tool start the program
            assert ask(sock) == b"hello"
        assert stop(process) == 0
    finally:
        process.kill()
        process.communicate()


def test_page_shows_that_command() -> None:
    assert block(PAGE, "systemd-socket-activate") == f"{ACTIVATE}\n"


def test_units_are_valid(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    units = {
        "echo.service": block(PAGE, "Type=notify"),
        "echo.socket": block(PAGE, "ListenStream"),
        "old.service": block(PAGE, "Type=exec"),
    }
    for name, text in units.items():
        lines = text.splitlines()
        # the program of the unit is not installed here
        lines = [f"ExecStart={sys.executable}" if line.startswith("ExecStart=") else line for line in lines]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert len(units) == sum(one.language == "ini" for one in blocks(PAGE))
    done = subprocess.run(
        [analyze, "verify", "--man=no", *(str(tmp_path / name) for name in units)],
        env=tool_environment() | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line or line.startswith(tuple(units))] == []
