# SPDX-License-Identifier: MIT
"""cassandra-driver's asyncore reactor, its connections and timers, against a node that speaks some of the protocol."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import cassandra.io.asyncorereactor as module
import pytest
from cassandra.connection import ConnectionShutdown, DefaultEndPoint
from cassandra.protocol import OptionsMessage, QueryMessage, SupportedMessage
from deadline import SECONDS, wait_until

HEAD = struct.Struct(">BBhBi")  # version, flags, stream, opcode, length of the body
STARTUP, READY, OPTIONS, SUPPORTED, QUERY = 1, 2, 5, 6, 7


def _strings(*words: str) -> bytes:
    return b"".join(struct.pack(">H", len(word)) + word.encode() for word in words)


SUPPORTS = struct.pack(">H", 2) + b"".join(
    _strings(name) + struct.pack(">H", 1) + _strings(value)
    for name, value in (("CQL_VERSION", "3.4.5"), ("COMPRESSION", "none"))
)


class Node(threading.Thread):
    """Answers OPTIONS and STARTUP; counts the bytes of queries, and leaves them without an answer."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = DefaultEndPoint("127.0.0.1", self.listener.getsockname()[1])
        self.sockets: list[socket.socket] = []
        self.asked = 0
        self.query_sizes: list[int] = []
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
            while head := sock.recv(HEAD.size, socket.MSG_WAITALL):
                version, _, stream, opcode, length = HEAD.unpack(head)
                if length:
                    sock.recv(length, socket.MSG_WAITALL)
                if opcode == QUERY:
                    self.query_sizes.append(length)
                    continue
                self.asked += opcode == OPTIONS
                answer, body = (SUPPORTED, SUPPORTS) if opcode == OPTIONS else (READY, b"")
                sock.sendall(HEAD.pack(version | 0x80, 0, stream, answer, len(body)) + body)
        except OSError:
            pass

    def end(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.sockets:
            sock.close()
        self.join(10)


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    yield made
    made.end()


@pytest.fixture(autouse=True)
def reactor() -> Iterator[Any]:
    module.AsyncoreConnection.initialize_reactor()
    yield module._global_loop
    module._global_loop._cleanup()
    module._global_loop._loop_dispatcher.close()  # a loop that no connection started leaves its waker
    module._global_loop = None
    assert not module._dispatcher_map


def connect(node: Node, **more: Any) -> Any:
    return module.AsyncoreConnection.factory(node.endpoint, SECONDS, protocol_version=4, **more)


def test_loop_is_the_one_that_a_pipe_wakes(reactor: Any) -> None:
    assert type(reactor._loop_dispatcher) is module._AsyncorePipeDispatcher


def test_connection_shakes_hands(node: Node) -> None:
    connection = connect(node)
    assert connection.connected_event.is_set()
    assert connection.last_error is None
    connection.close()


def test_requests_are_answered_one_by_one(node: Node) -> None:
    connection = connect(node)
    for _ in range(100):
        assert isinstance(connection.wait_for_response(OptionsMessage(), timeout=SECONDS), SupportedMessage)
    connection.close()


def test_requests_in_flight_are_all_answered(node: Node) -> None:
    connection = connect(node)
    answers = connection.wait_for_responses(*[OptionsMessage() for _ in range(200)], timeout=SECONDS)
    assert len(answers) == 200
    assert all(isinstance(answer, SupportedMessage) for answer in answers)
    connection.close()


def test_threads_share_a_connection(node: Node) -> None:
    connection = connect(node)
    answers: list[Any] = []

    def ask() -> None:
        for _ in range(50):
            answers.append(connection.wait_for_response(OptionsMessage(), timeout=SECONDS))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len(answers) == 400
    assert all(isinstance(answer, SupportedMessage) for answer in answers)
    connection.close()


def test_many_connections(node: Node) -> None:
    connections = [connect(node) for _ in range(30)]
    for connection in connections:
        assert isinstance(connection.wait_for_response(OptionsMessage(), timeout=SECONDS), SupportedMessage)
    for connection in connections:
        connection.close()
    wait_until(lambda: len(module._dispatcher_map) == 1)  # the waker's


def test_query_larger_than_any_buffer_arrives_whole(node: Node) -> None:
    connection = connect(node)
    query = "x" * (4 << 20)
    done: list[Any] = []
    connection.send_msg(QueryMessage(query, 1), connection.get_request_id(), done.append)
    wait_until(lambda: node.query_sizes)
    assert node.query_sizes[0] > 4 << 20
    connection.close()
    assert isinstance(done[0], ConnectionShutdown)


def test_node_that_hangs_up_ends_the_requests_in_flight(node: Node) -> None:
    connection = connect(node)
    ended: list[Any] = []
    connection.send_msg(QueryMessage("never answered", 1), connection.get_request_id(), ended.append)
    wait_until(lambda: node.query_sizes)
    for sock in node.sockets:
        sock.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: ended)
    assert isinstance(ended[0], ConnectionShutdown)
    assert connection.is_closed


def test_nobody_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        module.AsyncoreConnection.factory(DefaultEndPoint("127.0.0.1", port), SECONDS, protocol_version=4)


def test_timers_end_in_their_order(node: Node) -> None:
    connection = connect(node)  # starts the loop
    ended: list[int] = []
    for number in (3, 1, 2):
        module.AsyncoreConnection.create_timer(number * 0.15, lambda number=number: ended.append(number))
    module.AsyncoreConnection.create_timer(0.05, lambda: ended.append(0)).cancel()
    wait_until(lambda: len(ended) == 3)
    assert ended == [1, 2, 3]
    connection.close()


def test_many_timers_all_end(node: Node) -> None:
    connection = connect(node)
    ended: list[int] = []
    for number in range(500):
        module.AsyncoreConnection.create_timer(number % 7 * 0.01, lambda number=number: ended.append(number))
    wait_until(lambda: len(ended) == 500)
    connection.close()
