# SPDX-License-Identifier: MIT
"""The examples of asyncio and cyncore in one thread, each with real clients, and ended by SIGTERM."""

from __future__ import annotations

import socket

from tests.support.examples import PATIENCE, serving_stream


def test_the_hosted_echo_gives_back_every_byte() -> None:
    data = bytes(range(256)) * 400
    with serving_stream("asyncio_host.py") as server, socket.create_connection(server.address, PATIENCE) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as file:
            assert file.read() == data


def test_the_host_goes_on_with_its_own_work() -> None:
    with serving_stream("asyncio_host.py", "--every", "0.05") as server:
        with socket.create_connection(server.address, PATIENCE) as sock:
            sock.sendall(b"12345")
            assert sock.recv(100) == b"12345"
        assert server.process.stdout is not None
        lines = iter(server.process.stdout.readline, b"")
        assert next(line for line in lines if b"5 bytes" in line) == b"5 bytes so far\n"


def test_lines_are_answered_by_coroutines() -> None:
    with serving_stream("asyncio_guest.py") as server, socket.create_connection(server.address, PATIENCE) as sock:
        sock.sendall(b"127.0.0.1\n127.0.0.2\n..\n")
        with sock.makefile("rb") as file:
            assert [file.readline() for _ in range(2)] == [b"127.0.0.1\n", b"127.0.0.2\n"]
            assert file.readline().startswith(b"error: ")


def test_a_client_that_leaves_early_disturbs_nobody() -> None:
    with serving_stream("asyncio_guest.py") as server:
        with socket.create_connection(server.address, PATIENCE) as sock:
            sock.sendall(b"127.0.0.1\n")
        with socket.create_connection(server.address, PATIENCE) as sock, sock.makefile("rb") as file:
            sock.sendall(b"127.0.0.3\n")
            assert file.readline() == b"127.0.0.3\n"
