# SPDX-License-Identifier: MIT
"""A loop that another one hosts: its descriptor is readable whenever ``poll(0)`` has something to do, and only then."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import threading
from typing import Any

import pytest

import cyncore
from cyncore import Loop, dispatcher, dispatcher_with_send
from tests.support.loops import every_backend
from tests.support.peers import Peers, Recorder

pytestmark = every_backend


class Asked(Recorder):
    """Writes what is in its buffer, and says by a predicate when that is not empty."""

    buffer = b""

    def writable(self) -> bool:
        return bool(self.buffer)

    def handle_write(self) -> None:
        self.buffer = self.buffer[self.send(self.buffer) :]


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
    fd = loop.fileno()
    serve(loop, fd)
    assert not rings(fd)


def test_it_rings_for_a_timer(loop: Loop) -> None:
    fd = loop.fileno()
    called: list[str] = []
    loop.call_later(0.02, called.append, "timer")
    assert not called
    assert rings(fd, 5)
    while not called:  # the kernel's clock may be a little ahead of the one that is read
        assert rings(fd, 5)
        loop.poll(0)
    assert serve(loop, fd) <= 1


def test_it_rings_for_a_timer_that_comes_before_another(loop: Loop) -> None:
    fd = loop.fileno()
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
    fd = loop.fileno()
    called: list[str] = []
    loop.call_soon(lambda: loop.call_later(0.02, called.append, "timer"))
    while not called:
        assert rings(fd, 5)
        loop.poll(0)


def test_a_timer_that_was_taken_back_rings_once_at_the_most(loop: Loop) -> None:
    fd = loop.fileno()
    loop.call_later(0.02, print, "never").cancel()
    if rings(fd, 0.1):
        loop.poll(0)
    assert not rings(fd, 0.1)


def test_it_rings_for_a_queued_call(loop: Loop) -> None:
    fd = loop.fileno()
    called: list[str] = []
    loop.call_soon(called.append, "call")
    assert rings(fd)
    serve(loop, fd)
    assert called == ["call"]


def test_it_rings_for_a_call_that_a_call_has_queued(loop: Loop) -> None:
    fd = loop.fileno()
    called: list[str] = []
    loop.call_soon(lambda: loop.call_soon(called.append, "call"))
    serve(loop, fd)
    assert called == ["call"]


def test_it_rings_for_a_channel_that_was_added_outside(loop: Loop, peers: Peers) -> None:
    fd = loop.fileno()
    channel, peer = peers.channel(Recorder, loop.map)
    peer.send(b"x")
    serve(loop, fd)
    assert channel.got == b"x"


def test_it_rings_where_reading_is_resumed_outside(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    fd = loop.fileno()
    channel.pause_reading()
    peer.send(b"x")
    serve(loop, fd)
    assert channel.got == b""
    channel.resume_reading()
    serve(loop, fd)
    assert channel.got == b"x"


def test_it_rings_for_an_attribute_that_a_predicate_looks_at(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Asked, loop.map)
    fd = loop.fileno()
    serve(loop, fd)
    channel.buffer = b"x"
    serve(loop, fd)
    assert peer.recv(10) == b"x"


def test_it_rings_for_output_that_waits_for_room(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(dispatcher_with_send, loop.map)
    fd = loop.fileno()
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
    fd = loop.fileno()
    rounds = 0
    while rings(fd, 0.05) and rounds < 100:
        loop.poll(0)
        rounds += 1
    assert rounds < 20  # the time until the next round doubles


def test_asyncio_hosts_it_in_one_line(loop: Loop, peers: Peers) -> None:
    async def main() -> list[str]:
        host = asyncio.get_running_loop()
        host.add_reader(loop.fileno(), loop.poll, 0)
        done = host.create_future()
        channel, peer = peers.channel(Recorder, loop.map)
        peer.send(b"x")

        def due() -> None:
            if channel.got:
                done.set_result([channel.got.decode(), "timer"])
            else:  # a busy machine: the timer was due before the event was seen
                loop.call_later(0.01, due)

        loop.call_later(0.01, due)
        try:
            return await asyncio.wait_for(done, 5)
        finally:
            host.remove_reader(loop.fileno())

    assert asyncio.run(main()) == ["x", "timer"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_the_child_of_a_fork_rings_for_itself(loop: Loop) -> None:
    fd = loop.fileno()
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_the_parent_of_a_fork_rings_as_before(loop: Loop) -> None:
    fd = loop.fileno()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    loop.call_soon(list)
    assert rings(fd, 5)
    loop.poll(0)
    assert not rings(fd)


def test_a_handler_may_be_a_plain_dispatcher(loop: Loop, peers: Peers) -> None:
    class Echo(dispatcher):
        def handle_read(self) -> None:
            self.send(self.recv(100))

    fd = loop.fileno()
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
    fd = loop.fileno()
    serve(loop, fd)
    near.send(b"x")
    serve(loop, fd)
    far.setblocking(False)
    assert far.recv(10) == b"x"
    assert not rings(fd)


# Without timers, for a host that looks at `next_deadline`


def test_without_timers_it_rings_for_a_new_deadline_only(loop: Loop) -> None:
    fd = loop.fileno(timers=False)
    called: list[str] = []
    loop.call_later(0.02, called.append, "timer")
    serve(loop, fd)
    due = loop.next_deadline()
    assert due is not None
    loop.call_later(60, print)
    assert not rings(fd, 0.04)
    assert loop.next_deadline() == due
    loop.poll(0)
    assert called == ["timer"]


def test_the_next_deadline_is_now_where_a_call_is_queued(loop: Loop) -> None:
    loop.fileno(timers=False)
    assert loop.next_deadline() is None
    loop.call_soon(print)
    due = loop.next_deadline()
    assert due is not None
    assert due <= loop.time()


def test_timers_may_be_wanted_later(loop: Loop) -> None:
    loop.fileno(timers=False)
    loop.call_later(0.02, print)
    serve(loop, loop.fileno(timers=False))
    fd = loop.fileno()
    assert rings(fd, 5)


# Backends without a descriptor


def test_poll_and_select_go_on_with_epoll_or_kqueue(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    loop.poll(0)
    before = loop.backend
    loop.fileno()
    assert loop.backend in (("python", "epoll") if before == "python" else ("epoll", "kqueue"))
    peer.send(b"x")
    loop.poll(1)
    assert channel.got == b"x"


def test_another_thread_that_runs_it_is_an_error_where_the_backend_changes(loop: Loop) -> None:
    if loop.backend in ("epoll", "kqueue"):
        assert loop.fileno() >= 0
        return
    runs = threading.Event()
    loop.call_soon(runs.set)
    thread = threading.Thread(target=loop.run, kwargs={"forever": True})
    thread.start()
    runs.wait()
    try:
        with pytest.raises(RuntimeError, match="cannot be hosted while it runs, in thread"):
            loop.fileno()
    finally:
        loop.stop()
        thread.join()


def test_a_platform_without_epoll_says_so(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    if cyncore.native:
        pytest.skip("the compiled engine has epoll or kqueue where it was compiled with it")
    from cyncore._python import descriptor

    monkeypatch.delattr(descriptor.select, "epoll")
    with pytest.raises(OSError, match=r"cannot be hosted: .* needs select.epoll") as caught:
        loop.fileno()
    assert caught.value.errno in (errno.ENOTSUP, errno.EOPNOTSUPP)
    assert loop.poll(0) == 0


def test_what_a_dead_tick_has_left_rings(loop: Loop, peers: Peers) -> None:
    class Failing(Recorder):
        def handle_read(self) -> None:
            self.recv(10)
            other.resume_reading()
            raise KeyboardInterrupt

    other, to_other = peers.channel(Recorder, loop.map)
    other.pause_reading()
    to_other.send(b"x")
    _, peer = peers.channel(Failing, loop.map)
    fd = loop.fileno()
    peer.send(b"x")
    assert rings(fd, 5)
    with pytest.raises(KeyboardInterrupt):
        loop.poll(0)
    serve(loop, fd)
    assert other.got == b"x"
