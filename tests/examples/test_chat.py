# SPDX-License-Identifier: MIT
"""examples/chat.py: a few guests, and as many as it is for."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.examples import PATIENCE, Server, allowing_descriptors, serving_stream

GUESTS = 5000
LINE = b"x" * 990 + b"\n"


def test_a_line_in_the_chat_reaches_everybody_else() -> None:
    with serving_stream("chat.py") as server:
        guests = [socket.create_connection(server.address, PATIENCE) for _ in range(3)]
        files = [guest.makefile("rb") for guest in guests]
        names = ["{}:{}".format(*guest.getsockname()).encode() for guest in guests]
        for number, file in enumerate(files):
            assert file.readline() == b"you are %b, one of %d\n" % (names[number], number + 1)
        guests[1].sendall(b"hello\r\n")
        assert files[0].readline() == files[2].readline() == names[1] + b": hello\n"
        guests[0].sendall(b"hi\n")
        assert files[1].readline() == files[2].readline() == names[0] + b": hi\n"
        for each in (*guests, *files):
            each.close()


def test_a_guest_that_does_not_read_is_sent_away_and_the_others_stay() -> None:
    line = b"x" * 999 + b"\n"
    with serving_stream("chat.py") as server:
        talker, reader, sleeper = (socket.create_connection(server.address, PATIENCE) for _ in range(3))
        sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with talker, reader, sleeper, reader.makefile("rb") as heard:
            reader.settimeout(PATIENCE)
            for greeted in (heard, talker.makefile("rb"), sleeper.makefile("rb")):
                greeted.readline()
            before = server.descriptors()
            while server.descriptors() >= before:
                talker.sendall(line * 100)
                for _ in range(100):
                    assert heard.readline().endswith(line)
            talker.sendall(b"still here\n")
            assert heard.readline().endswith(b": still here\n")


def test_a_line_of_the_chat_that_does_not_end_costs_its_guest_alone() -> None:
    with (
        serving_stream("chat.py") as server,
        socket.create_connection(server.address, PATIENCE) as endless,
        socket.create_connection(server.address, PATIENCE) as other,
        other.makefile("rb") as heard,
    ):
        heard.readline()
        endless.sendall(b"x" * 5000)
        with endless.makefile("rb") as told:
            told.readline()
            try:
                assert told.read() == b""
            except ConnectionResetError:
                pass
        with socket.create_connection(server.address, PATIENCE) as third:
            third.sendall(b"hello\n")
            assert heard.readline().endswith(b": hello\n")


def test_a_silent_guest_is_sent_away_and_who_talks_stays() -> None:
    with (
        serving_stream("chat.py", "--idle", 1) as server,
        socket.create_connection(server.address, PATIENCE) as silent,
        socket.create_connection(server.address, PATIENCE) as talker,
        talker.makefile("rb") as heard,
    ):
        heard.readline()
        silent.settimeout(0.05)
        got = b""
        while True:  # until the silent one's end
            talker.sendall(b"me\n")
            with contextlib.suppress(TimeoutError):
                part = silent.recv(65536)
                got += part
                if not part:
                    break
        assert got.startswith(b"you are ")
        with socket.create_connection(server.address, PATIENCE) as other:
            other.sendall(b"hello\n")
            assert heard.readline().endswith(b": hello\n")


# As many as it is for


class Crowd:
    """Guests of one room, whose sockets are read together. Each has read its greeting."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.heard: dict[socket.socket, bytearray] = {}
        self.gone: set[socket.socket] = set()
        self.sockets: list[socket.socket] = []
        for number in range(count):
            sock = socket.create_connection(address, PATIENCE)
            self.sockets.append(sock)
            self.heard[sock] = bytearray()
            self.selector.register(sock, selectors.EVENT_READ)
            if number % 500 == 499:  # no more than the backlog of the listener holds
                self.read_until(lambda: all(heard.endswith(b"\n") for heard in self.heard.values()))
        self.read_until(lambda: all(heard.endswith(b"\n") for heard in self.heard.values()))
        for sock in self.sockets:
            sock.setblocking(False)
        self.forget()

    def forget(self) -> None:
        for heard in self.heard.values():
            heard.clear()

    def read(self) -> None:
        for key, _ in self.selector.select(0.2):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            try:
                data = sock.recv(65536)
            except ConnectionResetError:
                data = b""
            self.heard[sock] += data
            if not data:
                self.selector.unregister(sock)
                self.gone.add(sock)

    def read_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, f"{len(self.gone)} of {len(self.sockets)} are gone"
            self.read()

    def hear(self, expected: bytes, but: set[socket.socket]) -> None:
        """Everybody hears these bytes and no others."""
        others = [heard for sock, heard in self.heard.items() if sock not in but]
        self.read_until(lambda: all(len(heard) >= len(expected) for heard in others))
        assert all(heard == expected for heard in others)
        self.forget()

    def close(self) -> None:
        self.selector.close()
        for sock in self.sockets:
            sock.close()


@contextlib.contextmanager
def crowded(*options: object, count: int = GUESTS) -> Iterator[tuple[Server, Crowd]]:
    with allowing_descriptors(2 * GUESTS), serving_stream("chat.py", *options) as server:
        crowd = Crowd(server.address, count)
        try:
            yield server, crowd
        finally:
            crowd.close()


def name_of(sock: socket.socket) -> bytes:
    return "{}:{}".format(*sock.getsockname()).encode()


@pytest.mark.load
@pytest.mark.timeout(120)
def test_a_line_reaches_five_thousand() -> None:
    with crowded() as (_, crowd):
        for talker in (crowd.sockets[0], crowd.sockets[-1]):
            for text in (b"hello", b"once more"):
                talker.sendall(text + b"\n")
                crowd.hear(name_of(talker) + b": " + text + b"\n", {talker})
        assert not crowd.gone


@pytest.mark.load
@pytest.mark.timeout(120)
def test_the_silent_ones_of_five_thousand_are_sent_away() -> None:
    with crowded("--idle", 8) as (_, crowd):
        talkers = crowd.sockets[::500]
        silent = set(crowd.sockets) - set(talkers)

        told = 0.0

        def has_emptied() -> bool:
            nonlocal told
            if time.monotonic() > told + 1:  # what waits to be sent to a guest would put off its deadline
                told = time.monotonic()
                for talker in talkers:
                    talker.sendall(b"me\n")
                crowd.forget()
            return crowd.gone >= silent

        crowd.read_until(has_emptied)
        assert crowd.gone == silent


@pytest.mark.load
@pytest.mark.timeout(180)
def test_those_who_do_not_read_are_sent_away_while_thousands_are_served() -> None:
    with crowded(count=GUESTS - 10) as (server, crowd):
        before = server.descriptors()
        sleepers = []
        for _ in range(10):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # else the kernel holds megabytes for it
            sock.settimeout(PATIENCE)
            sock.connect(server.address)
            sock.recv(100)
            sleepers.append(sock)
        assert server.descriptors() == before + len(sleepers)
        talker = crowd.sockets[0]
        lines = (name_of(talker) + b": " + LINE) * 20
        for _ in range(500):
            talker.sendall(LINE * 20)
            crowd.hear(lines, {talker})
            if server.descriptors() == before:
                break
        assert server.descriptors() == before
        assert not crowd.gone
        for sock in sleepers:
            sock.close()
