# SPDX-License-Identifier: MIT
"""Every cure on docs/check.md does its work. (That the check finds the examples, check/test_rules.py holds.)

The cures of CYN202 and CYN203 have test_docs_tls.py.
"""

from __future__ import annotations

import os
import smtplib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cyncore import Loop, asynchat, asyncore, socket_map
from tests.support.docs import bind, blocks, names_of, pair_of
from tests.support.peers import Peers, poll_until

WAITING = 20.0  # seconds after which a loop that should have ended is ended, and its test fails


@pytest.fixture(autouse=True)
def old_names(monkeypatch: pytest.MonkeyPatch) -> None:
    bind(monkeypatch)


@pytest.fixture
def loop() -> Loop:
    return Loop.of(socket_map)


@pytest.fixture
def limit(loop: Loop) -> Iterator[None]:
    """Ends the loop if the program does not, and fails."""
    timer = loop.call_later(WAITING, asyncore.close_all)
    yield
    assert not timer.cancelled()
    assert timer.when() > loop.time()
    timer.cancel()


def cure(code: str) -> dict[str, Any]:
    """What the cure of a rule defines."""
    return names_of(pair_of(code)[1])


def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError(f"the program sleeps for {seconds} s")

    monkeypatch.setattr(time, "sleep", sleep)


def listening(kind: Any) -> Any:
    """A channel of a class that has no constructor of its own, listening on a free port."""
    server = kind()
    server.create_socket()
    server.bind(("127.0.0.1", 0))
    server.listen(5)
    return server


def connected(server: Any) -> socket.socket:
    sock = socket.create_connection(server.socket.getsockname(), WAITING)
    sock.settimeout(WAITING)
    return sock


def read(loop: Loop, sock: socket.socket, wanted: int = 1 << 30) -> bytes:
    """What comes out of a socket while the loop serves: until its end, or so many bytes."""
    sock.setblocking(False)
    got = bytearray()
    ended: list[int] = []

    def done() -> bool:
        try:
            data = sock.recv(1 << 20)
        except BlockingIOError:
            return False
        got.extend(data)
        if not data:
            ended.append(1)
        return bool(ended) or len(got) >= wanted

    poll_until(loop, done, 20_000)
    return bytes(got)


def test_every_cure_has_a_test() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    tls = Path(__file__).with_name("test_docs_tls.py").read_text(encoding="utf-8")
    codes = {one.section[:6] for one in blocks("docs/check.md") if one.section.startswith("CYN")}
    assert {code for code in codes if f'"{code}"' not in here + tls} == set()


# Slow


def test_reading_is_paused_when_full_and_resumed(loop: Loop, peers: Peers) -> None:
    class Download(cure("CYN101")["Download"]):  # type: ignore[misc]
        stored = b""

        def store(self, data: bytes) -> None:
            self.stored += data

        def full(self) -> bool:
            return len(self.stored) == 1

    channel, peer = peers.channel(Download, None)
    peer.send(b"a")
    poll_until(loop, lambda: channel.stored)
    peer.send(b"b")
    assert loop.poll(0.01) == 0
    channel.resume_reading()
    poll_until(loop, lambda: channel.stored == b"ab")
    channel.close()


def test_listener_without_predicates_accepts(loop: Loop) -> None:
    server = listening(cure("CYN102")["Listener"])
    assert type(server).writable is asyncore.dispatcher.writable
    with connected(server) as sock:
        assert read(loop, sock) == b""
    server.close()


def test_cleaning_is_done_by_a_timer_again_and_again(loop: Loop) -> None:
    done = []

    class Server(cure("CYN103")["Server"]):  # type: ignore[misc]
        def drop_idle_clients(self) -> None:
            done.append(1)

    server = Server()
    server.clean()
    first = loop.next_deadline()
    assert first is not None
    assert 0 < first - loop.time() <= 30
    assert done == [1]
    loop.close()  # which lets go of the timer


def test_job_is_done_by_a_timer(loop: Loop, peers: Peers, limit: None) -> None:
    channel, _ = peers.channel(asyncore.dispatcher, None)
    cure("CYN104")["serve"](0.05, channel.close)
    assert not socket_map


def test_loop_without_sleeps_ends_with_its_last_channel(
    loop: Loop, peers: Peers, limit: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_sleep(monkeypatch)
    _, peer = peers.channel(asyncore.dispatcher, None)
    peer.close()
    cure("CYN105")["serve"]()
    assert not socket_map


def test_poll_serves_a_map(peers: Peers) -> None:
    class Reader(asyncore.dispatcher):
        got = b""

        def handle_read(self) -> None:
            self.got += self.recv(100)

    def select(*_: object) -> None:
        raise AssertionError("the program polls by itself")

    own: dict[int, Any] = {}
    names = cure("CYN106")
    names["select"] = SimpleNamespace(select=select)
    channel, peer = peers.channel(Reader, own)
    peer.send(b"x")
    names["serve"](own)
    assert channel.got == b"x"
    channel.close()


def test_megabytes_leave(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(cure("CYN107")["Sender"], None)
    data = bytes(range(256)) * 20_000
    channel.send(data)
    assert channel.out_buffer
    assert read(loop, peer, len(data)) == data
    channel.close()


# Fragile


def test_thread_hands_its_answer_over(loop: Loop, peers: Peers) -> None:
    class Chat(cure("CYN201")["Chat"]):  # type: ignore[misc]
        def collect_incoming_data(self, data: bytes) -> None:
            pass

        def push(self, data: bytes) -> None:
            pushed_by.append(threading.current_thread())
            super().push(data)

    pushed_by: list[threading.Thread] = []
    channel, peer = peers.channel(Chat, None)
    channel.set_terminator(b"\n")
    peer.send(b"work\n")
    assert read(loop, peer) == b"done\r\n"
    assert pushed_by == [threading.main_thread()]


def test_client_asks_and_does_not_spin(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = cure("CYN204")["Client"]()
        client.create_socket()
        client.connect(server.getsockname())
        sock, _ = server.accept()
        with sock:
            assert read(loop, sock, 18) == b"GET / HTTP/1.0\r\n\r\n"
            assert [loop.poll(0) for _ in range(20)] == [0] * 20
        client.close()


def test_slow_answer_holds_nobody_up(loop: Loop, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    no_sleep(monkeypatch)
    kind = cure("CYN205")["Slow"]
    channel, peer = peers.channel(kind, None)
    _, gone = peers.channel(kind, None)
    gone.send(b"x")
    gone.close()
    peer.send(b"hello")
    called = []
    loop.call_later(0.01, called.append, 1)
    poll_until(loop, lambda: called)
    assert read(loop, peer, 5) == b"hello"
    channel.close()
    poll_until(loop, lambda: not socket_map)


@pytest.mark.parametrize("code", ["CYN206", "CYN207"])
def test_failed_channel_is_closed_and_the_others_are_not(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    class Client(cure(code)["Client"]):  # type: ignore[misc]
        def handle_read(self) -> None:
            raise ValueError(self.recv(100))

    _, peer = peers.channel(Client, None)
    other, _ = peers.channel(asyncore.dispatcher, None)
    peer.send(b"x")
    poll_until(loop, lambda: len(socket_map) == 1)
    assert list(socket_map.values()) == [other]
    assert "ValueError: b'x'" in caplog.text
    other.close()


def test_end_of_the_stream_closes(loop: Loop, peers: Peers, capsys: pytest.CaptureFixture[str]) -> None:
    class Client(cure("CYN208")["Client"]):  # type: ignore[misc]
        def handle_read(self) -> None:
            self.recv(100)

    _, peer = peers.channel(Client, None)
    peer.close()
    poll_until(loop, lambda: not socket_map)
    assert capsys.readouterr().out == "the server has gone\n"


def test_loop_is_left_by_exit_now_and_goes_on_after_others(
    loop: Loop, peers: Peers, capsys: pytest.CaptureFixture[str], limit: None
) -> None:
    class Failing(asyncore.dispatcher):
        fails: tuple[type[BaseException], ...] = (ValueError, asyncore.ExitNow)

        def handle_read(self) -> None:
            first, *rest = self.fails
            self.fails = tuple(rest)
            raise first

        def handle_error(self) -> None:
            raise

    channel, peer = peers.channel(Failing, None)
    peer.send(b"x")
    cure("CYN209")["serve"]()
    assert capsys.readouterr().out == "the loop failed\n"
    channel.fails = (KeyboardInterrupt,)
    with pytest.raises(KeyboardInterrupt):
        cure("CYN209")["serve"]()
    channel.close()


def test_server_passes_over_a_peer_that_has_gone(loop: Loop) -> None:
    class Server(cure("CYN210")["Server"]):  # type: ignore[misc]
        gone = 1

        def accept(self) -> Any:
            if self.gone:
                self.gone -= 1
                return None
            return super().accept()

    server = listening(Server)
    with connected(server) as sock:
        assert read(loop, sock) == b""
    server.close()


def test_all_channels_are_closed(peers: Peers) -> None:
    for _ in range(5):
        peers.channel(asyncore.dispatcher, None)
    cure("CYN211")["shut_down"]()
    assert not socket_map


def test_client_with_its_own_constructor_connects(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = cure("CYN212")["Client"](server.getsockname())
        poll_until(loop, lambda: client.connected)
        client.close()


def test_assigned_handler_is_called(loop: Loop, peers: Peers) -> None:
    class Client(cure("CYN213")["Client"]):  # type: ignore[misc]
        lines = b""

        def first_line(self) -> None:
            self.lines += self.recv(100)

    channel, peer = peers.channel(Client, None)
    channel.begin()
    peer.send(b"x")
    poll_until(loop, lambda: channel.lines)
    channel.close()


def test_session_has_values(peers: Peers) -> None:
    channel, _ = peers.channel(cure("CYN214")["Session"], None)
    assert channel.values == {}
    channel.close()


def test_none_waits_for_an_event(peers: Peers) -> None:
    class Reader(asyncore.dispatcher):
        got = b""

        def handle_read(self) -> None:
            self.got += self.recv(100)

    channel, peer = peers.channel(Reader, None)
    timer = threading.Timer(0.05, peer.send, [b"x"])
    timer.start()
    cure("CYN215")["turn"]()
    assert channel.got == b"x"
    timer.join()
    channel.close()


def test_mail_is_taken(loop: Loop, capsys: pytest.CaptureFixture[str]) -> None:
    server = cure("CYN216")["Sink"](("127.0.0.1", 0), None)
    port = server.socket.getsockname()[1]
    failed: list[BaseException] = []

    def send() -> None:
        try:
            with smtplib.SMTP("127.0.0.1", port, "localhost", WAITING) as client:
                client.sendmail("a@example.org", ["b@example.org"], "hello")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    poll_until(loop, lambda: not thread.is_alive() and len(socket_map) == 1)
    thread.join()
    server.close()
    assert (failed, capsys.readouterr().out) == ([], "5\n")


def test_socket_s_own_recv_is_used(loop: Loop, peers: Peers) -> None:
    class Reader(asyncore.dispatcher):
        def handle_read(self) -> None:
            self.recv(100)

    ours, theirs = peers.pair()
    channel = Reader(cure("CYN217")["Counting"](fileno=ours.detach()))
    theirs.send(b"12345")
    poll_until(loop, lambda: channel.socket.received == 5)
    channel.close()


@pytest.mark.parametrize("code", ["CYN218", "CYN307"])
def test_bytes_are_pushed(loop: Loop, peers: Peers, code: str) -> None:
    class Chat(cure(code)["Chat"]):  # type: ignore[misc]
        def collect_incoming_data(self, data: bytes) -> None:
            pass

    channel, peer = peers.channel(Chat, None)
    channel.set_terminator(b"\n")
    peer.send(b"x\n")
    assert read(loop, peer, 4) == b"ok\r\n"
    channel.close()


# Notes


def test_module_has_its_old_names() -> None:
    assert cure("CYN301")["asyncore"] is asyncore
    assert {name for name in vars(asyncore) if not name.startswith("_")} <= set(cure("CYN302"))


def test_loop_needs_no_use_poll(loop: Loop, peers: Peers, limit: None) -> None:
    _, peer = peers.channel(asyncore.dispatcher, None)
    peer.close()
    cure("CYN303")
    assert not socket_map


def test_handler_of_data_gets_it(loop: Loop, peers: Peers) -> None:
    for code in ("CYN304", "CYN309"):
        stored: list[bytes] = []
        kind = cure(code)["Client"]
        kind.store = lambda self, data, stored=stored: stored.append(data)
        channel, peer = peers.channel(kind, None)
        peer.send(b"x")
        poll_until(loop, lambda stored=stored: stored)
        assert stored == [b"x"]
        channel.close()


def test_failed_connect_goes_to_handle_error(loop: Loop, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    client = cure("CYN305")["Client"]()
    client.create_socket()
    client.connect(address)
    poll_until(loop, lambda: not socket_map)
    assert capsys.readouterr().out == ""  # where the inherited one would say so


def test_socket_that_is_taken_is_served(loop: Loop, peers: Peers) -> None:
    class Client(cure("CYN306")["Client"]):  # type: ignore[misc]
        got = b""

        def handle_read(self) -> None:
            self.got += self.recv(100)

    ours, theirs = peers.pair()
    client = Client()
    client.take(ours)
    theirs.send(b"x")
    poll_until(loop, lambda: client.got)
    client.close()


def test_line_without_end_is_refused(loop: Loop, peers: Peers, capsys: pytest.CaptureFixture[str]) -> None:
    class Chat(cure("CYN307")["Chat"]):  # type: ignore[misc]
        def collect_incoming_data(self, data: bytes) -> None:
            pass

    channel, peer = peers.channel(Chat, None)
    assert isinstance(channel, asynchat.async_chat)
    channel.set_terminator(b"\n")
    peer.settimeout(WAITING)
    sender = threading.Thread(target=peer.send, args=(bytes(70_000),))
    sender.start()
    poll_until(loop, lambda: not socket_map)
    sender.join()
    assert "LimitExceeded" in capsys.readouterr().out


def test_program_of_its_own_serves_the_connection(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "serve"
    program.write_text(f"#!{sys.executable} -I\nimport os\nos.write(0, b'from ' + b'%d' % os.getpid())\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    server = listening(cure("CYN308")["Server"])
    server.helpers = []
    with connected(server) as sock:
        got = read(loop, sock)
    (helper,) = server.helpers
    assert helper.wait(WAITING) == 0
    assert got == b"from %d" % helper.pid
    server.close()


def test_interrupt_is_not_caught(loop: Loop, peers: Peers) -> None:
    class Client(cure("CYN309")["Client"]):  # type: ignore[misc]
        fails: type[BaseException] = KeyboardInterrupt

        def store(self, data: bytes) -> None:
            raise self.fails

    channel, peer = peers.channel(Client, None)
    peer.send(b"x")
    with pytest.raises(KeyboardInterrupt):
        loop.poll(WAITING)
    channel.fails = ValueError
    peer.send(b"x")
    poll_until(loop, lambda: not socket_map)


def test_server_has_room_beyond_1024(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    server = cure("CYN310")["Server"]()
    monkeypatch.setattr(asyncore, "socket_map", dict.fromkeys(range(5000)))
    assert server.has_room()


def test_loop_needs_no_count(loop: Loop, peers: Peers, limit: None) -> None:
    _, peer = peers.channel(asyncore.dispatcher, None)
    peer.close()
    cure("CYN311")["serve"]()
    assert not socket_map
