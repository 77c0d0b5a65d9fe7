# SPDX-License-Identifier: MIT
"""What short ways through the engine must not pass by."""

from __future__ import annotations

import collections
import inspect
import socket
import sys
import typing
from typing import Any

import pytest

import cyncore
from cyncore import Loop, asynchat, asyncore, dispatcher
from tests.support.peers import Peers, poll_until
from tests.support.script import run_script


def test_class_may_derive_from_both_buffered_kinds(loop: Loop, peers: Peers) -> None:
    class Both(asynchat.async_chat, asyncore.dispatcher_with_send):
        pass

    got: list[bytes] = []
    channel, far = peers.channel(Both, loop.map)
    channel.set_terminator(3)
    channel.collect_incoming_data, channel.found_terminator = got.append, lambda: None
    far.sendall(b"abc")
    poll_until(loop, lambda: got == [b"abc"])
    channel.close()


def test_buffer_is_there_in_a_class_that_never_called_init(loop: Loop, peers: Peers) -> None:
    class Own(asyncore.dispatcher_with_send):
        def __init__(self, sock: socket.socket, map: Any) -> None:
            dispatcher.__init__(self, sock, map)

    channel, far = peers.channel(Own, loop.map)
    assert channel.out_buffer == b""
    channel.send(b"data")
    assert far.recv(100) == b"data"
    channel.close()


def test_timer_is_not_late_by_what_a_callback_took_after_a_poll_of_its_own(loop: Loop) -> None:
    def work() -> None:
        loop.poll(0)
        while loop.time() < due.when():
            pass
        ended.append(loop.time())

    ended: list[float] = []
    ran: list[float] = []
    began = loop.time()
    loop.call_later(0.0, work)
    due = loop.call_later(1.5, lambda: ran.append(loop.time()))
    poll_until(loop, lambda: ran)
    # Overdue when the callback ends. What must not follow is a wait of the time that the callback took.
    assert ran[0] - ended[0] < (ended[0] - began) / 2


def test_send_put_into_dispatcher_is_what_sends(loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    def counting(channel: Any, data: bytes) -> int:
        counted.append(bytes(data))
        return original(channel, data)

    counted: list[bytes] = []
    original = dispatcher.send
    channel, far = peers.channel(asyncore.dispatcher_with_send, loop.map)
    channel.send(b"before ")
    monkeypatch.setattr(dispatcher, "send", counting)
    channel.send(b"counted")
    monkeypatch.undo()
    channel.send(b" after")
    assert counted == [b"counted"]
    assert far.recv(100) == b"before counted after"
    channel.close()


@pytest.mark.parametrize("name", ["add_channel", "set_socket"])
def test_step_that_the_instance_has_itself_is_called(name: str, loop: Loop, peers: Peers) -> None:
    class Own(dispatcher):
        def __init__(self, sock: socket.socket, map: Any) -> None:
            setattr(self, name, lambda *args: calls.append(args))
            dispatcher.__init__(self, sock, map)

    calls: list[Any] = []
    ours, _ = peers.pair()
    Own(ours, loop.map)
    assert len(calls) == 1
    assert loop.map == {}


@pytest.mark.parametrize(
    "function",
    [dispatcher.__init__, dispatcher.handle_accepted, asyncore.loop, asynchat.async_chat.push, cyncore.install],
)
def test_annotations_can_be_resolved(function: Any) -> None:
    typing.get_type_hints(function)
    inspect.signature(function)


def test_buffer_assigned_while_a_send_is_logged_leaves_first(loop: Loop, peers: Peers) -> None:
    class Logged(asyncore.dispatcher_with_send):
        debug = True

        def log_info(self, message: object, type: str = "info") -> None:
            if not self.out_buffer:
                self.out_buffer = b"header "

    channel, far = peers.channel(Logged, loop.map)
    channel.send(b"body")
    assert far.recv(100) == b"header body"
    channel.close()


def test_map_that_changes_itself_when_it_is_asked_gets_its_events(peers: Peers) -> None:
    class Growing(collections.UserDict[int, Any]):
        def get(self, key: int, default: Any = None) -> Any:
            if grows:
                grows.pop()
                for _ in range(40):  # the loop's own table moves
                    kept.append(dispatcher(peers.pair()[0], self))
            return super().get(key, default)

    class Reader(dispatcher):
        def handle_read(self) -> None:
            got.append(self.recv(10))

    grows: list[int] = []
    kept: list[Any] = []
    got: list[bytes] = []
    served: Any = Growing()
    loop = Loop(served)
    channel, far = peers.channel(Reader, served)
    far.sendall(b"data")
    grows.append(1)
    poll_until(loop, lambda: got)
    assert got == [b"data"]
    for each in [channel, *kept]:
        each.close()
    loop.close()


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
