# SPDX-License-Identifier: MIT
"""pysnmp's dispatcher and UDP transports: datagrams between transports of one dispatcher and of two, and its timers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from deadline import wait_until
from pysnmp.carrier.asyncore.dgram import udp
from pysnmp.carrier.asyncore.dispatch import AsyncoreDispatcher

SERVER, CLIENT = (*udp.domainName, 1), (*udp.domainName, 2)


class Pair:
    """A server that answers each datagram, and a client, on one dispatcher."""

    def __init__(self) -> None:
        self.dispatcher = AsyncoreDispatcher()
        self.dispatcher.registerRecvCbFun(self.take)
        self.server = udp.UdpTransport().openServerMode(("127.0.0.1", 0))
        self.dispatcher.registerTransport(SERVER, self.server)
        self.dispatcher.registerTransport(CLIENT, udp.UdpTransport().openClientMode())
        self.answers: list[bytes] = []

    def take(self, dispatcher: Any, domain: Any, address: Any, datagram: bytes) -> None:
        if domain == SERVER:
            dispatcher.sendMessage(b"answer to " + datagram, domain, address)
        else:
            self.answers.append(datagram)
            dispatcher.jobFinished(1)

    def ask(self, question: bytes) -> None:
        self.dispatcher.sendMessage(question, CLIENT, self.server.socket.getsockname())
        self.dispatcher.jobStarted(1)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.dispatcher.closeDispatcher()
    assert not made.dispatcher.getSocketMap()


def test_datagram_is_answered(pair: Pair) -> None:
    pair.ask(b"this")
    pair.dispatcher.runDispatcher()
    assert pair.answers == [b"answer to this"]


def test_dispatcher_runs_until_every_job_is_done(pair: Pair) -> None:
    for number in range(100):
        pair.ask(str(number).encode())
    pair.dispatcher.runDispatcher()
    assert pair.answers == [b"answer to %d" % number for number in range(100)]


def test_one_question_after_the_other(pair: Pair) -> None:
    for number in range(200):
        pair.ask(str(number).encode())
        pair.dispatcher.runDispatcher()
    assert len(pair.answers) == 200


def test_datagram_of_fifty_thousand_bytes(pair: Pair) -> None:
    pair.ask(b"x" * 50_000)
    pair.dispatcher.runDispatcher()
    assert pair.answers == [b"answer to " + b"x" * 50_000]


def test_timer_ticks_while_it_waits(pair: Pair) -> None:
    ticks: list[float] = []

    def tick(now: float) -> None:
        ticks.append(now)
        if len(ticks) == 3:
            pair.dispatcher.jobFinished(2)

    pair.dispatcher.registerTimerCbFun(tick, 0.05)
    pair.dispatcher.jobStarted(2)
    pair.dispatcher.runDispatcher(0.05)
    assert len(ticks) >= 3


def test_transport_that_left_is_not_served(pair: Pair) -> None:
    pair.dispatcher.unregisterTransport(SERVER)
    pair.dispatcher.sendMessage(b"lost", CLIENT, pair.server.socket.getsockname())
    pair.dispatcher.runDispatcher()  # ends when it has been sent
    assert pair.answers == []
    pair.dispatcher.registerTransport(SERVER, pair.server)
    pair.dispatcher.jobStarted(1)
    pair.dispatcher.runDispatcher()
    assert pair.answers == [b"answer to lost"]


def test_two_dispatchers_in_two_threads(pair: Pair) -> None:
    other = Pair()
    other.dispatcher.jobStarted(2)
    running = threading.Thread(target=other.dispatcher.runDispatcher, args=(0.02,))
    running.start()
    for _ in range(50):
        pair.dispatcher.sendMessage(b"q", CLIENT, other.server.socket.getsockname())
        pair.dispatcher.jobStarted(1)
    pair.dispatcher.runDispatcher(0.02)
    assert pair.answers == [b"answer to q"] * 50
    other.dispatcher.jobFinished(2)
    running.join(10)
    wait_until(lambda: not running.is_alive())
    other.dispatcher.closeDispatcher()
