# SPDX-License-Identifier: MIT
"""Groups, broadcasts, and the options of sockets."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from cyncore import Loop
from tests.support.datagrams import Recorder, bound, client, received
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until

GROUP = "239.255.7.7"
GROUP6 = "ff01::4242"
lo = pytest.mark.skipif(sys.platform != "linux", reason="other systems name it otherwise")


def sending_to_group(peers: Peers, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peers.keep(sock)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    sock.connect((GROUP, port))
    return sock


@lo
@every_backend
@pytest.mark.parametrize("interface", ["lo", "127.0.0.1", "number"])
def test_what_is_sent_to_a_group_comes_from_join_until_leave(loop: Loop, peers: Peers, interface: Any) -> None:
    if interface == "number":
        interface = socket.if_nametoindex("lo")
    with bound(loop, Recorder, ("", 0)) as channel:
        port = channel.address[1]
        sock = sending_to_group(peers, port)
        plain = client(peers, ("127.0.0.1", port))
        sock.send(b"before")
        channel.join(GROUP, interface)
        sock.send(b"joined")
        poll_until(loop, lambda: channel.got)
        channel.leave(GROUP, interface)
        sock.send(b"after")
        plain.send(b"end")
        poll_until(loop, lambda: len(channel.got) == 2)
        assert channel.got == [b"joined", b"end"]


@lo
@every_backend
def test_groups_of_ipv6(loop: Loop) -> None:
    with bound(loop, Recorder, ("::", 0)) as channel:
        port = channel.address[1]
        channel.join(GROUP6, "lo")
        with pytest.raises(OSError, match="group ff01::4242 on 'lo'"):
            channel.join(GROUP6, "lo")
        channel.set_multicast_interface("lo")
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((GROUP6, port, 0, socket.if_nametoindex("lo")))
            except OSError as error:
                channel.leave(GROUP6, "lo")
                pytest.skip(f"this host has no way to groups of IPv6: {error}")
        channel.send(b"six", (GROUP6, port, 0, socket.if_nametoindex("lo")))
        poll_until(loop, lambda: channel.got)
        channel.send(b"six", (f"{GROUP6}%lo", port))
        poll_until(loop, lambda: len(channel.got) == 2)
        channel.leave(GROUP6, "lo")


@lo
@every_backend
def test_a_burst_to_a_group_with_its_destination(loop: Loop) -> None:
    class Destinations(Recorder):
        wants_destination = True

        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            self.got.append((data, destination))

    with bound(loop, Destinations, ("", 0)) as channel:
        channel.join(GROUP, "lo")
        channel.set_multicast_interface("lo")

        def burst() -> None:
            for number in range(20):
                channel.send(b"%2d" % number, (GROUP, channel.address[1]))

        loop.call_soon(burst)
        poll_until(loop, lambda: len(channel.got) == 20)
        told = GROUP, socket.if_nametoindex("lo")
        assert channel.got == [(b"%2d" % number, told) for number in range(20)]


@lo
def test_a_group_as_the_source_means_its_interface(loop: Loop, peers: Peers) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peers.keep(sock)
    sock.bind(("127.0.0.1", 0))
    with bound(loop, Recorder, ("", 0)) as channel:
        channel.send(b"x", sock.getsockname(), (GROUP, socket.if_nametoindex("lo")))
        assert received(loop, sock, 1) == [b"x"]


@lo
def test_without_loopback_this_host_gets_nothing(loop: Loop, peers: Peers) -> None:
    with bound(loop, Recorder, ("", 0)) as channel:
        port = channel.address[1]
        channel.join(GROUP, "lo")
        channel.set_multicast_interface("127.0.0.1")
        assert channel.multicast_loopback
        channel.multicast_loopback = False
        assert not channel.multicast_loopback
        client(peers, ("127.0.0.1", port)).send(b"end")
        poll_until(loop, lambda: channel.got)
        assert channel.got == [b"end"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_ttls(loop: Loop, host: str) -> None:
    with bound(loop, Recorder, (host, 0)) as channel:
        assert channel.multicast_ttl == 1
        channel.ttl, channel.multicast_ttl = 7, 9
        assert (channel.ttl, channel.multicast_ttl) == (7, 9)


@pytest.mark.parametrize(
    ("group", "interface", "words"),
    [
        ("127.0.0.1", None, "group 127.0.0.1 on None"),
        ("group", None, "illegal IP address"),
        (GROUP, "nowhere0", "interface"),
        (GROUP, "192.0.2.77", "group"),
    ],
)
def test_what_cannot_be_joined(loop: Loop, group: str, interface: Any, words: str) -> None:
    with bound(loop, Recorder, ("", 0)) as channel, pytest.raises(OSError, match=words):
        channel.join(group, interface)


def test_leaving_what_was_not_joined(loop: Loop) -> None:
    with bound(loop, Recorder, ("", 0)) as channel, pytest.raises(OSError, match=f"group {GROUP}"):
        channel.leave(GROUP)


def test_options_without_a_socket(loop: Loop) -> None:
    with pytest.raises(OSError, match="has no socket"):
        _ = Recorder().ttl
    with pytest.raises(OSError, match="has no socket"):
        Recorder().join(GROUP)


def test_a_unix_socket_has_no_ttl(loop: Loop, tmp_path: Any) -> None:
    with bound(loop, Recorder, str(tmp_path / "x")) as channel, pytest.raises(OSError, match="no option IP_TTL"):
        channel.ttl = 3


@lo
def test_a_broadcast_may_be_sent_where_it_is_allowed(loop: Loop) -> None:
    with bound(loop, Recorder, ("", 0), broadcast=True) as channel:
        channel.send(b"all", ("127.255.255.255", channel.address[1]))
        poll_until(loop, lambda: channel.got)
        assert channel.got == [b"all"]


@lo
def test_several_sockets_of_a_group_share_a_port(loop: Loop, peers: Peers) -> None:
    first = loop.bind(("", 0), Recorder, reuse_address=True)
    with bound(loop, Recorder, first.address, reuse_address=True) as second:
        for channel in (first, second):
            channel.join(GROUP, "lo")
        sending_to_group(peers, first.address[1]).send(b"both")
        poll_until(loop, lambda: first.got and second.got)
        first.abort()
