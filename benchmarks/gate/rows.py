"""The rows: what is counted, and on how much work.

A row is measured in windows of `short` and of `long` turns, which alternate. The figure is the difference of the two,
divided by the events in the turns that the long window has more. So it contains nothing that happens once in a window,
such as the start and the end of the loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field

INSTRUCTIONS = "instructions"
CALLS = "system calls"
BYTES = "bytes"
KINDS = (INSTRUCTIONS, CALLS, BYTES)
REPEATS = {INSTRUCTIONS: 3, CALLS: 5, BYTES: 1}  # pairs of windows

Options = dict[str, int]


@dataclass(frozen=True)
class Row:
    kind: str
    name: str
    workload: str  # a function of workloads.py; its arguments are the turns and the options
    options: Options = field(default_factory=dict)
    short: int = 0  # turns
    long: int = 0
    events: int = 1  # in a turn; the figure is for one event
    unit: int = 1  # turns that system calls are counted for, so that they are whole numbers

    def title(self) -> str:
        return f"{self.kind}: {self.name}"


BATCH = {"connections": 100, "active": 100}
ONE = {"connections": 10, "active": 1}
TEN = {"connections": 10, "active": 10}

ROWS = [
    # the longest come first, so that two at a time end together
    Row(INSTRUCTIONS, "idle tick, 10,000 channels with predicates", "predicates", {"channels": 10_000}, 1, 2),
    Row(INSTRUCTIONS, "idle tick, 10,000 channels", "idle", {"channels": 10_000}, 20, 120),
    Row(INSTRUCTIONS, "accept and close", "accept", {}, 32, 96),
    Row(INSTRUCTIONS, "line, 16 in flight", "lines", {**TEN, "flight": 16}, 5, 20, events=160),
    Row(INSTRUCTIONS, "line, 1 in flight", "lines", {**TEN, "flight": 1}, 20, 80, events=10),
    Row(INSTRUCTIONS, "echo, 100 a tick", "echo", BATCH, 10, 30, events=100),
    Row(INSTRUCTIONS, "echo, 1 a tick", "echo", ONE, 50, 200),
    Row(INSTRUCTIONS, "echo with dispatcher_with_send, 100 a tick", "echo_with_send", BATCH, 10, 30, events=100),
    Row(INSTRUCTIONS, "stream accept and close", "stream_accept", {}, 32, 96),
    Row(INSTRUCTIONS, "stream with deadlines, accept and close", "watched_accept", {}, 32, 96),
    Row(INSTRUCTIONS, "stream line, 16 in flight", "stream_lines", {**TEN, "flight": 16}, 5, 20, events=160),
    Row(INSTRUCTIONS, "stream line, 1 in flight", "stream_lines", {**TEN, "flight": 1}, 20, 80, events=10),
    Row(
        INSTRUCTIONS, "stream lines together, 16 in flight", "stream_batches", {**TEN, "flight": 16}, 5, 20, events=160
    ),
    Row(INSTRUCTIONS, "stream lines together, 1 in flight", "stream_batches", {**TEN, "flight": 1}, 20, 80, events=10),
    Row(INSTRUCTIONS, "stream echo, 100 a tick", "stream_echo", BATCH, 10, 30, events=100),
    Row(INSTRUCTIONS, "stream echo, 1 a tick", "stream_echo", ONE, 50, 200),
    Row(INSTRUCTIONS, "stream echo in Cython, 100 a tick", "native_echo", BATCH, 10, 30, events=100),
    Row(INSTRUCTIONS, "stream echo in Cython, 1 a tick", "native_echo", ONE, 50, 200),
    Row(INSTRUCTIONS, "datagram echo, 32 a tick", "datagram_echo", {"flight": 32}, 10, 30, events=32),
    Row(INSTRUCTIONS, "datagram echo one by one, 32 a tick", "plain_datagram_echo", {"flight": 32}, 10, 30, events=32),
    Row(INSTRUCTIONS, "datagram echo, 1 a tick", "datagram_echo", {"flight": 1}, 50, 200),
    Row(INSTRUCTIONS, "datagrams together, 32 a tick", "datagram_batches", {"flight": 32}, 10, 30, events=32),
    Row(INSTRUCTIONS, "read, 100 a tick", "read", BATCH, 10, 30, events=100),
    Row(INSTRUCTIONS, "idle tick, 10 channels", "idle", {"channels": 10}, 50, 250),
    Row(INSTRUCTIONS, "timer, set and fired", "fire", {}, 500, 2000),
    Row(INSTRUCTIONS, "timer, set and cancelled", "cancel", {}, 500, 2000),
    Row(CALLS, "accept and close, 16 at once", "accept", {}, 16, 32, unit=16),
    Row(CALLS, "echo, 10 a tick", "echo", TEN, 1, 3),
    Row(CALLS, "echo, 1 a tick", "echo", ONE, 4, 12),
    Row(CALLS, "line, 16 in flight on 10", "lines", {**TEN, "flight": 16}, 1, 3),
    Row(CALLS, "stream accept and close, 16 at once", "stream_accept", {}, 16, 32, unit=16),
    Row(CALLS, "stream echo, 10 a tick", "stream_echo", TEN, 1, 3),
    Row(CALLS, "stream echo, 1 a tick", "stream_echo", ONE, 4, 12),
    Row(CALLS, "stream echo in Cython, 10 a tick", "native_echo", TEN, 1, 3),
    Row(CALLS, "stream line, 16 in flight on 10", "stream_lines", {**TEN, "flight": 16}, 1, 3),
    Row(CALLS, "datagram echo, 32 a tick", "datagram_echo", {"flight": 32}, 1, 3),
    Row(CALLS, "datagram echo one by one, 32 a tick", "plain_datagram_echo", {"flight": 32}, 1, 3),
    Row(CALLS, "datagram echo, 1 a tick", "datagram_echo", {"flight": 1}, 4, 12),
    Row(CALLS, "idle tick", "idle", {"channels": 10}, 4, 20),
    Row(CALLS, "timer tick, 10 of a millisecond", "wait", {}, 10, 20, unit=10),
    Row(BYTES, "idle connection", "memory", {}, 0, 4000),
    Row(BYTES, "idle stream", "stream_memory", {}, 0, 4000),
    Row(BYTES, "idle socket of datagrams", "datagram_memory", {}, 0, 8000),
]
