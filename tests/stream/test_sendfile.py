# SPDX-License-Identifier: MIT
"""Parts of files in the output of a stream."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop, TLSError
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.loops import every_backend
from tests.support.others import others_fixture as others_fixture
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, connected, receive, reset, tcp_pair


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 20_000)  # 5 MB: more than a socket takes at once
    return path


@every_backend
def test_a_file_leaves_in_its_place_between_writes(loop: Loop, peers: Peers, file: Path) -> None:
    stream, theirs = connected(peers, loop)
    stream.write(b"head")
    with file.open("rb") as opened:
        stream.sendfile(opened)
    stream.write(b"tail")
    assert stream.output_size <= 8  # the file does not count
    whole = b"head" + file.read_bytes() + b"tail"
    assert receive(loop, theirs, len(whole)) == whole
    stream.abort()


@pytest.mark.parametrize(
    ("offset", "count"), [(0, 10), (100, None), (7, 300_000), (5_120_000, None), (9_000_000, None)]
)
def test_a_part_of_a_file_may_be_sent(loop: Loop, peers: Peers, file: Path, offset: int, count: Any) -> None:
    stream, theirs = connected(peers, loop)
    fd = os.open(file, os.O_RDONLY)
    stream.sendfile(fd, offset, count)
    os.close(fd)
    stream.close()
    wanted = file.read_bytes()[offset:] if count is None else file.read_bytes()[offset : offset + count]
    assert receive(loop, theirs, len(wanted) + 1) == wanted


def test_what_the_kernel_cannot_send_is_copied(
    loop: Loop, peers: Peers, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sendfile", raising=False)
    stream, theirs = connected(peers, loop)
    with file.open("rb") as opened:
        stream.sendfile(opened)
    stream.close()
    assert receive(loop, theirs, 6_000_000) == file.read_bytes()


def test_a_file_that_becomes_shorter_ends_the_stream(loop: Loop, peers: Peers, file: Path) -> None:
    stream, theirs = connected(peers, loop)
    with file.open("rb") as opened:
        stream.sendfile(opened)
    loop.poll(0)
    os.truncate(file, 0)
    receive(loop, theirs, 6_000_000)
    poll_until(loop, lambda: stream.is_over)
    assert "shorter" in str(stream.seen[-1])


def test_an_aborted_stream_gives_the_descriptor_back(loop: Loop, peers: Peers, file: Path) -> None:
    stream, _ = connected(peers, loop)
    with file.open("rb") as opened:
        stream.sendfile(opened)
        stream.sendfile(opened)
    stream.abort()  # conftest looks for descriptors that are left


def test_a_file_for_a_closed_stream_is_dropped(loop: Loop, peers: Peers, file: Path) -> None:
    stream, _ = connected(peers, loop)
    stream.abort()
    with file.open("rb") as opened:
        stream.sendfile(opened)
    assert stream.output_size == 0


def test_what_is_no_regular_file_is_refused(loop: Loop, peers: Peers, file: Path) -> None:
    stream, theirs = connected(peers, loop)
    with pytest.raises(ValueError, match="regular"):
        stream.sendfile(theirs)
    with file.open("rb") as opened, pytest.raises(ValueError, match="below zero"):
        stream.sendfile(opened, -1)
    stream.abort()


@pytest.mark.parametrize("copies", [False, True])
def test_a_peer_that_takes_nothing_of_a_file_passes_the_write_deadline(
    loop: Loop, peers: Peers, file: Path, monkeypatch: pytest.MonkeyPatch, copies: bool
) -> None:
    if copies:
        monkeypatch.delattr(os, "sendfile", raising=False)
    stream, _ = connected(peers, loop)
    stream.write_deadline = 0.02
    with file.open("rb") as opened:
        stream.sendfile(opened)
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], TimeoutError)
    assert "write" in str(stream.seen[-1])


@pytest.mark.parametrize("arguments", [("0",), (1.5,), (0, "1"), (0, 1.5)])
def test_a_range_that_is_no_number_is_refused(loop: Loop, peers: Peers, file: Path, arguments: Any) -> None:
    stream, _ = connected(peers, loop)
    with file.open("rb") as opened, pytest.raises(TypeError, match="must be an int"):
        stream.sendfile(opened, *arguments)
    stream.abort()
    poll_until(loop, lambda: stream.is_over)


@pytest.mark.parametrize("arguments", [(2**63,), (0, 2**63), (2**63 - 1, 1)])
def test_a_range_beyond_all_files_is_refused(loop: Loop, peers: Peers, file: Path, arguments: Any) -> None:
    stream, _ = connected(peers, loop)
    with file.open("rb") as opened, pytest.raises(ValueError, match="no file is as long"):
        stream.sendfile(opened, *arguments)
    stream.abort()
    poll_until(loop, lambda: stream.is_over)


def test_the_name_of_a_file_is_refused(loop: Loop, peers: Peers, file: Path) -> None:
    stream, _ = connected(peers, loop)
    with pytest.raises(TypeError, match="an open file"):
        stream.sendfile(str(file))
    stream.abort()
    poll_until(loop, lambda: stream.is_over)


def test_a_file_after_write_eof_is_an_error(loop: Loop, peers: Peers, file: Path) -> None:
    stream, _ = connected(peers, loop)
    stream.write_eof()
    with file.open("rb") as opened, pytest.raises(RuntimeError, match="write_eof"):
        stream.sendfile(opened)
    stream.abort()


@pytest.mark.parametrize("behind", [b"", b"bytes that wait before the file" * 100_000])
def test_a_peer_that_is_lost_before_the_end_of_a_file_ends_the_stream(
    loop: Loop, peers: Peers, file: Path, behind: bytes
) -> None:
    ours, theirs = tcp_pair(peers)
    stream = Recorder(ours, loop=loop)
    stream.write(behind)
    with file.open("rb") as opened:
        for _ in range(5):
            stream.sendfile(opened)
    poll_until(loop, lambda: stream.connected)
    reset(theirs)
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ConnectionError)


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_file_goes_over_tls_as_fast_as_it_is_taken(
    loop: Loop, file: Path, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, others: Any, is_lost: bool
) -> None:
    streams: list[Any] = []
    may_read = threading.Event()

    class Sending(Recorder):
        def handle_connect(self) -> None:
            super().handle_connect()
            streams.append(self)
            with file.open("rb") as opened:
                self.sendfile(opened)
            self.close()

    def take() -> bytes:
        got = b""
        plain = socket.create_connection(server.address, 10)
        with client_tls.wrap_socket(plain, server_hostname="localhost") as sock:
            may_read.wait(10)
            if is_lost:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return b""
            while part := sock.recv(65536):
                got += part
        return got

    server = loop.listen(("127.0.0.1", 0), Sending, tls=server_tls)
    result = others(take)
    poll_until(loop, lambda: streams)
    for _ in range(5):
        loop.poll(0.01)  # until the sockets are full
    may_read.set()
    poll_until(loop, lambda: result and streams[0].is_over)
    if is_lost:
        assert isinstance(streams[0].seen[-1], (ConnectionError, TLSError))
    else:
        assert result == [file.read_bytes()]
    server.close()
