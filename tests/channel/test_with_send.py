# SPDX-License-Identifier: MIT
"""dispatcher_with_send: nothing it was given is lost, and it is asked nothing."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Any

import pytest

from cyncore import Loop, asynchat, asyncore, dispatcher, dispatcher_with_send
from tests.support.peers import Peers, poll_until
from tests.support.script import run_script


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
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy does not trace allocations", exc_type=ImportError)
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


def test_a_buffered_class_gets_write_events_while_output_waits(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(dispatcher_with_send, loop.map)
    assert loop.poll() == 0
    size = 0
    while not channel.out_buffer:
        channel.send(b"x" * 65536)
        size += 65536
    peer.setblocking(False)
    got = 0
    for _ in range(10_000):
        try:
            got += len(peer.recv(65536))
        except BlockingIOError:
            pass
        loop.poll()
        if got == size:
            break
    assert got == size
    assert loop.poll() == 0


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


def test_class_may_derive_from_both_buffered_kinds(loop: Loop, peers: Peers) -> None:
    class Both(asynchat.async_chat, asyncore.dispatcher_with_send):
        pass

    got: list[bytes] = []
    channel, far = peers.channel(Both, loop.map)
    channel.set_terminator(3)
    channel.collect_incoming_data, channel.found_terminator = got.append, lambda: None
    far.sendall(b"abc")
    poll_until(loop, lambda: got == [b"abc"])
    channel.close()


def test_buffer_is_there_in_a_class_that_never_called_init(loop: Loop, peers: Peers) -> None:
    class Own(asyncore.dispatcher_with_send):
        def __init__(self, sock: socket.socket, map: Any) -> None:
            dispatcher.__init__(self, sock, map)

    channel, far = peers.channel(Own, loop.map)
    assert channel.out_buffer == b""
    channel.send(b"data")
    assert far.recv(100) == b"data"
    channel.close()


def test_send_put_into_dispatcher_is_what_sends(loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    def counting(channel: Any, data: bytes) -> int:
        counted.append(bytes(data))
        return original(channel, data)

    counted: list[bytes] = []
    original = dispatcher.send
    channel, far = peers.channel(asyncore.dispatcher_with_send, loop.map)
    channel.send(b"before ")
    monkeypatch.setattr(dispatcher, "send", counting)
    channel.send(b"counted")
    monkeypatch.undo()
    channel.send(b" after")
    assert counted == [b"counted"]
    assert far.recv(100) == b"before counted after"
    channel.close()


def test_buffer_assigned_while_a_send_is_logged_leaves_first(loop: Loop, peers: Peers) -> None:
    class Logged(asyncore.dispatcher_with_send):
        debug = True

        def log_info(self, message: object, type: str = "info") -> None:
            if not self.out_buffer:
                self.out_buffer = b"header "

    channel, far = peers.channel(Logged, loop.map)
    channel.send(b"body")
    assert far.recv(100) == b"header body"
    channel.close()


# What a socket that fails did not take


class Failing(socket.socket):
    """Raises ``failure`` at the next send, once."""

    failure: BaseException | None = None

    def send(self, *arguments: Any) -> int:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        return super().send(*arguments)


FAILURES = [
    OSError(errno.ENOBUFS, "no buffers"),
    OSError(errno.EINTR, "interrupted"),
    OSError(errno.EIO, "failed"),
    ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "wants to write"),
    ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "wants to read"),
    ValueError("failed"),
    KeyboardInterrupt(),
]


def failing(loop: Loop, peers: Peers, kind: type[Sender], failure: BaseException) -> tuple[Any, socket.socket]:
    near, far = peers.pair()
    sock = Failing(fileno=near.detach())
    peers.keep(sock)
    channel = kind(sock, loop.map)
    sock.failure = failure
    return channel, far


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("before", [b"", b"before "])
def test_send_that_fails_raises_and_what_it_was_given_leaves_later(
    loop: Loop, peers: Peers, failure: BaseException, before: bytes
) -> None:
    channel, far = failing(loop, peers, Sender, failure)
    channel.out_buffer = before
    with pytest.raises(type(failure)):
        channel.send(b"data")
    assert channel.out_buffer == before + b"data"
    assert drain(loop, far, len(before) + 4) == before + b"data"
    channel.close()


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.EWOULDBLOCK])
def test_send_to_a_socket_without_room_raises_nothing_and_leaves_later(loop: Loop, peers: Peers, error: int) -> None:
    channel, far = failing(loop, peers, Sender, OSError(error, "no room"))
    channel.send(b"data")
    assert channel.out_buffer == b"data"
    assert drain(loop, far, 4) == b"data"
    channel.close()


def test_message_that_a_plain_socket_refuses_is_kept(loop: Loop) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.connect(receiver.getsockname())
        channel = Sender(sender, loop.map)
        with pytest.raises(OSError, match=os.strerror(errno.EMSGSIZE)):
            channel.send(bytes(70_000))
        assert channel.out_buffer == bytes(70_000)
        channel.close()


def test_handle_close_finds_what_was_not_sent(loop: Loop, peers: Peers) -> None:
    """As one that connects again and goes on does."""

    class Keeping(Sender):
        kept = b""

        def handle_close(self) -> None:
            self.kept = self.out_buffer
            self.close()

    channel, far = peers.channel(Keeping, loop.map)
    far.close()
    channel.send(b"data")
    assert channel.kept == b"data"


def test_own_initiate_send_that_sends_nothing_is_called_again_by_a_write_event(loop: Loop, peers: Peers) -> None:
    class Throttled(Sender):
        turns = 0

        def initiate_send(self) -> None:
            self.turns += 1
            if self.turns > 2:
                super().initiate_send()

    channel, far = peers.channel(Throttled, loop.map)
    channel.send(b"data")
    assert drain(loop, far, 4) == b"data"
    channel.close()


# Without a socket, or with a closed one


@pytest.mark.parametrize("kind", [asyncore.dispatcher, asyncore.dispatcher_with_send])
def test_send_without_a_socket_names_the_channel(loop: Loop, kind: Any) -> None:
    channel = kind(None, loop.map)
    channel.name = "nobody"
    with pytest.raises(AttributeError, match=r"has no send\(\)") as raised:  # as the old module, which named nobody
        channel.send(b"data")
    assert repr(channel) in str(raised.value)


@pytest.mark.parametrize("kind", [asyncore.dispatcher, asyncore.dispatcher_with_send])
def test_send_on_a_closed_channel_calls_handle_close_and_raises_nothing(loop: Loop, peers: Peers, kind: Any) -> None:
    """As before: the program is told what it should have known."""

    class Closed(kind):  # type: ignore[misc, valid-type]
        closed = 0

        def handle_close(self) -> None:
            self.closed += 1

    channel, _ = peers.channel(Closed, loop.map)
    channel.close()
    assert not channel.send(b"data")
    assert channel.closed == 1


# Whose `send` it calls: that of `dispatcher`, whatever else a program has made of that class

SENDS = """
near, far = socket.socketpair()
channel = asyncore.dispatcher_with_send(near, {})
channel.send(b"data")
far.settimeout(0.2)
try:
    print(far.recv(9).decode())
except TimeoutError:
    print("nothing")
channel.close()
far.close()
"""
COPIES = """
left_out = ("__dict__", "__weakref__")
members = {name: value for name, value in vars(asyncore.dispatcher).items() if name not in left_out}
members["send"] = lambda self, data: len(data)
near, far = socket.socketpair()
type("Copy", asyncore.dispatcher.__bases__, members)(near, {}).close()
far.close()
"""
REPLACES = "asyncore.dispatcher.send = lambda self, data: len(data)\n"


def printed_by(*parts: str) -> list[str]:
    return run_script("import socket\nfrom cyncore import asyncore\n" + "".join(parts)).split()


def test_class_made_from_a_copy_of_dispatcher_is_not_taken_for_it() -> None:
    assert printed_by(COPIES, SENDS) == ["data"]


def test_send_that_a_program_has_put_into_dispatcher_is_called_from_the_first_time_on() -> None:
    assert printed_by(REPLACES, SENDS) == ["nothing"]


def test_send_put_into_dispatcher_later_is_called() -> None:
    assert printed_by(SENDS, REPLACES, SENDS) == ["data", "nothing"]


def test_class_made_from_a_copy_does_not_hide_a_send_put_into_dispatcher_later() -> None:
    assert printed_by(COPIES, REPLACES, SENDS) == ["nothing"]
