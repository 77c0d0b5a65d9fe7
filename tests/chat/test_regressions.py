# SPDX-License-Identifier: MIT
"""Faults of asynchat that a review found, one test each: what got lost, left twice, hung or ended the process."""

from __future__ import annotations

import gc
import socket
import sys
from types import FrameType
from typing import Any

import pytest

from cyncore import Loop
from tests.support.chat import (
    Lines,
    asynchat,
    beyond_the_old,
    feed,
    fill,
    poll,
    poll_until,
    receive,
    receive_all,
    waiting,
)
from tests.support.peers import Peers
from tests.support.script import run_script

COMMON = """
import array, gc, socket
from cyncore import Loop, asynchat

class Line(asynchat.async_chat):
    def __init__(self, sock, map):
        super().__init__(sock, map)
        self.set_terminator(b"\\n")
    collect_incoming_data = asynchat.async_chat._collect_incoming_data
    def found_terminator(self):
        pass

def pair():
    near, far = socket.socketpair()
    near.setblocking(False)
    return near, far
"""


class Counting(socket.socket):
    """Says how often it was asked to send."""

    sends = 0

    def send(self, *arguments: Any) -> int:
        self.sends += 1
        return super().send(*arguments)


class Parts:
    """A producer of these parts; an exception among them is raised."""

    def __init__(self, *parts: Any) -> None:
        self.parts = list(parts)

    def more(self) -> Any:
        part = self.parts.pop(0) if self.parts else b""
        if isinstance(part, Exception):
            raise part
        return part


# What a handler has pushed comes before what it does next


@pytest.mark.parametrize("count", [63, 64, 65, 100, 200])
def test_every_push_leaves_before_a_close(loop: Loop, peers: Peers, count: int) -> None:
    class Closing(Lines):
        def on_end(self) -> None:
            for number in range(count):
                self.push(b"%04d " % number)
            self.close()

    channel, far = peers.channel(Closing, loop.map)
    far.sendall(b"go\n")
    assert receive_all(loop, far) == b"".join(b"%04d " % number for number in range(count))
    assert channel.calls == [b"go", "end"]


@pytest.mark.parametrize("count", [80, 200])
def test_every_push_leaves_before_the_socket_is_handed_out(loop: Loop, peers: Peers, count: int) -> None:
    class Greeting(Lines):
        def on_end(self) -> None:
            for _ in range(count):
                self.push(b"plain ")
            self.socket.send(b"handshake")

    channel, far = peers.channel(Greeting, loop.map)
    far.sendall(b"go\n")
    want = b"plain " * count + b"handshake"
    assert receive(loop, far, len(want)) == want
    channel.close()


def test_the_socket_is_closed_though_a_producer_fails_in_close(loop: Loop, peers: Peers) -> None:
    class Closing(Lines):
        def on_end(self) -> None:
            try:
                self.push_with_producer(Parts(ValueError("no data")))
            except ValueError as error:  # at once, in the old module
                self.calls.append(f"error {error!r}")
            self.close()

    channel, far = peers.channel(Closing, loop.map)
    near = channel.socket
    feed(loop, far, b"go\n")
    assert near.fileno() == -1
    assert not loop.map
    assert channel.calls == [b"go", "end", "error ValueError('no data')"]


def test_what_handle_close_pushes_leaves_after_a_close_when_done(loop: Loop, peers: Peers) -> None:
    class Polite(Lines):
        def handle_close(self) -> None:
            self.calls.append("close")
            self.push(b"bye%d " % self.calls.count("close"))
            if self.calls.count("close") == 1:
                self.close_when_done()
            else:
                self.close()

    channel, far = peers.channel(Polite, loop.map)
    far.shutdown(socket.SHUT_WR)
    assert receive_all(loop, far).startswith(b"bye1 bye2 ")
    channel.close()


@beyond_the_old
def test_what_two_channels_push_around_a_read_of_a_third_is_one_send(loop: Loop, peers: Peers) -> None:
    class Answering(Lines):
        def on_end(self) -> None:
            read.append(self)
            answered.push(b"x")

    class Read(Lines):
        gather_pushes = True

        def on_end(self) -> None:
            read.append(self)

    read: list[Lines] = []
    first, first_far = peers.channel(Answering, loop.map)
    near, far = peers.pair()
    counted = Counting(fileno=near.detach())
    peers.keep(counted)
    answered = Read(counted, loop.map)
    last, last_far = peers.channel(Answering, loop.map)
    for peer in first_far, far, last_far:
        peer.sendall(b"line\n")
    loop.poll(0)
    assert read == [first, answered, last]
    assert (waiting(far), counted.sends) == (b"xx", 1)
    for channel in first, answered, last:
        channel.close()


# Nothing is sent twice


@pytest.mark.parametrize("inherited", [True, False])
def test_initiate_send_in_a_handler_sends_once_through_an_own_send(loop: Loop, peers: Peers, inherited: bool) -> None:
    class Sending(Lines):
        def on_end(self) -> None:
            self.push(b"one ")
            self.push(b"two ")
            self.initiate_send()

        def send(self, data: Any) -> int:
            return int(super().send(data) if inherited else self.socket.send(data))

    channel, far = peers.channel(Sending, loop.map)
    feed(loop, far, b"go\n")
    poll_until(loop, lambda: not channel.producer_fifo)
    assert waiting(far) == b"one two "
    channel.close()


class Shouting(Lines):
    """Sends through a method of its own, so that its queue is sent item by item."""

    def send(self, data: Any) -> int:
        return int(super().send(data))


@beyond_the_old
@pytest.mark.parametrize("kind", [Lines, Shouting])
def test_a_push_in_the_middle_of_sending_leaves_once(loop: Loop, peers: Peers, kind: type[Lines]) -> None:
    """What a signal handler does: a trace function, too, runs between any two lines, and wherever it is told to."""

    def push_at(number: int) -> bool:
        """Was there a line of that number?"""
        lines = 0

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal lines
            if event == "line" and "cyncore" in frame.f_code.co_filename:
                lines += 1
                if lines == number:
                    channel.push(b"late ")
            return trace

        channel, far = peers.channel(kind, loop.map)
        loop.call_soon(channel.push, b"one ")
        loop.call_soon(channel.push, b"two ")
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            loop.poll(0)
        finally:
            sys.settrace(before)
        poll_until(loop, lambda: not channel.producer_fifo)
        got = waiting(far)
        channel.close()
        far.close()
        assert channel.calls == []
        assert sorted(got.split()) == [b"late", b"one", b"two"][lines < number :]
        return lines >= number

    assert not all(push_at(number) for number in range(1, 1000))


# Producers, and what programs put into the queue


@pytest.mark.parametrize("parts", [(b"1",), (b"1", b"2")])
def test_a_producer_that_closes_its_channel_is_the_last_to_do_so(
    loop: Loop, peers: Peers, parts: tuple[bytes, ...]
) -> None:
    class Closer(Parts):
        def more(self) -> Any:
            channel.close()
            return super().more()

    channel, far = peers.channel(Lines, loop.map)
    channel.push_with_producer(Closer(*parts))
    for _ in range(3):
        poll(loop)
    assert channel.calls == []
    assert receive_all(loop, far) == b""


@pytest.mark.parametrize("item", ["array.array('B', b'abc')", "bytearray(b'abc')", "memoryview(b'abc')"])
def test_whatever_a_socket_takes_may_be_queued(item: str) -> None:
    """In a process of its own: what went round for ever in C could not be interrupted."""
    script = f"""
with Loop() as loop:
    near, far = pair()
    channel = Line(near, loop.map)
    channel.producer_fifo.append({item})
    loop.poll(0)
    print(far.recv(10), list(channel.producer_fifo))
    channel.close()
    far.close()
"""
    assert run_script(COMMON + script) == "b'abc' []\n"


def test_a_queued_object_that_holds_no_bytes_is_an_error() -> None:
    script = """
class Telling(Line):
    def handle_error(self):
        import sys
        print(sys.exc_info()[0].__name__)
        self.close()

with Loop() as loop:
    near, far = pair()
    Telling(near, loop.map).producer_fifo.append([1, 2])
    for _ in range(3):
        loop.poll(0)
    print(far.recv(10), dict(loop.map))
    far.close()
"""
    assert run_script(COMMON + script) == "TypeError\nb'' {}\n"


@pytest.mark.parametrize("kind", ["Item()", "Bytes(b'x')", "Str('x')"])
def test_a_queued_object_may_empty_the_queue_it_is_in(kind: str) -> None:
    script = f"""
def empty():
    channel.producer_fifo.clear()
    channel.producer_fifo.rotate(0)
    return b"data"

class Item:
    def __getitem__(self, key):
        return empty()
    def __len__(self):
        return 4

class Bytes(bytes):
    def __bytes__(self):
        return empty()

class Str(str):
    def encode(self, *arguments):
        return empty()

with Loop() as loop:
    near, far = pair()
    channel = Line(near, loop.map)
    channel.use_encoding = 1
    channel.handle_error = lambda: None
    channel.producer_fifo.extend([{kind} for _ in range(20)])
    for _ in range(10):
        loop.poll(0)
    channel.close()
    far.close()
print("alive")
"""
    assert run_script(COMMON + script) == "alive\n"


def test_a_queue_outlives_a_channel_that_the_collector_took() -> None:
    script = """
queues = []
for _ in range(50):
    near, far = pair()
    channel = Line(near, {})
    queues.append(channel.producer_fifo)
    channel.me = channel
    channel.del_channel()
    near.close()
    far.close()
    del channel
gc.collect()
junk = [bytearray(b"A" * size) for size in range(100, 700) for _ in range(20)]
for queue in queues:
    queue.append(b"x")
print("alive", len(queues[0]))
"""
    assert run_script(COMMON + script) == "alive 1\n"


def test_a_queue_that_moves_from_channel_to_channel_is_the_last_ones(loop: Loop, peers: Peers) -> None:
    (first, far), (second, other) = (peers.channel(Lines, loop.map) for _ in range(2))
    second.producer_fifo = queue = first.producer_fifo
    first.close()
    del first
    gc.collect()
    queue.append(b"data")
    assert receive(loop, other, 4) == b"data"
    assert waiting(far) == b""
    second.close()


# What may not be quadratic: at these sizes it took longer than these tests may, and now takes a fraction of a second


MANY = 400_000


def take_first(queue: Any) -> None:
    queue.extend([b"x"] * MANY)
    while queue:
        assert queue[0]
        del queue[0]


def pop_first(queue: Any) -> None:
    queue.extend([b"x"] * MANY)
    while queue:
        assert queue[0]
        queue.popleft()


def put_first(queue: Any) -> None:
    for _ in range(MANY):
        queue.appendleft(b"x")


def put_first_and_take(queue: Any) -> None:
    queue.extend([b"x"] * MANY)
    for _ in range(MANY):
        queue.appendleft(queue.popleft())


@pytest.mark.timeout(20)
@pytest.mark.parametrize("work", [take_first, pop_first, put_first, put_first_and_take])
def test_work_at_the_front_of_the_queue_does_not_depend_on_its_length(work: Any) -> None:
    work(Lines(None, {}).producer_fifo)


@pytest.mark.timeout(20)
@beyond_the_old
def test_a_queue_with_a_limit_is_not_counted_at_every_push(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Lines, loop.map)
    channel.max_outgoing = 1 << 30
    fill(channel.socket)
    for _ in range(100_000):
        channel.push(b"a")
        channel.producer_fifo.append(b"b")
    assert len(channel.producer_fifo) == 200_000
    channel.close()


# Classes that change


def test_a_class_changed_in_a_callback_counts_for_the_next_line(loop: Loop, peers: Peers) -> None:
    class Changing(Lines):
        def on_end(self) -> None:
            Changing.collect_incoming_data = collect  # type: ignore[method-assign]

    def collect(channel: Any, data: bytes) -> None:
        channel.calls.append(data.upper())

    channel, far = peers.channel(Changing, loop.map)
    feed(loop, far, b"one\ntwo\n")
    assert channel.calls == [b"one", "end", b"TWO", "end"]
    channel.close()


def test_a_class_made_of_anothers_dict_calls_its_own_methods(loop: Loop, peers: Peers) -> None:
    """As attrs, dataclass(slots=True) and six.add_metaclass make them."""

    class First(asynchat.async_chat):  # type: ignore[misc, name-defined]
        def collect_incoming_data(self, data: bytes) -> None:
            pass

        def found_terminator(self) -> None:
            found.append("first")

    def serve(kind: Any) -> None:
        channel, far = peers.channel(kind, loop.map)
        channel.set_terminator(b"\n")
        feed(loop, far, b"x\n")
        channel.close()

    found: list[str] = []
    serve(First)
    names = {name: value for name, value in vars(First).items() if name not in ("__dict__", "__weakref__")}
    names["found_terminator"] = lambda channel: found.append("second")
    serve(type("Second", First.__bases__, names))
    assert found == ["first", "second"]
