# SPDX-License-Identifier: MIT
"""max_incoming and max_outgoing: what a peer may make a channel hold, for a program that says so."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from cyncore import Loop
from tests.support.chat import OLD, Lines, asynchat, feed, fill, poll, poll_until, receive, receive_all, waiting
from tests.support.peers import Peers
from tests.support.script import run_script

if OLD:
    pytest.skip("the old module has no limits", allow_module_level=True)


class Bounded(Lines):
    """Lines of at most ten bytes. Keeps the errors themselves in `errors`."""

    max_incoming: int | None = 10

    def __init__(self, *args: Any, **more: Any) -> None:
        self.errors: list[BaseException | None] = []
        super().__init__(*args, **more)

    def handle_error(self) -> None:
        self.errors.append(sys.exc_info()[1])
        self.calls.append("error")

    @property
    def collected(self) -> int:
        return sum(len(call) for call in self.calls if isinstance(call, bytes))


class Queueing(Bounded):
    """At most ten bytes wait."""

    max_incoming = None
    max_outgoing: int | None = 10


def is_limit(error: object, *named: str) -> bool:
    return isinstance(error, asynchat.LimitExceeded) and all(word in str(error) for word in named)


# Input


def test_no_limit_unless_a_program_sets_one() -> None:
    assert asynchat.async_chat.max_incoming is None
    assert asynchat.async_chat.max_outgoing is None
    assert issubclass(asynchat.LimitExceeded, Exception)


@pytest.mark.parametrize("chunks", [
    [b"x" * 11 + b"\n"], [b"x" * 11, b"\n"], [b"x" * 5, b"x" * 6 + b"\n"], [b"x"] * 11 + [b"\n"], [b"x" * 10, b"x\n"],
    [b"x" * 500, b"x" * 500, b"x\n"],
])  # fmt: skip
def test_line_over_the_limit_is_one_error_and_not_served(loop: Loop, peers: Peers, chunks: list[bytes]) -> None:
    channel, far = peers.channel(Bounded, loop.map)
    feed(loop, far, b"before\n", *chunks, b"after\n")
    assert len(channel.errors) == 1
    assert channel.collected <= 10 + len(b"before" + b"after")
    ends = [number for number, call in enumerate(channel.calls) if call == "end"]
    assert len(ends) == 2
    assert channel.calls[ends[0] - 1] == b"before"
    assert channel.calls[ends[1] - 1] == b"after"
    channel.close()


@pytest.mark.parametrize("chunks", [[b"x" * 10 + b"\r\n"], [b"x" * 10, b"\r", b"\n"], [b"x" * 10 + b"\r", b"\n"]])
def test_line_of_just_the_limit_is_served(loop: Loop, peers: Peers, chunks: list[bytes]) -> None:
    channel, far = peers.channel(Bounded, loop.map, terminator=b"\r\n")
    for _ in range(3):
        feed(loop, far, *chunks)
    assert (channel.lines, channel.errors) == ([b"x" * 10] * 3, [])
    channel.close()


def test_error_names_the_channel_and_the_limit(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Bounded, loop.map)
    feed(loop, far, b"x" * 1000)
    assert is_limit(channel.errors[0], "Bounded", f"fd {channel.socket.fileno()}", "max_incoming", "10")
    channel.close()


def test_default_handle_error_closes_at_the_limit(loop: Loop, peers: Peers, capsys: pytest.CaptureFixture[str]) -> None:
    class Default(Bounded):
        handle_error = asynchat.async_chat.handle_error

    channel, far = peers.channel(Default, loop.map)
    far.sendall(b"x" * 1000 + b"\nnext\n")
    assert receive_all(loop, far) == b""
    assert "LimitExceeded" in capsys.readouterr().out
    assert channel.calls[-1] == "close"
    assert "end" not in channel.calls


def test_many_lines_over_the_limit_are_an_error_each(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Bounded, loop.map)
    for _ in range(5):
        feed(loop, far, b"x" * 20 + b"\nfine\n" + b"y" * 30, b"y" * 3000, b"\n")
    assert len(channel.errors) == 10
    assert channel.calls.count("end") == channel.calls.count(b"fine") == 5
    channel.close()


def test_split_terminator_ends_a_line_over_the_limit(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Bounded, loop.map, terminator=b"\r\n.\r\n")
    for cut in range(1, 5):
        feed(loop, far, b"x" * 50 + b"\r\n.\r\n"[:cut], b"\r\n.\r\n"[cut:] + b"fine\r\n.\r\n")
    assert len(channel.errors) == channel.calls.count("end") == channel.calls.count(b"fine") == 4
    channel.close()


@pytest.mark.parametrize("terminator", [None, 0, b""])
def test_no_limit_where_there_is_no_terminator(loop: Loop, peers: Peers, terminator: Any) -> None:
    channel, far = peers.channel(Bounded, loop.map, terminator=terminator)
    feed(loop, far, b"x" * 50, b"x" * 50)
    assert (channel.calls, channel.errors) == ([b"x" * 50] * 2, [])
    channel.close()


def test_raw_input_does_not_count_for_the_next_line(loop: Loop, peers: Peers) -> None:
    class Body(Bounded):
        """A line, then fifty bytes that it counts by itself, then a line again."""

        def on_data(self, data: bytes) -> None:
            if data == b"x" * 50:
                self.set_terminator(b"\n")

        def on_end(self) -> None:
            self.set_terminator(None)

    channel, far = peers.channel(Body, loop.map)
    feed(loop, far, b"head\n", b"x" * 50, b"0123456789\n")
    assert (channel.calls, channel.errors) == ([b"head", "end", b"x" * 50, b"0123456789", "end"], [])
    channel.close()


@pytest.mark.parametrize("raw", [b"", b"x" * 50])
def test_counted_input_is_not_bounded(loop: Loop, peers: Peers, raw: bytes) -> None:
    """Who asks for so many bytes wants them."""
    channel, far = peers.channel(Bounded, loop.map, terminator=100)
    feed(loop, far, *filter(None, (raw, b"x" * (100 - len(raw)))))
    channel.set_terminator(b"\n")
    feed(loop, far, b"0123456789\n")
    assert (channel.lines, channel.errors) == ([b"x" * 100, b"0123456789"], [])
    channel.close()


@pytest.mark.parametrize("size", [1, 100])
def test_limit_of_the_instance_counts_at_once(loop: Loop, peers: Peers, size: int) -> None:
    channel, far = peers.channel(Bounded, loop.map)
    channel.max_incoming = size
    feed(loop, far, b"x" * size + b"\n" + b"x" * (size + 1) + b"\n")
    assert (channel.lines[0], len(channel.errors)) == (b"x" * size, 1)
    channel.max_incoming = None
    channel.calls.clear()
    feed(loop, far, b"x" * 1000 + b"\n")
    assert (channel.lines, len(channel.errors)) == ([b"x" * 1000], 1)
    channel.close()


@pytest.mark.parametrize("where", ["class", "instance"])
def test_limit_may_be_a_float(loop: Loop, peers: Peers, where: str) -> None:
    class Small(Bounded):
        max_incoming = 1e1 if where == "class" else None  # type: ignore[assignment]

    channel, far = peers.channel(Small, loop.map)
    if where == "instance":
        channel.max_incoming = 1e1
    feed(loop, far, b"x" * 10 + b"\n" + b"x" * 11 + b"\n")
    assert (channel.lines, len(channel.errors)) == ([b"x" * 10], 1)
    channel.close()


def test_limit_set_by_a_handler_counts_for_the_next_line(loop: Loop, peers: Peers) -> None:
    class Trusting(Bounded):
        def on_end(self) -> None:
            self.max_incoming = 100

    channel, far = peers.channel(Trusting, loop.map)
    feed(loop, far, b"login\n" + b"x" * 50 + b"\n")
    assert (channel.lines, channel.errors) == ([b"login", b"x" * 50], [])
    channel.close()


def test_limit_holds_for_the_default_collection_too(loop: Loop, peers: Peers) -> None:
    class Default(Bounded):
        def collect_incoming_data(self, data: bytes) -> None:
            self._collect_incoming_data(data)

        def found_terminator(self) -> None:
            self.calls.append(self._get_data())

    channel, far = peers.channel(Default, loop.map)
    feed(loop, far, b"x" * 8, b"x" * 8, b"x" * 8)
    assert sum(map(len, channel.incoming)) <= 10
    feed(loop, far, b"\nfine\n")
    assert (channel.calls[0], channel.calls[-1], len(channel.errors)) == ("error", b"fine", 1)
    channel.close()


@pytest.mark.parametrize("limits", ["class", "instance"])
def test_limit_of_one_channel_costs_no_other(loop: Loop, peers: Peers, limits: str) -> None:
    bad, bad_far = peers.channel(Bounded if limits == "class" else Queueing, loop.map)
    bad.max_incoming = 10
    good, far = peers.channel(Lines, loop.map)
    feed(loop, bad_far, b"x" * 1000)
    feed(loop, far, b"y" * 1000 + b"\n")
    assert (len(bad.errors), good.lines) == (1, [b"y" * 1000])
    bad.close()
    good.close()


def test_own_handle_read_keeps_the_limit(loop: Loop, peers: Peers) -> None:
    class Own(Bounded):
        def handle_read(self) -> None:
            super().handle_read()

        def recv(self, size: int) -> bytes:
            return super().recv(size).lower()

        def get_terminator(self) -> Any:
            return b"|"

    channel, far = peers.channel(Own, loop.map)
    feed(loop, far, b"FINE|" + b"X" * 11 + b"|", b"Y" * 20, b"|FINE|")
    assert (channel.calls.count("end"), channel.calls.count(b"fine"), len(channel.errors)) == (2, 2, 2)
    channel.close()


ENDLESS = """
import resource, socket, threading
from cyncore import asynchat, asyncore

class Bounded(asynchat.async_chat):
    max_incoming = 1 << 16
    errors = []
    def collect_incoming_data(self, data):
        self._collect_incoming_data(data)
    def found_terminator(self):
        raise AssertionError("no terminator was sent")
    def handle_error(self):
        import sys
        self.errors.append(type(sys.exc_info()[1]).__name__)
    def handle_close(self):
        self.close()

def send():
    chunk = b"x" * (1 << 20)
    for _ in range(200):
        far.sendall(chunk)
    far.close()

near, far = socket.socketpair()
channel = Bounded(near)
channel.set_terminator(b"\\r\\n")
peer = threading.Thread(target=send)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
peer.start()
asyncore.loop()
peer.join()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(channel.errors, grown >> 10)
"""


@pytest.mark.load
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in KB on Linux")
def test_line_without_end_costs_no_memory() -> None:
    errors, megabytes = run_script(ENDLESS).rsplit(None, 1)
    assert errors == "['LimitExceeded']"
    assert int(megabytes) < 20


# Output


def test_push_over_the_limit_is_not_queued(loop: Loop) -> None:
    channel = Queueing(None, loop.map)  # nothing leaves: there is no connection
    channel.push(b"123456")
    channel.push(b"78901")
    assert list(channel.producer_fifo) == [b"123456"]
    assert len(channel.errors) == 1
    channel.push(b"7890")
    assert b"".join(channel.producer_fifo) == b"1234567890"
    channel.push(b"")
    assert len(channel.errors) == 1
    channel.push(b"1")
    assert len(channel.errors) == 2


def test_output_error_names_the_channel_and_the_limit(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Queueing, loop.map)
    fill(channel.socket)
    channel.push(b"0123456789")
    channel.push(b"0")
    assert is_limit(channel.errors[0], "Queueing", f"fd {channel.socket.fileno()}", "max_outgoing", "10")
    channel.close()


def test_what_has_left_does_not_count(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Queueing, loop.map)
    for _ in range(100):
        channel.push(b"0123456789")
        assert receive(loop, far, 10) == b"0123456789"
    size = fill(channel.socket)
    channel.push(b"queued")
    channel.push(b"refused")
    assert receive(loop, far, size + 6)[size:] == b"queued"
    channel.push(b"accepted")
    assert receive(loop, far, 8) == b"accepted"
    assert len(channel.errors) == 1
    channel.close()


def test_what_was_discarded_does_not_count(loop: Loop) -> None:
    channel = Queueing(None, loop.map)
    for discard in (channel.discard_buffers, channel.producer_fifo.clear, channel.producer_fifo.pop):
        channel.push(b"0123456789")
        discard()
    channel.push(b"012345")
    assert (list(channel.producer_fifo), channel.errors) == ([b"012345"], [])


def test_limit_counts_against_who_does_not_read_and_not_who_pushes(loop: Loop, peers: Peers) -> None:
    slow, slow_far = peers.channel(Queueing, loop.map)
    fill(slow.socket)

    class Pusher(Bounded):
        def on_end(self) -> None:
            for _ in range(3):
                slow.push(b"12345")
            self.push(b"done")

    pusher, far = peers.channel(Pusher, loop.map)
    feed(loop, far, b"go\n")
    assert receive(loop, far, 4) == b"done"
    assert (pusher.errors, len(slow.errors)) == ([], 1)
    assert is_limit(slow.errors[0])
    pusher.close()
    slow.close()
    del slow_far


def test_default_handle_error_closes_who_does_not_read(
    loop: Loop, peers: Peers, capsys: pytest.CaptureFixture[str]
) -> None:
    class Default(Queueing):
        handle_error = asynchat.async_chat.handle_error

    channel, _ = peers.channel(Default, loop.map)
    fill(channel.socket)
    channel.push(b"0123456789")
    assert channel.connected
    channel.push(b"0")
    assert (channel.connected, channel.calls, loop.map) == (False, ["close"], {})
    assert "LimitExceeded" in capsys.readouterr().out


def test_handlers_that_answer_more_than_the_limit_in_small_parts_are_served(loop: Loop, peers: Peers) -> None:
    """What is gathered in a tick does not wait for the peer yet."""

    class Answering(Queueing):
        def on_end(self) -> None:
            for _ in range(10):
                self.push(b"12345")

    channel, far = peers.channel(Answering, loop.map)
    feed(loop, far, b"go\n")
    assert receive(loop, far, 50) == b"12345" * 10
    assert channel.errors == []
    channel.close()


def test_limit_of_the_instance_bounds_what_is_pushed(loop: Loop, peers: Peers) -> None:
    channel = Lines(None, loop.map)
    channel.max_outgoing = 3
    channel.push(b"12")
    channel.push(b"34")
    assert list(channel.producer_fifo) == [b"12"]
    assert len(channel.calls) == 1
    channel.max_outgoing = None
    channel.push(b"3" * 1000)
    assert len(channel.calls) == 1


def test_queue_of_a_program_s_own_is_bounded_too(loop: Loop, peers: Peers) -> None:
    from collections import deque

    channel = Queueing(None, loop.map)
    channel.producer_fifo = deque()
    channel.push(b"123456")
    channel.push(b"78901")
    assert (list(channel.producer_fifo), len(channel.errors)) == ([b"123456"], 1)


def test_reader_that_never_reads_is_bounded_and_the_others_are_served(loop: Loop, peers: Peers) -> None:
    class Broadcast(Bounded):
        max_incoming = None
        max_outgoing = 100_000

        def on_end(self) -> None:
            for guest in guests:
                guest.push(bytes(10_000))

        def handle_error(self) -> None:
            super().handle_error()
            self.close()

    pairs = [peers.channel(Broadcast, loop.map) for _ in range(3)]
    guests = [channel for channel, _ in pairs]
    deaf = guests[2]
    for _ in range(500):
        pairs[0][1].sendall(b"go\n")
        for channel, far in pairs[:2]:
            assert len(receive(loop, far, 10_000)) == 10_000
            assert channel.errors == []
        assert sum(len(part) for part in deaf.producer_fifo) <= 100_000
    assert is_limit(deaf.errors[0])
    assert not deaf.connected
    poll(loop)
    poll_until(loop, lambda: not waiting(pairs[0][1]))
    for channel, _ in pairs:
        channel.close()


@pytest.mark.parametrize("output", ["push", "producer"])
def test_pipelining_peer_that_reads_nothing_is_stopped(loop: Loop, peers: Peers, output: str) -> None:
    class Echo(Bounded):
        max_outgoing = 50_000

        def on_end(self) -> None:
            if output == "producer":
                self.push_with_producer(asynchat.simple_producer(b"y" * 100))
            self.push(b"y" * 100)

        def handle_error(self) -> None:
            super().handle_error()
            self.close()

    channel, far = peers.channel(Echo, loop.map)
    far.setblocking(False)
    for _ in range(1000):
        try:
            far.send(b"x\n" * 1000)
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            break
        poll(loop)
    assert not channel.connected
    assert is_limit(channel.errors[0])
    assert len(channel.errors) == 1


def test_line_over_the_limit_is_forgotten_where_another_terminator_is_set(loop: Loop, peers: Peers) -> None:
    class Going(Bounded):
        def handle_error(self) -> None:
            super().handle_error()
            self.set_terminator(b"END")

    channel, far = peers.channel(Going, loop.map)
    feed(loop, far, b"x" * 30, b"yEND")
    assert len(channel.errors) == 1
    assert channel.calls[-2:] == [b"y", "end"]
    channel.close()


def test_push_that_has_room_once_the_queue_is_tried_is_taken(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.max_outgoing = 10
    taken = fill(channel.socket)
    channel.push(b"12345678")
    assert len(receive(loop, far, taken)) == taken
    channel.push(b"abcdefgh")
    assert receive(loop, far, 16) == b"12345678abcdefgh"
    assert channel.calls == []
    channel.close()
