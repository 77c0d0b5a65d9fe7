"""Worker threads: they make the answers, and wake the loop through a pipe."""

from __future__ import annotations

import os
import queue
import threading
from typing import Any

from benchmarks.workers.old_programs.modules import asyncore
from benchmarks.workers.old_programs.program import Program, connect, stand
from benchmarks.workers.old_programs.relays import Listed


class Trigger(asyncore.file_dispatcher):
    """A pipe. A thread writes to it to wake the loop."""

    def __init__(self) -> None:
        ours, self.theirs = os.pipe()
        asyncore.file_dispatcher.__init__(self, ours)
        os.close(ours)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.recv(8192)

    def handle_close(self) -> None:
        self.close()

    def pull(self) -> None:
        os.write(self.theirs, b"x")


class Worked(Listed):
    """A thread makes the answer, and nothing more is read until it is sent."""

    tasks: queue.SimpleQueue[Any]
    busy = False

    def readable(self) -> bool:
        return not self.busy

    def handle_read(self) -> None:
        data = self.recv(8192)
        if data:
            self.busy = True
            self.tasks.put((self, data))

    def handle_write(self) -> None:
        self.busy = False
        Listed.handle_write(self)


def work(tasks: queue.SimpleQueue[Any], trigger: Trigger) -> None:
    while (task := tasks.get()) is not None:
        channel, data = task
        channel.answers.append(data)
        trigger.pull()


def workers(idle: int, active: int = 1, threads: int = 1) -> Program:
    stand(Worked, idle)
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    trigger = Trigger()
    kind = type("Worked", (Worked,), {"tasks": tasks})
    program = connect([kind] * active)
    crew = [threading.Thread(target=work, args=(tasks, trigger), daemon=True) for _ in range(threads)]
    for thread in crew:
        thread.start()

    def dismiss() -> None:
        for _ in crew:
            tasks.put(None)
        for thread in crew:
            thread.join()
        trigger.close()
        os.close(trigger.theirs)

    program.closers.append(dismiss)
    return program
