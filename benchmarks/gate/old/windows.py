"""The worker: `python -m benchmarks.gate.old.windows FAMILY NAME` runs an old program in windows, between marks.

FAMILY is asyncore, for the module that has this name, or cyncore, which is installed in its place. Requests wait in the
sockets of a program that is fed. Any other program gets its next request when it has sent an answer, in the same
process and the same thread: so nothing but the program is counted, and every request finds an idle loop.
"""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.gate.old.rows import ROWS, OldRow

if TYPE_CHECKING:
    from benchmarks.workers.old_programs.program import Conversation, Program

IDLENESS = 0.25  # seconds that one turn of the idle program lasts


def write(end: socket.socket | int, data: bytes) -> None:
    if isinstance(end, int):
        os.write(end, data)
    else:
        end.send(data)


def read(end: socket.socket | int, size: int) -> int:
    data = os.read(end, size) if isinstance(end, int) else end.recv(size)
    return len(data)


class Client:
    """Sends the next request when one was answered, `turns` of them in each conversation."""

    def __init__(self, program: Program, turns: int) -> None:
        from benchmarks.workers.old_programs.modules import asyncore

        self.leave = asyncore.ExitNow
        self.conversations = program.conversations
        self.left = [turns] * len(program.conversations)
        self.open = len(self.left)
        for conversation in self.conversations:
            write(conversation.ask, conversation.request)

    def served(self, number: int) -> None:
        conversation = self.conversations[number]
        assert read(conversation.answer, 8192) == conversation.reply, "the work was not done"
        self.left[number] -= 1
        if self.left[number]:
            write(conversation.ask, conversation.request)
            return
        self.open -= 1
        if not self.open:
            raise self.leave


def converse(program: Program, turns: int) -> Callable[[], None]:
    client = Client(program, turns)
    program.served = client.served
    return lambda: None


def feed(program: Program, turns: int) -> Callable[[], None]:
    for conversation in program.conversations:
        assert isinstance(conversation.ask, socket.socket)
        conversation.ask.setblocking(False)
        for _ in range(turns):
            conversation.ask.send(conversation.request)
    first = program.conversations[0].ask
    assert isinstance(first, socket.socket)
    first.shutdown(socket.SHUT_WR)

    def check() -> None:
        for conversation in program.conversations:
            check_fed(conversation, turns)

    return check


def check_fed(conversation: Conversation, turns: int) -> None:
    came, wanted = 0, turns * conversation.reply
    while came < wanted:
        came += read(conversation.answer, 65536)
    assert came == wanted, "the work was not done"


def send_datagrams(program: Program, turns: int) -> Callable[[], None]:
    from benchmarks.workers.old_programs.program import LEFT, MESSAGE

    assert program.address is not None
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(program.address)
    client.setblocking(False)
    for data in [MESSAGE] * turns + [LEFT]:
        client.send(data)

    def check() -> None:
        answers = [client.recv(8192) for _ in range(turns)]
        assert answers == [MESSAGE] * turns, "the work was not done"
        client.close()

    return check


def visit(program: Program, turns: int) -> Callable[[], None]:
    """Clients that are connected and have sent their line, one for each turn."""
    from benchmarks.workers.old_programs.modules import asyncore
    from benchmarks.workers.old_programs.program import MESSAGE

    assert program.address is not None
    clients = [socket.create_connection(program.address) for _ in range(turns)]
    for client in clients:
        client.sendall(MESSAGE)
    left = turns

    def served(number: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise asyncore.ExitNow

    program.served = served

    def check() -> None:
        for client in clients:
            assert client.recv(8192) == MESSAGE, "the work was not done"
            client.close()

    return check


def rest(program: Program, turns: int) -> Callable[[], None]:
    """Nothing happens for a while, and then the client leaves."""
    end = program.conversations[0].ask
    assert isinstance(end, socket.socket)

    def leave() -> None:
        select.select([], [], [], turns * IDLENESS)  # by the clock of the kernel, not by clock.c
        end.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=leave)
    thread.start()
    return thread.join


def choose_client(row: OldRow, program: Program) -> Callable[[Program, int], Callable[[], None]]:
    if row.maker == "idle":
        return rest
    if program.datagrams:
        return send_datagrams
    if program.address:
        return visit
    return feed if program.fed else converse


def window(row: OldRow, turns: int) -> float:
    """Runs one window. Returns the seconds that the loop waited for nothing; only these move the clock (clock.c)."""
    from benchmarks.workers.old_programs.makers import MAKERS

    program = MAKERS[row.maker](**row.options)
    check = choose_client(row, program)(program, turns)
    gc.collect()
    began = time.monotonic()
    os.getppid()
    program.run()
    os.getppid()
    waited = time.monotonic() - began
    check()
    program.close()
    return waited


def main(family: str, name: str) -> None:
    if family == "cyncore":
        import cyncore
        from cyncore._engine import native

        if not native:
            sys.exit("cyncore is not compiled here: there is nothing to count")
        cyncore.install()
    (row,) = [row for row in ROWS if row.name == name]
    gc.disable()
    turns = [row.short, row.long] * (1 + row.repeats)  # Python warms up in the first pair
    print(json.dumps({"turns": turns, "waited": [window(row, count) for count in turns]}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
