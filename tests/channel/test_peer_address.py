# SPDX-License-Identifier: MIT
"""How a channel begins with a socket that was accepted, and the address that it has of the peer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cyncore import Loop, dispatcher
from tests.support.peers import Peers, poll_until


def pair_of(family: int, host: str, peers: Peers) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection over the loopback: the accepted one first."""
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind((host, 0))
        listener.listen(1)
        client = socket.create_connection(listener.getsockname()[:2])
        accepted, _ = listener.accept()
    peers.keep(accepted, client)
    return accepted, client


def test_address_is_the_peers(loop: Loop, peers: Peers) -> None:
    accepted, client = pair_of(socket.AF_INET, "127.0.0.1", peers)
    channel = dispatcher(accepted, loop.map)
    assert channel.addr == client.getsockname()
    assert [type(part) for part in channel.addr] == [str, int]
    channel.close()


def test_address_of_ipv6_has_four_parts(loop: Loop, peers: Peers) -> None:
    accepted, client = pair_of(socket.AF_INET6, "::1", peers)
    channel = dispatcher(accepted, loop.map)
    assert channel.addr == client.getsockname() == ("::1", channel.addr[1], 0, 0)
    channel.close()


def test_address_of_a_nameless_unix_peer_is_empty(loop: Loop, peers: Peers) -> None:
    ours, _ = peers.pair()
    channel = dispatcher(ours, loop.map)
    assert channel.addr == ours.getpeername() == ""
    channel.close()


def test_address_is_kept_when_the_peer_has_gone(loop: Loop, peers: Peers) -> None:
    accepted, client = pair_of(socket.AF_INET, "127.0.0.1", peers)
    name = client.getsockname()
    channel = dispatcher(accepted, loop.map)
    client.close()
    channel.close()
    assert channel.addr == name


def test_address_is_the_same_object_each_time(loop: Loop, peers: Peers) -> None:
    accepted, _ = pair_of(socket.AF_INET, "127.0.0.1", peers)
    channel = dispatcher(accepted, loop.map)
    assert channel.addr is channel.addr
    channel.close()


def test_address_can_be_assigned_before_it_was_asked_for(loop: Loop, peers: Peers) -> None:
    accepted, _ = pair_of(socket.AF_INET, "127.0.0.1", peers)
    channel = dispatcher(accepted, loop.map)
    channel.addr = "somewhere"
    assert channel.addr == "somewhere"
    channel.close()


def test_address_of_nothing_is_none() -> None:
    assert dispatcher(map={}).addr is None


def test_class_with_an_addr_of_its_own_is_given_the_address(loop: Loop, peers: Peers) -> None:
    class Proud(dispatcher):
        told: Any = None

        @property
        def addr(self) -> Any:
            return ("told", self.told)

        @addr.setter
        def addr(self, value: Any) -> None:
            self.told = value

    accepted, client = pair_of(socket.AF_INET, "127.0.0.1", peers)
    channel = Proud(accepted, loop.map)
    assert channel.addr == ("told", client.getsockname())
    channel.close()


def test_class_that_watches_its_attributes_sees_them_all(loop: Loop, peers: Peers) -> None:
    class Watchful(dispatcher):
        def __setattr__(self, name: str, value: Any) -> None:
            seen.append(name)
            super().__setattr__(name, value)

    seen: list[str] = []
    ours, _ = peers.pair()
    channel = Watchful(ours, loop.map)
    assert {"_map", "socket", "_fileno", "connected", "addr"} <= set(seen)
    seen.clear()
    channel.close()
    assert {"connected", "accepting", "connecting"} <= set(seen)


def test_own_set_socket_is_called(loop: Loop, peers: Peers) -> None:
    class Setter(dispatcher):
        def set_socket(self, sock: Any, map: Any = None) -> None:
            calls.append(sock)
            super().set_socket(sock, map)

    calls: list[Any] = []
    ours, _ = peers.pair()
    channel = Setter(ours, loop.map)
    assert calls == [ours]
    assert loop.map[ours.fileno()] is channel
    channel.close()


def test_own_add_channel_is_called(loop: Loop, peers: Peers) -> None:
    class Adder(dispatcher):
        def add_channel(self, map: Any = None) -> None:
            calls.append(map)
            super().add_channel(map)

    calls: list[Any] = []
    ours, _ = peers.pair()
    channel = Adder(ours, loop.map)
    assert calls == [loop.map]
    channel.close()


def test_method_put_into_the_class_later_counts(loop: Loop, peers: Peers) -> None:
    class Late(dispatcher):
        pass

    first, _ = peers.pair()
    Late(first, loop.map).close()
    calls: list[Any] = []
    Late.set_socket = lambda self, sock, map=None: calls.append(sock)  # type: ignore[method-assign]
    second, _ = peers.pair()
    Late(second, loop.map)
    assert calls == [second]


def test_socket_becomes_non_blocking_and_the_channel_connected(loop: Loop, peers: Peers) -> None:
    ours, _ = peers.pair()
    ours.setblocking(True)
    channel = dispatcher(ours, loop.map)
    assert ours.gettimeout() == 0.0
    assert (channel.connected, channel.accepting, channel.connecting) == (True, False, False)
    assert loop.map == {ours.fileno(): channel}
    channel.close()


def test_unconnected_socket_leaves_the_channel_unconnected(loop: Loop) -> None:
    with socket.socket() as sock:
        channel = dispatcher(sock, loop.map)
        assert not channel.connected
        assert channel.addr is None
        assert loop.map == {sock.fileno(): channel}
        channel.close()


def test_closed_socket_is_refused(loop: Loop) -> None:
    sock = socket.socket()
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        dispatcher(sock, loop.map)
    assert loop.map == {}


def test_second_init_gives_the_channel_another_socket(loop: Loop, peers: Peers) -> None:
    (first, _), (second, _) = peers.pair(), peers.pair()
    channel = dispatcher(first, loop.map)
    channel.del_channel()
    dispatcher.__init__(channel, second, loop.map)
    assert loop.map == {second.fileno(): channel}
    channel.close()


class Listener(dispatcher):
    def __init__(self, map: Any) -> None:
        super().__init__(map=map)
        self.taken: list[tuple[socket.socket, Any]] = []
        self.create_socket()
        self.bind(("127.0.0.1", 0))
        self.listen(16)

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        self.taken.append((sock, addr))


@pytest.fixture
def listener(loop: Loop) -> Iterator[Listener]:
    made = Listener(loop.map)
    yield made
    made.close()
    for sock, _ in made.taken:
        sock.close()


def accept_some(loop: Loop, peers: Peers, listener: Listener, count: int) -> list[socket.socket]:
    clients = [socket.create_connection(listener.socket.getsockname()) for _ in range(count)]
    peers.keep(*clients)
    poll_until(loop, lambda: len(listener.taken) == count)
    return clients


def test_accepted_sockets_are_like_any_other(loop: Loop, peers: Peers, listener: Listener) -> None:
    accept_some(loop, peers, listener, 3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        other, _ = server.accept()
        peers.keep(client, other)
    names = [name for name in socket.socket.__slots__ if name != "__weakref__"]  # type: ignore[attr-defined]
    for sock, _ in listener.taken:
        assert type(sock) is socket.socket
        assert (sock.family, sock.type, sock.proto) == (other.family, other.type, listener.socket.proto)
        assert type(sock.family) is socket.AddressFamily
        assert sock.gettimeout() is None
        assert sock.get_inheritable() is False
        assert [getattr(sock, name) for name in names] == [getattr(other, name) for name in names]


def test_accepted_addresses_are_the_clients(loop: Loop, peers: Peers, listener: Listener) -> None:
    clients = accept_some(loop, peers, listener, 3)
    assert sorted(addr for _, addr in listener.taken) == sorted(client.getsockname() for client in clients)


def test_accepted_socket_lives_as_long_as_its_files(loop: Loop, peers: Peers, listener: Listener) -> None:
    _, client = accept_some(loop, peers, listener, 2)
    sock = listener.taken[1][0]
    with sock.makefile("rb") as stream:
        sock.close()
        client.sendall(b"a line\n")
        assert stream.readline() == b"a line\n"


def test_default_timeout_holds_for_accepted_sockets(
    loop: Loop, peers: Peers, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket.setdefaulttimeout(7.0)
    try:
        accept_some(loop, peers, listener, 2)
        assert [sock.gettimeout() for sock, _ in listener.taken] == [7.0, 7.0]
    finally:
        socket.setdefaulttimeout(None)


def test_class_put_in_the_place_of_socket_is_what_is_accepted(
    loop: Loop, peers: Peers, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrapped(socket.socket):
        pass

    client = socket.create_connection(listener.socket.getsockname())
    peers.keep(client)
    monkeypatch.setattr(socket, "socket", Wrapped)
    poll_until(loop, lambda: listener.taken)
    assert type(listener.taken[0][0]) is Wrapped
