# SPDX-License-Identifier: MIT
"""Whether what handlers push leaves at once or is gathered until the end of the tick: what follows comes after it."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections import deque
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
from tests.support.script import run_script


@pytest.fixture(autouse=True, params=[False, True], ids=["at once", "gathered"])
def gathers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Every test of this file is one of both."""
    monkeypatch.setattr(Lines, "gather_pushes", request.param, raising=False)
    return bool(request.param)


class Answering(Lines):
    """Answers each line in three pushes."""

    def on_end(self) -> None:
        self.push(b"<")
        self.push(self.lines[-1])
        self.push(b">")


def do_poll(map: Any) -> None:
    (asyncore.poll2 if OLD else asyncore.poll)(0.02, map)


# It leaves by the end of the tick


def test_answers_leave_in_the_tick_that_brought_the_lines(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Answering, loop.map)
    feed(loop, far, b"one\ntwo\nthree\n")
    assert (waiting(far) == b"<one><two><three>") or OLD
    channel.close()


def test_one_tick_answers_all_channels(loop: Loop, peers: Peers) -> None:
    pairs = [peers.channel(Answering, loop.map) for _ in range(50)]
    for number, (_, far) in enumerate(pairs):
        far.sendall(b"%d\n" % number)
    for number, (channel, far) in enumerate(pairs):
        assert receive(loop, far, len(b"<%d>" % number)) == b"<%d>" % number
        channel.close()


@beyond_the_old
def test_pushed_in_a_timer_or_a_queued_call_leaves(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    loop.call_soon(channel.push, b"soon ")
    loop.call_soon(channel.push, b"too ")
    assert receive(loop, far, 9) == b"soon too "
    loop.call_later(0.001, channel.push, b"later")
    assert receive(loop, far, 5) == b"later"
    loop.call_soon_threadsafe(channel.push_with_producer, asynchat.simple_producer(b"from a thread"))
    assert receive(loop, far, 13) == b"from a thread"
    channel.close()


@beyond_the_old
@pytest.mark.parametrize("leave", ["stop", "raise"])
def test_pushed_in_the_last_tick_of_a_run_leaves(loop: Loop, peers: Peers, leave: str) -> None:
    class Last(Answering):
        def on_end(self) -> None:
            super().on_end()
            if leave == "raise":
                raise KeyboardInterrupt
            loop.stop()

    channel, far = peers.channel(Last, loop.map)
    far.sendall(b"quit\n")
    try:
        loop.run()
    except KeyboardInterrupt:
        assert leave == "raise"
    assert waiting(far) == b"<quit>"
    channel.close()


def test_pushed_before_a_handler_fails_leaves(loop: Loop, peers: Peers) -> None:
    class Failing(Answering):
        def on_end(self) -> None:
            super().on_end()
            raise ValueError("failed")

    channel, far = peers.channel(Failing, loop.map)
    feed(loop, far, b"one\n")
    assert receive(loop, far, 5) == b"<one>"
    assert channel.calls == [b"one", "end", "error ValueError('failed')"]
    channel.close()


# Order with everything else that a handler may do


def answer_then(act: Any) -> type[Lines]:
    class Acting(Lines):
        def on_end(self) -> None:
            self.push(b"first ")
            act(self)

    return Acting


ACTS: list[tuple[Any, bytes]] = [
    (lambda channel: channel.close(), b"first "),
    (lambda channel: channel.handle_close(), b"first "),
    (lambda channel: (channel.push(b"second"), channel.close()), b"first second"),
    (lambda channel: (channel.push_with_producer(asynchat.simple_producer(b"2")), channel.close()), b"first 2"),
    (lambda channel: channel.socket.shutdown(socket.SHUT_WR), b"first "),
    (lambda channel: (channel.socket.send(b"second"), channel.close()), b"first second"),
    (lambda channel: (channel.send(b"second"), channel.close()), b"first second"),
    (lambda channel: (channel.socket.sendall(b"2"), channel.push(b"3"), channel.close()), b"first 23"),
    (lambda channel: (channel.producer_fifo.append(b"2"), channel.close_when_done()), b"first 2"),
    (lambda channel: (channel.close_when_done(), channel.push(b"never")), b"first "),
    (lambda channel: (channel.del_channel(), channel.socket.close()), b"first "),
    (lambda channel: os.close(channel.socket.detach()), b"first "),
]  # fmt: skip


@pytest.mark.parametrize(("act", "want"), ACTS)
def test_pushed_before_something_else_leaves_before_it(loop: Loop, peers: Peers, act: Any, want: bytes) -> None:
    channel, far = peers.channel(answer_then(act), loop.map)
    far.sendall(b"go\n")
    assert receive_all(loop, far) == want
    channel.calls.clear()
    for _ in range(2):
        poll(loop)
    channel.socket.close()  # where it was only shut down
    channel.close()


@pytest.mark.parametrize(("act", "want"), ACTS)
def test_what_waits_for_the_next_piece_leaves_before_something_else(
    loop: Loop, peers: Peers, act: Any, want: bytes
) -> None:
    class Once(Lines):
        def on_end(self) -> None:
            if self.lines == [b"go"]:
                self.push(b"first ")
                act(self)

    channel, far = peers.channel(Once, loop.map)
    far.sendall(b"go\nnext\n")
    assert receive_all(loop, far) == want
    for _ in range(2):
        poll(loop)
    channel.socket.close()  # where it was only shut down
    channel.close()


@pytest.mark.parametrize("empty", [
    lambda channel: channel.discard_buffers(), lambda channel: channel.producer_fifo.clear(),
    lambda channel: setattr(channel, "producer_fifo", deque()),
])  # fmt: skip
def test_pushed_before_the_queue_is_emptied_leaves(loop: Loop, peers: Peers, empty: Any) -> None:
    """As who refuses a line says so and forgets the rest."""

    def refuse(channel: Any) -> None:
        empty(channel)
        channel.push(b"second")

    channel, far = peers.channel(answer_then(refuse), loop.map)
    feed(loop, far, b"go\n")
    assert receive(loop, far, 12) == b"first second"
    channel.close()


def test_discarding_takes_a_close_when_done_back(loop: Loop, peers: Peers) -> None:
    def discard(channel: Any) -> None:
        channel.close_when_done()
        channel.discard_buffers()

    channel, far = peers.channel(answer_then(discard), loop.map)
    feed(loop, far, b"go\n")
    assert receive(loop, far, 6) == b"first "
    feed(loop, far, b"go\n")
    assert channel.calls == [b"go", "end"] * 2
    channel.close()


def test_pushed_before_the_socket_is_taken_away_leaves(loop: Loop, peers: Peers) -> None:
    """As who upgrades a connection does: answers, and gives the socket to somebody else."""
    second, second_far = peers.pair()

    def swap(channel: Any) -> None:
        taken.append(channel.socket)
        channel.del_channel()
        channel.set_socket(second)
        channel.push(b"to the second")

    taken: list[socket.socket] = []
    channel, far = peers.channel(answer_then(swap), loop.map)
    feed(loop, far, b"go\n")
    assert receive(loop, second_far, 13) == b"to the second"
    assert receive(loop, far, 6) == b"first "
    taken[0].close()
    channel.close()


def test_pushed_before_a_nested_poll_leaves_before_it(loop: Loop, peers: Peers) -> None:
    seen: list[bytes] = []

    def nest(channel: Any) -> None:
        do_poll(loop.map)
        seen.append(waiting(far))

    channel, far = peers.channel(answer_then(nest), loop.map)
    feed(loop, far, b"go\n")
    assert seen == [b"first "]
    channel.close()


def test_nested_poll_serves_who_answers(loop: Loop, peers: Peers) -> None:
    """A handler waits for another channel's answer, by polling until it is there."""
    server, client_side = peers.channel(Answering, loop.map)
    client_side.setblocking(False)
    client = Lines(client_side, loop.map, terminator=b">")

    class Proxy(Lines):
        def on_end(self) -> None:
            client.push(self.lines[-1] + b"\n")
            for _ in range(100):
                if client.lines:
                    break
                do_poll(loop.map)
            self.push(client.lines[0])

    proxy, far = peers.channel(Proxy, loop.map)
    feed(loop, far, b"question\n")
    assert receive(loop, far, 9) == b"<question"
    for channel in (server, client, proxy):
        channel.close()


# Who is gone


def test_peer_that_is_gone_by_the_end_of_the_tick_closes_once(loop: Loop, peers: Peers) -> None:
    class Slamming(Answering):
        def on_end(self) -> None:
            far.close()
            super().on_end()

    channel, far = peers.channel(Slamming, loop.map)
    far.sendall(b"one\n")
    poll_until(loop, lambda: not loop.map)
    assert channel.calls.count("close") == 1


@beyond_the_old  # whose second push closed, and which then heard of the hang-up too
def test_peer_that_sends_and_goes_closes_once(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Answering, loop.map)
    far.sendall(b"one\ntwo\n")
    far.close()
    poll_until(loop, lambda: not loop.map)
    for _ in range(2):
        poll(loop)
    assert channel.calls.count("close") == 1


@pytest.mark.parametrize("handler", ["handle_close", "handle_error"])
def test_push_in_a_handler_of_the_end_harms_nobody(loop: Loop, peers: Peers, handler: str) -> None:
    class Parting(Lines):
        def on_end(self) -> None:
            raise ValueError("failed")

        def handle_error(self) -> None:
            if handler == "handle_error":
                self.push(b"sorry")
            super().handle_error()
            self.close()

        def handle_close(self) -> None:
            if handler == "handle_close":
                self.push(b"farewell")
            super().handle_close()

    channel, far = peers.channel(Parting, loop.map)
    if handler == "handle_error":
        far.sendall(b"line\n")
        assert receive_all(loop, far) == b"sorry"
        assert channel.calls == [b"line", "end", "error ValueError('failed')"]
    else:
        far.shutdown(socket.SHUT_WR)
        assert receive_all(loop, far) == b"farewell"
        assert channel.calls == ["close"]


def test_error_of_send_in_a_handler_is_an_error_of_the_channel(loop: Loop, peers: Peers) -> None:
    class Failing(Answering):
        def send(self, data: Any) -> int:
            raise OSError(errno.ETIMEDOUT, "failed")

        def handle_error(self) -> None:
            super().handle_error()
            self.close()

    channel, far = peers.channel(Failing, loop.map)
    far.sendall(b"one\n")
    poll_until(loop, lambda: not loop.map)
    assert f"error {OSError(errno.ETIMEDOUT, 'failed')!r}" in channel.calls


@pytest.mark.parametrize("trouble", ["gone", "failing", "full", "closed"])
def test_chat_with_one_bad_guest_costs_only_that_one(loop: Loop, peers: Peers, trouble: str) -> None:
    guests: list[Any] = []

    class Guest(Lines):
        failing = False

        def on_end(self) -> None:
            for guest in guests:
                guest.push(self.lines[-1] + b"\n")

        def send(self, data: Any) -> int:
            if self.failing:
                raise OSError(errno.ETIMEDOUT, "failed")
            return super().send(data)

        def handle_error(self) -> None:
            super().handle_error()
            self.close()

    fars = []
    for _ in range(8):
        guest, far = peers.channel(Guest, loop.map)
        guests.append(guest)
        fars.append(far)
    bad, bad_far = guests[3], fars.pop(3)
    if trouble == "gone":
        bad_far.close()
    elif trouble == "failing":
        bad.failing = True
    elif trouble == "full":
        fill(bad.socket)
    else:
        bad.close()
    fars[0].sendall(b"hello\nthere\n")
    fars[5].sendall(b"hi\n")
    for far in fars:
        assert sorted(receive(loop, far, 15).split()) == [b"hello", b"hi", b"there"]
    poll(loop)
    others = [guest for guest in guests if guest is not bad]
    assert all(guest.connected for guest in others)
    assert not [call for guest in others for call in guest.calls if call == "close" or str(call).startswith("error")]
    assert bad.connected == (trouble == "full")
    for guest in guests:
        guest.close()


def test_peer_that_floods_does_not_starve_the_others(loop: Loop, peers: Peers) -> None:
    flooded, flooding = peers.channel(Lines, loop.map)
    quiet, far = peers.channel(Answering, loop.map)

    def flood() -> None:
        try:
            while True:
                flooding.send(b"x\n" * 10_000, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass

    for number in range(4):
        flood()
        far.sendall(b"%d\n" % number)
        for _ in range(2):
            poll(loop)
        assert waiting(far) == b"<%d>" % number or OLD
    assert flooded.connected
    flooded.close()
    quiet.close()


def test_two_channels_that_answer_each_other_let_others_live(loop: Loop, peers: Peers) -> None:
    one, far = peers.pair()
    far.setblocking(False)
    ball = [Answering(one, loop.map), Answering(far, loop.map)]
    for channel in ball:
        channel.on_end = lambda channel=channel: channel.push(b"ball\n")
    third, third_far = peers.channel(Answering, loop.map)
    ball[0].push(b"ball\n")
    poll_until(loop, lambda: len(ball[0].calls) > 20)
    feed(loop, third_far, b"one\n")
    assert receive(loop, third_far, 5) == b"<one>"
    for channel in (*ball, third):
        channel.close()


# Threads and processes


@beyond_the_old
@pytest.mark.parametrize("idle", [True, False])
def test_push_from_another_thread_arrives_once_and_in_order(loop: Loop, peers: Peers, idle: bool) -> None:
    channel, far = peers.channel(Answering, loop.map)
    far.settimeout(20)
    runner = threading.Thread(target=loop.run)
    runner.start()
    try:
        if not idle:
            far.sendall(b"x\n" * 1000)
        pushers = [
            threading.Thread(target=lambda name=name: [channel.push(b"[%c%04d]" % (name, n)) for n in range(1000)])
            for name in b"ab"
        ]
        for pusher in pushers:
            pusher.start()
        for pusher in pushers:
            pusher.join(20)
        size = 2 * 1000 * 7 + (0 if idle else 3000)
        got = b""
        while len(got) < size:
            got += far.recv(1 << 16)
    finally:
        loop.stop()
        runner.join(20)
    parts = got.replace(b"<x>", b"").replace(b"]", b"").split(b"[")[1:]
    for name in (b"a", b"b"):
        assert [part for part in parts if part[:1] == name] == [b"%s%04d" % (name, n) for n in range(1000)]
    assert len(got) == size
    channel.close()


FORKING = """
import os, socket, sys, warnings
warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
from cyncore import asynchat, asyncore

class Forking(asynchat.async_chat):
    def collect_incoming_data(self, data):
        pass
    def found_terminator(self):
        self.push(b"before ")
        pid = os.fork()
        if pid == 0:
            try:
                {child}
            finally:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        self.push(b"after")
        self.close_when_done()

near, far = socket.socketpair()
channel = Forking(near)
channel.set_terminator(b"\\n")
far.sendall(b"go\\n")
asyncore.loop()
got = b""
while True:
    data = far.recv(100)
    if not data:
        break
    got += data
far.close()
print(got.decode())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork() here")
@pytest.mark.parametrize("child", ["pass", "self.close()", "asyncore.poll(0)", "asyncore.close_all()", "os.close(1)"])
def test_pushed_before_a_fork_leaves_once(child: str) -> None:
    assert run_script(FORKING.replace("{child}", child)) == "before after\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork() here")
def test_child_may_go_on_with_the_conversation() -> None:
    """A server that forks for each connection: the child answers, the parent lets go of it."""
    source = FORKING.replace("{child}", "self.push(b'child '); asyncore.poll(0)")
    assert run_script(source) == "before child after\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pipe to a program")
def test_pushed_before_a_program_is_started_leaves_before_it_ends(loop: Loop, peers: Peers) -> None:
    def run(channel: Any) -> None:
        import subprocess

        subprocess.run([sys.executable, "-c", ""], check=True, timeout=20)
        channel.push(b"second")

    channel, far = peers.channel(answer_then(run), loop.map)
    feed(loop, far, b"go\n")
    assert receive(loop, far, 12) == b"first second"
    channel.close()


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


class Counting(socket.socket):
    """Says how often it was asked to send."""

    sends = 0

    def send(self, *arguments: Any) -> int:
        self.sends += 1
        return super().send(*arguments)


@beyond_the_old
def test_what_two_channels_push_around_a_read_of_a_third_is_one_send(loop: Loop, peers: Peers) -> None:
    class Answering(Lines):
        def on_end(self) -> None:
            read.append(self)
            if third and self is not third[0]:
                third[0].push(b"x")

    read: list[Lines] = []
    third: list[Lines] = []
    far: dict[Lines, socket.socket] = {}
    for _ in range(3):
        near, other = peers.pair()
        counted = Counting(fileno=near.detach())
        peers.keep(counted)
        far[Answering(counted, loop.map)] = other
    for peer in far.values():
        peer.sendall(b"line\n")
    loop.poll(0)
    order = list(read)  # in which the poller reports them
    third.append(order[1])
    third[0].gather_pushes = True
    for channel in order:
        far[channel].sendall(b"line\n")
    loop.poll(0)
    assert read[3:] == order
    assert (waiting(far[third[0]]), third[0].socket.sends) == (b"xx", 1)
    for channel in order:
        channel.close()


def test_handle_close_in_a_flush_may_wait_for_the_answer_to_another_channels_push(loop: Loop, peers: Peers) -> None:
    class Leaving(Lines):
        def handle_close(self) -> None:
            self.close()
            for _ in range(3):
                poll(loop)
                arrived.append(waiting(far))

    class Asking(Lines):
        def on_end(self) -> None:
            leaving.push(b"bye\n")
            leaving.close_when_done()
            self.push(b"question\n")

    arrived: list[bytes] = []
    leaving, _ = peers.channel(Leaving, loop.map)
    asking, far = peers.channel(Asking, loop.map)
    far.sendall(b"go\n")
    poll_until(loop, lambda: arrived)
    assert b"".join(arrived) == b"question\n"
    asking.close()


def test_pushed_before_another_socket_is_assigned_leaves_by_the_old_one(loop: Loop, peers: Peers) -> None:
    second, _ = peers.pair()

    def assign(channel: Any) -> None:
        peers.keep(vars(channel).get("_socket") or old)
        channel.socket = second

    channel, far = peers.channel(answer_then(assign), loop.map)
    old = channel.socket
    feed(loop, far, b"go\n")
    assert receive(loop, far, 6) == b"first "
    channel.close()
    old.close()


def test_close_when_done_that_was_queued_closes_once_before_a_close(loop: Loop, peers: Peers) -> None:
    def end(channel: Any) -> None:
        channel.close_when_done()
        channel.close()

    channel, far = peers.channel(answer_then(end), loop.map)
    far.sendall(b"go\n")
    assert receive_all(loop, far) == b"first "
    assert channel.calls.count("close") == 0
