# SPDX-License-Identifier: MIT
"""The examples and command lines of docs/migration.md do what the page says."""

from __future__ import annotations

import multiprocessing
import os
import re
import select
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop, asynchat, asyncore, smtpd, socket_map
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.peers import Peers, poll_until
from tests.support.script import ENGINE_FOLDER, run_script

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "migration.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
USED: set[str] = set()


def block(words: str) -> str:
    """The one example that has those words."""
    (found,) = [one for one in BLOCKS if words in one]
    USED.add(found)
    return found


def run_block(words: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Runs an example with the old names bound, and returns its names."""
    for name, module in (("asyncore", asyncore), ("asynchat", asynchat), ("smtpd", smtpd)):
        monkeypatch.setitem(sys.modules, name, module)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(block(words), "migration.md", "exec"), names)
    return names


def program(folder: Path) -> None:
    """What the command lines of the page name."""
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").touch()
    source = "import asynchat, asyncore, smtpd, sys\n"
    source += "print(asyncore.__name__, asynchat.__name__, smtpd.__name__, sys.argv[1:])\n"
    (folder / "program.py").write_text(source, encoding="utf-8")
    (folder / "package" / "program.py").write_text(source, encoding="utf-8")


def run_command(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = line.split()
    assert words[0] == "python"
    path = os.pathsep.join(filter(None, [ENGINE_FOLDER, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *words[1:]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_there_are_the_command_lines_that_are_tested_here() -> None:
    assert COMMANDS == [
        "python -m cyncore program.py --its options",
        "python -m cyncore -m package.program",
        "python -m cyncore check .",
        "python -m cyncore -m waitress --listen=127.0.0.1:8080 module:app",
        "python -m cyncore --replace package.asyncore --replace package.asynchat program.py",
    ]


@pytest.mark.parametrize(("line", "given"), [(COMMANDS[0], ["--its", "options"]), (COMMANDS[1], [])])
def test_programs_find_the_old_names(line: str, given: list[str], tmp_path: Path) -> None:
    program(tmp_path)
    done = run_command(line, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"cyncore.asyncore cyncore.asynchat cyncore.smtpd {given}\n"


def test_check_of_a_folder_ends(tmp_path: Path) -> None:
    program(tmp_path)
    done = run_command(COMMANDS[2], tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("cyncore check: no findings in 3 files")


def test_changed_imports() -> None:
    check = "\nprint(asyncore.__name__, asynchat.__name__, smtpd.__name__)"
    assert (
        run_script(block("import cyncore.smtpd as smtpd") + check)
        == "cyncore.asyncore cyncore.asynchat cyncore.smtpd\n"
    )


def test_install() -> None:
    check = "\ncyncore.install()\nprint(asyncore.__name__, asynchat.__name__, smtpd.__name__)"
    assert (
        run_script(block("cyncore.install()\n\nimport asynchat") + check)
        == "cyncore.asyncore cyncore.asynchat cyncore.smtpd\n"
    )


def test_install_refuses_and_replaces() -> None:
    script = """\
import sys, types
other = sys.modules["asyncore"] = types.ModuleType("asyncore")
import cyncore
try:
    cyncore.install()
except cyncore.InstallError as error:
    print(sys.modules["asyncore"] is other)
cyncore.install(replace=True)
import asyncore
print(asyncore.__name__)
"""
    assert run_script(script) == "True\ncyncore.asyncore\n"


def test_library_takes_cyncore_where_it_is() -> None:
    check = "\nprint(asyncore.__name__, asynchat.__name__)"
    assert run_script(block("except ImportError:") + check) == "cyncore.asyncore cyncore.asynchat\n"


def copies(folder: Path) -> None:
    """A package with copies that nobody may import, and users of them in every way that the page names."""
    package = folder / "package"
    package.mkdir()
    (package / "__init__.py").write_text("from .server import loop\n", encoding="utf-8")
    for name in "asyncore", "asynchat":
        (package / f"{name}.py").write_text("raise RuntimeError('the copy')\n", encoding="utf-8")
    (package / "server.py").write_text(
        "from package import asyncore\nfrom . import asyncore as same\nimport package.asyncore as third\n"
        "from package.asyncore import loop\nassert same is third is asyncore\n"
        "import package.asyncore, package.asynchat\nassert package.asyncore.dispatcher is asyncore.dispatcher\n",
        encoding="utf-8",
    )


COPIES_TELL = "import package\nprint(package.loop.__module__, package.asyncore.__name__, package.asynchat.__name__)\n"
COPIES_TOLD = "cyncore.asyncore cyncore.asyncore cyncore.asynchat\n"


def test_copies_are_replaced_by_the_command(tmp_path: Path) -> None:
    copies(tmp_path)
    (tmp_path / "program.py").write_text(COPIES_TELL, encoding="utf-8")
    done = run_command(COMMANDS[4], tmp_path)
    assert (done.stdout, done.stderr) == (COPIES_TOLD, "")


def test_copies_are_replaced_before_their_package_is_imported(tmp_path: Path) -> None:
    copies(tmp_path)
    start = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
    assert run_script(start + block("replace_copies=") + COPIES_TELL) == COPIES_TOLD


def test_whoever_runs_a_copy_that_stays_is_told_once(tmp_path: Path) -> None:
    copies(tmp_path)
    copy = "socket_map = {}\nclass dispatcher: ...\ndef poll(): ...\ndef loop(): ...\n"
    for name in "asyncore", "asynchat":
        (tmp_path / "package" / f"{name}.py").write_text(copy, encoding="utf-8")
    (tmp_path / "program.py").write_text(COPIES_TELL, encoding="utf-8")
    done = run_command("python -m cyncore program.py", tmp_path)
    assert done.stderr.count("package.asyncore is a copy of asyncore with a loop of its own") == 1


def test_waitress_is_served_by_the_command(tmp_path: Path) -> None:
    source = "import waitress.server\nprint(waitress.server.BaseWSGIServer.__mro__[1].__module__, flush=True)\n"
    (tmp_path / "module.py").write_text(f"{source}raise SystemExit(7)  # before it serves\n", encoding="utf-8")
    done = run_command(COMMANDS[3], tmp_path)
    assert (done.stdout, done.returncode) == ("cyncore.wasyncore\n", 7)


def test_waitress_after_install() -> None:
    check = "\nprint(waitress.server.wasyncore.__name__)"
    assert run_script(block("import waitress") + check) == "cyncore.wasyncore\n"


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_of_multiprocessing_have_the_names_too(tmp_path: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("there is no such method here")
    (tmp_path / "program.py").write_text(
        "import cyncore\n"
        "cyncore.install()\n"
        "import asyncore, multiprocessing\n"
        "def name():\n"
        "    return asyncore.__name__\n"
        "if __name__ == '__main__':\n"
        f"    with multiprocessing.get_context({method!r}).Pool(1) as pool:\n"
        "        print(pool.apply_async(name).get(40))\n",
        encoding="utf-8",
    )
    done = run_command("python program.py", tmp_path)
    assert (done.stdout, done.stderr) == ("cyncore.asyncore\n", "")


def test_copy_of_one_line_has_the_names() -> None:
    used = ["dispatcher", "dispatcher_with_send", "file_dispatcher", "loop", "poll", "poll2", "poll3", "close_all"]
    used += ["socket_map", "ExitNow", "compact_traceback", "readwrite", "read", "write", "select", "socket"]
    check = f"\nprint([name for name in {used} if name not in globals()], '_DISCONNECTED' in globals())"
    assert run_script(block("import *") + check) == "[] False\n"


def test_timer_closes_whoever_is_silent(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = run_block("class Visitor", monkeypatch)["Visitor"]
    kind.patience = 0.05
    ours, theirs = peers.pair()
    theirs.send(b"hello")
    kind(ours)
    poll_until(Loop.of(socket_map), lambda: not socket_map)
    assert theirs.recv(100) == b"hello"
    assert theirs.recv(100) == b""


def test_timer_is_cancelled_with_the_connection(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = run_block("class Visitor", monkeypatch)["Visitor"]
    ours, theirs = peers.pair()
    visitor = kind(ours)
    theirs.close()
    loop = Loop.of(socket_map)
    poll_until(loop, lambda: not socket_map)
    assert visitor.timer.cancelled()
    assert loop.next_deadline() is None


def test_thread_has_the_loop_answer(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = run_block("class Clerk", monkeypatch)["Clerk"]
    ours, theirs = peers.pair()
    clerk = kind(ours)
    theirs.send(b"hello\r\n")
    theirs.settimeout(0)
    got = bytearray()

    def answered() -> bool:
        try:
            got.extend(theirs.recv(100))
        except BlockingIOError:
            pass
        return b"\r\n" in got

    poll_until(Loop.of(socket_map), answered)
    assert bytes(got) == b"HELLO\r\n"
    clerk.close()


def test_relay_reads_no_faster_than_it_is_read(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = run_block("class Half", monkeypatch)["Half"]
    (left, sender), (right, reader) = peers.pair(), peers.pair()
    one, other = kind(left), kind(right)
    one.other, other.other = other, one
    sender.settimeout(0)
    reader.settimeout(0)
    loop = Loop.of(socket_map)
    sent = _stuff(sender, loop)
    assert len(other.out_buffer) <= one.most + 8192
    got = bytearray()

    def drained() -> bool:
        try:
            got.extend(reader.recv(1 << 20))
        except BlockingIOError:
            pass
        return len(got) == sent

    poll_until(loop, drained)
    one.handle_close()


def _stuff(sender: socket.socket, loop: Loop) -> int:
    """Sends until nothing goes on being taken. Returns how much was."""
    sent = 0
    refused = 0
    while refused < 50:
        try:
            sent += sender.send(b"x" * 65536)
            refused = 0
        except BlockingIOError:
            refused += 1
            loop.poll(0)
        assert sent < 1 << 30
    return sent


def test_limit_closes_a_line_without_end(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = run_block("class Careful", monkeypatch)["Careful"]
    kind.max_incoming = 100
    ours, theirs = peers.pair()
    kind(ours)
    theirs.send(b"short\n")
    theirs.send(b"x" * 1000)
    poll_until(Loop.of(socket_map), lambda: not socket_map)
    assert "LimitExceeded" in capsys.readouterr().out
    assert theirs.recv(100) == b"short\n"


def test_conversation_goes_over_to_tls(
    certificate: Path, client_tls: ssl.SSLContext, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = run_block("def handle_handshake", monkeypatch)["Session"]
    kind.context.load_cert_chain(certificate)
    ours, theirs = peers.pair()
    channel = kind(ours)
    answers: list[bytes] = []

    def talk() -> None:
        theirs.sendall(b"STARTTLS\n")
        answers.append(theirs.recv(6))
        with client_tls.wrap_socket(theirs, server_hostname="localhost") as tls:
            tls.sendall(b"hello\n")
            answers.append(tls.recv(100))

    theirs.settimeout(20)
    thread = threading.Thread(target=talk)
    thread.start()
    poll_until(Loop.of(socket_map), lambda: not thread.is_alive())
    thread.join()
    channel.close()
    assert answers == [b"ready\n", b"HELLO\n"]
    assert channel.peer_certificate is None


def test_session_with_deadlines_ends_a_silent_peer(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = run_block("set_deadlines(first_byte", monkeypatch)["Session"]
    ours, theirs = peers.pair()
    channel = kind(ours)
    theirs.send(b"hello\n")
    poll_until(Loop.of(socket_map), lambda: _is_there(theirs))
    assert theirs.recv(100) == b"hello\n"
    channel.set_deadlines(idle=0.02)
    poll_until(Loop.of(socket_map), lambda: not socket_map)
    assert theirs.recv(100) == b""


def _is_there(sock: socket.socket) -> bool:
    """Has something arrived?"""
    return bool(select.select([sock], [], [], 0)[0])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make a certificate with")
def test_mail_arrives_over_starttls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = run_block("class Mail", monkeypatch)
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=30)
    server = names["serve"](("127.0.0.1", 0), certificate, key)
    port = server.socket.getsockname()[1]
    failed: list[BaseException] = []

    def send() -> None:
        try:
            with smtplib.SMTP("127.0.0.1", port, local_hostname="localhost", timeout=20) as client:
                client._host = "localhost"  # type: ignore[attr-defined]  # the name in the certificate
                client.starttls(context=ssl.create_default_context(cafile=str(certificate)))
                client.sendmail("a@example.org", ["b@example.org"], "Subject: x\r\n\r\nhello\r\n")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    poll_until(Loop.of(socket_map), lambda: not thread.is_alive() and len(socket_map) == 1)
    thread.join()
    server.close()
    assert failed == []
    assert "bytes from a@example.org" in capsys.readouterr().out


def test_every_example_was_run(request: pytest.FixtureRequest) -> None:
    if any(item.name == "test_install" for item in request.session.items) and len(request.session.items) >= 15:
        assert [one for one in BLOCKS if one not in USED and "class Mail" not in one] == []
