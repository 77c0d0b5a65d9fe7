# SPDX-License-Identifier: MIT
"""How sockets of datagrams begin and end, and what can be asked of them."""

from __future__ import annotations

import gc
import os
import socket
import stat
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

import cyncore
from cyncore import Datagram, Loop
from tests.support.datagrams import LOOPBACK, Echo, Recorder, bound, client, nobody, received
from tests.support.loops import ends_by_itself, every_backend
from tests.support.peers import Peers, poll_until
from tests.support.script import run_script


@every_backend
def test_facts(loop: Loop) -> None:
    with bound(loop) as channel:
        host, port = channel.address
        assert (host, port > 0) == ("127.0.0.1", True)
        assert channel.remote is channel.get_extra_info("peername") is None
        assert channel.get_extra_info("sockname") == channel.address == channel.socket.getsockname()
        assert channel.get_extra_info("socket") is channel.socket
        assert channel.get_extra_info("nothing", 5) == 5
        assert channel.loop is loop
        assert channel.reading
        assert not channel.closing
        assert repr(channel.address) in repr(channel)
    assert channel.closing
    assert not channel.reading
    assert "closed" in repr(channel)
    assert channel.address is None


@every_backend
def test_a_name_of_the_remote_is_looked_for_and_what_was_sent_waits(loop: Loop, peers: Peers) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peers.keep(sock)
    sock.bind(LOOPBACK)
    port = sock.getsockname()[1]
    asked: list[Any] = []

    def resolver(host: str, service: Any) -> Any:
        asked.append((host, service))
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    loop.resolver = resolver
    channel = loop.bind(None, Recorder, remote=("a.name", port))
    assert channel.socket is channel.address is channel.remote is None
    channel.send(b"early")
    assert channel.output_size == 5
    assert received(loop, sock, 1) == [b"early"]
    assert asked == [("a.name", port)]
    assert channel.remote == sock.getsockname()
    assert channel.seen == ["ready"]
    channel.abort()


@every_backend
def test_a_name_that_is_not_found_ends_it(loop: Loop) -> None:
    def resolver(host: str, service: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    loop.resolver = resolver
    channel = loop.bind(None, Recorder, remote=("a.name", 1))
    channel.send(b"lost")
    with ends_by_itself(loop):
        loop.run()
    assert [type(item) for item in channel.seen] == [socket.gaierror]


def test_a_name_of_another_family_than_the_local_address(loop: Loop) -> None:
    loop.resolver = lambda host, service: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 9))]
    channel = loop.bind(("::1", 0), Recorder, remote=("a.name", 9))
    with ends_by_itself(loop):
        loop.run()
    assert "has no address of the family" in str(channel.seen[0])


def test_abort_while_a_name_is_looked_for(loop: Loop) -> None:
    may_go_on = threading.Event()

    def resolver(host: str, service: Any) -> Any:
        may_go_on.wait(5)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 9))]

    loop.resolver = resolver
    channel = loop.bind(None, Recorder, remote=("a.name", 9))
    loop.poll(0)
    channel.abort()
    may_go_on.set()
    with ends_by_itself(loop):
        loop.run()
    assert channel.seen == ["close"]


@every_backend
def test_close_while_a_name_is_looked_for_sends_what_was_queued(loop: Loop, peers: Peers) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peers.keep(sock)
    sock.bind(LOOPBACK)
    sock.settimeout(5)
    loop.resolver = lambda host, service: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", sock.getsockname())]
    channel = loop.bind(None, Recorder, remote=("a.name", 9))
    channel.send(b"early")
    channel.close()
    assert channel.closing
    with ends_by_itself(loop):
        loop.run()
    assert sock.recv(10) == b"early"
    assert channel.seen == ["close"]


@every_backend
def test_a_socket_that_is_taken_over(loop: Loop, peers: Peers) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    peers.keep(ours, theirs)
    channel = Echo(ours, loop=loop)
    theirs.send(b"x")
    poll_until(loop, lambda: channel.got)
    channel.close()
    poll_until(loop, lambda: not loop.map)


@every_backend
def test_a_bound_socket_that_is_taken_over(loop: Loop, peers: Peers) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(LOOPBACK)
    with bound(loop, Echo, sock) as channel:
        assert channel.socket is sock
        other = client(peers, channel.address)
        other.send(b"x")
        assert received(loop, other, 1) == [b"x"]


@every_backend
def test_a_connected_socket_answers_its_peer_only(loop: Loop, peers: Peers) -> None:
    theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peers.keep(theirs)
    theirs.bind(LOOPBACK)
    with bound(loop, Echo, None, remote=theirs.getsockname()) as channel:
        assert channel.remote == theirs.getsockname()
        theirs.sendto(b"x", channel.address)
        assert received(loop, theirs, 1) == [b"x"]
        with pytest.raises(ValueError, match=r"sends to .* only"):
            channel.send(b"x", ("127.0.0.1", 9))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((None,), ValueError, "an address is needed"),
        ((("192.0.2.1", 0),), OSError, "192.0.2.1:0"),
        ((17,), TypeError, r"is \(host, port\)"),
    ],
)
def test_what_cannot_be_bound(loop: Loop, arguments: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        loop.bind(*arguments, Recorder)
    assert not loop.map


def test_sockets_of_another_type_are_refused(loop: Loop) -> None:
    with socket.socket() as sock:
        with pytest.raises(TypeError, match="SOCK_DGRAM"):
            loop.bind(sock, Recorder)
        with pytest.raises(TypeError, match="SOCK_DGRAM"):
            Recorder(sock, loop=loop)
        with pytest.raises(TypeError, match="needs its loop"):
            Recorder(sock)


def test_a_factory_of_something_else_is_refused(loop: Loop) -> None:
    with pytest.raises(TypeError, match=r"must return a cyncore\.Datagram"):
        loop.bind(LOOPBACK, lambda: cyncore.Stream())  # type: ignore[arg-type]


@every_backend
def test_unix_paths(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "server"
    with bound(loop, Echo, path, mode=0o600) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        other = loop.bind(None, Recorder, remote=str(path))
        other.send(b"hello")
        poll_until(loop, lambda: other.got)
        assert other.got == server.got == [b"hello"]
        other.close()
    assert not path.exists()


def test_a_stale_path_is_replaced_and_one_in_use_is_not(loop: Loop, tmp_path: Path) -> None:
    path = str(tmp_path / "server")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        with pytest.raises(OSError, match="server"):
            loop.bind(path, Recorder)
    with bound(loop, Recorder, path):
        pass
    assert not os.path.exists(path)


@every_backend
def test_a_unix_socket_that_cannot_be_opened_leaves_no_file(loop: Loop, tmp_path: Path) -> None:
    class Awaited(Recorder):
        async def handle_ready(self) -> None:  # type: ignore[override]
            pass

    with pytest.raises(OSError, match="nobody"):
        loop.bind(str(tmp_path / "x"), Recorder, remote=str(tmp_path / "nobody"))
    with pytest.raises(TypeError, match="async"):
        loop.bind(str(tmp_path / "x"), Awaited)
    assert not list(tmp_path.iterdir())


@every_backend
def test_unix_addresses_of_senders(loop: Loop, tmp_path: Path) -> None:
    class Addresses(Recorder):
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
            self.got.append(address)

    path = str(tmp_path / "server")
    with bound(loop, Addresses, path) as server:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"unnamed", path)
            poll_until(loop, lambda: server.got)
            sock.bind("\0abstract-of-cyncore")
            sock.sendto(b"abstract", path)
            poll_until(loop, lambda: len(server.got) == 2)
        assert server.got == [None, b"\0abstract-of-cyncore"]


@pytest.mark.parametrize("path", ["", "x" * 200])
def test_a_path_that_is_none(loop: Loop, tmp_path: Path, path: str) -> None:
    with bound(loop, Recorder, str(tmp_path / "x")) as channel:
        try:
            channel.send(b"x", path)
        except (ValueError, OSError):
            return
        loop.poll(0)
        assert len(channel.seen) == 2


@every_backend
def test_drain_closes_what_is_idle_and_waits_for_what_is_busy(loop: Loop) -> None:
    idle = loop.bind(LOOPBACK, Recorder)
    busy = loop.bind(LOOPBACK, Recorder)
    busy.busy = True
    loop.drain(60)
    loop.poll(0)
    assert (idle.closing, busy.closing) == (True, False)
    busy.busy = False
    with ends_by_itself(loop):
        loop.run()
    assert busy.seen[-1] == "close"


def test_drain_aborts_in_the_end(loop: Loop) -> None:
    channel = loop.bind(LOOPBACK, Recorder)
    channel.busy = True
    loop.drain(0.02)
    with ends_by_itself(loop):
        loop.run()
    assert channel.seen[-1] == "close"


def test_drain_ends_a_search_for_a_name(loop: Loop) -> None:
    loop.resolver = lambda host, service: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", nobody())]
    channel = loop.bind(None, Recorder, remote=("a.name", 1))
    loop.drain(5)
    with ends_by_itself(loop):
        loop.run()
    assert channel.closing


def test_it_is_freed(loop: Loop, peers: Peers) -> None:
    channel = loop.bind(LOOPBACK, Echo)
    sock = client(peers, channel.address)
    sock.send(b"x")
    assert received(loop, sock, 1) == [b"x"]
    channel.close()
    loop.poll(0)
    gone = weakref.ref(channel)
    del channel
    gc.collect()
    assert gone() is None


def test_a_closed_loop(loop: Loop) -> None:
    channel = loop.bind(LOOPBACK, Recorder)
    poll_until(loop, lambda: channel.connected)
    loop.close()
    channel.send(b"dropped", ("127.0.0.1", 9))
    channel.close()
    assert channel.closing


def test_nothing_is_loaded_for_those_who_use_none() -> None:
    assert run_script("import cyncore, sys; print([n for n in sys.modules if 'datagram' in n])") == "[]\n"


def test_a_method_of_the_class_is_enough() -> None:
    assert "handle_datagrams" not in dir(Datagram)


@every_backend
def test_an_attribute_of_another_name_is_the_programs_own(loop: Loop) -> None:
    with bound(loop) as channel:
        channel.join_time = 5
        channel.max_output = None
        assert channel.join_time == 5
