# SPDX-License-Identifier: MIT
"""What a stream sends: the order, the marks, the limit, and from which thread."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from cyncore import LimitExceeded, Loop, Stream
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, connected, receive


@every_backend
def test_what_is_written_leaves_in_order(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    stream.write(b"one ")
    stream.write(bytearray(b"two "))
    stream.write(memoryview(b"three "))
    stream.writelines([b"four ", b"five"])
    assert receive(loop, theirs, 23) == b"one two three four five"
    stream.abort()


def test_a_bytearray_may_be_changed_after_the_write(loop: Loop, peers: Peers) -> None:
    class Careless(Stream):
        def handle_data(self, data: bytes) -> None:
            answer = bytearray(data)
            self.write(answer)
            answer[:] = b"?" * len(answer)

    stream, theirs = connected(peers, loop, Careless)
    theirs.sendall(b"kept")
    assert receive(loop, theirs, 4) == b"kept"
    stream.abort()


@every_backend
def test_more_than_the_kernel_takes_leaves_whole(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    data = b"".join(number.to_bytes(4, "big") for number in range(500_000))
    stream.write(b"head")
    stream.write(data)
    stream.write(b"tail")
    assert receive(loop, theirs, len(data) + 8) == b"head" + data + b"tail"
    assert stream.output_size == 0
    stream.abort()


def test_many_small_writes_leave_whole(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    pieces = [b"%d;" % number for number in range(60_000)]

    def write() -> None:
        for piece in pieces:
            stream.write(piece)

    loop.call_soon(write)
    whole = b"".join(pieces)
    assert receive(loop, theirs, len(whole)) == whole
    stream.abort()


@pytest.mark.parametrize("data", ["text", 1, None, ["x"]])
def test_anything_but_bytes_is_a_type_error(loop: Loop, peers: Peers, data: Any) -> None:
    stream, _ = connected(peers, loop)
    with pytest.raises(TypeError, match="can be sent"):
        stream.write(data)
    stream.abort()


def test_writing_before_there_is_a_connection_waits_for_it(loop: Loop, peers: Peers) -> None:
    ours, theirs = peers.pair()
    stream = Recorder(ours, loop=loop)
    stream.write(b"early")
    assert stream.output_size == 5
    assert receive(loop, theirs, 5) == b"early"
    stream.abort()


def test_writing_to_a_closed_stream_is_dropped(loop: Loop, peers: Peers) -> None:
    stream, _ = connected(peers, loop)
    stream.abort()
    stream.write(b"late")
    assert stream.output_size == 0


def test_writing_after_write_eof_is_an_error(loop: Loop, peers: Peers) -> None:
    stream, _ = connected(peers, loop)
    stream.write_eof()
    with pytest.raises(RuntimeError, match="after write_eof"):
        stream.write(b"late")
    stream.abort()


def test_the_marks_are_told_once_each(loop: Loop, peers: Peers) -> None:
    class Marked(Recorder):
        high_water = 100_000
        low_water = 10

    stream, theirs = connected(peers, loop, Marked)
    for _ in range(30):
        stream.write(bytes(100_000))
    loop.poll(0)
    loop.poll(0)
    assert stream.seen == ["connect", "full"]
    assert len(receive(loop, theirs, 3_000_000)) == 3_000_000
    poll_until(loop, lambda: stream.output_size == 0)
    assert stream.seen == ["connect", "full", "drained"]
    stream.abort()


def test_a_mark_may_be_set_on_one_stream(loop: Loop, peers: Peers) -> None:
    stream, _ = connected(peers, loop)
    stream.high_water = 3_000_000
    stream.write(bytes(2_900_000))
    loop.poll(0)
    loop.poll(0)
    assert "full" not in stream.seen
    stream.write(bytes(2_900_000))
    poll_until(loop, lambda: "full" in stream.seen)
    stream.abort()


def test_a_peer_that_reads_nothing_ends_at_the_limit(loop: Loop, peers: Peers) -> None:
    class Limited(Recorder):
        max_output = 1_000_000

    stream, _ = connected(peers, loop, Limited)
    for _ in range(100):
        stream.write(bytes(100_000))
        loop.poll(0)
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], LimitExceeded)
    assert stream.output_size == 0


@every_backend
def test_threads_may_write_while_the_loop_runs(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)

    def write(name: int) -> None:
        for number in range(300):
            stream.write(b"%d:%d;" % (name, number))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    runner = threading.Thread(target=loop.run)
    runner.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loop.call_soon_threadsafe(stream.close)
    got = bytearray()
    theirs.settimeout(5)
    while part := theirs.recv(65536):
        got += part
    runner.join(5)
    items = [tuple(map(int, item.split(b":"))) for item in bytes(got).split(b";")[:-1]]
    assert len(items) == 1200
    assert all([n for who, n in items if who == name] == list(range(300)) for name in range(4))


def test_a_lost_peer_is_told_as_the_error_of_the_connection(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    stream.pause_reading()
    theirs.close()
    stream.write(b"x")
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], (BrokenPipeError, ConnectionResetError)) or stream.seen[-1] == "close"


def test_one_system_call_sends_what_a_tick_has_written(loop: Loop, peers: Peers) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps the bounds of what is sent
    ours.setblocking(False)
    peers.keep(ours, theirs)
    stream = Recorder(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)

    def write() -> None:
        for word in (b"one ", b"two ", b"three"):
            stream.write(word)

    loop.call_soon(write)
    loop.call_soon(stream.write, b" four")
    loop.poll(0)
    theirs.settimeout(5)
    assert theirs.recv(100) == b"one two three four"
    stream.abort()


class Marked(Recorder):
    high_water = 1000

    def __init__(self, sock: Any = None, *, loop: Any = None) -> None:
        super().__init__(sock, loop=loop)
        self.write(bytes(5_000_000))


@every_backend
def test_a_stream_that_was_full_before_it_had_a_loop_is_told_so(loop: Loop) -> None:
    made: list[Marked] = []

    def factory() -> Marked:
        made.append(Marked())
        return made[-1]

    server = loop.listen(("127.0.0.1", 0), factory)
    with socket.create_connection(server.address, 5) as sock:
        poll_until(loop, lambda: made and "full" in made[0].seen)
        assert len(receive(loop, sock, 5_000_000)) == 5_000_000
        poll_until(loop, lambda: "drained" in made[0].seen)
    assert made[0].seen[:3] == ["connect", "full", "drained"]
    poll_until(loop, lambda: made[0].is_over)
    server.close()


@every_backend
def test_what_a_thread_has_written_leaves_before_what_is_written_after_it(loop: Loop, peers: Peers) -> None:
    class Joining(Recorder):
        def handle_data(self, data: bytes) -> None:
            thread = threading.Thread(target=self.write, args=(b"thread, ",))
            thread.start()
            thread.join()
            self.write(b"loop")

    stream, theirs = connected(peers, loop, Joining)
    theirs.sendall(b"x")
    assert receive(loop, theirs, 12) == b"thread, loop"
    stream.abort()
