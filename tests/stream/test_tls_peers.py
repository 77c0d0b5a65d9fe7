# SPDX-License-Identifier: MIT
"""TLS of streams and of dispatchers with the programs of OpenSSL at the other end."""

from __future__ import annotations

import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cyncore import Loop, Stream, TLSError, asyncore, dispatcher, dispatcher_with_send
from tests.support.certificates import Authority
from tests.support.certificates import authority_fixture as authority_fixture
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.examples import tool, tool_environment
from tests.support.peers import poll_until
from tests.support.streams import Recorder


class Program:
    """One that runs: `said` has what came of it so far."""

    def __init__(self, words: str) -> None:
        self.said = b""
        self._process = subprocess.Popen(
            [tool("openssl"), *words.split()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=tool_environment(),
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := self._process.stdout.read1(65536):  # type: ignore[attr-defined]
            self.said += data

    def say(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def say_no_more(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    @property
    def is_over(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    made: list[Program] = []
    yield made
    for program in made:
        program.end()


@pytest.fixture
def echo(loop: Loop, server_tls: ssl.SSLContext) -> Iterator[Any]:
    """A server of streams that echo."""
    Echo.ends = []
    server = loop.listen(("127.0.0.1", 0), Echo, tls=server_tls)
    yield server
    server.close()
    for stream in list(loop.map.values()):
        stream.abort()


class Echo(Stream):
    ends: list[Any]

    def handle_data(self, data: bytes) -> None:
        self.write(data)

    def handle_close(self, error: BaseException | None) -> None:
        Echo.ends.append(error)


def client(programs: list[Program], server: Any, more: str) -> Program:
    words = f"s_client -connect 127.0.0.1:{server.address[1]} -servername localhost {more}"
    programs.append(Program(words))
    return programs[-1]


def server(programs: list[Program], certificate: Path, more: str) -> Program:
    programs.append(Program(f"s_server -accept 0 -naccept 1 -cert {certificate} -key {certificate} {more}"))
    return programs[-1]


def port_of(loop: Loop, program: Program) -> int:
    poll_until(loop, lambda: re.search(rb"ACCEPT .*:(\d+)\n", program.said))
    found = re.search(rb"ACCEPT .*:(\d+)\n", program.said)
    assert found is not None
    return int(found[1])


VERSIONS = pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])


@VERSIONS
def test_s_client_is_answered(loop: Loop, programs: list[Program], echo: Any, certificate: Path, version: str) -> None:
    program = client(programs, echo, f"-quiet -no_ign_eof -verify_return_error -CAfile {certificate} {version}")
    program.say(b"hello\n")
    poll_until(loop, lambda: b"hello\n" in program.said)
    program.say_no_more()
    poll_until(loop, lambda: Echo.ends)
    assert Echo.ends == [None]


def test_s_client_may_change_the_keys(loop: Loop, programs: list[Program], echo: Any) -> None:
    """The server has to answer with new keys of its own before it can go on."""
    program = client(programs, echo, "-tls1_3")
    poll_until(loop, lambda: b"Verify return code" in program.said)
    for times in range(1, 4):
        program.say(b"K\n")
        poll_until(loop, lambda times=times: program.said.count(b"KEYUPDATE") == times)
    program.say(b"hello\n")
    poll_until(loop, lambda: b"hello\n" in program.said)
    program.end()


def test_s_client_may_not_renegotiate(
    loop: Loop, programs: list[Program], echo: Any, server_tls: ssl.SSLContext
) -> None:
    program = client(programs, echo, "-tls1_2")
    poll_until(loop, lambda: b"Verify return code" in program.said)
    program.say(b"R\n")
    poll_until(loop, lambda: b"no renegotiation" in program.said)
    poll_until(loop, lambda: Echo.ends)
    assert isinstance(Echo.ends[0], TLSError)


def test_s_server_may_not_renegotiate(
    loop: Loop, programs: list[Program], certificate: Path, client_tls: ssl.SSLContext
) -> None:
    program = server(programs, certificate, "-tls1_2")
    stream = loop.connect(("127.0.0.1", port_of(loop, program)), Recorder, tls=client_tls, server_hostname="localhost")
    poll_until(loop, lambda: stream.connected)
    program.say(b"R\n")
    poll_until(loop, lambda: b"no renegotiation" in program.said and stream.is_over)
    assert isinstance(stream.seen[-1], TLSError)


@VERSIONS
def test_s_server_is_spoken_to(
    loop: Loop, programs: list[Program], certificate: Path, client_tls: ssl.SSLContext, version: str
) -> None:
    program = server(programs, certificate, f"-rev {version}")

    class Client(Recorder):
        def handle_connect(self) -> None:
            self.write(b"hello\n")

        def handle_data(self, data: bytes) -> None:
            super().handle_data(data)
            self.close()

    stream = loop.connect(("127.0.0.1", port_of(loop, program)), Client, tls=client_tls, server_hostname="localhost")
    poll_until(loop, lambda: stream.is_over)
    assert stream.got == b"olleh\n"
    assert stream.seen[-1] == "close"


def test_s_server_that_wants_a_certificate_gets_one(loop: Loop, programs: list[Program], authority: Authority) -> None:
    good = authority.folder / "good.both"
    more = f"-Verify 1 -verify_return_error -CAfile {authority.certificate} -rev"
    program = server(programs, good, f"{more}")
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(good)

    class Client(Recorder):
        def handle_connect(self) -> None:
            self.write(b"hello\n")

    stream = loop.connect(("127.0.0.1", port_of(loop, program)), Client, tls=context, server_hostname="localhost")
    poll_until(loop, lambda: stream.got)
    assert stream.got == b"olleh\n"
    stream.abort()


def test_s_client_that_is_killed_is_told_from_one_that_ends(loop: Loop, programs: list[Program], echo: Any) -> None:
    program = client(programs, echo, "-quiet")
    program.say(b"hello\n")
    poll_until(loop, lambda: b"hello\n" in program.said)
    program.end()
    poll_until(loop, lambda: Echo.ends)
    assert isinstance(Echo.ends[0], (TLSError, ConnectionError))


# Dispatchers


class Session(dispatcher_with_send):
    context: ssl.SSLContext
    ends: list[str]

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.start_tls(self.context, server_side=True)

    def handle_read(self) -> None:
        self.send(self.recv(65536))

    def handle_close(self) -> None:
        Session.ends.append("close")
        self.close()

    def handle_error(self) -> None:
        Session.ends.append("error")
        self.close()


class Listener(dispatcher):
    def __init__(self, map: Any) -> None:
        super().__init__(map=map)
        self.create_socket()
        self.bind(("127.0.0.1", 0))
        self.listen(5)
        self.address = self.socket.getsockname()

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        Session(sock, self._map)


@pytest.fixture
def listener(loop: Loop, server_tls: ssl.SSLContext) -> Iterator[Listener]:
    Session.context, Session.ends = server_tls, []
    made = Listener(loop.map)
    yield made
    asyncore.close_all(loop.map)


@VERSIONS
def test_s_client_is_answered_by_a_dispatcher(
    loop: Loop, programs: list[Program], listener: Listener, certificate: Path, version: str
) -> None:
    program = client(programs, listener, f"-quiet -no_ign_eof -verify_return_error -CAfile {certificate} {version}")
    program.say(b"hello\n")
    poll_until(loop, lambda: b"hello\n" in program.said)
    program.say_no_more()
    poll_until(loop, lambda: Session.ends)
    assert Session.ends == ["close"]


def test_s_client_may_change_the_keys_of_a_dispatcher(loop: Loop, programs: list[Program], listener: Listener) -> None:
    program = client(programs, listener, "-tls1_3")
    poll_until(loop, lambda: b"Verify return code" in program.said)
    program.say(b"K\n")
    poll_until(loop, lambda: b"KEYUPDATE" in program.said)
    program.say(b"hello\n")
    poll_until(loop, lambda: b"hello\n" in program.said)
    program.end()
    poll_until(loop, lambda: Session.ends)


def test_s_client_may_not_renegotiate_with_a_dispatcher(
    loop: Loop, programs: list[Program], listener: Listener
) -> None:
    program = client(programs, listener, "-tls1_2")
    poll_until(loop, lambda: b"Verify return code" in program.said)
    program.say(b"R\n")
    poll_until(loop, lambda: b"no renegotiation" in program.said)
    poll_until(loop, lambda: Session.ends)
    assert Session.ends == ["error"]
