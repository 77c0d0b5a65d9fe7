# SPDX-License-Identifier: MIT
"""Channels that code of the program takes out of the loop in the midst of a step: each in a process of its own."""

from __future__ import annotations

import pytest

from tests.support.script import run_script

COMMON = """
import socket
from collections import UserDict, deque
from cyncore import Loop, asynchat, dispatcher

class Asked(dispatcher):
    armed = False
    def readable(self):
        return True
    def handle_read(self):
        self.recv(10)
    def leave(self):
        if self.armed:
            self.__dict__["armed"] = False
            self.del_channel()

near, far = socket.socketpair()
near.setblocking(False)
"""


def run(script: str) -> str:
    """Runs it, whatever sockets it leaves open: a channel that has left the loop closes none."""
    return run_script(COMMON + script, "-W", "ignore::ResourceWarning")


def test_a_socket_may_close_its_channel_and_still_claim_to_hold_bytes() -> None:
    script = """
class Fake:
    def __getattr__(self, name):
        return getattr(near, name)
    def pending(self):
        self.channel.close()
        return 1

class Reader(dispatcher):
    def handle_read(self):
        self.recv(10)
    def handle_error(self):
        raise

loop, fake = Loop(), Fake()
fake.channel = Reader(fake, loop.map)
far.send(b"x")
for _ in range(3):
    loop.poll(0)
print(loop.map)
"""
    assert run(script) == "{}\n"


@pytest.mark.parametrize("name", ["connected", "gather_pushes"])
def test_an_attribute_that_a_push_asks_for_may_take_the_channel_out(name: str) -> None:
    script = f"""
class Line(asynchat.async_chat):
    armed = False
    gather_pushes = True
    def {name}(self):
        if self.armed:
            self.armed = False
            self.del_channel()
        return True
    {name} = property({name}, lambda self, value: None)
    collect_incoming_data = asynchat.async_chat._collect_incoming_data
    def found_terminator(self):
        self.armed = True
        self.push(b"x")
    def handle_error(self):
        raise

loop = Loop()
line = Line(near, loop.map)
line.set_terminator(b"\\n")
far.send(b"1\\n2\\n3\\n")
for _ in range(3):
    loop.poll(0)
print(loop.map)
"""
    assert run(script) == "{}\n"


def test_an_attribute_that_a_push_asks_for_may_put_another_queue_in_its_place() -> None:
    script = """
class Line(asynchat.async_chat):
    armed = False
    @property
    def gather_pushes(self):
        if self.armed:
            self.armed = False
            self.producer_fifo = None
        return True
    def handle_error(self):
        raise

loop = Loop()
line = Line(near, loop.map)
line.producer_fifo = deque()
loop.call_soon(lambda: (line.push(b"x"), setattr(line, "armed", True)))
for _ in range(3):
    loop.poll(0)
print("alive")
"""
    assert run(script) == "alive\n"


@pytest.mark.parametrize(
    "how", ["channel.__class__ = Own", "channel.socket = near.dup()", "type(channel).socket = own"]
)
def test_a_socket_of_the_class_s_own_may_take_the_channel_out(how: str) -> None:
    script = f"""
def ask(self):
    self.leave()
    return self.__dict__.get("kept")
def keep(self, value):
    self.__dict__["kept"] = value
    self.leave()
own = property(ask, keep)
class Own(Asked):
    socket = own
class Other(Asked):
    pass

loop = Loop()
channel = {"Own" if "dup" in how else "Other"}(near, loop.map)
loop.poll(0)
channel.__dict__["armed"] = True
{how}
for _ in range(3):
    loop.poll(0)
print("alive")
"""
    assert run(script) == "alive\n"


def test_a_metaclass_may_take_the_channel_out_when_its_class_is_read() -> None:
    script = """
class Meta(type):
    def __getattribute__(cls, name):
        if name == "__get__" and channel.armed:
            channel.armed = False
            channel.del_channel()
        return type.__getattribute__(cls, name)

class State(metaclass=Meta):
    pass

class Own(Asked):
    connected = State()

loop = Loop()
channel = Asked(near, loop.map)
loop.poll(0)
channel.__dict__["armed"] = True
channel.__class__ = Own
for _ in range(3):
    loop.poll(0)
print("alive")
"""
    assert run(script) == "alive\n"


@pytest.mark.parametrize("answer", ["channel", "None"])
@pytest.mark.parametrize("how", ["channel.add_channel(other.map)", "move()"])
def test_a_map_may_take_the_channel_out_when_it_is_asked_for_it(how: str, answer: str) -> None:
    script = f"""
class Map(UserDict):
    armed = False
    def get(self, key, default=None):
        if self.armed:
            self.armed = False
            channel.del_channel()
            return {answer}
        return UserDict.get(self, key, default)

def move():
    channel._fileno = far.fileno()
    channel.add_channel(loop.map)

loop, other = Loop(Map()), Loop(Map())
channel = Asked(near, loop.map)
loop.poll(0)
loop.map.armed = True
try:
    {how}
except ValueError:
    pass
for _ in range(3):
    loop.poll(0), other.poll(0)
print("alive")
"""
    assert run(script) == "alive\n"


def test_a_wake_of_the_program_s_own_may_take_the_channel_out() -> None:
    script = """
class Own(Loop):
    def wake(self):
        channel.leave()
        super().wake()

loop = Own()
channel = Asked(near, loop.map)
loop.poll(0)
try:
    loop.fileno()
except OSError:  # no descriptor with this backend
    pass
channel.__dict__["armed"] = True
channel.accepting = True
channel.note = 1
loop.poll(0)
print("alive")
"""
    assert run(script) == "alive\n"
