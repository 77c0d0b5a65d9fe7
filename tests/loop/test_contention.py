# SPDX-License-Identifier: MIT
"""A loop beside a thread that computes: the loop keeps the GIL for what cannot block, and the thread has its share."""

from __future__ import annotations

import sys
import threading

import pytest

from cyncore import Loop
from tests.support.peers import Peers, Recorder
from tests.support.script import run_script

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
MESSAGES = 60


def test_loop_and_thread_both_go_on(loop: Loop, peers: Peers) -> None:
    class Echo(Recorder):
        def handle_read(self) -> None:
            self.send(self.recv(100))

    done = threading.Event()
    counted = [0]

    def compute() -> None:
        while not done.is_set():
            counted[0] += 1

    def talk() -> None:
        try:
            for number in range(MESSAGES):
                word = b"%03d" % number
                far.sendall(word)
                answers.append(far.recv(100) == word)
        finally:
            loop.call_soon_threadsafe(loop.stop)

    answers: list[bool] = []
    channel, far = peers.channel(Echo, loop.map)
    threads = [threading.Thread(target=compute), threading.Thread(target=talk)]
    for thread in threads:
        thread.start()
    loop.run(forever=True)
    done.set()
    for thread in threads:
        thread.join()
    assert answers == [True] * MESSAGES
    assert counted[0] > 0
    channel.close()


# A thread that is woken by each job of a handler and answers by a number. Python never takes the GIL away here, so that
# the thread gets it only from a loop that is busy without end, be it for nothing.
HANDS = """
import socket, sys, threading
from cyncore import Loop, dispatcher

class Busy(dispatcher):
    ticks = 0
    def writable(self):
        return self.ticks >= 0
    def handle_write(self):
        self.ticks += 1
        if len(answers) == asked[0]:
            asked[0] += 1
            job.release()
            since.append(self.ticks)
        if len(answers) >= most or self.ticks > 2_000_000:
            loop.stop()

def work():
    while True:
        job.acquire()
        answers.append(channel.ticks)

answers, asked, since, most, job = [], [0], [], 6, threading.Lock()
job.acquire()
near, far = socket.socketpair()
loop = Loop()
loop.spin_guard = None
channel = Busy(near, loop.map)
threading.Thread(target=work, daemon=True).start()
sys.setswitchinterval(3600)
loop.run(forever=True)
sys.setswitchinterval(0.005)
print(len(answers) >= most)
"""


@pytest.mark.skipif(not HAS_GIL, reason="there is no GIL")
@pytest.mark.parametrize("others", [0, 300])
def test_busy_loop_lets_a_thread_have_the_gil(others: int) -> None:
    made = f"idle = [socket.socketpair() for _ in range({others})]\nBusy.idle = [Busy(a, loop.map) for a, _ in idle]\n"
    assert run_script(HANDS.replace("threading.Thread(", made + "threading.Thread(")) == "True\n"


@pytest.mark.skipif(not HAS_GIL, reason="there is no GIL")
def test_loop_that_only_spins_lets_a_thread_have_the_gil_in_each_tick() -> None:
    script = "import logging; logging.disable()\n"  # the channel is named
    script += HANDS.replace("most, job = [], [0], [], 6", "most, job = [], [0], [], 4_000")
    # In the first ticks nobody has seen yet that the handlers do nothing. A busy machine has no core for the thread.
    script += (
        "waited = [answer - ask for ask, answer in zip(since[2_000:], answers[2_000:])]; print(sorted(waited)[500])"
    )
    assert int(run_script(script).splitlines()[-1]) < 5
