# SPDX-License-Identifier: MIT
"""A loop beside a thread that computes: the loop keeps the GIL for what cannot block, and the thread has its share."""

from __future__ import annotations

import threading

from cyncore import Loop
from tests.support.peers import Peers, Recorder

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
