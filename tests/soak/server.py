# SPDX-License-Identifier: MIT
"""The server of the soak: ``python -m tests.soak.server CERTIFICATE`` serves one loop with everything in it.

It prints its addresses as one line of JSON, and answers each line of its input with another one: what it holds at this
moment. The end of its input ends it.
"""

from __future__ import annotations

import ctypes
import gc
import json
import random
import ssl
import sys
import threading
import warnings
from typing import Any

import cyncore

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from cyncore import asynchat, smtpd

PATIENCE = 5  # seconds that a peer may be silent, or not read, before it is told goodbye
TIMERS = 1000  # that are always set
CHILD_EVERY = 1.0  # seconds
CALL_EVERY = 0.01  # seconds, from another thread
ENDED_BY_KILL = 7  # one child in so many

counts = dict.fromkeys(("timers", "calls", "called", "children", "bad_children", "mails", "limits"), 0)


class Echo(cyncore.Stream):
    handshake_deadline = first_byte_deadline = write_deadline = PATIENCE
    idle_deadline = 120
    max_output = 1 << 20

    def handle_data(self, data: bytes) -> None:
        self.write(data)

    def handle_close(self, error: BaseException | None) -> None:
        counts["limits"] += isinstance(error, cyncore.LimitExceeded)


class Lines(Echo):
    framing = cyncore.Lines(limit=16384)

    def handle_frame(self, frame: bytes) -> None:
        self.write(frame + b"\n")


class OldEcho(cyncore.dispatcher_with_send):
    def handle_read(self) -> None:
        self.send(self.recv(8192))

    def handle_error(self) -> None:
        self.close()


class OldChat(asynchat.async_chat):
    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.parts: list[bytes] = []
        self.set_terminator(b"\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self.parts.append(data)

    def found_terminator(self) -> None:
        self.push(b"".join(self.parts) + b"\n")
        self.parts.clear()

    def handle_error(self) -> None:
        self.close()


class OldListener(cyncore.dispatcher):
    def __init__(self, kind: Any, map: Any) -> None:
        super().__init__(map=map)
        self.kind, self.channels = kind, map
        self.create_socket()
        self.bind(("127.0.0.1", 0))
        self.listen(128)

    def handle_accepted(self, sock: Any, address: Any) -> None:
        self.kind(sock, self.channels)


class Mails(smtpd.SMTPServer):
    def process_message(self, *words: Any, **options: Any) -> None:
        counts["mails"] += 1


class DatagramEcho(cyncore.Datagram):
    def handle_datagram(self, data: bytes, address: Any) -> None:
        self.send(data, address)


class Answer(cyncore.Stream):
    def handle_data(self, data: bytes) -> None:
        self.got = getattr(self, "got", b"") + data


class Child(cyncore.Process):
    killed = False

    def handle_exit(self, status: int) -> None:
        right = status == -9 if self.killed else (status == 0 and self.stdout.got == b"a line\n")
        counts["bad_children"] += not right


def start_child(loop: cyncore.Loop) -> None:
    counts["children"] += 1
    child = loop.spawn(["cat"], Child, stdin=cyncore.Stream, stdout=Answer)
    child.stdin.write(b"a line\n")
    if counts["children"] % ENDED_BY_KILL:
        child.stdin.write_eof()
    else:
        child.killed = True
        loop.call_later(0.05, child.kill)
    loop.call_later(CHILD_EVERY, start_child, loop)


def again(loop: cyncore.Loop, chance: random.Random) -> None:
    """One of the timers: it sets the next one, and another that it takes back."""
    counts["timers"] += 1
    loop.call_later(60, again, loop, chance).cancel()
    loop.call_later(chance.uniform(0.01, 10), again, loop, chance)


def count_call() -> None:
    counts["called"] += 1


def call(loop: cyncore.Loop, end: threading.Event) -> None:
    while not end.wait(CALL_EVERY):
        loop.call_soon_threadsafe(count_call)
        counts["calls"] += 1


class Control(cyncore.Stream):
    """Answers each line of stdin with what this process holds."""

    framing = cyncore.Lines()

    def handle_frame(self, frame: bytes) -> None:
        gc.collect()
        trim()
        blocks = sys.getallocatedblocks()
        tell({"blocks": blocks, "channels": len(self.loop.map), "counts": dict(counts)})

    def handle_eof(self) -> None:
        self.loop.stop()


def trim() -> None:
    """Has the C library return what it only keeps, so that the memory of the process is what is in use."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:  # not glibc
        pass


def tell(facts: dict[str, Any]) -> None:
    print(json.dumps(facts), flush=True)


def serve(certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    end = threading.Event()
    with cyncore.Loop() as loop:
        ports = {
            "echo": loop.listen(("127.0.0.1", 0), Echo).address[1],
            "tls": loop.listen(("127.0.0.1", 0), Echo, tls=context).address[1],
            "lines": loop.listen(("127.0.0.1", 0), Lines).address[1],
            "dispatcher": OldListener(OldEcho, loop.map).socket.getsockname()[1],
            "chat": OldListener(OldChat, loop.map).socket.getsockname()[1],
            "mail": Mails(("127.0.0.1", 0), None, map=loop.map).socket.getsockname()[1],
            "datagrams": loop.bind(("127.0.0.1", 0), DatagramEcho).address[1],
        }
        chance = random.Random(1)
        for _ in range(TIMERS):
            loop.call_later(chance.uniform(0.01, 10), again, loop, chance)
        start_child(loop)
        loop.open_pipe(0, Control)
        caller = threading.Thread(target=call, args=(loop, end))
        caller.start()
        tell({"ports": ports, "engine": "compiled" if cyncore.native else "python", "backend": loop.backend})
        loop.run()
        end.set()
        caller.join()
        while counts["called"] < counts["calls"] and loop.poll(0):
            pass


if __name__ == "__main__":
    serve(sys.argv[1])
