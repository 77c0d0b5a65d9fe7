# SPDX-License-Identifier: MIT
"""hazelcast-python-client's reactor, its wakers, timers and connections, against a member that answers each message."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import hazelcast.reactor as reactor_module
import pytest
from deadline import wait_until
from hazelcast.config import Config
from hazelcast.core import Address
from hazelcast.protocol.client_message import OutboundMessage

HEAD = struct.Struct("<iH")  # of a frame: its length with this head, its flags
WHOLE_MESSAGE = 0xC000 | 0x2000  # begins and ends here, in one frame


def message(correlation: int, size: int = 0) -> Any:
    """A message of one frame: type, correlation, partition, and ``size`` bytes."""
    body = struct.pack("<iqi", 1, correlation, -1) + b"x" * size
    return OutboundMessage(bytearray(HEAD.pack(HEAD.size + len(body), WHOLE_MESSAGE) + body), False)


class Member(threading.Thread):
    """Takes connections one after the other, notes how they begin, and gives back every frame."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self.listener.getsockname()[1])
        self.greetings: list[bytes] = []
        self.sockets: list[socket.socket] = []
        self.start()

    def run(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.sockets.append(sock)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock: socket.socket) -> None:
        try:
            self.greetings.append(sock.recv(3, socket.MSG_WAITALL))
            while head := sock.recv(HEAD.size, socket.MSG_WAITALL):
                sock.sendall(head + sock.recv(HEAD.unpack(head)[0] - HEAD.size, socket.MSG_WAITALL))
        except OSError:
            pass

    def hang_up(self) -> None:
        for sock in self.sockets:
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def end(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join(10)


class Manager:
    """What a connection needs of its manager."""

    live = True

    def __init__(self) -> None:
        self.closed: list[Any] = []

    def on_connection_close(self, connection: Any) -> None:
        self.closed.append(connection)


class Client:
    def __init__(self) -> None:
        self.reactor = reactor_module.AsyncoreReactor()
        self.manager = Manager()
        self.got: list[tuple[int, int]] = []  # correlation, and the bytes of the frame
        self.reactor.start()

    def connect(self, address: Any, timeout: float = 5.0) -> Any:
        config = Config()
        config.connection_timeout = timeout
        return self.reactor.connection_factory(self.manager, len(self.reactor.map), address, config, self.take)

    def take(self, answer: Any) -> None:
        self.got.append((answer.get_correlation_id(), len(answer.start_frame.buf)))


@pytest.fixture
def member() -> Iterator[Member]:
    made = Member()
    yield made
    made.end()


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.reactor.shutdown()
    assert not made.reactor.map


def test_loop_is_the_one_that_can_be_woken(client: Client) -> None:
    assert type(client.reactor._loop) is reactor_module._WakeableLoop


@pytest.mark.parametrize("waker", [reactor_module._PipedWaker, reactor_module._SocketedWaker])
def test_waker_wakes_and_rests(waker: Any) -> None:
    map: dict[int, Any] = {}
    made = waker(map)
    made.wake()
    made.wake()
    assert made.awake
    reactor_module.asyncore.loop(timeout=5, use_poll=True, map=map, count=1)
    assert not made.awake
    made.close()
    assert not map


def test_greeting_leaves_first(client: Client, member: Member) -> None:
    connection = client.connect(member.address)
    wait_until(lambda: member.greetings == [b"CP2"])
    assert connection.live


def test_messages_from_another_thread_come_back_in_order(client: Client, member: Member) -> None:
    connection = client.connect(member.address)
    for number in range(1000):
        assert connection.send_message(message(number))
    wait_until(lambda: len(client.got) == 1000)
    assert [number for number, _ in client.got] == list(range(1000))


def test_message_of_four_megabytes(client: Client, member: Member) -> None:
    connection = client.connect(member.address)
    connection.send_message(message(1, 4 << 20))
    connection.send_message(message(2))
    wait_until(lambda: len(client.got) == 2)
    assert client.got[0][1] > 4 << 20
    assert client.reactor.bytes_sent == client.reactor.bytes_received + 3  # the greeting has no answer


def test_many_connections_and_threads(client: Client, member: Member) -> None:
    connections = [client.connect(member.address) for _ in range(20)]
    threads = [
        threading.Thread(target=lambda c=c: [c.send_message(message(number, 100)) for number in range(50)])
        for c in connections
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    wait_until(lambda: len(client.got) == 1000)


def test_member_that_hangs_up_closes_the_connection(client: Client, member: Member) -> None:
    connection = client.connect(member.address)
    connection.send_message(message(1))
    wait_until(lambda: client.got)
    member.hang_up()
    wait_until(lambda: client.manager.closed == [connection])
    assert not connection.live
    assert not connection.send_message(message(2))


def test_connection_refused_closes(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    connection = client.connect(Address("127.0.0.1", port))
    wait_until(lambda: client.manager.closed == [connection])


def test_connection_closed_by_its_user(client: Client, member: Member) -> None:
    connection = client.connect(member.address)
    wait_until(lambda: member.greetings)
    connection.close_connection("enough", None)
    assert client.manager.closed == [connection]
    assert connection.close_reason == "enough"
    wait_until(lambda: connection not in client.reactor.map.values())


def test_shutdown_closes_what_is_open(member: Member) -> None:
    client = Client()
    connections = [client.connect(member.address) for _ in range(5)]
    wait_until(lambda: len(member.greetings) == 5)
    client.reactor.shutdown()
    assert not any(connection.live for connection in connections)
    assert not client.reactor.map


def test_timers_end_in_their_order(client: Client) -> None:
    ended: list[int] = []
    for number in (3, 1, 2):
        client.reactor.add_timer(number * 0.1, lambda number=number: ended.append(number))
    client.reactor.add_timer(0.05, lambda: ended.append(0)).cancel()
    wait_until(lambda: len(ended) == 3)
    assert ended == [1, 2, 3]


def test_timer_is_not_early(client: Client) -> None:
    ended: list[float] = []
    began = time.time()
    client.reactor.add_timer(0.2, lambda: ended.append(time.time()))
    wait_until(lambda: ended)
    assert ended[0] - began >= 0.2


def test_loop_without_a_waker_serves_too(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, map: Any) -> None:
        raise OSError("no waker here")

    monkeypatch.setattr(reactor_module._WakeableLoop, "__init__", refuse)
    # Its thread polls the map from the start, so that the first channel meets a loop at work: many tries, one a client.
    for _ in range(20):
        client = Client()
        assert type(client.reactor._loop) is reactor_module._BasicLoop
        connection = client.connect(member.address)
        connection.send_message(message(7))
        wait_until(lambda: client.got == [(7, 16)])  # noqa: B023 called at once
        client.reactor.shutdown()
