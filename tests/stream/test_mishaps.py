# SPDX-License-Identifier: MIT
"""Failures of handlers, files, framings and descriptors: they are told to their own stream, or cost nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

import cyncore
import cyncore._stream.pipe
from cyncore import Loop, Stream
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.pipes import joined
from tests.support.streams import Recorder, connected, over_tcp, receive, reset

# Handlers


class Failing(Recorder):
    high_water = 10

    def handle_full(self) -> None:
        raise ValueError("full")

    def handle_error(self, error: BaseException) -> None:
        self.seen.append(str(error))


@every_backend
def test_handle_full_that_raises_is_told_to_handle_error(loop: Loop, peers: Peers) -> None:
    stream, _ = connected(peers, loop, Failing)
    stream.write(bytes(5_000_000))
    poll_until(loop, lambda: "full" in stream.seen)
    assert stream.connected
    stream.abort()


@every_backend
def test_handle_close_that_raises_is_told_to_handle_error_once(loop: Loop, peers: Peers) -> None:
    class Last(Recorder):
        def handle_close(self, error: BaseException | None) -> None:
            self.seen.append("close")
            raise ValueError("last")

        def handle_error(self, error: BaseException) -> None:
            self.seen.append(error.args[0])

    stream, _ = connected(peers, loop, Last)
    stream.abort()
    for _ in range(3):
        loop.poll(0)
    assert stream.seen == ["connect", "close", "last"]


@every_backend
def test_handle_error_that_raises_ends_its_stream_with_the_first_error(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    class Twice(Recorder):
        def handle_data(self, data: bytes) -> None:
            raise ValueError("first")

        def handle_error(self, error: BaseException) -> None:
            raise LookupError("second")

    stream, theirs = connected(peers, loop, Twice)
    theirs.sendall(b"x")
    poll_until(loop, lambda: stream.is_over)
    assert str(stream.seen[-1]) == "first"
    assert "handle_error failed" in caplog.text


def test_handle_drain_that_raises_costs_its_own_stream(loop: Loop, peers: Peers) -> None:
    class Stubborn(Recorder):
        def handle_drain(self) -> None:
            raise ValueError("never")

    stream, _ = connected(peers, loop, Stubborn)
    other, _ = connected(peers, loop)
    loop.drain(30)
    loop.run()
    assert str(stream.seen[-1]) == "never"
    assert other.seen[-1] == "close"


def test_frames_that_nobody_takes_are_discarded_with_a_word(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    class Deaf(Stream):
        framing = cyncore.Lines()

    stream, theirs = connected(peers, loop, Deaf)
    theirs.sendall(b"one\ntwo\n")
    poll_until(loop, lambda: caplog.records)
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == ["handle_frame"]
    stream.abort()


# Framings


def test_framings_show_what_they_were_made_with() -> None:
    made = cyncore.Lines(b"\r\n", 80), cyncore.Prefixed(2, "little", 99), cyncore.Exactly(7)
    assert [repr(each) for each in made] == [
        r"cyncore.Lines(b'\r\n', limit=80)",
        "cyncore.Prefixed(2, 'little', limit=99)",
        "cyncore.Exactly(7)",
    ]


@every_backend
@pytest.mark.parametrize("found", [(0, 0, 0), (0, 5, 3), (2, 1, 3), (0, 1, 99)])
def test_framing_that_finds_what_cannot_be_ends_its_stream(loop: Loop, peers: Peers, found: Any) -> None:
    class Wrong:
        def find(self, data: bytearray, start: int, searched: int) -> Any:
            return found

    stream, theirs = connected(peers, loop)
    stream.framing = Wrong()
    theirs.sendall(b"data")
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ValueError)
    assert "cannot be" in str(stream.seen[-1])


# Files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 20_000)
    return path


@every_backend
def test_file_that_the_kernel_refuses_to_send_is_copied(
    loop: Loop, peers: Peers, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "sendfile", refuse)
    stream, theirs = connected(peers, loop)
    with file.open("rb") as opened:
        stream.sendfile(opened)
    stream.close()
    assert receive(loop, theirs, 6_000_000) == file.read_bytes()


def test_copied_file_that_becomes_shorter_ends_the_stream(
    loop: Loop, peers: Peers, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sendfile")
    stream, theirs = connected(peers, loop)
    with file.open("rb") as opened:
        stream.sendfile(opened)
    loop.poll(0)
    os.truncate(file, 0)
    receive(loop, theirs, 6_000_000)
    poll_until(loop, lambda: stream.is_over)
    assert "shorter" in str(stream.seen[-1])


@every_backend
def test_peer_that_is_lost_while_a_file_is_sent_is_the_error_and_gives_descriptors_back(
    loop: Loop, peers: Peers, file: Path
) -> None:
    stream, theirs = over_tcp(peers, loop)
    with file.open("rb") as opened:
        for _ in range(10):  # more than the kernel holds, so that some wait in their turn
            stream.sendfile(opened)
    loop.poll(0)
    reset(theirs)
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ConnectionError)


def test_file_after_write_eof_is_an_error(loop: Loop, peers: Peers, file: Path) -> None:
    stream, _ = connected(peers, loop)
    stream.write_eof()
    with file.open("rb") as opened, pytest.raises(RuntimeError, match="after write_eof"):
        stream.sendfile(opened)
    stream.abort()


@every_backend
def test_file_waits_for_the_peer_over_tls(
    loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, file: Path
) -> None:
    class Sender(Stream):
        def handle_connect(self) -> None:
            with file.open("rb") as opened:
                self.sendfile(opened)
            self.close()

    server = loop.listen(("127.0.0.1", 0), Sender, tls=server_tls)
    client = loop.connect(server.address, Recorder, tls=client_tls, server_hostname="localhost")
    poll_until(loop, lambda: client.connected)
    assert client.get_extra_info("compression", "none") == "none"
    client.pause_reading()
    for _ in range(5):  # what the kernel holds is full
        loop.poll(0.01)
    client.resume_reading()
    poll_until(loop, lambda: client.is_over, 10_000)
    assert client.got == file.read_bytes()
    assert client.seen[-1] == "close"
    server.close()
    poll_until(loop, lambda: not loop.map)


# Ends that come while reading is paused


@every_backend
def test_both_ends_that_closed_while_reading_was_paused_are_told_after_the_input(loop: Loop, peers: Peers) -> None:
    class HalfOpen(Recorder):
        def handle_eof(self) -> None:
            self.seen.append("eof")

    stream, theirs = over_tcp(peers, loop, HalfOpen)
    stream.pause_reading()
    stream.write_eof()
    theirs.sendall(b"last")
    theirs.shutdown(socket.SHUT_WR)
    for _ in range(5):
        loop.poll(0.01)
    assert stream.seen == ["connect"]
    stream.resume_reading()
    poll_until(loop, lambda: stream.is_over)
    assert stream.got == b"last"
    assert stream.seen == ["connect", "data", "eof", "close"]


@every_backend
def test_closing_stream_whose_peer_is_lost_has_the_error(loop: Loop, peers: Peers) -> None:
    stream, theirs = over_tcp(peers, loop)
    stream.write(bytes(20_000_000))
    loop.poll(0)
    stream.close()
    loop.poll(0)
    reset(theirs)
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ConnectionError)


# Pipes of the kernel

pipes = cyncore._stream.pipe
linux = pytest.mark.skipif(not pipes.CAN_SPLICE, reason="there is no splice")


@linux
def test_pipes_are_kept_for_others_up_to_a_number() -> None:
    taken = [pipes.take_pipe() for _ in range(pipes.SPARE + 2)]
    for ends in taken:
        assert ends is not None
        pipes.give_back(ends)
    assert len(pipes._spare) == pipes.SPARE
    assert pipes.take_pipe() in taken
    pipes.give_back(next(ends for ends in taken if ends is not None and ends not in pipes._spare))


@linux
def test_child_of_a_fork_does_not_take_the_pipes_of_its_parent() -> None:
    ends = pipes.take_pipe()
    assert ends is not None
    pipes.give_back(ends)
    child = os.fork()
    if not child:
        theirs = {os.fstat(fd).st_ino for fd in ends}
        mine = pipes.take_pipe()
        os._exit(0 if mine is not None and not theirs & {os.fstat(fd).st_ino for fd in mine} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pipes._spare == [ends]


@linux
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_pipe_is_none_where_no_descriptor_is_left(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail() -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pipe", fail)
    assert pipes.take_pipe() is None


@linux
def test_pipe_serves_where_the_system_allows_no_larger_one(
    loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    first, near, second, far = joined(loop, peers)
    near.setblocking(False)
    sent = near.send(bytes(300_000))
    assert len(receive(loop, far, sent)) == sent
    near.close()
    far.close()
    poll_until(loop, lambda: first.is_over and second.is_over)
