# SPDX-License-Identifier: MIT
"""What a channel may hold for a socket: TCP, UDP and Unix ones, pipes and files, and things that only look like one."""

from __future__ import annotations

import errno
import gc
import os
import socket
import warnings
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop, asyncore, dispatcher
from tests.support.loops import every_backend
from tests.support.peers import Peers, Recorder, poll_until


class Pipe:
    """The read end of a pipe with as much of a socket as the Cassandra and Hazelcast drivers give theirs."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        os.close(self.fd)

    def getsockopt(self, level: int, name: int, size: int | None = None) -> int:
        return 0


class Wrapped:
    """Passes everything on to a socket, and counts what went through it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.received, self.sent = sock, 0, 0

    def recv(self, size: int) -> bytes:
        self.received += 1
        return self.sock.recv(size)

    def send(self, data: bytes) -> int:
        self.sent += 1
        return self.sock.send(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


# Stand-ins


def test_pipe_with_the_least_of_a_socket_wakes_its_channel(loop: Loop) -> None:
    class Waker(asyncore.dispatcher):
        woken = 0

        def __init__(self, fd: int) -> None:
            super().__init__(None, loop.map)
            self.set_socket(Pipe(fd))

        def handle_read(self) -> None:
            self.woken += len(os.read(self.socket.fileno(), 100))

    near, far = os.pipe()
    waker = Waker(near)
    os.write(far, b"x")
    poll_until(loop, lambda: waker.woken == 1)
    waker.close()
    os.close(far)


def test_wrapper_s_own_recv_and_send_are_used(loop: Loop, peers: Peers) -> None:
    near, far = peers.pair()
    wrapper = Wrapped(near)
    channel = Recorder(wrapper, loop.map)
    far.send(b"data")
    poll_until(loop, lambda: channel.got == b"data")
    assert channel.send(b"back") == 4
    assert (far.recv(10), wrapper.received, wrapper.sent) == (b"back", 1, 1)


def test_socket_replaced_in_mid_life_is_the_one_that_is_used(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Recorder, loop.map)
    far.send(b"plain ")
    poll_until(loop, lambda: channel.got == b"plain ")
    channel.socket = wrapper = Wrapped(channel.socket)
    far.send(b"wrapped")
    poll_until(loop, lambda: channel.got == b"plain wrapped")
    assert wrapper.received == 1


def test_socket_subclass_s_own_recv_is_used(loop: Loop, peers: Peers) -> None:
    class Loud(socket.socket):
        def recv(self, *args: Any) -> bytes:
            return super().recv(*args).upper()

    near, far = peers.pair()
    loud = Loud(fileno=near.detach())
    channel = Recorder(loud, loop.map)
    far.send(b"data")
    poll_until(loop, lambda: channel.got == b"DATA")
    channel.close()


def test_socket_that_is_falsy_counts_as_none(loop: Loop) -> None:
    channel = asyncore.dispatcher(0, loop.map)
    assert (channel.socket, loop.map) == (None, {})


def test_broken_socket_is_refused_and_not_polled(peers: Peers) -> None:
    class Broken(Wrapped):
        def getpeername(self) -> Any:
            raise OSError(errno.EIO, "broken")

    map: dict[int, Any] = {}
    near, _ = peers.pair()
    with pytest.raises(OSError, match="broken"):
        asyncore.dispatcher(Broken(near), map)
    assert map == {}


def test_unconnected_socket_is_taken(loop: Loop) -> None:
    channel = Recorder(socket.socket(), loop.map)
    assert (channel.connected, channel.addr) == (False, None)
    channel.close()


# recv and send


@pytest.mark.parametrize(
    "number", [errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN, errno.ECONNABORTED, errno.EPIPE, errno.EBADF]
)
@pytest.mark.parametrize("name", ["recv", "send"])
def test_errors_that_mean_a_lost_connection_close(peers: Peers, name: str, number: int) -> None:
    class Broken(Wrapped):
        def recv(self, size: int) -> bytes:
            raise OSError(number, "lost")

        def send(self, data: bytes) -> int:
            raise OSError(number, "lost")

    map: dict[int, Any] = {}
    near, _ = peers.pair()
    channel = Recorder(Broken(near), map)
    answer = channel.recv(1) if name == "recv" else channel.send(b"x")
    assert answer == (b"" if name == "recv" else 0)
    assert (channel.seen, map) == (["close"], {})


@pytest.mark.parametrize("name", ["recv", "send"])
def test_other_errors_are_the_caller_s(peers: Peers, name: str) -> None:
    class Broken(Wrapped):
        def recv(self, size: int) -> bytes:
            raise OSError(errno.EIO, "broken")

        def send(self, data: bytes) -> int:
            raise OSError(errno.EIO, "broken")

    near, _ = peers.pair()
    channel = Recorder(Broken(near), {})
    with pytest.raises(OSError, match="broken"):
        channel.recv(1) if name == "recv" else channel.send(b"x")
    assert channel.seen == []
    channel.close()


def test_send_to_a_full_socket_sends_nothing(peers: Peers) -> None:
    channel, _ = peers.channel(Recorder, {})
    for _ in range(10000):
        if channel.send(b"x" * 65536) == 0:
            break
    else:
        pytest.fail("never full")
    assert channel.seen == []
    channel.close()


def test_recv_of_an_empty_socket_says_so(peers: Peers) -> None:
    channel, _ = peers.channel(Recorder, {})
    with pytest.raises(BlockingIOError):
        channel.recv(10)
    channel.close()


@pytest.mark.parametrize("data", [bytearray(b"data"), memoryview(b"data"), b""])
def test_send_takes_anything_bytes_like(peers: Peers, data: Any) -> None:
    channel, far = peers.channel(Recorder, {})
    assert channel.send(data) == len(data)
    channel.close()
    assert far.recv(10) == bytes(data)


# Families


def test_a_connecting_channel_hears_that_it_is_connected(loop: Loop, peers: Peers) -> None:
    class Client(dispatcher):
        told = 0

        def handle_connect(self) -> None:
            self.told += 1

    listener = socket.create_server(("127.0.0.1", 0))
    peers.keep(listener)
    client = Client(None, loop.map)
    client.create_socket()
    client.connect(listener.getsockname())
    poll_until(loop, lambda: client.told)
    assert client.connected
    assert loop.poll() == 0  # no write events any more
    client.close()


def test_udp_channel_echoes(loop: Loop) -> None:
    class Echo(asyncore.dispatcher):
        def handle_read(self) -> None:
            data, address = self.socket.recvfrom(100)
            self.socket.sendto(data.upper(), address)

    class Client(asyncore.dispatcher):
        got = b""

        def handle_read(self) -> None:
            self.got = self.recv(100)

    server = Echo(None, loop.map)
    server.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    client = Client(None, loop.map)
    client.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.socket.sendto(b"data", server.socket.getsockname())
    poll_until(loop, lambda: client.got == b"DATA")
    server.close()
    client.close()


def test_empty_datagram_closes_as_it_always_did(loop: Loop) -> None:
    server = Recorder(None, loop.map)
    server.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"", server.socket.getsockname())
    poll_until(loop, lambda: server.seen == ["read", "close"])


@every_backend
def test_a_refused_datagram_reaches_the_read_handler_and_closes_nothing(loop: Loop) -> None:
    class Datagrams(Recorder):
        def writable(self) -> bool:
            return False

        def handle_connect(self) -> None: ...

        def handle_read(self) -> None:
            try:
                self.got += self.recv(100)
            except ConnectionRefusedError:
                self.seen.append("refused")

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        address = server.getsockname()
    channel = Datagrams(map=loop.map)
    channel.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.connect(address)
    channel.send(b"x")
    poll_until(loop, lambda: channel.seen, 100)
    for _ in range(3):
        loop.poll(0.02)
    left = list(loop.map.values())
    channel.close()
    assert channel.seen == ["refused"]
    assert left == [channel]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")
def test_unix_listener_and_client_talk(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Server(asyncore.dispatcher):
        def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
            self.child = Recorder(sock, loop.map)

    class Client(Recorder):
        def handle_connect(self) -> None:
            self.send(b"data")

    monkeypatch.chdir(tmp_path)  # a path in a socket address must be short
    server = Server(None, loop.map)
    server.create_socket(socket.AF_UNIX)
    server.bind("sock")
    server.listen(1)
    client = Client(None, loop.map)
    client.create_socket(socket.AF_UNIX)
    client.connect("sock")
    poll_until(loop, lambda: hasattr(server, "child") and server.child.got == b"data")
    assert repr(server).startswith("<")
    for channel in (server, client, server.child):
        channel.close()


def test_connect_that_fails_at_once_raises(loop: Loop, tmp_path: Path) -> None:
    channel = Recorder(None, loop.map)
    channel.create_socket(socket.AF_UNIX)
    with pytest.raises(FileNotFoundError):
        channel.connect(str(tmp_path / "nobody"))
    channel.close()


# Files


class Reader(asyncore.file_dispatcher):
    def __init__(self, fd: Any, map: Any) -> None:
        self.got = b""
        super().__init__(fd, map)

    def handle_read(self) -> None:
        self.got += self.recv(100)

    def handle_close(self) -> None:
        self.close()


def test_file_dispatcher_reads_a_pipe_to_its_end(loop: Loop) -> None:
    near, far = os.pipe()
    channel = Reader(near, loop.map)
    os.close(near)
    os.write(far, b"data")
    os.close(far)
    poll_until(loop, lambda: not loop.map)
    assert channel.got == b"data"


class Waiter(asyncore.file_dispatcher):
    """Ends with an empty read, which is what a select loop told of."""

    def __init__(self, fd: int, map: Any) -> None:
        super().__init__(fd, map)
        self.calls: list[Any] = []

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.calls.append(self.recv(100))

    def handle_close(self) -> None:
        self.calls.append("close")
        self.close()

    def handle_error(self) -> None:
        self.calls.append("error")
        self.close()


@pytest.mark.parametrize("data", [[], [b"data"]], ids=["empty", "data"])
def test_handler_that_waits_for_the_empty_read_of_a_pipe_is_called(loop: Loop, data: list[bytes]) -> None:
    near, far = os.pipe()
    channel = Waiter(near, loop.map)
    os.close(near)
    os.write(far, b"".join(data))
    os.close(far)
    poll_until(loop, lambda: not loop.map)
    assert channel.calls == [*data, "close", b""]


def test_end_of_a_pipe_that_is_not_read_closes(loop: Loop) -> None:
    class Blind(Waiter):
        def handle_read(self) -> None:
            self.calls.append("read")

    near, far = os.pipe()
    channel = Blind(near, loop.map)
    os.close(near)
    os.close(far)
    poll_until(loop, lambda: not loop.map)
    assert channel.calls == ["read", "close"]


def test_end_of_a_pipe_calls_the_read_handler_of_a_foreign_object(loop: Loop) -> None:
    near, far = os.pipe()

    class Foreign:
        accepting = False

        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return False

        def handle_read_event(self) -> None:
            assert os.read(near, 100) == b""
            del loop.map[near]

    loop.map[near] = Foreign()
    os.close(far)
    poll_until(loop, lambda: not loop.map)
    os.close(near)


def test_end_of_a_terminal_closes_without_an_error(loop: Loop) -> None:
    pty = pytest.importorskip("pty")
    near, far = pty.openpty()
    channel = Waiter(near, loop.map)
    os.close(near)
    os.close(far)
    poll_until(loop, lambda: not loop.map)
    assert channel.calls[-1] == "close"
    assert "error" not in channel.calls


def test_file_dispatcher_takes_a_file_object(loop: Loop) -> None:
    near, far = os.pipe()
    with os.fdopen(near) as stdin_like:
        channel = Reader(stdin_like, loop.map)
        os.write(far, b"typed\n")
        poll_until(loop, lambda: channel.got == b"typed\n")
    channel.close()
    os.close(far)


def test_file_dispatcher_leaves_the_descriptor_it_was_given_open(loop: Loop) -> None:
    near, far = os.pipe()
    channel = Reader(near, loop.map)
    assert channel.socket.fileno() != near
    channel.close()
    os.write(far, b"x")
    assert os.read(near, 1) == b"x"
    os.close(near)
    os.close(far)


def test_file_dispatcher_does_not_block(loop: Loop) -> None:
    near, far = os.pipe()
    channel = Reader(near, loop.map)
    assert not os.get_blocking(near)
    channel.close()
    os.close(near)
    os.close(far)


def test_file_wrapper_warns_where_it_was_not_closed() -> None:
    def forget() -> None:
        kept.clear()
        gc.collect()  # PyPy counts no references

    near, far = os.pipe()
    kept = [asyncore.file_wrapper(near)]
    with pytest.warns(ResourceWarning, match="unclosed file"):
        forget()
    os.close(near)
    os.close(far)


def test_file_wrapper_of_a_bad_descriptor_fails_without_a_second_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(OSError, match="Bad file descriptor"):
            asyncore.file_wrapper(-5)


def test_file_wrapper_knows_no_other_option() -> None:
    near, far = os.pipe()
    wrapper = asyncore.file_wrapper(near)
    assert wrapper.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    with pytest.raises(NotImplementedError):
        wrapper.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    wrapper.close()
    os.close(near)
    os.close(far)


# What a socket refuses


class Refusing:
    """A socket that refuses the call of that name with that error."""

    def __init__(self, sock: socket.socket, name: str, error: OSError) -> None:
        self.sock, self.name, self.error = sock, name, error

    def __getattr__(self, name: str) -> Any:
        if name == self.name:
            return self.refuse
        return getattr(self.sock, name)

    def refuse(self, *args: Any) -> Any:
        raise self.error


def test_address_that_cannot_be_used_again_is_left_to_bind(peers: Peers) -> None:
    channel = asyncore.dispatcher(peers.pair()[0], {})
    channel.socket = Refusing(channel.socket, "setsockopt", OSError(errno.ENOPROTOOPT, "no"))
    channel.set_reuse_addr()


@pytest.mark.parametrize(("number", "leaves"), [(errno.EIO, True), (errno.ENOTCONN, False), (errno.EBADF, False)])
def test_error_of_a_close_leaves_unless_there_was_no_connection(peers: Peers, number: int, leaves: bool) -> None:
    map: dict[int, Any] = {}
    channel = asyncore.dispatcher(peers.pair()[0], map)
    channel.socket = Refusing(channel.socket, "close", OSError(number, "refused"))
    if leaves:
        with pytest.raises(OSError, match="refused"):
            channel.close()
    else:
        channel.close()
    assert map == {}


def test_socket_put_in_by_handle_connect_that_is_not_connected_leaves_the_channel_so(loop: Loop, peers: Peers) -> None:
    class Again(Recorder):
        def handle_connect(self) -> None:
            peers.keep(self.socket)
            self.del_channel()
            self.socket = None
            self.create_socket()
            self.seen.append("connect")

    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = Again(None, loop.map)
        channel.create_socket()
        channel.connect(server.getsockname())
        poll_until(loop, lambda: channel.seen)
    assert not channel.connected
    channel.close()


def test_urgent_event_by_hand_is_told_as_what_it_is(peers: Peers) -> None:
    channel = Recorder(peers.pair()[0], {})
    channel.handle_expt = lambda: channel.seen.append("expt")
    channel.handle_expt_event()
    channel.socket = Failed(channel.socket)
    channel.handle_expt_event()
    assert channel.seen == ["expt", "close"]


class Failed:
    """A socket that holds an error, as one has whose connect was refused."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def getsockopt(self, *option: int) -> int:
        return errno.ECONNREFUSED


def test_none_out_of_recv_of_what_stands_for_a_socket_is_the_end(loop: Loop, peers: Peers) -> None:
    class Ending:
        def __init__(self, sock: socket.socket) -> None:
            self.sock = sock

        def __getattr__(self, name: str) -> Any:
            return getattr(self.sock, name)

        def recv(self, size: int) -> None:
            self.sock.recv(size)

    near, far = peers.pair()
    channel = asyncore.dispatcher(Ending(near), loop.map)
    calls: list[Any] = []
    channel.handle_read = lambda: calls.append(channel.recv(100))
    channel.handle_close = lambda: (calls.append("close"), channel.close())
    far.send(b"data")
    loop.poll(5)
    assert calls == ["close", b""]
