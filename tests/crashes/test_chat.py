# SPDX-License-Identifier: MIT
"""What asynchat once could not come back from, or crashed at: each in a process of its own."""

from __future__ import annotations

import pytest

from tests.support.script import run_script

COMMON = """
import array, gc, socket
from cyncore import Loop, asynchat

class Line(asynchat.async_chat):
    def __init__(self, sock, map):
        super().__init__(sock, map)
        self.set_terminator(b"\\n")
    collect_incoming_data = asynchat.async_chat._collect_incoming_data
    def found_terminator(self):
        pass

def pair():
    near, far = socket.socketpair()
    near.setblocking(False)
    return near, far
"""


@pytest.mark.parametrize("item", ["array.array('B', b'abc')", "bytearray(b'abc')", "memoryview(b'abc')"])
def test_whatever_a_socket_takes_may_be_queued(item: str) -> None:
    """In a process of its own: what went round for ever in C could not be interrupted."""
    script = f"""
with Loop() as loop:
    near, far = pair()
    channel = Line(near, loop.map)
    channel.producer_fifo.append({item})
    loop.poll(0)
    print(far.recv(10), list(channel.producer_fifo))
    channel.close()
    far.close()
"""
    assert run_script(COMMON + script) == "b'abc' []\n"


def test_a_queued_object_that_holds_no_bytes_is_an_error() -> None:
    script = """
class Telling(Line):
    def handle_error(self):
        import sys
        print(sys.exc_info()[0].__name__)
        self.close()

with Loop() as loop:
    near, far = pair()
    Telling(near, loop.map).producer_fifo.append([1, 2])
    for _ in range(3):
        loop.poll(0)
    print(far.recv(10), dict(loop.map))
    far.close()
"""
    assert run_script(COMMON + script) == "TypeError\nb'' {}\n"


@pytest.mark.parametrize("kind", ["Item()", "Bytes(b'x')", "Str('x')"])
def test_a_queued_object_may_empty_the_queue_it_is_in(kind: str) -> None:
    script = f"""
def empty():
    channel.producer_fifo.clear()
    channel.producer_fifo.rotate(0)
    return b"data"

class Item:
    def __getitem__(self, key):
        return empty()
    def __len__(self):
        return 4

class Bytes(bytes):
    def __bytes__(self):
        return empty()

class Str(str):
    def encode(self, *arguments):
        return empty()

with Loop() as loop:
    near, far = pair()
    channel = Line(near, loop.map)
    channel.use_encoding = 1
    channel.handle_error = lambda: None
    channel.producer_fifo.extend([{kind} for _ in range(20)])
    for _ in range(10):
        loop.poll(0)
    channel.close()
    far.close()
print("alive")
"""
    assert run_script(COMMON + script) == "alive\n"


def test_a_queue_outlives_a_channel_that_the_collector_took() -> None:
    script = """
queues = []
for _ in range(50):
    near, far = pair()
    channel = Line(near, {})
    queues.append(channel.producer_fifo)
    channel.me = channel
    channel.del_channel()
    near.close()
    far.close()
    del channel
gc.collect()
junk = [bytearray(b"A" * size) for size in range(100, 700) for _ in range(20)]
for queue in queues:
    queue.append(b"x")
print("alive", len(queues[0]))
"""
    assert run_script(COMMON + script) == "alive 1\n"


def test_a_terminator_that_is_true_and_empty_ends_nothing() -> None:
    script = """
class Odd(bytes):
    def __bool__(self):
        return True

class Collecting(Line):
    def found_terminator(self):
        raise SystemExit("an endless loop")

with Loop() as loop:
    near, far = pair()
    channel = Collecting(near, loop.map)
    channel.set_terminator(Odd())
    far.send(b"abc")
    loop.poll(0)
    print(channel._get_data())
    channel.close()
    far.close()
"""
    assert run_script(COMMON + script) == "b'abc'\n"


def test_an_attribute_of_the_class_may_empty_the_input_that_is_being_delivered() -> None:
    script = """
class Size:
    def __get__(self, channel, kind=None):
        if channel is None and armed:
            line.ac_in_buffer = b""
        return 4096

class Own(Line):
    ac_in_buffer_size = Size()
    def collect_incoming_data(self, data):
        assert type(data) is bytes
    def found_terminator(self):
        global armed
        armed = True
        Own.max_incoming = 1000  # so that the class is read again

armed = False
with Loop() as loop:
    near, far = pair()
    line = Own(near, loop.map)
    far.send(b"1\\n2\\n3\\n")
    loop.poll(0)
    line.close()
    far.close()
print("alive")
"""
    assert run_script(COMMON + script) == "alive\n"
