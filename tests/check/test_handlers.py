# SPDX-License-Identifier: MIT
"""What ``python -m cyncore check`` says of handlers and of the state of a channel, and where it keeps silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.check import found, told

QUEUE = "def __init__(self):\n    self.jobs = queue.Queue()\n    self.size: int = 3\n    self.kept = None\n"


# What waits


@pytest.mark.parametrize(
    ("call", "waits"),
    [
        ("self.jobs.get()", True),
        ("self.jobs.get(True)", True),
        ("self.jobs.get(False)", False),
        ("self.jobs.get(block=False)", False),
        ("self.jobs.get(timeout=0.1)", False),
        ("self.kept.get()", False),
    ],
)
def test_queue_without_a_timeout_holds_everybody_up(call: str, waits: bool, tmp_path: Path) -> None:
    found = told(tmp_path, "CYN205", body=f"{QUEUE}def handle_read(self):\n    {call}")
    assert [one.split(" in ")[0] for one in found] == ["CYN205 self.jobs.get() without a timeout"] * waits


def test_queue_that_is_looked_at_first_is_left_alone(tmp_path: Path) -> None:
    body = f"{QUEUE}def handle_read(self):\n    if not self.jobs.empty():\n        self.jobs.get()"
    assert told(tmp_path, "CYN205", body=body) == []


def test_queue_of_a_static_method_is_nobody_s_known(tmp_path: Path) -> None:
    body = f"{QUEUE}@staticmethod\ndef handle_read(jobs):\n    jobs.get()"
    assert told(tmp_path, "CYN205", body=body) == []


# What ends a channel


@pytest.mark.parametrize(
    ("body", "open_still"),
    [
        ("def handle_error(self): self.log_info('failed')", True),
        ("def handle_error(self): print(self)", True),
        ("@counted\n@classmethod\ndef handle_error(cls): print('failed')", True),
        ("def handle_error(self): self.log_info('failed')\ndef handle_accepted(self, *pair): pass", False),
        ("def handle_error(self): pass\ndef go(self): self.create_socket(socket.AF_INET, socket.SOCK_DGRAM)", False),
        ("def handle_error(self): self.one()\n" + "def one(self): self.one()", False),
        (
            "def handle_error(self): self.m0()\n"
            + "".join(f"def m{number}(self): self.m{number + 1}()\n" for number in range(10))
            + "def m10(self): pass",
            False,  # so many steps away, nobody follows it
        ),
    ],
)
def test_error_handler_that_leaves_a_failed_channel_open_is_found(body: str, open_still: bool, tmp_path: Path) -> None:
    assert len(told(tmp_path, "CYN207", body=body)) == open_still


@pytest.mark.parametrize(
    ("body", "open_still"),
    [
        ("def handle_close(self): self.over = True", True),
        ("def handle_close(self): self.over = True\ndef readable(self): return not self.over", False),
        ("def handle_close(self): self.pause_reading()\ndef pause_reading(self): pass", False),
        ("def handle_close(self): pass\ndef go(self): self.create_socket(socket.AF_INET, socket.SOCK_DGRAM)", False),
    ],
)
def test_close_handler_that_leaves_the_channel_open_is_found(body: str, open_still: bool, tmp_path: Path) -> None:
    assert len(told(tmp_path, "CYN208", body=body)) == open_still


# accept()


@pytest.mark.parametrize(
    ("lines", "fails"),
    [
        ("a, b = self.accept()", True),
        ("pair = self.accept()\na, b = pair", True),
        ("pair = self.accept()\nsock = pair[0]", True),
        ("sock = self.accept()[0]", True),
        ("pair = self.accept()\nassert pair\na, b = pair", False),
        ("pair = self.accept()\nmatch pair:\n    case (a, b):\n        sock = pair[0]", False),
        ("self.pair = self.accept()", False),
    ],
)
def test_accept_that_may_give_none_is_found(lines: str, fails: bool, tmp_path: Path) -> None:
    body = "def handle_accept(self):\n" + "\n".join(f"    {line}" for line in lines.splitlines())
    assert bool(told(tmp_path, "CYN210", body=body)) == fails


# What is sent


@pytest.mark.parametrize(
    ("text", "is_text"),
    [("'a' + 'b'", True), ("'%d' % 3", True), ("b'%d' % 3", False), ("2 * 'a'", False), ("'{}'.format(3)", True)],
)
def test_str_that_is_sent_is_found(text: str, is_text: bool, tmp_path: Path) -> None:
    assert len(told(tmp_path, "CYN218", body=f"def hi(self): self.send({text})")) == is_text


@pytest.mark.parametrize(
    ("line", "copies"),
    [
        ("self.buffer = self.buffer[sent:]", True),
        ("self.buffer = self.buffer[0]", False),
        ("self.buffer = other[sent:]", False),
        ("buffer = self.buffer[sent:]", False),
        ("self.buffer = self.buffer[sent:10]", False),
    ],
)
def test_buffer_that_is_copied_at_every_send_is_found(line: str, copies: bool, tmp_path: Path) -> None:
    body = f"def handle_write(self):\n    sent = self.send(self.buffer)\n    {line}"
    assert len(told(tmp_path, "CYN107", body=body)) == copies


# State


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("vars(self)['handle_read'] = f", True),
        ("self.__dict__['handle_read'] = f", True),
        ("self.__dict__['name'] = f", False),
        ("table()['handle_read'] = f", False),
        ("object.__setattr__(self, 'x', 1)", True),
        ("object.__setattr__(other, 'x', 1)", False),
    ],
)
def test_ways_around_the_engine_are_found(line: str, found: bool, tmp_path: Path) -> None:
    assert len(told(tmp_path, "CYN213", body=f"def go(self):\n    {line}")) == found


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
