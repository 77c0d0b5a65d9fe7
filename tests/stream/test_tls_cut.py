# SPDX-License-Identifier: MIT
"""TLS that stops at every byte, is cut at every byte, or comes byte by byte."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cyncore import Loop, Stream, TLSError, TruncatedError, dispatcher
from tests.support.certificates import Authority
from tests.support.certificates import authority_fixture as authority_fixture
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, tcp_pair
from tests.support.wire import Wire

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
BATCH = 100  # connections at a time: each takes two descriptors


@pytest.fixture
def contexts(authority: Authority) -> Contexts:
    """A server's, and a client's."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority.folder / "good.both")
    return server, ssl.create_default_context(cafile=str(authority.certificate))


class Server(Recorder):
    handshake_deadline: float | None = 20.0


class OldServer(dispatcher):
    """A dispatcher that tells of its ends as a stream does, in `seen`."""

    def __init__(self, sock: Any, *, loop: Loop) -> None:
        self.seen: list[Any] = []
        self.got = b""
        super().__init__(sock, loop.map)

    def start_tls(self, context: ssl.SSLContext, **more: Any) -> None:
        super().start_tls(context, deadline=Server.handshake_deadline, **more)

    def handle_handshake(self) -> None:
        self.seen.append("connect")

    def handle_read(self) -> None:
        self.got += self.recv(65536)

    def writable(self) -> bool:
        return False

    def handle_close(self) -> None:
        self.seen.append("close")
        self.close()

    def handle_error(self) -> None:
        self.seen.append(sys.exc_info()[1])
        self.close()

    @property
    def is_over(self) -> bool:
        return bool(self.seen) and self.seen[-1] != "connect"


KINDS = pytest.mark.parametrize("kind", [Server, OldServer])


def meet(loop: Loop, peers: Peers, contexts: Contexts, kind: Any) -> tuple[Any, Wire]:
    """A channel with TLS on the server's side, and its peer."""
    ours, theirs = tcp_pair(peers)
    channel = kind(ours, loop=loop)
    if isinstance(channel, Stream):
        poll_until(loop, lambda: channel.connected)
        channel.seen.clear()  # type: ignore[attr-defined]
    channel.start_tls(contexts[0], server_side=True)
    return channel, Wire(theirs, contexts[1])


def shake_partly(loop: Loop, wire: Wire, count: int) -> None:
    """The client's side of a handshake, which stops after so many bytes."""
    wire.call(wire.tls.do_handshake)
    first = len(wire.to_send)
    wire.send(min(count, first))
    if count <= first:
        return

    def answered() -> bool:
        wire.take()
        wire.call(wire.tls.do_handshake)
        return bool(wire.to_send)

    poll_until(loop, answered)
    wire.send(count - first)


def length(loop: Loop, peers: Peers, contexts: Contexts) -> int:
    """The bytes that the client's side of a handshake sends."""
    channel, wire = meet(loop, peers, contexts, Server)
    wire.call(wire.tls.do_handshake)
    first = len(wire.to_send)
    wire.send()

    def answered() -> bool:
        wire.take()
        wire.call(wire.tls.do_handshake)
        return bool(wire.to_send)

    poll_until(loop, answered)
    both = first + len(wire.to_send)
    channel.abort()
    poll_until(loop, lambda: channel.is_over)
    return both


def batches(numbers: range) -> Iterator[range]:
    for start in range(0, len(numbers), BATCH):
        yield numbers[start : start + BATCH]


@KINDS
def test_handshake_that_stops_at_every_byte_ends_in_its_deadline(
    loop: Loop, peers: Peers, contexts: Contexts, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = length(loop, peers, contexts)
    monkeypatch.setattr(Server, "handshake_deadline", 0.1)
    for part in batches(range(both)):
        channels = []
        for count in part:
            channel, wire = meet(loop, peers, contexts, kind)
            channels.append(channel)
            with contextlib.suppress(AssertionError, OSError):  # a slow machine: its deadline has passed before that
                shake_partly(loop, wire, count)
        poll_until(loop, lambda channels=channels: all(channel.is_over for channel in channels))
        assert [type(channel.seen[-1]) for channel in channels] == [TimeoutError] * len(channels)
        assert all("connect" not in channel.seen for channel in channels)
        peers.close()
    assert not loop.map


@KINDS
def test_handshake_that_is_cut_at_every_byte_is_told(loop: Loop, peers: Peers, contexts: Contexts, kind: Any) -> None:
    both = length(loop, peers, contexts)
    for part in batches(range(both)):
        channels = []
        for count in part:
            channel, wire = meet(loop, peers, contexts, kind)
            channels.append(channel)
            shake_partly(loop, wire, count)
            wire.sock.shutdown(socket.SHUT_WR)
        poll_until(loop, lambda channels=channels: all(channel.is_over for channel in channels))
        assert [type(channel.seen[-1]) for channel in channels] == [TruncatedError] * len(channels)
        peers.close()
    assert not loop.map


def test_server_that_is_cut_at_every_byte_of_its_handshake_is_told_to_the_client(
    loop: Loop, peers: Peers, contexts: Contexts
) -> None:
    def answer() -> tuple[Any, Wire]:
        """A client, and its server, which has its answer ready."""
        ours, theirs = tcp_pair(peers)
        client = Recorder(ours, loop=loop)
        poll_until(loop, lambda: client.connected)
        client.seen.clear()
        client.start_tls(contexts[1], server_hostname="localhost")
        wire = Wire(theirs, contexts[0], server_side=True)

        def answered() -> bool:
            wire.take()
            wire.call(wire.tls.do_handshake)
            return bool(wire.to_send)

        poll_until(loop, answered)
        return client, wire

    client, wire = answer()
    whole = len(wire.to_send)
    client.abort()
    for count in range(0, whole, 13):
        client, wire = answer()
        wire.send(count)
        wire.sock.shutdown(socket.SHUT_WR)
        poll_until(loop, lambda client=client: client.is_over)
        assert isinstance(client.seen[-1], TruncatedError)
        peers.close()
    assert not loop.map


@KINDS
def test_handshake_and_data_may_come_byte_by_byte(loop: Loop, peers: Peers, contexts: Contexts, kind: Any) -> None:
    channel, wire = meet(loop, peers, contexts, kind)

    def drip() -> None:
        while wire.to_send:
            wire.send(1)
            loop.poll(0)

    def shaken() -> bool:
        wire.take()
        wire.call(wire.tls.do_handshake)
        drip()
        return "connect" in channel.seen

    poll_until(loop, shaken)
    for data in (b"a", b"bc", bytes(300)):
        wire.call(wire.tls.write, data)
        drip()
    poll_until(loop, lambda: len(channel.got) == 303)
    assert channel.got == b"abc" + bytes(300)
    wire.call(wire.tls.unwrap)
    drip()
    poll_until(loop, lambda: channel.is_over)
    assert channel.seen[-1] == "close"


@KINDS
def test_record_and_close_notify_that_are_cut_at_every_byte_are_told(
    loop: Loop, peers: Peers, contexts: Contexts, kind: Any
) -> None:
    """What came in whole records before is delivered."""
    for count in range(200):
        channel, wire = meet(loop, peers, contexts, kind)
        wire.shake_hands(loop)
        wire.call(wire.tls.write, b"whole")
        wire.send()
        wire.call(wire.tls.write, bytes(30))
        record = len(wire.to_send)
        wire.call(wire.tls.unwrap)
        whole = len(wire.to_send)
        if count >= whole:
            wire.send()
            break
        wire.send(count)
        wire.sock.shutdown(socket.SHUT_WR)
        poll_until(loop, lambda channel=channel: channel.is_over)
        assert isinstance(channel.seen[-1], TruncatedError)
        assert channel.got == b"whole" + (bytes(30) if count >= record else b"")
        wire.sock.close()
    assert count < 199
    poll_until(loop, lambda: channel.is_over)
    assert channel.seen[-1] == "close"


@KINDS
def test_every_changed_byte_of_a_record_is_told(loop: Loop, peers: Peers, contexts: Contexts, kind: Any) -> None:
    for at in range(0, 5 + 30 + 1 + 16, 3):
        channel, wire = meet(loop, peers, contexts, kind)
        wire.shake_hands(loop)
        wire.call(wire.tls.write, bytes(30))
        changed = bytearray(wire.to_send + bytes(70_000))  # so that there is enough for a length that is wrong
        changed[at] ^= 0x10
        wire.to_send = bytes(changed)
        wire.send()
        poll_until(loop, lambda channel=channel: channel.is_over)
        assert isinstance(channel.seen[-1], (TLSError, ConnectionError))
        assert channel.got in (b"", bytes(30))  # the version in the third byte of a record is not looked at by all
        wire.sock.close()


# Half-closes

ORDERS = [
    order
    for order in itertools.permutations(["a.write_eof", "b.write_eof", "a.close", "b.close"])
    if order.index("a.write_eof") < order.index("a.close") and order.index("b.write_eof") < order.index("b.close")
]


class End(Recorder):
    """Leaves its end to the test."""

    def handle_data(self, data: bytes) -> None:
        self.got += data

    def handle_eof(self) -> None:
        self.seen.append("eof")


def ends(loop: Loop, peers: Peers, contexts: Contexts) -> tuple[Any, Any]:
    ours, theirs = tcp_pair(peers)
    a, b = End(ours, loop=loop), End(theirs, loop=loop)
    poll_until(loop, lambda: a.connected and b.connected)
    a.start_tls(contexts[0], server_side=True)
    b.start_tls(contexts[1], server_hostname="localhost")
    poll_until(loop, lambda: a.seen == b.seen == ["connect", "connect"])
    return a, b


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("pause", [0, 5])
def test_half_closes_in_every_order_lose_nothing(
    loop: Loop, peers: Peers, contexts: Contexts, order: tuple[str, ...], pause: int
) -> None:
    """``pause``: ticks between one and the next."""
    a, b = ends(loop, peers, contexts)
    a.write(b"from a")
    b.write(b"from b")
    poll_until(loop, lambda: a.got and b.got)
    for step in order:
        name, method = step.split(".")
        getattr(a if name == "a" else b, method)()
        for _ in range(pause):
            loop.poll(0)
    poll_until(loop, lambda: a.is_over and b.is_over)
    assert (a.seen[-1], b.seen[-1]) == ("close", "close")
    assert (a.got, b.got) == (b"from b", b"from a")


@pytest.mark.parametrize("first", ["a", "b"])
def test_side_that_has_ended_its_output_still_receives_all(
    loop: Loop, peers: Peers, contexts: Contexts, first: str
) -> None:
    a, b = ends(loop, peers, contexts)
    early, late = (a, b) if first == "a" else (b, a)
    early.write(b"last words")
    early.write_eof()
    poll_until(loop, lambda: "eof" in late.seen)
    late.write(bytes(1_000_000))
    late.close()
    poll_until(loop, lambda: a.is_over and b.is_over, 5000)
    assert len(early.got) == 1_000_000
    assert late.got == b"last words"
    assert (a.seen[-1], b.seen[-1]) == ("close", "close")


@pytest.mark.parametrize("how", ["tcp", "tls"])
def test_end_of_tcp_without_that_of_tls_is_told_while_output_waits(
    loop: Loop, peers: Peers, contexts: Contexts, how: str
) -> None:
    channel, wire = meet(loop, peers, contexts, Server)
    wire.shake_hands(loop)
    poll_until(loop, lambda: channel.connected)
    channel.write(bytes(20_000_000))
    loop.poll(0)
    if how == "tls":
        wire.call(wire.tls.unwrap)
        wire.send()
        poll_until(loop, lambda: "eof" in channel.seen)
        channel.abort()
    wire.sock.shutdown(socket.SHUT_WR)
    poll_until(loop, lambda: channel.is_over)
    assert isinstance(channel.seen[-1], TruncatedError) is (how == "tcp")
