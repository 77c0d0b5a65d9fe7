# SPDX-License-Identifier: MIT
"""What a second review proved: predicates that run the loop, forks amid one, unwatched maps, silent changes."""

from __future__ import annotations

import sys

import pytest

from cyncore import Loop, dispatcher
from tests.support.peers import Peers, Recorder
from tests.support.script import run_script


def test_a_predicate_may_run_the_loop_more_than_once(loop: Loop, peers: Peers) -> None:
    class Nesting(Recorder):
        asked = 0

        def readable(self) -> bool:
            self.asked += 1
            if self.asked == 3:
                loop.poll(0.01)
                loop.poll(0.01)  # never came back: nobody may sweep here, and nobody waited either
            return True

        def writable(self) -> bool:
            return False

    channel, _ = peers.channel(Nesting, loop.map)
    for _ in range(3):
        loop.poll(0)
    assert channel.asked > 3


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


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this Python has no dict watchers")
def test_a_map_that_cannot_be_watched_is_read_all_the_same() -> None:
    run_script(
        """
import ctypes, socket
signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
ignore = signature(lambda *event: 0)
try:
    while True:
        ctypes.pythonapi.PyDict_AddWatcher(ignore)
except RuntimeError:
    pass  # all of them are taken
from cyncore import Loop, dispatcher

class Reader(dispatcher):
    got = b""
    def handle_read(self):
        self.got += self.recv(10)

loop = Loop()
ours, theirs = socket.socketpair()
channel = Reader(ours, loop.map)
loop.poll(0)
loop.map.clear()
theirs.send(b"x")
assert loop.poll(0.01) == 0 and channel.got == b""
loop.map[ours.fileno()] = channel
assert loop.poll(5) == 1 and channel.got == b"x"
channel.close()
theirs.close()
loop.close()
"""
    )


def test_a_state_that_changes_without_a_word_leaves_nothing_armed(loop: Loop, peers: Peers) -> None:
    class Silent(dispatcher):
        connecting = True
        up = False

        @property
        def connected(self) -> bool:  # type: ignore[override]
            return self.up

        @connected.setter
        def connected(self, value: bool) -> None:
            pass

        def handle_connect_event(self) -> None:
            self.up = True

        def handle_read(self) -> None:
            self.recv(10)

    ours, _ = peers.pair()
    channel = Silent(ours, loop.map)
    ended = []
    loop.call_later(0.05, ended.append, True)
    polls = 0
    while not ended:
        loop.poll(5)
        polls += 1
        assert polls < 1000, "it spins"
    channel.close()
