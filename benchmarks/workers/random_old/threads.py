"""The threads of a program: they make the answers, and wake the loop by a trigger."""

from __future__ import annotations

import socket
import threading
import time

from benchmarks.workers.old_programs.modules import asyncore
from benchmarks.workers.random_old.common import JOBS
from benchmarks.workers.random_old.kinds import PIECE, Map

THREADS = 2


class Trigger(asyncore.dispatcher):
    """A channel that a thread writes to when it has changed another one."""

    def __init__(self, map: Map | None) -> None:
        ours, self.theirs = socket.socketpair()
        asyncore.dispatcher.__init__(self, ours, map)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.recv(PIECE)

    def handle_close(self) -> None:
        self.close()

    def pull(self) -> None:
        self.theirs.send(b"x")


def work(trigger: Trigger, block: float) -> None:
    while True:
        channel, data = JOBS.get()
        if block:
            time.sleep(block)
        channel.emit(data)
        trigger.pull()


def start(map: Map | None, block: float) -> None:
    """Starts the threads, which end with the process."""
    trigger = Trigger(map)
    for _ in range(THREADS):
        threading.Thread(target=work, args=(trigger, block), daemon=True).start()
