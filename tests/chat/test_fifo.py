# SPDX-License-Identifier: MIT
"""producer_fifo as programs touch it, and the sending methods as they override them."""

from __future__ import annotations

import gc
from collections import deque
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

# The queue


def test_queue_looks_like_a_deque() -> None:
    channel = Lines(None, {})
    queue = channel.producer_fifo
    assert (len(queue), bool(queue), list(queue)) == (0, False, [])
    producer = asynchat.simple_producer(b"data")
    channel.push(b"one")
    channel.push_with_producer(producer)
    channel.close_when_done()
    assert (len(queue), bool(queue)) == (3, True)
    assert list(queue) == [b"one", producer, None]
    assert [queue[0], queue[1], queue[-1]] == [b"one", producer, None]
    assert list(reversed(queue)) == [None, producer, b"one"]
    assert None in queue
    assert b"two" not in queue
    assert channel.producer_fifo is queue


def test_queue_may_be_edited_like_a_deque() -> None:
    queue = Lines(None, {}).producer_fifo
    queue.append(b"c")
    queue.appendleft(b"b")
    queue.extend([b"d", b"e"])
    queue.extendleft([b"a"])
    assert list(queue) == [b"a", b"b", b"c", b"d", b"e"]
    assert (queue.popleft(), queue.pop()) == (b"a", b"e")
    queue[0] = b"B"
    queue[-1] = b"D"
    del queue[1]
    assert list(queue) == [b"B", b"D"]
    queue.remove(b"B")
    queue.insert(0, b"A")
    assert (list(queue), queue.count(b"D"), queue.index(b"D")) == ([b"A", b"D"], 1, 1)
    queue.clear()
    assert list(queue) == []


def test_queue_is_repeated_in_place_as_a_deque_is(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    queue = channel.producer_fifo
    queue.extend([b"da", b"ta"])
    channel.producer_fifo *= 2
    assert channel.producer_fifo is queue
    assert list(queue) == [b"da", b"ta", b"da", b"ta"]
    assert receive(loop, far, 8) == b"datadata"
    queue.append(b"gone")
    channel.producer_fifo *= 0
    assert list(queue) == []


@pytest.mark.parametrize("misuse", [
    lambda queue: queue[0], lambda queue: queue[-1], lambda queue: queue.pop(), lambda queue: queue.popleft(),
    lambda queue: queue.__delitem__(0), lambda queue: queue.__setitem__(0, b"x"),
])  # fmt: skip
def test_empty_queue_says_so_as_a_deque_does(misuse: Any) -> None:
    with pytest.raises(IndexError):
        misuse(Lines(None, {}).producer_fifo)


def test_appended_from_outside_any_call_leaves(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    for _ in range(3):
        poll(loop)
        channel.producer_fifo.append(b"data")
        assert receive(loop, far, 4) == b"data"
    channel.producer_fifo.append(asynchat.simple_producer(b"more"))
    channel.producer_fifo.append(None)
    assert receive_all(loop, far) == b"more"
    assert channel.calls == ["close"]


@pytest.mark.parametrize("edit", [
    lambda queue: queue.appendleft(b"data"), lambda queue: queue.extend([b"da", b"ta"]),
    lambda queue: queue.insert(0, b"data"), lambda queue: queue.extendleft([b"ta", b"da"]),
])  # fmt: skip
def test_put_in_from_outside_any_call_leaves(loop: Loop, peers: Peers, edit: Any) -> None:
    channel, far = peers.channel(Lines, loop.map)
    poll(loop)
    edit(channel.producer_fifo)
    assert receive(loop, far, 4) == b"data"
    channel.close()


def test_put_in_by_a_handler_leaves(loop: Loop, peers: Peers) -> None:
    class Appending(Lines):
        def on_end(self) -> None:
            self.producer_fifo.append(self.lines[-1])
            self.producer_fifo.append(b";")

    channel, far = peers.channel(Appending, loop.map)
    feed(loop, far, b"one\ntwo\n")
    assert receive(loop, far, 8) == b"one;two;"
    channel.close()


def test_put_in_by_another_channel_leaves(loop: Loop, peers: Peers) -> None:
    other, other_far = peers.channel(Lines, loop.map)

    class Appending(Lines):
        def on_end(self) -> None:
            other.producer_fifo.append(self.lines[-1])

    channel, far = peers.channel(Appending, loop.map)
    feed(loop, far, b"one\n")
    assert receive(loop, other_far, 3) == b"one"
    channel.close()
    other.close()


def test_edited_while_it_waits_leaves_as_edited(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    size = fill(channel.socket)
    for data in (b"one", b"two", b"three"):
        channel.push(data)
    queue = channel.producer_fifo
    assert list(queue) == [b"one", b"two", b"three"]
    queue[1] = b"2"
    queue.appendleft(b"zero")
    assert queue.pop() == b"three"
    assert receive(loop, far, size + 8)[size:] == b"zeroone2"
    channel.close()


def test_emptied_while_it_waits_sends_nothing_more(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    size = fill(channel.socket)
    channel.push(b"never")
    channel.producer_fifo.clear()
    assert receive(loop, far, size) == bytes(size)
    channel.push(b"next")
    assert receive(loop, far, 4) == b"next"
    assert waiting(far) == b""
    channel.close()


def test_what_was_sent_of_the_front_is_gone_from_it(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    sent = b"".join(b"%08d" % number for number in range(1 << 17))
    channel.push(sent)
    poll(loop)
    left = b"".join(channel.producer_fifo)
    assert left
    gone = receive(loop, far, len(sent) - len(left))
    channel.producer_fifo = deque()
    assert gone + waiting(far) == sent[: len(gone)]
    channel.close()


@pytest.mark.parametrize("kind", [deque, lambda: deque([b"one"])])
def test_queue_may_be_replaced_by_one_of_the_program_s_own(loop: Loop, peers: Peers, kind: Any) -> None:
    channel, far = peers.channel(Lines, loop.map)
    queue = kind()
    channel.producer_fifo = queue
    assert channel.producer_fifo is queue
    want = b"".join(queue)
    for _ in range(3):
        queue.append(b"data")
        want += b"data"
        assert receive(loop, far, len(want)) == want
        want = b""
        poll(loop)
    channel.push(b"pushed")
    assert receive(loop, far, 6) == b"pushed"
    channel.close_when_done()
    assert receive_all(loop, far) == b""


def test_queue_replaced_while_the_old_one_waits(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    size = fill(channel.socket)
    channel.push(b"never")
    channel.producer_fifo = deque()
    channel.push(b"sent")
    assert list(channel.producer_fifo) == [b"sent"]
    assert receive(loop, far, size + 4)[size:] == b"sent"
    channel.close()


def test_queue_of_one_channel_may_be_given_to_another(loop: Loop, peers: Peers) -> None:
    one, one_far = peers.channel(Lines, loop.map)
    fill(one.socket)
    one.push(b"moved")
    other, far = peers.channel(Lines, loop.map)
    other.producer_fifo, one.producer_fifo = one.producer_fifo, deque()
    assert receive(loop, far, 5) == b"moved"
    one.close()
    other.close()
    del one_far


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


def test_subclass_that_makes_the_queue_before_the_base_does(loop: Loop, peers: Peers) -> None:
    class Early(Lines):
        def __init__(self, *args: Any) -> None:
            self.producer_fifo = deque([b"lost"])
            super().__init__(*args)

    channel, far = peers.channel(Early, loop.map)
    channel.push(b"data")
    assert receive(loop, far, 4) == b"data"
    channel.close()


# Methods of a program's own


def test_own_initiate_send_is_called_by_every_push(loop: Loop, peers: Peers) -> None:
    class Counting(Lines):
        initiated = 0

        def initiate_send(self) -> None:
            self.initiated += 1
            super().initiate_send()

        def on_end(self) -> None:
            self.push(b"answer")

    channel, far = peers.channel(Counting, loop.map)
    channel.push(b"data")
    channel.push_with_producer(asynchat.simple_producer(b"more"))
    assert channel.initiated == 2
    feed(loop, far, b"a\n")
    assert receive(loop, far, 14) == b"datamoreanswer"
    assert channel.initiated >= 3
    channel.close()


def test_own_initiate_send_that_sends_nothing_keeps_the_queue(loop: Loop, peers: Peers) -> None:
    class Corked(Lines):
        corked = True

        def initiate_send(self) -> None:
            if not self.corked:
                super().initiate_send()

    channel, far = peers.channel(Corked, loop.map)
    channel.push(b"da")
    channel.push(b"ta")
    poll(loop)
    assert (waiting(far), list(channel.producer_fifo)) == (b"", [b"da", b"ta"])
    channel.corked = False
    assert receive(loop, far, 4) == b"data"
    channel.close()


def test_own_handle_write_is_called_for_what_waits(loop: Loop, peers: Peers) -> None:
    class Own(Lines):
        writes = 0

        def handle_write(self) -> None:
            self.writes += 1
            super().handle_write()

    channel, far = peers.channel(Own, loop.map)
    size = fill(channel.socket)
    channel.push(b"data")
    assert channel.writes == 0
    assert receive(loop, far, size + 4)[size:] == b"data"
    assert channel.writes >= 1
    channel.close()


def test_initiate_send_put_on_the_instance_is_called(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.push(b"one")
    plain = channel.initiate_send
    channel.initiate_send = lambda: (channel.calls.append("initiate"), plain())
    channel.push(b"two")
    assert receive(loop, far, 6) == b"onetwo"
    assert channel.calls[0] == "initiate"
    channel.close()


@pytest.mark.parametrize("where", ["class", "instance"])
def test_own_send_sees_chunks_of_at_most_the_size(loop: Loop, peers: Peers, where: str) -> None:
    class Chunks(Lines):
        ac_out_buffer_size = 1000

        def send(self, data: Any) -> int:
            self.calls.append(len(data))
            return super().send(data)

    channel, far = peers.channel(Chunks, loop.map)
    size = 1000
    if where == "instance":
        size = channel.ac_out_buffer_size = 700
    sent = bytes(range(250)) * 20
    channel.push(sent)
    channel.push_with_producer(asynchat.simple_producer(sent, 3000))
    channel.producer_fifo.append(sent)
    assert receive(loop, far, 15000) == sent * 3
    assert max(channel.calls) == size
    channel.close()


def test_own_send_may_take_a_part(loop: Loop, peers: Peers) -> None:
    class Slow(Lines):
        stalls = 0

        def send(self, data: Any) -> int:
            self.stalls += 1
            return super().send(data[:3]) if self.stalls % 2 else 0

    channel, far = peers.channel(Slow, loop.map)
    channel.push(b"0123456789")
    channel.push(b"abcd")
    channel.close_when_done()
    assert receive_all(loop, far) == b"0123456789abcd"


def test_own_send_is_given_what_handlers_push(loop: Loop, peers: Peers) -> None:
    class Upper(Lines):
        def send(self, data: Any) -> int:
            return super().send(bytes(data).upper())

        def on_end(self) -> None:
            self.push(self.lines[-1])
            self.push(b".")

    channel, far = peers.channel(Upper, loop.map)
    feed(loop, far, b"one\ntwo\n")
    assert receive(loop, far, 8) == b"ONE.TWO."
    channel.close()


def test_send_put_on_the_instance_is_called(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.push(b"one ")
    plain = channel.send
    channel.send = lambda data: plain(bytes(data).upper())
    channel.push(b"two")
    assert receive(loop, far, 7) == b"one TWO"
    channel.close()


def test_own_push_may_call_the_old_one(loop: Loop, peers: Peers) -> None:
    class Framing(Lines):
        def push(self, data: Any) -> None:
            super().push(b"<")
            super().push(data)
            super().push(b">")

    channel, far = peers.channel(Framing, loop.map)
    channel.push(b"data")
    assert receive(loop, far, 6) == b"<data>"
    channel.close()


def test_own_writable_decides_when_the_queue_leaves(loop: Loop, peers: Peers) -> None:
    class Gated(Lines):
        opened = False

        def writable(self) -> Any:
            return self.opened and super().writable()

    channel, far = peers.channel(Gated, loop.map)
    channel.producer_fifo.append(b"data")
    for _ in range(3):
        poll(loop)
    assert waiting(far) == b""
    channel.opened = True
    assert receive(loop, far, 4) == b"data"
    channel.close()


def test_own_readable_decides_when_lines_come(loop: Loop, peers: Peers) -> None:
    class Gated(Lines):
        opened = False

        def readable(self) -> Any:
            return self.opened and super().readable()

    channel, far = peers.channel(Gated, loop.map)
    feed(loop, far, b"a\n")
    assert channel.calls == []
    channel.opened = True
    poll_until(loop, lambda: channel.lines == [b"a"])
    channel.close()


def test_predicates_say_what_they_said(loop: Loop, peers: Peers) -> None:
    assert Lines(None, {}).writable()  # not connected yet
    channel, far = peers.channel(Lines, loop.map)
    assert channel.readable()
    assert not channel.writable()
    size = fill(channel.socket)
    channel.push(b"data")
    assert channel.writable()
    receive(loop, far, size + 4)
    assert not channel.writable()
    channel.close()


@beyond_the_old  # where a class that wanted to write was asked to, always
def test_idle_channel_gets_no_events(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.push(b"data")
    assert receive(loop, far, 4) == b"data"
    loop.poll()
    assert sum(loop.poll() for _ in range(5)) == 0
    channel.close()


def test_class_changed_while_it_serves_counts_at_once(loop: Loop, peers: Peers) -> None:
    class Changing(Lines):
        pass

    channel, far = peers.channel(Changing, loop.map)
    feed(loop, far, b"a\n")
    channel.push(b"one ")
    Changing.found_terminator = lambda self: self.calls.append("new end")
    Changing.send = lambda self, data: Lines.send(self, bytes(data).upper())
    feed(loop, far, b"b\n")
    channel.push(b"two")
    assert channel.calls == [b"a", "end", b"b", "new end"]
    assert receive(loop, far, 7) == b"one TWO"
    channel.close()
