# SPDX-License-Identifier: MIT
"""asyncore-wsgi's server: requests, uploads, connections that stay, and its WebSockets."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import asyncore_wsgi
import pytest
from deadline import SECONDS


def application(environ: Any, start_response: Any) -> Any:
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/fails":
        raise ValueError("on purpose")
    headers = [("Content-Type", "text/plain")]
    if environ["PATH_INFO"] == "/parts":
        start_response("200 OK", headers)
        return [b"part %d\n" % number for number in range(50)]
    answer = body or environ["PATH_INFO"].encode()
    start_response("200 OK", [*headers, ("Content-Length", str(len(answer)))])
    return [answer]


class Echo(asyncore_wsgi.AsyncWebSocketHandler):  # type: ignore[misc]
    def handleMessage(self) -> None:
        self.sendMessage(self.data)


@pytest.fixture
def port() -> Iterator[int]:
    server = asyncore_wsgi.make_server("127.0.0.1", 0, application, ws_handler_class=Echo)
    stopping = threading.Event()

    def serve() -> None:
        while not stopping.is_set():
            server.poll_once(0.02)

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.server_port
    stopping.set()
    thread.join(SECONDS)
    server.close()
    assert not server._map


@pytest.fixture
def client(port: int) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    yield made
    made.close()


def test_request(client: http.client.HTTPConnection) -> None:
    client.request("GET", "/this")
    assert client.getresponse().read() == b"/this"


def test_requests_on_one_connection(client: http.client.HTTPConnection) -> None:
    for number in range(100):
        client.request("GET", f"/{number}")
        assert client.getresponse().read() == f"/{number}".encode()


def test_answer_in_parts_is_chunked(client: http.client.HTTPConnection) -> None:
    client.request("GET", "/parts")
    response = client.getresponse()
    assert response.getheader("Transfer-Encoding") == "chunked"
    assert response.read() == b"".join(b"part %d\n" % number for number in range(50))


def test_upload_comes_back(port: int) -> None:
    # Head and body in one piece: it reads from a socket that does not block, and takes what is there for all of it.
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as sock, sock.makefile("rb") as file:
        sock.sendall(b"POST / HTTP/1.0\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
        assert file.read().endswith(b"\r\n\r\n" + b"x" * 5000)


def test_application_that_fails_costs_its_request(port: int) -> None:
    for path, status in (("/fails", 500), ("/works", 200)):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        client.request("GET", path)
        assert client.getresponse().status == status
        client.close()


def test_many_connections_at_once(port: int) -> None:
    clients = [http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS) for _ in range(50)]
    for number, client in enumerate(clients):
        client.request("GET", f"/{number}")
    assert [client.getresponse().read() for client in clients] == [f"/{number}".encode() for number in range(50)]
    for client in clients:
        client.close()


class WebSocket:
    """The least of a client."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.file = self.sock.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            f"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.status = int(self.file.readline().split()[1])
        while self.file.readline().strip():
            pass

    def send(self, text: str, opcode: int = 1) -> None:
        data = text.encode()
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        self.sock.sendall(bytes([0x80 | opcode]) + length + bytes(4) + data)

    def receive(self) -> tuple[int, bytes]:
        first, length = self.file.read(2)
        if length == 126:
            (length,) = struct.unpack(">H", self.file.read(2))
        return first & 15, self.file.read(length)

    def close(self) -> None:
        self.file.close()
        self.sock.close()


@pytest.fixture
def web_socket(port: int) -> Iterator[WebSocket]:
    made = WebSocket(port)
    yield made
    made.close()


def test_web_socket_echoes(web_socket: WebSocket) -> None:
    assert web_socket.status == 101
    for text in ["short", "x" * 200, "y" * 30_000]:
        web_socket.send(text)
        assert web_socket.receive() == (1, text.encode())


def test_web_socket_messages_in_flight(web_socket: WebSocket) -> None:
    for number in range(100):
        web_socket.send(str(number))
    assert [web_socket.receive() for _ in range(100)] == [(1, b"%d" % number) for number in range(100)]


def test_web_socket_closes_when_asked(web_socket: WebSocket) -> None:
    web_socket.send("", opcode=8)
    assert web_socket.file.read() == b""  # it means to answer first, but closes before that can leave
