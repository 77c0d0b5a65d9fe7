# SPDX-License-Identifier: MIT
"""Faults around one channel that a review found, one test each, with every backend."""

from __future__ import annotations

import errno
import gc
import os
import socket
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from cyncore import BACKENDS, Loop, dispatcher
from tests.support.peers import Peers, Recorder, poll_until


@pytest.fixture(params=BACKENDS)
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    with Loop(backend=request.param) as made:
        yield made


class Wrapped:
    """A socket with bytes of its own, as TLS has; hands them out one by one."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def recv(self, size: int) -> bytes:
        if not self.held:
            self.held = self.sock.recv(100)
        first, self.held = self.held[:1], self.held[1:]
        return first

    def pending(self) -> int:
        return len(self.held)


class Listed(Wrapped):
    """A socket whose ``pending`` is something else altogether."""

    pending: Any = ()

    def recv(self, size: int) -> bytes:
        return self.sock.recv(size)


class Listener(Recorder):
    """Keeps what it accepted."""

    def __init__(self, map: Any) -> None:
        super().__init__(None, map)
        self.accepted: list[socket.socket] = []
        self.create_socket()
        self.bind(("127.0.0.1", 0))
        self.listen(50)

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        self.accepted.append(sock)


def dialled(peers: Peers, listener: Listener, count: int) -> Listener:
    """The listener, with that many connections waiting."""
    peers.keep(*(socket.create_connection(listener.socket.getsockname()) for _ in range(count)))
    return listener


def done_with(listener: Listener) -> None:
    listener.close()
    for sock in listener.accepted:
        sock.close()


# From one loop to the next


def test_a_listener_that_backed_off_is_served_by_the_next_loop(loop: Loop, peers: Peers) -> None:
    class Full(socket.socket):
        full = True

        def accept(self) -> tuple[socket.socket, Any]:
            if self.full:
                raise OSError(errno.EMFILE, "full")
            return super().accept()

    class Late(Listener):
        def __init__(self, map: Any) -> None:
            Recorder.__init__(self, None, map)
            self.accepted = []
            self.set_socket(sock)
            self.accepting = True

    sock = Full()
    sock.bind(("127.0.0.1", 0))
    sock.listen(5)
    listener = dialled(peers, Late(loop.map), 1)
    loop.poll(5)
    assert listener.accepted == []
    sock.full = False
    loop.close()
    with Loop(loop.map, backend=loop.backend) as after:
        poll_until(after, lambda: listener.accepted, 150)
    done_with(listener)
    assert listener.seen == []


def test_bytes_that_a_socket_holds_are_served_by_the_next_loop(loop: Loop, peers: Peers) -> None:
    ours, far = peers.pair()
    channel = Recorder(Wrapped(ours), loop.map)
    far.send(b"abc")
    loop.poll(5)
    loop.close()
    with Loop(loop.map, backend=loop.backend) as after:
        poll_until(after, lambda: channel.got == b"abc", 20)
    assert channel.seen == ["read"] * 3


# Listeners


def test_pausing_in_handle_accepted_ends_the_burst(loop: Loop, peers: Peers) -> None:
    class Two(Listener):
        def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
            super().handle_accepted(sock, addr)
            if len(self.accepted) == 2:
                self.pause_reading()

    listener = dialled(peers, Two(loop.map), 10)
    for _ in range(5):
        loop.poll(0.02)
    count = len(listener.accepted)
    done_with(listener)
    assert count == 2


def test_a_listener_that_defines_readable_is_asked_after_every_connection(loop: Loop, peers: Peers) -> None:
    class AtMostTwo(Listener):
        def readable(self) -> bool:
            return len(self.accepted) < 2

        def writable(self) -> bool:
            return False

    listener = dialled(peers, AtMostTwo(loop.map), 10)
    for _ in range(5):
        loop.poll(0.02)
    count = len(listener.accepted)
    done_with(listener)
    assert count == 2


# Handlers, and where they come from


def test_the_error_of_a_property_of_the_class_is_the_channel_s_own(loop: Loop, peers: Peers) -> None:
    class Failing(Recorder):
        broken = False
        connecting = True

        @property
        def connected(self) -> bool:
            if self.broken:
                raise LookupError
            return True

        @connected.setter
        def connected(self, value: bool) -> None: ...

        def handle_error(self) -> None:
            self.broken = False
            Recorder.handle_error(self)

    channel, far = peers.channel(Failing, loop.map)
    sound, other = peers.channel(Recorder, loop.map)
    far.send(b"x")
    poll_until(loop, lambda: channel.got == b"x")
    channel.broken = True
    far.send(b"y")
    other.send(b"z")
    poll_until(loop, lambda: channel.seen[-1] == "error LookupError()" and sound.got == b"z")
    assert list(loop.map.values()) == [sound]


def test_a_refused_datagram_reaches_the_read_handler_and_closes_nothing(loop: Loop) -> None:
    class Datagrams(Recorder):
        def writable(self) -> bool:
            return False

        def handle_connect(self) -> None: ...

        def handle_read(self) -> None:
            try:
                self.got += self.recv(100)
            except ConnectionRefusedError:
                self.seen.append("refused")

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        address = server.getsockname()
    channel = Datagrams(map=loop.map)
    channel.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.connect(address)
    channel.send(b"x")
    poll_until(loop, lambda: channel.seen, 100)
    for _ in range(3):
        loop.poll(0.02)
    left = list(loop.map.values())
    channel.close()
    assert channel.seen == ["refused"]
    assert left == [channel]


def test_another_class_brings_its_handlers(loop: Loop, peers: Peers) -> None:
    class First(Recorder):
        def handle_read(self) -> None:
            self.seen.append(f"first {self.recv(1)!r}")
            self.__class__ = Second  # type: ignore[assignment]

    class Second(Recorder):
        def handle_read(self) -> None:
            self.seen.append(f"second {self.recv(1)!r}")

    channel, far = peers.channel(First, loop.map)
    far.send(b"xyz")
    poll_until(loop, lambda: len(channel.seen) == 3)
    assert channel.seen == ["first b'x'", "second b'y'", "second b'z'"]


def test_another_class_that_handles_writing_is_told_of_room(loop: Loop, peers: Peers) -> None:
    class Plain(Recorder): ...

    class Writer(Recorder):
        def handle_write(self) -> None:
            self.seen.append("write")

    channel, _ = peers.channel(Plain, loop.map)
    loop.poll()
    channel.__class__ = Writer
    poll_until(loop, lambda: "write" in channel.seen, 100)


def test_pending_that_cannot_be_called_is_passed_over(loop: Loop, peers: Peers) -> None:
    ours, far = peers.pair()
    channel = Recorder(Listed(ours), loop.map)
    for data in (b"x", b"y"):
        far.send(data)
        poll_until(loop, lambda data=data: channel.got.endswith(data), 100)
    assert channel.seen == ["read", "read"]


# Attributes, descriptors and threads


def test_a_name_that_is_a_kind_of_str_can_be_set(peers: Peers) -> None:
    class Name(str):
        __slots__ = ()

    channel, _ = peers.channel(Recorder, {})
    setattr(channel, Name("addition"), 1)
    assert channel.addition == 1
    channel.close()


def test_a_descriptor_that_is_not_open_is_refused(loop: Loop, peers: Peers) -> None:
    ours, _ = peers.pair()
    channel = Recorder(map=loop.map)
    channel._fileno = os.dup(ours.fileno())
    os.close(channel._fileno)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)) as caught:
        channel.add_channel()
    assert caught.value.errno == errno.EBADF
    assert not loop.map
    loop.poll()


@pytest.mark.parametrize("name", ["pause_reading", "resume_reading"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_debug_mode_refuses_to_pause_from_another_thread(backend: str, name: str, peers: Peers) -> None:
    raised: list[BaseException | None] = []

    def meddle() -> None:
        try:
            getattr(channel, name)()
        except BaseException as error:
            raised.append(error)
        else:
            raised.append(None)

    def call() -> None:  # in the loop's thread, which so runs the loop until the other has tried
        helper = threading.Thread(target=meddle)
        helper.start()
        helper.join(5)

    with Loop(backend=backend, debug=True) as loop:
        channel, far = peers.channel(Recorder, loop.map)
        loop.call_soon(call)
        loop.poll()
        assert [type(error) for error in raised] == [RuntimeError]
        getattr(channel, name)()  # nobody runs it now
        channel.resume_reading()
        far.send(b"x")
        poll_until(loop, lambda: channel.got == b"x", 100)


@pytest.mark.parametrize("backend", BACKENDS)
def test_debug_mode_lets_another_thread_close(backend: str, peers: Peers) -> None:
    with Loop(backend=backend, debug=True) as loop:
        channel, _ = peers.channel(Recorder, loop.map)
        helper = threading.Thread(target=channel.close)
        loop.call_soon(helper.start)
        loop.call_soon(helper.join, 5)
        loop.poll()
        poll_until(loop, lambda: not loop.map, 100)
    assert channel.seen == []


def test_closed_channels_go_where_somebody_else_polls_the_map(loop: Loop, peers: Peers) -> None:
    class Asked(dispatcher):
        def readable(self) -> bool:
            return True

    stays, _ = peers.channel(Asked, loop.map)
    gone = []
    for _ in range(100):
        channel, _ = peers.channel(Asked, loop.map)
        gone.append(weakref.ref(channel))
        channel.close()
        del channel
    gc.collect()
    assert [reference() for reference in gone] == [None] * 100
    stays.close()
