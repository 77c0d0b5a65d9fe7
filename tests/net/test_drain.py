# SPDX-License-Identifier: MIT
"""The end of a loop's work."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

import cyncore
from cyncore import Loop

PROGRAM = """
import socket, sys, cyncore
class Busy(cyncore.Stream):
    def handle_connect(self):
        self.busy = True
        print("ready", flush=True)
    def handle_drain(self):
        print("drains", flush=True)
        super().handle_drain()
    def handle_data(self, data):
        self.write(data)
        self.busy = False
with cyncore.Loop() as loop:
    Busy(socket.socket(fileno=int(sys.argv[1])), loop=loop)
    loop.drain_on_signals(60)
    loop.run()
print("ended", flush=True)
"""


def test_an_idle_stream_is_closed_and_a_busy_one_aborted_in_the_end(loop: Loop) -> None:
    (idle, peer), (busy, other) = socket.socketpair(), socket.socketpair()
    cyncore.Stream(idle, loop=loop)
    kept = cyncore.Stream(busy, loop=loop)
    kept.busy = True
    loop.poll()
    loop.drain(0.02)
    loop.run()
    assert peer.recv(1) == other.recv(1) == b""
    peer.close()
    other.close()


@pytest.mark.parametrize("second", [False, True])
def test_a_signal_lets_a_busy_stream_finish_and_a_second_one_ends_at_once(second: bool) -> None:
    ours, peer = socket.socketpair()
    with ours, peer:
        command = [sys.executable, "-c", PROGRAM, str(ours.fileno())]
        with subprocess.Popen(command, pass_fds=[ours.fileno()], stdout=subprocess.PIPE, text=True) as process:
            ours.close()
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "drains\n"
            if second:
                process.send_signal(signal.SIGTERM)
            else:
                peer.sendall(b"last")
                assert peer.recv(9) == b"last"
            assert process.stdout.readline() == "ended\n"
            assert process.wait(30) == 0
