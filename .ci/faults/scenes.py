"""Scenes: what a program does with cyncore, small enough that each call and each allocation in it can fail in turn.

A scene raises Unserved where somebody was not served who should have been; any other exception is what a program sees.
`spare` is how many may go unserved: the one whose own call failed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

from cyncore import Datagram, Loop, asynchat, asyncore

LINE = b"x" * 62 + b"\r\n"
PATIENCE = 3.0  # seconds until everybody must have been served; more is a hang
POLLS = 2000  # of a scene; more is a spin


class Unserved(Exception):
    """The text says who, or what."""


class Quiet:
    """Errors are expected, and printed by nobody."""

    def handle_error(self) -> None:
        self.close()  # type: ignore[attr-defined]

    def log(self, message: str) -> None: ...

    def log_info(self, message: str, type: str = "info") -> None: ...


class Echo(Quiet, asyncore.dispatcher_with_send):
    def handle_read(self) -> None:
        data = self.recv(8192)
        if data:
            self.send(data)

    def handle_close(self) -> None:
        self.close()


class Plain(Quiet, asyncore.dispatcher):
    def handle_read(self) -> None:
        data = self.recv(8192)
        if data:
            self.send(data)

    def handle_close(self) -> None:
        self.close()


class Predicated(Quiet, asyncore.dispatcher):
    def __init__(self, sock: socket.socket, map: dict[int, object]) -> None:
        asyncore.dispatcher.__init__(self, sock, map)
        self.out: list[bytes] = []

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return bool(self.out)

    def handle_read(self) -> None:
        if data := self.recv(8192):
            self.out.append(data)

    def handle_write(self) -> None:
        data = self.out.pop()
        if not self.send(data):
            self.out.append(data)

    def handle_close(self) -> None:
        self.close()


class Lines(Quiet, asynchat.async_chat):
    def __init__(self, sock: socket.socket, map: dict[int, object]) -> None:
        asynchat.async_chat.__init__(self, sock, map)
        self.set_terminator(b"\r\n")
        self.line = b""

    def collect_incoming_data(self, data: bytes) -> None:
        self.line += data

    def found_terminator(self) -> None:
        line, self.line = self.line, b""
        self.push(line[:31])
        self.push(line[31:])
        self.push(b"\r\n")


class Server(Quiet, asyncore.dispatcher):
    def __init__(self, kind: Callable[..., object], map: dict[int, object]) -> None:
        asyncore.dispatcher.__init__(self, map=map)
        self.kind, self.map = kind, map
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.bind(("127.0.0.1", 0))
        self.listen(16)

    def handle_accepted(self, sock: socket.socket, address: object) -> None:
        self.kind(sock, self.map)

    def handle_error(self) -> None: ...


class Client:
    """Asks twice, and leaves."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.left = 2
        self.came = b""
        self.over = False
        end.setblocking(False)
        end.send(LINE)

    def step(self) -> None:
        """Looks whether the answer is there; `over` is True where there will be none any more."""
        try:
            data = self.socket.recv(8192)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.over = not data
        self.came += data
        if len(self.came) < len(LINE):
            return
        if self.came != LINE:
            raise Unserved(f"another answer came: {self.came!r}")
        self.came = b""
        self.left -= 1
        if self.left:
            self.socket.send(LINE)
        self.over = self.over or not self.left


@contextlib.contextmanager
def world() -> Iterator[tuple[Loop, dict[int, object], list[socket.socket]]]:
    """A loop and its map; at the end all is closed, whatever happened."""
    channels: dict[int, object] = {}
    ours: list[socket.socket] = []
    loop = Loop(channels)
    try:
        yield loop, channels, ours
    finally:
        for channel in list(channels.values()):
            channel.close()  # type: ignore[attr-defined]
        loop.close()
        for end in ours:
            end.close()


def turn(loop: Loop, done: Callable[[], bool], what: Callable[[], str]) -> None:
    end, polls = time.monotonic() + PATIENCE, 0
    while not done():
        with contextlib.suppress(OSError, MemoryError):
            loop.poll(0.005)
        polls += 1
        if polls > POLLS or time.monotonic() > end:
            raise Unserved(f"{what()} after {polls} polls")


def serve(loop: Loop, clients: list[Client], spare: int) -> None:
    def done() -> bool:
        for client in clients:
            if not client.over:
                client.step()
        return sum(not client.over for client in clients) <= 0

    def what() -> str:
        return f"{[client.left for client in clients]} requests left"

    try:
        turn(loop, done, what)
    except Unserved:
        if sum(client.left > 0 for client in clients) > spare:
            raise
    if sum(client.left > 0 for client in clients) > spare:
        raise Unserved(what())


def pairs(kind: Callable[..., object], spare: int) -> None:
    """Connections that are there already, and one that the loop has to leave alone."""
    with world() as (loop, channels, ours):
        clients = []
        for _ in range(3):
            near, far = socket.socketpair()
            ours.append(far)
            with contextlib.suppress(OSError):
                kind(near, channels)
            clients.append(Client(far))
        serve(loop, clients, spare)


def echo(spare: int = 0) -> None:
    pairs(Echo, spare)


def plain(spare: int = 0) -> None:
    pairs(Plain, spare)


def predicates(spare: int = 0) -> None:
    pairs(Predicated, spare)


def lines(spare: int = 0) -> None:
    pairs(Lines, spare)


def accept(spare: int = 0) -> None:
    """Clients that connect, in two crowds: the second shows that the listener is still there."""
    with world() as (loop, channels, ours):
        server = Server(Echo, channels)
        for _ in range(2):
            crowd = [socket.create_connection(server.socket.getsockname()) for _ in range(3)]
            ours += crowd
            serve(loop, [Client(end) for end in crowd], spare)


def connect(spare: int = 0) -> None:
    """Channels of ours connect, and ask another one."""
    came: list[bytes] = []

    class Asker(Echo):
        def handle_connect(self) -> None:
            self.send(LINE)

        def handle_read(self) -> None:
            came.append(self.recv(8192))

    with world() as (loop, channels, _):
        server = Server(Echo, channels)
        for _ in range(3):
            asker = Asker(map=channels)
            asker.create_socket(socket.AF_INET, socket.SOCK_STREAM)
            with contextlib.suppress(OSError):
                asker.connect(server.socket.getsockname())
        try:
            turn(loop, lambda: len(b"".join(came)) >= 3 * len(LINE), lambda: f"{len(came)} answers")
        except Unserved:
            if len(b"".join(came)) < (3 - spare) * len(LINE):
                raise


def timers(spare: int = 0) -> None:
    with world() as (loop, _, _):
        came: list[int] = []
        handles = [loop.call_later(0.0002 * number, came.append, number) for number in range(4)]
        handles[3].cancel()
        loop.call_soon(came.append, 9)
        turn(loop, lambda: len(came) >= 4, lambda: f"{came} came")


class Helper:
    """A thread that does what it is told, and survives that.

    Started before anything fails: CPython waits for ever for a thread that has no memory to begin.
    """

    def __init__(self) -> None:
        self.told, self.done = threading.Lock(), threading.Lock()
        self.told.acquire()
        self.done.acquire()
        self.action: Callable[[], object] = int
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self) -> None:
        while True:
            try:
                self.told.acquire()
                try:
                    self.action()
                finally:
                    self.done.release()
            except BaseException:
                continue

    def tell(self, action: Callable[[], object]) -> None:
        self.action = action
        self.told.release()

    def wait(self) -> None:
        """Until it has done it, or has failed where it could not say so."""
        self.done.acquire(timeout=PATIENCE)


helpers: list[Helper] = []  # one at most


def prepare() -> None:
    """Threads are not forked: to be called in each process, before a scene."""
    helpers[:] = [Helper()]


def threads(spare: int = 0) -> None:
    """Another thread ends a wait, twice; a wait that nobody ends is a hang."""
    helper = helpers[0]
    with world() as (loop, channels, ours):
        near, far = socket.socketpair()
        ours.append(far)
        Plain(near, channels)
        late = 0
        for _ in range(2):
            guard, began = loop.call_later(PATIENCE, loop.stop), time.monotonic()
            helper.tell(lambda: (time.sleep(0.002), loop.call_soon_threadsafe(loop.stop)))
            with contextlib.suppress(OSError, MemoryError):
                loop.run()
            late += time.monotonic() - began > 0.9 * PATIENCE  # what was asked for came with the guard
            helper.wait()
            guard.cancel()
        if late:
            raise Unserved("a call from another thread ended no wait")


def nested(spare: int = 0) -> None:
    """A second map, whose loop runs in a handler of the first."""
    with world() as (loop, _, ours), world() as (inner, others, _):
        near, far = socket.socketpair()
        ours.append(far)
        Echo(near, others)
        client = Client(far)

        def run() -> None:
            serve(inner, [client], spare)

        came: list[int] = []
        loop.call_soon(run)
        loop.call_soon(came.append, 1)
        turn(loop, lambda: bool(came), lambda: "the call after it did not come")


def churn(spare: int = 0) -> None:
    """Descriptors that are closed and come again, a map that is changed by hand, a class that changes."""
    with world() as (loop, channels, ours):
        for number in range(4):
            near, far = socket.socketpair()
            ours.append(far)
            channel = Plain(near, channels)
            key = near.fileno()
            if number % 2:
                del channels[key]
                loop.poll(0)
                channels[key] = channel
            else:
                channel.handle_read = lambda channel=channel: Plain.handle_read(channel)  # type: ignore[method-assign, misc]
            serve(loop, [Client(far)], spare)
            channel.close()
            loop.poll(0)


def pipe(spare: int = 0) -> None:
    with world() as (loop, channels, _):
        came: list[bytes] = []
        read, write = os.pipe()
        try:

            class Reader(Quiet, asyncore.file_dispatcher):
                def handle_read(self) -> None:
                    came.append(self.recv(8192))

                def writable(self) -> bool:
                    return False

            Reader(read, channels)
            os.write(write, LINE)
            turn(loop, lambda: bool(came) or not channels, lambda: "the pipe was not read")
        finally:
            os.close(read)
            os.close(write)


class Datagrams(Datagram):
    def handle_datagram(self, data: bytes, address: object, destination: object = None) -> None:
        self.send(data, address)

    def handle_error(self, error: BaseException) -> None: ...


def datagrams(spare: int = 0) -> None:
    """Senders that send again until they are answered. None is lost for good: a failure costs a datagram at most."""
    with world() as (loop, _, ours):
        loop.bind(("127.0.0.1", 0), Datagrams)
        (channel,) = loop.map.values()
        senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        ours += senders
        answered: list[socket.socket] = []
        for sender in senders:
            sender.setblocking(False)
            sender.connect(channel.address)

        def done() -> bool:
            for sender in senders:
                if sender not in answered:
                    sender.send(LINE)
                    with contextlib.suppress(BlockingIOError):
                        sender.recv(8192)
                        answered.append(sender)
            return len(answered) == len(senders)

        turn(loop, done, lambda: f"{len(answered)} senders were answered")


SCENES: dict[str, Callable[[int], None]] = {
    scene.__name__: scene  # type: ignore[misc]
    for scene in (echo, plain, predicates, lines, accept, connect, timers, threads, nested, churn, pipe, datagrams)
}
