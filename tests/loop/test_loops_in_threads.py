# SPDX-License-Identifier: MIT
"""Loops that run in threads of their own, side by side: each serves its channels, and takes calls of the others."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from cyncore import Datagram, Loop, Stream, asynchat, asyncore
from tests.support.peers import Peers

LOOPS, MESSAGES = 3, 60
ROUNDS, CLASSES = 100, 30
ANSWER = b"x" * 100 + b"\n"


class Echo(Stream):
    def handle_data(self, data: bytes) -> None:
        self.write(data)


class Client(Stream):
    left = MESSAGES
    got = 0

    def handle_connect(self) -> None:
        self.write(ANSWER)

    def handle_data(self, data: bytes) -> None:
        self.got += len(data)
        if self.got == len(ANSWER):
            self.got = 0
            self.left -= 1
            if self.left:
                self.write(ANSWER)
            else:
                self.close()


class Shout(asynchat.async_chat):
    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.set_terminator(b"\n")
        self.lines = 0

    def collect_incoming_data(self, data: bytes) -> None:
        pass

    def found_terminator(self) -> None:
        self.lines += 1
        if self.lines < MESSAGES:
            self.push(ANSWER)
        else:
            self.close()


class Ping(Datagram):
    count = 0

    def handle_datagram(self, data: bytes, address: Any) -> None:
        self.count += 1
        if self.count < MESSAGES:
            self.send(data, address)
        else:
            self.close()


class Served(threading.Thread):
    """A loop in a thread: connections to itself, a chat with itself, datagrams, timers, and calls of the others."""

    def __init__(self, peers: Peers) -> None:
        super().__init__()
        self.others: list[Served] = []
        self.counts = {"calls": 0, "timers": 0, "lost": 0}
        self.loop = Loop()
        self.server = self.loop.listen(("127.0.0.1", 0), Echo)
        self.clients = [self.loop.connect(self.server.address, Client) for _ in range(3)]
        self.chats = [Shout(end, self.loop.map) for end in peers.pair()]
        self.pings = [self.loop.bind(("127.0.0.1", 0), Ping) for _ in range(2)]

    def run(self) -> None:
        with self.loop as loop:
            self.pings[0].send(b"ping", self.pings[1].address)
            self.chats[0].push(ANSWER)
            loop.call_soon(self.tick)
            loop.run()

    def tick(self) -> None:
        self.counts["timers"] += 1
        for other in self.others:
            other.loop.call_soon_threadsafe(other.called)
        if self.counts["timers"] < MESSAGES:
            self.loop.call_later(0.001, self.tick)
        self.end()

    def called(self) -> None:
        self.counts["calls"] += 1
        self.end()

    def end(self) -> None:
        """Lets the loop end once everybody has made all calls."""
        if self.counts["calls"] == MESSAGES * len(self.others) and self.counts["timers"] == MESSAGES:
            self.server.close()
            for ping in self.pings:
                ping.close()


def test_loops_in_threads_of_their_own_serve_side_by_side_and_no_call_is_lost(peers: Peers) -> None:
    served = [Served(peers) for _ in range(LOOPS)]
    for one in served:
        one.others = [other for other in served if other is not one]
    for one in served:
        one.start()
    for one in served:
        one.join(30)
    for one in served:
        assert not one.is_alive()
        assert one.counts["calls"] == MESSAGES * (LOOPS - 1)
        assert [client.left for client in one.clients] == [0, 0, 0]
        assert max(chat.lines for chat in one.chats) == MESSAGES


def test_streams_are_written_to_by_several_threads_while_their_loops_run(peers: Peers) -> None:
    ends = [peers.pair() for _ in range(4)]
    pieces = 300
    with Loop() as loop:
        streams = [Stream(ours, loop=loop) for ours, _ in ends]

        def write(mark: bytes) -> None:
            for number in range(pieces):
                for stream in streams:
                    stream.write(mark + b"%03d\n" % number)

        def take(sock: Any, into: list[bytes]) -> None:
            while sum(map(len, into)) < 2 * pieces * 5:
                into.append(sock.recv(65536))

        got: list[list[bytes]] = [[] for _ in ends]
        runs = threading.Thread(target=loop.run, kwargs={"forever": True})
        threads = [threading.Thread(target=write, args=(mark,)) for mark in (b"a", b"b")]
        for (_, theirs), into in zip(ends, got, strict=True):
            theirs.settimeout(20)
            threads.append(threading.Thread(target=take, args=(theirs, into)))
        for thread in (runs, *threads):
            thread.start()
        for thread in threads:
            thread.join(30)
        loop.stop()
        runs.join(10)
        for stream in streams:
            stream.abort()
        loop.poll(0)
    for into in got:
        lines = b"".join(into).split(b"\n")[:-1]
        for mark in (b"a", b"b"):
            assert [line for line in lines if line.startswith(mark)] == [mark + b"%03d" % n for n in range(pieces)]


def side_by_side(work: Callable[[], None]) -> None:
    """Lets two threads do the same, and fails if one of them does."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert not any(thread.is_alive() for thread in threads)


def test_class_that_loops_in_threads_share_may_be_changed_by_all_of_them(peers: Peers) -> None:
    class Shared(asyncore.dispatcher):
        taken = 0

        def handle_read(self) -> None:
            self.taken += len(self.recv(100))

    def take(self: Shared) -> None:
        self.taken += len(self.recv(100))

    def never(self: Shared) -> bool:
        return False

    methods = (Shared.handle_read, take)
    pairs = [peers.pair() for _ in range(2)]

    def serve() -> None:
        ours, theirs = pairs.pop()
        with Loop() as loop:
            channel = Shared(ours, loop.map)
            for number in range(ROUNDS):
                Shared.handle_read = methods[number % 2]  # type: ignore[method-assign]
                Shared.writable = (asyncore.dispatcher.writable, never)[number // 2 % 2]  # type: ignore[assignment]
                theirs.send(b"x")
                while channel.taken <= number:
                    loop.poll(1)
            channel.close()

    side_by_side(serve)


def test_no_change_of_a_class_is_missed_while_another_thread_changes_another_class(peers: Peers) -> None:
    """A loop looks at its classes again after either change."""

    def serve() -> None:
        class Own(asyncore.dispatcher):
            taken_by = ""

            def handle_read(self) -> None:
                self.recv(100)
                self.taken_by = "read"

        def handle_read_event(self: Own) -> None:
            self.recv(100)
            self.taken_by = "event"

        ours, theirs = pairs.pop()
        with Loop() as loop:
            channel = Own(ours, loop.map)
            for _ in range(ROUNDS // 4):
                for expected in ("event", "read"):
                    if expected == "event":
                        Own.handle_read_event = handle_read_event  # type: ignore[method-assign]
                    else:
                        del Own.handle_read_event
                    give_up = time.monotonic() + 20
                    while channel.taken_by != expected:
                        assert time.monotonic() < give_up
                        theirs.send(b"x")
                        loop.poll(1)
            channel.close()

    pairs = [peers.pair() for _ in range(2)]
    side_by_side(serve)


def test_class_is_used_first_by_two_loops_at_once(peers: Peers) -> None:
    kinds = [(type("Fresh", (Client,), {}), type("FreshChat", (Shout,), {})) for _ in range(CLASSES)]
    meeting = threading.Barrier(2)

    def serve() -> None:
        with Loop() as loop:
            for stream_kind, chat_kind in kinds:
                ours, theirs = socket.socketpair()
                meeting.wait(10)
                stream, chat = stream_kind(ours, loop=loop), chat_kind(theirs, loop.map)
                chat.push(ANSWER)
                while stream.left == MESSAGES and not stream.got:  # two answers may come as one
                    loop.poll(1)
                stream.abort()
                chat.close()

    side_by_side(serve)
