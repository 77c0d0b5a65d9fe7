# SPDX-License-Identifier: MIT
"""Programs have helpers of their own, whose names may be those of helpers of ours."""

from __future__ import annotations

from typing import Any

import pytest

import cyncore.asynchat as asynchat
import cyncore.asyncore as asyncore
from cyncore import Loop
from tests.support.peers import Peers


def test_a_disconnect_of_the_program_may_close(loop: Loop, peers: Peers) -> None:
    class Client(asyncore.dispatcher_with_send):
        def _disconnect(self) -> None:
            self.send(b"bye")
            self.close()

    channel, far = peers.channel(Client, loop.map)
    channel._disconnect()
    assert far.recv(100) == b"bye"
    assert not loop.map


def test_a_take_of_the_program_does_not_keep_the_channel_from_its_socket(loop: Loop, peers: Peers) -> None:
    class Worker(asyncore.dispatcher):
        def _take(self, *job: Any) -> bool:
            return True

    channel, _ = peers.channel(Worker, loop.map)
    assert list(loop.map.values()) == [channel]
    channel.close()


def test_a_find_peer_of_the_program_is_not_asked_for_the_address(loop: Loop, peers: Peers) -> None:
    class Finder(asyncore.dispatcher):
        def set_socket(self, sock: Any, map: Any = None) -> None:
            super().set_socket(sock, map)

        def _find_peer(self, name: str) -> None:
            raise AssertionError("called")

    channel, _ = peers.channel(Finder, loop.map)
    assert channel.connected
    channel.close()


def test_a_start_buffers_of_the_program_is_its_own_affair(loop: Loop, peers: Peers) -> None:
    class Chat(asynchat.async_chat):
        def _start_buffers(self, size: int) -> None:
            raise AssertionError("called")

    channel, _ = peers.channel(Chat, loop.map)
    channel.close()


_OLD_NAMES = {"_fileno", "_map", "_collect_incoming_data", "_get_data"}
_CALLED_THROUGH_THE_CLASS = {"_take", "_find_peer", "_disconnect", "_start_buffers"}


@pytest.mark.parametrize("kind", [asyncore.dispatcher, asyncore.dispatcher_with_send, asynchat.async_chat])
def test_private_names_of_ours_are_none_that_a_program_would_choose(kind: type[asyncore.dispatcher]) -> None:
    ours = {name for name in dir(kind(None, {})) if name.startswith("_") and name not in dir(object)}
    chosen = {name for name in ours if not name.startswith(("__", "_cyncore_")) and "__" not in name}
    assert chosen <= _OLD_NAMES | _CALLED_THROUGH_THE_CLASS


def test_private_attributes_of_the_program_do_not_disturb_its_channel(loop: Loop, peers: Peers) -> None:
    class Echo(asyncore.dispatcher_with_send):
        def handle_read(self) -> None:
            self.send(self.recv(100))

    channel, far = peers.channel(Echo, loop.map)
    for name in ("_loop", "_state", "_paused", "_interest", "_check", "_output", "_place", "_join"):
        setattr(channel, name, "the program's")
    far.send(b"hello")
    loop.poll(5)
    assert far.recv(100) == b"hello"
    channel.close()


class _Dict:
    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value


def test_setattr_of_the_program_may_write_to_the_dict_of_a_dispatcher(loop: Loop, peers: Peers) -> None:
    class Echo(_Dict, asyncore.dispatcher_with_send):
        def handle_read(self) -> None:
            self.send(self.recv(100))

        def handle_close(self) -> None:
            self.close()

    channel, far = peers.channel(Echo, loop.map)
    assert channel.connected
    far.send(b"hello")
    loop.poll(5)
    assert far.recv(100) == b"hello"
    far.close()
    loop.poll(5)
    assert not loop.map
    assert not channel.connected


def test_setattr_of_the_program_may_write_to_the_dict_of_a_chat(loop: Loop, peers: Peers) -> None:
    class Chat(asynchat.async_chat):
        __setattr__ = _Dict.__setattr__

        def found_terminator(self) -> None:
            self.push(b"found")

    channel, far = peers.channel(Chat, loop.map)
    channel.collect_incoming_data = bytes
    channel.set_terminator(b"\n")
    far.send(b"hello\n")
    loop.poll(5)
    assert far.recv(100) == b"found"
    channel.close()


def test_handler_that_a_setattr_of_the_program_puts_into_the_dict_is_called(loop: Loop, peers: Peers) -> None:
    class Channel(_Dict, asyncore.dispatcher):
        pass

    channel, far = peers.channel(Channel, loop.map)
    got: list[bytes] = []
    channel.handle_read = lambda: got.append(channel.recv(100))
    far.send(b"hello")
    loop.poll(5)
    assert got == [b"hello"]
    channel.close()


def test_property_that_keeps_its_value_under_its_own_name_is_set_once(loop: Loop, peers: Peers) -> None:
    class Channel(asyncore.dispatcher):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)

        @property
        def mode(self) -> Any:
            return self.__dict__["mode"]

        @mode.setter
        def mode(self, value: Any) -> None:
            values.append(value)
            self.__dict__["mode"] = value

    values: list[Any] = []
    channel, _ = peers.channel(Channel, loop.map)
    channel.mode = 1
    assert values == [1]
    assert channel.mode == 1
    channel.close()


def test_setattr_of_the_program_is_told_that_the_channel_has_no_descriptor_any_more(loop: Loop, peers: Peers) -> None:
    class Traced(asyncore.dispatcher):
        def __setattr__(self, name: str, value: Any) -> None:
            told.append((name, value))
            super().__setattr__(name, value)

    told: list[Any] = []
    channel, _ = peers.channel(Traced, loop.map)
    told.clear()
    channel.close()
    assert [(name, value) for name, value in told if not name.startswith("_cyncore")] == [
        ("connected", False),
        ("accepting", False),
        ("connecting", False),
        ("_fileno", None),
    ]


def test_setattr_of_a_base_is_called_where_python_finds_it(loop: Loop) -> None:
    class Named(_Dict):
        def __setattr__(self, name: str, value: Any) -> None:
            names.append(name)
            super().__setattr__(name, value)

    class First(_Dict, asyncore.dispatcher):
        pass

    class Second(First, Named):
        pass

    names: list[str] = []
    First(map=loop.map)
    Second(map=loop.map).mode = 1
    assert names[-1] == "mode"


def test_setattr_of_a_base_may_be_replaced(loop: Loop) -> None:
    class Base:
        def __setattr__(self, name: str, value: Any) -> None:
            self.__dict__[name] = value

    class Channel(Base, asyncore.dispatcher):
        pass

    channel = Channel(map=loop.map)
    names: list[str] = []
    Base.__setattr__ = lambda self, name, value: names.append(name)  # type: ignore[method-assign]
    channel.mode = 1
    assert names == ["mode"]
    del Base.__setattr__
    channel.mode = 2
    assert channel.mode == 2


def test_setattr_of_another_class_that_a_channel_is_given_is_followed(loop: Loop, peers: Peers) -> None:
    class Before(asyncore.dispatcher):
        pass

    class After(_Dict, asyncore.dispatcher):
        pass

    channel, _ = peers.channel(Before, loop.map)
    channel.__class__ = After
    channel.connected = False
    assert not channel.connected
    channel.close()
