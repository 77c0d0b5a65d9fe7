# SPDX-License-Identifier: MIT
"""Idle connections, and whether their server ever wakes up: ``python -m tests.soak.idle --seconds 60``.

It says how often the kernel has switched to or from any thread of the server in that time, and how much of the
processor it has used. A thread that makes a system call has been switched to. So where there was no switch, there was
no system call. It fails where there was one. ``--deadlines`` gives each connection deadlines, and the loop timers, an
hour away. ``CYNCORE_BACKEND`` chooses what is tried.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cyncore

FAR = 3600  # seconds
TIMERS = 1000


class Quiet(cyncore.Stream):
    def handle_data(self, data: bytes) -> None:
        self.write(data)


class Timed(Quiet):
    handshake_deadline = first_byte_deadline = idle_deadline = write_deadline = life_deadline = FAR


@dataclass
class Usage:
    """What a process has used: switches of all its threads, and ticks of its clock."""

    switches: int
    ticks: int

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.switches - other.switches, self.ticks - other.ticks)


def usage(pid: int) -> Usage:
    lines = [
        line
        for task in Path(f"/proc/{pid}/task").iterdir()
        for line in (task / "status").read_text().splitlines()
        if "ctxt_switches" in line
    ]
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Usage(sum(int(line.split()[1]) for line in lines), int(words[11]) + int(words[12]))


def raise_limit(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard) if hard >= 0 else count, hard))


def serve(has_deadlines: bool) -> None:
    with cyncore.Loop() as loop:
        server = loop.listen(("127.0.0.1", 0), Timed if has_deadlines else Quiet)
        if has_deadlines:
            for number in range(TIMERS):
                loop.call_later(FAR + number, print)
        print(server.address[1], "compiled" if cyncore.native else "python", loop.backend, flush=True)
        loop.run()


def measure(connections: int, seconds: float, has_deadlines: bool) -> Usage:
    """How much an idle server of so many connections uses in that time."""
    words = [sys.executable, "-m", "tests.soak.idle", "--serve", *["--deadlines"] * has_deadlines]
    peers: list[socket.socket] = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port, *engine = server.stdout.readline().split()
            for number in range(connections):
                peers.append(socket.create_connection(("127.0.0.1", int(port)), 20))
                if number % 100 == 0:
                    exchange(peers[-1])
            for peer in peers:
                exchange(peer)
            settle(server.pid)
            before = usage(server.pid)
            time.sleep(seconds)
            used = usage(server.pid) - before
            exchange(peers[-1])
        finally:
            for peer in peers:
                peer.close()
            server.terminate()
    far = "deadlines and timers an hour away" if has_deadlines else "no timers"
    print(
        f"{' '.join(engine)}: {connections:,} connections, {far}, {seconds:g} s: {used.switches} switches, "
        f"{used.ticks} ticks of 1/{os.sysconf('SC_CLK_TCK')} s of the processor"
    )
    return used


def exchange(peer: socket.socket) -> None:
    peer.sendall(b"x")
    if peer.recv(1) != b"x":
        raise AssertionError("the server did not answer")


def settle(pid: int) -> None:
    """Waits until nothing has happened for a moment."""
    end, before = time.monotonic() + 20, usage(pid)
    while time.monotonic() < end:
        time.sleep(0.3)
        after = usage(pid)
        if after == before:
            return
        before = after


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.idle", description=__doc__)
    parser.add_argument("--connections", type=int, default=9500, help="(9500)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--deadlines", action="store_true", help="with deadlines and timers that are far away")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    raise_limit(options.connections + 100)
    if options.serve:
        serve(options.deadlines)
        return 0
    used = measure(options.connections, options.seconds, options.deadlines)
    return 1 if used.switches or used.ticks else 0


if __name__ == "__main__":
    sys.exit(main())
