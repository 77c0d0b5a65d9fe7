# SPDX-License-Identifier: MIT
"""The load of the soak: clients on asyncio, which share no code with the server, at a rate that leaves it idle times.

Whatever a client sends comes back, and is compared. A peer that misbehaves must be gone soon after its time is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from tests.soak.server import PATIENCE

MARGIN = 5.0  # seconds that a peer's end may take beyond its time, on a machine that does other things as well
ANSWER = 20.0  # seconds after which an answer counts as lost
STEADY = {"echo": 100, "tls": 20, "lines": 20, "dispatcher": 20, "chat": 20}  # connections
PAUSE = 0.5  # seconds between two messages of a steady connection, on average
CHURN = {"echo": 20.0, "tls": 2.0, "lines": 4.0, "dispatcher": 8.0, "chat": 8.0}  # connections a second
MAILS, DATAGRAMS, HOSTILE = 1.0, 50.0, 0.5  # a second; of the hostile peers, each kind
FLOOD = 50  # connections of a flood


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, load: Load) -> None:
        self.load = load
        self.sent: dict[bytes, float] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        begun = self.sent.pop(data, None)
        if begun is None:
            self.load.wrong.append("a datagram that nobody has sent")
        else:
            self.load.note(begun)

    async def send(self) -> None:
        data = self.load.chance.randbytes(self.load.chance.randint(8, 1400))
        self.sent[data] = time.perf_counter()
        self.transport.sendto(data)
        await asyncio.sleep(ANSWER)
        if self.sent.pop(data, None) is not None:
            self.load.done["datagrams lost"] += 1


class Load:
    """All clients. ``done`` counts what they did; ``wrong`` says what was not as it must be."""

    def __init__(self, ports: dict[str, int], rate: float) -> None:
        self.ports, self.rate = ports, rate
        self.chance = random.Random(7)
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.times: list[float] = []  # of this minute, in seconds
        self.tasks: set[asyncio.Task[None]] = set()
        self.ending = False
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE

    # What all of them use

    def note(self, begun: float) -> None:
        self.times.append(time.perf_counter() - begun)

    def start(self, work: Awaitable[None], kind: str) -> None:
        task = asyncio.create_task(self.watch(work, kind), name=kind)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def watch(self, work: Awaitable[None], kind: str) -> None:
        try:
            await work
            self.done[kind] += 1
        except Exception as error:
            if not self.ending:
                self.wrong.append(f"{kind}: {error!r}")

    async def open(self, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = self.tls if name == "tls" else None
        return await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", self.ports[name], ssl=tls, limit=1 << 20), ANSWER
        )

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        """A message and its answer."""
        data = self.chance.randbytes(self.chance.choice((8, 64, 500, 4000)))
        if name in ("lines", "chat"):
            data = data.replace(b"\n", b" ") + b"\n"
        begun = time.perf_counter()
        writer.write(data)
        answer = await asyncio.wait_for(reader.readexactly(len(data)), ANSWER)
        self.note(begun)
        if answer != data:
            self.wrong.append(f"{name}: an answer of other bytes")

    async def every(self, rate: float, kind: str, work: Callable[[], Awaitable[None]]) -> None:
        """Starts ``work`` so many times a second, on average, and does not wait for it."""
        while not self.ending:
            await asyncio.sleep(self.chance.expovariate(rate * self.rate))
            if not self.ending:
                self.start(work(), kind)

    # Peers that are well

    async def stay(self, name: str) -> None:
        reader, writer = await self.open(name)
        while not self.ending:
            await self.exchange(reader, writer, name)
            self.done["messages"] += 1
            await asyncio.sleep(self.chance.expovariate(self.rate / PAUSE))
        writer.close()

    async def visit(self, name: str) -> None:
        reader, writer = await self.open(name)
        await self.exchange(reader, writer, name)
        if self.chance.random() < 0.5:
            reset(writer)
        else:
            writer.close()

    async def mail(self) -> None:
        reader, writer = await self.open("mail")
        for line in (b"HELO x", b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA", b"a line\r\n.", b"QUIT"):
            await asyncio.wait_for(reader.readline(), ANSWER)
            writer.write(line + b"\r\n")
        await self.gone(reader, ANSWER)
        writer.close()

    # Peers that are not

    async def gone(self, reader: asyncio.StreamReader, seconds: float) -> None:
        """Waits for the end of a connection; what comes before it is nothing."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await asyncio.wait_for(self.drop(reader), seconds)

    async def drop(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(65536):
            pass

    async def silent(self) -> None:
        reader, writer = await self.open("echo")
        await self.gone(reader, PATIENCE + MARGIN)
        writer.close()

    async def stalled_handshake(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["tls"])
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00")  # the beginning of a record
        await self.gone(reader, PATIENCE + MARGIN)
        writer.close()

    async def no_handshake(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["tls"])
        writer.write(self.chance.randbytes(300))
        await self.gone(reader, MARGIN)
        writer.close()

    async def cut_tls(self) -> None:
        reader, writer = await self.open("tls")
        await self.exchange(reader, writer, "tls")
        reset(writer)

    async def long_line(self) -> None:
        reader, writer = await self.open("lines")
        writer.write(b"x" * 200_000)
        await self.gone(reader, MARGIN)
        writer.close()

    async def never_reads(self) -> None:
        """Sends, and takes nothing: the server ends it by its limit, or by its deadline."""
        sock = socket.create_connection(("127.0.0.1", self.ports["echo"]))
        sock.setblocking(False)
        data, end = bytes(65536), time.monotonic() + 2 * PATIENCE + MARGIN
        try:
            while time.monotonic() < end:
                try:
                    sock.send(data)
                except BlockingIOError:
                    pass
                await asyncio.sleep(0.05)
        except ConnectionError:
            return
        finally:
            sock.close()
        raise TimeoutError("a peer that never reads is served still")

    async def half_closed(self) -> None:
        reader, writer = await self.open("echo")
        await self.exchange(reader, writer, "echo")
        writer.write_eof()
        await self.gone(reader, MARGIN)
        writer.close()

    async def flood(self) -> None:
        """Connections that are reset as soon as they are there."""
        for _ in range(FLOOD):
            _, writer = await self.open("echo")
            reset(writer)

    async def rude_mail(self) -> None:
        _, writer = await self.open("mail")
        writer.write(b"HELO x\r\n" * 200 + b"y" * 5000 + b"\r\nMAIL FROM:<\r\nDATA\r\n" + self.chance.randbytes(500))
        await asyncio.sleep(0.1)
        reset(writer)

    async def slow_chat(self) -> None:
        """A line in pieces of one byte, one of which may be its end."""
        reader, writer = await self.open("chat")
        for byte in b"piece by piece\n":
            writer.write(bytes((byte,)))
            await asyncio.sleep(0.01)
        if await asyncio.wait_for(reader.readline(), ANSWER) != b"piece by piece\n":
            self.wrong.append("chat: an answer of other bytes")
        writer.close()

    async def begin(self) -> None:
        """Starts everything, to go on until ``end``."""
        for name, count in STEADY.items():
            for _ in range(count):
                self.start(self.stay(name), "steady connections")
        for name, rate in CHURN.items():
            self.start(self.every(rate, "visits", lambda name=name: self.visit(name)), "sources")  # type: ignore[misc]
        self.start(self.every(MAILS, "mails", self.mail), "sources")
        hostile = (self.silent, self.stalled_handshake, self.no_handshake, self.cut_tls, self.long_line)
        for work in (*hostile, self.never_reads, self.half_closed, self.flood, self.rude_mail, self.slow_chat):
            self.start(self.every(HOSTILE, work.__name__, work), "sources")
        loop = asyncio.get_running_loop()
        _, datagrams = await loop.create_datagram_endpoint(
            lambda: Datagrams(self), remote_addr=("127.0.0.1", self.ports["datagrams"])
        )
        self.start(self.every(DATAGRAMS, "datagrams", datagrams.send), "sources")

    async def end(self) -> None:
        """Ends everything, and waits until it has ended."""
        self.ending = True
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=ANSWER + 2 * PATIENCE + MARGIN)
        self.wrong.extend(f"{task.get_name()}: a client has not ended: {task.get_coro()!r}" for task in self.tasks)
