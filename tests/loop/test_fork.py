# SPDX-License-Identifier: MIT
"""fork(): the child's loop is its own, and the parent's loses nothing. Each in a process of its own."""

from __future__ import annotations

import os

import pytest

from tests.support.script import run_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork() here")

COMMON = """
import os, socket, sys, threading, warnings
warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
from cyncore import Loop, dispatcher, socket_map

class Reader(dispatcher):
    got = b""
    def handle_read(self):
        self.got += self.recv(100)
    def handle_error(self):
        raise

def child(work):
    # Runs work() in a child, which must end well.
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid

def ended(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

def polled(loop, done):
    for _ in range(1000):
        if done():
            return
        loop.poll(0.02)
    raise AssertionError("never done")

loop = Loop.of(socket_map)
ours, theirs = socket.socketpair()
channel = Reader(ours)
loop.poll()
"""


def test_the_childs_loop_serves_what_it_inherited() -> None:
    run_script(
        COMMON
        + """
def work():
    theirs.send(b"child")
    polled(loop, lambda: channel.got == b"child")
ended(child(work))
channel.close(); theirs.close()
"""
    )


def test_what_the_child_closes_stays_open_for_the_parent() -> None:
    run_script(
        COMMON
        + """
def work():
    channel.close()
    loop.poll()
    mine, other = socket.socketpair()
    late = Reader(mine)
    other.send(b"x")
    polled(loop, lambda: late.got == b"x")
    late.close(); other.close(); loop.close()
ended(child(work))
theirs.send(b"parent")
polled(loop, lambda: channel.got == b"parent")
channel.close(); theirs.close()
"""
    )


def test_the_child_may_close_the_loop_first_of_all() -> None:
    run_script(
        COMMON
        + """
ended(child(loop.close))
theirs.send(b"parent")
polled(loop, lambda: channel.got == b"parent")
channel.close(); theirs.close()
"""
    )


def test_a_wake_up_of_the_child_does_not_reach_the_parent() -> None:
    run_script(
        COMMON
        + """
ended(child(loop.wake))
begun = loop.time()
loop.poll(0.05)
assert loop.time() >= begun + 0.05
channel.close(); theirs.close()
"""
    )


def test_a_wake_up_of_the_parent_does_not_reach_the_child() -> None:
    run_script(
        COMMON
        + """
loop.wake()
def work():
    for _ in range(2):
        loop.poll(0)
ended(child(work))
loop.poll(None)  # the child must not have taken it
channel.close(); theirs.close()
"""
    )


def test_the_childs_threads_wake_the_childs_loop() -> None:
    run_script(
        COMMON
        + """
def work():
    made = []
    helper = threading.Thread(target=lambda: loop.call_soon_threadsafe(made.append, "made"))
    loop.call_soon(helper.start)
    polled(loop, lambda: made)
    helper.join()
ended(child(work))
channel.close(); theirs.close()
"""
    )


def test_a_handler_may_fork() -> None:
    run_script(
        COMMON
        + """
class Forker(Reader):
    def handle_read(self):
        Reader.handle_read(self)
        ended(child(self.work))
    def work(self):
        for other in list(socket_map.values()):
            other.close()
        mine, other = socket.socketpair()
        late = Reader(mine)
        other.send(b"x")
        polled(loop, lambda: late.got == b"x")
        late.close(); other.close()
mine, peer = socket.socketpair()
forker = Forker(mine)
peer.send(b"fork")
theirs.send(b"x")
polled(loop, lambda: forker.got and channel.got)
assert (forker.got, channel.got) == (b"fork", b"x")
for one in (forker, channel, peer, theirs):
    one.close()
"""
    )


def test_the_child_of_a_fork_in_the_middle_of_a_sweep_asks_its_predicates() -> None:
    run_script(
        """
import os, socket, threading, warnings
warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
from cyncore import Loop, dispatcher

class Asked(dispatcher):
    count = 0
    def readable(self):
        self.count += 1
        if self.count == 3 and threading.current_thread() is runner:
            inside.set()
            forked.wait()
        return True
    def writable(self):
        return False

loop = Loop()
ours, theirs = socket.socketpair()
channel = Asked(ours, loop.map)
inside, forked = threading.Event(), threading.Event()
runner = threading.Thread(target=lambda: [loop.poll(0) for _ in range(3)])
runner.start()
inside.wait()
pid = os.fork()
if pid == 0:
    before = channel.count
    for _ in range(3):
        loop.poll(0)
    loop.poll(0.01)
    os._exit(0 if channel.count >= before + 3 else 1)
forked.set()
runner.join()
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
channel.close()
theirs.close()
loop.close()
"""
    )


def test_the_child_of_a_process_whose_loop_runs_in_a_thread_can_use_it() -> None:
    run_script(
        COMMON
        + """
entered = threading.Event()
loop.call_soon(entered.set)
runner = threading.Thread(target=loop.run)
runner.start()
entered.wait()
def work():
    assert not loop.running
    made = []
    loop.call_soon(made.append, "made")
    polled(loop, lambda: made)
    loop.close()
ended(child(work))
loop.stop()
runner.join()
channel.close(); theirs.close()
"""
    )


def test_calls_and_timers_are_made_on_both_sides() -> None:
    run_script(
        COMMON
        + """
made = []
loop.call_soon(made.append, "soon")
loop.call_later(0.01, made.append, "timer")
def work():
    polled(loop, lambda: made == ["soon", "timer"])
ended(child(work))
assert made == []
work()
channel.close(); theirs.close()
"""
    )


def test_grandchildren_work_too() -> None:
    run_script(
        COMMON
        + """
def work():
    def grandchild():
        theirs.send(b"x")
        polled(loop, lambda: channel.got == b"x")
    ended(child(grandchild))
    theirs.send(b"y")
    polled(loop, lambda: channel.got == b"y")
ended(child(work))
theirs.send(b"z")
polled(loop, lambda: channel.got == b"z")
channel.close(); theirs.close()
"""
    )
