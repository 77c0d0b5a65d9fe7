"""The worker: `python -m benchmarks.gate.workloads KIND NAME` does the work of a row, in windows.

Each window lies between two marks, which are calls of getppid: callgrind and strace both see them. Everything that a
window needs is made before it, and what a connection will read is in its socket already, so that only the loop and its
handlers run. A window ends when a connection reaches the end of its stream.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import cyncore
from benchmarks.gate.rows import BYTES, REPEATS, ROWS, Row
from cyncore import asynchat, asyncore
from cyncore._engine import native

MESSAGE = b"x" * 62 + b"\r\n"
STANDING = 1000  # timers that wait while others are set and cancelled
PR_SET_THP_DISABLE = 41

Run = Callable[[], object]
Check = Callable[[], None]


def leave(channel: asyncore.dispatcher) -> None:
    raise asyncore.ExitNow


def send_back(channel: asyncore.dispatcher) -> None:
    data = channel.recv(8192)
    if data:
        channel.send(data)


class Reader(asyncore.dispatcher):
    handle_close = leave

    def handle_read(self) -> None:
        self.recv(8192)


class Echo(asyncore.dispatcher):
    handle_read, handle_close = send_back, leave


class EchoWithSend(asyncore.dispatcher_with_send):
    handle_read, handle_close = send_back, leave


class Asked(asyncore.dispatcher):
    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.recv(8192)


class Lines(asynchat.async_chat):
    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.set_terminator(b"\r\n")
        self.line: list[bytes] = []

    def collect_incoming_data(self, data: bytes) -> None:
        self.line.append(data)

    def found_terminator(self) -> None:
        line = b"".join(self.line)
        self.line = []
        self.push(line + b"\r\n")

    handle_close = leave


class Visitor(asyncore.dispatcher):
    left = 0  # connections of this window that are still open

    def handle_read(self) -> None:
        self.recv(8192)

    def handle_close(self) -> None:
        self.close()
        Visitor.left -= 1
        if not Visitor.left:
            raise asyncore.ExitNow


class StreamEcho(cyncore.Stream):
    def handle_data(self, data: bytes) -> None:
        self.write(data)

    def handle_eof(self) -> None:
        self.loop.stop()


class StreamLines(StreamEcho):
    framing = cyncore.Lines(b"\r\n")

    def handle_frame(self, frame: bytes) -> None:
        self.write(frame + b"\r\n")


class StreamBatches(StreamEcho):
    framing = cyncore.Lines(b"\r\n")

    def handle_frames(self, frames: list[bytes]) -> None:
        frames.append(b"")
        self.write(b"\r\n".join(frames))


class StreamVisitor(cyncore.Stream):
    left: ClassVar[list[object]] = []  # one for each connection of this window that is still open

    def handle_close(self, error: BaseException | None) -> None:
        self.left.pop()  # an attribute of the class that is set would have its settings read again
        if not self.left:
            self.loop.stop()


class WatchedVisitor(StreamVisitor):
    handshake_deadline = 10
    first_byte_deadline = 30
    idle_deadline = 60
    write_deadline = 30


class Server(asyncore.dispatcher):
    def __init__(self, kind: type[asyncore.dispatcher]) -> None:
        super().__init__()
        self.kind = kind
        self.create_socket()
        self.bind(("127.0.0.1", 0))
        self.listen(1024)

    def handle_accepted(self, sock: socket.socket, address: object) -> None:
        self.kind(sock)


def serve() -> None:
    try:
        asyncore.loop()
    except asyncore.ExitNow:
        pass


def answer(
    kind: type[asyncore.dispatcher], turns: int, connections: int, active: int, message: bytes, answered: bool
) -> tuple[Run, Check]:
    """At every turn, `message` is read on each of the active connections."""
    # SOCK_SEQPACKET keeps messages apart: two that wait are not read at once
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(connections)]
    for near, _ in pairs:
        kind(near)
    for _, far in pairs[:active]:
        far.setblocking(False)
        for _ in range(turns):
            far.send(message)
    pairs[0][1].shutdown(socket.SHUT_WR)

    def check() -> None:
        for _, far in pairs[:active] if answered else []:
            answers = [far.recv(65536) for _ in range(turns)]
            assert answers == [message] * turns, "the work was not done"
        for _, far in pairs:
            far.close()
        asyncore.close_all()

    return serve, check


def read(turns: int, connections: int, active: int) -> tuple[Run, Check]:
    return answer(Reader, turns, connections, active, MESSAGE, False)


def echo(turns: int, connections: int, active: int) -> tuple[Run, Check]:
    return answer(Echo, turns, connections, active, MESSAGE, True)


def echo_with_send(turns: int, connections: int, active: int) -> tuple[Run, Check]:
    return answer(EchoWithSend, turns, connections, active, MESSAGE, True)


def lines(turns: int, connections: int, active: int, flight: int) -> tuple[Run, Check]:
    return answer(Lines, turns, connections, active, MESSAGE * flight, True)


def accept(turns: int) -> tuple[Run, Check]:
    """Clients that have connected and left already, one for each turn."""
    server = Server(Visitor)
    Visitor.left = turns
    for _ in range(turns):
        client = socket.create_connection(server.socket.getsockname())
        client.close()

    def check() -> None:
        assert Visitor.left == 0, "the work was not done"
        asyncore.close_all()

    return serve, check


def streams(kind: type[cyncore.Stream], turns: int, connections: int, active: int, message: bytes) -> tuple[Run, Check]:
    """As `answer`, of streams."""
    loop = cyncore.Loop()
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(connections)]
    for near, far in pairs:
        kind(near, loop=loop)
        far.setblocking(False)
    loop.poll()  # tells all of them that they are connected
    for _, far in pairs[:active]:
        for _ in range(turns):
            far.send(message)
    pairs[0][1].shutdown(socket.SHUT_WR)

    def check() -> None:
        for _, far in pairs[:active]:
            answers = [far.recv(65536) for _ in range(turns)]
            assert answers == [message] * turns, "the work was not done"
        for _, far in pairs:
            far.close()
        for stream in list(loop.map.values()):
            stream.abort()
        loop.close()

    return loop.run, check


def stream_echo(turns: int, connections: int, active: int) -> tuple[Run, Check]:
    return streams(StreamEcho, turns, connections, active, MESSAGE)


def native_echo(turns: int, connections: int, active: int) -> tuple[Run, Check]:
    """As `stream_echo`, with the handler in Cython of examples/native_echo."""
    from benchmarks.servers.compiled_echo import EchoBytes

    kind = type("NativeEcho", (EchoBytes, cyncore.Stream), {"handle_eof": StreamEcho.handle_eof})
    return streams(kind, turns, connections, active, MESSAGE)


def stream_lines(turns: int, connections: int, active: int, flight: int) -> tuple[Run, Check]:
    return streams(StreamLines, turns, connections, active, MESSAGE * flight)


def stream_batches(turns: int, connections: int, active: int, flight: int) -> tuple[Run, Check]:
    return streams(StreamBatches, turns, connections, active, MESSAGE * flight)


def stream_accept(turns: int) -> tuple[Run, Check]:
    """As `accept`, of streams."""
    return visits(StreamVisitor, turns)


def watched_accept(turns: int) -> tuple[Run, Check]:
    """As `accept`, of streams with deadlines."""
    return visits(WatchedVisitor, turns)


def visits(kind: type[StreamVisitor], turns: int) -> tuple[Run, Check]:
    loop = cyncore.Loop()
    server = loop.listen(("127.0.0.1", 0), kind)
    StreamVisitor.left.extend([None] * turns)
    for _ in range(turns):
        socket.create_connection(server.address).close()

    def check() -> None:
        assert not StreamVisitor.left, "the work was not done"
        server.close()
        loop.close()

    return loop.run, check


class Bouncer(cyncore.Datagram):
    """Its datagrams go round: it sends each to where it came from, which is its own address."""

    def handle_datagram(self, data: bytes, address: object, destination: object = None) -> None:
        self.send(data, address)


class BatchBouncer(Bouncer):
    def handle_datagrams(self, batch: list[tuple[bytes, object]]) -> None:
        for data, address in batch:
            self.send(data, address)


class PlainBouncer(Bouncer):
    offload = False


def bouncing(kind: type[Bouncer], turns: int, flight: int) -> tuple[Run, Check]:
    """At every turn, `flight` datagrams are received and sent. The loopback delivers them before the send returns."""
    loop = cyncore.Loop()
    channel = loop.bind(("127.0.0.1", 0), kind)
    loop.poll()
    for _ in range(flight):
        channel.send(MESSAGE, channel.address)
    for _ in range(3):
        loop.poll()

    def run() -> None:
        for _ in range(turns):
            loop.poll()

    def check() -> None:
        channel.pause_reading()
        left = [channel.socket.recv(100000) for _ in range(1 if kind is not PlainBouncer and flight > 1 else flight)]
        assert b"".join(left) == MESSAGE * flight, "the work was not done"
        channel.abort()
        loop.close()

    return run, check


def datagram_echo(turns: int, flight: int) -> tuple[Run, Check]:
    return bouncing(Bouncer, turns, flight)


def plain_datagram_echo(turns: int, flight: int) -> tuple[Run, Check]:
    """As `datagram_echo`, without UDP_SEGMENT and UDP_GRO."""
    return bouncing(PlainBouncer, turns, flight)


def datagram_batches(turns: int, flight: int) -> tuple[Run, Check]:
    return bouncing(BatchBouncer, turns, flight)


def fire(turns: int) -> tuple[Run, Check]:
    loop = cyncore.Loop()
    fired: list[int] = []

    def run() -> None:
        for number in range(turns):
            loop.call_later(0.0, fired.append, number)
        loop.run()

    def check() -> None:
        assert fired == list(range(turns)), "the work was not done"
        loop.close()

    return run, check


def cancel(turns: int) -> tuple[Run, Check]:
    loop = cyncore.Loop()
    for number in range(STANDING):
        loop.call_later(60.0 + number, print)

    def run() -> None:
        for _ in range(turns):
            loop.call_later(30.0, print).cancel()

    return run, loop.close


def wait(turns: int) -> tuple[Run, Check]:
    """Timers a millisecond apart; the loop has to wait for each."""
    loop = cyncore.Loop()
    left = turns

    def again() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_later(0.001, again)

    loop.call_later(0.001, again)

    def check() -> None:
        assert left == 0, "the work was not done"
        loop.close()

    return loop.run, check


standing: list[tuple[socket.socket, socket.socket]] = []


def crowd(kind: type[asyncore.dispatcher], turns: int, channels: int) -> tuple[Run, Check]:
    """The channels are made once in a process, because making them takes long."""
    if not standing:
        standing.extend(socket.socketpair() for _ in range(channels // 2))
        for pair in standing:
            for end in pair:
                kind(end)
        asyncore.loop(timeout=0, count=3)

    def check() -> None:
        assert len(asyncore.socket_map) == channels

    return lambda: asyncore.loop(timeout=0, count=turns), check


def idle(turns: int, channels: int) -> tuple[Run, Check]:
    return crowd(Reader, turns, channels)


def predicates(turns: int, channels: int) -> tuple[Run, Check]:
    return crowd(Asked, turns, channels)


def private_bytes() -> int:
    """The private memory of this process. It is exact to the page, and /proc/self/statm is not."""
    text = Path("/proc/self/smaps_rollup").read_text()
    found = re.search(r"^Anonymous: +(\d+) kB", text, re.MULTILINE)
    assert found, "this kernel does not count anonymous pages"
    return 1024 * int(found[1])


def memory(count: int) -> float:
    """Bytes by which the process grows for one idle dispatcher."""
    server = Server(Reader)
    return grown(cyncore.Loop.of(cyncore.socket_map), server.socket.getsockname(), count)


def stream_memory(count: int) -> float:
    """Bytes by which the process grows for one idle stream."""
    loop = cyncore.Loop()
    return grown(loop, loop.listen(("127.0.0.1", 0), StreamEcho).address, count)


def datagram_memory(count: int) -> float:
    """Bytes by which the process grows for one idle socket of datagrams."""
    loop = cyncore.Loop()
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)

    def open_some(most: int) -> None:
        for _ in range(most):
            loop.bind(("127.0.0.1", 0), Bouncer)
        loop.poll()
        gc.collect()

    open_some(200)  # makes what is made only once
    before = private_bytes()
    open_some(count)
    return (private_bytes() - before) / count


def grown(loop: cyncore.Loop, address: tuple[str, int], count: int, batch: int = 200) -> float:
    """Bytes by which the process grows for one idle connection. The sockets of the clients are made before."""
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)  # one huge page more or less would hide everything else
    clients = [socket.socket() for _ in range(count + batch)]

    def connect(some: list[socket.socket]) -> None:
        wanted = len(loop.map) + len(some)
        for client in some:
            client.connect(address)
        while len(loop.map) < wanted:
            loop.poll(5.0)

    connect(clients[:batch])  # makes what is made only once
    gc.collect()
    before = private_bytes()
    for first in range(batch, batch + count, batch):
        connect(clients[first : first + batch])
    gc.collect()
    return (private_bytes() - before) / count


WORKLOADS: dict[str, Callable[..., tuple[Run, Check]]] = {
    made.__name__: made
    for made in (
        *(read, echo, echo_with_send, lines, accept, stream_echo, stream_lines, stream_accept, watched_accept),
        *(native_echo, stream_batches, datagram_echo, plain_datagram_echo, datagram_batches),
        *(fire, cancel, wait, idle, predicates),
    )
}
MEMORY: dict[str, Callable[[int], float]] = {made.__name__: made for made in (memory, stream_memory, datagram_memory)}


def window(row: Row, turns: int) -> None:
    run, check = WORKLOADS[row.workload](turns, **row.options)
    gc.collect()
    os.getppid()
    run()
    os.getppid()
    check()


def work(row: Row) -> dict[str, object]:
    """Does the work of a row, and returns what the counters need to know. They leave out the first pair of windows."""
    if row.kind == BYTES:
        return {"bytes": MEMORY[row.workload](row.long)}
    gc.disable()
    turns = [row.short, row.long] * (1 + REPEATS[row.kind])
    for count in turns:
        window(row, count)
    return {"turns": turns}


def main(kind: str, name: str) -> None:
    if not native:
        sys.exit("cyncore is not compiled here: there is nothing to count")
    (row,) = [row for row in ROWS if (row.kind, row.name) == (kind, name)]
    print(json.dumps(work(row)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
