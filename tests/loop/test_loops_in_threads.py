# SPDX-License-Identifier: MIT
"""Loops that run in threads of their own, side by side: each serves its channels, and takes calls of the others."""

from __future__ import annotations

import threading
from typing import Any

from cyncore import Datagram, Loop, Stream, asynchat
from tests.support.peers import Peers

LOOPS, MESSAGES = 3, 60
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
