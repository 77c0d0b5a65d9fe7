# SPDX-License-Identifier: MIT
"""Mistakes of beginners: the error names the cause, and what to do about it."""

from __future__ import annotations

import logging
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

import cyncore
from cyncore import Loop, Stream, asyncore
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, connected, over_tcp, tcp_pair

# Addresses


@pytest.mark.parametrize("method", ["listen", "connect"])
@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("127.0.0.1:7000", "('127.0.0.1', 7000)"),
        ("example.org:80", "('example.org', 80)"),
        (":7000", "('', 7000)"),
        ("127.0.0.1", "('127.0.0.1', port)"),
        ("::1", "('::1', port)"),
        ("[::1]:80", "('::1', 80)"),
        ("localhost", "('localhost', port)"),
    ],
)
def test_a_host_is_not_taken_for_the_path_of_a_unix_socket(
    loop: Loop, method: str, address: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match="path of a Unix socket") as raised:
        getattr(loop, method)(address, Stream)
    assert meant in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["app.sock", "./127.0.0.1:7000", "a:b"])
def test_a_path_of_this_folder_is_one(loop: Loop, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = loop.listen(path, Stream)
    assert server.address == path
    server.close()


@pytest.mark.parametrize("method", ["listen", "connect"])
@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be_is_an_error_at_once(loop: Loop, method: str, port: int) -> None:
    with pytest.raises(OverflowError, match=f"from 0 to 65535, not {port}"):
        getattr(loop, method)(("127.0.0.1", port), Stream)


@pytest.mark.parametrize("address", [80, ["127.0.0.1", 80], None, ("127.0.0.1",)])
def test_connecting_to_what_is_no_address_is_an_error_at_once(loop: Loop, address: Any) -> None:
    with pytest.raises(TypeError, match="an address is"):
        loop.connect(address, Stream)


def fails(*_: Any, **__: Any) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_name_that_a_server_cannot_find_is_named(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(socket.gaierror, match=r"not known: 'nowhere\.invalid'"):
        loop.listen(("nowhere.invalid", 0), Stream)


def test_a_name_that_a_client_cannot_find_is_named(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", fails)
    stream: Any = loop.connect(("nowhere.invalid", 80), Recorder)
    poll_until(loop, lambda: stream.closing)
    loop.poll(0)
    assert "'nowhere.invalid'" in str(stream.seen)


def test_bind_of_a_dispatcher_names_the_address(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
        channel = asyncore.dispatcher(None, loop.map)
        channel.create_socket()
        with pytest.raises(OSError, match=f"'127.0.0.1', {address[1]}"):
            channel.bind(address)
        channel.close()


def refused() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return gone.getsockname()


def test_a_connect_whose_failure_nobody_would_hear_of_is_logged(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    stream = loop.connect(refused(), Stream)
    poll_until(loop, lambda: stream.closing)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "Connection refused" in record.getMessage()
    assert "Stream.handle_close() does not tell" in record.getMessage()


def test_a_connect_whose_failure_is_handled_is_not_logged(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    stream = loop.connect(refused(), Recorder)
    poll_until(loop, lambda: stream.closing)
    assert not caplog.records


# Servers


def test_a_context_for_clients_is_not_taken_for_a_server(loop: Loop) -> None:
    with pytest.raises(ValueError, match=r"ssl\.Purpose\.CLIENT_AUTH"):
        loop.listen(("127.0.0.1", 0), Stream, tls=ssl.create_default_context())


@pytest.mark.parametrize("name", ["max_connections", "max_connections_per_peer"])
def test_a_limit_that_is_no_number_is_an_error_at_once(loop: Loop, name: str) -> None:
    options: Any = {name: "5"}
    with pytest.raises(TypeError, match=f"{name} must be an int or None, not '5'"):
        loop.listen(("127.0.0.1", 0), Stream, **options)


@pytest.mark.parametrize("method", ["listen", "connect", "bind"])
def test_a_closed_loop_opens_nothing(method: str) -> None:
    loop = Loop()
    loop.close()
    with pytest.raises(RuntimeError, match=f"{method}: .* is closed"):
        getattr(loop, method)(("127.0.0.1", 0), cyncore.Datagram if method == "bind" else Stream)


# Streams


@pytest.mark.parametrize(
    ("name", "cure"), [("send", r"write\(\)"), ("recv", r"handle_data\(\)"), ("accept", r"Loop\.listen\(\)")]
)
def test_a_stream_has_no_method_of_dispatchers(loop: Loop, peers: Peers, name: str, cure: str) -> None:
    stream, _ = connected(peers, loop)
    with pytest.raises(AttributeError, match=cure):
        getattr(stream, name)
    stream.abort()


def test_a_stream_may_define_a_send_of_its_own(loop: Loop) -> None:
    class Sender(Stream):
        def send(self, data: bytes) -> str:
            return "sent"

    assert Sender().send(b"data") == "sent"


def test_what_is_logged_of_a_stream_names_its_peer(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Stream):
        def handle_data(self, data: bytes) -> None:
            raise ValueError

    stream, far = over_tcp(peers, loop, Failing)
    shown = f"to {far.getsockname()!r} at "
    assert f"Failing connected {shown}" in repr(stream)
    far.send(b"x")
    poll_until(loop, lambda: stream.closing)
    [record] = caplog.records
    assert shown in record.getMessage()


def test_a_connected_socket_that_connect_takes_over_has_a_peer(loop: Loop, peers: Peers) -> None:
    ours, theirs = tcp_pair(peers)
    stream = loop.connect(ours, Recorder)
    poll_until(loop, lambda: stream.connected)
    assert stream.addr == theirs.getsockname()
    stream.abort()


def test_a_framing_is_an_object_and_no_class(loop: Loop, peers: Peers) -> None:
    stream, _ = connected(peers, loop)
    with pytest.raises(TypeError, match=r"not the class Lines: Lines\(\)"):
        stream.framing = cyncore.Lines
    stream.abort()


def test_a_deadline_that_is_no_number_is_named(loop: Loop) -> None:
    class Stopped(Recorder):
        idle_deadline = "60"  # type: ignore[assignment]

    with pytest.raises(TypeError, match="idle_deadline must be a number, not '60'"):
        loop.connect(refused(), Stopped)


# Bytes, callbacks and maps


def test_text_is_not_sent_and_what_makes_bytes_of_it_is_named(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(asyncore.dispatcher_with_send, loop.map)
    with pytest.raises(TypeError, match=r"not 'text': encode\(\) makes bytes"):
        channel.send("text")
    assert channel.out_buffer == b""
    channel.close()


def test_text_that_is_long_is_not_repeated_in_the_error(loop: Loop) -> None:
    with pytest.raises(TypeError, match="not str: encode") as raised:
        Stream().write("x" * 1000)  # type: ignore[arg-type]
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later"])
def test_none_in_place_of_a_callback_is_explained(loop: Loop, method: str) -> None:
    arguments = (0, None) if method == "call_later" else (None,)
    with pytest.raises(TypeError, match="the function itself, and not what it returns"):
        getattr(loop, method)(*arguments)


def test_a_loop_in_place_of_its_map_is_explained(loop: Loop) -> None:
    with pytest.raises(TypeError, match="a loop's is its attribute map"):
        Loop.of(loop)  # type: ignore[arg-type]


def test_a_backend_in_place_of_a_map_is_explained() -> None:
    with pytest.raises(TypeError, match=r"Loop\(backend='epoll'\)"):
        Loop("epoll")  # type: ignore[arg-type]


def test_the_name_of_a_signal_in_place_of_its_number_is_explained(loop: Loop) -> None:
    name: Any = signal.SIGHUP.name
    with pytest.raises(TypeError, match=r"such as signal\.SIGHUP, not 'SIGHUP'"):
        loop.add_signal_handler(name, print)
