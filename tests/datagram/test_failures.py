# SPDX-License-Identifier: MIT
"""Datagrams that were not delivered, and sockets that are of no use any more. Nothing here costs the loop."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from typing import Any

import pytest

from cyncore import Loop
from tests.support.datagrams import LOOPBACK, Echo, Recorder, bound, client, nobody, received
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until

queued = pytest.mark.skipif(sys.platform != "linux", reason="only Linux queues errors of unconnected sockets")
REFUSED = ConnectionRefusedError


@queued
@every_backend
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_nobody_at_an_address_is_told_with_the_address(loop: Loop, family: int, host: str) -> None:
    target = nobody(family, host)
    with bound(loop, Recorder, (host, 0)) as channel:
        channel.send(b"x", target)
        poll_until(loop, lambda: len(channel.seen) == 2)
        assert channel.seen == ["ready", (REFUSED, target)]


@every_backend
def test_nobody_at_the_remote_is_told(loop: Loop) -> None:
    target = nobody()
    with bound(loop, Recorder, None, remote=target) as channel:
        channel.send(b"x")
        poll_until(loop, lambda: len(channel.seen) == 2)
        assert channel.seen == ["ready", (REFUSED, target)]


@queued
@every_backend
def test_an_earlier_failure_costs_no_later_datagram(loop: Loop, peers: Peers) -> None:
    targets = [nobody() for _ in range(3)]
    with bound(loop, Recorder) as channel:
        sock = client(peers, channel.address)

        def burst() -> None:
            for number in range(30):
                channel.send(b"%d" % number, targets[number % 3])
                channel.send(b"%d" % number, sock.getsockname())

        loop.call_soon(burst)
        assert received(loop, sock, 30) == [b"%d" % number for number in range(30)]
        poll_until(loop, lambda: len(channel.seen) > 3)
        told = channel.seen[1:]
        assert {kind for kind, _ in told} == {REFUSED}
        assert {address for _, address in told} <= set(targets)


@queued
@every_backend
def test_the_socket_goes_on_after_a_failure(loop: Loop, peers: Peers) -> None:
    with bound(loop, Echo) as channel:
        channel.send(b"x", nobody())
        poll_until(loop, lambda: len(channel.seen) == 2)
        sock = client(peers, channel.address)
        sock.send(b"still there")
        assert received(loop, sock, 1) == [b"still there"]


@queued
@every_backend
def test_a_failure_is_told_while_reading_is_paused_or_when_it_goes_on(loop: Loop, peers: Peers) -> None:
    with bound(loop, Recorder) as channel:
        channel.pause_reading()
        client(peers, channel.address).send(b"waits")
        channel.send(b"x", nobody())
        for _ in range(3):
            loop.poll(0)
        channel.resume_reading()
        poll_until(loop, lambda: len(channel.seen) == 2 and channel.got)
        assert channel.seen[1][0] is REFUSED


@queued
@every_backend
def test_failures_make_no_loop_spin(loop: Loop) -> None:
    with bound(loop, Recorder) as channel:
        for _ in range(10):
            channel.send(b"x", nobody())
        poll_until(loop, lambda: len(channel.seen) == 11)
        assert loop.poll(0) == 0


@every_backend
def test_one_that_is_too_long_is_told_and_the_next_one_leaves(loop: Loop, peers: Peers) -> None:
    with bound(loop, Recorder) as channel:
        sock = client(peers, channel.address)

        def burst() -> None:
            channel.send(b"x" * 65508, sock.getsockname())
            channel.send(b"fits", sock.getsockname())

        loop.call_soon(burst)
        assert received(loop, sock, 1) == [b"fits"]
        loop.poll(0)
        assert channel.seen == ["ready", (OSError, sock.getsockname())]


@every_backend
def test_one_that_is_longer_than_its_path_takes_is_told_once(loop: Loop) -> None:
    mtu_discover, always = 10, 2  # IP_MTU_DISCOVER and IP_PMTUDISC_DO of Linux
    if sys.platform != "linux":
        pytest.skip("the numbers are Linux's")
    with bound(loop, Recorder) as channel:
        channel.socket.setsockopt(socket.IPPROTO_IP, mtu_discover, always)
        with open("/sys/class/net/lo/mtu") as file:
            size = int(file.read())
        if size > 65000:
            size = 65507 + 1
        channel.send(b"x" * size, nobody())
        for _ in range(3):
            loop.poll(0)
        assert channel.seen == ["ready", (OSError, channel.seen[1][1])]


@every_backend
def test_an_address_that_nothing_is_sent_to_without_broadcast(loop: Loop) -> None:
    with bound(loop, Recorder, ("", 0)) as channel:
        channel.send(b"x", ("255.255.255.255", 9))
        loop.poll(0)
        assert channel.seen == ["ready", (PermissionError, ("255.255.255.255", 9))]


def test_a_handler_for_failures_that_raises_costs_nothing(loop: Loop, caplog: Any) -> None:
    class Wrong(Recorder):
        def handle_send_error(self, error: Exception, address: Any) -> None:
            raise ValueError("of the handler")

    with bound(loop, Wrong, None, remote=nobody()) as channel:
        channel.send(b"x")
        poll_until(loop, lambda: "of the handler" in caplog.text)
        assert not channel.closing


@every_backend
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal here")
@pytest.mark.parametrize("does", ["send", "send by another", "close", "abort"])
def test_what_the_handler_of_a_signal_does_in_the_midst_of_a_send(loop: Loop, does: str) -> None:
    sink = loop.bind(LOOPBACK, Recorder)
    channel = loop.bind(LOOPBACK, Recorder)
    other = loop.bind(LOOPBACK, Recorder)
    poll_until(loop, lambda: other.connected)
    address = sink.address
    count = 0

    def handler(number: int, frame: Any) -> None:
        nonlocal count
        count += 1
        if does == "send":
            channel.send(b"handler", address)
        elif does == "send by another":
            other.send(b"handler", address)
        else:
            getattr(channel, does)()

    def interrupt(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_name == "send_failure" and count < 3:
            signal.raise_signal(signal.SIGUSR1)

    def send() -> None:
        for number in range(5):
            channel.send(b"x" * number, address)
            channel.send(bytes(70_000), address)  # which this host refuses

    before = signal.signal(signal.SIGUSR1, handler)
    sys.setprofile(interrupt)
    try:
        loop.call_soon(send)
        loop.poll(0)
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGUSR1, before)
    own = 1 if does == "abort" else 5
    added = count if does.startswith("send") else 0
    poll_until(loop, lambda: len(sink.got) == own + added)
    assert count
    assert [data for data in sink.got if data != b"handler"] == [b"x" * number for number in range(own)]
    assert channel.closing == (does in ("close", "abort"))
    assert channel.output_size == other.output_size == 0
    for each in (sink, channel, other):
        each.abort()


@every_backend
@pytest.mark.parametrize("knows", [True, False])
def test_a_descriptor_that_was_closed_behind_its_back(loop: Loop, knows: bool) -> None:
    """Also where its socket does not know of that, so that closing it fails."""
    channel = loop.bind(LOOPBACK, Recorder)
    poll_until(loop, lambda: channel.connected)
    os.close(channel.socket.detach() if knows else channel.socket.fileno())
    channel.send(b"x", ("127.0.0.1", 9))
    poll_until(loop, lambda: len(channel.seen) == 2)
    assert isinstance(channel.seen[1], OSError)
    assert channel.seen[1].errno == errno.EBADF
    assert not loop.map


@every_backend
def test_a_handler_that_has_another_channel_take_its_number(loop: Loop) -> None:
    others: list[Any] = []

    class Replaced(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            self.send(b"lost", address)
            self.socket.close()
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            others.append(Recorder(sock, loop=loop))
            self.pause_reading()

    channel = loop.bind(LOOPBACK, Replaced)
    number = channel.socket.fileno()
    with bound(loop) as sender:
        for _ in range(3):
            sender.send(b"x", channel.address)
        poll_until(loop, lambda: others)
        assert others[0].socket.fileno() == number
        channel.resume_reading()
        sender.send(b"y", sender.address)
        poll_until(loop, lambda: sender.got)
        assert channel.closing
        others[0].abort()


@every_backend
def test_a_socket_that_was_shut_down_is_closed(loop: Loop) -> None:
    if sys.platform != "linux":
        pytest.skip("elsewhere an unconnected socket cannot be shut down")
    with bound(loop, Recorder, None, remote=nobody()) as channel:
        channel.socket.shutdown(socket.SHUT_RDWR)
        for _ in range(20):
            loop.poll(0)
            if channel.closing:
                break
        if loop.backend not in ("select",):  # which has no hang-up to report
            assert channel.closing


def test_handle_error_may_end_it(loop: Loop, peers: Peers) -> None:
    class Strict(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            raise ValueError(data)

        def handle_error(self, error: BaseException) -> None:
            self.seen.append(type(error))
            self.abort()

    channel = loop.bind(LOOPBACK, Strict)
    sock = client(peers, channel.address)
    sock.send(b"1")
    sock.send(b"2")
    poll_until(loop, lambda: not loop.map)
    loop.poll(0)
    assert channel.seen == ["ready", ValueError, "close"]
