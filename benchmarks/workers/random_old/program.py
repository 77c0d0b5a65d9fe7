"""A random old program: a server whose channels have its traits, idle ones among them, and its loop."""

from __future__ import annotations

import socket
from typing import Any

from benchmarks.workers.old_programs.modules import asyncore
from benchmarks.workers.random_old import threads
from benchmarks.workers.random_old.common import CHANNELS
from benchmarks.workers.random_old.composition import compose
from benchmarks.workers.random_old.kinds import Map
from benchmarks.workers.random_old.loops import LOOPS
from benchmarks.workers.random_old.traits import Traits

BACKLOG = 128


class Server(asyncore.dispatcher):
    """Makes a channel for each connection.

    Where channels `relay`, connections come in pairs: first the one that the answers go to, then the one that asks.
    """

    def __init__(self, kind: Any, map: Map | None, relay: bool) -> None:
        asyncore.dispatcher.__init__(self, map=map)
        self.kind, self.own_map, self.relay = kind, map, relay
        self.answering: Any = None
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.set_reuse_addr()
        self.bind(("127.0.0.1", 0))
        self.listen(BACKLOG)

    def writable(self) -> bool:
        return False

    def handle_accepted(self, sock: socket.socket, address: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        channel = self.kind(sock, self.own_map)
        if not self.relay:
            channel.partner = CHANNELS[0] if CHANNELS[0] is not channel else None
        elif self.answering is None:
            self.answering = channel
        else:
            channel.partner, self.answering = self.answering, None


class Stop(asyncore.dispatcher):
    """Ends the loop when a byte comes, and keeps it."""

    said = b""

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.said = self.recv(1)
        raise asyncore.ExitNow


class Program:
    """The program of these traits, ready to run. `kind` stands in the place of its class of channels."""

    def __init__(self, traits: Traits, kind: Any = None) -> None:
        self.traits = traits
        self.own_map: Map | None = {} if traits.own_map else None
        kind = kind or compose(traits)
        self.address = Server(kind, self.own_map, traits.answer == "peer").socket.getsockname()
        near, self.stopper = socket.socketpair()
        self.stop = Stop(near, self.own_map)
        self.silent = []
        for _ in range(traits.idle):
            ours, theirs = socket.socketpair()
            kind(ours, self.own_map)
            self.silent.append(theirs)

    def start_threads(self) -> None:
        if self.traits.answer == "thread":
            threads.start(self.own_map, self.traits.block)

    def run(self) -> None:
        """Runs the loop until `stop` is told to end it."""
        self.stop.said = b""
        try:
            LOOPS[self.traits.loop](asyncore.socket_map if self.own_map is None else self.own_map)
        except asyncore.ExitNow:
            pass
