# SPDX-License-Identifier: MIT
"""dispatcher_with_send: nothing it was given is lost, and it is asked nothing."""

from __future__ import annotations

import socket
import tracemalloc
from typing import Any

import pytest

from cyncore import Loop, asyncore
from support import Peers, poll_until


class Sender(asyncore.dispatcher_with_send):
    def handle_close(self) -> None:
        self.close()

    def handle_read(self) -> None:
        self.recv(100)


def drain(loop: Loop, far: socket.socket, size: int) -> bytes:
    """Reads that many bytes while the loop sends them."""
    far.setblocking(False)
    got = bytearray()

    def more() -> bool:
        try:
            while len(got) < size:
                got.extend(far.recv(1 << 20))
        except BlockingIOError:
            pass
        return len(got) >= size

    poll_until(loop, more, 10000)
    return bytes(got)


def test_small_message_leaves_at_once(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Sender, loop.map)
    channel.send(b"data")
    assert (far.recv(10), channel.out_buffer) == (b"data", b"")
    channel.close()


def test_everything_arrives_in_order(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Sender, loop.map)
    sent = b"".join(b"%06d" % number for number in range(200_000))
    for start in range(0, len(sent), 100_000):
        channel.send(sent[start : start + 100_000])
    assert channel.out_buffer
    assert drain(loop, far, len(sent)) == sent
    assert channel.out_buffer == b""
    channel.close()


def test_what_waits_is_moved_a_bounded_number_of_times(loop: Loop, peers: Peers) -> None:
    """The old one copied the whole rest at every send. Counted in bytes allocated, not in seconds."""
    channel, far = peers.channel(Sender, loop.map)
    channel.send(bytes(16 << 20))
    tracemalloc.start()
    try:
        for _ in range(20):
            far.recv(1 << 20)
            loop.poll()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20  # one copy of the rest alone would be more
    channel.close()


def test_idle_sender_gets_no_write_events(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Sender, loop.map)
    assert sum(loop.poll() for _ in range(5)) == 0
    channel.send(b"data")
    assert sum(loop.poll() for _ in range(5)) == 0
    channel.close()


def test_sent_before_the_connection_stands_arrives(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = Sender(None, loop.map)
        channel.handle_connect = lambda: None
        channel.create_socket()
        channel.connect(server.getsockname())
        channel.send(b"early")
        far, _ = server.accept()
        assert drain(loop, far, 5) == b"early"
        far.close()
        channel.close()


def test_buffer_assigned_leaves(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Sender, loop.map)
    channel.out_buffer = b"assigned"
    assert drain(loop, far, 8) == b"assigned"
    channel.close()


def test_buffer_extended_in_place_leaves(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Sender, loop.map)
    channel.out_buffer += b"one"
    channel.out_buffer += b"two"
    assert drain(loop, far, 6) == b"onetwo"
    channel.close()


def test_buffer_emptied_is_not_sent(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Sender, loop.map)
    channel.out_buffer = b"never"
    channel.out_buffer = b""
    assert sum(loop.poll() for _ in range(5)) == 0
    channel.close()
    assert far.recv(10) == b""


def test_writable_says_whether_something_waits(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Sender, loop.map)
    assert not channel.writable()
    channel.out_buffer = b"x"
    assert channel.writable()
    assert Sender(None, loop.map).writable()  # as before: not connected yet
    channel.close()


def test_own_writable_is_asked(loop: Loop, peers: Peers) -> None:
    class Gated(Sender):
        opened = False

        def writable(self) -> Any:
            return self.opened and super().writable()

    channel, far = peers.channel(Gated, loop.map)
    channel.out_buffer = b"data"
    assert sum(loop.poll() for _ in range(5)) == 0
    channel.opened = True
    assert drain(loop, far, 4) == b"data"
    channel.close()


def test_own_handle_write_may_call_the_old_one(loop: Loop, peers: Peers) -> None:
    class Own(Sender):
        calls = 0

        def handle_write(self) -> None:
            self.calls += 1
            super().handle_write()

    channel, far = peers.channel(Own, loop.map)
    channel.out_buffer = b"data"
    assert drain(loop, far, 4) == b"data"
    assert channel.calls == 1
    channel.close()


def test_peer_that_is_gone_closes_the_sender(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Sender, loop.map)
    far.close()
    channel.send(b"data")
    assert (loop.map, channel.connected) == ({}, False)


def test_handle_close_may_start_a_new_buffer(loop: Loop, peers: Peers) -> None:
    class Again(Sender):
        def handle_close(self) -> None:
            self.close()
            self.out_buffer = b"for the next connection"

    channel, far = peers.channel(Again, loop.map)
    far.close()
    channel.send(b"lost")
    assert channel.out_buffer == b"for the next connection"


@pytest.mark.parametrize("data", [bytearray(b"data"), memoryview(b"data")])
def test_send_takes_anything_bytes_like(loop: Loop, peers: Peers, data: Any) -> None:
    channel, far = peers.channel(Sender, loop.map)
    channel.send(data)
    assert far.recv(10) == b"data"
    channel.close()


def test_debug_shows_what_is_sent(loop: Loop, peers: Peers, capsys: pytest.CaptureFixture[str]) -> None:
    channel, _ = peers.channel(Sender, loop.map)
    channel.debug = True
    channel.send(b"data")
    assert capsys.readouterr().out == "info: sending b'data'\n"
    channel.close()
