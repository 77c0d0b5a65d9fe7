# SPDX-License-Identifier: MIT
"""push, producers and close_when_done: all of it leaves, once and in order."""

from __future__ import annotations

import array
import errno
import socket
import ssl
import sys
from types import FrameType
from typing import Any

import pytest

from cyncore import Loop
from tests.support.chat import (
    OLD,
    Lines,
    asynchat,
    asyncore,
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


class Producer:
    """Gives the chunks that it was given, then an empty one."""

    def __init__(self, *chunks: Any) -> None:
        self.chunks = list(chunks)
        self.asked = 0

    def more(self) -> Any:
        self.asked += 1
        return self.chunks.pop(0) if self.chunks else b""


def unconnected(kind: Any = Lines) -> Any:
    """A channel whose output waits for a connection that nobody makes."""
    return kind(None, {})


# push


def test_push_from_outside_leaves_at_once(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.push(b"data")
    assert waiting(far) == b"data"
    assert not channel.producer_fifo
    channel.close()


@pytest.mark.parametrize("data", [b"data", bytearray(b"data"), memoryview(b"data"), memoryview(bytearray(b"data"))])
def test_push_takes_anything_bytes_like(loop: Loop, peers: Peers, data: Any) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.push(data)
    assert receive(loop, far, 4) == b"data"
    channel.close()


@beyond_the_old  # whose queue kept the caller's own object
def test_data_changed_after_its_push_leaves_as_it_was(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    size = fill(channel.socket)
    data = bytearray(b"before")
    channel.push(data)
    channel.push(memoryview(data)[:3])
    data[:] = b"behind"
    data.clear()  # nothing holds on to its memory
    assert receive(loop, far, size + 9)[size:] == b"beforebef"
    channel.close()


@beyond_the_old  # whose send refused it
@pytest.mark.parametrize(("view", "data"), [
    (memoryview(b"d-a-t-a-")[::2], b"data"),
    (memoryview(b"atad")[::-1], b"data"),
    (memoryview(bytes(range(16))).cast("I"), bytes(range(16))),
    (memoryview(bytes(range(16))).cast("B", (4, 4)), bytes(range(16))),
])  # fmt: skip
def test_push_takes_a_view_of_any_shape(loop: Loop, peers: Peers, view: memoryview, data: bytes) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.push(view)
    channel.push(b".")
    assert receive(loop, far, len(data) + 1) == data + b"."
    channel.close()


@pytest.mark.parametrize("data", ["data", None, 5, [b"data"]])
@pytest.mark.parametrize("encoding", [False, True])
def test_push_refuses_the_rest(loop: Loop, peers: Peers, data: Any, encoding: bool) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.use_encoding = encoding
    with pytest.raises(TypeError) as caught:
        channel.push(data)
    assert repr(type(data)) in str(caught.value)
    channel.push(b"next")
    assert receive(loop, far, 4) == b"next"
    channel.close()


@pytest.mark.parametrize("data", [b"", bytearray(), memoryview(b"")])
def test_pushing_nothing_sends_nothing(loop: Loop, peers: Peers, data: Any) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.push(data)
    channel.push(b"data")
    channel.push(data)
    assert receive(loop, far, 4) == b"data"
    poll_until(loop, lambda: not channel.producer_fifo)
    assert waiting(far) == b""
    assert channel.calls == []
    channel.close()


def test_many_pushes_arrive_in_order(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    sent = [b"%07d" % number for number in range(15_000)]
    for data in sent:
        channel.push(data)
    assert receive(loop, far, 105_000) == b"".join(sent)
    assert not channel.producer_fifo
    channel.close()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_large_push_against_a_slow_reader_arrives_whole(loop: Loop, peers: Peers, kind: Any) -> None:
    channel, far = peers.channel(Lines, loop.map)
    sent = b"".join(b"%08d" % number for number in range(1 << 20))
    channel.push(kind(sent))
    channel.push(b"end")
    assert channel.producer_fifo
    assert receive(loop, far, len(sent) + 3) == sent + b"end"
    assert not channel.producer_fifo
    channel.close()


def test_reader_that_takes_a_few_bytes_at_a_time_gets_them_all(loop: Loop, peers: Peers) -> None:
    near, far = peers.pair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    channel = Lines(near, loop.map)
    sent = bytes(range(256)) * 80
    for start in range(0, len(sent), 100):
        channel.push(sent[start : start + 100])
    assert channel.producer_fifo
    got = bytearray()

    def taken() -> bool:
        try:
            while len(got) < len(sent):
                got.extend(far.recv(1 + len(got) % 7, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False
        return True

    poll_until(loop, taken)
    assert got == sent
    channel.close()


# Before there is a connection, and after


def test_pushed_before_the_connection_stands_arrives(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = Lines(None, loop.map)
        channel.push(b"very ")
        channel.create_socket()
        channel.connect(server.getsockname())
        channel.push(b"early ")
        channel.push_with_producer(Producer(b"data"))
        far, _ = server.accept()
        assert receive(loop, far, 15) == b"very early data"
        assert channel.calls == ["connect"]
        far.close()
        channel.close()


def test_pushed_in_handle_connect_arrives(loop: Loop) -> None:
    class Greeting(Lines):
        def handle_connect(self) -> None:
            self.push(b"hello ")
            self.push(b"there")

    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = Greeting(None, loop.map)
        channel.create_socket()
        channel.connect(server.getsockname())
        far, _ = server.accept()
        assert receive(loop, far, 11) == b"hello there"
        far.close()
        channel.close()


def test_push_after_close_is_kept_by_nobody_s_harm(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.close()
    channel.push(b"late")
    channel.push_with_producer(Producer(b"late"))
    channel.close_when_done()
    poll(loop)
    assert far.recv(10) == b""
    assert channel.calls == []


# Producers


def test_order_of_everything_is_kept(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    size = fill(channel.socket)
    channel.push(b"1")
    channel.push_with_producer(Producer(b"2", b"3"))
    channel.push(b"4")
    channel.push_with_producer(asynchat.simple_producer(b"5" * 1000))
    channel.push(b"6")
    channel.close_when_done()
    channel.push(b"never")
    assert receive_all(loop, far)[size:] == b"1234" + b"5" * 1000 + b"6"
    assert channel.calls == ["close"]


def test_producer_from_outside_leaves_at_once(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.push_with_producer(Producer(b"data"))
    assert waiting(far) == b"data"
    channel.close()


@pytest.mark.parametrize("nothing", [b"", "", None, bytearray()])
def test_producer_ends_with_its_first_empty_chunk(loop: Loop, peers: Peers, nothing: Any) -> None:
    channel, far = peers.channel(Lines, loop.map)
    producer = Producer(b"one", nothing, b"never")
    channel.push_with_producer(producer)
    channel.push_with_producer(Producer(nothing))
    channel.push(b"two")
    assert receive(loop, far, 6) == b"onetwo"
    assert producer.asked == 2
    channel.close()


def test_producer_of_huge_chunks(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    chunks = [bytes([number]) * (3 << 20) for number in range(3)]
    channel.push_with_producer(Producer(*chunks))
    assert receive(loop, far, 9 << 20) == b"".join(chunks)
    channel.close()


def test_producer_of_many_small_chunks(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    chunks = [b"%d," % number for number in range(5000)]
    channel.push_with_producer(Producer(*chunks))
    channel.close_when_done()
    assert receive_all(loop, far) == b"".join(chunks)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_producer_may_give_anything_bytes_like(loop: Loop, peers: Peers, kind: Any) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.push_with_producer(Producer(kind(b"one"), kind(b"two" * 100_000)))
    assert receive(loop, far, 300_003) == b"one" + b"two" * 100_000
    channel.close()


def test_producer_is_asked_only_when_its_turn_comes(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    size = fill(channel.socket)
    channel.push(b"before")
    producer = Producer(b"data")
    channel.push_with_producer(producer)
    poll(loop)
    assert producer.asked == 0
    assert receive(loop, far, size + 10)[size:] == b"beforedata"
    channel.close()


def test_producer_is_asked_for_no_more_than_the_reader_takes(loop: Loop, peers: Peers) -> None:
    """A producer of a large file must not be read into memory by a peer that reads nothing."""

    class Endless:
        asked = 0

        def more(self) -> bytes:
            self.asked += 1
            return bytes(1 << 16)

    channel, _ = peers.channel(Lines, loop.map)
    producer = Endless()
    channel.push_with_producer(producer)
    for _ in range(20):
        poll(loop)
    assert 0 < producer.asked < 18
    channel.close()


def test_producer_of_text_is_encoded_where_the_class_says_so(loop: Loop, peers: Peers) -> None:
    class Encoding(Lines):
        use_encoding = True

    channel, far = peers.channel(Encoding, loop.map)
    channel.push_with_producer(Producer("\xe9", "t\xe9"))
    assert receive(loop, far, 3) == "\xe9t\xe9".encode("latin-1")
    channel.encoding = "utf-8"
    channel.push_with_producer(asynchat.simple_producer("\xe9" * 100, 7))
    assert receive(loop, far, 200) == ("\xe9" * 100).encode()
    channel.close()


def test_producer_of_text_elsewhere_is_an_error_of_the_channel(loop: Loop, peers: Peers) -> None:
    class Closing(Lines):
        def handle_error(self) -> None:
            super().handle_error()
            self.close()

        def on_end(self) -> None:
            self.push_with_producer(Producer("text"))

    channel, far = peers.channel(Closing, loop.map)
    feed(loop, far, b"go\n")
    poll_until(loop, lambda: not loop.map)
    assert channel.calls[2].startswith("error TypeError(")
    assert far.recv(10) == b""


def test_exception_of_a_producer_reaches_who_pushed_it_from_outside(loop: Loop, peers: Peers) -> None:
    class Broken:
        def more(self) -> bytes:
            raise ValueError("broken")

    channel, _ = peers.channel(Lines, loop.map)
    with pytest.raises(ValueError, match="broken"):
        channel.push_with_producer(Broken())
    channel.close()


def test_exception_of_a_producer_is_its_channel_s_own(loop: Loop, peers: Peers) -> None:
    class Broken:
        def more(self) -> bytes:
            raise ValueError("broken")

    class Closing(Lines):
        def handle_error(self) -> None:
            super().handle_error()
            self.close()

    channel, far = peers.channel(Closing, loop.map)
    size = fill(channel.socket)
    channel.push(b"sent before")
    channel.push_with_producer(Broken())
    assert receive_all(loop, far)[size:] == b"sent before"
    assert channel.calls == ["error ValueError('broken')"]


def test_producer_may_close_its_channel(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)

    class Closing:
        def more(self) -> bytes:
            channel.close()
            return b"late"

    channel.push(b"data")
    channel.push_with_producer(Closing())
    poll(loop)
    assert receive_all(loop, far) == b"data"
    assert loop.map == {}


def test_what_is_no_producer_is_an_error(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Lines, loop.map)
    with pytest.raises(AttributeError):
        channel.push_with_producer(object())
    channel.close()


@pytest.mark.parametrize("data", [b"0123456789", "0123456789"])
def test_simple_producer_cuts_its_data(data: Any) -> None:
    producer = asynchat.simple_producer(data, buffer_size=4)
    assert [producer.more() for _ in range(3)] == [data[:4], data[4:8], data[8:]]
    assert not producer.more()
    assert not producer.more()
    assert not producer.data


def test_simple_producer_gives_512_bytes_at_a_time() -> None:
    producer = asynchat.simple_producer(bytes(1024))
    assert (producer.buffer_size, [len(producer.more()) for _ in range(3)]) == (512, [512, 512, 0])


# close_when_done


def test_close_when_done_with_nothing_queued_closes(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.close_when_done()
    assert receive_all(loop, far) == b""
    assert (channel.calls, loop.map) == (["close"], {})


def test_close_when_done_comes_behind_what_is_queued(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.push(bytes(2 << 20))
    channel.close_when_done()
    for _ in range(3):
        poll(loop)
    assert channel.calls == []
    assert len(receive_all(loop, far)) == 2 << 20
    assert (channel.calls, loop.map) == (["close"], {})


def test_close_when_done_in_a_handler(loop: Loop, peers: Peers) -> None:
    class Answering(Lines):
        def on_end(self) -> None:
            self.push(b"bye")
            self.close_when_done()

    channel, far = peers.channel(Answering, loop.map)
    far.sendall(b"quit\n")
    assert receive_all(loop, far) == b"bye"
    assert channel.calls == [b"quit", "end", "close"]


def test_close_when_done_twice_closes_once(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.close_when_done()
    channel.close_when_done()
    assert receive_all(loop, far) == b""
    poll(loop)
    assert channel.calls == ["close"]


def test_input_is_still_served_while_the_close_waits(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    fill(channel.socket)
    channel.close_when_done()
    channel.producer_fifo.appendleft(b"x")
    feed(loop, far, b"a\n")
    assert channel.calls[:2] == [b"a", "end"]
    channel.close()


def test_close_when_done_before_the_connection_stands(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = Lines(None, loop.map)
        channel.create_socket()
        channel.connect(server.getsockname())
        channel.push(b"data")
        channel.close_when_done()
        far, _ = server.accept()
        assert receive_all(loop, far) == b"data"
        assert channel.calls == ["connect", "close"]
        far.close()


# Failures of the socket


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EHOSTUNREACH])
def test_error_of_send_is_an_error_of_the_channel(loop: Loop, peers: Peers, number: int) -> None:
    class Failing(Lines):
        def send(self, data: Any) -> int:
            raise OSError(number, "failed")

    channel, _ = peers.channel(Failing, loop.map)
    channel.push(b"data")
    assert channel.calls == [f"error {OSError(number, 'failed')!r}"]
    channel.close()


FAILURES = [
    OSError(errno.ENOBUFS, "no buffers"),
    OSError(errno.EINTR, "interrupted"),
    OSError(errno.EAGAIN, "no room"),
    ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "wants to write"),
    ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "wants to read"),
]


class Failing(socket.socket):
    """Raises ``failure`` at the next send, once."""

    failure: BaseException | None = None

    def send(self, *arguments: Any) -> int:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        return super().send(*arguments)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("raises", [False, True])
def test_what_a_failing_socket_did_not_take_leaves_later(
    loop: Loop, peers: Peers, failure: BaseException, raises: bool
) -> None:
    class Raising(Lines):
        def handle_error(self) -> None:
            if raises:
                raise
            super().handle_error()

    near, far = peers.pair()
    sock = Failing(fileno=near.detach())
    peers.keep(sock)
    channel = Raising(sock, loop.map)
    sock.failure = failure
    try:
        channel.push(b"data")
    except OSError as error:
        assert error is failure  # noqa: PT017
    assert receive(loop, far, 4) == b"data"
    assert set(channel.calls) <= {f"error {failure!r}"}
    channel.close()


def test_push_that_fails_in_a_handler_is_told_at_once(loop: Loop, peers: Peers) -> None:
    class Gone(Lines):
        def on_end(self) -> None:
            far.close()
            self.push(b"data")
            self.calls.append("pushed")

    channel, far = peers.channel(Gone, loop.map)
    feed(loop, far, b"go\n")
    assert channel.calls == [b"go", "end", "close", "pushed"]


class OwnQueue(Lines):
    producer_fifo: Any = None


@pytest.mark.parametrize("kind", [Lines, OwnQueue])
def test_what_waits_without_a_connection_makes_no_events(loop: Loop, peers: Peers, kind: type[Lines]) -> None:
    """The old one polled as fast as it could. Whoever connects later sends it."""
    channel, far = peers.channel(kind, loop.map)
    channel.connected = False
    channel.push(b"data")
    channel.close_when_done()
    if not OLD:
        assert sum(loop.poll() for _ in range(5)) == 0
    channel.connected = True
    assert receive(loop, far, 10) == b"data"
    assert not loop.map


@pytest.mark.parametrize("name", ["handle_write", "initiate_send", "handle_write_event", "writable"])
@pytest.mark.parametrize("own", ["class", "instance"])
def test_methods_of_its_own_may_make_a_connection_of_a_write_event(
    loop: Loop, peers: Peers, name: str, own: str
) -> None:
    def connect(channel: Any) -> Any:
        channel.connected = True
        return getattr(Lines, name)(channel)

    kind = type("Own", (Lines,), {name: connect} if own == "class" else {})
    channel, far = peers.channel(kind, loop.map)
    channel.connected = False
    channel.producer_fifo.append(b"data")
    if own == "instance":
        setattr(channel, name, lambda: connect(channel))
    assert receive(loop, far, 4) == b"data"
    channel.close()


def test_push_to_a_peer_that_is_gone_closes_once(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    far.close()
    channel.push(b"data")
    channel.push(b"more")
    poll(loop)
    assert (channel.calls, loop.map) == (["close"], {})


@beyond_the_old  # which was told again by poll(2)
def test_queue_for_a_peer_that_goes_closes_once(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.push(bytes(4 << 20))
    far.recv(1 << 20)
    far.close()
    poll_until(loop, lambda: not loop.map)
    assert channel.calls == ["close"]


def test_discard_buffers_forgets_what_waits(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=b"\r\n")
    feed(loop, far, b"in\r")
    size = fill(channel.socket)
    channel.incoming.append(b"data")
    channel.push(b"out")
    channel.push_with_producer(Producer(b"out"))
    channel.close_when_done()
    channel.discard_buffers()
    assert (channel.ac_in_buffer, channel.incoming, len(channel.producer_fifo)) == (b"", [], 0)
    channel.push(b"next")
    assert receive(loop, far, size + 4)[size:] == b"next"
    assert channel.connected
    channel.close()


class Parts:
    """A producer of these parts; an exception among them is raised."""

    def __init__(self, *parts: Any) -> None:
        self.parts = list(parts)

    def more(self) -> Any:
        part = self.parts.pop(0) if self.parts else b""
        if isinstance(part, Exception):
            raise part
        return part


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


# At the end of a tick, and by hand


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), "close"),
        (OSError(errno.EIO, "io"), "error"),
        (ValueError("no data"), "error"),
    ],
)
def test_producer_that_fails_at_the_end_of_a_tick_is_told_to_its_channel(
    loop: Loop, peers: Peers, error: Exception, told: str
) -> None:
    class Gathering(Lines):
        gather_pushes = True

        def on_end(self) -> None:
            self.push(b"first ")
            self.push_with_producer(Parts(error))

    channel, far = peers.channel(Gathering, loop.map)
    feed(loop, far, b"go\n")
    assert [call.split()[0] for call in channel.calls if isinstance(call, str)] == ["end", told]
    assert waiting(far) == b"first "
    channel.close()


@beyond_the_old
def test_exit_of_a_producer_at_the_end_of_a_tick_leaves_the_loop(loop: Loop, peers: Peers) -> None:
    class Leaving:
        def more(self) -> bytes:
            raise asyncore.ExitNow

    class Gathering(Lines):
        gather_pushes = True

        def on_end(self) -> None:
            self.push_with_producer(Leaving())

    channel, far = peers.channel(Gathering, loop.map)
    far.sendall(b"go\n")
    with pytest.raises(asyncore.ExitNow):
        loop.poll(1)
    channel.close()


@beyond_the_old
def test_channel_closes_though_a_producer_that_was_gathered_fails(loop: Loop, peers: Peers) -> None:
    class Closing(Lines):
        gather_pushes = True

        def on_end(self) -> None:
            self.push_with_producer(Parts(ValueError("no data")))
            self.close()

    channel, far = peers.channel(Closing, loop.map)
    feed(loop, far, b"go\n")
    assert not loop.map
    assert channel.calls[:2] == [b"go", "end"]


@beyond_the_old
def test_refill_buffer_brings_bytes_to_the_front(loop: Loop, peers: Peers) -> None:
    channel = unconnected()
    channel.refill_buffer()  # there is nothing to be had
    channel.producer_fifo.append(Parts(b"data"))
    channel.refill_buffer()
    assert channel.producer_fifo[0] == b"data"
    channel.close()


@pytest.mark.parametrize("times", [0, 1, 1000])
def test_queued_sequence_of_any_length_leaves_whole(loop: Loop, peers: Peers, times: int) -> None:
    channel, far = peers.channel(Lines, loop.map)
    data = array.array("B", bytes(range(256)) * times)
    channel.producer_fifo.append(data)
    channel.producer_fifo.append(b"end")
    assert receive(loop, far, len(data) + 3) == data.tobytes() + b"end"
    assert not channel.producer_fifo
    channel.close()


@beyond_the_old
def test_send_that_begins_to_send_again_sends_once(loop: Loop, peers: Peers) -> None:
    class Again(Lines):
        def send(self, data: Any) -> int:
            self.initiate_send()
            return int(super().send(data))

    channel, far = peers.channel(Again, loop.map)
    channel.push(b"once")
    poll(loop)
    assert waiting(far) == b"once"
    channel.close()


def test_producer_that_takes_itself_out_of_the_queue_is_not_taken_out_again(loop: Loop, peers: Peers) -> None:
    class Leaving:
        def more(self) -> bytes:
            del channel.producer_fifo[0]
            return b""

    channel, far = peers.channel(Lines, loop.map)
    channel.producer_fifo.extend([Leaving(), b"next"])
    assert receive(loop, far, 4) == b"next"
    channel.close()


def test_send_that_a_program_puts_into_dispatcher_is_called(
    loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    before = asyncore.dispatcher.send

    def send(self: Any, data: bytes) -> Any:
        sent.append(bytes(data))
        return before(self, data)

    channel, far = peers.channel(Lines, loop.map)
    channel.push(b"before")
    monkeypatch.setattr(asyncore.dispatcher, "send", send)
    channel.push(b"pushed")
    channel.send(b"sent")
    monkeypatch.undo()
    channel.push(b"after")
    assert receive(loop, far, 21) == b"beforepushedsentafter"
    assert sent == [b"pushed", b"sent"]
    channel.close()


def test_simple_producer_ends_with_empty_bytes_whatever_it_gives() -> None:
    producer = asynchat.simple_producer("text", 3)
    assert [producer.more() for _ in range(4)] == ["tex", "t", b"", b""]
    producer = asynchat.simple_producer([1, 2], 2)
    assert [producer.more() for _ in range(2)] == [[1, 2], b""]
