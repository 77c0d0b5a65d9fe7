# SPDX-License-Identifier: MIT
"""What ended the process once, around predicates: each in a process of its own."""

from __future__ import annotations

import sys

import pytest

import cyncore
from cyncore import Loop
from tests.support.coverage import not_measured
from tests.support.script import run_script

CLOSER = """
import socket, threading
from cyncore import Loop, dispatcher

loop = Loop()
armed = False

class Closer(dispatcher):
    def readable(self):
        global armed
        if armed:
            armed = False
            close()
        return True

    def handle_read(self):
        global armed
        self.recv(10)
        armed = True

    def handle_error(self):
        raise

def close():
    try:
        loop.close()
    except RuntimeError:
        print("refused")

def close_elsewhere(function=close):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()

near, far = socket.socketpair()
channel = Closer(near, loop.map)
"""
ELSEWHERE = {False: "", True: "close = lambda close=close: close_elsewhere(close)\n"}


def has_descriptor(loop: Loop) -> bool:
    try:
        loop.fileno()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("elsewhere", [False, True])
def test_predicate_that_fileno_asks_cannot_close_the_loop(loop: Loop, elsewhere: bool) -> None:
    if not has_descriptor(loop):
        pytest.skip("no descriptor with this backend")
    script = """
armed = True
loop.fileno()
far.send(b"x")
print(loop.poll(5), loop.closed)
channel.close()
far.close()
loop.close()
"""
    assert run_script(CLOSER + ELSEWHERE[elsewhere] + script) == "refused\nrefused\n1 False\n"


@pytest.mark.parametrize("elsewhere", [False, True])
def test_predicate_asked_at_the_end_of_a_poll_cannot_close_the_loop(elsewhere: bool) -> None:
    script = """
loop.poll(0)
far.send(b"x")
print(loop.poll(5), loop.closed)
print(loop.poll(0), loop.closed)
channel.close()
far.close()
loop.close()
"""
    said = run_script(CLOSER + ELSEWHERE[elsewhere] + script)
    assert sorted(said.splitlines()) == ["0 False", "1 False", "refused"]


def test_map_of_the_program_s_own_cannot_close_the_loop_that_reads_it(loop: Loop) -> None:
    if not has_descriptor(loop):
        pytest.skip("no descriptor with this backend")
    script = """
from collections import UserDict
import cyncore

class Map(UserDict):
    armed = False
    def items(self):
        if self.armed:
            self.armed = False
            try:
                loop.close()
            except RuntimeError:
                print("refused")
        return UserDict.items(self)

map = Map()
with cyncore.Loop(map) as loop:
    map.armed = True
    loop.fileno()
    map.armed = True
    loop.poll(0)
    print(loop.closed)
"""
    assert run_script(script) == "refused\nrefused\nFalse\n"


def test_ticks_of_greenlets_end_in_any_order() -> None:
    pytest.importorskip("greenlet")
    script = """
import gc, struct
import cyncore, greenlet

main = greenlet.getcurrent()

def make():
    loop = cyncore.Loop({})
    loop.call_soon(main.switch)
    return lambda: loop.poll(0)

for _ in range(20):
    one, two = greenlet.greenlet(make()), greenlet.greenlet(make())
    one.switch(), two.switch()
    one.switch()
    del one
    gc.collect()
    size = getattr(cyncore.Loop, "__basicsize__", 0)  # PyPy tells none
    two.switch()
    sizes = range(max(1, size // 8 - 8), size // 8 + 8)
    junk = [struct.pack("%dq" % count, *range(count)) for count in sizes for _ in range(50)]
    cyncore.Loop({}).poll(0)
print("alive")
"""
    assert run_script(script) == "alive\n"


FAILING = """
import os, socket, sys
import _testcapi
from cyncore import Loop, asyncore

class Asked(asyncore.dispatcher):
    def readable(self):
        return True
    def handle_read(self):
        self.recv(10)
    def handle_error(self):
        pass

def join(first):
    channels = {}
    loop = Loop(channels)
    near, far = socket.socketpair()
    channel = Asked.__new__(Asked)
    Asked(socket.socketpair()[0], {})
    _testcapi.set_nomemory(first, first + 1)
    try:
        Asked.__init__(channel, near, channels)
    except MemoryError:
        pass
    finally:
        _testcapi.remove_mem_hooks()
    loop.poll(0)

def mark(first):
    loop = Loop({})
    pairs = [socket.socketpair() for _ in range(8)]
    channels = [Asked(pair[0], loop.map) for pair in pairs]
    loop.poll(0)
    _testcapi.set_nomemory(first, first + 1)
    try:
        for channel in channels:
            channel.note = 1
        channels[0].close()
        loop.poll(0)
    except MemoryError:
        pass
    finally:
        _testcapi.remove_mem_hooks()
    for channel in channels[1:4]:
        channel.close()
    loop.poll(0)

crashed = []
for first in range(1, 60):
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            work(first)
        except BaseException:
            pass
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        crashed.append(first)
print("crashed:", crashed)
"""


@not_measured("it fails allocations of the measuring, too")
@pytest.mark.skipif(sys.version_info[:2] == (3, 13), reason="Python 3.13 itself crashes at some failed allocations")
@pytest.mark.skipif(not cyncore.native, reason="what crashes there is Python itself, as 3.12 does")
@pytest.mark.parametrize("work", ["join", "mark"])
def test_one_failed_allocation_ends_no_process(work: str) -> None:
    pytest.importorskip("_testcapi")
    assert run_script(FAILING.replace("work(first)", f"{work}(first)")) == "crashed: []\n"


def test_channels_that_close_while_the_active_ones_are_asked_leave_no_hole() -> None:
    """One of them closes itself at the end of that pass, and its neighbour at the very next event.

    The neighbour's place was written into the hole, that is into what memory has behind None.
    """
    script = """
import ctypes, socket, threading
from cyncore import Loop, dispatcher, native

def behind_none():
    head = object.__basicsize__  # what is far behind may change
    return ctypes.string_at(id(None) + head, 8 * head)

if not native:  # which writes to no address, and on PyPy an id is none
    behind_none = int

class Active(dispatcher):
    def readable(self):
        if self is dying[0]:
            self.close()
        return True
    def handle_read(self):
        self.recv(10)
        if closing:
            self.close()
            loop.call_soon(loop.stop)

class Trigger(dispatcher):
    def handle_read(self):
        global closing
        self.recv(10)
        dying[0], closing = channels[-1] if number else None, True
        thread.start()

for number in range(5):
    loop, dying, closing = Loop(), [None], False
    pairs = [socket.socketpair() for _ in range(5)]
    channels = [Active(pair[0], loop.map) for pair in pairs[1:]]
    trigger = Trigger(pairs[0][0], loop.map)
    for pair in pairs[1:]:
        pair[1].send(b"x")
    loop.poll(0)
    thread = threading.Timer(0.02, pairs[1][1].send, (b"x",))
    loop.call_soon(pairs[0][1].send, b"x")
    before = behind_none()
    loop.run()
    assert number == 0 or before == behind_none()
    thread.join()
    for _ in range(3):
        loop.poll(0)
    for channel in [trigger, *channels]:
        if channel._fileno is not None:
            channel.close()
    for pair in pairs:
        pair[1].close()
    loop.close()
print("alive")
"""
    assert run_script(script) == "alive\n"


def test_predicate_may_take_its_channel_to_another_loop() -> None:
    script = """
import socket
from cyncore import Loop, dispatcher

class Mover(dispatcher):
    to = None
    def readable(self):
        if self.to is not None:
            sock, to, self.to = self.socket, self.to, None
            self.del_channel()
            self._map = to
            self.set_socket(sock, to)
        return True
    def handle_read(self):
        self.recv(10)

one, two = Loop(), Loop()
def run(loop):
    loop.call_soon(loop.call_soon, loop.call_soon, loop.stop)
    loop.run()

for poll in (lambda loop: loop.poll(0), run):
    for _ in range(30):
        near, far = socket.socketpair()
        mover = Mover(near, one.map)
        mover.to = two.map
        poll(one)
        assert not one.map and list(two.map.values()) == [mover]
        mover.to = one.map
        if _ % 2:
            far.send(b"x")
            poll(two)
        mover.close()
        poll(two), poll(one)
        far.close()
one.close(), two.close()
print("alive")
"""
    assert run_script(script) == "alive\n"
