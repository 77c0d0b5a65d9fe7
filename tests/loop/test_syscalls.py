# SPDX-License-Identifier: MIT
"""How often a loop asks the kernel for events, counted by strace in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from cyncore import Loop
from tests.support.trace import trace

MESSAGES = 64
# A child sends a message whenever it has got the last one back: the loop has one event at a time, and waits for each.
ECHO = f"""
import os, socket
from cyncore import Loop, dispatcher
from cyncore.asyncore import ExitNow

class Echo(dispatcher):
    def handle_read(self):
        data = self.recv(100)
        if data:
            self.send(data)

    def handle_close(self):
        raise ExitNow

# On one core the loop takes nobody for a thread that computes, beside which it would look more often.
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
near, far = socket.socketpair()
if os.fork() == 0:
    near.close()
    for _ in range({MESSAGES}):
        far.send(b"x")
        far.recv(100)
    os._exit(0)
far.close()
loop = Loop()
channel = Echo(near, loop.map)
try:
    loop.run()
except ExitNow:
    pass
os._exit(0)
"""

# The same by a list of output, as most programs for asyncore have it, and by a loop of the program's own.
LIST_ECHO = ECHO.replace(
    """            self.send(data)
""",
    """            self.out.append(data)

    def writable(self):
        return bool(self.out)

    def handle_write(self):
        self.send(self.out.pop())
""",
).replace("channel = Echo(near, loop.map)", "channel = Echo(near, loop.map)\nchannel.out = []")
POLLED_ECHO = LIST_ECHO.replace("loop.run()", "while True: loop.poll(30)")

# With "?", as not every machine has the older ones.
WAITS = {"epoll": "?epoll_wait,epoll_pwait,?epoll_pwait2", "poll": "?poll,ppoll", "select": "?select,pselect6"}


def test_messages_cost_no_call_for_signals(tmp_path: Path) -> None:
    calls = trace(ECHO, "fcntl", tmp_path)
    # Setting where signals are written asks for the flags of that descriptor: once a run, if it waits long at all.
    assert len([call for call in calls if "F_GETFL" in call]) <= 1


def test_loop_that_waits_for_single_events_asks_once_for_each(loop: Loop, tmp_path: Path) -> None:
    calls = trace(ECHO, WAITS.get(loop.backend, ""), tmp_path)
    assert MESSAGES <= len(calls) <= MESSAGES + MESSAGES // 16 + 6


@pytest.mark.parametrize("source", [LIST_ECHO, POLLED_ECHO], ids=["run", "poll"])
def test_output_in_a_list_is_not_told_to_the_kernel(source: str, tmp_path: Path) -> None:
    calls = trace(source, "?epoll_ctl", tmp_path)
    assert len(calls) <= MESSAGES // 2  # it is told one time in sixteen


def test_polls_that_events_end_cost_no_call_for_signals(tmp_path: Path) -> None:
    calls = trace(POLLED_ECHO, "fcntl", tmp_path)
    assert len([call for call in calls if "F_GETFL" in call]) <= MESSAGES // 4
