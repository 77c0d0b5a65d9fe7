"""The worker of the loops table: `python -m benchmarks.workers.two_loops COUNT` prints one line of JSON.

One loop, and then two in a thread each, pass a message of 64 bytes back and forth between two streams. The handler
computes for some 50 us before it answers. So nearly all of the time is Python code, which the GIL lets run in one
thread at a time, and a free-threaded build in both.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from socket import socketpair

from benchmarks.workers.scheduler import read_delay
from cyncore import Loop, Stream


class Player(Stream):
    left = 0  # messages until it ends the game

    def handle_data(self, data: bytes) -> None:
        steps = 0
        for _ in range(2000):  # a number that is in use all the time would be shared: both threads count references
            steps += 1  # noqa: SIM113 - it is the work
        self.left -= 1
        if self.left:
            self.write(data)
        else:
            self.loop.stop()


def play(count: int, start: threading.Barrier) -> None:
    with Loop() as loop:
        one, two = (Player(sock, loop=loop) for sock in socketpair())
        one.left = two.left = count // 2
        loop.poll(0)
        start.wait()
        one.write(bytes(64))
        loop.run()
        one.abort()
        two.abort()
        loop.poll(0)


def take(count: int, loops: int) -> tuple[float, float]:
    """Seconds of the clock, and of the processors, for so many messages in each loop."""
    start = threading.Barrier(loops + 1)
    threads = [threading.Thread(target=play, args=(count, start)) for _ in range(loops)]
    for thread in threads:
        thread.start()
    start.wait()
    begin, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begin, time.process_time() - cpu


def main(count: int) -> None:
    take(count // 10, 1)  # the first game makes what is made once
    delay = read_delay()
    one, one_cpu = take(count, 1)
    two, two_cpu = take(count, 2)
    delay = read_delay() - delay
    figures = {
        "one_us": 1e6 * one / count,
        "two_us": 1e6 * two / count / 2,
        "gain": 2 * one / two,
        "cpu": two_cpu / one_cpu / 2,
        "is_free": float(not getattr(sys, "_is_gil_enabled", lambda: True)()),
        "taken": delay / (delay + one_cpu + two_cpu),
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
