# SPDX-License-Identifier: MIT
"""Handlers in Cython: what a compiled class of streams gets and sends without a Python object."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cyncore
from cyncore import LimitExceeded, Lines, Loop, Prefixed, Stream
from tests.support.compiled import SITE, build, environment, load, require_compiler
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import Recorder, connected, receive, tcp_pair


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_compiler()
    source = Path(__file__).with_name("handlers.pyx").read_text()
    return build(tmp_path_factory.mktemp("native"), "handlers", source)


@pytest.fixture(scope="module")
def handlers(module: Path) -> Any:
    return load(module)


@pytest.fixture
def Echo(handlers: Any) -> Any:
    return type("Echo", (handlers.EchoBytes, Recorder), {})


@pytest.fixture
def Scripted(handlers: Any) -> Any:
    return type("Scripted", (handlers.Scripted, Recorder), {})


def pending(theirs: socket.socket) -> bytes:
    """What has come by now."""
    theirs.setblocking(False)
    try:
        return theirs.recv(1_000_000)
    except BlockingIOError:
        return b""


# Input and output


@every_backend
def test_what_comes_goes_out_again(loop: Loop, peers: Peers, Echo: Any) -> None:
    stream, theirs = connected(peers, loop, Echo)
    for number in range(100):
        theirs.sendall(b"message %02d" % number)
        assert receive(loop, theirs, 10) == b"message %02d" % number
    stream.abort()
    poll_until(loop, lambda: stream.is_over)
    assert "data" not in stream.seen


def test_the_output_of_all_leaves_at_the_end_of_the_tick(loop: Loop, peers: Peers, Scripted: Any) -> None:
    stream, theirs = connected(peers, loop, Scripted)
    seen = []

    def act(data: bytes) -> None:
        stream.put(b"answer")
        seen.append((pending(theirs), stream.output_size))

    stream.act = act
    theirs.sendall(b"x")
    poll_until(loop, lambda: seen)
    assert seen == [(b"", 6)]
    assert pending(theirs) == b"answer"
    assert stream.output_size == 0
    stream.abort()


def test_both_ways_of_writing_keep_the_order(loop: Loop, peers: Peers, Scripted: Any) -> None:
    stream, theirs = connected(peers, loop, Scripted)
    other, others = connected(peers, loop, Scripted)

    def act(data: bytes) -> None:
        stream.put(b"one ")
        other.put(b"1 ")
        stream.put(b"two ")
        stream.write(b"three ")
        other.put(b"2 ")
        stream.put(b"four ")
        stream.put(b"")
        other.write(b"3")

    stream.act = act
    theirs.sendall(b"x")
    assert receive(loop, theirs, 19) == b"one two three four "
    assert receive(loop, others, 5) == b"1 2 3"
    stream.abort()
    other.abort()


def test_a_file_follows_what_was_written_before(loop: Loop, peers: Peers, Scripted: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"file ")
    stream, theirs = connected(peers, loop, Scripted)

    def act(data: bytes) -> None:
        stream.put(b"before ")
        with open(tmp_path / "file", "rb") as file:
            stream.sendfile(file)
        stream.put(b"behind")

    stream.act = act
    theirs.sendall(b"x")
    assert receive(loop, theirs, 18) == b"before file behind"
    stream.abort()


@pytest.mark.parametrize("size", [1, 1000, 65_536, 65_537, 1_000_000])
def test_more_than_there_is_memory_for_without_objects_leaves_whole(
    loop: Loop, peers: Peers, Scripted: Any, size: int
) -> None:
    pieces = [bytes([number]) * size for number in range(8)]
    pairs = [connected(peers, loop, Scripted) for _ in range(3)]

    def act(data: bytes) -> None:
        for piece in pieces:
            for stream, _ in pairs:
                stream.put(piece)

    pairs[0][0].act = act
    pairs[0][1].sendall(b"x")
    for stream, theirs in pairs:
        assert receive(loop, theirs, 8 * size) == b"".join(pieces)
        assert stream.output_size == 0
    for stream, _ in pairs:
        stream.abort()


def test_many_ticks_do_not_use_that_memory_up(loop: Loop, peers: Peers, Echo: Any) -> None:
    stream, theirs = connected(peers, loop, Echo)
    message = b"x" * 4000
    for _ in range(100):  # more than what is kept for a tick
        theirs.sendall(message)
        assert receive(loop, theirs, 4000) == message
    stream.abort()


def test_marks_and_their_handlers(loop: Loop, peers: Peers, Scripted: Any) -> None:
    stream, theirs = connected(peers, loop, Scripted)
    stream.high_water, stream.low_water = 3_000_000, 1000
    data = os.urandom(50_000)
    stream.act = lambda _: [stream.put(data) for _ in range(80)]
    theirs.sendall(b"x")
    poll_until(loop, lambda: "full" in stream.seen)
    assert receive(loop, theirs, 4_000_000) == data * 80
    poll_until(loop, lambda: "drained" in stream.seen)
    assert stream.seen == ["connect", "full", "drained"]
    stream.abort()


def test_the_hard_limit_ends_the_stream(loop: Loop, peers: Peers, Scripted: Any) -> None:
    stream, theirs = connected(peers, loop, Scripted)
    stream.max_output = 100
    stream.act = lambda _: [stream.put(b"x" * 60), stream.put(b"x" * 60), stream.put(b"x" * 60)]
    theirs.sendall(b"x")
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], LimitExceeded)
    assert stream.output_size == 0


def test_a_thread_may_write(loop: Loop, peers: Peers, Scripted: Any) -> None:
    stream, theirs = connected(peers, loop, Scripted)

    def act(data: bytes) -> None:
        stream.put(b"first ")
        writer = threading.Thread(target=stream.put, args=(b"second ",))
        writer.start()
        writer.join()
        stream.put(b"third")

    stream.act = act
    theirs.sendall(b"x")
    assert receive(loop, theirs, 18) == b"first second third"
    stream.abort()


def test_it_waits_for_the_connection(loop: Loop, peers: Peers, Scripted: Any) -> None:
    ours, theirs = peers.pair()
    stream = Scripted(ours, loop=loop)
    stream.put(b"early")
    assert receive(loop, theirs, 5) == b"early"
    stream.abort()


def test_after_the_end_of_the_output(loop: Loop, peers: Peers, Scripted: Any) -> None:
    stream, theirs = connected(peers, loop, Scripted)
    stream.put(b"last")
    stream.write_eof()
    with pytest.raises(RuntimeError, match="after write_eof"):
        stream.put(b"more")
    assert receive(loop, theirs, 10) == b"last"
    stream.abort()
    other, _ = connected(peers, loop, Scripted)
    other.abort()
    other.put(b"dropped")
    assert other.output_size == 0


def test_a_size_below_zero_is_refused(loop: Loop, peers: Peers, Scripted: Any) -> None:
    stream, _ = connected(peers, loop, Scripted)
    with pytest.raises(ValueError, match="-1 bytes"):
        stream.put(b"", -1)
    stream.abort()


def test_deadlines_know_of_its_input_and_output(loop: Loop, peers: Peers, Echo: Any) -> None:
    Echo.write_deadline = Echo.idle_deadline = 30
    stream, theirs = connected(peers, loop, Echo)
    before = stream._input_at, stream._output_at
    theirs.sendall(b"x" * 100)
    assert receive(loop, theirs, 100) == b"x" * 100
    assert stream._input_at > before[0]
    assert stream._output_at > before[1]
    stream.abort()


def test_a_peer_that_does_not_read_gets_all_of_it_later(loop: Loop, peers: Peers, Echo: Any) -> None:
    stream, theirs = connected(peers, loop, Echo)
    theirs.setblocking(False)
    data, sent = os.urandom(3_000_000), 0
    while stream.output_size == 0:
        sent += theirs.send(data[sent : sent + 60_000])
        loop.poll(0.02)
    assert receive(loop, theirs, sent) == data[:sent]
    stream.abort()


def test_output_that_waits_when_its_stream_leaves_the_map_is_not_lost(loop: Loop, peers: Peers, Scripted: Any) -> None:
    pairs = [connected(peers, loop, Scripted) for _ in range(3)]
    for stream, theirs in pairs:

        def act(data: bytes, stream: Any = stream) -> None:
            stream.put(b"before")
            del loop.map[stream.socket.fileno()]  # seen before the next event of the same tick

        stream.act = act
        theirs.sendall(b"x")
    poll_until(loop, lambda: all(stream.pieces for stream, _ in pairs))
    assert [pending(theirs) for _, theirs in pairs] == [b"before"] * 3
    for stream, _ in pairs:
        assert stream.output_size == 0
        stream.abort()


# Frames


@every_backend
def test_frames(loop: Loop, peers: Peers, handlers: Any) -> None:
    class Framed(handlers.EchoFrames, Recorder):  # type: ignore[misc]
        framing = Lines(b"\r\n", limit=20)

    stream, theirs = connected(peers, loop, Framed)
    theirs.sendall(b"one\r\n\r\ntwo\r\nth")
    assert receive(loop, theirs, 12) == b"[one][][two]"
    theirs.sendall(b"ree\r\nfour\r\n")
    assert receive(loop, theirs, 13) == b"[three][four]"
    assert stream.seen == ["connect"]
    theirs.sendall(b"a line that is longer than twenty bytes\r\n")
    poll_until(loop, lambda: stream.is_over)
    assert isinstance(stream.seen[-1], LimitExceeded)


def test_a_class_may_leave_a_handler_to_python(loop: Loop, peers: Peers, handlers: Any) -> None:
    Framed = type("Framed", (handlers.EchoFrames, Recorder), {"framing": None})
    stream, theirs = connected(peers, loop, Framed)
    theirs.sendall(b"data")
    poll_until(loop, lambda: stream.got)
    assert stream.got == b"data"
    stream.framing = Prefixed(1)
    theirs.sendall(b"\x02ab")
    assert receive(loop, theirs, 4) == b"[ab]"
    Bytes = type("Bytes", (handlers.EchoBytes, Recorder), {"framing": Lines()})
    other, others = connected(peers, loop, Bytes)
    others.sendall(b"a line\n")
    poll_until(loop, lambda: len(other.seen) > 1)
    assert other.seen == ["connect", b"a line"]
    stream.abort()
    other.abort()


def test_a_stream_may_have_settings_of_its_own(loop: Loop, peers: Peers, handlers: Any) -> None:
    class Framed(handlers.EchoFrames, Recorder):  # type: ignore[misc]
        def __init__(self, *args: Any, **named: Any) -> None:
            self.framing = Lines()  # before it has a connection
            super().__init__(*args, **named)

    stream, theirs = connected(peers, loop, Framed)
    theirs.sendall(b"one\n")
    assert receive(loop, theirs, 5) == b"[one]"
    stream.high_water = 10
    stream.framing = Prefixed(1)
    theirs.sendall(b"\x02ab")
    assert receive(loop, theirs, 4) == b"[ab]"
    stream.abort()


def test_a_framing_of_the_program(loop: Loop, peers: Peers, handlers: Any) -> None:
    class Halves:
        def find(self, data: bytearray, start: int, searched: int) -> tuple[int, int, int]:
            at = data.find(b"/", start)
            return (-1, 0, 0) if at < 0 else (start, at, at + 1)

    Framed = type("Framed", (handlers.EchoFrames, Recorder), {"framing": Halves()})
    stream, theirs = connected(peers, loop, Framed)
    theirs.sendall(b"one/two/th")
    assert receive(loop, theirs, 10) == b"[one][two]"
    assert stream.unread == b"th"
    stream.abort()


def test_a_frame_that_runs_the_loop(loop: Loop, peers: Peers, Scripted: Any) -> None:
    Scripted.framing = Lines()
    stream, theirs = connected(peers, loop, Scripted)

    def act(data: bytes) -> None:
        if data == b"one":
            theirs.sendall(b"four\nfive\n")
            loop.poll(0)

    stream.act = act
    theirs.sendall(b"one\ntwo\nthree\n")
    poll_until(loop, lambda: len(stream.pieces) == 5)
    assert stream.pieces == [b"one", b"two", b"three", b"four", b"five"]
    stream.abort()


# What handlers may do


def test_an_exception_goes_to_handle_error(loop: Loop, peers: Peers, Scripted: Any) -> None:
    errors: list[BaseException] = []
    Scripted.handle_error = lambda self, error: errors.append(error)
    stream, theirs = connected(peers, loop, Scripted)
    failure = LookupError("on purpose")

    def act(data: bytes) -> None:
        stream.put(b"before")
        raise failure

    stream.act = act
    theirs.sendall(b"x")
    poll_until(loop, lambda: errors)
    assert errors == [failure]
    assert receive(loop, theirs, 6) == b"before"
    stream.act = None
    theirs.sendall(b"y")  # the stream lives on
    poll_until(loop, lambda: stream.pieces)
    assert stream.pieces == [b"y"]
    stream.abort()


def test_an_exception_ends_the_stream(loop: Loop, peers: Peers, Scripted: Any, caplog: Any) -> None:
    stream, theirs = connected(peers, loop, Scripted)
    failure = LookupError("on purpose")

    def act(data: bytes) -> None:
        raise failure

    stream.act = act
    theirs.sendall(b"x")
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", failure]
    assert "on purpose" in caplog.text


def test_the_value_of_an_error_without_an_error_is_none(loop: Loop, peers: Peers, handlers: Any) -> None:
    stream, theirs = connected(peers, loop, type("It", (handlers.Refusing, Recorder), {}))
    theirs.sendall(b"x")
    poll_until(loop, lambda: stream.calls)
    theirs.sendall(b"y")
    poll_until(loop, lambda: stream.calls == 2)
    assert stream.seen == ["connect"]
    stream.abort()


def test_a_handler_may_close(loop: Loop, peers: Peers, Scripted: Any) -> None:
    stream, theirs = connected(peers, loop, Scripted)

    def act(data: bytes) -> None:
        stream.put(b"last")
        stream.close()
        stream.put(b"dropped")

    stream.act = act
    theirs.sendall(b"x")
    assert receive(loop, theirs, 100) == b"last"
    poll_until(loop, lambda: stream.is_over)
    assert stream.seen == ["connect", "close"]


def test_a_handler_may_abort(loop: Loop, peers: Peers, Scripted: Any) -> None:
    stream, theirs = connected(peers, loop, Scripted)
    other, others = connected(peers, loop, Scripted)

    def act(data: bytes) -> None:
        stream.put(b"dropped")
        other.put(b"kept")
        stream.abort()
        stream.put(b"dropped")

    stream.act = act
    theirs.sendall(b"x")
    assert receive(loop, others, 4) == b"kept"
    poll_until(loop, lambda: stream.is_over)
    assert pending(theirs) == b""
    assert stream.output_size == 0
    other.abort()


def test_a_handler_may_pause(loop: Loop, peers: Peers, Scripted: Any) -> None:
    stream, theirs = connected(peers, loop, Scripted)
    stream.act = lambda _: stream.pause_reading()
    theirs.sendall(b"one")
    poll_until(loop, lambda: stream.pieces)
    theirs.sendall(b"two")
    for _ in range(3):
        loop.poll(0.01)
    assert stream.pieces == [b"one"]
    stream.resume_reading()
    poll_until(loop, lambda: len(stream.pieces) == 2)
    assert stream.pieces == [b"one", b"two"]
    stream.abort()


def test_its_input_stays_while_a_handler_runs_the_loop(loop: Loop, peers: Peers, Scripted: Any, Echo: Any) -> None:
    stream, theirs = connected(peers, loop, Scripted)
    second, seconds = connected(peers, loop, Scripted)
    third, thirds = connected(peers, loop, Recorder)

    def act(data: bytes) -> None:
        seconds.sendall(b"2" * 50_000)
        thirds.sendall(b"3" * 50_000)
        theirs.sendall(b"more")
        poll_until(loop, lambda: second.pieces and third.got and len(stream.pieces) == 1)
        stream.act = None

    stream.act = lambda data: act(data) if data == b"first" else None
    theirs.sendall(b"first")
    poll_until(loop, lambda: len(stream.pieces) == 2)
    assert stream.pieces == [b"more", b"first"]  # the outer call is the last to end
    for each in (stream, second, third):
        each.abort()


def test_a_buffer_of_the_program_wins(loop: Loop, peers: Peers, Scripted: Any) -> None:
    counts: list[int] = []
    Scripted.buffer = bytearray(100)
    Scripted.get_buffer = lambda self, hint: self.buffer
    Scripted.buffer_updated = lambda self, count: counts.append(count)
    stream, theirs = connected(peers, loop, Scripted)
    theirs.sendall(b"for the buffer")
    poll_until(loop, lambda: counts)
    assert (counts, stream.pieces) == ([14], [])
    stream.abort()


def test_a_socket_of_the_program_is_read_by_its_methods(loop: Loop, peers: Peers, Echo: Any) -> None:
    class Loud(socket.socket):
        def recv(self, *args: Any) -> bytes:
            return super().recv(*args).upper()

    ours, theirs = peers.pair()
    loud = Loud(fileno=ours.detach())
    stream = Echo(loud, loop=loop)
    theirs.sendall(b"quiet")
    assert receive(loop, theirs, 5) == b"QUIET"
    stream.abort()


# TLS


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(folder / "good.key"), "-out", str(folder / "good.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.mark.parametrize("upgrades", [False, True])
def test_an_echo_over_tls(loop: Loop, peers: Peers, Scripted: Any, keys: Path, upgrades: bool) -> None:
    """Both ends are streams in one loop; the server begins TLS at once, or when it is asked to."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(keys / "good.pem", keys / "good.key")
    client_side = ssl.create_default_context(cafile=str(keys / "good.pem"))
    data = os.urandom(100_000)

    class Server(Scripted):  # type: ignore[misc]
        def handle_connect(self) -> None:
            self.act = self.upgrade if upgrades and not self.seen else self.put
            self.seen.append("connect")

        def upgrade(self, data: bytes) -> None:
            self.put(b"go on\n")
            self.start_tls(server_side, server_side=True)

    class Client(Recorder):
        def handle_connect(self) -> None:
            self.write(b"upgrade" if upgrades and not self.seen else data)
            self.seen.append("connect")

        def handle_data(self, data: bytes) -> None:
            if data == b"go on\n":
                self.start_tls(client_side, server_hostname="localhost")
            else:
                self.got += data

    ours, theirs = tcp_pair(peers)
    if upgrades:
        server, client = Server(ours, loop=loop), Client(theirs, loop=loop)
    else:
        listener = loop.listen(("127.0.0.1", 0), Server, tls=server_side)
        client = loop.connect(listener.address, Client, tls=client_side, server_hostname="localhost")
    poll_until(loop, lambda: len(client.got) == len(data) or client.is_over)
    assert client.got == data
    client.abort()
    if upgrades:
        server.abort()
    else:
        listener.close()
        poll_until(loop, lambda: listener.connections == 0)


# Classes


@pytest.mark.parametrize(
    ("order", "unheard"),
    [
        ("Stream, EchoBytes", "EchoBytes"),
        ("EchoFrames, EchoBytes, Stream", "EchoBytes"),
        ("EchoBytes, Scripted, Stream", "EchoBytes"),  # what has members of its own makes the object
    ],
)
def test_handlers_that_would_not_be_called_are_refused(
    loop: Loop, peers: Peers, handlers: Any, order: str, unheard: str
) -> None:
    bases = tuple(getattr(handlers, name, Stream) for name in order.split(", "))
    ours, _ = peers.pair()
    with pytest.raises(TypeError, match=f"Both: the handlers in Cython of {unheard} would never be called"):
        type("Both", bases, {})(ours, loop=loop)


def test_a_class_without_stream_says_what_to_write(handlers: Any) -> None:
    with pytest.raises(TypeError, match=r"class MyEchoBytes\(EchoBytes, cyncore.Stream\): pass"):
        handlers.EchoBytes()


def test_a_factory_without_stream_costs_its_connection(loop: Loop, peers: Peers, handlers: Any, caplog: Any) -> None:
    server = loop.listen(("127.0.0.1", 0), handlers.EchoBytes)
    with socket.create_connection(server.address, 5) as theirs:
        assert receive(loop, theirs, 1) == b""
    assert "EchoBytes, cyncore.Stream" in caplog.text
    server.close()


def test_members_of_its_own(loop: Loop, peers: Peers, Scripted: Any) -> None:
    """They lie behind what is the engine's."""
    stream, theirs = connected(peers, loop, Scripted)
    stream.note = stream.act = print
    stream.pieces.append(b"kept")
    assert (stream.connected, stream.output_size, stream.framing) == (True, 0, None)
    stream.act = None
    theirs.sendall(b"x")
    poll_until(loop, lambda: len(stream.pieces) == 2)
    stream.abort()


# The layout


def foreign(tmp_path: Path) -> Path:
    """A folder with a cyncore, for Cython, whose streams have another layout."""
    text = (SITE / "cyncore" / "capi.pxd").read_text()
    text = re.sub(r"Layout_\w+", "Layout_other", text).replace("_ints[", "_ints[2 + ")
    (tmp_path / "cyncore").mkdir()
    (tmp_path / "cyncore" / "__init__.py").touch()
    (tmp_path / "cyncore" / "capi.pxd").write_text(text)
    return tmp_path


def import_elsewhere(module: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"import {module.name.partition('.')[0]}"],
        env=environment(module.parent, **more),
        capture_output=True,
        text=True,
    )


def test_another_layout_is_refused(tmp_path: Path) -> None:
    require_compiler()
    source = Path(__file__).with_name("handlers.pyx").read_text()
    module = build(tmp_path / "built", "handlers", source, foreign(tmp_path))
    done = import_elsewhere(module)
    assert done.returncode == 1, "it was imported, or has crashed"
    assert "ImportError: " in done.stderr
    assert f"another cyncore than {cyncore.__version__}" in done.stderr
    assert "build that module again" in done.stderr


def test_the_plain_engine_is_refused(module: Path) -> None:
    done = import_elsewhere(module, CYNCORE_BACKEND="python")
    assert done.returncode == 1
    assert "ImportError: " in done.stderr
    assert "needs the compiled engine: CYNCORE_BACKEND asks for it" in done.stderr


def test_a_class_that_is_imported_is_no_older_than_the_engine(module: Path) -> None:
    assert import_elsewhere(module).returncode == 0


def test_other_names_are_not_there() -> None:
    if not cyncore.native:
        pytest.skip("it cannot be imported")
    from cyncore import capi

    read: Callable[[], object] = lambda: capi.nothing  # noqa: E731
    with pytest.raises(AttributeError, match="nothing"):
        read()
    assert capi.VERSION == 1
