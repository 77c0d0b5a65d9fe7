# SPDX-License-Identifier: MIT
"""Classes whose __init__ forgets that of their base: the first use raises AttributeError, and says what to do."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from cyncore import Loop, asynchat, asyncore
from tests.support.peers import Peers


class Plain(asyncore.dispatcher):
    def __init__(self) -> None:
        pass


class WithSend(asyncore.dispatcher_with_send):
    def __init__(self) -> None:
        pass


class Chat(asynchat.async_chat):
    def __init__(self) -> None:
        pass


USES: dict[str, Callable[[Any], object]] = {
    "add_channel": lambda channel: channel.add_channel(),
    "listen": lambda channel: channel.listen(5),
    "bind": lambda channel: channel.bind(("127.0.0.1", 0)),
    "connect": lambda channel: channel.connect(("127.0.0.1", 9)),
    "set_reuse_addr": lambda channel: channel.set_reuse_addr(),
    "accept": lambda channel: channel.accept(),
    "recv": lambda channel: channel.recv(1),
    "send": lambda channel: channel.send(b"x"),
}


def advice(kind: type, base: str = "dispatcher") -> str:
    return rf"{kind.__name__}\.__init__\(\) has not called {base}\.__init__\(\): call super\(\)\.__init__\(\) first"


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", [Plain, WithSend, Chat])
def test_first_use_without_init_says_what_to_do(kind: type, use: str) -> None:
    with pytest.raises(AttributeError, match=advice(kind)):
        USES[use](kind())


@pytest.mark.parametrize("kind", [Plain, WithSend, Chat])
def test_create_socket_without_init_says_what_to_do(kind: type) -> None:
    channel = kind()
    with pytest.raises(AttributeError, match=advice(kind)):
        channel.create_socket()
    channel.socket.close()


def test_set_socket_without_init_says_what_to_do(peers: Peers) -> None:
    with pytest.raises(AttributeError, match=advice(Plain)):
        Plain().set_socket(peers.pair()[0])


@pytest.mark.parametrize("use", ["push", "push_with_producer", "close_when_done"])
def test_push_without_init_says_what_to_do(use: str) -> None:
    arguments = {"push": (b"x",), "push_with_producer": (asynchat.simple_producer(b"x"),), "close_when_done": ()}
    with pytest.raises(AttributeError, match=advice(Chat, "async_chat")):
        getattr(Chat(), use)(*arguments[use])


def test_push_before_there_is_a_socket_is_kept(loop: Loop, peers: Peers) -> None:
    chat = asynchat.async_chat(None, loop.map)
    chat.push(b"early")
    ours, theirs = peers.pair()
    chat.connected = True
    chat.set_socket(ours, loop.map)
    loop.poll(5)
    assert theirs.recv(100) == b"early"
    chat.close()


def test_push_to_a_queue_of_the_programs_own_needs_no_init() -> None:
    chat = Chat()
    chat.producer_fifo = asynchat.deque()
    chat.push(b"x")
    assert list(chat.producer_fifo) == [b"x"]


@pytest.mark.parametrize("use", ["listen", "bind", "connect", "set_reuse_addr", "recv", "send"])
def test_use_before_create_socket_says_what_to_do(use: str, loop: Loop) -> None:
    channel = asyncore.dispatcher(None, loop.map)
    with pytest.raises(AttributeError, match=rf"socket is None, which has no {use}\(\): call create_socket\(\)"):
        USES[use](channel)


def test_loop_without_init_says_what_to_do() -> None:
    class Own(Loop):
        def __init__(self) -> None:
            pass

    with pytest.raises(RuntimeError, match=advice(Own, "Loop").replace("Own", r".*Own")):
        Own().call_soon(print)


def test_socket_stays_the_programs_own_after_the_error() -> None:
    with socket.socket() as sock:
        with pytest.raises(AttributeError):
            Plain().set_socket(sock)
        assert sock.fileno() >= 0
