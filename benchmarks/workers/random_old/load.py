"""The load: the clients of a random old program, all of them in one process and one thread."""

from __future__ import annotations

import select
import socket
import struct
import time
from dataclasses import dataclass, field

from benchmarks.workers.random_old.traits import Traits

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() leaves no port in TIME_WAIT
MOST = 65536
PATIENCE = 5.0  # seconds
WHOLE = "whole"  # how a program ends that has answered everything


class Unanswered(Exception):
    """The program did not answer as it should; the text says what it did."""


def connect(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address, timeout=PATIENCE)
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Client:
    """Asks on one connection, and reads the answers from the same, or from another where the program relays."""

    def __init__(self, address: tuple[str, int], relay: bool) -> None:
        self.address, self.relay = address, relay
        self.left = 0  # bytes of the turn that have not come back
        self.turns = 0
        self.began = 0.0
        self.connect()

    def connect(self) -> None:
        self.answer = connect(self.address)
        self.ask = connect(self.address) if self.relay else self.answer

    def begin(self, message: bytes, depth: int) -> None:
        """Begins a turn, which is so many messages."""
        self.began = time.perf_counter()
        self.left = len(message) * depth
        for _ in range(depth):
            self.ask.send(message)

    def read(self) -> bool:
        """Reads what has come. Returns whether the turn is over. Raises Unanswered."""
        data = self.answer.recv(MOST)
        if not data:
            raise Unanswered("closed a connection")
        self.left -= len(data)
        if self.left < 0:
            raise Unanswered("sent more than it was asked for")
        self.turns += not self.left
        return not self.left

    def close(self) -> None:
        self.ask.close()
        self.answer.close()

    def reset(self) -> None:
        for connection in (self.ask, self.answer):
            if connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.close()


@dataclass
class Talk:
    """What a while of talking gave."""

    messages: int = 0
    seconds: float = 0.0
    turns: list[float] = field(default_factory=list)  # the seconds that each took


class Load:
    """All clients. What they ask must come back within `patience` seconds after the last bytes that came."""

    def __init__(self, address: tuple[str, int], traits: Traits, patience: float) -> None:
        self.message = b"a" * (traits.size - 1) + b"\n"
        self.depth, self.churn, self.patience = traits.depth, traits.churn, patience
        self.clients = [Client(address, traits.answer == "peer") for _ in range(traits.clients)]
        self.poll = select.poll()
        self.reading: dict[int, Client] = {}
        for client in self.clients:
            self.watch(client)

    def watch(self, client: Client) -> None:
        self.reading[client.answer.fileno()] = client
        self.poll.register(client.answer, select.POLLIN)

    def renew(self, client: Client) -> None:
        """The client leaves, and comes again."""
        self.poll.unregister(client.answer)
        del self.reading[client.answer.fileno()]
        client.close()
        client.connect()
        self.watch(client)

    def talk(self, seconds: float, most: float = float("inf")) -> Talk:
        """Lets every client talk for so long, or until `most` messages were answered. Raises Unanswered."""
        talk = Talk()
        began = now = time.perf_counter()
        for client in self.clients:
            client.begin(self.message, self.depth)
        busy = len(self.clients)
        while busy:
            for client in self.wait():
                if not client.read():
                    continue
                now = time.perf_counter()
                talk.messages += self.depth
                talk.turns.append(now - client.began)
                if self.churn and client.turns % self.churn == 0:
                    self.renew(client)
                if now < began + seconds and talk.messages < most:
                    client.begin(self.message, self.depth)
                else:
                    busy -= 1
        talk.seconds = now - began
        return talk

    def wait(self) -> list[Client]:
        """Those for whom something has come. Raises Unanswered."""
        ready = self.poll.poll(1000 * self.patience)
        if not ready:
            raise Unanswered("lost a message")
        return [self.reading[descriptor] for descriptor, _ in ready]

    def close(self) -> None:
        for client in self.clients:
            client.reset()
