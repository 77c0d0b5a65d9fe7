# SPDX-License-Identifier: MIT
"""What docs/start.md and docs/tutorial.md tell their reader to do is done: the servers are started, and talked to."""

from __future__ import annotations

import contextlib
import mailbox
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.docs import block
from tests.support.examples import PATIENCE, tool, tool_environment, until
from tests.support.script import ENGINE_FOLDER, run_script

START = "docs/start.md"
PAGE = "docs/tutorial.md"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGTERM ends no program in order elsewhere")


@pytest.fixture
def ports() -> dict[str, str]:
    """The ports of the pages, and free ones in their place."""
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(4)]
    return {str(7000 + number): str(port) for number, port in enumerate(free)}


def on(ports: dict[str, str], text: str) -> str:
    """A program of the page on the ports that are free."""
    for theirs, ours in ports.items():
        text = text.replace(theirs, ours)
    return text


def python(command: str) -> list[str]:
    """A command of the page, for this Python."""
    words = shlex.split(command)
    assert words[0] == "python"
    return [sys.executable, *words[1:]]


def is_served(port: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(port)), PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


@contextlib.contextmanager
def serving(folder: Path, command: str, text: str, port: str) -> Iterator[subprocess.Popen[str]]:
    """Writes a program into the file that the command names, and runs the command until the block ends."""
    words = python(command)
    (folder / words[-1]).write_text(text, encoding="utf-8")
    path = os.pathsep.join(filter(None, [ENGINE_FOLDER, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        words, cwd=folder, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
    )
    try:
        until(lambda: process.poll() is not None or is_served(port), f"{command} serves")
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


def said_at_the_end(process: subprocess.Popen[str]) -> str:
    """Ends a server as its supervisor does. Returns what it has printed."""
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    return printed


def test_echo_server_of_the_first_page_answers_its_client(tmp_path: Path, ports: dict[str, str]) -> None:
    text = on(ports, block(START, "class Echo"))
    with serving(tmp_path, "python echo.py", text, ports["7000"]) as process:
        assert run_script(on(ports, block(START, "sock.recv(100)"))) == "b'hello'\n"
        assert said_at_the_end(process) == ""


def test_echo_server_tells_of_its_client(tmp_path: Path, ports: dict[str, str]) -> None:
    text = on(ports, block(PAGE, "class Echo"))
    with serving(tmp_path, "python echo.py", text, ports["7000"]) as process:
        assert run_script(on(ports, block(PAGE, "echo.recv(100)"))) == "b'does anybody hear me?'\n"
        lines = said_at_the_end(process).splitlines()
    assert sorted(line.split()[0] for line in lines) == ["goodbye,"] * 2 + ["hello,"] * 2  # one has only looked
    assert [line for line in lines if line.startswith("goodbye,") and not line.endswith(" None")] == []


def test_chat_tells_everybody_else(tmp_path: Path, ports: dict[str, str]) -> None:
    text = on(ports, block(PAGE, "class Guest"))
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(serving(tmp_path, "python chat.py", text, ports["7001"]))

        def enter(name: str) -> tuple[socket.socket, list[str]]:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", int(ports["7001"])), PATIENCE))
            lines = stack.enter_context(sock.makefile("r"))
            sock.sendall(name.encode() + b"\n")
            said = [lines.readline(), lines.readline()]
            readers[name] = lines
            return sock, said

        readers: dict[str, object] = {}

        def hear(name: str) -> str:
            line: str = readers[name].readline()  # type: ignore[attr-defined]
            return line

        bob, said = enter("Bob")
        assert said == ["your name?\n", "guests: 1\n"]
        client = on(ports, block(PAGE, 'print("Ann"'))
        assert run_script(client) == "your name?\nguests: 2\n"
        assert [hear("Bob") for _ in range(3)] == ["Ann is here\n", "Ann: hello, everybody\n", "Ann has left\n"]
        enter("Carol")
        bob.sendall(b"welcome\n")
        assert hear("Carol") == "Bob: welcome\n"
        said_at_the_end(process)


def test_chat_lets_go_of_who_sends_no_end_of_a_line(tmp_path: Path, ports: dict[str, str]) -> None:
    text = on(ports, block(PAGE, "class Guest"))
    address = ("127.0.0.1", int(ports["7001"]))
    with (
        serving(tmp_path, "python chat.py", text, ports["7001"]),
        socket.create_connection(address, PATIENCE) as sock,
    ):
        assert sock.recv(100) == b"your name?\n"
        sock.sendall(b"x" * 1002)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""


def test_sink_keeps_the_mail(tmp_path: Path, ports: dict[str, str]) -> None:
    text = on(ports, block(PAGE, "class Sink"))
    with serving(tmp_path, "python sink.py", text, ports["7002"]) as process:
        assert run_script(on(ports, block(PAGE, "send_message"))) == ""
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ann@example.org -> bob@example.org: ")
        (mail,) = mailbox.Maildir(tmp_path / "mail")
        assert (mail["Subject"], mail.get_payload()) == ("lunch", "At noon?\n")


def test_proxy_adds_tls_to_the_echo_server(
    tmp_path: Path, ports: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool("openssl")
    command = block(PAGE, "openssl req -x509")
    subprocess.run(
        shlex.split(command), cwd=tmp_path, env=tool_environment(), check=True, capture_output=True, timeout=50
    )
    echo, proxy = on(ports, block(PAGE, "class Echo")), on(ports, block(PAGE, "class Upstream"))
    client = on(ports, block(PAGE, "secure.recv(100)"))
    monkeypatch.chdir(tmp_path)  # where the client looks for the certificate
    with contextlib.ExitStack() as stack:
        stack.enter_context(serving(tmp_path, "python echo.py", echo, ports["7000"]))
        process = stack.enter_context(serving(tmp_path, "python proxy.py", proxy, ports["7003"]))
        assert run_script(client) == "TLSv1.3 b'is this safe?'\n"
        said_at_the_end(process)
