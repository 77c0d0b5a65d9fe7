# SPDX-License-Identifier: MIT
"""A loop that is closed just before its tick begins: each in a process of its own."""

from __future__ import annotations

import sys

import pytest

from tests.support.script import run_script


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_the_handler_of_a_signal_may_close_the_loop_that_begins_to_run() -> None:
    script = """
import _thread, functools, operator, signal
from cyncore import Loop

loop = Loop()
signal.signal(signal.SIGUSR1, lambda number, frame: loop.close())
# no Python code runs between the two, so that the handler is called in the tick
calls = [functools.partial(_thread.interrupt_main, signal.SIGUSR1), functools.partial(loop.poll, 0)]
try:
    list(map(operator.methodcaller("__call__"), calls))
except RuntimeError:
    pass  # in plain Python it has closed the loop before
print(loop.closed)
"""
    assert run_script(script) == "True\n"


def test_what_is_sent_before_a_tick_in_another_one_may_close_its_loop() -> None:
    script = """
import socket
from cyncore import Loop, asynchat

class Producer:
    def more(self):
        other.close()
        return b""

class Pushing(asynchat.async_chat):
    gather_pushes = True
    def handle_read(self):
        self.recv(10)
        self.push_with_producer(Producer())
        try:
            other.poll(0)
        except RuntimeError:
            print("refused")
    def handle_error(self):
        raise

near, far = socket.socketpair()
near.setblocking(False)
loop, other = Loop(), Loop()
channel = Pushing(near, loop.map)
far.send(b"x")
loop.poll(0)
channel.close()
far.close()
loop.close()
print("alive")
"""
    assert run_script(script).splitlines()[-1] == "alive"
