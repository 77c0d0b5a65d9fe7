# SPDX-License-Identifier: MIT
"""What is sent, when it leaves, and what becomes of what there is no room for."""

from __future__ import annotations

import enum
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import cyncore
from cyncore import LimitExceeded, Loop
from tests.support.datagrams import LOOPBACK, Echo, Recorder, bound, client, received
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until

WORDS = [b"%d" % number for number in range(150)]


@every_backend
def test_answers_come_back_in_order(loop: Loop, peers: Peers) -> None:
    with bound(loop, Echo) as channel:
        sock = client(peers, channel.address)
        for data in WORDS:
            sock.send(data)
        assert received(loop, sock, len(WORDS)) == WORDS
        assert channel.output_size == 0


@every_backend
def test_what_is_sent_outside_of_a_tick_leaves_at_once(loop: Loop, peers: Peers) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peers.keep(sock)
    sock.bind(LOOPBACK)
    sock.settimeout(5)
    with bound(loop) as channel:
        channel.send(b"now", sock.getsockname())
        assert sock.recv(10) == b"now"


def test_what_is_sent_without_a_tick_leaves_nothing_behind(loop: Loop) -> None:
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy does not trace allocations", exc_type=ImportError)
    with bound(loop) as channel:
        address = channel.address
        channel.send(b"x", address)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(5000):
            channel.send(b"x", address)
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert after - before < 10_000


@every_backend
def test_two_channels_that_send_in_turn_keep_the_order_of_each(loop: Loop, peers: Peers) -> None:
    other = loop.bind(LOOPBACK, Recorder)

    class Both(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            for number in range(10):
                self.send(b"a%d" % number, address)
                other.send(b"b%d" % number, address)

    with bound(loop, Both) as channel:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        peers.keep(sock)
        sock.sendto(b"go", channel.address)
        got = received(loop, sock, 20)
        assert [data for data in got if data[:1] == b"a"] == [b"a%d" % number for number in range(10)]
        assert [data for data in got if data[:1] == b"b"] == [b"b%d" % number for number in range(10)]
        other.abort()


@every_backend
def test_bytearray_and_memoryview_are_copied(loop: Loop, peers: Peers) -> None:
    class Copying(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            buffer = bytearray(b"one")
            self.send(buffer, address)
            buffer[:] = b"two"
            self.send(memoryview(buffer), address)
            self.send(b"", address)

    with bound(loop, Copying) as channel:
        sock = client(peers, channel.address)
        sock.send(b"go")
        assert received(loop, sock, 3) == [b"one", b"two", b""]


@every_backend
def test_another_thread_may_send(loop: Loop, peers: Peers) -> None:
    with bound(loop) as channel:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        peers.keep(sock)
        sock.bind(LOOPBACK)
        started = threading.Event()

        def work() -> None:
            started.wait(5)
            for data in WORDS[:20]:
                channel.send(data, sock.getsockname())

        thread = threading.Thread(target=work)
        thread.start()
        loop.call_soon(started.set)
        assert received(loop, sock, 20) == WORDS[:20]
        thread.join()


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        (None, ValueError, "needs an address"),
        (("localhost", 1), ValueError, "sending looks no name up"),
        (("", 1), ValueError, "sending looks no name up"),
        (("127.0.0.1", 65536), ValueError, "a port is 0 to 65535"),
        (("127.0.0.1", -1), ValueError, "a port is 0 to 65535"),
        (("127.0.0.1", "1"), TypeError, "a str and an int"),
        ((1, 1), TypeError, "a str and an int"),
        (("127.0.0.1",), TypeError, r"is \(host, port\)"),
        ("/path", TypeError, r"is \(host, port\)"),
        (("::1", 1), ValueError, "no address in digits of the family"),
        (("127.0.0.1\0x", 1), ValueError, "no address in digits"),
        (("127.0.0.1", 1, 0), TypeError, r"is \(host, port\)"),
        (("127.0.0.1", 1, 0, 0), TypeError, r"is \(host, port\)"),
    ],
)
@pytest.mark.parametrize("in_tick", [False, True])
def test_what_is_no_address_is_refused_at_once(
    loop: Loop, peers: Peers, address: Any, error: Any, words: str, in_tick: bool
) -> None:
    caught: list[BaseException] = []

    class Wrong(Recorder):
        def handle_datagram(self, data: bytes, peer: Any, destination: Any = None) -> None:
            self.send(b"x", address)

        def handle_error(self, failure: BaseException) -> None:
            caught.append(failure)

    with bound(loop, Wrong) as channel:
        if in_tick:
            client(peers, channel.address).send(b"go")
            poll_until(loop, lambda: caught)
            with pytest.raises(error, match=words):
                raise caught[0]
        else:
            with pytest.raises(error, match=words):
                channel.send(b"x", address)


@every_backend
@pytest.mark.parametrize("rest", [("x", 0), (-1, 0), (1 << 20, 0), (0, 1 << 32), (0, -1)])
def test_numbers_of_ipv6_that_are_none_are_refused_before_anything_waits(loop: Loop, rest: tuple[Any, Any]) -> None:
    channel = loop.bind(("::1", 0), Recorder)
    address = channel.address
    channel.send(b"before", address)
    with pytest.raises((TypeError, ValueError)):
        channel.send(b"wrong", (*address[:2], *rest))
    channel.send(b"behind", address)
    poll_until(loop, lambda: len(channel.got) == 2)
    assert channel.got == [b"before", b"behind"]
    assert channel.output_size == 0
    channel.abort()


@every_backend
@pytest.mark.parametrize("path", ["", "x" * 200, b"\0" + b"x" * 200])
def test_paths_that_are_none_are_refused_before_anything_waits(loop: Loop, tmp_path: Path, path: Any) -> None:
    channel = loop.bind(str(tmp_path / "x"), Recorder)
    channel.send(b"before", channel.address)
    with pytest.raises(ValueError, match="a path of a Unix socket has 1 to"):
        channel.send(b"wrong", path)
    channel.send(b"behind", channel.address)
    poll_until(loop, lambda: len(channel.got) == 2)
    assert channel.got == [b"before", b"behind"]
    channel.abort()


@every_backend
@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_an_abstract_name_may_fill_the_room_for_it(loop: Loop, peers: Peers) -> None:
    name = b"\0cyncore" + os.urandom(50).hex().encode()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peers.keep(sock)
    sock.bind(name)
    assert len(name) == 108
    channel = loop.bind("\0" + name[20:].decode(), Echo)
    sock.sendto(b"there", b"\0" + name[20:])
    assert received(loop, sock, 1) == [b"there"]
    channel.abort()


@every_backend
def test_an_address_with_a_port_out_of_an_enum_is_nobody_elses(loop: Loop, peers: Peers) -> None:
    seen: list[Any] = []

    class Peer(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            seen.append(address)

    with bound(loop, Peer) as channel:
        sock = client(peers, channel.address)
        host, port = sock.getsockname()
        channel.send(b"there", (host, enum.IntEnum("Port", {"OURS": port}).OURS))
        assert sock.recv(10) == b"there"
        sock.send(b"x")
        poll_until(loop, lambda: seen)
    assert type(seen[0][1]) is int


def test_what_is_no_bytes_is_refused(loop: Loop) -> None:
    with bound(loop) as channel, pytest.raises(TypeError, match="can be sent, not 'text'"):
        channel.send("text", ("127.0.0.1", 9))


@pytest.mark.parametrize("source", ["127.0.0.1", ("127.0.0.1",), (1, 1)])
def test_what_is_no_source_is_refused(loop: Loop, source: Any) -> None:
    with bound(loop) as channel, pytest.raises(TypeError, match=r"source of a datagram is \(host, interface\)"):
        channel.send(b"x", ("127.0.0.1", 9), source)


@every_backend
def test_ipv4_is_reached_through_ipv6_where_the_socket_allows_it(loop: Loop, peers: Peers) -> None:
    four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    peers.keep(four, six)
    four.bind(LOOPBACK)
    four.settimeout(5)
    six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    six.bind(("::", 0))
    channel = loop.bind(six, Recorder)
    poll_until(loop, lambda: channel.connected)
    for _ in range(2):
        channel.send(b"mapped", four.getsockname())
        assert four.recv(10) == b"mapped"
    channel.abort()


@every_backend
def test_what_the_socket_has_no_room_for_waits(loop: Loop, peers: Peers, tmp_path: Path) -> None:
    path = str(tmp_path / "slow")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slow:
        slow.bind(path)
        with bound(loop, Recorder, None, remote=path) as channel:
            for data in WORDS:
                channel.send(data)
            assert channel.output_size > 0
            assert received(loop, slow, len(WORDS)) == WORDS
            assert channel.output_size == 0


@every_backend
def test_a_unix_socket_without_a_peer_waits_without_a_spin(loop: Loop, tmp_path: Path) -> None:
    path = str(tmp_path / "slow")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slow:
        slow.bind(path)
        with bound(loop, Recorder, str(tmp_path / "ours")) as channel:
            for data in WORDS:
                channel.send(data, path)
            assert channel.output_size > 0
            assert loop.poll(0) == 0  # it is not watched for room, which it always has
            assert received(loop, slow, len(WORDS)) == WORDS


@every_backend
def test_a_unix_receiver_that_never_reads_holds_up_nobody_else(loop: Loop, tmp_path: Path) -> None:
    deaf_path, path = str(tmp_path / "deaf"), str(tmp_path / "reads")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
    ):
        deaf.bind(deaf_path)
        sock.bind(path)
        with bound(loop, Recorder, str(tmp_path / "ours")) as channel:
            for data in WORDS:
                channel.send(data, deaf_path)
            assert channel.output_size > 0
            for data in WORDS[:3]:
                channel.send(data, path)  # leaves at once
            assert received(loop, sock, 3) == WORDS[:3]
            loop.call_soon(lambda: [(channel.send(data, deaf_path), channel.send(data, path)) for data in WORDS[:3]])
            assert received(loop, sock, 3) == WORDS[:3]  # of one tick, too
            assert received(loop, deaf, len(WORDS) + 3) == [*WORDS, *WORDS[:3]]  # in order, when it reads after all
            poll_until(loop, lambda: channel.output_size == 0)


@every_backend
def test_a_unix_receiver_that_ends_has_its_datagrams_told(loop: Loop, tmp_path: Path) -> None:
    path = str(tmp_path / "deaf")
    with bound(loop, Recorder, str(tmp_path / "ours")) as channel:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
            deaf.bind(path)
            for data in WORDS:
                channel.send(data, path)
            assert channel.output_size > 0
        poll_until(loop, lambda: channel.output_size == 0)
        loop.poll(0)
        assert (ConnectionRefusedError, path) in channel.seen


@every_backend
def test_more_than_max_output_for_unix_receivers_is_dropped_and_told(loop: Loop, tmp_path: Path) -> None:
    class Bounded(Recorder):
        max_output = 20

    path = str(tmp_path / "deaf")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(path)
        with bound(loop, Bounded, str(tmp_path / "ours")) as channel:
            while channel.output_size < 20:
                channel.send(b"0123456789", path)
            channel.send(b"0123456789", path)
            assert channel.output_size == 20
            poll_until(loop, lambda: channel.seen[1:])
            assert channel.seen[1:] == [(LimitExceeded, None)]


@every_backend
def test_close_waits_for_a_unix_receiver(loop: Loop, tmp_path: Path) -> None:
    path = str(tmp_path / "slow")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slow:
        slow.bind(path)
        channel = loop.bind(str(tmp_path / "ours"), Recorder)
        poll_until(loop, lambda: channel.connected)
        for data in WORDS:
            channel.send(data, path)
        channel.close()
        assert received(loop, slow, len(WORDS)) == WORDS
        poll_until(loop, lambda: channel.seen[-1] == "close")


@every_backend
def test_abort_drops_what_waits_for_a_unix_receiver(loop: Loop, tmp_path: Path) -> None:
    path = str(tmp_path / "deaf")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(path)
        channel = loop.bind(str(tmp_path / "ours"), Recorder)
        poll_until(loop, lambda: channel.connected)
        for data in WORDS:
            channel.send(data, path)
        channel.abort()
        assert channel.output_size == 0
        poll_until(loop, lambda: channel.seen[-1] == "close")
        assert loop.next_deadline() is None or loop.poll(0.1) == 0  # the timer finds nothing


@every_backend
def test_what_is_more_than_max_output_is_dropped_and_told(loop: Loop, tmp_path: Path) -> None:
    told: list[tuple[str, Any]] = []

    class Bounded(Recorder):
        max_output = 20

        def handle_send_error(self, error: Exception, address: Any) -> None:
            assert isinstance(error, LimitExceeded)
            told.append((str(error), address))

    path = str(tmp_path / "slow")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slow:
        slow.bind(path)
        with bound(loop, Bounded, None, remote=path) as channel:
            while not told:
                channel.send(b"0123456789")
                assert channel.output_size <= 20
                if channel.output_size == 20:
                    channel.send(b"0123456789")
                    channel.send(b"0123456789")
                    loop.poll(0)
            assert "2 datagrams of 20 bytes were dropped: 20 bytes may wait" in told[0][0]
            assert told[0][1] is None


@every_backend
def test_close_waits_for_what_is_queued(loop: Loop, tmp_path: Path) -> None:
    path = str(tmp_path / "slow")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slow:
        slow.bind(path)
        channel = loop.bind(None, Recorder, remote=path)
        poll_until(loop, lambda: channel.connected)
        for data in WORDS:
            channel.send(data)
        channel.close()
        channel.send(b"too late")
        assert channel.closing
        assert received(loop, slow, len(WORDS)) == WORDS
        poll_until(loop, lambda: not loop.map)
        loop.poll(0)
        assert channel.seen == ["ready", "close"]
        slow.setblocking(False)
        with pytest.raises(BlockingIOError):
            slow.recv(10)


@every_backend
def test_abort_drops_what_is_queued(loop: Loop, tmp_path: Path) -> None:
    path = str(tmp_path / "slow")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as slow:
        slow.bind(path)
        channel = loop.bind(None, Recorder, remote=path)
        poll_until(loop, lambda: channel.connected)
        for data in WORDS:
            channel.send(data)
        channel.abort()
        assert channel.output_size == 0
        loop.poll(0)
        assert channel.seen == ["ready", "close"]


@every_backend
def test_close_in_the_handler_that_sends(loop: Loop, peers: Peers) -> None:
    class Last(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            self.send(b"bye", address)
            self.close()

    channel = loop.bind(LOOPBACK, Last)
    sock = client(peers, channel.address)
    sock.send(b"x")
    assert received(loop, sock, 1) == [b"bye"]
    poll_until(loop, lambda: not loop.map)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@every_backend
def test_a_fork_in_a_handler_sends_nothing_twice(loop: Loop, peers: Peers) -> None:
    class Forking(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            self.send(b"before", address)
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)
            self.send(b"behind", address)

    with bound(loop, Forking) as channel:
        sock = client(peers, channel.address)
        sock.send(b"x")
        assert received(loop, sock, 2) == [b"before", b"behind"]
        with pytest.raises(BlockingIOError):
            sock.recv(10)


def test_without_a_loop_nothing_can_be_sent() -> None:
    with pytest.raises(RuntimeError, match="needs a loop"):
        Recorder().send(b"x", ("127.0.0.1", 9))


@pytest.mark.skipif(not cyncore.native, reason="the fallback sends one by one")
def test_a_burst_to_one_address_leaves_as_one(loop: Loop, peers: Peers) -> None:
    with bound(loop) as channel:
        if not channel.get_extra_info("gso"):
            pytest.skip("this kernel has no UDP_SEGMENT")
        sock = client(peers, channel.address)
        sock.setsockopt(socket.SOL_UDP if hasattr(socket, "SOL_UDP") else 17, 104, 1)  # UDP_GRO
        words = [b"x" * 1000] * 20 + [b"short"]

        def burst() -> None:
            for data in words:
                channel.send(data, sock.getsockname())

        loop.call_soon(burst)
        assert received(loop, sock, 1) == [b"".join(words)]


@every_backend
def test_sizes_and_addresses_that_differ_are_never_mixed(loop: Loop, peers: Peers) -> None:
    with bound(loop) as channel:
        socks = [client(peers, channel.address) for _ in range(2)]
        words = [os.urandom(size) for size in (10, 10, 5, 5, 10, 20, 20, 0, 20, 1400, 1400, 7, 7)]

        def burst() -> None:
            for data in words:
                channel.send(data, socks[0].getsockname())
            for data in words:
                for sock in socks:
                    channel.send(data, sock.getsockname())

        loop.call_soon(burst)
        assert received(loop, socks[0], 2 * len(words)) == words + words
        assert received(loop, socks[1], len(words)) == words


@every_backend
@pytest.mark.parametrize("size", [64, 1400, 9000])
def test_what_was_sent_as_one_is_received_one_by_one(loop: Loop, size: int) -> None:
    words = [bytes([number]) * size for number in range(12)]
    receiver = loop.bind(LOOPBACK, Recorder)
    with bound(loop, Recorder, None, remote=receiver.address) as channel:

        def burst() -> None:
            for data in words:
                channel.send(data)

        loop.call_soon(burst)
        poll_until(loop, lambda: len(receiver.got) == len(words))
        assert receiver.got == words
        receiver.abort()


@every_backend
def test_without_offload_the_kernel_is_not_asked_for_it(loop: Loop) -> None:
    class Plain(Echo):
        offload = False

    with bound(loop, Plain) as channel:
        assert channel.get_extra_info("gso") is channel.get_extra_info("gro") is False


@pytest.mark.skipif(not cyncore.native, reason="the fallback sends one by one")
def test_segments_that_the_path_does_not_take_leave_one_by_one(loop: Loop) -> None:
    receiver = loop.bind(LOOPBACK, Recorder)
    words = [bytes([number]) * 30000 for number in range(2)] + [b"x"] * 2
    with bound(loop, Recorder, None, remote=receiver.address) as channel:
        IP_MTU_DISCOVER, IP_PMTUDISC_INTERFACE = 10, 4
        channel.socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_INTERFACE)

        def burst() -> None:
            for data in words:
                channel.send(data)

        loop.call_soon(burst)
        poll_until(loop, lambda: len(receiver.got) == len(words))
        assert receiver.got == words
        receiver.abort()
