# SPDX-License-Identifier: MIT
"""Threads that push, and processes that fork, in the middle of anything: nothing is lost, sent twice or disordered."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cyncore import Loop
from tests.support.chat import (
    Lines,
    beyond_the_old,
    fill,
    poll,
    poll_until,
    receive,
    waiting,
)
from tests.support.loops import ends_by_itself
from tests.support.peers import Peers
from tests.support.script import run_script


def in_a_thread(work: Callable[[], object]) -> None:
    """Runs it in another thread, and waits for its end, but not for ever."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


# Threads that push


@beyond_the_old
@pytest.mark.parametrize("more", ["push", "close_when_done"])
def test_a_threads_pushes_keep_their_order_where_the_loop_runs_in_rounds(loop: Loop, peers: Peers, more: str) -> None:
    def go_on() -> None:
        if more == "push":
            channel.push(b"2 ")
        channel.push(b"3 ")
        channel.close_when_done()

    channel, far = peers.channel(Lines, loop.map)
    loop.call_soon(in_a_thread, lambda: channel.push(b"1 "))
    loop.poll(0)
    in_a_thread(go_on)
    want = b"1 2 3 " if more == "push" else b"1 3 "
    assert receive(loop, far, 100) == want
    assert channel.calls == ["close"]


@beyond_the_old
def test_a_threads_push_comes_before_what_the_loops_thread_pushes_afterwards(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    loop.call_soon(in_a_thread, lambda: channel.push(b"1 "))
    loop.poll(0)
    channel.push(b"2 ")
    assert receive(loop, far, 4) == b"1 2 "
    channel.close()


@beyond_the_old
def test_a_threads_push_before_a_stop_leaves_before_a_close(loop: Loop, peers: Peers) -> None:
    def work() -> None:
        channel.push(b"bye")
        loop.stop()

    channel, far = peers.channel(Lines, loop.map)
    loop.call_soon(in_a_thread, work)
    with ends_by_itself(loop):
        loop.run()
    channel.close()
    assert waiting(far) == b"bye"


@beyond_the_old
@pytest.mark.parametrize("of_class", [True, False])
def test_max_outgoing_bounds_what_other_threads_push(loop: Loop, peers: Peers, of_class: bool) -> None:
    class Limited(Lines):
        max_outgoing = 10_000 if of_class else None

    def work() -> None:
        held = references(data)
        for _ in range(1000):
            channel.push(data)
        more.append(references(data) - held)

    references: Callable[[object], int] = getattr(sys, "getrefcount", lambda _: 0)  # PyPy counts none
    data = bytes(1000)
    more: list[int] = []
    channel, _ = peers.channel(Limited, loop.map)
    if not of_class:
        channel.max_outgoing = 10_000
    fill(channel.socket)
    loop.call_soon(in_a_thread, work)
    for _ in range(3):
        poll(loop)
    assert more == [10 if hasattr(sys, "getrefcount") else 0]
    assert sum(map(len, channel.producer_fifo)) <= 10_000
    assert "LimitExceeded" in channel.calls[0]
    channel.close()


class Interrupted(Lines):
    """Has something of its own done once, when it has sent and does not know yet."""

    meanwhile: Callable[[], object] | None = None

    def send(self, data: Any) -> int:
        count = int(super().send(data))
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return count


@beyond_the_old
def test_two_threads_that_push_at_once_send_nothing_twice(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Interrupted, loop.map)
    channel.meanwhile = lambda: in_a_thread(lambda: channel.push(b"two "))
    in_a_thread(lambda: channel.push(b"one "))
    poll_until(loop, lambda: not channel.producer_fifo)
    assert receive(loop, far, 8) == b"one two "
    assert waiting(far) == b""
    channel.close()


@beyond_the_old
def test_a_tick_sends_nothing_again_that_a_thread_is_sending(loop: Loop, peers: Peers) -> None:
    class Asked(Interrupted):
        def writable(self) -> bool:
            return bool(super().writable())

    def wait_for_the_tick() -> None:
        sending.set()
        ticked.wait(0.1)  # in vain, where the tick waits for the end of this

    sending, ticked = threading.Event(), threading.Event()
    channel, far = peers.channel(Asked, loop.map)
    loop.poll(0)
    channel.meanwhile = wait_for_the_tick
    thread = threading.Thread(target=lambda: channel.push(b"one "))
    thread.start()
    assert sending.wait(10)
    loop.poll(0)
    ticked.set()
    thread.join(10)
    channel.push(b"two ")
    poll_until(loop, lambda: not channel.producer_fifo)
    assert waiting(far) == b"one two "
    channel.close()


# Forks

FORKING = """
import os, socket, sys, threading, warnings
from cyncore import Loop, asynchat, asyncore

warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)

class Line(asynchat.async_chat):
    def __init__(self, sock, map):
        super().__init__(sock, map)
        self.set_terminator(b"\\n")
    collect_incoming_data = asynchat.async_chat._collect_incoming_data

def serve(kind):
    near, far = socket.socketpair()
    near.setblocking(False)
    far.settimeout(20)
    with Loop() as loop:
        channel = kind(near, loop.map)
        far.send(b"go\\n")
        for _ in range(4):
            loop.poll(0)
        channel.close()
    got = b""
    while part := far.recv(100):
        got += part
    far.close()
    print(got)
"""


def test_a_fork_in_another_thread_sends_nothing_twice() -> None:
    script = """
def fork():
    pid = os.fork()
    if pid == 0:
        asyncore.close_all(map)
        os._exit(0)
    os.waitpid(pid, 0)

class Forking(Line):
    def found_terminator(self):
        global map
        map = self._map
        self.push(b"once ")
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()

serve(Forking)
"""
    assert run_script(FORKING + script) == "b'once '\n"


def test_a_fork_in_a_flush_sends_nothing_twice() -> None:
    script = """
class Forking(Line):
    def handle_close(self):
        global pid
        self.close()
        pid = os.fork()

class Asking(Line):
    def found_terminator(self):
        other = Forking(near, self._map)
        other.push(b"bye")
        other.close_when_done()
        self.push(b"once ")

near, peer = socket.socketpair()
near.setblocking(False)
pid = None
with Loop() as loop:
    ours, far = socket.socketpair()
    ours.setblocking(False)
    far.settimeout(20)
    asking = Asking(ours, loop.map)
    far.send(b"go\\n")
    for _ in range(4):
        loop.poll(0)
    asking.close()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
print(far.recv(100), far.recv(100))
far.close()
peer.close()
"""
    assert run_script(FORKING + script) == "b'once ' b''\n"


def test_what_a_child_pushes_leaves_though_it_exits_in_its_handler() -> None:
    script = """
class Forking(Line):
    def found_terminator(self):
        pid = os.fork()
        if pid == 0:
            self.push(b"from the child")
            os._exit(0)
        os.waitpid(pid, 0)
        self.close()

serve(Forking)
"""
    assert run_script(FORKING + script) == "b'from the child'\n"


@beyond_the_old
def test_producer_of_another_thread_that_fails_is_its_channel_s_own(loop: Loop, peers: Peers) -> None:
    class Failing:
        def more(self) -> bytes:
            raise ValueError("no data")

    channel, _ = peers.channel(Lines, loop.map)
    loop.call_soon(in_a_thread, lambda: channel.push_with_producer(Failing()))
    for _ in range(3):
        loop.poll(0)
    assert set(channel.calls) == {"error ValueError('no data')"}
    channel.close()
