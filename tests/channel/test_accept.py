# SPDX-License-Identifier: MIT
"""Listeners: bursts, connections that are gone before they are accepted, and a full table of descriptors."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cyncore
from cyncore import Loop, dispatcher
from tests.support.loops import every_backend
from tests.support.peers import Peers, Recorder, poll_until
from tests.support.script import run_script

BURST = 16  # connections that the default handle_accept takes an event


class Listener(Recorder):
    """Keeps what it accepted."""

    def __init__(self, map: Any) -> None:
        super().__init__(None, map)
        self.accepted: list[socket.socket] = []
        self.create_socket()
        self.bind(("127.0.0.1", 0))
        self.listen(100)

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        assert addr == sock.getpeername()
        self.accepted.append(sock)


@pytest.fixture
def listening(loop: Loop, peers: Peers) -> Iterator[Callable[..., Any]]:
    """Makes listeners, and closes them and what they accepted in the end."""
    made: list[Any] = []

    def make(kind: type[Listener] = Listener) -> Any:
        made.append(kind(loop.map))
        return made[-1]

    yield make
    for listener in made:
        listener.close()
        for sock in listener.accepted:
            sock.close()


def dial(peers: Peers, listener: Any, count: int) -> list[socket.socket]:
    clients = [socket.create_connection(listener.socket.getsockname()) for _ in range(count)]
    peers.keep(*clients)
    return clients


def test_burst_is_accepted_in_few_events(loop: Loop, peers: Peers, listening: Callable[..., Any]) -> None:
    listener = listening()
    dial(peers, listener, BURST)
    assert loop.poll(5) == 1
    assert len(listener.accepted) == BURST


def test_burst_is_bounded_so_that_others_have_their_turn(
    loop: Loop, peers: Peers, listening: Callable[..., Any]
) -> None:
    listener = listening()
    dial(peers, listener, BURST * 2 + 1)
    channel, far = peers.channel(Recorder, loop.map)
    far.send(b"data")
    loop.poll(5)
    assert len(listener.accepted) == BURST
    assert channel.got == b"data"
    poll_until(loop, lambda: len(listener.accepted) == BURST * 2 + 1)


def test_paused_listener_accepts_nobody_until_it_resumes(
    loop: Loop, peers: Peers, listening: Callable[..., Any]
) -> None:
    listener = listening()
    listener.pause_reading()
    dial(peers, listener, 1)
    assert [loop.poll() for _ in range(5)] == [0] * 5
    listener.resume_reading()
    poll_until(loop, lambda: len(listener.accepted) == 1)


def test_handle_accept_of_a_class_is_called_once_an_event(
    loop: Loop, peers: Peers, listening: Callable[..., Any]
) -> None:
    class Own(Listener):
        calls = 0

        def handle_accept(self) -> None:
            self.calls += 1
            pair = self.accept()
            assert pair is not None
            self.handle_accepted(*pair)

    listener = listening(Own)
    dial(peers, listener, 3)
    loop.poll(5)
    assert (listener.calls, len(listener.accepted)) == (1, 1)
    poll_until(loop, lambda: len(listener.accepted) == 3)


def test_listener_closed_within_a_burst_accepts_no_more(
    loop: Loop, peers: Peers, listening: Callable[..., Any]
) -> None:
    class Sated(Listener):
        def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
            super().handle_accepted(sock, addr)
            if len(self.accepted) == 3:
                self.close()

    listener = listening(Sated)
    dial(peers, listener, 10)
    loop.poll(5)
    loop.poll()
    assert len(listener.accepted) == 3
    assert "error" not in " ".join(listener.seen)


@every_backend
def test_pausing_in_handle_accepted_ends_the_burst(loop: Loop, peers: Peers, listening: Callable[..., Any]) -> None:
    class Two(Listener):
        def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
            super().handle_accepted(sock, addr)
            if len(self.accepted) == 2:
                self.pause_reading()

    listener = listening(Two)
    dial(peers, listener, 10)
    for _ in range(5):
        loop.poll(0.02)
    assert len(listener.accepted) == 2


@every_backend
def test_a_listener_that_defines_readable_is_asked_after_every_connection(
    loop: Loop, peers: Peers, listening: Callable[..., Any]
) -> None:
    class AtMostTwo(Listener):
        def readable(self) -> bool:
            return len(self.accepted) < 2

        def writable(self) -> bool:
            return False

    listener = listening(AtMostTwo)
    dial(peers, listener, 10)
    for _ in range(5):
        loop.poll(0.02)
    assert len(listener.accepted) == 2


def test_default_handle_accepted_closes_the_connection(loop: Loop, peers: Peers) -> None:
    listener = dispatcher(None, loop.map)
    listener.create_socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    (client,) = dial(peers, listener, 1)
    loop.poll(5)
    assert client.recv(1) == b""
    listener.close()


def test_accepted_socket_blocks_as_before(loop: Loop, peers: Peers, listening: Callable[..., Any]) -> None:
    listener = listening()
    dial(peers, listener, 1)
    loop.poll(5)
    assert listener.accepted[0].gettimeout() is None
    assert not listener.accepted[0].get_inheritable()


def test_accept_gives_none_where_nobody_waits(listening: Callable[..., Any]) -> None:
    assert listening().accept() is None


def test_connection_reset_before_it_is_accepted_costs_nothing(
    loop: Loop, peers: Peers, listening: Callable[..., Any]
) -> None:
    listener = listening()
    listener.handle_accepted = lambda sock, addr: listener.accepted.append(sock)
    (client,) = dial(peers, listener, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    dial(peers, listener, 1)
    poll_until(loop, lambda: len(listener.accepted) == 2)
    assert listener.seen == []


def test_channel_of_a_peer_that_is_gone_closes_and_does_not_spin(
    loop: Loop, peers: Peers, listening: Callable[..., Any]
) -> None:
    class Server(Listener):
        def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
            self.accepted.append(sock)
            self.child = Recorder(sock, self._map)

    listener = listening(Server)
    (client,) = dial(peers, listener, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    poll_until(loop, lambda: listener.accepted and "close" in listener.child.seen)
    assert len(loop.map) == 1
    assert not listener.child.connected


class Faked:
    """A listening socket whose accept() fails as it is told to."""

    def __init__(self, sock: socket.socket, failures: list[BaseException]) -> None:
        self.sock, self.failures, self.attempts = sock, failures, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def accept(self) -> tuple[socket.socket, Any]:
        self.attempts += 1
        if self.failures:
            raise self.failures.pop(0)
        return self.sock.accept()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ECONNABORTED, "aborted"),
        OSError(errno.EAGAIN, "again"),
        TypeError("cannot unpack non-iterable NoneType object"),
    ],
)
def test_connection_lost_in_accept_is_passed_over(
    loop: Loop, peers: Peers, listening: Callable[..., Any], error: BaseException
) -> None:
    listener = listening()
    listener.socket = Faked(listener.socket, [error])
    dial(peers, listener, 1)
    poll_until(loop, lambda: len(listener.accepted) == 1)
    assert listener.seen == []


def test_other_error_of_accept_is_the_listener_s(loop: Loop, peers: Peers, listening: Callable[..., Any]) -> None:
    listener = listening()
    listener.socket = Faked(listener.socket, [OSError(errno.EINVAL, "no")])
    dial(peers, listener, 1)
    poll_until(loop, lambda: listener.seen)
    assert listener.seen == ["error OSError(22, 'no')"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_lack_of_anything_to_accept_with_is_waited_out(
    loop: Loop, peers: Peers, listening: Callable[..., Any], number: int
) -> None:
    listener = listening()
    listener.socket = Faked(listener.socket, [OSError(number, "none left")] * 2)
    dial(peers, listener, 1)
    for _ in range(100):
        loop.poll()  # the pause is far longer than this; without one, these would be 100 attempts
    assert listener.socket.attempts < 10
    poll_until(loop, lambda: len(listener.accepted) == 1)
    assert listener.seen == []


@every_backend
def test_a_listener_that_backed_off_is_served_by_the_next_loop(
    loop: Loop, peers: Peers, listening: Callable[..., Any]
) -> None:
    class Full(socket.socket):
        full = True

        def accept(self) -> tuple[socket.socket, Any]:
            if self.full:
                raise OSError(errno.EMFILE, "full")
            return super().accept()

    class Late(Listener):
        def __init__(self, map: Any) -> None:
            Recorder.__init__(self, None, map)
            self.accepted = []
            self.set_socket(sock)
            self.accepting = True

    sock = Full()
    sock.bind(("127.0.0.1", 0))
    sock.listen(5)
    listener = listening(Late)
    dial(peers, listener, 1)
    loop.poll(5)
    assert listener.accepted == []
    sock.full = False
    loop.close()
    with Loop(loop.map, backend=loop.backend) as after:
        poll_until(after, lambda: listener.accepted, 150)
    assert listener.seen == []


def test_running_out_of_room_in_a_handler_is_an_error_like_another(
    loop: Loop, peers: Peers, listening: Callable[..., Any]
) -> None:
    class Unlucky(Listener):
        def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
            sock.close()
            raise OSError(errno.EMFILE, "too many")

    listener = listening(Unlucky)
    dial(peers, listener, 1)
    loop.poll(5)
    assert listener.seen == [f"error OSError({errno.EMFILE}, 'too many')"]


FULL = """
import logging, os, resource, socket
from cyncore import Loop, dispatcher

logged = []
class Keep(logging.Handler):
    def emit(self, record):
        logged.append(record.levelname)
logging.getLogger("cyncore").addHandler(Keep())

class Server(dispatcher):
    calls = 0
    def __init__(self, loop):
        dispatcher.__init__(self, None, loop.map)
        self.accepted = []
        self.create_socket()
        self.bind(("127.0.0.1", 0))
        self.listen(50)
    HANDLER
    def handle_accepted(self, sock, addr):
        self.accepted.append(sock)
    def handle_error(self):
        raise

loop = Loop()
server = Server(loop)
loop.poll()
clients = [socket.create_connection(server.socket.getsockname()) for _ in range(20)]
resource.setrlimit(resource.RLIMIT_NOFILE, (60, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
taken = []
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass

loop.call_later(0.5, loop.stop)
rounds = 0
while loop.next_deadline() is not None:
    loop.poll(1)
    rounds += 1
assert not server.accepted
assert server in loop.map.values()
assert server.calls <= 8, server.calls
assert rounds <= 30, rounds
assert logged in (["WARNING"], ["WARNING"] * 2), logged  # one a second

while taken:
    os.close(taken.pop())
for _ in range(100):
    if len(server.accepted) == 20:
        break
    loop.poll(1)
assert len(server.accepted) == 20, len(server.accepted)
for sock in server.accepted + clients:
    sock.close()
server.close()
loop.close()
print("served")
"""

OWN_HANDLER = """def handle_accept(self):
        self.calls += 1
        pair = self.accept()
        if pair is not None:
            self.handle_accepted(*pair)
"""


@pytest.mark.parametrize("handler", ["", OWN_HANDLER], ids=["default", "own"])
def test_listener_survives_a_full_table_and_does_not_spin(handler: str) -> None:
    assert run_script(FULL.replace("HANDLER", handler)) == "served\n"


@pytest.mark.skipif(
    not cyncore.native or not sys.platform.startswith("linux"), reason="here the socket module itself accepts"
)
def test_accepted_descriptor_is_closed_where_its_socket_cannot_be_made() -> None:
    run_script(
        """
import os, select, socket, sys
from cyncore import Loop, asyncore

def refuse(event, arguments):
    if refusing and event == "socket.__new__":
        raise RuntimeError("no socket")

refusing = False
sys.addaudithook(refuse)
with Loop() as loop:
    listener = asyncore.dispatcher(map=loop.map)
    listener.create_socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4)
    address = listener.socket.getsockname()
    clients = [socket.create_connection(address) for _ in range(2)]
    select.select([listener.socket], [], [], 5)
    listener.accept()[0].close()
    spare = os.dup(listener.socket.fileno())
    os.close(spare)
    refusing = True
    select.select([listener.socket], [], [], 5)
    try:
        listener.accept()
    except RuntimeError:
        refusing = False
    assert not refusing, "it was made after all"
    assert os.dup(listener.socket.fileno()) == spare  # neither open still, nor to be closed once more
    for client in clients:
        client.close()
    listener.close()
"""
    )
