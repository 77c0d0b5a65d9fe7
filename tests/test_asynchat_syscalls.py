# SPDX-License-Identifier: MIT
"""What handlers push in a tick leaves in one system call, counted by strace in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chat_support import OLD
from traced import trace

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


def test_all_answers_to_a_channel_leave_in_one_call(tmp_path: Path) -> None:
    [calls] = sends(
        """
far.send(b"one\\ntwo\\nthree\\nfour\\n")
mark("answers")
loop.poll()
assert far.recv(1000) == b"<one><two><three><four>"
""",
        tmp_path,
    )
    assert len(calls) == 1


def test_pushes_of_many_channels_to_one_leave_in_one_call(tmp_path: Path) -> None:
    [calls] = sends(
        """
class Telling(Answering):
    def found_terminator(self):
        channel.push(b"told")
fars = [made(Telling)[1] for _ in range(20)]
for other in fars:
    other.send(b"tell\\n")
mark("tell")
loop.poll()
assert far.recv(1000) == b"told" * 20
""",
        tmp_path,
    )
    assert len(calls) == 1


def test_pushes_of_queued_calls_leave_in_one_call(tmp_path: Path) -> None:
    [calls] = sends(
        """
for _ in range(10):
    loop.call_soon(channel.push, b"soon")
mark("soon")
loop.poll()
assert far.recv(1000) == b"soon" * 10
""",
        tmp_path,
    )
    assert len(calls) == 1


def test_producers_and_pushes_leave_in_one_call(tmp_path: Path) -> None:
    [calls] = sends(
        """
class Mixed(Answering):
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
    assert len(calls) == 1


def test_one_answer_a_tick_is_one_call(tmp_path: Path) -> None:
    ticks = sends(
        """
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


def test_close_after_a_push_is_one_call(tmp_path: Path) -> None:
    [calls] = sends(
        """
class Parting(Answering):
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
    assert len(calls) == 1


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
