# SPDX-License-Identifier: MIT
"""The programs and commands of README.md, docs/asynchat.md, docs/smtpd.md and docs/check.md run as they stand there.

What is changed in them is a port, which is any that is free, and how long a program waits.
"""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop, socket_map
from tests.support.docs import bind, block, names_of
from tests.support.examples import PATIENCE
from tests.support.peers import Peers, poll_until
from tests.support.script import ENGINE_FOLDER, run_script

README = "README.md"
TELLS_ITS_PORT = "print(server.socket.getsockname()[1], flush=True)"


def words_of(command: str) -> list[str]:
    first, *rest = command.split()
    assert first == "python"
    return [sys.executable, *rest]


@contextmanager
def running(words: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A program of a page, with the engine in use; ended at the end, and sooner if it hangs."""
    path = os.pathsep.join(filter(None, [ENGINE_FOLDER, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        limit = threading.Timer(PATIENCE, process.kill)
        limit.start()
        try:
            yield process
        finally:
            process.kill()
            limit.cancel()
            limit.join()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def echoed(port: str, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", int(port)), PATIENCE) as sock:
        sock.sendall(data)
        with sock.makefile("rb") as file:
            return file.read(len(data))


def echo_of_the_readme() -> str:
    """Its first program, on a free port, which it prints."""
    source = block(README, "create_server")
    line = 'Server(socket.create_server(("127.0.0.1", 7000))).listen(128)\n'
    assert source.count(line) == 1
    serving = 'server = Server(socket.create_server(("127.0.0.1", 0)))\nserver.listen(128)\n'
    return source.replace(line, f"{serving}{TELLS_ITS_PORT}\n")


def test_first_program_of_the_readme_echoes(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(echo_of_the_readme(), encoding="utf-8")
    with running(words_of("python echo.py"), tmp_path) as process:
        assert echoed(line_of(process), b"hello") == b"hello"


@pytest.mark.parametrize("command", ["python -m cyncore echo.py", "python -m cyncore -m package.echo"])
def test_old_program_of_the_readme_echoes(tmp_path: Path, command: str) -> None:
    source = echo_of_the_readme().replace("cyncore.Loop.of(cyncore.socket_map).run()", "asyncore.loop()")
    source = source.replace("cyncore", "asyncore")
    (tmp_path / "package").mkdir()
    for folder in (tmp_path, tmp_path / "package"):
        (folder / "echo.py").write_text(source, encoding="utf-8")
    with running(words_of(command), tmp_path) as process:
        assert echoed(line_of(process), b"hello") == b"hello"


def test_new_program_of_the_readme_answers_and_works(tmp_path: Path) -> None:
    source = block(README, "class Visitor").replace("7001", "0").replace("call_later(1.0", "call_later(0.1")
    source = source.replace("    loop.run()", "    print(server.address[1], flush=True)\n    loop.run()")
    assert source.count("time.sleep(5)") == 1
    (tmp_path / "program.py").write_text(source.replace("time.sleep(5)", "time.sleep(0.2)"), encoding="utf-8")
    with running(words_of("python program.py"), tmp_path) as process:
        port = line_of(process)
        with socket.create_connection(("127.0.0.1", int(port)), PATIENCE) as sock, sock.makefile("rb") as file:
            sock.sendall(b"one\ntwo\n")  # the second waits until reading is resumed
            assert file.readline() == b"one\n"
            assert file.readline() == b"two\n"
        assert line_of(process) == "the job is done"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_install_of_the_readme_binds_the_names() -> None:
    check = "\nimport asyncore, asynchat, smtpd\nprint(asyncore.__name__, asynchat.__name__, smtpd.__name__)"
    expected = "cyncore.asyncore cyncore.asynchat cyncore.smtpd\n"
    assert run_script(block(README, "cyncore.install()") + check) == expected


def test_changed_import_of_the_readme() -> None:
    check = "\nprint(asyncore.__name__)"
    assert run_script(block(README, "import cyncore.asyncore as asyncore") + check) == "cyncore.asyncore\n"


def test_copy_that_the_readme_names_is_replaced(tmp_path: Path) -> None:
    command = "python -m cyncore --replace package.asyncore program.py"
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "asyncore.py").write_text("raise RuntimeError('the copy')\n", encoding="utf-8")
    (tmp_path / "program.py").write_text("from package import asyncore\nprint(asyncore.__name__)\n", encoding="utf-8")
    with running(words_of(command), tmp_path) as process:
        assert line_of(process) == "cyncore.asyncore"


@pytest.mark.parametrize("command", ["python -m cyncore check path/to/program", "python -m cyncore check PROGRAM_DIR"])
def test_check_finds_and_does_not_run(tmp_path: Path, command: str) -> None:
    folder = tmp_path / command.split()[-1]
    folder.mkdir(parents=True)
    source = "import time, asyncore\nprint('run')\nclass A(asyncore.dispatcher):\n"
    (folder / "a.py").write_text(source + "    def handle_read(self):\n        time.sleep(1)\n", encoding="utf-8")
    with running(words_of(command), tmp_path) as process:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
        assert process.wait() == 1
    assert [line.split()[:2] for line in lines] == [[f"{os.path.join(command.split()[-1], 'a.py')}:5:", "CYN205"]]


def test_conversation_answers_in_capitals(peers: Peers) -> None:
    kind = names_of(block("docs/asynchat.md", "class Shout"))["Shout"]
    ours, theirs = peers.pair()
    channel = kind(ours)
    theirs.sendall(b"one\r\ntw")
    loop = Loop.of(socket_map)
    theirs.setblocking(False)
    got = bytearray()

    def answered(wanted: bytes) -> Any:
        try:
            got.extend(theirs.recv(100))
        except BlockingIOError:
            pass
        return got == wanted

    poll_until(loop, lambda: answered(b"ONE\r\n"))
    theirs.sendall(b"o\r\n")
    poll_until(loop, lambda: answered(b"ONE\r\nTWO\r\n"))
    theirs.sendall(b"x" * 2000)
    poll_until(loop, lambda: not socket_map)  # more than max_incoming
    channel.close()


def test_mail_server_is_given_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bind(monkeypatch)
    source = block("docs/smtpd.md", "Mail((")
    assert source.count('Mail(("localhost", 8025), None)') == 1
    source = source.replace(
        'Mail(("localhost", 8025), None)', f'server = Mail(("127.0.0.1", 0), None)\n{TELLS_ITS_PORT}'
    )
    (tmp_path / "program.py").write_text(source, encoding="utf-8")
    with running(words_of("python -u program.py"), tmp_path) as process:
        with smtplib.SMTP("127.0.0.1", int(line_of(process)), "localhost", PATIENCE) as client:
            client.sendmail("a@example.org", ["b@example.org"], "hello")
        assert line_of(process) == "a@example.org ['b@example.org'] 5"
