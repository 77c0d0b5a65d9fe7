# SPDX-License-Identifier: MIT
"""close_notify where the kernel has no room for it at first: it is said when there is."""

from __future__ import annotations

import socket
import ssl

import pytest

from cyncore import Loop
from tests.support.certificates import authority_fixture as authority_fixture
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.loops import every_backend
from tests.support.peers import poll_until
from tests.support.streams import Recorder
from tests.support.wire import Wire

RECORDS = range(1, 11)  # so many small ones fill the smallest buffer that Linux allows, and a few more


def filled(loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, records: int) -> tuple[Recorder, Wire]:
    """A stream that has sent so many records, each by itself, to a peer that has read none of them."""
    ours, theirs = socket.socketpair()
    stream = Recorder(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    stream.start_tls(server_tls, server_side=True)
    wire = Wire(theirs, client_tls)
    wire.shake_hands(loop)
    poll_until(loop, lambda: stream.seen == ["connect", "connect"])
    wire.take()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    for _ in range(records):
        stream.write(b".")
        loop.poll(0)
    return stream, wire


def end_of(wire: Wire, loop: Loop) -> bytes:
    """Reads all that comes, up to close_notify, or to the end of the connection; "!" is for close_notify."""
    got = bytearray()

    def done() -> bool:
        wire.take()
        while piece := wire.call(wire.tls.read, 65536):
            got.extend(piece)
        if piece == b"":
            got.extend(b"!")
        return piece == b"" or wire.is_over

    poll_until(loop, done)
    return bytes(got)


@every_backend
@pytest.mark.parametrize("records", RECORDS)
def test_close_says_close_notify_when_there_is_room(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, records: int
) -> None:
    stream, wire = filled(loop, server_tls, client_tls, records)
    stream.close()
    loop.poll(0)
    loop.poll(0)
    assert end_of(wire, loop) == b"." * records + b"!"
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen[-1] == "close"
    wire.sock.close()


@every_backend
@pytest.mark.parametrize("records", RECORDS)
def test_write_eof_says_close_notify_when_there_is_room(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, records: int
) -> None:
    stream, wire = filled(loop, server_tls, client_tls, records)
    stream.write_eof()
    loop.poll(0)
    loop.poll(0)
    assert end_of(wire, loop) == b"." * records + b"!"
    assert not stream.is_over
    wire.call(wire.tls.write, b"go on")
    wire.send()
    poll_until(loop, lambda: stream.got == b"go on")
    stream.close()
    poll_until(loop, lambda: stream.is_over)
    wire.sock.close()


@every_backend
def test_a_peer_that_never_reads_does_not_keep_a_closed_stream(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    for records in RECORDS:
        stream, wire = filled(loop, server_tls, client_tls, records)
        waits = stream.output_size > 0
        stream.close()
        loop.poll(0)
        if not waits:  # everything was sent; at one of these sizes there is no room for close_notify
            poll_until(loop, lambda: stream.is_over)  # noqa: B023 - it is over before the next one
            assert stream.seen[-1] == "close"
        stream.abort()
        wire.sock.close()
