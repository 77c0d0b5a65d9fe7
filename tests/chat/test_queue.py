# SPDX-License-Identifier: MIT
"""The queue below: what it counts, keeps and copies must not show."""

from __future__ import annotations

from typing import Any

import pytest

from cyncore import Loop
from tests.support.chat import Lines, asynchat, beyond_the_old, feed, fill, poll_until, receive, receive_all
from tests.support.peers import Peers


class Answering(Lines):
    """Answers each line with the parts that its class has."""

    parts: tuple[bytes, ...] = ()

    def on_end(self) -> None:
        for part in self.parts:
            self.push(part)


@pytest.mark.parametrize("sizes", [
    [1, 2], [511, 512, 513], [512] * 32, [512] * 33, [1] * 63, [1] * 64, [1] * 65, [1] * 200, [300] * 64, [16384, 1],
    [1, 16383], [5000, 5000, 5000], [1, 1 << 20, 1],
])  # fmt: skip
def test_parts_of_any_size_leave_whole_and_in_order(loop: Loop, peers: Peers, sizes: list[int]) -> None:
    class Sized(Answering):
        parts = tuple(bytes([65 + number % 26]) * size for number, size in enumerate(sizes))

    channel, far = peers.channel(Sized, loop.map)
    for _ in range(2):
        far.send(b"go\n")
        assert receive(loop, far, sum(sizes)) == b"".join(Sized.parts)
    assert not channel.producer_fifo
    channel.close()


@pytest.mark.parametrize("sizes", [[3, 4, 5], [3], [600, 3, 600]])
def test_parts_leave_whole_through_a_socket_that_was_full(loop: Loop, peers: Peers, sizes: list[int]) -> None:
    channel, far = peers.channel(Lines, loop.map)
    filled = fill(channel.socket)
    parts = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    for part in parts:
        channel.push(part)
    assert receive(loop, far, filled + sum(sizes))[filled:] == b"".join(parts)
    channel.close()


def test_channel_that_has_closed_a_producer_s_turn_sends_bytes_as_before(loop: Loop, peers: Peers) -> None:
    """What is no bytes counts until it has left, and no longer: the next answers are none of its business."""
    channel, far = peers.channel(Answering, loop.map)
    for number in range(3):
        channel.push(b"first")
        channel.push_with_producer(asynchat.simple_producer(b"made" * 200))
        channel.push(b"last")
        assert receive(loop, far, 809) == b"first" + b"made" * 200 + b"last", number
        assert len(channel.producer_fifo) == 0
    channel.close()


def test_empty_bytes_in_the_queue_are_passed_over(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.producer_fifo.extend([b"", b"one", b"", b"two", b""])
    channel.push(b"three")
    assert receive(loop, far, 11) == b"onetwothree"
    poll_until(loop, lambda: not channel.producer_fifo)
    channel.close()


@beyond_the_old
@pytest.mark.parametrize("edit", [
    lambda queue: queue.append(b"x" * 6), lambda queue: queue.appendleft(b"x" * 6),
    lambda queue: queue.extend([b"x" * 3] * 2), lambda queue: queue.extendleft([b"x" * 3] * 2),
    lambda queue: queue.insert(0, b"x" * 6), lambda queue: queue.__iadd__([b"x" * 6]),
    lambda queue: queue.__setitem__(0, b"x" * 8), lambda queue: queue.__setitem__(-1, b"x" * 8),
])  # fmt: skip
def test_what_a_program_puts_into_the_queue_counts_for_the_limit(loop: Loop, peers: Peers, edit: Any) -> None:
    channel, _ = peers.channel(Lines, loop.map)
    channel.max_outgoing = 10
    fill(channel.socket)
    channel.push(b"ab")
    edit(channel.producer_fifo)
    channel.push(b"c" * 3)
    assert [call for call in channel.calls if "LimitExceeded" in str(call)]
    channel.close()


@beyond_the_old
@pytest.mark.parametrize("edit", [
    lambda queue: queue.pop(), lambda queue: queue.popleft(), lambda queue: queue.remove(b"12345"),
    lambda queue: queue.clear(), lambda queue: queue.__delitem__(0), lambda queue: queue.__setitem__(0, b""),
])  # fmt: skip
def test_what_a_program_takes_out_of_the_queue_counts_no_longer(loop: Loop, peers: Peers, edit: Any) -> None:
    channel, _ = peers.channel(Lines, loop.map)
    channel.max_outgoing = 10
    fill(channel.socket)
    channel.push(b"12345")
    channel.push(b"12345")
    edit(channel.producer_fifo)
    channel.push(b"54321")
    assert b"54321" in list(channel.producer_fifo)
    assert not [call for call in channel.calls if "LimitExceeded" in str(call)]
    channel.close()


def test_buffer_emptied_while_a_line_is_handed_on_holds_what_comes_next(loop: Loop, peers: Peers) -> None:
    class Emptying(Lines):
        def on_data(self, data: bytes) -> None:
            self.ac_in_buffer = b""

    channel, far = peers.channel(Emptying, loop.map)
    feed(loop, far, b"one\ntwo\n")
    feed(loop, far, b"three\n")
    assert channel.calls == [b"one", "end", b"three", "end"]
    assert channel.ac_in_buffer == b""
    channel.close()


def test_rest_of_the_input_is_seen_while_a_line_is_handed_on(loop: Loop, peers: Peers) -> None:
    seen = []

    class Looking(Lines):
        def on_data(self, data: bytes) -> None:
            seen.append(self.ac_in_buffer)

        def on_end(self) -> None:
            seen.append(self.ac_in_buffer)

    channel, far = peers.channel(Looking, loop.map)
    feed(loop, far, b"one\ntwo\nth")
    assert seen == [b"one\ntwo\nth", b"two\nth", b"two\nth", b"th", b"th"]
    assert channel.ac_in_buffer == b""
    channel.close()


@beyond_the_old
def test_many_answers_to_many_lines_arrive(loop: Loop, peers: Peers) -> None:
    class Echo(Lines):
        def on_end(self) -> None:
            self.push(self.calls[-2] + b"!")

    channel, far = peers.channel(Echo, loop.map)
    for count in (1, 2, 15, 16, 17, 64, 65, 500):
        lines = [b"%d" % number for number in range(count)]
        far.sendall(b"\n".join(lines) + b"\n")
        want = b"!".join(lines) + b"!"
        assert receive(loop, far, len(want)) == want
    channel.close_when_done()
    assert receive_all(loop, far) == b""


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
