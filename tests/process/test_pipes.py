# SPDX-License-Identifier: MIT
"""Streams over what is no socket: pipes, terminals, files, and the program's own standard input and output."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cyncore import Lines, Loop, Stream, _descriptor
from tests.support.loops import ends_by_itself, every_backend
from tests.support.script import ENGINE_FOLDER

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no pipes that a loop can wait for")


class Text(Stream):
    """Keeps what it reads, and how it ended."""

    def __init__(self) -> None:
        self.got = b""
        self.told: list[Any] = []

    def handle_data(self, data: bytes) -> None:
        self.got += data

    def handle_eof(self) -> None:
        self.told.append("eof")
        self.close()

    def handle_close(self, error: BaseException | None) -> None:
        self.told.append(error)


class Ends:
    """Descriptors that the test closes, and closes once."""

    def __init__(self) -> None:
        self.open: list[int] = []

    def keep(self, *fds: int) -> tuple[int, ...]:
        self.open += fds
        return fds

    def close(self, fd: int) -> None:
        self.open.remove(fd)
        os.close(fd)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    for fd in made.open:
        os.close(fd)


@pytest.fixture(params=[True, False], ids=["readv", "read"])
def _vectors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With readv and writev, and without, as on PyPy."""
    monkeypatch.setattr(_descriptor, "HAS_READV", request.param and _descriptor.HAS_READV)


def read_all(fd: int) -> bytes:
    """What is left in the pipe, to its end."""
    found = b""
    while data := os.read(fd, 65536):
        found += data
    return found


# Pipes


@pytest.mark.usefixtures("_vectors")
@every_backend
def test_pipe_is_read_to_its_end(loop: Loop, ends: Ends) -> None:
    reader, writer = os.pipe()
    ends.keep(writer)
    stream = loop.open_pipe(reader, Text)
    os.write(writer, b"some")
    with ends_by_itself(loop):
        while not stream.got:
            loop.poll(1)
        os.write(writer, b" more")
        ends.close(writer)
        loop.run()
    assert (stream.got, stream.told) == (b"some more", ["eof", None])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reader)


@pytest.mark.usefixtures("_vectors")
@every_backend
def test_pipe_takes_what_fits_and_the_rest_later(loop: Loop, ends: Ends) -> None:
    reader, writer = os.pipe()
    ends.keep(reader)
    stream = loop.open_pipe(writer, Text)
    data = os.urandom(300_000)
    stream.write(data[:100])
    stream.writelines([data[100:1000], data[1000:]])
    loop.poll(0)
    loop.poll(0)
    assert 0 < stream.output_size < len(data)
    os.set_blocking(reader, False)
    stream.write_eof()
    got = b""
    with ends_by_itself(loop):
        while not stream.told:
            loop.poll(0.01)
            try:
                got += os.read(reader, 65536)
            except BlockingIOError:
                pass
    got += read_all(reader)
    assert got == data
    assert stream.told == [None]


@every_backend
def test_writer_learns_that_nobody_reads_any_more(loop: Loop) -> None:
    reader, writer = os.pipe()
    stream = loop.open_pipe(writer, Text)
    loop.poll(0)
    loop.poll(0)
    assert stream.told == []
    os.close(reader)
    with ends_by_itself(loop):
        loop.run()
    assert stream.told == ["eof", None]


@every_backend
def test_output_that_nobody_reads_any_more_is_an_error(loop: Loop) -> None:
    reader, writer = os.pipe()
    stream = loop.open_pipe(writer, Text)
    stream.write(bytes(200_000))
    loop.poll(0)
    os.close(reader)
    with ends_by_itself(loop):
        loop.run()
    assert isinstance(stream.told[-1], BrokenPipeError)


@every_backend
def test_idle_pipes_cost_nothing(loop: Loop, ends: Ends) -> None:
    (one, two), (three, four) = os.pipe(), os.pipe()
    ends.keep(two, three)
    streams = [loop.open_pipe(one, Text), loop.open_pipe(four, Text)]
    for _ in range(3):
        loop.poll(0)
    assert loop.poll(0.02) == 0
    for stream in streams:
        stream.close()
    loop.run()


def test_what_is_only_read_is_not_written(loop: Loop, ends: Ends) -> None:
    reader, writer = os.pipe()
    ends.keep(writer)
    stream = loop.open_pipe(reader, Text)
    with pytest.raises(RuntimeError, match="after write_eof"):
        stream.write(b"x")
    stream.close()
    loop.run()
    assert stream.told == [None]


def test_frames_of_a_named_pipe(loop: Loop, tmp_path: Path) -> None:
    class Words(Text):
        framing = Lines()

        def handle_frame(self, frame: bytes) -> None:
            self.told.append(frame)

    os.mkfifo(tmp_path / "pipe")
    stream = loop.open_pipe(os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK), Words)
    with open(tmp_path / "pipe", "wb", buffering=0) as file:
        file.write(b"one\ntwo\n")
    with ends_by_itself(loop):
        loop.run()
    assert stream.told == [b"one", b"two", "eof", None]


def test_file_is_sent_into_a_pipe(loop: Loop, ends: Ends, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    reader, writer = os.pipe()
    ends.keep(reader)
    stream = loop.open_pipe(writer, Text)
    with open(tmp_path / "file", "rb") as file:
        stream.sendfile(file)
    stream.close()
    with ends_by_itself(loop):
        loop.run()
    assert read_all(reader) == b"content"


def test_socket_passes_on_what_a_terminal_sends(loop: Loop, ends: Ends) -> None:
    master, side = os.openpty()
    ends.keep(side)
    os.set_blocking(side, False)
    ours, theirs = socket.socketpair()
    with theirs:
        terminal, connection = loop.open_pipe(master, Text), Stream(ours, loop=loop)
        terminal.pipe(connection)
        theirs.settimeout(5)
        theirs.send(b"to the terminal\n")
        os.write(side, b"from it\n")
        got = b""
        with ends_by_itself(loop):
            while not got:
                loop.poll(0.01)
                try:
                    got = os.read(side, 100)
                except BlockingIOError:
                    pass
        assert got == b"to the terminal\n"
        assert b"from it" in theirs.recv(100)
        theirs.close()
        with ends_by_itself(loop):
            loop.run()


# Terminals


@every_backend
def test_terminal_is_read_and_written(loop: Loop, ends: Ends) -> None:
    master, side = os.openpty()
    ends.keep(side)
    stream = loop.open_pipe(master, Text)
    stream.write(b"typed\n")
    os.write(side, b"shown")
    with ends_by_itself(loop):
        while b"shown" not in stream.got or b"typed" not in stream.got:
            loop.poll(1)
    assert os.read(side, 100) == b"typed\n"
    with pytest.raises(OSError, match="cannot end before its input") as caught:
        stream.write_eof()
    assert caught.value.errno == errno.ENOTSUP
    ends.close(side)
    with ends_by_itself(loop):
        loop.run()
    assert stream.told[-1] is None


# Files


@every_backend
def test_regular_file_is_always_ready(loop: Loop, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 200_000)
    stream = loop.open_pipe((tmp_path / "file").open("rb"), Text)
    copy = loop.open_pipe((tmp_path / "copy").open("wb"), Text)
    copy.write(b"y" * 200_000)
    with ends_by_itself(loop):
        while not stream.told or copy.output_size:
            loop.poll(1)
        assert loop.poll(0.02) == 0
        copy.write_eof()
        loop.run()
    assert copy.told == [None]
    assert (stream.got, stream.told) == (b"x" * 200_000, ["eof", None])
    assert (tmp_path / "copy").read_bytes() == b"y" * 200_000


@every_backend
def test_null_device_ends_at_once(loop: Loop) -> None:
    stream = loop.open_pipe(os.open(os.devnull, os.O_RDONLY), Text)
    with ends_by_itself(loop):
        loop.run()
    assert stream.told == ["eof", None]


# Mistakes


def test_what_is_no_pipe_is_refused(loop: Loop, ends: Ends, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ValueError, match="is a socket"):
        loop.open_pipe(ours, Text)
    (folder,) = ends.keep(os.open(tmp_path, os.O_RDONLY))
    with pytest.raises(ValueError, match="is a folder"):
        loop.open_pipe(folder, Text)
    with pytest.raises(TypeError, match="a descriptor or an open file"):
        loop.open_pipe("name", Text)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.open_pipe(10**6, Text)
    reader, _ = ends.keep(*os.pipe())
    with pytest.raises(TypeError, match=r"must return a cyncore\.Stream"):
        loop.open_pipe(reader, dict)
    assert loop.map == {}


def test_pipe_has_no_tls(loop: Loop, ends: Ends) -> None:
    reader, writer = os.pipe()
    ends.keep(reader)
    stream = loop.open_pipe(writer, Text)
    loop.poll(0)
    loop.poll(0)
    with pytest.raises(RuntimeError, match="needs a socket"):
        stream.start_tls(ssl.create_default_context())
    assert stream.get_extra_info("peername", "none") == "none"
    stream.close()
    loop.run()


# The program's own input and output

OWN = """
import os, sys, cyncore

if "--shared" in sys.argv:  # as where there is no /proc
    os.open = lambda *words: (_ for _ in ()).throw(PermissionError())

class Shout(cyncore.Stream):
    def handle_data(self, data):
        out.write(data.upper())

    def handle_close(self, error):
        out.close()

flags = [os.get_blocking(fd) for fd in (0, 1)]
with cyncore.Loop() as loop:
    out = loop.open_pipe(sys.stdout, cyncore.Stream)
    loop.open_pipe(sys.stdin, Shout)
    loop.run()
print([os.get_blocking(fd) for fd in (0, 1)] == flags == [True, True], file=sys.stderr)
print("still open")
"""


@pytest.mark.parametrize("words", [[], ["--shared"]])
def test_standard_input_and_output_stay_open_and_block_as_before(words: list[str]) -> None:
    data = b"text " * 40_000
    done = subprocess.run(
        [sys.executable, "-c", OWN, *words],
        input=data,
        capture_output=True,
        timeout=30,
        check=False,
        env={**os.environ, "PYTHONPATH": ENGINE_FOLDER},
    )
    assert done.stderr == b"True\n"
    assert done.stdout == data.upper() + b"still open\n"


def test_standard_input_may_be_a_file_and_output_too(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"text " * 40_000)
    with open(tmp_path / "in", "rb") as given, open(tmp_path / "out", "wb") as taken:
        done = subprocess.run(
            [sys.executable, "-c", OWN],
            stdin=given,
            stdout=taken,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
            env={**os.environ, "PYTHONPATH": ENGINE_FOLDER},
        )
    assert done.stderr == b"True\n"
    assert (tmp_path / "out").read_bytes() == b"TEXT " * 40_000 + b"still open\n"


def test_terminal_of_the_program_blocks_as_before() -> None:
    master, side = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", OWN],
        stdin=side,
        stdout=side,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": ENGINE_FOLDER},
    ) as process:
        os.close(side)
        os.write(master, b"typed\n\x04")
        assert process.stderr is not None
        assert process.stderr.read() == b"True\n"
        assert process.wait(30) == 0
    shown = b""
    while b"still open" not in shown:
        shown += os.read(master, 1000)
    assert b"TYPED" in shown
    os.close(master)
