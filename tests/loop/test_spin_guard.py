# SPDX-License-Identifier: MIT
"""Channels that fire without end are slowed, and closed where that is asked for; those that are busy never are."""

from __future__ import annotations

import socket
import sys
import threading
import time
from typing import Any

import pytest

from cyncore import Loop, Stream, _spin, dispatcher
from cyncore._spin import ROUND
from tests.support.loops import every_backend
from tests.support.peers import Peers, poll_until
from tests.support.streams import tcp_pair


def counts() -> bool:
    """Does the kernel say how much a TCP connection has read? qemu's user mode hands on the first bytes only."""
    if sys.platform != "linux":
        return False
    with socket.socket() as sock:
        return len(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)) >= 136


pytestmark = pytest.mark.skipif(
    not counts(), reason="only Linux counts what a TCP connection has read, and not in qemu"
)

LONG = 4 * ROUND  # ticks in which a channel that fires without end is named


class Deaf(dispatcher):
    """Does not read what comes, until it is told to."""

    calls = 0
    reads = False

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.calls += 1
        if self.reads:
            self.got = self.recv(100)


class Eager(dispatcher):
    """Wants to write always, and has nothing to send."""

    calls = 0
    got = b""

    def handle_write(self) -> None:
        self.calls += 1

    def handle_read(self) -> None:
        self.got += self.recv(100)


def tcp(peers: Peers) -> tuple[socket.socket, socket.socket]:
    ours, theirs = tcp_pair(peers)
    ours.setblocking(False)
    return ours, theirs


def deaf(peers: Peers, loop: Loop, kind: Any = Deaf) -> Any:
    ours, theirs = tcp(peers)
    channel = kind(ours, loop.map)
    theirs.send(b"abc")
    return channel


def why(loop: Loop) -> list[str | None]:
    return [channel.paused for channel in loop.channels()]


def slowed(loop: Loop, words: str = "it fires without end") -> None:
    """Runs the loop until its channel is slowed. A tick that does not wait would slow nobody."""
    for _ in range(2 * LONG):
        if why(loop) == [words]:
            return
        loop.poll(0.02)
    raise AssertionError(f"not slowed, but {why(loop)}")


class Lazy(dispatcher):
    """Sends what is left for it, and is asked by nobody whether there is something: its write events come always."""

    calls = 0

    def __init__(self, sock: socket.socket, map: Any) -> None:
        dispatcher.__init__(self, sock, map)
        self.left: list[bytes] = []

    def handle_read(self) -> None:
        self.left.append(self.recv(100))

    def handle_write(self) -> None:
        self.calls += 1
        if self.left:
            self.send(self.left.pop(0))


def lazy(peers: Peers, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, socket.socket]:
    """A channel that is slowed, for as good as ever."""
    for name in ("SLOW_FIRST", "SLOW_LAST"):
        monkeypatch.setattr(_spin, name, 60.0)
    ours, theirs = tcp(peers)
    channel = Lazy(ours, loop.map)
    slowed(loop, "it is writable without end")
    return channel, theirs


@every_backend
def test_a_channel_that_fires_without_end_is_slowed(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    channel = deaf(peers, loop)
    slowed(loop)
    before = channel.calls
    loop.call_later(0.2, loop.stop)
    loop.run()
    assert channel.calls - before < 100  # and not some 20,000
    assert channel.calls > before  # it is not forgotten
    assert len([one for one in caplog.records if "fires without end" in one.getMessage()]) == 1


@every_backend
def test_a_slowed_channel_that_reads_again_is_as_before(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    channel = deaf(peers, loop)
    slowed(loop)
    channel.reads = True
    poll_until(loop, lambda: getattr(channel, "got", b"") == b"abc")
    assert why(loop) == [None]


@every_backend
def test_what_its_read_handler_left_is_sent_in_the_next_tick(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, theirs = lazy(peers, loop, monkeypatch)
    theirs.send(b"x")
    loop.poll(5)
    loop.poll(5)
    assert theirs.recv(10) == b"x"


@every_backend
def test_what_another_channel_left_for_it_is_sent_in_the_next_tick(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Relay(Deaf):
        def handle_read(self) -> None:
            channel.left.append(self.recv(100))

    channel, theirs = lazy(peers, loop, monkeypatch)
    ours, source = tcp(peers)
    Relay(ours, loop.map)
    source.send(b"x")
    loop.poll(5)
    loop.poll(5)
    assert theirs.recv(10) == b"x"


@every_backend
@pytest.mark.parametrize("how", ["timer", "thread"])
def test_what_a_call_left_for_it_is_sent_in_that_tick(
    how: str, loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, theirs = lazy(peers, loop, monkeypatch)
    if how == "timer":
        loop.call_later(0.0, channel.left.append, b"x")
    else:
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(channel.left.append, b"x"))
        thread.start()
        thread.join()
    loop.poll(5)
    assert theirs.recv(10) == b"x"


@every_backend
def test_what_a_thread_left_for_it_is_sent_when_its_pause_ends(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = tcp(peers)
    channel = Lazy(ours, loop.map)
    slowed(loop, "it is writable without end")
    theirs.setblocking(False)
    before = channel.calls
    channel.left.append(b"x")
    loop.poll(5)
    loop.poll(5)
    assert theirs.recv(10) == b"x"
    assert channel.calls - before <= 2


@every_backend
def test_two_that_fire_without_end_do_not_keep_each_other_awake(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLOW_FIRST", "SLOW_LAST"):
        monkeypatch.setattr(_spin, name, 60.0)
    monkeypatch.setattr(_spin, "_PAUSE", 0.0)  # of the log, which has to name both
    channels = [Eager(tcp(peers)[0], loop.map) for _ in range(2)]
    for _ in range(3 * LONG):
        if all(why(loop)):
            break
        loop.poll(0.02)
    before = [channel.calls for channel in channels]
    for _ in range(10):
        loop.poll(0.001)
    assert [channel.calls for channel in channels] == before


def test_an_exit_while_pauses_end_leaves_nobody_slowed(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_spin, "_PAUSE", 0.0)
    channels = [Eager(tcp(peers)[0], loop.map) for _ in range(2)]
    for _ in range(3 * LONG):
        if all(why(loop)):
            break
        loop.poll(0.02)
    go_on = _spin.Spins.go_on

    def interrupted(*arguments: Any) -> None:
        monkeypatch.setattr(_spin.Spins, "go_on", go_on)
        raise KeyboardInterrupt

    monkeypatch.setattr(_spin.Spins, "go_on", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.poll(0)
    before = [channel.calls for channel in channels]
    loop.poll(0)
    loop.poll(0)
    assert all(channel.calls > calls for channel, calls in zip(channels, before, strict=True))
    for channel in channels:
        channel.close()
    assert not loop.map


def test_an_error_of_the_program_when_a_pause_ends_costs_its_channel(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Eager):
        fails = False

        def writable(self) -> bool:
            if self.fails:
                raise ValueError("no")
            return True

    failing = Failing(tcp(peers)[0], loop.map)
    slowed(loop, "it is writable without end")
    failing.fails = True
    loop.poll(0)
    loop.poll(0)
    assert not loop.map


@every_backend
def test_a_loop_that_does_not_wait_slows_nobody(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    channel = Eager(tcp(peers)[0], loop.map)
    for _ in range(LONG):
        loop.poll(0)
    assert channel.calls == LONG
    assert len(caplog.records) == 1


@every_backend
def test_a_hosted_loop_slows_what_fires_without_end(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    channel = Eager(tcp(peers)[0], loop.map)
    loop.fileno()
    for _ in range(LONG):
        loop.poll(0)
    assert channel.calls < LONG - ROUND
    assert len(caplog.records) == 1


@every_backend
def test_a_slowed_channel_has_its_events_in_a_tick_that_does_not_wait(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, theirs = lazy(peers, loop, monkeypatch)
    channel.left.append(b"x")
    loop.poll(0)
    assert theirs.recv(10) == b"x"


@every_backend
def test_one_that_wants_to_write_without_end_reads_at_once(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = tcp(peers)
    channel = Eager(ours, loop.map)
    slowed(loop, "it is writable without end")
    theirs.send(b"x")
    poll_until(loop, lambda: channel.got)
    assert loop.stats().timers <= 1


@every_backend
def test_a_channel_that_reads_at_each_second_event_is_busy(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = tcp(peers)

    class Halting(Deaf):
        def handle_read(self) -> None:
            self.calls += 1
            if self.calls % 2:
                self.recv(1)

    channel = Halting(ours, loop.map)
    for _ in range(LONG):
        if channel.calls % 100 == 0:
            theirs.send(bytes(100))
        loop.poll(1)
        assert why(loop) == [None]
    assert caplog.records == []


@every_backend
def test_a_busy_channel_is_never_slowed(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = tcp(peers)

    class Echo(Deaf):
        def handle_read(self) -> None:
            self.calls += 1
            self.send(self.recv(100))

    channel = Echo(ours, loop.map)
    for _ in range(LONG):
        theirs.send(b"x")
        loop.poll(1)
        assert theirs.recv(10) == b"x"
    assert channel.calls == LONG
    assert caplog.records == []


def test_without_the_guard_it_is_only_named(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    channel = deaf(peers, loop)
    loop.spin_guard = None
    for _ in range(LONG):
        loop.poll(1)
    assert channel.calls == LONG
    assert len(caplog.records) == 1


def test_a_slowed_channel_that_is_closed_leaves_nothing(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    channel = deaf(peers, loop)
    slowed(loop)
    assert loop.stats().timers == 1
    channel.close()
    assert loop.stats().timers == 0
    loop.run()


# Closing


@pytest.fixture
def closing(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop closes what fires without end, and soon."""
    loop.spin_guard = "close"
    monkeypatch.setattr(_spin, "CLOSE_AFTER", 0.02)


def run_until_empty(loop: Loop) -> None:
    guard = threading.Timer(20, loop.stop)
    guard.start()
    loop.run()
    guard.cancel()
    guard.join()
    assert not loop.map


@every_backend
@pytest.mark.usefixtures("closing")
@pytest.mark.parametrize("kind", [Deaf, Eager])
def test_a_channel_is_closed_where_that_is_asked_for(
    kind: Any, loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    channel = deaf(peers, loop, kind) if kind is Deaf else kind(tcp(peers)[0], loop.map)
    run_until_empty(loop)
    assert channel.calls > ROUND
    texts = [one.getMessage() for one in caplog.records]
    assert ["is closed" in text for text in texts] == [False, True]


@pytest.mark.usefixtures("closing")
def test_a_close_of_its_own_does_not_keep_it(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    class Stays(Deaf):
        closes = 0

        def close(self) -> None:
            self.closes += 1

    channel = deaf(peers, loop, Stays)
    run_until_empty(loop)
    assert channel.closes == 1


def test_a_foreign_object_that_is_slowed_says_so(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    class Raw:
        accepting = False

        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return False

        def handle_read_event(self) -> None:
            pass

    ours, theirs = tcp(peers)
    loop.map[ours.fileno()] = Raw()
    theirs.send(b"abc")
    slowed(loop)
    del loop.map[ours.fileno()]


@pytest.mark.usefixtures("closing")
def test_a_foreign_object_is_closed_by_its_close(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    class Raw:
        accepting = False
        closed = False

        def __init__(self, sock: Any) -> None:
            self.sock = sock

        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return False

        def handle_read_event(self) -> None:
            pass

        def close(self) -> None:
            self.closed = True

    ours, theirs = tcp(peers)
    raw = Raw(ours)
    loop.map[ours.fileno()] = raw
    theirs.send(b"abc")
    run_until_empty(loop)
    assert raw.closed


@pytest.mark.usefixtures("closing")
def test_a_stream_ends_with_an_error(loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Stream):
        error: BaseException | None = None

        def handle_close(self, error: BaseException | None) -> None:
            self.error = error

    ours, theirs = tcp(peers)
    stream = Stuck(ours, loop=loop)
    theirs.send(b"abc")
    loop.poll(0)
    stream._set_step(lambda ready: None, 1)  # as a layer above might, by mistake
    theirs.send(b"abc")
    run_until_empty(loop)
    assert "fires without end" in str(stream.error)


@pytest.mark.usefixtures("closing")
def test_it_is_not_closed_where_it_makes_progress_between_pauses(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = tcp(peers)
    channel = Deaf(ours, loop.map)
    theirs.send(bytes(100))
    until = time.monotonic() + 10 * _spin.CLOSE_AFTER
    while time.monotonic() < until:
        slowed(loop)
        channel.recv(1)
        theirs.send(b"x")
    assert loop.map
    channel.close()


def test_values_that_make_no_sense_are_refused(loop: Loop) -> None:
    assert loop.spin_guard == "slow"
    with pytest.raises(ValueError, match="spin_guard"):
        loop.spin_guard = "stop"  # type: ignore[assignment]


@every_backend
def test_a_channel_that_takes_another_descriptor_in_its_handler_is_not_slowed_by_the_old_one(
    loop: Loop, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    class Hopping(Deaf):
        def handle_read(self) -> None:
            self.calls += 1
            self.set_socket(pairs[self.calls % 2][0], loop.map)

    pairs = [tcp(peers), tcp(peers)]
    for _, theirs in pairs:
        theirs.send(b"abc")
    channel = Hopping(pairs[0][0], loop.map)
    for _ in range(LONG):
        loop.poll(1)
    loop.call_later(0.05, loop.stop)  # by then a pause would be over
    loop.run()
    assert why(loop) == [None]
    assert [one.getMessage() for one in caplog.records] == []
    channel.close()
    assert loop.map == {}
