# SPDX-License-Identifier: MIT
"""Somebody else's class in the place of `socket.socket`, and somebody else's wait in that of `select.select`."""

from __future__ import annotations

import importlib.util
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop, _patched, asyncore
from tests.support import stdlib
from tests.support.peers import Peers, Recorder
from tests.support.script import ENGINE_FOLDER, run_script

GREENLETS = {
    "gevent": "from gevent import monkey, sleep, spawn\ndef patch(): monkey.patch_all()",
    "eventlet": "import eventlet\nfrom eventlet import sleep, spawn\ndef patch(): eventlet.monkey_patch()",
}
GUARDED = """
import socket
calls = []
class Guarded(socket.socket):
    def recv(self, *a):
        calls.append("recv")
        return super().recv(*a)
    def send(self, *a):
        calls.append("send")
        return super().send(*a)
"""
ECHO = """
got = []

class Echo(asyncore.dispatcher_with_send):
    def handle_read(self):
        data = self.recv(100)
        if data:
            self.send(data)

class Server(asyncore.dispatcher):
    def handle_accepted(self, sock, addr):
        Echo(sock)

class Client(asyncore.dispatcher):
    def handle_connect(self):
        self.send(b"hi")
    def handle_read(self):
        got.append(self.recv(10))
        asyncore.close_all()

server = Server()
server.create_socket()
server.bind(("127.0.0.1", 0))
server.listen(5)
client = Client()
client.create_socket()
client.connect(server.socket.getsockname())
"""


ORDERS = ["patch()\nimport cyncore.asyncore as asyncore", "import cyncore.asyncore as asyncore\npatch()"]


def run_patched(source: str) -> str:
    """As `run_script`, but for warnings: what others warn of is not ours."""
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), ENGINE_FOLDER]))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", source], env={**os.environ, "PYTHONPATH": path}, capture_output=True,
        text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


def need(library: str) -> str:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    return GREENLETS[library]


@pytest.mark.parametrize("order", ORDERS, ids=["before", "after"])
@pytest.mark.parametrize("library", GREENLETS)
def test_echo_is_served_over_sockets_of_greenlets(library: str, order: str) -> None:
    assert run_patched(f"{need(library)}\n{order}\n{ECHO}\nasyncore.loop()\nprint(got)") == "[b'hi']\n"


@pytest.mark.parametrize("order", ORDERS, ids=["before", "after"])
@pytest.mark.parametrize("library", GREENLETS)
def test_other_greenlets_run_while_the_loop_waits(library: str, order: str) -> None:
    """The wait ends only by what another greenlet does."""
    source = f"""
{need(library)}
{order}
import os, socket
ours, theirs = os.pipe()
class Pipe(asyncore.file_dispatcher):
    def handle_read(self):
        print(self.recv(10))
        self.close()
    def writable(self):
        return False
def tell():
    for _ in range(3):
        sleep(0.001)
    os.write(theirs, b"told")
spawn(tell)
Pipe(ours)
asyncore.loop()
"""
    assert run_patched(source) == "b'told'\n"


@pytest.mark.parametrize("library", GREENLETS)
def test_loop_that_is_never_idle_gives_way_to_other_greenlets(library: str) -> None:
    source = f"""
{need(library)}
patch()
import os
import cyncore.asyncore as asyncore
ours, theirs = os.pipe()
os.write(theirs, b"stays")
class Busy(asyncore.file_dispatcher):
    ticks = 0
    def handle_read(self):
        self.ticks += 1
        if told or self.ticks == 1000:
            print(told)
            self.close()
    def writable(self):
        return False
told = []
spawn(told.append, "ran")
Busy(ours)
asyncore.loop()
"""
    assert run_patched(source) == "['ran']\n"


@pytest.mark.parametrize("library", GREENLETS)
def test_wake_from_another_greenlet_ends_the_wait(library: str) -> None:
    source = f"""
{need(library)}
patch()
from cyncore import Loop
loop = Loop()
spawn(loop.call_soon_threadsafe, loop.stop)
loop.run(forever=True)
print("stopped")
"""
    assert run_patched(source) == "stopped\n"


@pytest.mark.parametrize("first", ["socket.socket = Guarded", "import cyncore.asyncore"])
def test_methods_of_a_class_in_the_place_of_socket_are_called(first: str) -> None:
    source = f"{GUARDED}\n{first}\nimport cyncore.asyncore as asyncore\nsocket.socket = Guarded\n{ECHO}"
    assert run_script(f"{source}\nasyncore.loop()\nprint(got, sorted(set(calls)))") == "[b'hi'] ['recv', 'send']\n"


@pytest.mark.parametrize("first", ["socket.socket.recv = recv", "import cyncore.asyncore"])
def test_method_put_into_the_socket_class_is_called(first: str) -> None:
    source = f"""
import _socket, socket
calls = []
def recv(self, *a):
    calls.append("recv")
    return _socket.socket.recv(self, *a)
{first}
import cyncore.asyncore as asyncore
socket.socket.recv = recv
{ECHO}
asyncore.loop()
print(got, set(calls))
del socket.socket.recv, calls[:]
{ECHO}
asyncore.loop()
print(got, calls)
"""
    assert run_script(source) == "[b'hi'] {'recv'}\n[b'hi'] []\n"


def test_plain_socket_is_python_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = socket.socket

    class Other(socket.socket):
        pass

    Other.__qualname__ = "socket"
    Other.__module__ = "socket"
    monkeypatch.setattr(socket, "socket", Other)
    assert _patched.plain_socket() is own


def test_wait_goes_through_what_stands_in_the_place_of_select(
    loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever that says is ready, the kernel is asked."""
    waits: list[Any] = []
    channel, far = peers.channel(Recorder, loop.map)
    loop.poll()

    def standing_in(*args: Any) -> Any:
        waits.append(args)
        far.send(b"data")
        return [], [], []

    monkeypatch.setattr(select, "select", standing_in)
    monkeypatch.delattr(select, "poll")
    asyncore.loop(5, map=loop.map, count=1)
    assert channel.got.startswith(b"data")
    assert waits


@pytest.mark.parametrize("error", [OSError(9, "closed"), ValueError("too high")])
def test_kernel_is_asked_where_what_stands_in_the_place_of_select_fails(
    loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    channel, far = peers.channel(Recorder, loop.map)
    loop.poll()

    def failing(*args: Any) -> Any:
        far.send(b"data")
        raise error

    monkeypatch.setattr(select, "select", failing)
    monkeypatch.delattr(select, "poll")
    asyncore.loop(5, map=loop.map, count=1)
    assert channel.got.startswith(b"data")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("library", GREENLETS)
@pytest.mark.parametrize(
    ("name", "bound"),
    [("asyncore", ["asyncore"]), ("asynchat", ["asynchat", "asyncore"]), ("smtpd", ["asynchat", "asyncore", "smtpd"])],
)
def test_none_of_the_old_tests_fails_over_sockets_of_greenlets(
    name: str, bound: list[str], library: str, tmp_path: Path
) -> None:
    need(library)
    outcome = stdlib.run(f"test.test_{name}", bound, tmp_path, library)
    stdlib.check_none_failed(outcome)
    assert outcome["run"] >= {"asyncore": 100, "asynchat": 20, "smtpd": 100}[name]
