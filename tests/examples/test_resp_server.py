# SPDX-License-Identifier: MIT
"""examples/resp_server.py: its commands as bytes, cut up in every way, and under redis-cli and redis-benchmark."""

from __future__ import annotations

import importlib.util
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.support.examples import EXAMPLES, PATIENCE, Server, serving_stream, tool, tool_environment, until


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("resp_server", EXAMPLES / "resp_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


resp = load()


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Timer:
    def __init__(self, run: Callable[[], Any]) -> None:
        self.run = run
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Gives out timers that run when a test says so."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Timer]] = []

    def call_later(self, seconds: float, function: Callable[..., Any], *arguments: Any) -> Timer:
        timer = Timer(lambda: function(*arguments))
        self.timers.append((seconds, timer))
        return timer

    def pass_by(self) -> None:
        for _, timer in self.timers:
            if not timer.cancelled:
                timer.run()
        self.timers.clear()


def session(clock: Clock | None = None) -> Any:
    return resp.Session(resp.Store((clock or Clock()).call_later))


def say(*words: bytes, to: Any) -> bytes:
    return b"".join(to.feed(command(*words)))


# Every kind of command once: line ends in words, words that look like sizes, lines that somebody typed.
STREAM = [
    (command(b"PING"), b"+PONG\r\n"),
    (command(b"ping", b"a\r\nb"), b"$4\r\na\r\nb\r\n"),
    (command(b"SET", b"a\r\nb", b"\r\n\r\n"), b"+OK\r\n"),
    (command(b"GET", b"a\r\nb"), b"$4\r\n\r\n\r\n\r\n"),
    (b"PING\r\n", b"+PONG\r\n"),
    (b"\r\n", b""),
    (b"ECHO one\nECHO two\r\n", b"$3\r\none\r\n$3\r\ntwo\r\n"),
    (command(b"SET", b"k", b"x" * 1500 + b"\r"), b"+OK\r\n"),
    (command(b"GET", b"k"), b"$1501\r\n" + b"x" * 1500 + b"\r\r\n"),
    (b"*0\r\n*-1\r\n", b""),
    (command(b"SET", b"", b""), b"+OK\r\n"),
    (command(b"GET", b""), b"$0\r\n\r\n"),
    (command(b"EXISTS", *[b"k"] * 20, b"none"), b":20\r\n"),
    (command(b"SET", b"q", b"$1\r\n*1\r\n$4\r\nPING\r\n"), b"+OK\r\n"),
    (command(b"GET", b"q"), b"$18\r\n$1\r\n*1\r\n$4\r\nPING\r\n\r\n"),
    (command(b"SET", b"n", b"\n"), b"+OK\r\n"),
    (command(b"GET", b"n"), b"$1\r\n\n\r\n"),
    (command(b"GET", b"none"), b"$-1\r\n"),
    (command(b"DEL", b"k", b"none", b"n"), b":2\r\n"),
    (command(b"INCR", b"count"), b":1\r\n"),
    (command(b"Incr", b"count"), b":2\r\n"),
]
ASKED = b"".join(asked for asked, _ in STREAM)
ANSWERED = b"".join(answered for _, answered in STREAM)


@pytest.mark.parametrize(("asked", "answered"), [*STREAM[:2], STREAM[4], STREAM[6], STREAM[9], STREAM[17]])
def test_a_command(asked: bytes, answered: bytes) -> None:
    assert b"".join(session().feed(asked)) == answered


def test_many_commands_at_once() -> None:
    one = session()
    assert b"".join(one.feed(ASKED)) == ANSWERED
    assert (one.rest, one.missing, one.ended) == (b"", 0, False)


def test_cut_at_every_byte() -> None:
    for place in range(len(ASKED) + 1):
        one = session()
        assert b"".join(one.feed(ASKED[:place]) + one.feed(ASKED[place:])) == ANSWERED, place


def test_in_single_bytes() -> None:
    one = session()
    got = [answer for place in range(len(ASKED)) for answer in one.feed(ASKED[place : place + 1])]
    assert b"".join(got) == ANSWERED


def test_cut_at_random() -> None:
    chance = random.Random(7)
    for _ in range(300):
        one, got, place = session(), [], 0
        while place < len(ASKED):
            size = chance.choice((1, 2, 3, 10, 100, 1000))
            got += one.feed(ASKED[place : place + size])
            place += size
        assert b"".join(got) == ANSWERED


MALFORMED = [
    b"*1\r\nPING\r\n",
    b"*a\r\n",
    b"*+1\r\n",
    b"*\r\n",
    b"*1\r\n$x\r\n",
    b"*1\r\n$-1\r\n",
    b"*99999\r\n",
    b"*1\r\n$9999999999\r\n",
    b"*1\r\n$1048577\r\n",
    b"*1\r\n$4\r\nPINGS\r\n",
    b"*1\r\n$4\r\nPIN\r\n\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n+3\r\n",
    b"*1\n$4\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n*1\r\n$4\r\nPING\r\n",
]


@pytest.mark.parametrize("sent", MALFORMED)
def test_what_is_no_command_ends_the_session(sent: bytes) -> None:
    one = session()
    answers = one.feed(command(b"PING") + sent + command(b"PING"))
    assert answers[0] == b"+PONG\r\n"
    assert len(answers) == 2
    assert answers[1].startswith(b"-ERR Protocol error: ")
    assert one.ended
    assert one.feed(command(b"PING")) == []


@pytest.mark.parametrize("sent", MALFORMED)
def test_what_is_no_command_in_single_bytes(sent: bytes) -> None:
    one = session()
    answers = [answer for place in range(len(sent)) for answer in one.feed(sent[place : place + 1])]
    assert b"".join(answers).startswith(b"-ERR Protocol error: ")
    assert one.ended


@pytest.mark.parametrize("sent", MALFORMED)
def test_what_is_no_command_in_two_pieces(sent: bytes) -> None:
    for place in range(len(sent)):
        one = session()
        answers = one.feed(sent[:place]) + one.feed(sent[place:])
        assert b"".join(answers).startswith(b"-ERR Protocol error: ")
        assert one.ended


@pytest.mark.parametrize("start", [b"", b"*", b"*1\r\n$", b"*2\r\n$4\r\nECHO\r\n$"])
def test_a_line_without_an_end(start: bytes) -> None:
    one, got = session(), []
    for _ in range(100):
        got += one.feed(start + b"1" * 1000)
        start = b""
        if one.ended:
            break
    assert one.ended
    assert len(got) == 1
    assert got[0].startswith(b"-ERR Protocol error: ")


def test_too_much_in_one_command() -> None:
    one = session()
    word = b"%d\r\n%b\r\n" % (resp.VALUE_LIMIT, b"x" * resp.VALUE_LIMIT)
    got = one.feed(b"*6" + b"".join(b"\r\n$" + word.removesuffix(b"\r\n") for _ in range(5)) + b"\r\n")
    assert got == [b"-ERR Protocol error: invalid bulk length\r\n"]


def test_a_big_value_in_pieces_is_put_together_once() -> None:
    one, value = session(), bytes(resp.VALUE_LIMIT)
    sent = command(b"SET", b"big", value)
    assert one.feed(sent[:1000]) == []
    for place in range(1000, len(sent) - 1, 1000):
        assert one.feed(sent[place : min(place + 1000, len(sent) - 1)]) == []
        assert len(one.rest) < 1100
    assert one.feed(sent[-1:]) == [b"+OK\r\n"]
    assert say(b"GET", b"big", to=one) == b"$%d\r\n%b\r\n" % (len(value), value)


def test_answers_are_not_made_far_ahead() -> None:
    one, value = session(), bytes(resp.VALUE_LIMIT)
    say(b"SET", b"big", value, to=one)
    got = [one.feed(command(b"GET", b"big") * 10 + command(b"PING"))]
    while one.stopped:
        got.append(one.feed(b""))
    assert all(sum(map(len, answers)) < 2 * resp.OUTPUT_LIMIT + 100 for answers in got)
    assert sum(map(len, got)) == 11
    assert got[-1][-1] == b"+PONG\r\n"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ((b"NOPE\r\n\x00", b"x"), b"-ERR unknown command 'NOPE???'\r\n"),
        ((b"GET",), b"-ERR wrong number of arguments for 'get' command\r\n"),
        ((b"GET", b"a", b"b"), b"-ERR wrong number of arguments for 'get' command\r\n"),
        ((b"SET", b"k", b"v", b"EX"), b"-ERR syntax error\r\n"),
        ((b"SET", b"k", b"v", b"XX", b"1"), b"-ERR syntax error\r\n"),
        ((b"SET", b"k", b"v", b"EX", b"0"), b"-ERR invalid expire time in 'set' command\r\n"),
        ((b"SET", b"k", b"v", b"EX", b"one"), b"-ERR value is not an integer or out of range\r\n"),
        ((b"CONFIG", b"SET", b"save", b""), b"-ERR CONFIG has nothing but GET\r\n"),
        ((b"CONFIG", b"GET", b"save"), b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ((b"CONFIG", b"GET", b"nothing"), b"*0\r\n"),
        ((b"COMMAND", b"DOCS"), b"*0\r\n"),
    ],
)
def test_what_is_answered(words: tuple[bytes, ...], answer: bytes) -> None:
    one = session()
    assert say(*words, to=one) == answer
    assert not one.ended


@pytest.mark.parametrize("value", [b"", b"x", b"1.0", b" 1", b"+1", b"01", b"9223372036854775807", b"1" * 5000])
def test_what_cannot_be_counted_up(value: bytes) -> None:
    one = session()
    say(b"SET", b"k", value, to=one)
    assert say(b"INCR", b"k", to=one) == b"-ERR value is not an integer or out of range\r\n"
    assert one.feed(command(b"GET", b"k")) == [b"$%d\r\n%b\r\n" % (len(value), value)]


def test_a_key_expires() -> None:
    clock = Clock()
    one = session(clock)
    assert say(b"SET", b"k", b"v", b"ex", b"7", to=one) == b"+OK\r\n"
    assert [seconds for seconds, _ in clock.timers] == [7]
    assert say(b"EXISTS", b"k", to=one) == b":1\r\n"
    clock.pass_by()
    assert say(b"EXISTS", b"k", to=one) == b":0\r\n"


@pytest.mark.parametrize("again", [(b"SET", b"k", b"new"), (b"SET", b"k", b"new", b"EX", b"9"), (b"DEL", b"k")])
def test_what_is_set_or_deleted_again_does_not_expire_as_before(again: tuple[bytes, ...]) -> None:
    clock = Clock()
    one = session(clock)
    say(b"SET", b"k", b"v", b"EX", b"7", to=one)
    say(*again, to=one)
    assert clock.timers[0][1].cancelled


# Over a connection


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving_stream("resp_server.py") as server:
        yield server


@pytest.fixture
def sock(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(server.address, PATIENCE) as sock:
        yield sock


def read(sock: socket.socket, size: int) -> bytes:
    with sock.makefile("rb") as file:
        return file.read(size)


def rest_of(sock: socket.socket) -> bytes:
    with sock.makefile("rb") as file:
        return file.read()


def test_commands_over_a_connection(sock: socket.socket) -> None:
    sock.sendall(ASKED)
    assert read(sock, len(ANSWERED)) == ANSWERED


def test_a_client_that_reads_late_gets_everything(sock: socket.socket) -> None:
    value = random.Random(3).randbytes(resp.VALUE_LIMIT)
    sock.sendall(command(b"SET", b"big", value))
    assert read(sock, 5) == b"+OK\r\n"
    sender = threading.Thread(target=sock.sendall, args=(command(b"GET", b"big") * 30 + command(b"PING"),))
    sender.start()
    answer = b"$%d\r\n%b\r\n" % (len(value), value)
    with sock.makefile("rb") as file:
        assert all(file.read(len(answer)) == answer for _ in range(30))
        assert file.read(7) == b"+PONG\r\n"
    sender.join(PATIENCE)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads its memory from /proc")
def test_a_client_that_never_reads_does_not_cost_much(server: Server) -> None:
    def resident() -> int:
        with open(f"/proc/{server.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    with socket.create_connection(server.address, PATIENCE) as sock:
        sock.sendall(command(b"SET", b"big", bytes(resp.VALUE_LIMIT)))
        assert read(sock, 5) == b"+OK\r\n"
        before = resident()
        sock.sendall(command(b"GET", b"big") * 500)
        with socket.create_connection(server.address, PATIENCE) as other:  # others are served meanwhile
            for _ in range(20):
                other.sendall(command(b"PING"))
                assert read(other, 7) == b"+PONG\r\n"
        assert resident() - before < 20_000


def test_quit_is_answered_and_ends_the_connection(sock: socket.socket) -> None:
    sock.sendall(command(b"PING") + command(b"QUIT") + command(b"PING"))
    assert rest_of(sock) == b"+PONG\r\n+OK\r\n"


def test_a_protocol_error_reaches_a_client_that_is_still_sending(sock: socket.socket) -> None:
    sock.sendall(b"*1\r\nPING\r\n" + b"x" * 100_000)
    assert rest_of(sock) == b"-ERR Protocol error: expected '$', got 'P'\r\n"


def test_a_closed_sending_side_still_gets_its_answers(sock: socket.socket) -> None:
    sock.sendall(command(b"PING") * 1000)
    sock.shutdown(socket.SHUT_WR)
    assert rest_of(sock) == b"+PONG\r\n" * 1000


def test_a_key_expires_while_the_server_runs(sock: socket.socket) -> None:
    sock.sendall(command(b"SET", b"short", b"v", b"EX", b"1") + command(b"EXISTS", b"short"))
    assert read(sock, 9) == b"+OK\r\n:1\r\n"

    def gone() -> bool:
        sock.sendall(command(b"EXISTS", b"short"))
        return read(sock, 4) == b":0\r\n"

    until(gone, "the key has expired")


def test_clients_that_leave_cost_nothing() -> None:
    with serving_stream("resp_server.py") as server:
        before = server.descriptors()
        for sent in (b"", b"*2\r\n$4\r\n", command(b"SET", b"k", bytes(100_000)) + command(b"GET", b"k") * 500):
            for _ in range(3):
                with socket.create_connection(server.address, PATIENCE) as sock:
                    sock.sendall(sent)
        with socket.create_connection(server.address, PATIENCE) as sock:
            sock.sendall(command(b"PING"))
            assert read(sock, 7) == b"+PONG\r\n"  # so those before it have been accepted
        until(lambda: server.descriptors() <= before, "descriptors as before")
        assert server.interrupt() == 0
        server.end()
        assert server.errors == b""


def test_a_port_that_is_taken(server: Server) -> None:
    words = [sys.executable, str(EXAMPLES / "resp_server.py"), "--port", str(server.address[1])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert done.stderr.startswith(f"resp_server: cannot listen on 127.0.0.1 port {server.address[1]}: ")


# The programs that people use


def run(server: Server, name: str, *words: str) -> str:
    host, port = server.address
    done = subprocess.run(
        [tool(name), "-h", host, "-p", str(port), *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=tool_environment(),
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_redis_cli(server: Server) -> None:
    assert run(server, "redis-cli", "SET", "greeting", "hello, world") == "OK\n"
    assert run(server, "redis-cli", "GET", "greeting") == "hello, world\n"
    assert run(server, "redis-cli", "INCR", "visits") == "1\n"
    assert run(server, "redis-cli", "DEL", "greeting", "visits") == "2\n"
    assert run(server, "redis-cli", "FLY").strip() == "ERR unknown command 'FLY'"


def test_redis_benchmark(server: Server) -> None:
    words = ["-P", "16", "-c", "20", "-n", "3000", "-t", "ping_inline,ping_mbulk,set,get,incr", "--csv"]
    tests = [line.split(",")[0] for line in run(server, "redis-benchmark", *words).splitlines()[1:]]
    assert tests == ['"PING_INLINE"', '"PING_MBULK"', '"SET"', '"GET"', '"INCR"']
    assert server.errors == b""
