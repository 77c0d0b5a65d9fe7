# SPDX-License-Identifier: MIT
"""``python -m cyncore check`` finds channels whatever way they come to be, and leaves good programs alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from cyncore._check import check

BODY = "\n    def handle_write(self):\n        self.send(b'x')\n"  # of a class that spins, if it is a channel
COPY = """\
class dispatcher:
    def create_socket(self): pass
    def set_socket(self, sock): pass
    def handle_error(self): raise
    def readable(self): return self.x()

class dispatcher_with_send(dispatcher):
    def writable(self): return self.y()

def loop(): pass
"""


def found(folder: Path, *codes: str, **files: str) -> list[str]:
    """``file:line code`` of what is found, notes left out unless they are named in ``codes``."""
    for name, source in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for parent in path.parents:
            if parent == folder:
                break
            (parent / "__init__.py").touch()
        path.write_text(source, encoding="utf-8")
    findings = check([str(folder)]).findings
    return [
        f"{Path(one.path).stem}:{one.line} {one.code}"
        for one in findings
        if (one.code in codes if codes else one.rule.severity != "note")
    ]


@pytest.mark.parametrize(
    "head",
    [
        "import asyncore\nclass C(asyncore.dispatcher):",
        "import asyncore as ac\nclass C(ac.dispatcher):",
        "from asyncore import dispatcher\nclass C(dispatcher):",
        "from asyncore import dispatcher as d\nclass C(d):",
        "from asyncore import *\nclass C(dispatcher):",
        "from cyncore import dispatcher\nclass C(dispatcher):",
        "import cyncore\nclass C(cyncore.dispatcher):",
        "import cyncore.asyncore as asyncore\nclass C(asyncore.dispatcher):",
        "import cyncore.asyncore\nclass C(cyncore.asyncore.dispatcher):",
        "from cyncore import asyncore\nclass C(asyncore.dispatcher):",
        "from hazelcast import asyncore\nclass C(asyncore.dispatcher):",
        "import fail2ban.compat.asyncore as a\nclass C(a.dispatcher):",
        "from fail2ban.compat import asyncore\nclass C(asyncore.dispatcher):",
        "from supervisor.medusa import asyncore_25 as asyncore\nclass C(asyncore.dispatcher):",
        "from waitress import wasyncore\nclass C(wasyncore.dispatcher):",
        "from .x import y\nfrom . import asyncore\nclass C(asyncore.dispatcher):",
        "try:\n    import asyncore\nexcept ImportError:\n    from own import asyncore\nclass C(asyncore.dispatcher):",
        "import asyncore\nclass A(asyncore.dispatcher): pass\nclass B(A): pass\nclass C(B):",
        "import asyncore\nclass M: pass\nclass C(M, asyncore.dispatcher):",
        "import asyncore, six\nclass C(six.with_metaclass(asyncore.Meta, asyncore.dispatcher)):",
        "import asyncore\nBase = asyncore.dispatcher\nclass C(Base):",
        "import asyncore\ndef make():\n  class C(asyncore.dispatcher):",
    ],
)
def test_channel_is_known_by_its_base(head: str, tmp_path: Path) -> None:
    body = BODY.replace("\n    ", "\n      ") if "  class" in head else BODY
    if "six" in head:
        body = "\n    def handle_error(self):\n        raise\n"  # of what is not known whole, less can be said
        assert [one.split()[1] for one in found(tmp_path, main=head + body)] == ["CYN206"]
    else:
        assert [one.split()[1] for one in found(tmp_path, main=head + body)] == ["CYN204"]


@pytest.mark.parametrize(
    "head",
    [
        "class C:",
        "class dispatcher: pass\nclass C(dispatcher):",
        "from blinker import dispatcher\nclass C(dispatcher):",
        "import asyncore\nclass C(asyncore.something):",
        "import asyncore\nclass C(asyncore.dispatcher_with_send):",
        "import asynchat\nclass C(asynchat.async_chat):",
        "import smtpd\nclass C(smtpd.SMTPChannel):",
        "import asyncore, other\nclass C(other.Writer, asyncore.dispatcher):",
        "import asyncore\nclass M:\n    def writable(self): return bool(self.out)\nclass C(M, asyncore.dispatcher):",
    ],
)
def test_what_is_no_spinning_channel_is_left_alone(head: str, tmp_path: Path) -> None:
    assert found(tmp_path, main=head + BODY) == []


def test_classes_are_followed_from_file_to_file(tmp_path: Path) -> None:
    assert found(
        tmp_path,
        package__base="import asyncore\nclass Base(asyncore.dispatcher):\n    pass\n",
        package__api="from .base import Base as Channel\n",
        package__sub__leaf=f"from ..api import Channel\nclass Leaf(Channel):{BODY}",
        script=f"import package.api\nclass Other(package.api.Channel):{BODY}",
    ) == ["leaf:3 CYN204", "script:3 CYN204"]


def test_folder_with_a_dot_in_its_name_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "program-1.0"
    files = {"package__base": "import asyncore\nclass Base(asyncore.dispatcher):\n    pass\n"}
    found(folder, package__leaf=f"from .base import Base\nclass Leaf(Base):{BODY}", **files)
    assert [one.code for one in check([str(tmp_path)]).findings if one.rule.severity != "note"] == ["CYN204"]


def test_classes_that_derive_from_each_other_end(tmp_path: Path) -> None:
    found(
        tmp_path,
        a="from b import *\nfrom b import B\nimport asyncore\nclass A(B): pass\n",
        b="from a import *\nfrom a import A\nclass B(A): pass\nclass C(C): pass\n",
    )


def test_handler_of_a_mixin_in_another_file_is_looked_at(tmp_path: Path) -> None:
    assert found(
        tmp_path,
        mixin="import time\nclass Slow:\n    def handle_read(self):\n        time.sleep(1)\n",
        main="import asyncore\nfrom mixin import Slow\nclass C(Slow, asyncore.dispatcher):\n    pass\n",
    ) == ["mixin:4 CYN205"]


def test_copy_under_any_name_is_known_and_spared(tmp_path: Path) -> None:
    files = {"package__net": COPY, "package__main": f"from .net import dispatcher\nclass C(dispatcher):{BODY}"}
    assert found(tmp_path, **files) == ["main:3 CYN204"]
    assert found(tmp_path, "CYN302", **files) == ["net:1 CYN302"]


def test_inherited_predicate_is_reported_once(tmp_path: Path) -> None:
    source = """\
import asyncore
class A(asyncore.dispatcher):
    def readable(self):
        return self.flag
class B(A):
    pass
"""
    assert found(tmp_path, main=source) == ["main:3 CYN101"]


def test_remedy_for_a_constant_does_not_uncover_a_base(tmp_path: Path) -> None:
    source = """\
import asyncore
class A(asyncore.dispatcher):
    def readable(self):
        return self.flag
class B(A):
    def readable(self):
        return True
"""
    found(tmp_path, main=source)
    (one,) = [one for one in check([str(tmp_path)]).findings if one.line == 6]
    assert (one.code, one.remedy) == ("CYN102", "write `readable = asyncore.dispatcher.readable` in its place")


CHAT = """\
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
    assert [one.split()[1] for one in found(tmp_path, main=CHAT + tail + "\n")] == ["CYN201"]


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
    assert found(tmp_path, main=CHAT + tail + "\n") == []


ACCEPTS = """\
def handle_accept(self):
        try:
            sock, addr = self.accept()
        except TypeError:
            return
"""


@pytest.mark.parametrize(
    "body",
    [
        "def handle_accept(self):\n        p = self.accept()\n        if p is not None:\n            a, b = p",
        "def handle_accept(self):\n        pair = self.accept()\n        if pair:\n            a, b = pair",
        ACCEPTS,
        "def handle_error(self):\n        self.fail()\n    def fail(self):\n        self.close()",
        "def handle_error(self):\n        if self.strict:\n            raise\n        self.close()",
        "def handle_close(self):\n        super().handle_close()",
        "def handle_close(self):\n        self.server.drop(self)",
        "def handle_close(self):\n        self.stop()\n    def stop(self):\n        self.close()",
        "def handle_close(self):\n        raise asyncore.ExitNow",
        "def handle_close(self):\n        self.loop.call_soon(self.close)",
        "def handle_read(self):\n        threading.Thread(target=lambda: time.sleep(1)).start()",
        "def work(self):\n        time.sleep(1)",
        "def handle_read(self):\n        time.sleep(0)",
        "def handle_read(self):\n        self.q.get(timeout=1)\n    def begin(self):\n        self.q = queue.Queue()",
        "def handle_write(self):\n        self.send(b'banner')\n        self.close()",
        "def handle_read(self):\n        self.buffer = self.buffer[self.used:]",
        "def __init__(self, sock):\n        asyncore.dispatcher.__init__(self, sock)",
        "def __init__(self):\n        self.x = 0\n    def begin(self):\n        asyncore.dispatcher.__init__(self)",
        "def process_message(self, peer, mailfrom, rcpttos, data):\n        pass",
        "def push(self, text):\n        self.send(text.encode())\n    def hi(self):\n        self.push('hi')",
    ],
)
def test_good_channel_is_left_alone(body: str, tmp_path: Path) -> None:
    head = "import asyncore, queue, threading, time\nclass C(asyncore.dispatcher):\n    "
    assert found(tmp_path, main=head + body + "\n") == []


GUARDS = """\
while True:
    try:
        asyncore.loop()
    except KeyboardInterrupt:
        break
    except:
        print("again")
"""


@pytest.mark.parametrize(
    "source",
    [
        "asyncore.loop()",
        "asyncore.loop(timeout=1)",
        "asyncore.loop(0.05)",  # without a count it is a loop that ends by itself
        "def f():\n    asyncore.poll()",
        "while True:\n    try:\n        asyncore.loop()\n    except Exception:\n        time.sleep(1)",
        GUARDS,
        "try:\n    asyncore.loop()\nexcept:\n    asyncore.close_all()\n    raise",
        "for c in list(asyncore.socket_map.values()):\n    c.close()",
        "for c in asyncore.socket_map.values():\n    print(c)",
        "select.select([sock], [], [])",
        "while True:\n    time.sleep(1)",
    ],
)
def test_good_loop_is_left_alone(source: str, tmp_path: Path) -> None:
    assert found(tmp_path, main=f"import asyncore, select, time\n{source}\n") == []
