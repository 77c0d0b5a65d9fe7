# SPDX-License-Identifier: MIT
"""A queue of output whose numbers and items use it, or run the loop: each in a process of its own."""

from __future__ import annotations

from tests.support.script import run_script

COMMON = """
import socket
from cyncore import Loop, asynchat

near, far = socket.socketpair()
near.setblocking(False)
loop = Loop()
channel = asynchat.async_chat(near, loop.map)
channel.ac_out_buffer_size = 1_000_000
queue = channel.producer_fifo

def take_all():
    taken = []
    for _ in range(100):
        loop.poll(0)
        try:
            while True:
                taken.append(far.recv(1 << 20, socket.MSG_DONTWAIT))
        except BlockingIOError:
            pass
    return b"".join(taken)

def end(sent):
    channel.close()
    far.close()
    loop.close()
    print(sent)
"""


def test_an_item_whose_finalizer_empties_the_queue_may_be_deleted() -> None:
    script = """
class Item:
    def __del__(self):
        queue.clear()
    def more(self):
        return b""

queue.append(Item())
queue.append(b"x")
del queue[0]
print(len(queue), bool(queue))
queue.append(b"y")
print(len(queue), list(queue))
end(take_all())
"""
    assert run_script(COMMON + script) == "0 False\n1 [b'y']\nb'y'\n"


def test_a_number_of_places_to_turn_may_run_the_loop() -> None:
    script = """
class Number:
    def __index__(self):
        queue.extend([b"a"] * 50)
        queue.append(b"b" * 10_000_000)
        loop.poll(0)
        return 0

queue.append(b"c")
queue.rotate(Number())
print(len(queue) > 0, bool(queue), set(list(queue)[0]) == set(b"b"))
sent = take_all()
end((sent[:51], len(sent)))
"""
    assert run_script(COMMON + script) == f"True True True\n(b'c{'a' * 50}', 10000051)\n"


def test_a_place_to_insert_at_may_run_the_loop() -> None:
    """What the socket had taken of the first item was taken for a part of the one before it."""
    script = """
class Number:
    def __index__(self):
        loop.poll(0)
        return 0

queue.append(b"b" * 10_000_000)
queue.insert(Number(), b"abc")
print(len(queue))
end(len(take_all()))
"""
    assert run_script(COMMON + script) == "2\n10000003\n"


def test_a_factor_may_run_the_loop() -> None:
    script = """
class Number:
    def __index__(self):
        loop.poll(0)
        return 0

queue.append(b"b" * 10_000_000)
queue *= Number()
print(len(queue), list(queue))
queue.append(b"abc")
end(take_all()[-3:])
"""
    assert run_script(COMMON + script) == "0 []\nb'abc'\n"


def test_a_comparison_may_run_the_loop() -> None:
    script = """
class Equal:
    def __eq__(self, other):
        loop.poll(0)
        return True

queue.append(b"b" * 10_000_000)
queue.append(b"abc")
try:
    queue.remove(Equal())
except IndexError:  # a queue in plain Python may have taken it out
    pass
end(take_all()[-3:])
"""
    assert run_script(COMMON + script) == "b'abc'\n"
