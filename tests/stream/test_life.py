# SPDX-License-Identifier: MIT
"""Streams before they have a loop or a connection, after both, and in the loops of others."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import sys
import threading
import weakref
from typing import Any

import pytest

from cyncore import ExitNow, LimitExceeded, Lines, Loop, Stream
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, connected, receive


class Bare(Stream):
    """Does not call the __init__ of its base."""

    def __init__(self) -> None:
        self.got = b""

    def handle_data(self, data: bytes) -> None:
        self.got += data
        self.write(data)


def listening(loop: Loop, kind: Any) -> tuple[list[Any], socket.socket]:
    """The streams of a server that has closed behind its first connection, and the other end of that."""
    made: list[Any] = []

    def make() -> Any:
        made.append(kind())
        return made[-1]

    server = loop.listen(("127.0.0.1", 0), make)
    theirs = socket.create_connection(server.address, 5)
    poll_until(loop, lambda: bool(made))
    server.close()
    return made, theirs


@every_backend
def test_a_class_need_not_call_the_init_of_stream(loop: Loop) -> None:
    made, theirs = listening(loop, Bare)
    with theirs:
        theirs.sendall(b"hello")
        assert receive(loop, theirs, 5) == b"hello"
        assert made[0].got == b"hello"
        assert made[0].output_size == 0
    poll_until(loop, lambda: not loop.map)


@every_backend
def test_a_stream_whose_descriptor_was_closed_behind_its_back_is_told_its_end(loop: Loop) -> None:
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = loop.listen(("127.0.0.1", 0), make)
    with socket.create_connection(server.address, 5):
        poll_until(loop, lambda: bool(made))
        os.close(made[0].socket.fileno())
        poll_until(loop, lambda: made[0].closing and not server.connections)
        server.close()
        poll_until(loop, lambda: made[0].is_over)
    assert made[0].seen[-1].errno == errno.EBADF


def test_a_stream_without_a_loop_does_nothing(loop: Loop) -> None:
    stream = Recorder()
    assert stream.loop is None
    assert not stream.connected
    assert not stream.closing
    assert stream.unread == b""
    stream.write(b"early")
    assert stream.output_size == 5
    stream.pause_reading()
    stream.resume_reading()
    stream.abort()
    assert stream.closing
    assert stream.output_size == 0
    loop.poll(0)
    assert stream.seen == []  # no loop, no handler


def test_what_a_factory_writes_is_the_first_output(loop: Loop) -> None:
    class Greeting(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.write(b"one ")

        def handle_connect(self) -> None:
            super().handle_connect()
            self.write(b"two")

    made, theirs = listening(loop, Greeting)
    with theirs:
        assert receive(loop, theirs, 7) == b"one two"
    poll_until(loop, lambda: made[0].is_over)


def test_a_stream_that_was_paused_early_reads_nothing(loop: Loop) -> None:
    class Paused(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.pause_reading()

    made, theirs = listening(loop, Paused)
    with theirs:
        theirs.sendall(b"hello")
        poll_until(loop, lambda: made[0].connected)
        for _ in range(3):
            loop.poll(0.01)
        assert made[0].got == b""
        made[0].resume_reading()
        poll_until(loop, lambda: made[0].got == b"hello")
    poll_until(loop, lambda: made[0].is_over)


def test_a_stream_that_is_closed_while_it_connects_sends_what_was_written(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = loop.connect(listener.getsockname(), Recorder)
        stream.write(b"good bye")
        stream.close()
        stream.write(b"dropped")
        assert stream.closing
        poll_until(loop, lambda: stream.is_over)
        theirs, _ = listener.accept()
        with theirs:
            assert theirs.recv(100) == b"good bye"
            assert theirs.recv(100) == b""
    assert stream.seen == ["close"]


def test_a_stream_that_is_closed_while_it_connects_with_nothing_to_send_ends_at_once(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = loop.connect(listener.getsockname(), Recorder)
        stream.close()
        assert stream.seen == []
        poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["close"]


def test_a_connect_that_fails_is_told_once(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    stream = loop.connect(address, Recorder)
    stream.write(b"never")
    stream.close()
    poll_until(loop, lambda: stream.is_over)
    for _ in range(3):
        loop.poll(0)
    assert len(stream.seen) == 1
    assert isinstance(stream.seen[0], ConnectionRefusedError)
    assert stream.output_size == 0


def test_the_output_of_a_stream_that_connects_has_its_limit(loop: Loop) -> None:
    class Limited(Recorder):
        max_output = 10

    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = loop.connect(listener.getsockname(), Limited)
        stream.write(bytes(11))
        assert stream.output_size == 0
        poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], LimitExceeded)


def test_a_thread_may_write_while_the_stream_connects(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = loop.connect(listener.getsockname(), Recorder)
        pieces = [b"%d;" % number for number in range(200)]

        def write() -> None:
            for piece in pieces:
                stream.write(piece)

        thread = threading.Thread(target=write)
        thread.start()
        poll_until(loop, lambda: stream.connected)
        thread.join()
        theirs, _ = listener.accept()
        with theirs:
            whole = b"".join(pieces)
            assert receive(loop, theirs, len(whole)) == whole
        poll_until(loop, lambda: stream.is_over)


def test_a_stream_may_be_closed_when_its_loop_is(peers: Peers) -> None:
    loop = Loop()
    first, first_peer = connected(peers, loop)
    second, second_peer = connected(peers, loop)
    loop.close()
    first.write(b"dropped")
    first.close()
    second.abort()
    assert first_peer.recv(100) == second_peer.recv(100) == b""
    assert first.closing
    assert first.seen == second.seen == ["connect"]


@every_backend
def test_what_is_written_where_no_loop_runs_leaves_at_once(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    stream.write(b"now")
    assert theirs.recv(100) == b"now"
    stream.abort()


def test_a_stream_lives_in_the_loop_of_a_host(peers: Peers) -> None:
    async def talk() -> bytes:
        reader, writer = await asyncio.open_connection(sock=theirs)
        writer.write(b"one\ntwo\n")
        got = await reader.readexactly(10)
        writer.close()
        await writer.wait_closed()
        while not stream.is_over:
            await asyncio.sleep(0)
        return got

    class Answering(Recorder):
        framing = Lines()

        def handle_frame(self, frame: bytes) -> None:
            super().handle_frame(frame)
            self.write(b"<" + frame + b">")

    with Loop() as loop:
        if loop.backend not in ("epoll", "kqueue"):
            pytest.skip(f"{loop.backend} has no descriptor that a host could watch")
        ours, theirs = peers.pair()
        theirs.setblocking(False)
        stream = Answering(ours, loop=loop)

        async def host() -> bytes:
            asyncio.get_running_loop().add_reader(loop.fileno(), loop.poll, 0)
            return await asyncio.wait_for(talk(), 5)

        assert asyncio.run(host()) == b"<one><two>"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_output_leaves_once_although_a_handler_forks(loop: Loop, peers: Peers) -> None:
    class Forking(Recorder):
        def handle_data(self, data: bytes) -> None:
            super().handle_data(data)
            self.write(b"once")
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)

    stream, theirs = connected(peers, loop, Forking)
    theirs.sendall(b"x")
    poll_until(loop, lambda: bool(stream.got))
    stream.close()
    assert receive(loop, theirs, 100) == b"once"
    poll_until(loop, lambda: stream.is_over)


class Everything(Stream):
    """Uses what could keep a stream alive."""

    framing = Lines()
    idle_deadline = 60.0
    high_water = 10
    low_water = 1

    def handle_frame(self, frame: bytes) -> None:
        self.write(frame * 100_000)


@pytest.mark.parametrize("end", ["peer", "close", "abort", "error", "lost"])
def test_no_cycle_keeps_a_stream_after_its_end(loop: Loop, peers: Peers, end: str) -> None:
    stream, theirs = connected(peers, loop, Everything)
    reference = weakref.ref(stream)
    theirs.sendall(b"frame\nrest")
    poll_until(loop, lambda: stream.output_size or stream.unread)
    gc.collect()
    gc.disable()
    try:
        if end == "peer":
            theirs.shutdown(socket.SHUT_WR)
            receive(loop, theirs, 600_000)
        elif end == "lost":
            theirs.close()
        elif end == "error":
            stream._end(LookupError("wrong"))
        else:
            getattr(stream, end)()
            receive(loop, theirs, 600_000)
        poll_until(loop, lambda: not loop.map)
        loop.poll(0)
        stream = None
        if sys.implementation.name != "cpython":  # where all that is over waits for the collector
            gc.collect()
        assert reference() is None
    finally:
        gc.enable()


def test_exit_of_handle_error_leaves_the_loop(loop: Loop, peers: Peers) -> None:
    class Leaves(Recorder):
        def handle_data(self, data: bytes) -> None:
            raise ValueError

        def handle_error(self, error: BaseException) -> None:
            raise ExitNow

    stream, theirs = connected(peers, loop, Leaves)
    theirs.send(b"x")
    with pytest.raises(ExitNow):
        loop.poll(5)
    stream.abort()
    loop.poll(0)
