"""Old programs: patterns of real ones, written for asyncore and asynchat, that run on whichever modules have the names.

`python -m benchmarks old` runs each over the old modules and over cyncore's, against a client in another process;
`python -m benchmarks old-gate` counts what each costs, with requests that wait already or that `served` brings.
Whoever imports this file has decided before which modules are called asyncore and asynchat.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyncore import asynchat, asyncore
else:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import asynchat
        import asyncore

MESSAGE = b"x" * 62 + b"\r\n"
BACKLOG = 1024
LEFT = b""  # a datagram without content ends the program, as the end of a stream does
PUSHES = 5


@dataclass
class Conversation:
    """What a client talks to: it writes `request` to one end, and reads `reply` bytes from the other."""

    ask: socket.socket | int
    answer: socket.socket | int
    request: bytes = MESSAGE
    reply: int = len(MESSAGE)


@dataclass
class Program:
    """A program that is ready to run.

    `served` is called by handlers that have sent a whole answer, with the number of the conversation. Programs whose
    answers leave later (asynchat), or that read what waits already, do not call it, and are `fed`.
    """

    run: Callable[[], None]
    conversations: list[Conversation] = field(default_factory=list)
    address: tuple[str, int] | None = None  # where clients connect to, or send datagrams to
    datagrams: bool = False
    fed: bool = False
    closers: list[Callable[[], object]] = field(default_factory=list)
    served: Callable[[int], None] = lambda number: None

    def close(self) -> None:
        for close in self.closers:
            close()


def loop() -> None:
    """As nearly every program has it."""
    try:
        asyncore.loop(timeout=30.0, use_poll=True)
    except asyncore.ExitNow:
        pass


class Channel(asyncore.dispatcher_with_send):
    """Of a class with nothing but handlers; the client's leaving ends the program."""

    program: Program
    number = 0

    def handle_read(self) -> None:
        data = self.recv(8192)
        if data:
            self.send(data)

    def handle_close(self) -> None:
        raise asyncore.ExitNow


class Predicated(asyncore.dispatcher):
    """Both predicates over a buffer of its own, as the examples of asyncore's documentation have them."""

    program: Program
    number = 0
    out = b""

    def readable(self) -> bool:
        return len(self.out) < 65536

    def writable(self) -> bool:
        return bool(self.out)

    def handle_read(self) -> None:
        self.out += self.recv(8192)

    def handle_write(self) -> None:
        sent = self.send(self.out)
        self.out = self.out[sent:]
        if not self.out:
            self.program.served(self.number)

    def handle_close(self) -> None:
        raise asyncore.ExitNow


standing: dict[type, list[Any]] = {}


def stand(kind: type[asyncore.dispatcher], count: int) -> None:
    """So many idle channels of that class, at both ends of socketpairs. They are made once in a process."""
    have = standing.setdefault(kind, [])
    while len(have) < count:
        have.extend(kind(end) for end in socket.socketpair())


def connect(kinds: list[Any], fed: bool = False, run: Callable[[], None] = loop) -> Program:
    """A program with a channel of each class, each on a connection of its own."""
    program = Program(run, fed=fed)
    # where requests wait already, a message stays one message
    how = socket.SOCK_SEQPACKET if fed else socket.SOCK_STREAM
    for number, kind in enumerate(kinds):
        near, far = socket.socketpair(socket.AF_UNIX, how)
        channel = kind(near)
        channel.program, channel.number = program, number
        program.conversations.append(Conversation(far, far))
        program.closers += [channel.close, far.close]
    return program


# Whose answer another one changes


class Relay(Predicated):
    """What one channel reads the other one sends: its buffer is an attribute, changed from outside."""

    other: Any = None

    def handle_read(self) -> None:
        self.other.out += self.recv(8192)


class Listed(Predicated):
    """The buffer is a list inside an attribute: nothing is ever assigned."""

    def __init__(self, sock: socket.socket) -> None:
        Predicated.__init__(self, sock)
        self.answers: list[bytes] = []

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return bool(self.answers)

    def handle_write(self) -> None:
        self.send(self.answers.pop(0))
        self.program.served(self.number)


class ListRelay(Listed):
    other: Any = None

    def handle_read(self) -> None:
        self.other.answers.append(self.recv(8192))


def make_relay(kind: type[Any], idle: int) -> Program:
    stand(kind, idle)
    program = connect([])
    left, right = socket.socketpair(), socket.socketpair()
    ends = [kind(left[0]), kind(right[0])]
    ends[0].other, ends[1].other = ends[1], ends[0]
    for end in ends:
        end.program = program
    program.conversations.append(Conversation(left[1], right[1]))
    program.closers += [end.close for end in (*ends, left[1], right[1])]
    return program


def relay(idle: int) -> Program:
    return make_relay(Relay, idle)


def relay_list(idle: int) -> Program:
    return make_relay(ListRelay, idle)


# Worker threads


class Trigger(asyncore.file_dispatcher):
    """A pipe: a thread writes to it so that the loop looks again."""

    def __init__(self) -> None:
        ours, self.theirs = os.pipe()
        asyncore.file_dispatcher.__init__(self, ours)
        os.close(ours)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.recv(8192)

    def handle_close(self) -> None:
        self.close()

    def pull(self) -> None:
        os.write(self.theirs, b"x")


class Worked(Listed):
    """A thread makes the answer; until it is sent, nothing more is read."""

    tasks: queue.SimpleQueue[Any]
    busy = False

    def readable(self) -> bool:
        return not self.busy

    def handle_read(self) -> None:
        data = self.recv(8192)
        if data:
            self.busy = True
            self.tasks.put((self, data))

    def handle_write(self) -> None:
        self.busy = False
        Listed.handle_write(self)


def work(tasks: queue.SimpleQueue[Any], trigger: Trigger) -> None:
    while (task := tasks.get()) is not None:
        channel, data = task
        channel.answers.append(data)
        trigger.pull()


def workers(idle: int, active: int = 1, threads: int = 1) -> Program:
    stand(Worked, idle)
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    trigger = Trigger()
    kind = type("Worked", (Worked,), {"tasks": tasks})
    program = connect([kind] * active)
    crew = [threading.Thread(target=work, args=(tasks, trigger), daemon=True) for _ in range(threads)]
    for thread in crew:
        thread.start()

    def dismiss() -> None:
        for _ in crew:
            tasks.put(None)
        for thread in crew:
            thread.join()
        trigger.close()
        os.close(trigger.theirs)

    program.closers.append(dismiss)
    return program


# Idle channels beside


def predicates(idle: int, active: int = 1) -> Program:
    stand(Predicated, idle)
    return connect([Predicated] * active)


def echo(idle: int, active: int) -> Program:
    """Beside channels with predicates."""
    stand(Predicated, idle)
    return connect([Channel] * active, fed=True)


def idle(idle: int) -> Program:
    """Nothing happens."""
    stand(Predicated, idle)
    return connect([Predicated])


# asynchat


class Answering(asynchat.async_chat):
    """A line is answered by five pushes: status, headers, body."""

    program: Program
    number = 0

    def __init__(self, sock: socket.socket) -> None:
        asynchat.async_chat.__init__(self, sock)
        self.set_terminator(b"\r\n")
        self.line: list[bytes] = []

    def collect_incoming_data(self, data: bytes) -> None:
        self.line.append(data)

    def found_terminator(self) -> None:
        self.line = []
        for _ in range(PUSHES):
            self.push(b"250-line\r\n")

    def handle_close(self) -> None:
        raise asyncore.ExitNow


class Gathering(Answering):
    gather_pushes = True  # the old module knows nothing of it


def pushes(gather: int, active: int = 10) -> Program:
    program = connect([Gathering if gather else Answering] * active, fed=True)
    for conversation in program.conversations:
        conversation.reply = PUSHES * len(b"250-line\r\n")
    return program


# What a loop might remember of a class, and is changed at every event


class Counting(Channel):
    requests = 0

    def handle_read(self) -> None:
        Counting.requests += 1
        Channel.handle_read(self)


def class_attribute(active: int = 10) -> Program:
    return connect([Counting] * active, fed=True)


class Rebound(Channel):
    """A handler of the instance, set at one event and deleted at the next."""

    def handle_read(self) -> None:
        self.handle_read = self.read_more  # type: ignore[method-assign]
        Channel.handle_read(self)

    def read_more(self) -> None:
        del self.handle_read
        Channel.handle_read(self)


def instance_handler(active: int = 10) -> Program:
    return connect([Rebound] * active, fed=True)


class Even(Channel):
    """A state machine whose states are classes."""

    def handle_read(self) -> None:
        self.__class__ = Odd
        Channel.handle_read(self)


class Odd(Channel):
    def handle_read(self) -> None:
        self.__class__ = Even  # type: ignore[assignment]
        Channel.handle_read(self)


def swapped_class(active: int = 10) -> Program:
    return connect([Even] * active, fed=True)


class Sleeper(Channel):
    """Taken out of the map by another one's hand, and put back."""


class Waking(Channel):
    sleeper: Sleeper

    def handle_read(self) -> None:
        key = self.sleeper.socket.fileno()
        if key in asyncore.socket_map:
            del asyncore.socket_map[key]
        else:
            asyncore.socket_map[key] = self.sleeper
        Channel.handle_read(self)


def map_by_hand() -> Program:
    program = connect([Waking], fed=True)
    near, far = socket.socketpair()
    sleeper = Sleeper(near)
    Waking.sleeper = sleeper
    program.closers += [sleeper.close, far.close]
    return program


# Loops of one's own


def counted() -> None:
    try:
        while True:
            asyncore.loop(timeout=30.0, use_poll=True, count=1)
    except asyncore.ExitNow:
        pass


def polled() -> None:
    try:
        while True:
            asyncore.poll2(30.0)
    except asyncore.ExitNow:
        pass


def loop_count(idle: int) -> Program:
    stand(Channel, idle)
    return connect([Channel], fed=True, run=counted)


def poll(idle: int) -> Program:
    stand(Channel, idle)
    return connect([Channel], fed=True, run=polled)


# Short-lived clients


class Visitor(asyncore.dispatcher_with_send):
    """Answers a line, and closes."""

    program: Program

    def handle_read(self) -> None:
        data = self.recv(8192)
        if data:
            self.send(data)
            self.close()
            self.program.served(0)

    def handle_close(self) -> None:
        self.close()


class Server(asyncore.dispatcher):
    kind: type[Visitor] = Visitor

    def __init__(self, program: Program) -> None:
        asyncore.dispatcher.__init__(self)
        self.program = program
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.set_reuse_addr()
        self.bind(("127.0.0.1", 0))
        self.listen(BACKLOG)

    def handle_accepted(self, sock: socket.socket, address: Any) -> None:
        self.make(sock, address).program = self.program

    def make(self, sock: socket.socket, address: Any) -> Visitor:
        return Visitor(sock)


class ClassMaker(Server):
    """A subclass for each connection, as frameworks make them that mix in what a client asked for."""

    def make(self, sock: socket.socket, address: Any) -> Visitor:
        return type("Visitor", (Visitor,), {"address": address})(sock)


def make_visits(kind: type[Server]) -> Program:
    program = Program(loop)
    server = kind(program)
    program.address = server.socket.getsockname()
    program.closers.append(server.close)
    return program


def visits() -> Program:
    return make_visits(Server)


def class_each() -> Program:
    return make_visits(ClassMaker)


# What is no stream socket


class PipeIn(asyncore.file_dispatcher):
    out: PipeOut

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.out.buffer += self.recv(len(MESSAGE))

    def handle_close(self) -> None:
        raise asyncore.ExitNow


class PipeOut(asyncore.file_dispatcher):
    program: Program
    buffer = b""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return bool(self.buffer)

    def handle_write(self) -> None:
        sent = self.send(self.buffer)
        self.buffer = self.buffer[sent:]
        self.program.served(0)

    def handle_close(self) -> None:
        raise asyncore.ExitNow


def pipes() -> Program:
    program = Program(loop)
    (read, asked), (answered, write) = os.pipe(), os.pipe()
    source, sink = PipeIn(read), PipeOut(write)
    source.out, sink.program = sink, program
    for duplicated in (read, write):
        os.close(duplicated)
    program.conversations.append(Conversation(asked, answered))
    program.closers += [source.close, sink.close, lambda: os.close(asked), lambda: os.close(answered)]
    return program


class Datagrams(asyncore.dispatcher):
    def __init__(self) -> None:
        asyncore.dispatcher.__init__(self)
        self.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.bind(("127.0.0.1", 0))

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        data, address = self.socket.recvfrom(8192)
        if data == LEFT:
            raise asyncore.ExitNow
        self.socket.sendto(data, address)


def datagrams() -> Program:
    server = Datagrams()
    return Program(loop, address=server.socket.getsockname(), datagrams=True, fed=True, closers=[server.close])


MAKERS: dict[str, Callable[..., Program]] = {
    maker.__name__: maker
    for maker in (
        *(relay, relay_list, workers, predicates, echo, idle, pushes, class_attribute, instance_handler),
        *(swapped_class, map_by_hand, loop_count, poll, visits, class_each, pipes, datagrams),
    )
}
