# SPDX-License-Identifier: MIT
"""Programs have helpers of their own, whose names may be those of helpers of ours."""

from __future__ import annotations

from typing import Any

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
