# SPDX-License-Identifier: MIT
"""What ended the process once, around channels and loops: each in a process of its own, with every backend."""

from __future__ import annotations

import pytest

import cyncore
from tests.support.script import run_script

OWNERS = ["asyncore.dispatcher", "asyncore.dispatcher_with_send", "asynchat.async_chat", "cyncore.Loop"]
OWNERS += ["cyncore.TimerHandle", "cyncore.Stream", "cyncore.Datagram"]
OWNERS += ["type(asynchat.async_chat(map={}).producer_fifo)"]
BROKEN = RuntimeError if cyncore.native else Exception  # what an object that was never made raises

COMMON = """
import gc, socket
from cyncore import BACKENDS, Loop, dispatcher

class Quiet(dispatcher):
    def handle_read(self):
        self.recv(1)
    def handle_error(self):
        raise

class Fake:
    # A socket that holds bytes, or closes its channel when it is asked for the closes_at-th time.
    def __init__(self, sock, closes_at):
        self.sock, self.closes_at, self.asked = sock, closes_at, 0
    def __getattr__(self, name):
        return getattr(self.sock, name)
    def pending(self):
        self.asked += 1
        if self.asked == self.closes_at:
            self.channel.close()
            return 0
        return 1
"""


def test_a_loop_with_many_timers_may_be_collected() -> None:
    script = """
gc.disable()
def nothing(): pass
loop = Loop()
for number in range(600_000):
    loop.call_later(1000 + number, nothing)
del loop
gc.collect()
print("alive")
"""
    assert run_script(COMMON + script) == "alive\n"


@pytest.mark.parametrize("name", ["call_soon", "call_later", "call_at", "call_soon_threadsafe", "run", "poll"])
@pytest.mark.parametrize("how", ["Loop.__new__(Loop)", "Unmade()"])
def test_a_loop_that_was_never_initialised_says_so(how: str, name: str) -> None:
    arguments = {"call_soon": "print", "call_soon_threadsafe": "print", "call_later": "1, print", "call_at": "1, print"}
    script = f"""
class Unmade(Loop):
    def __init__(self): pass
loop = {how}
try:
    loop.{name}({arguments.get(name, "")})
except {BROKEN.__name__}:
    print("refused")
else:
    print("accepted")
"""
    assert run_script(COMMON + script) == "refused\n"


def test_a_loop_that_was_never_initialised_can_be_looked_at_and_dropped() -> None:
    script = """
class Unmade(Loop):
    def __init__(self): pass
for make in (lambda: Loop.__new__(Loop), Unmade):
    for work in (repr, lambda loop: loop.map, lambda loop: loop.backend, lambda loop: loop.running, Loop.stop,
                 Loop.wake, Loop.next_deadline, Loop.fileno, Loop.close):
        loop = make()
        try:
            work(loop)
        except Exception:
            pass
        del loop
        gc.collect()
print("alive")
"""
    assert run_script(COMMON + script) == "alive\n"


def test_a_socket_may_close_its_channel_when_asked_what_it_holds() -> None:
    script = """
class Pausing(Quiet):
    def handle_read(self):
        self.recv(9)
        self.pause_reading()
for backend in BACKENDS:
    for number in range(1, 8):
        ours, theirs = socket.socketpair()
        with ours, theirs, Loop(backend=backend) as loop:
            fake = Fake(ours, number)
            channel = fake.channel = Pausing(fake, loop.map)
            theirs.send(b"x")
            for _ in range(2):
                loop.poll(0)
            channel.resume_reading()
            channel.handle_error = lambda: None  # it may be read once more, and find nothing
            for _ in range(3):
                loop.poll(0)
            channel.close()
            del channel, fake.channel, fake
            gc.collect()
print("alive")
"""
    assert run_script(COMMON + script) == "alive\n"


def test_a_property_of_the_class_may_close_the_channel() -> None:
    script = """
class Closing(Quiet):
    asked = 0
    closes_at = None
    @property
    def connected(self):
        self.asked += 1
        if self.asked == self.closes_at:
            self.close()
        return True
    @connected.setter
    def connected(self, value): pass
    @property
    def connecting(self):
        return self.connected
    @connecting.setter
    def connecting(self, value): pass
    def handle_connect(self): pass
    def handle_error(self): pass
for backend in BACKENDS:
    for number in range(1, 25):
        ours, theirs = socket.socketpair()
        with ours, theirs, Loop(backend=backend) as loop:
            channel = Closing(ours, loop.map)
            channel.asked, channel.closes_at = 0, number
            theirs.send(b"xxx")
            for _ in range(10):
                channel.pause_reading()
                channel.resume_reading()
                loop.poll(0)
            channel.close()
print("alive")
"""
    assert run_script(COMMON + script) == "alive\n"


@pytest.mark.parametrize("how", ["method(other, *arguments)", "Borrower().method(*arguments)"])
@pytest.mark.parametrize("owner", OWNERS)
def test_a_method_that_is_called_for_another_object_refuses_it(owner: str, how: str) -> None:
    script = f"""
import logging, warnings
import cyncore
from cyncore import asynchat, asyncore
warnings.simplefilter("ignore")  # of the sockets that some of them make
logging.disable()  # they report for themselves
owner = {owner}
methods = [getattr(owner, name) for name in dir(owner) if not name.startswith(("__", "log"))]
for method in filter(callable, methods):
    class Borrower:
        pass
    Borrower.method = method
    for other in (Borrower(), 5, asyncore.dispatcher(map={{}})):
        for arguments in ((), (b"x",), (b"x", b"y")):
            try:
                {how}
            except Exception:
                pass
for name in ("send", "recv", "close", "add_channel", "write", "call_later", "cancel", "popleft"):
    if hasattr(owner, name):
        try:
            getattr(owner, name)(object(), *[b"x"] * (name in ("send", "recv", "write")))
        except (TypeError, AttributeError):
            pass
        else:
            print("accepted", name)
print("alive")
"""
    assert run_script(COMMON + script).splitlines()[-1] == "alive"


def test_a_method_of_a_chat_refuses_a_dispatcher() -> None:
    script = """
from cyncore import asynchat, asyncore
try:
    asynchat.async_chat.push(asyncore.dispatcher(map={}), b"x")
except (TypeError, AttributeError):
    print("refused")
"""
    assert run_script(COMMON + script) == "refused\n"
