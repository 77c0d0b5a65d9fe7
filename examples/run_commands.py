# SPDX-License-Identifier: MIT
"""Runs commands of the shell, some at once, and prints their output line by line, each with the number of its command.

    python examples/run_commands.py --at-once 2 --deadline 10 'make' 'make test' 'sleep 3; echo done'

A command that runs for longer than the deadline gets SIGTERM, and SIGKILL two seconds later. SIGTERM and SIGINT end all
of them so. It returns 0 if all commands have.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections import deque

from cyncore import Lines, Loop, Process, Stream, TimerHandle

GRACE = 2.0  # seconds between SIGTERM and SIGKILL


class Output(Stream):
    """What a command prints, in lines."""

    framing = Lines()

    def __init__(self, name: str) -> None:
        self.name = name

    def handle_frame(self, frame: bytes) -> None:
        sys.stdout.write(f"{self.name}: {frame.decode(errors='replace')}\n")
        sys.stdout.flush()

    def handle_eof(self) -> None:
        if self.unread:  # a last line without its end
            self.handle_frame(self.unread)
        self.close()


class Command(Process):
    def __init__(self, runner: Runner, name: str) -> None:
        self.runner = runner
        self.name = name
        self.limit: TimerHandle | None = None

    def start(self, text: str) -> None:
        self.runner.loop.spawn(
            text,
            lambda: self,
            shell=True,
            start_new_session=True,  # Ctrl-C at the terminal is not for the commands
            stdout=lambda: Output(self.name),
            stderr=lambda: Output(f"{self.name} (error)"),
        )
        if self.runner.deadline is not None:
            self.limit = self.runner.loop.call_later(self.runner.deadline, self.terminate, GRACE)

    def handle_exit(self, status: int) -> None:
        if self.limit is not None:
            self.limit.cancel()
        self.runner.ended(self, status)

    def handle_drain(self) -> None:
        self.terminate(GRACE)


class Runner:
    """Starts the commands, so many at once."""

    def __init__(self, loop: Loop, commands: list[str], at_once: int, deadline: float | None) -> None:
        self.loop = loop
        self.waiting = deque(enumerate(commands, 1))
        self.at_once = at_once
        self.deadline = deadline
        self.running: set[Command] = set()
        self.failed = 0

    def start(self) -> None:
        while self.waiting and len(self.running) < self.at_once:
            number, text = self.waiting.popleft()
            command = Command(self, str(number))
            self.running.add(command)
            command.start(text)

    def ended(self, command: Command, status: int) -> None:
        self.running.discard(command)
        self.failed += status != 0
        how = f"ended with {status}" if status >= 0 else f"was ended by signal {-status}"
        print(f"{command.name} {how}", flush=True)
        self.start()

    def stop(self) -> None:
        """A signal has come: nothing more is started, and what runs ends."""
        self.failed += len(self.waiting)
        self.waiting.clear()
        self.loop.drain(GRACE + 1)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--at-once", type=int, default=4, metavar="COUNT")
    options.add_argument("--deadline", type=float, metavar="SECONDS")
    options.add_argument("command", nargs="+")
    given = options.parse_args()
    with Loop() as loop:
        runner = Runner(loop, given.command, given.at_once, given.deadline)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, runner.stop)
        runner.start()
        loop.run()
    return int(runner.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
