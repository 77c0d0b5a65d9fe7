"""The worker: `python -m benchmarks.workers.old_programs FAMILY MAKER OPTIONS SECONDS CORE` measures one old program.

FAMILY is asyncore, for the module that has this name, or cyncore, which is installed in its place. MAKER is the name of
a maker, OPTIONS its arguments as JSON. A client, which is forked and runs on CORE (-1: on any), talks to the program
for SECONDS, and then is silent for as long. The figures of both go to stdout as JSON.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.workers.scheduler import spend

if TYPE_CHECKING:
    from benchmarks.workers.old_programs.program import Program

WARMUP = 0.2  # seconds, in which everything is made that is made once
PATIENCE = 60.0  # seconds that a datagram's answer may take


def exchange(program: Program) -> int:
    """Sends one request in each conversation, and reads all the answers. Returns how many there were."""
    for one in program.conversations:
        if isinstance(one.ask, int):
            os.write(one.ask, one.request)
        else:
            one.ask.send(one.request)
    for one in program.conversations:
        left = one.reply
        while left:
            data = os.read(one.answer, left) if isinstance(one.answer, int) else one.answer.recv(left)
            left -= len(data)
    return len(program.conversations)


def visit(program: Program) -> int:
    from benchmarks.workers.old_programs.program import MESSAGE

    with socket.create_connection(program.address or ("", 0)) as client:
        client.sendall(MESSAGE)
        assert client.recv(8192) == MESSAGE
        client.recv(1)  # the program closes first, so that no port of the client stays in TIME_WAIT
    return 1


class Asker:
    """The client of a program that answers datagrams."""

    def __init__(self, program: Program) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(program.address or ("", 0))
        self.socket.settimeout(PATIENCE)

    def ask(self, program: Program) -> int:
        from benchmarks.workers.old_programs.program import MESSAGE

        self.socket.send(MESSAGE)
        assert self.socket.recv(8192) == MESSAGE
        return 1


def talk(program: Program, seconds: float, stop: socket.socket, go: int, report: int) -> None:
    """Runs the client: it warms up, measures and rests, and ends the loop of the program after each by a byte."""
    step = Asker(program).ask if program.datagrams else visit if program.address else exchange
    if not program.conversations and not program.address:
        raise ValueError("the program has neither a conversation nor an address")
    for length in (WARMUP, seconds):
        took: list[float] = []
        events = 0
        began = now = time.perf_counter()
        while now < began + length:
            events += step(program)
            before, now = now, time.perf_counter()
            took.append(now - before)
        stop.send(b"x")
        os.read(go, 1)
    took.sort()
    figures = {
        "rate": events / (now - began),
        "events": events,
        "p50_us": 1e6 * took[len(took) // 2],
        "p99_us": 1e6 * took[int(0.99 * len(took))],
    }
    os.write(report, json.dumps(figures).encode())
    time.sleep(seconds)
    stop.send(b"x")


def make_stop() -> socket.socket:
    """Makes a channel that ends the loop when a byte comes. Returns the other end of it."""
    from benchmarks.workers.old_programs.modules import asyncore
    from benchmarks.workers.old_programs.program import Predicated

    class Stop(Predicated):
        def handle_read(self) -> None:
            self.recv(1)
            raise asyncore.ExitNow

    near, far = socket.socketpair()
    Stop(near)
    return far


def measure(program: Program, seconds: float, core: int) -> dict[str, float]:
    stop = make_stop()
    (read, write), (go, start) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if core >= 0:
                os.sched_setaffinity(0, {core})
            talk(program, seconds, stop, go, write)
        finally:
            os._exit(0)
    os.close(write)
    program.run()  # warms up
    os.write(start, b"x")
    cpu, elapsed, delay = spend(program.run)
    os.write(start, b"x")
    idle_cpu, idle_elapsed, _ = spend(program.run)
    os.waitpid(child, 0)
    figures: dict[str, float] = json.loads(os.read(read, 4096))
    events = figures["events"]
    return {
        **figures,
        "cpu_us": 1e6 * cpu / events,
        "busy": cpu / elapsed,
        "idle_busy": idle_cpu / idle_elapsed,
        "taken": delay / elapsed,
    }


def main(family: str, maker: str, options: str, seconds: float, core: int) -> None:
    if family == "cyncore":
        import cyncore

        cyncore.install()
    from benchmarks.workers.old_programs.makers import MAKERS

    print(json.dumps(measure(MAKERS[maker](**json.loads(options)), seconds, core)), flush=True)
    os._exit(0)  # the threads of a program may still run


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))
