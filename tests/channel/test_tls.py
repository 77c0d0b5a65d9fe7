# SPDX-License-Identifier: MIT
"""Programs that put an ``ssl.SSLSocket`` in the place of ``self.socket`` in mid-life, as email-oauth2-proxy does."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

from cyncore import Loop, asyncore
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.peers import Peers, Recorder, poll_until

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


@pytest.fixture
def contexts(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> Contexts:
    """A server's context, and a client's that trusts it."""
    return server_tls, client_tls


class Tls(Recorder):
    """Speaks in clear until `secure` is called, then does the handshake from the loop, and then echoes or collects."""

    def __init__(self, sock: socket.socket, map: Any, chunk: int = 4096) -> None:
        self.shaking = self.secured = False
        self.out = b""
        self.reads = 0
        super().__init__(sock, map, chunk)

    def secure(self, context: ssl.SSLContext, server_side: bool) -> None:
        name = None if server_side else "localhost"
        self.shaking = True
        self.socket = context.wrap_socket(
            self.socket, server_side=server_side, server_hostname=name, do_handshake_on_connect=False
        )

    def shake(self) -> None:
        try:
            self.socket.do_handshake()
        except WANTS:
            return
        self.shaking, self.secured = False, True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return self.shaking or bool(self.out)

    def handle_read(self) -> None:
        self.reads += 1
        if self.shaking:
            return self.shake()
        try:
            self.got += self.recv(self.size)
        except WANTS:
            pass
        return None

    def handle_write(self) -> None:
        if self.shaking:
            return self.shake()
        try:
            self.out = self.out[self.send(self.out) :]
        except WANTS:
            pass
        return None


def both(loop: Loop, peers: Peers, contexts: Contexts, chunk: int = 4096) -> tuple[Tls, Tls]:
    """Two channels that talk in clear first, and then have done a handshake with each other."""
    near, far = peers.pair()
    server, client = Tls(near, loop.map, chunk), Tls(far, loop.map, chunk)
    client.out = b"STARTTLS"
    poll_until(loop, lambda: server.got == b"STARTTLS")
    server.got = b""
    server.secure(contexts[0], True)
    client.secure(contexts[1], False)
    poll_until(loop, lambda: server.secured and client.secured)
    return server, client


def test_handshake_is_done_by_the_loop_after_the_swap(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, client = both(loop, peers, contexts)
    assert client.socket.cipher() is not None
    assert server.seen == client.seen == []
    asyncore.close_all(loop.map)


def test_data_goes_both_ways_after_the_swap(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, client = both(loop, peers, contexts)
    client.out = sent = bytes(range(256)) * 1000
    poll_until(loop, lambda: len(server.got) == len(sent))
    server.out = server.got[::-1]
    poll_until(loop, lambda: len(client.got) == len(sent))
    assert client.got == sent[::-1]
    asyncore.close_all(loop.map)


def test_data_that_openssl_holds_already_is_read_too(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    """The kernel has given it all away with the first bytes, and no event of its will ever come for the rest."""
    server, client = both(loop, peers, contexts, chunk=100)
    client.out = sent = bytes(range(256)) * 40  # one record
    poll_until(loop, lambda: server.got == sent)
    asyncore.close_all(loop.map)


def test_data_that_openssl_holds_waits_while_reading_is_paused(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, client = both(loop, peers, contexts, chunk=100)
    client.out = sent = bytes(range(256)) * 4
    poll_until(loop, lambda: server.got)
    server.pause_reading()
    before = server.got
    for _ in range(5):
        loop.poll()
    assert len(before) < len(sent)
    assert server.got == before
    server.resume_reading()
    poll_until(loop, lambda: server.got == sent)
    asyncore.close_all(loop.map)


def test_data_that_openssl_holds_is_read_before_a_hang_up(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, client = both(loop, peers, contexts, chunk=100)
    for _ in range(5):
        loop.poll()
    client.socket.send(sent := bytes(range(256)) * 4)
    client.close()
    poll_until(loop, lambda: not loop.map)
    assert server.got == sent


def test_end_of_the_tls_stream_closes(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, client = both(loop, peers, contexts)
    client.out = b"bye"
    poll_until(loop, lambda: server.got == b"bye")
    try:
        client.socket.unwrap()
    except WANTS:
        pass
    client.close()
    poll_until(loop, lambda: "close" in server.seen)
    assert loop.map == {}


def test_idle_tls_channel_gets_no_events(loop: Loop, peers: Peers, contexts: Contexts) -> None:
    server, _ = both(loop, peers, contexts)
    for _ in range(5):
        loop.poll()  # session tickets
    reads = server.reads
    assert sum(loop.poll() for _ in range(10)) == 0
    assert server.reads == reads
    asyncore.close_all(loop.map)
