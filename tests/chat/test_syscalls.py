# SPDX-License-Identifier: MIT
"""In how many system calls what is pushed leaves, counted by strace in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.chat import OLD
from tests.support.trace import trace

# `mark` writes to a descriptor that is not open, which strace shows between the calls that are counted.
COMMON = """
import os, socket
from cyncore import Loop, asynchat

def mark(name):
    try:
        os.write(-1, name.encode())
    except OSError:
        pass

class Answering(asynchat.async_chat):
    def __init__(self, *args):
        super().__init__(*args)
        self.set_terminator(b"\\n")
    def collect_incoming_data(self, data):
        self.incoming.append(data)
    def found_terminator(self):
        self.push(b"<")
        self.push(self._get_data())
        self.push(b">")

class Once(Answering):
    def found_terminator(self):
        self.push(b"<" + self._get_data() + b">")

class Gathering(Answering):
    gather_pushes = True

loop = Loop()
def made(kind=Answering):
    near, far = socket.socketpair()
    far.setblocking(False)
    return kind(near, loop.map), far
channel, far = made()
for _ in range(3):
    loop.poll()
mark(f"fd {channel.socket.fileno()}")
"""


def sends(source: str, folder: Path) -> list[list[str]]:
    """The calls that send on the channel's socket, by name, in a list for each `mark` after the first."""
    if OLD:
        pytest.skip("only the compiled engine makes a promise of it")
    lines = trace(COMMON + source + "os._exit(0)", "write,?send,?sendto,?sendmsg,?sendmmsg,writev,?socketcall", folder)
    fd, found = "", []
    for line in lines:
        marked = re.search(r'write\(-1, "(\w+)(?: (\d+))?"', line)
        called = re.search(r"(send\w*|write\w*|socketcall)\((?:\w+, \[)?(\d+),", line)
        if marked:
            fd = marked[2] or fd
            found.append([])
        elif called and found and called[2] == fd:
            found[-1].append(called[1])
    return found[1:]


def test_each_push_of_a_handler_is_a_call(tmp_path: Path) -> None:
    [calls] = sends(
        """
far.send(b"one\\n")
mark("answers")
loop.poll()
assert far.recv(1000) == b"<one>"
""",
        tmp_path,
    )
    assert len(calls) == 3


@pytest.mark.parametrize(("kind", "count"), [("Once", 1), ("Answering", 3), ("Gathering", 1)])
def test_answers_to_lines_that_came_together_leave_with_the_first_push_of_the_last(
    tmp_path: Path, kind: str, count: int
) -> None:
    [calls] = sends(
        f"""
channel.__class__ = {kind}
far.send(b"one\\ntwo\\nthree\\nfour\\nfi")
mark("answers")
loop.poll()
assert far.recv(1000) == b"<one><two><three><four>"
""",
        tmp_path,
    )
    assert len(calls) == count


def test_answers_to_counted_pieces_that_came_together_leave_in_one_call(tmp_path: Path) -> None:
    [calls] = sends(
        """
class Counted(Once):
    def found_terminator(self):
        self.set_terminator(3)
        super().found_terminator()
channel.__class__ = Counted
channel.set_terminator(3)
far.send(b"onetwosixte")
mark("answers")
loop.poll()
assert far.recv(1000) == b"<one><two><six>"
""",
        tmp_path,
    )
    assert len(calls) == 1


def test_more_pieces_than_one_call_sends_leave_in_as_few_as_it_takes(tmp_path: Path) -> None:
    [calls] = sends(
        """
channel.__class__ = Once
far.send(b"line\\n" * 640)
mark("answers")
loop.poll()
assert far.recv(10000) == b"<line>" * 640
""",
        tmp_path,
    )
    assert len(calls) <= 11


GATHERED = """
class Telling(Answering):
    def found_terminator(self):
        for _ in range(5):
            channel.push(b"told")
fars = [made(Telling)[1] for _ in range(10)]
for other in fars:
    other.send(b"tell\\n")
mark("tell")
loop.poll()
assert far.recv(1000) == b"told" * 50
"""


@pytest.mark.parametrize(("first", "count"), [
    ("", 50),
    ("channel.__class__ = Gathering", 1),
    ("channel.gather_pushes = True", 1),
    ("asynchat.async_chat.gather_pushes = True", 1),
    ("Gathering.gather_pushes = property(lambda self: True); channel.__class__ = Gathering", 1),
    ("channel.__class__ = Gathering; channel.gather_pushes = False", 50),
    ("channel.__class__ = Gathering; channel.gather_pushes = False; del channel.gather_pushes", 1),
])  # fmt: skip
def test_pushes_of_other_channels_leave_at_once_or_together(tmp_path: Path, first: str, count: int) -> None:
    [calls] = sends(f"{first}\n{GATHERED}", tmp_path)
    assert len(calls) == count


@pytest.mark.parametrize(("gathers", "count"), [(False, 10), (True, 1)])
def test_pushes_of_queued_calls_leave_at_once_or_together(tmp_path: Path, gathers: bool, count: int) -> None:
    [calls] = sends(
        f"""
channel.gather_pushes = {gathers}
for _ in range(10):
    loop.call_soon(channel.push, b"soon")
mark("soon")
loop.poll()
assert far.recv(1000) == b"soon" * 10
""",
        tmp_path,
    )
    assert len(calls) == count


def test_pushes_of_another_thread_leave_in_one_call(tmp_path: Path) -> None:
    [calls] = sends(
        """
import threading
def push():
    for _ in range(10):
        channel.push(b"data")
def run():
    thread = threading.Thread(target=push)
    thread.start()
    thread.join()
loop.call_soon(run)
mark("thread")
loop.poll()
loop.poll()
assert far.recv(1000) == b"data" * 10
""",
        tmp_path,
    )
    assert len(calls) == 1


@pytest.mark.parametrize(("gathers", "count"), [(False, 3), (True, 1)])
def test_a_producer_s_parts_leave_in_one_call(tmp_path: Path, gathers: bool, count: int) -> None:
    [calls] = sends(
        f"""
class Mixed(Answering):
    gather_pushes = {gathers}
    def found_terminator(self):
        self.push(b"head ")
        self.push_with_producer(asynchat.simple_producer(b"body " * 300, 512))
        self.push(b"tail")
channel.__class__ = Mixed
far.send(b"get\\n")
mark("get")
loop.poll()
assert far.recv(10000) == b"head " + b"body " * 300 + b"tail"
""",
        tmp_path,
    )
    assert len(calls) == count


def test_one_answer_a_tick_is_one_call(tmp_path: Path) -> None:
    ticks = sends(
        """
channel.__class__ = Once
for _ in range(5):
    far.send(b"one\\n")
    mark("tick")
    loop.poll()
    assert far.recv(1000) == b"<one>"
""",
        tmp_path,
    )
    assert [len(calls) for calls in ticks] == [1] * 5


def test_push_from_outside_is_one_call_at_once(tmp_path: Path) -> None:
    *pushes, polled = sends(
        """
for _ in range(3):
    mark("push")
    channel.push(b"data")
    assert far.recv(1000) == b"data"
mark("poll")
for _ in range(5):
    loop.poll()
""",
        tmp_path,
    )
    assert [len(calls) for calls in pushes] == [1] * 3
    assert polled == []


@pytest.mark.parametrize(("kind", "count"), [("Answering", 3), ("Gathering", 1)])
def test_close_after_pushes_makes_no_more_calls(tmp_path: Path, kind: str, count: int) -> None:
    [calls] = sends(
        f"""
class Parting({kind}):
    def found_terminator(self):
        super().found_terminator()
        self.close()
channel.__class__ = Parting
far.send(b"quit\\n")
mark("quit")
loop.poll()
assert far.recv(1000) == b"<quit>"
assert far.recv(1000) == b""
""",
        tmp_path,
    )
    assert len(calls) == count


def test_what_nobody_can_take_is_tried_no_more_often_than_it_is_pushed(tmp_path: Path) -> None:
    """And a channel without a connection, which has something queued, costs no system call at all."""
    pushes, polled = sends(
        """
channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
while not channel.producer_fifo:
    channel.push(bytes(1000))
mark("push")
for _ in range(10):
    channel.push(b"more")
mark("poll")
for _ in range(10):
    loop.poll()
""",
        tmp_path,
    )
    assert len(pushes) <= 10
    assert polled == []


def test_large_queue_leaves_in_calls_of_the_size_that_the_class_says(tmp_path: Path) -> None:
    [calls] = sends(
        """
mark("push")
for _ in range(64):
    channel.push(b"")
for number in range(32):
    channel.producer_fifo.append(bytes(16384))
got = 0
while got < 32 * 16384:
    loop.poll(0.1)
    try:
        got += len(far.recv(1 << 20))
    except BlockingIOError:
        pass
""",
        tmp_path,
    )
    assert len(calls) <= 32  # 512 KB in pieces of 64 KB are 8; a full socket costs some more
