# SPDX-License-Identifier: MIT
"""Which channels ``python -m cyncore check`` finds in a thread that is not their loop's (CYN201)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.check import HEAD, findings, found, told

CHAT = "def hello(self): self.push(b'x')\n"
STORED = "def join(self, group):\n    group.append(self)\n    everyone.add(self)\n    mine = names[self.name] = self\n"


@pytest.mark.parametrize(
    "tail",
    [
        "import functools\ndef f(c: C): c.close()\nthreading.Thread(target=functools.partial(f, C())).start()",
        "import functools as f\nchat = C()\ndef g(c): c.close()\nthreading.Thread(target=f.partial(g, chat)).start()",
        "import _thread\nchat = C()\ndef f(c): c.close()\n_thread.start_new_thread(f, (chat,))",
        "def f():\n    for c in group: c.close()\nthreading.Thread(target=f).start()",
        "def f():\n    for c in list(everyone): c.close()\nthreading.Thread(target=f).start()",
        "def f():\n    for name, c in names.items(): c.close()\nthreading.Thread(target=f).start()",
        "def f():\n    for c in asyncore.socket_map.values(): c.close()\nthreading.Thread(target=f).start()",
        "def f(): names['a'].close()\nthreading.Thread(target=f).start()",
        "chat = C()\nthreading.Timer(1, chat.close_when_done).start()",
    ],
)
def test_channel_in_a_thread_is_found_wherever_it_is_kept(tail: str, tmp_path: Path) -> None:
    (one,) = told(tmp_path, "CYN201", base="asynchat.async_chat", body=CHAT + STORED, tail=tail)
    assert "in another thread than the loop's" in one


@pytest.mark.parametrize(
    "tail",
    [
        "def f():\n    for c in others: c.close()\nthreading.Thread(target=f).start()",
        "def f():\n    for c in made(1): c.close()\nthreading.Thread(target=f).start()",
        "def f():\n    for c in made(): c.close()\nthreading.Thread(target=f).start()",
        "def f(): made()().close()\nthreading.Thread(target=f).start()",
        "def f(file: 'unknown'): file.close()\nthreading.Thread(target=f, args=(1,)).start()",
        "def f():\n    c = made()()\n    c.close()\nthreading.Thread(target=f).start()",
    ],
)
def test_what_nobody_knows_for_a_channel_is_left_alone(tail: str, tmp_path: Path) -> None:
    assert told(tmp_path, "CYN201", base="asynchat.async_chat", body=CHAT + STORED, tail=tail) == []


def test_containers_are_known_in_every_file(tmp_path: Path) -> None:
    chat = f"{HEAD}class C(asynchat.async_chat):\n    def join(self): group.append(self)\n    @staticmethod\n"
    chat += "    def made(): return C()\n    def other(self): self.names.append(1)\n"
    user = (
        f"{HEAD}from chat import group\ndef f():\n    for c in group: c.close()\nthreading.Thread(target=f).start()\n"
    )
    told_of = [one for one in findings(tmp_path, chat=chat, user=user, more=user) if one.code == "CYN201"]
    assert sorted(Path(one.path).stem for one in told_of) == ["more", "user"]


PROGRAM = """\
import asyncore, asynchat, threading
from concurrent.futures import ThreadPoolExecutor

class Chat(asynchat.async_chat):
    def __init__(self, sock):
        super().__init__(sock)
        clients.append(self)

clients = []
pool = ThreadPoolExecutor()
"""


THREAD = """\
class T(threading.Thread):
    def __init__(self):
        self.chat = Chat(None)
    def run(self):
        self.say()
    def say(self):
        self.chat.push(b"x")
"""


INNER = """\
class D(Chat):
    def found_terminator(self):
        def work():
            self.push(b"x")
        threading.Thread(target=work).start()
"""


@pytest.mark.parametrize(
    "tail",
    [
        "def work(chat: Chat):\n    chat.push(b'x')\nthreading.Thread(target=work).start()",
        "chat = Chat(None)\ndef work():\n    chat.close()\nthreading.Thread(target=work).start()",
        "chat = Chat(None)\nthreading.Thread(target=chat.close_when_done).start()",
        "chat = Chat(None)\nthreading.Thread(target=lambda: chat.push(b'x')).start()",
        "chat = Chat(None)\nthreading.Timer(5, chat.close).start()",
        "def work(it):\n    it.push(b'x')\nchat = Chat(None)\nthreading.Thread(target=work, args=(chat,)).start()",
        "def work():\n    for one in list(clients):\n        one.push(b'x')\nthreading.Thread(target=work).start()",
        "def work(number):\n    clients[number].push(b'x')\npool.submit(work, 1)",
        "def work(it):\n    it.set_terminator(None)\npool.submit(work, 1)",
        THREAD,
        INNER,
    ],
)
def test_channel_used_in_a_thread_is_found(tail: str, tmp_path: Path) -> None:
    assert [one.split()[1] for one in found(tmp_path, main=PROGRAM + tail + "\n")] == ["CYN201"]


@pytest.mark.parametrize(
    "tail",
    [
        "def work():\n    asyncore.loop()\n    chat.close()\nchat = Chat(None)\nthreading.Thread(target=work).start()",
        "def work(loop, chat: Chat):\n    loop.call_soon_threadsafe(chat.push, b'x')\npool.submit(work)",
        "def work(loop, chat: Chat):\n    loop.call_soon_threadsafe(lambda: chat.push(b'x'))\npool.submit(work)",
        "def work(stack):\n    stack.push(1)\n    stack.close()\npool.submit(work, [])",
        "def work(sock):\n    sock.send(b'x')\n    sock.close()\nthreading.Thread(target=work).start()",
        "class D(Chat):\n    def run(self):\n        self.push(b'x')",
        "class T(threading.Thread):\n    def run(self):\n        self.file.close()",
        "chat = Chat(None)\nchat.push(b'x')\nthreading.Thread(target=print).start()",
    ],
)
def test_thread_that_leaves_channels_alone_is_left_alone(tail: str, tmp_path: Path) -> None:
    assert found(tmp_path, main=PROGRAM + tail + "\n") == []
