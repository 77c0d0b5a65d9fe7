# SPDX-License-Identifier: MIT
"""What is pushed is on its way when push() returns, so that a handler may wait for what its peer does then.

The one exception: while the same channel has another whole piece of input in hand.
"""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from cyncore import Loop
from tests.support.chat import OLD, Lines, asynchat, beyond_the_old, feed, poll, poll_until, receive_all, waiting
from tests.support.loops import ends_by_itself
from tests.support.peers import Peers


class Looking(Lines):
    """Pushes, and notes in `seen` what its peer has by then, before its handler returns."""

    far: Any = None

    def prepare(self, far: socket.socket) -> None:
        self.far, self.seen = far, list[bytes]()

    def push_and_look(self, data: bytes) -> None:
        self.push(data)
        self.seen.append(waiting(self.far))

    def on_end(self) -> None:
        self.push_and_look(b"<")
        self.push_and_look(self.lines[-1] + b">")


def looking(loop: Loop, peers: Peers, kind: type[Looking] = Looking) -> tuple[Any, socket.socket]:
    channel, far = peers.channel(kind, loop.map)
    channel.prepare(far)
    return channel, far


# At once


def test_each_push_of_a_handler_is_with_the_peer_when_it_returns(loop: Loop, peers: Peers) -> None:
    channel, far = looking(loop, peers)
    feed(loop, far, b"one\n")
    assert channel.seen == [b"<", b"one>"]
    channel.close()


def test_push_in_collect_incoming_data_is_with_the_peer_at_once(loop: Loop, peers: Peers) -> None:
    class Early(Looking):
        def on_data(self, data: bytes) -> None:
            self.push_and_look(b"part")

        def on_end(self) -> None:
            pass

    channel, far = looking(loop, peers, Early)
    feed(loop, far, b"one\ntwo\n")
    assert channel.seen == [b"part", b"part"]
    channel.close()


def test_push_of_another_channel_s_handler_is_with_the_peer_at_once(loop: Loop, peers: Peers) -> None:
    listener, _ = looking(loop, peers)

    class Telling(Lines):
        def on_end(self) -> None:
            listener.push_and_look(b"told")

    teller, teller_far = peers.channel(Telling, loop.map)
    feed(loop, teller_far, b"one\ntwo\n")
    assert listener.seen == [b"told", b"told"]
    teller.close()
    listener.close()


@beyond_the_old
def test_push_of_a_timer_or_a_queued_call_is_with_the_peer_at_once(loop: Loop, peers: Peers) -> None:
    channel, _ = looking(loop, peers)
    loop.call_soon(channel.push_and_look, b"soon")
    loop.call_later(0, channel.push_and_look, b"later")
    poll_until(loop, lambda: len(channel.seen) == 2)
    assert channel.seen == [b"soon", b"later"]
    channel.close()


def test_a_producer_s_data_is_with_the_peer_at_once(loop: Loop, peers: Peers) -> None:
    class Producing(Looking):
        def on_end(self) -> None:
            self.push_with_producer(asynchat.simple_producer(b"data"))
            self.seen.append(waiting(self.far))

    channel, far = looking(loop, peers, Producing)
    feed(loop, far, b"one\n")
    assert channel.seen == [b"data"]
    channel.close()


def test_handler_may_block_until_its_peer_has_answered_what_it_pushed(loop: Loop, peers: Peers) -> None:
    """As an FTP server does that says where it listens, and waits there for the connection."""

    class Passive(Lines):
        def on_end(self) -> None:
            with socket.create_server(("127.0.0.1", 0)) as server:
                server.settimeout(20)
                self.push(b"%d\n" % server.getsockname()[1])
                with server.accept()[0] as connection:
                    self.calls.append(connection.recv(10))

    def connect() -> None:
        far.settimeout(20)
        with socket.create_connection(("127.0.0.1", int(far.recv(10)))) as connection:
            connection.send(b"here")

    channel, far = peers.channel(Passive, loop.map)
    far.sendall(b"PASV\n")
    client = threading.Thread(target=connect)
    client.start()
    poll_until(loop, lambda: b"here" in channel.calls)
    client.join(20)
    channel.close()


def test_push_while_the_socket_is_full_is_tried_as_soon_as_it_is_made(loop: Loop, peers: Peers) -> None:
    """A handler that pushes and waits, again and again, gets rid of all of it."""

    class Patient(Lines):
        def on_end(self) -> None:
            self.push(bytes(1 << 20))
            for _ in range(1000):
                receiver.got += len(waiting(far))
                if receiver.got >= 1 << 20:
                    break
                self.push(b"x")

    class receiver:
        got = 0

    channel, far = peers.channel(Patient, loop.map)
    feed(loop, far, b"go\n")
    assert receiver.got >= 1 << 20
    channel.close()


# With the next piece of input


@beyond_the_old
def test_what_answers_pieces_that_came_together_waits_for_the_last(loop: Loop, peers: Peers) -> None:
    channel, far = looking(loop, peers)
    feed(loop, far, b"one\ntwo\nthr")
    assert channel.seen == [b"", b"", b"<one><", b"two>"]
    channel.close()


@beyond_the_old
def test_what_waits_leaves_though_the_last_piece_is_not_answered(loop: Loop, peers: Peers) -> None:
    class Once(Looking):
        def on_end(self) -> None:
            if len(self.lines) == 1:
                super().on_end()

    channel, far = looking(loop, peers, Once)
    feed(loop, far, b"one\ntwo\n")
    assert (channel.seen, waiting(far)) == ([b"", b""], b"<one>")
    channel.close()


@pytest.mark.parametrize("terminator", [b"no such end", b"", 100, None])
def test_nothing_waits_for_a_piece_that_another_terminator_does_not_end(
    loop: Loop, peers: Peers, terminator: Any
) -> None:
    class Switching(Looking):
        def on_end(self) -> None:
            self.set_terminator(terminator)
            super().on_end()

    channel, far = looking(loop, peers, Switching)
    feed(loop, far, b"one\ntwo\n")
    assert channel.seen == [b"<", b"one>"]
    channel.close()


def test_what_waits_leaves_when_the_next_piece_is_none_any_more(loop: Loop, peers: Peers) -> None:
    class Switching(Looking):
        def on_end(self) -> None:
            self.push(b"first ")
            self.set_terminator(b"no such end")
            self.push_and_look(b"second")

    channel, far = looking(loop, peers, Switching)
    feed(loop, far, b"one\ntwo\n")
    assert channel.seen == [b"first second"]
    channel.close()


def test_push_of_a_loop_within_a_handler_does_not_wait_for_the_next_piece(loop: Loop, peers: Peers) -> None:
    """That loop may go on for long."""

    class Nesting(Looking):
        def on_end(self) -> None:
            if len(self.lines) == 1:
                other_far.sendall(b"go\n")
                poll_until(loop, lambda: other.lines)

    class Telling(Lines):
        def on_end(self) -> None:
            channel.push_and_look(b"told")

    channel, far = looking(loop, peers, Nesting)
    other, other_far = peers.channel(Telling, loop.map)
    feed(loop, far, b"one\ntwo\n")
    assert channel.seen == [b"told"]
    other.close()
    channel.close()


def test_what_waits_leaves_before_handle_error(loop: Loop, peers: Peers) -> None:
    class Failing(Looking):
        def on_end(self) -> None:
            self.push(b"first")
            raise ValueError("failed")

        def handle_error(self) -> None:
            self.seen.append(waiting(self.far))
            super().handle_error()

    channel, far = looking(loop, peers, Failing)
    feed(loop, far, b"one\ntwo\n")
    assert channel.seen == [b"first"]
    channel.close()


def test_pushes_after_a_failed_piece_do_not_wait_for_what_is_left(loop: Loop, peers: Peers) -> None:
    class Failing(Looking):
        def on_end(self) -> None:
            raise ValueError("failed")

    class Telling(Lines):
        def on_end(self) -> None:
            channel.push_and_look(b"told")

    channel, far = looking(loop, peers, Failing)
    other, other_far = peers.channel(Telling, loop.map)
    feed(loop, far, b"one\ntwo\n")
    feed(loop, other_far, b"go\n")
    assert channel.seen == [b"told"]
    other.close()
    channel.close()


# With everything of the tick


@beyond_the_old
def test_class_that_gathers_sends_at_the_end_of_the_tick(loop: Loop, peers: Peers) -> None:
    class Gathering(Looking):
        gather_pushes = True

    channel, far = looking(loop, peers, Gathering)
    feed(loop, far, b"one\n")
    assert (channel.seen, waiting(far)) == ([b"", b""], b"<one>")
    channel.close()


@beyond_the_old
def test_channel_may_gather_for_itself(loop: Loop, peers: Peers) -> None:
    channel, far = looking(loop, peers)
    other, other_far = looking(loop, peers)
    channel.gather_pushes = True
    feed(loop, far, b"one\n")
    feed(loop, other_far, b"one\n")
    assert (channel.seen, other.seen) == ([b"", b""], [b"<", b"one>"])
    channel.gather_pushes = False
    assert waiting(far) == b"<one>"
    feed(loop, far, b"two\n")
    assert channel.seen == [b"", b"", b"<", b"two>"]
    channel.close()
    other.close()


# The end


def test_closing_when_done_reads_what_comes_until_then(loop: Loop, peers: Peers) -> None:
    """The close is the next write event's, so a read event that comes with it is served first."""

    class Parting(Lines):
        def on_end(self) -> None:
            self.push(b"bye")
            self.close_when_done()
            far.send(b"more\n")

    channel, far = peers.channel(Parting, loop.map)
    far.sendall(b"go\n")
    poll(loop)
    assert channel.calls == [b"go", "end"]
    channel.on_end = lambda: None
    assert receive_all(loop, far) == b"bye"
    assert channel.calls == [b"go", "end", b"more", "end", "close"]


def test_closing_when_done_waits_for_an_event_handler_of_the_class(loop: Loop, peers: Peers) -> None:
    """As of one that does its TLS handshake there."""

    class Shaking(Lines):
        shaken = 0

        def on_end(self) -> None:
            self.close_when_done()

        def handle_write_event(self) -> None:
            self.shaken += 1
            if self.shaken > 2:
                super().handle_write_event()

    channel, far = peers.channel(Shaking, loop.map)
    feed(loop, far, b"go\n")
    poll_until(loop, lambda: not loop.map)
    assert channel.shaken == 3
    if not OLD:
        assert channel.calls == [b"go", "end", "close"]


@beyond_the_old
@pytest.mark.parametrize("gathers", [False, True])
@pytest.mark.parametrize("asks", [[1, 2, 3], [1, 2, 3, 4, 5, 6]])
def test_what_predicates_push_leaves_before_the_loop_waits(
    loop: Loop, peers: Peers, asks: list[int], gathers: bool
) -> None:
    class Pushing(Lines):
        asked = 0
        pushed = b""

        def readable(self) -> bool:
            self.asked += 1
            if self.asked in asks:
                self.push(b"%d " % self.asked)
                self.pushed += b"%d " % self.asked
            return True

    def look() -> None:
        seen.extend([waiting(far), channel.pushed])
        loop.stop()

    seen: list[bytes] = []
    channel, far = peers.channel(Pushing, loop.map)
    channel.gather_pushes = gathers
    loop.call_later(0.05, look)
    with ends_by_itself(loop):
        loop.run()
    assert seen[0] == seen[1]
    channel.close()
