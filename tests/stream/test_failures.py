# SPDX-License-Identifier: MIT
"""What fails between the calls of a program: its own handlers, the session, a connection that is lost meanwhile."""

from __future__ import annotations

import logging
import socket
import ssl
from typing import Any

import pytest

from cyncore import Lines, Loop
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, connected, over_tcp, receive, reset


@every_backend
def test_an_error_of_handle_close_is_logged(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recorder):
        def handle_close(self, error: BaseException | None) -> None:
            super().handle_close(error)
            raise LookupError("wrong")

    stream, theirs = connected(peers, loop, Failing)
    with caplog.at_level(logging.ERROR, "cyncore"):
        theirs.close()
        poll_until(loop, lambda: caplog.records)
    assert stream.seen == ["connect", "eof", "close"]
    assert "LookupError" in str(caplog.records[0].exc_info)


@every_backend
def test_an_error_of_a_frame_that_was_held_ends_the_stream(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Recorder):
        framing = Lines()

        def handle_frame(self, frame: bytes) -> None:
            super().handle_frame(frame)
            if frame == b"two":
                raise LookupError("wrong")
            self.pause_reading()

    stream, theirs = connected(peers, loop, Failing)
    theirs.sendall(b"one\ntwo\nthree\n")
    poll_until(loop, lambda: not stream.reading)
    stream.resume_reading()
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen[:3] == ["connect", b"one", b"two"]
    assert isinstance(stream.seen[3], LookupError)
    assert "a handler failed" in caplog.text


@every_backend
def test_a_closing_stream_whose_peer_is_lost_is_told_why(loop: Loop, peers: Peers) -> None:
    stream, theirs = over_tcp(peers, loop)
    stream.write(bytes(20_000_000))
    stream.close()
    for _ in range(3):
        loop.poll(0)
    assert not stream.is_over
    theirs.send(b"late")
    reset(theirs)
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen[0] == "connect"
    assert isinstance(stream.seen[1], ConnectionError)


@every_backend
def test_write_eof_to_a_peer_that_was_lost_ends_the_stream(loop: Loop, peers: Peers) -> None:
    stream, theirs = over_tcp(peers, loop)
    stream.pause_reading()  # so that nothing looks at the connection
    loop.poll(0)
    reset(theirs)
    stream.write_eof()
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], OSError)


@every_backend
def test_a_paused_stream_whose_peer_hangs_up_is_told_when_it_writes(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    stream.pause_reading()
    theirs.sendall(b"last words")
    theirs.close()
    stream.write(b"x")
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], BrokenPipeError)


@every_backend
def test_a_paused_stream_whose_peer_takes_nothing_is_told_when_it_hangs_up(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    stream.pause_reading()
    stream.write(bytes(5_000_000))
    loop.poll(0)
    assert stream.output_size
    theirs.close()
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], OSError)


class OtherSocket(socket.socket):
    """One that the engine does not read itself, as that of TLS is none."""


class Session:
    """A session over a plain socket, which says what it cannot do at the moment."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.reading: list[OSError] = []  # what reading raises next
        self.writing: list[OSError] = []
        self.writes = 0
        self.waits_for_keys = False  # writing waits until the peer has sent something

    def read(self, size: int, buffer: memoryview) -> int:
        if self.reading:
            self.sock.recv(size)
            raise self.reading.pop()
        try:
            return self.sock.recv_into(buffer)
        except BlockingIOError:
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "wait") from None

    def write(self, data: Any) -> int:
        self.writes += 1
        if self.writing:
            raise self.writing.pop()
        if self.waits_for_keys:
            try:
                self.sock.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "wait") from None
        try:
            return self.sock.send(data)
        except BlockingIOError:
            raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "wait") from None

    def pending(self) -> int:
        return 0

    def shutdown(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)


def with_session(loop: Loop, peers: Peers) -> tuple[Any, Session, socket.socket]:
    plain, theirs = peers.pair()
    ours = OtherSocket(fileno=plain.detach())
    peers.keep(ours)
    stream = Recorder(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    session = stream._session = Session(ours)
    return stream, session, theirs


@every_backend
def test_writing_that_has_to_read_first_goes_on_when_something_comes(loop: Loop, peers: Peers) -> None:
    stream, session, theirs = with_session(loop, peers)
    session.waits_for_keys = True
    stream.write(b"answer")
    poll_until(loop, lambda: session.writes)
    loop.poll(0)
    writes = session.writes
    assert loop.poll(0.01) == 0  # it does not ask for room meanwhile
    assert session.writes == writes
    theirs.settimeout(0)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    theirs.sendall(b"keys")
    assert receive(loop, theirs, 6) == b"answer"
    poll_until(loop, lambda: stream.got == b"keys")
    stream.abort()


@every_backend
@pytest.mark.parametrize("closes", [False, True])
def test_a_session_that_cannot_write_ends_its_stream(loop: Loop, peers: Peers, closes: bool) -> None:
    stream, session, _ = with_session(loop, peers)
    session.writing.append(ssl.SSLError(ssl.SSL_ERROR_SSL, "wrong"))
    stream.write(b"answer")
    if closes:
        stream.close()
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ssl.SSLError)


@every_backend
def test_a_session_that_cannot_read_ends_its_stream(loop: Loop, peers: Peers) -> None:
    stream, session, theirs = with_session(loop, peers)
    session.reading.append(ssl.SSLError(ssl.SSL_ERROR_SSL, "wrong"))
    theirs.sendall(b"x")
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ssl.SSLError)
    assert stream.got == b""


@every_backend
@pytest.mark.parametrize("place", [" (_ssl.c:2648)", ""], ids=["CPython 3.13.5", "PyPy 7.3.19"])
def test_a_changed_record_is_told_where_python_has_no_name_for_the_reason(loop: Loop, peers: Peers, place: str) -> None:
    stream, session, theirs = with_session(loop, peers)
    # so they word it with OpenSSL 3.5
    session.reading.append(ssl.SSLError(ssl.SSL_ERROR_SSL, "[SSL] record layer failure" + place))
    theirs.sendall(b"x")
    poll_until(loop, lambda: stream.is_over)
    assert "a record was changed on the way" in str(stream.seen[-1])


@every_backend
def test_a_session_that_cannot_read_any_more_still_sends_what_was_written(loop: Loop, peers: Peers) -> None:
    stream, session, theirs = with_session(loop, peers)
    stream.write(bytes(3_000_000))
    stream.close()
    session.reading.append(ssl.SSLError(ssl.SSL_ERROR_SSL, "wrong"))
    theirs.sendall(b"x")
    assert len(receive(loop, theirs, 3_000_001)) == 3_000_000
    theirs.close()
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", "close"]


@every_backend
def test_what_came_before_the_end_of_a_session_is_told_before_it(loop: Loop, peers: Peers) -> None:
    stream, _, theirs = with_session(loop, peers)
    theirs.sendall(b"last words")
    theirs.shutdown(socket.SHUT_WR)
    stream.write_eof()
    poll_until(loop, lambda: stream.is_over)
    assert stream.got == b"last words"
    assert stream.seen == ["connect", "data", "eof", "close"]
    assert receive(loop, theirs, 1) == b""


@every_backend
def test_write_eof_of_a_session_that_cannot_read_ends_its_stream(loop: Loop, peers: Peers) -> None:
    stream, session, theirs = with_session(loop, peers)
    theirs.sendall(b"x")
    session.reading.append(ssl.SSLError(ssl.SSL_ERROR_SSL, "wrong"))
    stream.write_eof()
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ssl.SSLError)
