# SPDX-License-Identifier: MIT
"""How the input is read: the size of a read, recv and handlers of a program's own, handle_read called by hand."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any
from unittest import mock

import pytest

from cyncore import Loop
from tests.support.chat import Lines, asynchat, beyond_the_old, feed, poll_until, receive
from tests.support.peers import Peers

# The size of a read


def test_size_of_the_class_bounds_each_read(loop: Loop, peers: Peers) -> None:
    class Small(Lines):
        ac_in_buffer_size = 4

    channel, far = peers.channel(Small, loop.map, terminator=None)
    far.sendall(b"0123456789")
    poll_until(loop, lambda: sum(map(len, channel.calls)) == 10)
    assert channel.calls == [b"0123", b"4567", b"89"]
    channel.close()


def test_size_of_the_instance_counts_from_the_next_read(loop: Loop, peers: Peers) -> None:
    class Adapting(Lines):
        def on_data(self, data: bytes) -> None:
            self.ac_in_buffer_size += 1

    channel, far = peers.channel(Adapting, loop.map, terminator=None)
    channel.ac_in_buffer_size = 2
    far.sendall(b"0123456789")
    poll_until(loop, lambda: sum(map(len, channel.calls)) == 10)
    assert channel.calls == [b"01", b"234", b"5678", b"9"]
    channel.close()


def test_terminators_are_found_across_small_reads(loop: Loop, peers: Peers) -> None:
    class Small(Lines):
        ac_in_buffer_size = 1

    channel, far = peers.channel(Small, loop.map, terminator=b"\r\n.\r\n")
    far.sendall(b"a\r\n..\r\nb\r\n.\r\n\r\n.\r\n")
    poll_until(loop, lambda: len(channel.lines) == 2)
    assert channel.lines == [b"a\r\n..\r\nb", b""]
    channel.close()


# recv and handle_read of a program's own


def test_own_recv_is_given_the_size_and_may_change_the_data(loop: Loop, peers: Peers) -> None:
    class Upper(Lines):
        ac_in_buffer_size = 1000

        def recv(self, size: int) -> bytes:
            self.calls.append(size)
            return super().recv(size).upper()

    channel, far = peers.channel(Upper, loop.map)
    feed(loop, far, b"a\nb\n")
    assert channel.calls == [1000, b"A", "end", b"B", "end"]
    channel.close()


def test_recv_put_on_the_instance_is_called(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    feed(loop, far, b"a\n")
    plain = channel.recv
    channel.recv = lambda size: plain(size).upper()
    feed(loop, far, b"b\n")
    assert channel.lines == [b"a", b"B"]
    channel.close()


def test_own_recv_may_return_a_bytearray(loop: Loop, peers: Peers) -> None:
    class Mutable(Lines):
        def recv(self, size: int) -> Any:
            return bytearray(super().recv(size))

    channel, far = peers.channel(Mutable, loop.map, terminator=b"\r\n")
    feed(loop, far, b"a\r", b"\nb\r\n")
    assert channel.lines == [b"a", b"b"]
    assert {type(call) for call in channel.calls} == {bytes, str}
    channel.close()


@beyond_the_old  # which tried to encode the type itself
def test_own_recv_may_return_str_where_the_class_encodes(loop: Loop, peers: Peers) -> None:
    class Text(Lines):
        use_encoding = True
        encoding = "utf-8"

        def recv(self, size: int) -> Any:
            return super().recv(size).decode("utf-8")

    channel, far = peers.channel(Text, loop.map)
    feed(loop, far, "\xe9t\xe9\n".encode())
    assert channel.lines == ["\xe9t\xe9".encode()]
    channel.close()


def test_own_recv_may_return_nothing(loop: Loop, peers: Peers) -> None:
    class Filtering(Lines):
        """Drops every chunk that begins with a hash sign, as one that strips a protocol's own framing does."""

        def recv(self, size: int) -> bytes:
            data = super().recv(size)
            return b"" if data.startswith(b"#") else data

    channel, far = peers.channel(Filtering, loop.map)
    feed(loop, far, b"a\n", b"#b\n", b"c\n")
    assert channel.calls == [b"a", "end", b"c", "end"]
    channel.close()


@pytest.mark.parametrize(("error", "seen"), [
    (BlockingIOError(errno.EAGAIN, "not now"), []),
    (OSError(errno.ETIMEDOUT, "too late"), [f"error {OSError(errno.ETIMEDOUT, 'too late')!r}"]),
    (ValueError("bad"), ["error ValueError('bad')"]),
])  # fmt: skip
def test_own_recv_may_raise(loop: Loop, peers: Peers, error: Exception, seen: list[str]) -> None:
    class Raising(Lines):
        def recv(self, size: int) -> bytes:
            data = super().recv(size)
            if data == b"bad":
                raise error
            return data

    channel, far = peers.channel(Raising, loop.map)
    feed(loop, far, b"bad", b"a\n")
    assert channel.calls == [*seen, b"a", "end"]
    channel.close()


def test_own_handle_read_may_call_the_old_one(loop: Loop, peers: Peers) -> None:
    class Counting(Lines):
        def handle_read(self) -> None:
            self.calls.append("before")
            super().handle_read()
            self.calls.append("after")

    channel, far = peers.channel(Counting, loop.map)
    feed(loop, far, b"a\nb\n", b"c")
    assert channel.calls == ["before", b"a", "end", b"b", "end", "after", "before", b"c", "after"]
    channel.close()


def test_own_handle_read_may_take_the_data_itself(loop: Loop, peers: Peers) -> None:
    class Raw(Lines):
        def handle_read(self) -> None:
            self.calls.append(self.recv(100).upper())

    channel, far = peers.channel(Raw, loop.map)
    feed(loop, far, b"a\n")
    assert channel.calls == [b"A\n"]
    channel.close()


def test_handle_read_may_be_called_inside_a_callback(loop: Loop, peers: Peers) -> None:
    """It takes what has come meanwhile: before the rest that the outer one had still to serve, as ever."""

    class Greedy(Lines):
        def on_end(self) -> None:
            if self.lines == [b"a"]:
                self.far.sendall(b"c\n")
                self.handle_read()

        far: socket.socket

    channel, channel_far = peers.channel(Greedy, loop.map)
    channel.far = channel_far
    feed(loop, channel_far, b"a\nb\n")
    assert channel.lines == [b"a", b"b", b"c"]
    channel.close()


def test_handlers_put_on_the_instance_are_called(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(asynchat.async_chat, loop.map)
    calls: list[Any] = []
    channel.set_terminator(b"\n")
    channel.collect_incoming_data = calls.append
    channel.found_terminator = lambda: calls.append("end")
    feed(loop, far, b"a\n")
    channel.found_terminator = lambda: calls.append("other end")
    feed(loop, far, b"b\n")
    assert calls == [b"a", "end", b"b", "other end"]
    channel.close()


def test_handler_changed_by_a_handler_counts_at_once(loop: Loop, peers: Peers) -> None:
    class Stateful(Lines):
        def on_end(self) -> None:
            self.found_terminator = self.second

        def second(self) -> None:
            self.calls.append("second")
            del self.found_terminator

    channel, far = peers.channel(Stateful, loop.map)
    feed(loop, far, b"a\nb\nc\nd\n")
    assert channel.calls == [b"a", "end", b"b", "second", b"c", "end", b"d", "second"]
    channel.close()


def test_class_of_a_channel_may_be_changed_by_a_handler(loop: Loop, peers: Peers) -> None:
    class Second(Lines):
        def found_terminator(self) -> None:
            self.calls.append("second")

    class First(Lines):
        def on_end(self) -> None:
            self.__class__ = Second

    channel, far = peers.channel(First, loop.map)
    feed(loop, far, b"a\nb\n", b"c\n")
    assert channel.calls == [b"a", "end", b"b", "second", b"c", "second"]
    channel.close()


class Wrapper:
    """What stands for a socket, as some TLS and test libraries have it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sent: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def recv(self, size: int) -> bytes:
        return self.sock.recv(min(size, 3)).upper()

    def send(self, data: Any) -> int:
        self.sent.append(len(data))
        return self.sock.send(data[:2])


def test_what_stands_for_a_socket_is_used_by_its_methods(loop: Loop, peers: Peers) -> None:
    class Echo(Lines):
        def on_end(self) -> None:
            self.push(self.lines[-1])
            self.push(b";")

    near, far = peers.pair()
    wrapper = Wrapper(near)
    channel = Echo(wrapper, loop.map)
    far.sendall(b"one\ntwo\n")
    assert receive(loop, far, 8) == b"ONE;TWO;"
    assert wrapper.sent
    channel.push(b"from outside")
    assert receive(loop, far, 12) == b"from outside"
    channel.close()


# Without a loop


def mocked(kind: Any = Lines, **recv: Any) -> Any:
    sock = mock.Mock(spec=socket.socket)
    sock.fileno.return_value = 1_000_000  # nothing is asked of the kernel about it
    channel = kind(None, {})
    channel.socket, channel.connected = sock, True
    sock.recv.configure_mock(**recv)
    return channel


def test_handle_read_called_by_hand_reads_the_socket() -> None:
    channel = mocked(side_effect=[b"one\ntw", b"o\n"])
    channel.handle_read()
    channel.handle_read()
    assert channel.lines == [b"one", b"two"]
    assert [call.args[0] for call in channel.socket.recv.call_args_list] == [65536] * 2


@pytest.mark.parametrize(("recv", "seen"), [
    ({"return_value": b""}, ["close"]),
    ({"side_effect": BlockingIOError(errno.EAGAIN, "not now")}, []),
    ({"side_effect": ConnectionResetError(errno.ECONNRESET, "gone")}, ["close"]),
    ({"side_effect": OSError(errno.ETIMEDOUT, "late")}, [f"error {OSError(errno.ETIMEDOUT, 'late')!r}"]),
])  # fmt: skip
def test_handle_read_called_by_hand_tells_of_ends_and_errors(recv: Any, seen: list[str]) -> None:
    channel = mocked(**recv)
    channel.handle_read()
    assert channel.calls == seen


def test_handle_read_called_by_hand_lets_errors_of_callbacks_out() -> None:
    class Failing(Lines):
        def on_end(self) -> None:
            raise ValueError("bad line")

    channel = mocked(Failing, return_value=b"a\nb")
    with pytest.raises(ValueError, match="bad line"):
        channel.handle_read()
    assert (channel.calls, channel.ac_in_buffer) == ([b"a", "end"], b"b")


@beyond_the_old
@pytest.mark.parametrize("kind", [ssl.SSLWantReadError, ssl.SSLWantWriteError])
def test_tls_that_has_no_data_yet_is_no_error(loop: Loop, peers: Peers, kind: type[OSError]) -> None:
    class Waiting(Lines):
        waits = True

        def recv(self, size: int) -> Any:
            if self.waits:
                self.waits = False
                raise kind("not yet")
            return super().recv(size)

    channel, far = peers.channel(Waiting, loop.map)
    far.sendall(b"line\n")
    poll_until(loop, lambda: channel.lines == [b"line"])
    assert channel.calls == [b"line", "end"]
    channel.close()
