# SPDX-License-Identifier: MIT
"""bacpypes' TCP and UDP directors, their actors, its task manager and its `run()`."""

from __future__ import annotations

import asyncore
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bacpypes import core
from bacpypes.comm import PDU, ApplicationServiceElement, Client, bind
from bacpypes.task import FunctionTask
from bacpypes.tcp import TCPClientDirector, TCPServerDirector
from bacpypes.udp import UDPDirector
from deadline import SECONDS


class Answering(Client):  # type: ignore[misc]
    """Sits on a director of servers and sends back what comes, in capitals."""

    def confirmation(self, pdu: Any) -> None:
        self.request(PDU(bytes(pdu.pduData).upper(), destination=pdu.pduSource))


class Asking(Client):  # type: ignore[misc]
    """Sits on a director of clients, keeps what comes, and stops the run when that is enough."""

    def __init__(self) -> None:
        super().__init__()
        self.got = b""
        self.enough = 0

    def confirmation(self, pdu: Any) -> None:
        self.got += bytes(pdu.pduData)
        if len(self.got) >= self.enough:
            core.stop()


class Watching(ApplicationServiceElement):  # type: ignore[misc]
    """Is told by a director who comes, goes and fails."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def indication(
        self, add_actor: Any = None, del_actor: Any = None, actor_error: Any = None, error: Any = None
    ) -> None:
        self.told.append("came" if add_actor else "went" if del_actor else f"failed {error}")
        if not add_actor:
            core.stop()


def run() -> None:
    """Runs until something calls `core.stop`, and fails if nothing does."""
    late: list[bool] = []

    def give_up() -> None:
        late.append(True)
        core.stop()

    guard = FunctionTask(give_up)
    guard.install_task(time.time() + SECONDS)
    core.run(spin=0.1, sigterm=None, sigusr1=None)
    guard.suspend_task()
    assert not late, "nothing stopped it"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    asyncore.close_all()


@pytest.fixture
def address() -> Any:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()


@pytest.fixture
def tcp(address: Any) -> Any:
    server = TCPServerDirector(address, reuse=True)
    bind(Answering(), server)
    client, asking = TCPClientDirector(), Asking()
    bind(asking, client)
    return server, client, asking


def test_tcp_question_is_answered(tcp: Any, address: Any) -> None:
    _, _, asking = tcp
    asking.enough = 5
    asking.request(PDU(b"hello", destination=address))
    run()
    assert asking.got == b"HELLO"


def test_tcp_many_questions_on_one_connection(tcp: Any, address: Any) -> None:
    server, client, asking = tcp
    for number in range(200):
        asking.request(PDU(b"%04d" % number, destination=address))
    asking.enough = 800
    run()
    assert asking.got == b"".join(b"%04d" % number for number in range(200))
    assert (len(client.clients), len(server.servers)) == (1, 1)


def test_tcp_two_megabytes(tcp: Any, address: Any) -> None:
    _, _, asking = tcp
    asking.enough = 2 << 20
    asking.request(PDU(b"x" * asking.enough, destination=address))
    run()
    assert asking.got == b"X" * asking.enough


def test_tcp_client_that_leaves_is_told_of(tcp: Any, address: Any) -> None:
    server, client, asking = tcp
    watching = Watching()
    bind(watching, server)
    asking.enough = 1
    asking.request(PDU(b"a", destination=address))
    run()
    client.disconnect(address)
    run()
    assert watching.told == ["came", "went"]
    assert not server.servers


def test_tcp_refusal_is_told_of(address: Any) -> None:
    client, asking, watching = TCPClientDirector(), Asking(), Watching()
    bind(asking, client)
    bind(watching, client)
    asking.request(PDU(b"a", destination=address))
    run()
    assert any("refused" in told for told in watching.told), watching.told


def test_tcp_connection_without_use_times_out(address: Any) -> None:
    server, watching = TCPServerDirector(address, idle_timeout=0.2, reuse=True), Watching()
    bind(Answering(), server)
    bind(watching, server)
    with socket.create_connection(address) as sock:
        run()
        sock.settimeout(SECONDS)
        assert sock.recv(1) == b""
    assert watching.told == ["came", "went"]


def test_udp_questions_are_answered(address: Any) -> None:
    server = UDPDirector(address, reuse=True)
    bind(Answering(), server)
    client, asking = UDPDirector(("127.0.0.1", 0)), Asking()
    bind(asking, client)
    asking.enough = 300
    for number in range(100):
        asking.request(PDU(b"%03d" % number, destination=address))
    run()
    assert asking.got == b"".join(b"%03d" % number for number in range(100))


def test_deferred_functions_run_in_their_order() -> None:
    ran: list[int] = []
    for number in range(10):
        core.deferred(ran.append, number)
    core.deferred(core.stop)
    run()
    assert ran == list(range(10))
