# SPDX-License-Identifier: MIT
"""copy.copy and pickle of a channel. A copy has the attributes of the old classes, shares the socket, is in no map."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import cyncore.asynchat as asynchat
import cyncore.asyncore as asyncore
from cyncore import Loop
from tests.support.peers import Peers, poll_until


class Slotted(asyncore.dispatcher):
    __slots__ = ("extra",)


KINDS = [asyncore.dispatcher, asyncore.dispatcher_with_send, asynchat.async_chat, Slotted]


@pytest.mark.parametrize("kind", KINDS)
def test_copy_shares_the_socket_and_is_in_no_map(loop: Loop, peers: Peers, kind: type[Any]) -> None:
    channel, far = peers.channel(kind, loop.map)
    channel.extra = [1]
    twin = copy.copy(channel)
    assert (twin.socket, twin._fileno, twin._map) == (channel.socket, channel._fileno, channel._map)
    assert (twin.connected, twin.accepting, twin.addr) == (True, False, channel.addr)
    assert twin.extra is channel.extra
    assert list(loop.map.values()) == [channel]
    twin.push(b"hello") if isinstance(twin, asynchat.async_chat) else twin.send(b"hello")
    assert far.recv(100) == b"hello"
    channel.close()


def test_copy_that_joins_the_map_takes_the_place_of_the_first(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(asyncore.dispatcher, loop.map)
    twin = copy.copy(channel)
    got: list[bytes] = []
    twin.handle_read = lambda: got.append(twin.recv(100))
    twin.add_channel()
    assert list(loop.map.values()) == [twin]
    far.send(b"data")
    loop.poll(5)
    assert got == [b"data"]
    twin.close()
    assert not loop.map


def test_handler_that_an_instance_carries_is_its_copy_s_too(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(asyncore.dispatcher, loop.map)
    got: list[bytes] = []
    channel.handle_read = lambda: got.append(channel.recv(100))
    copy.copy(channel).add_channel()
    far.send(b"data")
    loop.poll(5)
    assert got == [b"data"]
    channel.close()


def test_copy_of_a_chat_goes_on_where_the_first_was(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(asynchat.async_chat, loop.map)
    channel.set_terminator(b"\n")
    channel.incoming.append(b"first")
    channel.ac_in_buffer = b"half a "
    channel.producer_fifo.append(b"queued")
    channel.del_channel()
    twin = copy.copy(channel)
    got: list[Any] = []
    twin.collect_incoming_data = got.append
    twin.found_terminator = lambda: got.append("found")
    assert twin.incoming is channel.incoming
    twin._fileno = twin.socket.fileno()
    twin.add_channel()
    far.send(b"line\n")
    poll_until(loop, lambda: got and not twin.producer_fifo)
    assert got == [b"half a line", "found"]
    assert far.recv(100) == b"queued"
    assert list(channel.producer_fifo) == [b"queued"]
    twin.close()


def test_channel_without_a_socket_can_be_pickled() -> None:
    channel = asynchat.async_chat(map={})
    channel.set_terminator(3)
    again = pickle.loads(pickle.dumps(channel))
    assert type(again) is asynchat.async_chat
    assert (again.socket, again._map, again.terminator) == (None, {}, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_cannot_be_pickled_or_copied_deeply(loop: Loop, peers: Peers, kind: type[Any]) -> None:
    channel, _ = peers.channel(kind, loop.map)
    for way in pickle.dumps, copy.deepcopy:
        with pytest.raises(TypeError, match="cannot pickle 'socket' object"):
            way(channel)
    channel.close()


class Stateful:
    def __getstate__(self) -> Any:
        return {"said": "by the program"}

    def __setstate__(self, state: Any) -> None:
        self.state = state


def test_state_methods_of_another_base_are_used() -> None:
    class Both(asyncore.dispatcher, Stateful):
        pass

    assert copy.copy(Both(map={})).state == {"said": "by the program"}


def test_property_of_the_program_is_not_set(loop: Loop) -> None:
    class Own(asyncore.dispatcher):
        @property
        def mode(self) -> Any:
            return self.__dict__["mode"]

        @mode.setter
        def mode(self, value: Any) -> None:
            sets.append(value)
            self.__dict__["mode"] = value

    sets: list[Any] = []
    channel = Own(map=loop.map)
    channel.mode = 1
    assert copy.copy(channel).mode == 1
    assert sets == [1]


@pytest.mark.parametrize("way", [copy.copy, lambda channel: pickle.loads(pickle.dumps(channel))])
def test_terminator_that_is_none_is_the_copy_s_too(way: Callable[[Any], Any]) -> None:
    channel = asynchat.async_chat(map={})
    channel.set_terminator(None)
    assert way(channel).get_terminator() is None


def test_private_attributes_of_a_class_that_is_called_channel_are_copied() -> None:
    class Channel(asyncore.dispatcher):
        def hide(self) -> None:
            self.__hidden = 1

    class ChatChannel(Channel):
        def hide(self) -> None:
            super().hide()
            self.__hidden = 2

    channel = ChatChannel(map={})
    channel.hide()
    twin = vars(copy.copy(channel))
    assert (twin["_Channel__hidden"], twin["_ChatChannel__hidden"]) == (1, 2)
