# SPDX-License-Identifier: MIT
"""``python -m cyncore.smtpd``, as it is called on the command line."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cyncore import smtpd
from cyncore._smtp import program
from tests.support.script import ENGINE_FOLDER, send_signal
from tests.support.smtpd import HOST


def _command(*words: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "cyncore.smtpd", *words]


def _environment(*folders: object) -> dict[str, str]:
    path = os.pathsep.join([ENGINE_FOLDER, *map(str, folders), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*words), env=_environment(), capture_output=True, text=True, timeout=30, check=False)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def _serving(*words: str, folder: object = "") -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The program with these options, on a port of its own, when it listens; ended in the end."""
    port = _free_port()
    command = _command("-n", *words, f"{HOST}:{port}")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=_environment(folder), stdout=pipe, stderr=pipe, text=True) as program:
        try:
            _wait_for(program, port)
            yield port, program
        finally:
            if program.poll() is None:
                send_signal(program, signal.SIGINT)
            try:
                program.wait(20)
            finally:
                program.kill()


def _wait_for(program: subprocess.Popen[str], port: int) -> None:
    for _ in range(1000):
        try:
            socket.create_connection((HOST, port), 10).close()
            return
        except ConnectionRefusedError:
            pass
        try:
            program.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(program.stderr and program.stderr.read())
    raise AssertionError("it does not listen")


def _send(port: int) -> smtplib.SMTP:
    client = smtplib.SMTP(HOST, port, "client.example", timeout=20)
    client.sendmail("a@a", "b@b", b"Subject: x\r\n\r\nhello\r\n")
    return client


def test_messages_are_printed() -> None:
    with _serving("-c", "DebuggingServer") as (port, program):
        with _send(port) as client:
            assert client.esmtp_features["size"] == str(smtpd.DATA_SIZE_DEFAULT)
            assert not client.has_extn("smtputf8")
        assert program.stdout is not None
        lines = [program.stdout.readline() for _ in range(3)]
        assert lines[0].startswith("---------- MESSAGE FOLLOWS")
        assert lines[1:] == ["mail options: ['SIZE=21']\n", "b'Subject: x'\n"]


def test_size_smtputf8_and_debugging_are_options() -> None:
    with _serving("-d", "-u", "-s", "1000", "-c", "DebuggingServer") as (port, program):
        with _send(port) as client:
            assert (client.esmtp_features["size"], client.has_extn("smtputf8")) == ("1000", True)
        assert program.stderr is not None
        assert program.stderr.readline().startswith("DebuggingServer started at ")


def test_class_of_a_module_is_found_and_shares_the_module(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "server.py").write_text(
        "import sys\n"
        "from cyncore import smtpd\n"
        "class Mine(smtpd.SMTPServer):\n"
        "    def process_message(self, peer, mailfrom, rcpttos, data, **more):\n"
        "        print('debugs' if smtpd.DEBUGSTREAM is sys.stderr else 'is silent')\n"
    )
    with _serving("-d", "-c", "mine.server.Mine", folder=tmp_path) as (port, program):
        _send(port).close()
        assert program.stdout is not None
        assert program.stdout.readline() == "debugs\n"


def test_class_of_an_old_module_is_served(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import asyncore, smtpd\n"
        "class Mine(smtpd.SMTPServer):\n"
        "    def process_message(self, peer, mailfrom, rcpttos, data, **more):\n"
        "        print(smtpd.__name__, asyncore.__name__)\n"
    )
    with _serving("-c", "mine.Mine", folder=tmp_path) as (port, program):
        _send(port).close()
        assert program.stdout is not None
        assert program.stdout.readline() == "cyncore.smtpd cyncore.asyncore\n"


def test_interrupt_ends_it_in_silence() -> None:
    with _serving("-c", "DebuggingServer") as (port, program):
        client = _send(port)  # whoever is answered finds the loop running
        client.docmd("QUIT")
        assert client.sock is not None
        assert client.sock.recv(1) == b""  # it has closed all that it had open
        client.close()
        send_signal(program, signal.SIGINT)
        assert program.wait(20) == 0
        assert program.stderr is not None
        assert program.stderr.read() == ""


def test_help_tells_the_options() -> None:
    done = _run("-h")
    assert done.returncode == 0
    for option in ("--nosetuid", "--class", "--size", "--smtputf8", "--debug", "--version", "--help"):
        assert option in done.stderr


def test_version_is_printed() -> None:
    assert _run("--version").stdout == "Python SMTP proxy version 0.3\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--what"], "what"),
        (["nowhere"], "nowhere"),
        (["host:port"], "host:port"),
        (["a:1", "b"], "b"),
        (["a:1", "b:x"], "b:x"),
        (["a:1", "b:2", "c:3"], "c:3"),
        (["-s", "much"], "much"),
    ],
)
def test_what_cannot_be_meant_is_said(words: list[str], said: str) -> None:
    done = _run(*words)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "local", "remote"),
    [
        ([], ("localhost", 8025), ("localhost", 25)),
        (["a:1"], ("a", 1), ("localhost", 25)),
        (["a:1", "b:2"], ("a", 1), ("b", 2)),
        ([":1"], ("", 1), ("localhost", 25)),
        (["[::1]:1"], ("::1", 1), ("localhost", 25)),
    ],
)
def test_addresses_are_read(
    monkeypatch: pytest.MonkeyPatch, words: list[str], local: tuple[str, int], remote: tuple[str, int]
) -> None:
    monkeypatch.setattr(sys, "argv", ["smtpd", *words])
    options = smtpd.parseargs()
    assert (options.localhost, options.localport) == local
    assert (options.remotehost, options.remoteport) == remote
    assert (options.setuid, options.classname, options.size_limit) == (True, "PureProxy", None)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may")
def test_who_is_not_root_cannot_become_nobody() -> None:
    done = _run("-c", "DebuggingServer", f"{HOST}:{_free_port()}")
    assert done.returncode == 1
    assert "-n" in done.stderr


def test_user_who_may_not_change_is_told_to_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(groups: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setgroups", refuse)
    with pytest.raises(SystemExit, match="1"):
        program._become_nobody()
    assert capsys.readouterr().err == 'Cannot become the user "nobody" without being root: use -n.\n'


def test_system_without_users_is_told_to_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pwd", None)  # type: ignore[arg-type]
    with pytest.raises(SystemExit, match="1"):
        program._become_nobody()
    assert capsys.readouterr().err == "There is no user to become here: use -n.\n"


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become nobody")
def test_root_becomes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    done: list[tuple[str, object]] = []
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda value, name=name: done.append((name, value)))
    program._become_nobody()
    nobody = pwd.getpwnam("nobody")
    assert done == [("setgroups", []), ("setgid", nobody.pw_gid), ("setuid", nobody.pw_uid)]


def test_nobody_serves_unless_that_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server(smtpd.DebuggingServer):
        def __init__(self, *args: object, **more: object) -> None:
            done.append("listens")

    done: list[str] = []
    monkeypatch.setattr(sys, "argv", ["smtpd", "-c", "Server"])
    monkeypatch.setattr(smtpd, "Server", Server, raising=False)
    monkeypatch.setattr("cyncore._install.names.install", lambda replace: None)
    monkeypatch.setattr(program, "_become_nobody", lambda: done.append("is nobody"))
    monkeypatch.setattr(smtpd.asyncore, "loop", lambda: done.append("serves"))
    program.main(smtpd)
    assert done == ["listens", "is nobody", "serves"]


def test_interrupt_before_it_serves_ends_it_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server(smtpd.DebuggingServer):
        def __init__(self, *args: object, **more: object) -> None:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(sys, "argv", ["smtpd", "-n", "-c", "Server"])
    monkeypatch.setattr(smtpd, "Server", Server, raising=False)
    monkeypatch.setattr("cyncore._install.names.install", lambda replace: None)
    monkeypatch.setattr(smtpd.asyncore, "loop", lambda: pytest.fail("serves"))
    program.main(smtpd)
