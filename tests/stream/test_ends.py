# SPDX-License-Identifier: MIT
"""How a connection ends, in every order, and what the program is told of it."""

from __future__ import annotations

import gc
import logging
import socket
import threading
import weakref
from typing import Any

import pytest

from cyncore import ExitNow, Loop, Stream
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, connected, receive, reset, tcp_pair


@every_backend
def test_the_end_of_the_input_closes_the_stream(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    theirs.close()
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", "eof", "close"]
    assert not loop.map


class HalfOpen(Recorder):
    def handle_eof(self) -> None:
        self.seen.append("eof")


@every_backend
def test_a_stream_may_answer_after_the_end_of_its_input(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, HalfOpen)
    theirs.shutdown(socket.SHUT_WR)
    poll_until(loop, lambda: "eof" in stream.seen)
    for _ in range(3):
        loop.poll(0.01)
    assert stream.seen.count("eof") == 1
    stream.write(b"answer")
    stream.close()
    assert receive(loop, theirs, 100) == b"answer"
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", "eof", "close"]


def test_a_stream_may_read_after_the_end_of_its_output(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, HalfOpen)
    stream.write(b"question")
    stream.write_eof()
    assert receive(loop, theirs, 100) == b"question"
    theirs.setblocking(True)
    theirs.sendall(b"answer")
    poll_until(loop, lambda: stream.got == b"answer")
    theirs.close()
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", "data", "eof", "close"]


@every_backend
def test_close_sends_what_is_queued_first(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    stream.write(bytes(2_000_000))
    stream.close()
    assert stream.closing
    assert len(receive(loop, theirs, 3_000_000)) == 2_000_000
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", "close"]


def test_a_closing_stream_discards_what_still_comes(loop: Loop, peers: Peers) -> None:
    ours, theirs = tcp_pair(peers)
    stream = Recorder(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    stream.write(bytes(8_000_000))
    stream.close()
    loop.poll(0)
    theirs.settimeout(5)
    theirs.sendall(b"too late")
    assert len(receive(loop, theirs, 9_000_000)) == 8_000_000
    poll_until(loop, lambda: stream.is_over)
    assert stream.got == b""


def test_abort_drops_what_is_queued(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop)
    stream.write(bytes(5_000_000))
    stream.abort()
    assert stream.output_size == 0
    assert stream.seen == ["connect"]  # never from inside a call of the program
    assert len(receive(loop, theirs, 5_000_000)) < 5_000_000
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", "close"]


def test_each_way_to_close_counts_once(loop: Loop, peers: Peers) -> None:
    stream, _ = connected(peers, loop)
    for _ in range(2):
        stream.close()
        stream.abort()
        stream.write_eof()
    poll_until(loop, lambda: stream.is_over)
    loop.poll(0)
    assert stream.seen == ["connect", "close"]


@every_backend
def test_a_reset_is_the_error_of_the_connection(loop: Loop, peers: Peers) -> None:
    ours, theirs = tcp_pair(peers)
    stream = Recorder(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    reset(theirs)
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ConnectionResetError)


def test_a_paused_stream_is_told_of_a_reset_when_it_goes_on(loop: Loop, peers: Peers) -> None:
    ours, theirs = tcp_pair(peers)
    stream = Recorder(ours, loop=loop)
    poll_until(loop, lambda: stream.connected)
    stream.pause_reading()
    reset(theirs)
    loop.poll(0.01)
    assert stream.connected
    stream.resume_reading()
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], ConnectionResetError)


def receive_all(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


@pytest.mark.parametrize("handler", ["handle_connect", "handle_data", "handle_eof", "handle_full", "handle_drained"])
def test_a_handler_that_raises_ends_its_stream(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, handler: str
) -> None:
    class Failing(Recorder):
        high_water = 10
        low_water = 1

    def fail(self: Any, *args: Any) -> None:
        raise LookupError("wrong")

    setattr(Failing, handler, fail)
    other, _ = connected(peers, loop)
    ours, theirs = peers.pair()
    stream = Failing(ours, loop=loop)
    if handler in ("handle_full", "handle_drained"):
        stream.write(bytes(2_000_000))
    reader = threading.Thread(target=receive_all, args=(theirs,), daemon=True)
    if handler == "handle_drained":
        reader.start()
    elif handler != "handle_full":
        theirs.sendall(b"x")
        theirs.shutdown(socket.SHUT_WR)
    with caplog.at_level(logging.ERROR, "cyncore"):
        poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], LookupError)
    assert caplog.records[0].exc_info is not None
    assert "a handler failed" in caplog.records[0].getMessage()
    assert other.connected
    other.abort()
    if handler == "handle_drained":
        reader.join(30)  # it sees the end before its socket is closed


def test_nothing_is_printed(loop: Loop, peers: Peers, capsys: pytest.CaptureFixture[str]) -> None:
    class Failing(Recorder):
        def handle_data(self, data: bytes) -> None:
            raise LookupError("wrong")

    logging.getLogger("cyncore").addHandler(handler := logging.NullHandler())
    try:
        stream, theirs = connected(peers, loop, Failing)
        theirs.sendall(b"x")
        poll_until(loop, lambda: stream.is_over)
    finally:
        logging.getLogger("cyncore").removeHandler(handler)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("exit_type", [ExitNow, KeyboardInterrupt, SystemExit])
def test_some_exceptions_leave_the_loop(loop: Loop, peers: Peers, exit_type: type[BaseException]) -> None:
    class Leaving(Recorder):
        def handle_data(self, data: bytes) -> None:
            raise exit_type

    stream, theirs = connected(peers, loop, Leaving)
    theirs.sendall(b"x")
    with pytest.raises(exit_type):
        loop.run(forever=True)
    stream.abort()


def test_an_async_handler_is_refused_with_a_word(loop: Loop, peers: Peers) -> None:
    class Modern(Stream):
        async def handle_data(self, data: bytes) -> None:  # type: ignore[override]
            pass

    for _ in range(2):
        ours, _ = peers.pair()
        with pytest.raises(TypeError, match="handle_data is an async function, which nobody would await"):
            Modern(ours, loop=loop)


def test_a_socket_without_a_loop_is_refused_with_a_word(peers: Peers) -> None:
    ours, _ = peers.pair()
    with pytest.raises(TypeError, match=r"Recorder\(sock\) needs its loop"):
        Stream.__init__(Recorder.__new__(Recorder), ours)


def test_a_stream_is_free_after_its_end(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, Stream)
    reference = weakref.ref(stream)
    theirs.close()
    poll_until(loop, lambda: not loop.map)
    loop.poll(0)
    del stream
    gc.collect()
    assert reference() is None


def test_a_stream_is_busy_as_its_program_says(loop: Loop, peers: Peers) -> None:
    stream, _ = connected(peers, loop)
    assert stream.busy is False
    stream.busy = True
    assert stream.busy is True
    stream.abort()


def test_facts_have_the_names_of_asyncio(loop: Loop, peers: Peers) -> None:
    ours, theirs = tcp_pair(peers)
    stream = Recorder(ours, loop=loop)
    assert stream.get_extra_info("peername") == theirs.getsockname()
    assert stream.get_extra_info("sockname") == theirs.getpeername()
    assert stream.get_extra_info("socket") is ours
    assert stream.get_extra_info("cipher") is None
    assert stream.get_extra_info("nothing", "default") == "default"
    assert stream.loop is loop
    stream.abort()
    assert stream.get_extra_info("nothing", "default") == "default"
