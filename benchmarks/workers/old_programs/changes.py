"""Changes at every event: of a class, of a handler, of the map. What a loop remembers of them would be wrong."""

from __future__ import annotations

import socket

from benchmarks.workers.old_programs.modules import asyncore
from benchmarks.workers.old_programs.program import Channel, Program, connect


class Counting(Channel):
    requests = 0

    def handle_read(self) -> None:
        Counting.requests += 1
        Channel.handle_read(self)


def class_attribute(active: int = 10) -> Program:
    return connect([Counting] * active, fed=True)


class Rebound(Channel):
    """A handler of the instance, which is set at one event and deleted at the next."""

    def handle_read(self) -> None:
        self.handle_read = self.read_more  # type: ignore[method-assign]
        Channel.handle_read(self)

    def read_more(self) -> None:
        del self.handle_read
        Channel.handle_read(self)


def instance_handler(active: int = 10) -> Program:
    return connect([Rebound] * active, fed=True)


class Even(Channel):
    """A state machine whose states are classes."""

    def handle_read(self) -> None:
        self.__class__ = Odd  # type: ignore[assignment]
        Channel.handle_read(self)


class Odd(Channel):
    def handle_read(self) -> None:
        self.__class__ = Even  # type: ignore[assignment]
        Channel.handle_read(self)


def swapped_class(active: int = 10) -> Program:
    return connect([Even] * active, fed=True)


class Sleeper(Channel):
    """Another channel takes it out of the map, and puts it back."""


class Waking(Channel):
    sleeper: Sleeper

    def handle_read(self) -> None:
        key = self.sleeper.socket.fileno()
        if key in asyncore.socket_map:
            del asyncore.socket_map[key]
        else:
            asyncore.socket_map[key] = self.sleeper
        Channel.handle_read(self)


def map_by_hand() -> Program:
    program = connect([Waking], fed=True)
    near, far = socket.socketpair()
    sleeper = Sleeper(near)
    Waking.sleeper = sleeper
    program.closers += [sleeper.close, far.close]
    return program
