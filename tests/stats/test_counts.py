# SPDX-License-Identifier: MIT
"""What `Loop.stats` counts, and what `Loop.channels` tells of each channel."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from cyncore import (
    ChannelInfo,
    Datagram,
    Histogram,
    Loop,
    LoopStats,
    Stream,
    asynchat,
    dispatcher,
    dispatcher_with_send,
)
from cyncore._rules import TIMED_EVENTS, TIMED_EVERY
from tests.support.loops import every_backend
from tests.support.peers import Peers, Recorder, poll_until
from tests.support.streams import connected


class Quiet(Stream):
    def handle_data(self, data: bytes) -> None:
        pass


def info(loop: Loop, channel: Any) -> ChannelInfo:
    (found,) = [each for each in loop.channels() if each.fd == channel.socket.fileno()]
    return found


# Of the loop


@every_backend
def test_events_and_bytes_are_counted(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, Quiet)
    before = loop.stats()
    for _ in range(3):
        theirs.send(b"12345")
        loop.poll(1)
    stream.write(b"1234567")
    loop.poll(0)
    after = loop.stats()
    assert isinstance(after, LoopStats)
    assert after.events - before.events == 3
    assert (after.bytes_in - before.bytes_in, after.bytes_out - before.bytes_out) == (15, 7)
    assert after.ticks - before.ticks == 4
    assert (after.backend, after.channels) == (loop.backend, 1)


def test_calls_and_timers_are_counted_when_they_were_made(loop: Loop) -> None:
    loop.call_soon(len, "")
    loop.call_soon(len, "")
    loop.call_later(3600, len, "").cancel()
    timer = loop.call_later(3600, len, "")
    assert (loop.stats().queued_calls, loop.stats().timers, loop.stats().calls) == (2, 1, 0)
    loop.poll(0)
    timer.cancel()
    assert (loop.stats().queued_calls, loop.stats().timers, loop.stats().calls) == (0, 0, 2)


@every_backend
def test_accepts_are_counted(loop: Loop) -> None:
    server = loop.listen(("127.0.0.1", 0), Quiet)
    with socket.create_connection(server.address), socket.create_connection(server.address):
        poll_until(loop, lambda: server.connections == 2)
        assert loop.stats().accepts == 2
        for channel in list(loop.map.values()):
            channel.close()
        server.close()
        loop.poll(0)


class Raises(dispatcher):
    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.recv(10)
        raise ValueError("wrong")

    def handle_error(self) -> None:
        pass


class RaisesStream(Quiet):
    def handle_data(self, data: bytes) -> None:
        raise ValueError("wrong")

    def handle_error(self, error: BaseException) -> None:
        pass


class BadPredicate(Raises):
    def readable(self) -> bool:
        raise ValueError("wrong")


def test_an_exception_of_a_handler_is_counted(loop: Loop, peers: Peers) -> None:
    _, theirs = peers.channel(Raises, loop.map)
    theirs.send(b"x")
    loop.poll(1)
    assert loop.stats().errors == 1


def test_an_exception_of_a_stream_is_counted(loop: Loop, peers: Peers) -> None:
    _, theirs = connected(peers, loop, RaisesStream)
    theirs.send(b"x")
    loop.poll(1)
    assert loop.stats().errors == 1


def test_an_exception_of_a_predicate_is_counted(loop: Loop, peers: Peers) -> None:
    peers.channel(BadPredicate, loop.map)
    loop.poll(0)
    assert loop.stats().errors >= 1


def test_an_exception_of_a_callback_is_counted(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.call_soon(int, "no number")
    loop.poll(0)
    assert loop.stats().errors == 1


def test_sweeps_are_counted(loop: Loop, peers: Peers) -> None:
    peers.channel(BadPredicate, loop.map)
    before = loop.stats().sweeps
    loop.poll(0)
    loop.poll(0)
    assert loop.stats().sweeps - before == 2


def test_any_thread_may_ask_for_the_figures(peers: Peers) -> None:
    found: list[LoopStats] = []
    with Loop(debug=True) as loop:
        thread = threading.Thread(target=lambda: found.append(loop.stats()))
        loop.call_soon(thread.start)
        loop.call_later(0.01, loop.stop)
        loop.run()
        thread.join()
    assert found[0].backend == loop.backend


def test_a_closed_loop_keeps_its_figures(loop: Loop) -> None:
    loop.call_soon(len, "")
    loop.poll(0)
    loop.close()
    assert (loop.stats().calls, loop.stats().timers, loop.stats().channels) == (1, 0, 0)


# Times


@every_backend
def test_lag_is_measured_once_for_each_wait_that_brought_something(loop: Loop, peers: Peers) -> None:
    _, theirs = connected(peers, loop, Quiet)
    before = loop.stats().lag
    for _ in range(5):
        theirs.send(b"x")
        loop.poll(1)
    loop.poll(0)
    after = loop.stats().lag
    assert after.times - before.times == 5
    assert after.total > before.total


def test_lag_does_not_contain_the_time_in_which_nobody_runs_the_loop(loop: Loop, peers: Peers) -> None:
    _, theirs = connected(peers, loop, Quiet)
    theirs.send(b"x")
    loop.poll(1)
    begin = loop.time()
    while loop.time() < begin + 0.05:
        pass
    before = loop.stats().lag.total
    loop.poll(0)
    assert loop.stats().lag.total == before


def test_a_handler_that_blocks_is_in_the_lag(loop: Loop, peers: Peers) -> None:
    class Blocks(Quiet):
        def handle_data(self, data: bytes) -> None:
            begin = loop.time()
            while loop.time() < begin + 0.05:
                pass

    _, theirs = connected(peers, loop, Blocks)
    theirs.send(b"x")
    loop.poll(1)
    loop.poll(0)
    assert loop.stats().lag.most >= 0.05
    assert loop.stats().lag.quantile(1.0) == loop.stats().lag.most


@every_backend
def test_handlers_are_timed_in_one_tick_of_many(loop: Loop, peers: Peers) -> None:
    streams = [connected(peers, loop, Quiet) for _ in range(2 * TIMED_EVENTS)]
    before = loop.stats()
    for _ in range(4 * TIMED_EVERY):
        for _stream, theirs in streams:
            theirs.send(b"x")
        loop.poll(1)
    after = loop.stats()
    assert after.ticks - before.ticks == 4 * TIMED_EVERY
    assert after.handler_times.times - before.handler_times.times == 4 * TIMED_EVENTS


@every_backend
def test_all_handlers_are_timed_where_slow_ones_are_looked_for(loop: Loop, peers: Peers) -> None:
    _, theirs = connected(peers, loop, Quiet)
    loop.slow_handler_limit = 3600
    before = loop.stats().handler_times.times
    for _ in range(10):
        theirs.send(b"x")
        loop.poll(1)
    loop.call_soon(len, "")
    loop.poll(0)
    assert loop.stats().handler_times.times - before == 11


def test_quantiles_of_a_histogram_are_bounds_of_buckets() -> None:
    times = Histogram((0.001, 0.002, 0.004), (5, 0, 4, 1), 10, 0.1, 0.05)
    assert [times.quantile(share) for share in (0, 0.5, 0.9, 1)] == [0.001, 0.001, 0.004, 0.05]
    assert Histogram((0.001,), (0, 0), 0, 0.0, 0.0).quantile(0.5) == 0.0
    with pytest.raises(ValueError, match="from 0 to 1"):
        times.quantile(2)


def test_the_counts_of_a_histogram_are_of_its_buckets(loop: Loop) -> None:
    loop.call_soon(len, "")
    loop.poll(0)
    times = loop.stats().handler_times
    assert len(times.counts) == len(times.bounds) + 1
    assert sum(times.counts) == times.times == 1


# Of the channels


@every_backend
def test_a_stream_is_told_with_its_bytes(loop: Loop, peers: Peers) -> None:
    stream, theirs = connected(peers, loop, Quiet)
    theirs.send(b"12345")
    loop.poll(1)
    stream.write(b"1234567")
    loop.poll(0)
    found = info(loop, stream)
    assert found.kind == f"{__name__}.Quiet"
    assert (found.state, found.interest, found.paused) == ("open", ("read",), None)
    assert (found.bytes_in, found.bytes_out, found.queued, found.unread) == (5, 7, 0, 0)
    assert found.age >= 0.0
    assert found.idle is not None


@pytest.mark.parametrize("kind", [dispatcher, dispatcher_with_send, asynchat.async_chat])
def test_bytes_of_a_dispatcher_are_counted(kind: Any, loop: Loop, peers: Peers) -> None:
    class Echo(kind):  # type: ignore[misc]
        def __init__(self, sock: Any, map: Any) -> None:
            kind.__init__(self, sock, map)
            if kind is asynchat.async_chat:
                self.set_terminator(3)

        def writable(self) -> bool:
            return kind is not dispatcher and bool(kind.writable(self))

        def collect_incoming_data(self, data: bytes) -> None:
            self.push(data)

        def found_terminator(self) -> None:
            pass

        if kind is not asynchat.async_chat:

            def handle_read(self) -> None:
                self.send(self.recv(100))

    channel, theirs = peers.channel(Echo, loop.map)
    theirs.send(b"123")
    loop.poll(1)
    loop.poll(0)
    assert theirs.recv(10) == b"123"
    found = info(loop, channel)
    assert (found.bytes_in, found.bytes_out) == (3, 3)
    assert (loop.stats().bytes_in, loop.stats().bytes_out) == (3, 3)


def test_bytes_of_datagrams_of_a_dispatcher_are_counted(loop: Loop, peers: Peers) -> None:
    class Echo(dispatcher):
        def writable(self) -> bool:
            return False

        def handle_read(self) -> None:
            data, address = self.recvfrom(100)
            self.sendto(data + b"!", address)

    channel = Echo(map=loop.map)
    channel.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.bind(("127.0.0.1", 0))
    theirs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peers.keep(theirs)
    theirs.settimeout(5)
    theirs.sendto(b"123", channel.socket.getsockname())
    loop.poll(1)
    assert theirs.recv(10) == b"123!"
    found = info(loop, channel)
    assert (found.bytes_in, found.bytes_out) == (3, 4)
    channel.close()
    assert (loop.stats().bytes_in, loop.stats().bytes_out) == (3, 4)


class Counted(Datagram):
    """Counts the datagrams that it is given."""

    count = 0

    def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
        self.count += 1


@every_backend
def test_a_channel_of_datagrams_is_told_with_its_addresses(loop: Loop) -> None:
    """It was taken for a stream, which it is not, and ended the process."""
    server = loop.bind(("127.0.0.1", 0), Datagram)
    client = loop.bind(("127.0.0.1", 0), Datagram, remote=server.address)
    server.pause_reading()
    loop.poll(0)
    found = [info(loop, server), info(loop, client)]
    assert [(each.state, each.peer, each.unread) for each in found] == [("open", server.address, 0)] * 2
    assert [each.paused for each in found] == ["pause_reading()", None]
    server.abort()
    client.abort()
    loop.poll(0)


@every_backend
def test_bytes_of_a_channel_of_datagrams_are_counted(loop: Loop) -> None:
    server = loop.bind(("127.0.0.1", 0), Counted)
    client = loop.bind(("127.0.0.1", 0), Counted, remote=server.address)
    for size in (3, 0, 40):
        client.send(bytes(size))
    poll_until(loop, lambda: server.count == 3)
    assert (info(loop, server).bytes_in, info(loop, client).bytes_out) == (43, 43)
    assert (loop.stats().bytes_in, loop.stats().bytes_out) == (43, 43)
    server.abort()
    client.abort()
    loop.poll(0)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets here")
def test_datagrams_that_wait_for_a_receiver_are_told_and_counted_when_they_leave(loop: Loop, tmp_path: Any) -> None:
    server = loop.bind(str(tmp_path / "server"), Counted)
    client = loop.bind(str(tmp_path / "client"), Counted)
    server.pause_reading()
    while not client.output_size:
        client.send(bytes(1000), server.address)
        loop.poll(0)
    found = info(loop, client)
    assert found.queued == client.output_size
    server.resume_reading()
    poll_until(loop, lambda: not client.output_size)
    assert info(loop, client).bytes_out == found.bytes_out + found.queued
    server.abort()
    client.abort()
    loop.poll(0)


@pytest.mark.parametrize("kind", [dispatcher_with_send, asynchat.async_chat, Quiet])
def test_output_that_waits_is_told(kind: Any, loop: Loop, peers: Peers) -> None:
    if kind is Quiet:
        channel, _ = connected(peers, loop, Quiet)
    else:
        channel, _ = peers.channel(kind, loop.map)
    put = channel.write if kind is Quiet else channel.push if kind is asynchat.async_chat else channel.send
    put(bytes(4_000_000))
    loop.poll(0)
    found = info(loop, channel)
    assert found.queued + found.bytes_out == 4_000_000
    assert found.queued > 0
    assert "write" in found.interest


def test_bytes_of_a_file_are_counted(loop: Loop, peers: Peers, tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1234567")
    stream, theirs = connected(peers, loop, Quiet)
    with path.open("rb") as file:
        stream.sendfile(file)
    loop.poll(0)
    assert theirs.recv(100) == b"1234567"
    assert info(loop, stream).bytes_out == 7


def test_bytes_of_a_pipe_are_counted(loop: Loop, peers: Peers) -> None:
    one, near = connected(peers, loop, Quiet)
    other, far = connected(peers, loop, Quiet)
    one.pipe(other)
    poll_until(loop, lambda: info(loop, one).state == "piped")
    near.send(b"123")
    poll_until(loop, lambda: info(loop, other).bytes_out == 3)
    assert info(loop, one).bytes_in == 3
    assert far.recv(10) == b"123"
    one.abort()
    other.abort()
    loop.poll(0)


def test_a_paused_stream_says_why(loop: Loop, peers: Peers) -> None:
    stream, _ = connected(peers, loop, Quiet)
    stream.pause_reading()
    loop.poll(0)
    assert (info(loop, stream).paused, info(loop, stream).interest) == ("pause_reading()", ())


def test_a_dispatcher_that_does_not_want_to_read_says_why(loop: Loop, peers: Peers) -> None:
    class Never(Recorder):
        def readable(self) -> bool:
            return False

        def writable(self) -> bool:
            return False

    channel, _ = peers.channel(Never, loop.map)
    loop.poll(0)
    assert info(loop, channel).paused == "readable() is false"


def test_a_class_without_a_read_handler_says_so(loop: Loop, peers: Peers) -> None:
    class Deaf(dispatcher):
        def writable(self) -> bool:
            return False

        def log_info(self, message: object, type: str = "info") -> None:
            pass

    channel, theirs = peers.channel(Deaf, loop.map)
    theirs.send(b"x")
    loop.poll(1)
    loop.poll(0)
    assert info(loop, channel).paused == "it has no handle_read()"


def test_states_of_a_connection_are_told(loop: Loop) -> None:
    server = loop.listen(("127.0.0.1", 0), Quiet)
    client = loop.connect(server.address, Quiet)
    poll_until(loop, lambda: client.connected and server.connections)
    found = {each.fd: each for each in loop.channels()}
    states = sorted(each.state for each in found.values())
    assert states == ["listening", "open", "open"]
    assert found[client.socket.fileno()].peer == server.address
    assert [each.peer for each in found.values() if each.state == "listening"] == [server.address]
    server.close()
    client.abort()
    poll_until(loop, lambda: not loop.map)


def test_deadlines_are_told(loop: Loop, peers: Peers) -> None:
    class Timed(Quiet):
        idle_deadline = 100.0
        life_deadline = 200.0

    stream, _ = connected(peers, loop, Timed)
    found = info(loop, stream)
    assert found.deadlines == {"idle": 100.0, "life": 200.0}
    assert found.deadline is not None
    assert 0 < found.deadline <= 100.0
    channel, _ = peers.channel(Recorder, loop.map)
    channel.set_deadlines(idle=50)
    assert info(loop, channel).deadlines == {"idle": 50.0}
    stream.abort()
    channel.close()


def test_a_foreign_object_is_told_without_what_nobody_knows(loop: Loop, peers: Peers) -> None:
    class Raw:
        accepting = False

        def __init__(self, sock: Any) -> None:
            self.socket = sock

        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return False

        def handle_error(self) -> None:
            raise AssertionError

    ours, _ = peers.pair()
    raw = Raw(ours)
    loop.map[ours.fileno()] = raw
    loop.poll(0)
    found = info(loop, raw)
    assert (found.state, found.idle, found.bytes_in, found.interest) == ("foreign", None, 0, ("read", "urgent"))


def test_a_foreign_object_is_asked_nothing(loop: Loop, peers: Peers) -> None:
    class Raw:
        def __init__(self, fd: int) -> None:
            self.fd = fd

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise RuntimeError(name)
            raise AttributeError(name)

        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return False

    ours, _ = peers.pair()
    loop.map[ours.fileno()] = Raw(ours.fileno())
    loop.poll(0)
    assert [each.state for each in loop.channels()] == ["foreign"]


def test_channels_come_in_pages(loop: Loop, peers: Peers) -> None:
    made = sorted(peers.channel(Recorder, loop.map)[0].socket.fileno() for _ in range(5))
    loop.poll(0)
    assert [each.fd for each in loop.channels()] == made
    assert [each.fd for each in loop.channels(most=2)] == made[:2]
    assert [each.fd for each in loop.channels(made[1] + 1, 2)] == made[2:4]
    assert loop.channels(made[-1] + 1) == loop.channels(most=0) == []
    for wrong in ({"start": -1}, {"most": -1}):
        with pytest.raises(ValueError, match="below zero"):
            loop.channels(**wrong)


def test_looking_at_a_channel_does_not_keep_its_address(loop: Loop) -> None:
    server = loop.listen(("127.0.0.1", 0), Quiet)
    with socket.create_connection(server.address) as client:
        poll_until(loop, lambda: server.connections == 1)
        assert client.getsockname() in [each.peer for each in loop.channels()]
        assert len(loop.channels()) == len(loop.channels())
        for channel in list(loop.map.values()):
            channel.close()
        server.close()
        loop.poll(0)
