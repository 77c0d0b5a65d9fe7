# SPDX-License-Identifier: MIT
"""How events reach handlers: hang-ups, descriptors used again, listeners, and sockets that hold data themselves."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Any

import pytest

from cyncore import Loop, dispatcher
from tests.support.peers import Peers, Recorder, poll_until
from tests.support.script import run_script

# Hang-ups


@pytest.mark.parametrize("size", [1, 3, 4096])
def test_every_byte_comes_before_the_hang_up(loop: Loop, peers: Peers, size: int) -> None:
    channel, peer = peers.channel(Recorder, loop.map, size=size)
    peer.send(b"0123456789")
    peer.close()
    poll_until(loop, lambda: "close" in channel.seen)
    assert channel.got == b"0123456789"
    assert channel.seen.count("close") == 1
    assert loop.map == {}


def test_a_reset_closes(loop: Loop, peers: Peers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    peers.keep(ours, peer)
    channel = Recorder(ours, loop.map)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    poll_until(loop, lambda: "close" in channel.seen)
    assert channel.seen.count("close") == 1


def test_a_handler_that_does_not_read_is_closed_by_a_hang_up(loop: Loop, peers: Peers) -> None:
    if loop.backend == "select":
        pytest.skip("select(2) tells no hang-up from data")

    class Idle(Recorder):
        def handle_read(self) -> None:
            self.seen.append("read")

    channel, peer = peers.channel(Idle, loop.map)
    peer.send(b"x")
    peer.close()
    poll_until(loop, lambda: "close" in channel.seen)
    assert channel.seen == ["read", "close"]


def test_a_paused_channel_keeps_what_came_before_the_hang_up(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map, size=1)
    channel.pause_reading()
    peer.send(b"xyz")
    peer.close()
    for _ in range(3):
        loop.poll()
    assert channel.seen == []
    channel.resume_reading()
    poll_until(loop, lambda: "close" in channel.seen)
    assert channel.got == b"xyz"


def test_a_channel_that_says_it_does_not_want_to_read_keeps_it_too(loop: Loop, peers: Peers) -> None:
    class Choosy(Recorder):
        wants = False

        def readable(self) -> bool:
            return self.wants

        def writable(self) -> bool:
            return True

        def handle_write(self) -> None: ...

    channel, peer = peers.channel(Choosy, loop.map)
    peer.send(b"xyz")
    peer.close()
    for _ in range(3):
        loop.poll()
    assert channel.seen == []
    channel.wants = True
    poll_until(loop, lambda: "close" in channel.seen)
    assert channel.got == b"xyz"


def test_a_failed_connect_is_told(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    channel = Recorder(None, loop.map)
    channel.create_socket()
    try:
        channel.connect(address)
    except OSError:
        channel.close()
        pytest.skip("refused at once")
    poll_until(loop, lambda: channel.seen)
    assert str(errno.ECONNREFUSED) in channel.seen[0]
    assert loop.map == {}


# Nobody reads


def test_what_nobody_reads_is_told_once(loop: Loop, peers: Peers) -> None:
    class Deaf(dispatcher):
        def log_info(self, message: object, type: str = "info") -> None:
            told.append(str(message))

    told: list[str] = []
    channel, peer = peers.channel(Deaf, loop.map)
    peer.send(b"x")
    assert loop.poll(5) == 1
    assert loop.poll() == 0
    assert told == ["unhandled read event"]
    channel.handle_read = lambda: told.append("own")
    loop.poll()
    assert told == ["unhandled read event", "own"]


# Descriptors used again


def test_a_channel_closed_by_another_of_the_batch_gets_no_event(loop: Loop, peers: Peers) -> None:
    class Killer(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            for channel, _ in made:
                if channel is not self:
                    channel.close()

    made = [peers.channel(Killer, loop.map) for _ in range(2)]
    for _, peer in made:
        peer.send(b"x")
    assert loop.poll(5) == 1
    assert sorted(channel.got for channel, _ in made) == [b"", b"x"]


def test_a_new_channel_does_not_get_the_event_of_the_old_one(loop: Loop, peers: Peers) -> None:
    fresh: list[Recorder] = []

    class Replacer(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            (other,) = (channel for channel, _ in made if channel is not self)
            number = other.socket.fileno()
            other.close()
            ours, _ = peers.pair()
            if ours.fileno() != number:
                os.dup2(ours.fileno(), number)
                ours.close()
                ours = socket.socket(fileno=number)
                peers.keep(ours)
            fresh.append(Recorder(ours, loop.map))

    made = [peers.channel(Replacer, loop.map) for _ in range(2)]
    for _, peer in made:
        peer.send(b"x")
    assert loop.poll(5) == 1
    assert loop.poll() == 0
    assert fresh[0].seen == []


def test_a_new_channel_behind_an_old_number_is_served(loop: Loop, peers: Peers) -> None:
    for number in range(20):
        ours, theirs = socket.socketpair()
        channel = Recorder(ours, loop.map)
        theirs.send(b"%d" % number)
        assert loop.poll(5) == 1
        assert channel.got == b"%d" % number
        channel.close()
        theirs.close()


def test_a_handler_is_not_called_for_a_channel_that_the_one_before_closed(loop: Loop, peers: Peers) -> None:
    class Both(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            self.close()

        def handle_write(self) -> None:
            self.seen.append("write")

    channel, peer = peers.channel(Both, loop.map)
    peer.send(b"x")
    loop.poll(5)
    assert channel.seen == ["read"]


def test_a_descriptor_closed_behind_our_back_closes_its_channel(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Recorder, loop.map)
    loop.poll()
    os.close(channel.socket.detach())

    def closed() -> bool:
        loop.call_soon(loop.time)  # activity, which is when it is looked for
        return "close" in channel.seen

    poll_until(loop, closed)
    assert loop.map == {}


def test_an_entry_closed_behind_our_back_goes_even_if_its_handler_leaves_it(loop: Loop, peers: Peers) -> None:
    class Careless(Recorder):
        def handle_close(self) -> None:
            self.seen.append("close")

    channel, _ = peers.channel(Careless, loop.map)
    loop.poll()
    os.close(channel.socket.detach())

    def gone() -> bool:
        loop.call_soon(loop.time)
        return not loop.map

    poll_until(loop, gone)
    assert channel.seen == ["close"]


@pytest.mark.parametrize("act", ["add", "remove", "clear"])
def test_a_handler_may_change_the_map(loop: Loop, peers: Peers, act: str) -> None:
    class Changer(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            if act == "add":
                peers.channel(Recorder, loop.map)
            elif act == "remove":
                del loop.map[self.socket.fileno()]
            else:
                loop.map.clear()

    made = [peers.channel(Changer, loop.map) for _ in range(3)]
    for _, peer in made:
        peer.send(b"x")
    count = loop.poll(5)
    assert count == sum(len(channel.got) for channel, _ in made) == (1 if act == "clear" else 3)
    assert len(loop.map) == {"add": 6, "remove": 0, "clear": 0}[act]


# Listeners


class Listener(dispatcher):
    """Takes connections and remembers them."""

    def __init__(self, map: Any, peers: Peers, sock: socket.socket | None = None) -> None:
        dispatcher.__init__(self, None, map)
        self.peers = peers
        self.taken = 0
        if sock is None:
            self.create_socket()
        else:
            sock.setblocking(False)
            self.set_socket(sock)
        self.bind(("127.0.0.1", 0))
        self.listen(100)

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        self.taken += 1
        self.peers.keep(sock)

    def handle_error(self) -> None:
        raise


def connect(listener: Listener, count: int) -> None:
    for _ in range(count):
        listener.peers.keep(socket.create_connection(listener.socket.getsockname()))


def test_a_default_listener_takes_sixteen_connections_an_event(loop: Loop, peers: Peers) -> None:
    listener = Listener(loop.map, peers)
    connect(listener, 20)
    assert loop.poll(5) == 1
    assert listener.taken == 16
    assert loop.poll(5) == 1
    assert listener.taken == 20
    assert loop.poll() == 0
    listener.close()


def test_a_listener_with_a_handler_of_its_own_is_called_once_an_event(loop: Loop, peers: Peers) -> None:
    class Own(Listener):
        def handle_accept(self) -> None:
            pair = self.accept()
            assert pair is not None
            self.handle_accepted(*pair)

    listener = Own(loop.map, peers)
    connect(listener, 3)
    for count in (1, 2, 3):
        loop.poll(5)
        assert listener.taken == count
    listener.close()


def test_a_listener_closed_by_its_own_handler_takes_no_more(loop: Loop, peers: Peers) -> None:
    class Once(Listener):
        def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
            Listener.handle_accepted(self, sock, addr)
            self.close()

    listener = Once(loop.map, peers)
    connect(listener, 3)
    loop.poll(5)
    assert listener.taken == 1
    assert loop.map == {}


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_listener_without_room_waits_and_tries_again(loop: Loop, peers: Peers, number: int) -> None:
    class Poor(socket.socket):
        attempts = 0

        def accept(self) -> Any:
            self.attempts += 1
            if self.attempts < 3:
                raise OSError(number, os.strerror(number))
            return socket.socket.accept(self)

    poor = Poor()
    listener = Listener(loop.map, peers, poor)
    connect(listener, 1)
    loop.poll(5)
    for _ in range(100):
        loop.poll()  # the pause is longer than this by far; were it not, these would be 100 attempts
    assert poor.attempts < 10
    poll_until(loop, lambda: listener.taken)
    listener.close()


def test_a_listener_without_room_says_so_once_a_second() -> None:
    """In a process of its own: what another listener has logged within the second counts too."""
    run_script(
        """
import errno, logging, socket
from cyncore import Loop, dispatcher
lines = []
handler = logging.Handler()
handler.emit = lines.append
logging.getLogger("cyncore").addHandler(handler)

class Poor(socket.socket):
    attempts = 0
    def accept(self):
        self.attempts += 1
        if self.attempts < 3:
            raise OSError(errno.EMFILE, "too many")
        taken.append(socket.socket.accept(self)[0])
        return taken[0], None

taken = []
with Loop() as loop, Poor() as poor:
    poor.bind(("127.0.0.1", 0))
    poor.listen(5)
    listener = dispatcher(None, loop.map)
    poor.setblocking(False)
    listener.set_socket(poor)
    listener.accepting = True
    with socket.create_connection(poor.getsockname()):
        begun = loop.time()
        for _ in range(1000):
            loop.poll(0.02)
            if taken:
                break
        seconds = loop.time() - begun
    listener.close()
assert taken
assert 1 <= len(lines) <= 1 + seconds, lines
assert lines[0].levelno == logging.WARNING
"""
    )


def test_running_out_of_room_in_a_handler_is_an_error_like_another(loop: Loop, peers: Peers) -> None:
    class Unlucky(Listener):
        def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
            sock.close()
            raise OSError(errno.EMFILE, "too many")

    listener = Unlucky(loop.map, peers)
    connect(listener, 1)
    with pytest.raises(OSError, match="too many"):
        loop.poll(5)
    listener.close()


# Reading


def test_eagain_out_of_recv_is_a_spurious_event(loop: Loop, peers: Peers) -> None:
    class Greedy(Recorder):
        def handle_read(self) -> None:
            while True:
                Recorder.handle_read(self)

    channel, peer = peers.channel(Greedy, loop.map)
    peer.send(b"x")
    assert loop.poll(5) == 1
    assert channel.got == b"x"
    assert not [word for word in channel.seen if word != "read"]
    peer.send(b"y")
    loop.poll(5)
    assert channel.got == b"xy"


def test_eagain_from_elsewhere_is_an_error(loop: Loop, peers: Peers) -> None:
    class Elsewhere(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            raise BlockingIOError(errno.EAGAIN, "elsewhere")

    channel, peer = peers.channel(Elsewhere, loop.map)
    peer.send(b"x")
    loop.poll(5)
    assert channel.seen == ["read", f"error BlockingIOError({errno.EAGAIN}, 'elsewhere')"]


class Holding:
    """A socket that takes more from the kernel than it is asked for, as TLS does."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def recv(self, size: int) -> bytes:
        self.held = self.held or self.sock.recv(4096)
        data, self.held = self.held[:size], self.held[size:]
        return data

    def pending(self) -> int:
        return len(self.held)


@pytest.mark.parametrize("hang_up", [False, True])
def test_what_a_socket_holds_is_read_without_another_event(loop: Loop, peers: Peers, hang_up: bool) -> None:
    ours, theirs = peers.pair()
    channel = Recorder(Holding(ours), loop.map, size=1)
    theirs.send(b"abcdef")
    if hang_up:
        theirs.close()
    for _ in range(20):
        loop.poll()
    assert channel.got == b"abcdef"
    assert channel.seen == ["read"] * 6 + ["read", "close"] * hang_up


def test_what_a_socket_holds_ends_no_pause(loop: Loop, peers: Peers) -> None:
    class Pauser(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            self.pause_reading()

    ours, theirs = peers.pair()
    channel = Pauser(Holding(ours), loop.map, size=1)
    theirs.send(b"abc")
    for _ in range(5):
        loop.poll()
    assert channel.got == b"a"
    channel.resume_reading()
    for _ in range(5):
        loop.poll()
    assert channel.got == b"ab"


# State


@pytest.mark.parametrize("name", ["connected", "accepting", "connecting", "closing"])
def test_a_class_may_set_its_state(loop: Loop, peers: Peers, name: str) -> None:
    kind = type("Fixed", (Recorder,), {name: True})
    ours, _ = peers.pair()
    channel = kind(None, loop.map)
    assert getattr(channel, name) is True
    setattr(channel, name, False)
    assert getattr(channel, name) is False
    assert getattr(kind, name) is True
    del ours


def test_a_class_that_is_always_accepting_accepts(loop: Loop, peers: Peers) -> None:
    class Always(Recorder):
        accepting = True

        def handle_accept(self) -> None:
            self.seen.append("accept")
            self.recv(100)

    ours, theirs = peers.pair()
    channel = Always(None, loop.map)
    channel.set_socket(ours)
    theirs.send(b"x")
    loop.poll(5)
    assert channel.seen == ["accept"]


def test_urgent_data_goes_to_a_class_that_handles_it(loop: Loop, peers: Peers) -> None:
    class Urgent(Recorder):
        def handle_expt(self) -> None:
            self.seen.append("expt")
            self.socket.recv(1, socket.MSG_OOB)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    peers.keep(ours, peer)
    channel = Urgent(ours, loop.map)
    peer.send(b"!", socket.MSG_OOB)
    poll_until(loop, lambda: "expt" in channel.seen)
    assert channel.seen.count("expt") == 1
