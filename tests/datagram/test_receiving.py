# SPDX-License-Identifier: MIT
"""What comes, and to which handler it goes."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest

import cyncore
from cyncore import Datagram, Loop
from tests.support.datagrams import LOOPBACK, Echo, Recorder, bound, client
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until

BURST = [b"%d" % number for number in range(150)]  # more than one call receives, and less than the kernel holds


@every_backend
def test_a_burst_comes_whole_and_in_order(loop: Loop, peers: Peers) -> None:
    with bound(loop) as channel:
        sock = client(peers, channel.address)
        for data in BURST:
            sock.send(data)
        poll_until(loop, lambda: len(channel.got) == len(BURST))
        assert channel.got == BURST


@every_backend
def test_an_empty_datagram_is_one_like_any_other(loop: Loop, peers: Peers) -> None:
    with bound(loop) as channel:
        sock = client(peers, channel.address)
        sock.send(b"")
        sock.send(b"x")
        poll_until(loop, lambda: len(channel.got) == 2)
        assert channel.got == [b"", b"x"]


@every_backend
def test_each_comes_with_the_address_of_its_sender(loop: Loop, peers: Peers) -> None:
    class Addresses(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            self.got.append((data, address))

    with bound(loop, Addresses) as channel:
        one, other = client(peers, channel.address), client(peers, channel.address)
        one.send(b"one")
        other.send(b"other")
        poll_until(loop, lambda: len(channel.got) == 2)
        assert channel.got == [(b"one", one.getsockname()), (b"other", other.getsockname())]


def test_the_largest_datagram_of_all_comes_whole(loop: Loop, peers: Peers) -> None:
    with bound(loop) as channel:
        client(peers, channel.address).send(b"x" * 65507)
        poll_until(loop, lambda: channel.got)
        assert channel.got == [b"x" * 65507]


@every_backend
def test_over_ipv6_the_address_has_four_parts(loop: Loop, peers: Peers) -> None:
    with bound(loop, Echo, ("::1", 0)) as channel:
        sock = client(peers, channel.address, socket.AF_INET6)
        sock.send(b"six")
        poll_until(loop, lambda: channel.got)
        assert sock.recvfrom(10) == (b"six", channel.address)
        assert len(channel.address) == 4


@every_backend
def test_a_batch_has_all_that_one_call_has_received(loop: Loop, peers: Peers) -> None:
    class Batches(Recorder):
        def handle_datagrams(self, batch: list[Any]) -> None:
            self.got.append(batch)

    with bound(loop, Batches) as channel:
        sock = client(peers, channel.address)
        for data in BURST:
            sock.send(data)
        poll_until(loop, lambda: sum(map(len, channel.got)) == len(BURST))
        assert [item for batch in channel.got for item in batch] == [(data, sock.getsockname()) for data in BURST]
        assert [len(batch) for batch in channel.got] == [64, 64, 22]


@every_backend
@pytest.mark.parametrize("takes_batches", [False, True])
def test_one_that_is_longer_than_max_size_is_told(loop: Loop, peers: Peers, takes_batches: bool) -> None:
    class Short(Recorder):
        max_size = 8

    class Batches(Short):
        def handle_datagrams(self, batch: list[Any]) -> None:
            self.got += [data for data, _ in batch]

    with bound(loop, Batches if takes_batches else Short) as channel:
        sock = client(peers, channel.address)
        for data in (b"12345678", b"123456789", b"x"):
            sock.send(data)
        poll_until(loop, lambda: len(channel.got) == 2 and len(channel.seen) == 2)
        assert channel.got == [b"12345678", b"x"]
        assert channel.seen == ["ready", ("truncated", b"12345678", 9)]


def test_max_size_may_be_changed(loop: Loop, peers: Peers) -> None:
    with bound(loop) as channel:
        channel.max_size = 1
        client(peers, channel.address).send(b"123")
        poll_until(loop, lambda: len(channel.seen) == 2)
        assert channel.seen[1] == ("truncated", b"1", 3)


@every_backend
def test_a_handler_that_raises_costs_its_datagram_only(loop: Loop, peers: Peers, caplog: Any) -> None:
    class Picky(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            if data == b"bad":
                raise ValueError("this one")
            self.got.append(data)

    with bound(loop, Picky) as channel:
        sock = client(peers, channel.address)
        for data in (b"one", b"bad", b"two", b"bad", b"three"):
            sock.send(data)
        poll_until(loop, lambda: len(channel.got) == 3)
        assert channel.got == [b"one", b"two", b"three"]
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1  # a second


@every_backend
def test_what_was_received_waits_while_reading_is_paused(loop: Loop, peers: Peers) -> None:
    class Pausing(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            self.got.append(data)
            self.pause_reading()

    with bound(loop, Pausing) as channel:
        sock = client(peers, channel.address)
        for data in (b"one", b"two", b"three"):
            sock.send(data)
        for count in (1, 2, 3):
            poll_until(loop, lambda count=count: len(channel.got) == count)  # type: ignore[misc]
            for _ in range(3):
                loop.poll(0)
            assert len(channel.got) == count
            assert not channel.reading
            channel.resume_reading()
        assert channel.got == [b"one", b"two", b"three"]


@every_backend
def test_a_handler_may_close_it(loop: Loop, peers: Peers) -> None:
    class Once(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            self.got.append(data)
            self.close()

    channel = loop.bind(LOOPBACK, Once)
    sock = client(peers, channel.address)
    for data in (b"one", b"two"):
        sock.send(data)
    poll_until(loop, lambda: not loop.map)
    loop.poll(0)
    assert channel.got == [b"one"]
    assert channel.seen == ["ready", "close"]


@every_backend
def test_what_leaves_the_loop_leaves_the_rest_for_the_next_run(loop: Loop, peers: Peers) -> None:
    class Leaving(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            self.got.append(data)
            if data == b"leave":
                raise cyncore.ExitNow

    with bound(loop, Leaving) as channel:
        sock = client(peers, channel.address)
        for data in (b"leave", b"two"):
            sock.send(data)
        with pytest.raises(cyncore.ExitNow):
            loop.run()
        assert channel.got == [b"leave"]
        poll_until(loop, lambda: len(channel.got) == 2)


@every_backend
def test_a_handler_may_run_the_loop(loop: Loop, peers: Peers) -> None:
    class Nested(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            self.got.append(data)
            if data == b"outer":
                self.loop.poll(0)

    with bound(loop, Nested) as channel, bound_beside(loop) as other:
        client(peers, channel.address).send(b"outer")
        client(peers, other.address).send(b"inner")
        poll_until(loop, lambda: other.got and channel.got)
        assert (channel.got, other.got) == ([b"outer"], [b"inner"])


class bound_beside:
    """A second channel, which does not wait for the map to be empty."""

    def __init__(self, loop: Loop) -> None:
        self.channel = loop.bind(LOOPBACK, Recorder)

    def __enter__(self) -> Recorder:
        return self.channel

    def __exit__(self, *raised: object) -> None:
        self.channel.abort()


def test_a_class_without_a_handler_says_so_once(loop: Loop, peers: Peers, caplog: Any) -> None:
    class Deaf(Datagram):
        pass

    with bound(loop, Deaf) as channel:
        sock = client(peers, channel.address)
        sock.send(b"one")
        sock.send(b"two")
        poll_until(loop, lambda: caplog.records)
        assert "does not define handle_datagram" in caplog.text
        assert len(caplog.records) == 1


def test_a_handler_that_is_a_coroutine_is_refused(loop: Loop) -> None:
    class Wrong(Datagram):
        async def handle_datagram(self, data: bytes, address: Any) -> None:  # type: ignore[override]
            pass

    with pytest.raises(TypeError, match=r"Wrong\.handle_datagram is an async function"):
        loop.bind(LOOPBACK, Wrong)


@every_backend
def test_destination_is_the_address_that_the_datagram_was_sent_to(loop: Loop, peers: Peers) -> None:
    class Answering(Recorder):
        wants_destination = True

        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            self.got.append(destination)
            self.send(data, address, destination)

    with bound(loop, Answering, ("", 0)) as channel:
        port = channel.address[1]
        sock = client(peers, ("127.0.0.7", port))
        sock.send(b"x")
        assert received_from(loop, sock) == (b"x", ("127.0.0.7", port))  # a connected one gets nothing from another
        assert channel.got == [("127.0.0.7", socket.if_nametoindex("lo"))]


@every_backend
def test_destination_over_ipv6(loop: Loop, peers: Peers) -> None:
    class Answering(Recorder):
        wants_destination = True

        def handle_datagrams(self, batch: list[Any]) -> None:
            for data, address, destination in batch:
                self.got.append(destination)
                self.send(data, address, source=destination)

    with bound(loop, Answering, ("::", 0)) as channel:
        sock = client(peers, ("::1", channel.address[1]), socket.AF_INET6)
        sock.send(b"x")
        assert received_from(loop, sock)[0] == b"x"
        assert channel.got == [("::1", socket.if_nametoindex("lo"))]


def received_from(loop: Loop, sock: socket.socket) -> Any:
    sock.setblocking(False)
    got: list[Any] = []

    def done() -> bool:
        try:
            got.append(sock.recvfrom(100))
        except BlockingIOError:
            return False
        return True

    poll_until(loop, done)
    return got[0]
