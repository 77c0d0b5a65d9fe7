# SPDX-License-Identifier: MIT
"""A loop that another one hosts: its descriptor is readable whenever ``poll(0)`` has something to do, and only then."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
from typing import Any

import pytest

from cyncore import Loop, dispatcher, dispatcher_with_send
from tests.support.peers import Peers, Recorder


class Asked(Recorder):
    """Writes what is in its buffer, and says by a predicate when that is not empty."""

    buffer = b""

    def writable(self) -> bool:
        return bool(self.buffer)

    def handle_write(self) -> None:
        self.buffer = self.buffer[self.send(self.buffer) :]


def descriptor_of(loop: Loop) -> int:
    """Its descriptor; skips where the documentation says that there is none."""
    if loop.backend not in ("python", "poll", "select"):
        return loop.fileno()
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        loop.fileno()
    assert caught.value.errno in (errno.ENOTSUP, errno.EOPNOTSUPP)
    pytest.skip(f"the {loop.backend} backend has no descriptor")


def rings(fd: int, seconds: float = 0.0) -> bool:
    return bool(select.select([fd], [], [], seconds)[0])


def serve(loop: Loop, fd: int) -> int:
    """What a host does, until there is nothing more to do. Returns how often that was."""
    rounds = 0
    while rings(fd):
        loop.poll(0)
        rounds += 1
        assert rounds < 10, "the descriptor stays readable although there is nothing to do"
    return rounds


def test_it_is_silent_where_there_is_nothing_to_do(loop: Loop, peers: Peers) -> None:
    peers.channel(Asked, loop.map)
    fd = descriptor_of(loop)
    serve(loop, fd)
    assert not rings(fd)


def test_it_rings_for_a_timer(loop: Loop) -> None:
    fd = descriptor_of(loop)
    called: list[str] = []
    loop.call_later(0.02, called.append, "timer")
    assert not called
    assert rings(fd, 5)
    while not called:  # the kernel's clock may be a little ahead of the one that is read
        assert rings(fd, 5)
        loop.poll(0)
    assert serve(loop, fd) <= 1


def test_it_rings_for_a_timer_that_comes_before_another(loop: Loop) -> None:
    fd = descriptor_of(loop)
    called: list[str] = []
    loop.call_later(60, called.append, "late")
    loop.call_later(0.02, called.append, "early")
    while not called:
        assert rings(fd, 5)
        loop.poll(0)
    assert called == ["early"]
    assert serve(loop, fd) <= 1
    assert not rings(fd)


def test_it_rings_for_the_timer_that_a_handler_has_set(loop: Loop) -> None:
    fd = descriptor_of(loop)
    called: list[str] = []
    loop.call_soon(lambda: loop.call_later(0.02, called.append, "timer"))
    while not called:
        assert rings(fd, 5)
        loop.poll(0)


def test_a_timer_that_was_taken_back_rings_once_at_the_most(loop: Loop) -> None:
    fd = descriptor_of(loop)
    loop.call_later(0.02, print, "never").cancel()
    if rings(fd, 0.1):
        loop.poll(0)
    assert not rings(fd, 0.1)


def test_it_rings_for_a_queued_call(loop: Loop) -> None:
    fd = descriptor_of(loop)
    called: list[str] = []
    loop.call_soon(called.append, "call")
    assert rings(fd)
    serve(loop, fd)
    assert called == ["call"]


def test_it_rings_for_a_call_that_a_call_has_queued(loop: Loop) -> None:
    fd = descriptor_of(loop)
    called: list[str] = []
    loop.call_soon(lambda: loop.call_soon(called.append, "call"))
    serve(loop, fd)
    assert called == ["call"]


def test_it_rings_for_a_channel_that_was_added_outside(loop: Loop, peers: Peers) -> None:
    fd = descriptor_of(loop)
    channel, peer = peers.channel(Recorder, loop.map)
    peer.send(b"x")
    serve(loop, fd)
    assert channel.got == b"x"


def test_it_rings_where_reading_is_resumed_outside(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    fd = descriptor_of(loop)
    channel.pause_reading()
    peer.send(b"x")
    serve(loop, fd)
    assert channel.got == b""
    channel.resume_reading()
    serve(loop, fd)
    assert channel.got == b"x"


def test_it_rings_for_an_attribute_that_a_predicate_looks_at(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Asked, loop.map)
    fd = descriptor_of(loop)
    serve(loop, fd)
    channel.buffer = b"x"
    serve(loop, fd)
    assert peer.recv(10) == b"x"


def test_it_rings_for_output_that_waits_for_room(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(dispatcher_with_send, loop.map)
    fd = descriptor_of(loop)
    size = 4_000_000
    channel.send(b"x" * size)
    peer.setblocking(False)
    got = 0
    while got < size:
        try:
            got += len(peer.recv(1_000_000))
        except BlockingIOError:
            assert rings(fd, 5)
            loop.poll(0)
    serve(loop, fd)
    assert not rings(fd)


def test_a_predicate_that_touches_others_does_not_make_it_ring_for_ever(loop: Loop, peers: Peers) -> None:
    class Meddler(Asked):
        other: Any = None

        def readable(self) -> bool:
            if self.other is not None:
                self.other.looked = True
            return True

    one, _ = peers.channel(Meddler, loop.map)
    two, _ = peers.channel(Meddler, loop.map)
    one.other, two.other = two, one
    fd = descriptor_of(loop)
    rounds = 0
    while rings(fd, 0.05) and rounds < 100:
        loop.poll(0)
        rounds += 1
    assert rounds < 20  # the time until the next round doubles


def test_asyncio_hosts_it_in_one_line(loop: Loop, peers: Peers) -> None:
    descriptor_of(loop)

    async def main() -> list[str]:
        host = asyncio.get_running_loop()
        host.add_reader(loop.fileno(), loop.poll, 0)
        done = host.create_future()
        seen: list[str] = []
        channel, peer = peers.channel(Recorder, loop.map)
        peer.send(b"x")
        loop.call_later(0.01, lambda: done.set_result([*seen, channel.got.decode(), "timer"]))
        try:
            return await asyncio.wait_for(done, 5)
        finally:
            host.remove_reader(loop.fileno())

    assert asyncio.run(main()) == ["x", "timer"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_the_child_of_a_fork_rings_for_itself(loop: Loop) -> None:
    fd = descriptor_of(loop)
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        called: list[str] = []
        fd = loop.fileno()
        loop.call_later(0.01, called.append, "timer")
        while not called and rings(fd, 5):
            loop.poll(0)
        theirs.send(b"%d" % len(called))
        os._exit(0)
    os.waitpid(pid, 0)
    assert ours.recv(10) == b"1"
    assert not rings(fd)
    ours.close()
    theirs.close()


def test_a_handler_may_be_a_plain_dispatcher(loop: Loop, peers: Peers) -> None:
    class Echo(dispatcher):
        def handle_read(self) -> None:
            self.send(self.recv(100))

    fd = descriptor_of(loop)
    _, peer = peers.channel(Echo, loop.map)
    peer.send(b"x")
    serve(loop, fd)
    assert peer.recv(10) == b"x"


def test_it_rings_for_an_answer_that_a_handler_has_changed_inside_an_attribute(loop: Loop, peers: Peers) -> None:
    class Writer(Recorder):
        def __init__(self, sock: Any, map: Any) -> None:
            self.queue: list[bytes] = []
            super().__init__(sock, map)

        def writable(self) -> bool:
            return bool(self.queue)

        def handle_write(self) -> None:
            self.send(self.queue.pop(0))

    class Reader(Recorder):
        def handle_read(self) -> None:
            writer.queue.append(self.recv(10))

    writer, far = peers.channel(Writer, loop.map)
    _, near = peers.channel(Reader, loop.map)
    for _ in range(20):
        peers.channel(Asked, loop.map)
    fd = descriptor_of(loop)
    serve(loop, fd)
    near.send(b"x")
    serve(loop, fd)
    far.setblocking(False)
    assert far.recv(10) == b"x"
    assert not rings(fd)
