# SPDX-License-Identifier: MIT
"""The troubles that docs/check.md warns of: its examples have them. (Those of TLS are in test_docs_tls.py.)"""

from __future__ import annotations

import socket
import sys
import threading
import time
from typing import Any

import pytest

import cyncore
from cyncore import Loop, asyncore, socket_map
from tests.support.docs import bind, names_of, pair_of
from tests.support.peers import Peers, poll_until

TURNS = 20

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
compiled = pytest.mark.skipif(not cyncore.native, reason="the engine in plain Python does such things as Python does")


@pytest.fixture(autouse=True)
def old_names(monkeypatch: pytest.MonkeyPatch) -> None:
    bind(monkeypatch)


@pytest.fixture
def loop() -> Loop:
    return Loop.of(socket_map)


def example(code: str) -> dict[str, Any]:
    """What the example of a rule defines."""
    return names_of(pair_of(code)[0])


def is_told_again(loop: Loop) -> bool:
    """Does every turn deliver an event?"""
    return [loop.poll(0) for _ in range(TURNS)] == [1] * TURNS


def test_predicate_is_asked_at_every_turn_of_the_program_s_own(peers: Peers) -> None:
    asked = []

    class Download(example("CYN101")["Download"]):  # type: ignore[misc]
        def readable(self) -> bool:
            asked.append(1)
            return bool(super().readable())

    channel, _ = peers.channel(Download, None)
    for _ in range(TURNS):
        asyncore.loop(timeout=0, count=1)
    assert len(asked) >= TURNS
    channel.close()


def test_nobody_is_served_while_the_program_sleeps(loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    _, peer = peers.channel(asyncore.dispatcher, None)
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        peer.close()

    monkeypatch.setattr(time, "sleep", sleep)
    example("CYN105")["serve"]()
    assert set(slept) == {0.05}


def test_thread_closes_a_channel_in_the_middle_of_its_handler(loop: Loop, peers: Peers) -> None:
    class Chat(example("CYN201")["Chat"]):  # type: ignore[misc]
        closed_by: threading.Thread | None = None

        def collect_incoming_data(self, data: bytes) -> None:
            pass

        def close_when_done(self) -> None:
            self.closed_by = threading.current_thread()
            super().close_when_done()

    channel, peer = peers.channel(Chat, None)
    channel.set_terminator(b"\n")
    peer.send(b"work\n")
    poll_until(loop, lambda: not socket_map)
    assert channel.closed_by is not threading.main_thread()


def test_channel_that_is_always_writable_spins(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(example("CYN204")["Client"], None)
    assert is_told_again(loop)
    channel.close()


class Failing(asyncore.dispatcher):
    def handle_read(self) -> None:
        raise ValueError("cannot be read")


def test_error_that_is_raised_again_leaves_the_loop(loop: Loop, peers: Peers) -> None:
    class Client(example("CYN206")["Client"], Failing):  # type: ignore[misc]
        pass

    channel, peer = peers.channel(Client, None)
    peer.send(b"x")
    with pytest.raises(ValueError, match="cannot be read"):
        loop.poll(5)
    channel.close()


def test_channel_that_is_left_open_fails_again(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    class Client(example("CYN207")["Client"], Failing):  # type: ignore[misc]
        pass

    channel, peer = peers.channel(Client, None)
    peer.send(b"x")
    assert is_told_again(loop)
    assert len(caplog.records) == TURNS
    channel.close()


def test_end_of_the_stream_is_told_again_and_again(
    loop: Loop, peers: Peers, capsys: pytest.CaptureFixture[str]
) -> None:
    class Client(example("CYN208")["Client"]):  # type: ignore[misc]
        def handle_read(self) -> None:
            self.recv(100)

    channel, peer = peers.channel(Client, None)
    peer.close()
    assert is_told_again(loop)
    assert capsys.readouterr().out.count("the server has gone\n") >= TURNS
    channel.close()


def test_interrupt_does_not_end_a_loop_that_catches_everything(
    peers: Peers, capsys: pytest.CaptureFixture[str]
) -> None:
    class Ending(Exception):
        pass

    class Interrupted(asyncore.dispatcher):
        def handle_read(self) -> None:
            raise KeyboardInterrupt

    def said(text: str) -> None:
        heard.append(text)
        if len(heard) == 3:
            raise Ending

    heard: list[str] = []
    names = example("CYN209")
    names["print"] = said
    channel, peer = peers.channel(Interrupted, None)
    peer.send(b"x")
    with pytest.raises(Ending):
        names["serve"]()
    assert heard == ["the loop failed"] * 3
    channel.close()


def test_peer_that_has_gone_is_a_type_error() -> None:
    class Server(example("CYN210")["Server"]):  # type: ignore[misc]
        def accept(self) -> Any:
            return None

    with pytest.raises(TypeError):
        Server().handle_accept()


def test_walked_map_changes(peers: Peers) -> None:
    for _ in range(5):
        peers.channel(asyncore.dispatcher, None)
    with pytest.raises(RuntimeError, match="changed size"):
        example("CYN211")["shut_down"]()
    asyncore.close_all()


@compiled
def test_channel_without_its_constructor_has_no_map() -> None:
    kind = example("CYN212")["Client"]
    client = kind.__new__(kind)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises((AttributeError, TypeError)):
        client.__init__(server.getsockname())
    assert not socket_map
    client.socket.close()


@compiled
@pytest.mark.skipif(not HAS_GIL, reason="without the GIL it is noticed")
def test_handler_in_the_dict_is_not_looked_for(loop: Loop, peers: Peers) -> None:
    class Client(example("CYN213")["Client"]):  # type: ignore[misc]
        reads = 0

        def first_line(self) -> None:
            raise AssertionError("called")

        def handle_read(self) -> None:
            self.reads += 1
            self.recv(100)

    channel, peer = peers.channel(Client, None)
    channel.begin()
    peer.send(b"x")
    poll_until(loop, lambda: channel.reads)
    if sys.version_info < (3, 13):  # from then on Python lets it happen, and it is not noticed either
        with pytest.raises(TypeError):
            object.__setattr__(channel, "handle_read", channel.first_line)
    channel.close()


@compiled
def test_second_layout_is_refused() -> None:
    with pytest.raises(TypeError):
        example("CYN214")


def test_timeout_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout"):
        example("CYN215")["turn"]()


@compiled
def test_patched_method_is_not_called(loop: Loop, peers: Peers) -> None:
    class Reader(asyncore.dispatcher):
        got = b""

        def handle_read(self) -> None:
            self.got += self.recv(100)

    before = socket.socket.recv
    channel, peer = peers.channel(Reader, None)
    try:
        example("CYN217")
        peer.send(b"x")
        poll_until(loop, lambda: channel.got)
    finally:
        socket.socket.recv = before  # type: ignore[method-assign]
    channel.close()


def test_text_is_a_type_error_and_closes(loop: Loop, peers: Peers, capsys: pytest.CaptureFixture[str]) -> None:
    class Chat(example("CYN218")["Chat"]):  # type: ignore[misc]
        def collect_incoming_data(self, data: bytes) -> None:
            pass

    channel, peer = peers.channel(Chat, None)
    channel.set_terminator(b"\n")
    peer.send(b"x\n")
    poll_until(loop, lambda: not socket_map)
    assert "TypeError" in capsys.readouterr().out
