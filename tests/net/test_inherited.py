# SPDX-License-Identifier: MIT
"""Sockets that systemd passes, to a program of their own: its descriptors and its environment are what matters."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cyncore
import cyncore._net.inherited
from cyncore import Loop
from tests.support.peers import Peers, poll_until
from tests.support.streams import receive

pytestmark = pytest.mark.skipif(os.name != "posix", reason="descriptors are passed on POSIX only")

# Puts the sockets where systemd puts them, and becomes the program.
_LAUNCHER = """
import fcntl, os, sys
given = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[2].split(",")]
for place, number in enumerate(given):
    os.dup2(number, 3 + place)
os.environ["LISTEN_PID"] = str(os.getpid() + int(sys.argv[3]))
os.environ["LISTEN_FDS"] = str(len(given))
if sys.argv[4]:
    os.environ["LISTEN_FDNAMES"] = sys.argv[4]
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""

_SERVE = """
import cyncore
class Hello(cyncore.Stream):
    def handle_connect(self):
        self.write(b"hello from " + NAME)
        self.close()
        self.loop.stop()
with cyncore.Loop() as loop:
    NAME = b"web"
    loop.listen(cyncore.inherited("web"), Hello)
    loop.run()
"""

_TELL = """
import os, cyncore
try:
    cyncore.inherited(%r)
    print("found")
except LookupError as error:
    print(error)
print(sorted(key for key in os.environ if key.startswith("LISTEN")))
print([os.get_inheritable(number) for number in (3, 4)])
"""


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    yield made
    for sock in made:
        sock.close()


def launch(program: str, listeners: list[socket.socket], names: str, off: int = 0) -> subprocess.Popen[str]:
    numbers = [sock.fileno() for sock in listeners]
    given = ",".join(map(str, numbers))
    return subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, program, given, str(off), names],
        pass_fds=numbers,
        stdout=subprocess.PIPE,
        text=True,
    )


def told(name: str | None, listeners: list[socket.socket], names: str, off: int = 0) -> list[str]:
    with launch(_TELL % (name,), listeners, names, off) as child:
        out, _ = child.communicate(timeout=20)
    assert child.returncode == 0
    return out.splitlines()


def test_a_server_accepts_on_the_socket_of_its_name(listeners: list[socket.socket]) -> None:
    with launch(_SERVE, listeners, "admin:web") as child:
        with socket.create_connection(listeners[1].getsockname(), 20) as sock:
            sock.settimeout(20)
            assert sock.recv(100) == b"hello from web"
        assert child.wait(20) == 0


def test_the_environment_is_cleared_and_the_sockets_are_not_inherited_further(listeners: list[socket.socket]) -> None:
    assert told(None, listeners, "") == ["found", "[]", "[False, False]"]


def test_a_name_that_was_not_passed_is_a_lookup_error(listeners: list[socket.socket]) -> None:
    said = told("mail", listeners, "admin:web")
    assert said == ["systemd has passed no socket by the name of 'mail'", "[]", "[False, False]"]


def test_what_was_passed_to_another_process_is_not_taken(listeners: list[socket.socket]) -> None:
    said = told(None, listeners, "admin:web", off=1)
    assert said == ["systemd has passed no socket", "[]", "[True, True]"]


def test_names_that_are_too_few_name_nothing(listeners: list[socket.socket]) -> None:
    assert told("web", listeners, "web")[0] == "systemd has passed no socket by the name of 'web'"


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has a descriptor of this process be the one that was passed."""

    def put(number: int) -> None:
        monkeypatch.setattr(cyncore._net.inherited, "FIRST", number)
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")

    return put


class Greeting(cyncore.Stream):
    def handle_connect(self) -> None:
        self.write(b"hello")


def test_a_unix_socket_may_be_passed(loop: Loop, peers: Peers, tmp_path: Path, passed: Callable[[int], None]) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "socket"))
    passed(sock.detach())
    server = loop.listen(cyncore.inherited(), Greeting)
    client = socket.socket(socket.AF_UNIX)
    peers.keep(client)
    client.connect(str(tmp_path / "socket"))
    assert receive(loop, client, 5) == b"hello"
    server.close()
    client.close()
    poll_until(loop, lambda: not loop.map)


def test_sockets_without_names_are_unknown_and_taken_once(loop: Loop, passed: Callable[[int], None]) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    number = sock.detach()
    passed(number)
    given = cyncore.inherited("unknown")
    assert repr(given) == f"<inherited('unknown') descriptors [{number}]>"
    server = loop.listen(given, Greeting)
    with pytest.raises(RuntimeError, match="taken already"):
        loop.listen(given, Greeting)
    with pytest.raises(LookupError):
        cyncore.inherited("unknown")
    server.close()


def test_a_socket_of_datagrams_is_refused_and_closed(loop: Loop, passed: Callable[[int], None]) -> None:
    number = socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()
    passed(number)
    with pytest.raises(OSError, match=f"inherited descriptor {number} is no stream socket"):
        loop.listen(cyncore.inherited(), Greeting)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_what_is_no_socket_is_refused_by_its_number(loop: Loop, passed: Callable[[int], None]) -> None:
    number = os.open(os.devnull, os.O_RDONLY)
    passed(number)
    with pytest.raises(OSError, match=f"inherited descriptor {number}"):
        loop.listen(cyncore.inherited(), Greeting)
    os.close(number)


def test_a_count_that_is_no_number_is_told(monkeypatch: pytest.MonkeyPatch, passed: Callable[[int], None]) -> None:
    passed(3)
    monkeypatch.setenv("LISTEN_FDS", "two")
    with pytest.raises(ValueError, match="'two'"):
        cyncore.inherited()
