# SPDX-License-Identifier: MIT
"""asyncore.loop() in several threads, inside a handler, thousands of times, and left in every way."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from cyncore import asyncore
from tests.support.peers import Peers, Recorder


class Guarded(Recorder):
    """Notices when two threads are in its handler at once."""

    inside = 0
    clashes = 0
    count = 0

    def handle_read(self) -> None:
        self.inside += 1
        if self.inside != 1:
            self.clashes += 1
        data = self.recv(1)
        self.got += data
        self.inside -= 1


def test_two_threads_in_one_map_never_handle_at_the_same_time(peers: Peers) -> None:
    map: dict[int, Any] = {}
    channels = [peers.channel(Guarded, map) for _ in range(4)]
    threads = [threading.Thread(target=asyncore.loop, kwargs={"timeout": 5, "map": map}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(200):
        for _, far in channels:
            far.send(bytes([number]))
    for _, far in channels:
        far.close()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert [channel.got for channel, _ in channels] == [bytes(range(200))] * 4
    assert sum(channel.clashes for channel, _ in channels) == 0


def test_second_thread_s_counted_loop_comes_back_while_the_first_waits(peers: Peers) -> None:
    map: dict[int, Any] = {}
    _, far = peers.channel(Recorder, map)
    first = threading.Thread(target=asyncore.loop, kwargs={"map": map})
    first.start()
    asyncore.loop(timeout=0.01, map=map, count=3)
    assert first.is_alive()
    far.close()
    first.join(20)
    assert not first.is_alive()


def test_one_loop_a_thread_each_with_its_own_map(peers: Peers) -> None:
    found: dict[int, tuple[bytes, bool]] = {}

    def serve(number: int, sock: Any) -> None:
        map: dict[int, Any] = {}
        channel = Recorder(sock, map)
        mine = []
        channel.handle_close = lambda: (mine.append(threading.current_thread()), channel.close())
        asyncore.loop(map=map)
        found[number] = channel.got, mine == [threading.current_thread()]

    pairs = [peers.pair() for _ in range(8)]
    threads = [threading.Thread(target=serve, args=(number, near)) for number, (near, _) in enumerate(pairs)]
    for thread in threads:
        thread.start()
    for number, (_, far) in enumerate(pairs):
        far.send(b"%d" % number)
        far.close()
    for thread in threads:
        thread.join(20)
    assert found == {number: (b"%d" % number, True) for number in range(8)}


def test_channel_added_by_another_thread_is_served_by_a_waiting_loop(peers: Peers) -> None:
    map: dict[int, Any] = {}
    _, far_first = peers.channel(Recorder, map)
    thread = threading.Thread(target=asyncore.loop, kwargs={"timeout": 0.05, "map": map})
    thread.start()
    second, far = peers.channel(Recorder, map)
    far.send(b"data")
    far.close()
    far_first.close()
    thread.join(20)
    assert not thread.is_alive()
    assert second.got == b"data"


def test_channel_closed_by_another_thread_ends_a_waiting_loop(peers: Peers) -> None:
    map: dict[int, Any] = {}
    channel, _ = peers.channel(Recorder, map)
    thread = threading.Thread(target=asyncore.loop, kwargs={"timeout": 0.05, "map": map})
    thread.start()
    channel.close()
    thread.join(20)
    assert not thread.is_alive()
    assert channel.seen == []


# Nested and counted


def test_loop_may_run_inside_a_handler_on_the_same_map(peers: Peers) -> None:
    map: dict[int, Any] = {}

    class Outer(Recorder):
        def handle_read(self) -> None:
            super().handle_read()
            for _ in range(100):
                if inner.got:
                    break
                asyncore.loop(timeout=0.05, map=map, count=1)

    outer, far_outer = peers.channel(Outer, map)
    inner, far_inner = peers.channel(Recorder, map)
    far_outer.send(b"outer")
    far_inner.send(b"inner")
    asyncore.poll(5, map)
    asyncore.poll(0, map)
    assert (outer.got, inner.got) == (b"outer", b"inner")
    asyncore.close_all(map)


def test_loop_may_run_inside_a_handler_on_another_map(peers: Peers) -> None:
    one: dict[int, Any] = {}
    two: dict[int, Any] = {}

    class Outer(Recorder):
        def handle_read(self) -> None:
            super().handle_read()
            asyncore.loop(timeout=5, map=two)

    outer, far_outer = peers.channel(Outer, one)
    inner, far_inner = peers.channel(Recorder, two)
    far_outer.send(b"outer")
    far_inner.send(b"inner")
    far_inner.close()
    asyncore.poll(5, one)
    assert (outer.got, inner.got) == (b"outer", b"inner")
    outer.close()


def test_nested_loop_may_close_the_outer_channel(peers: Peers) -> None:
    map: dict[int, Any] = {}

    class Outer(Recorder):
        def writable(self) -> bool:
            return True

        def handle_write(self) -> None:
            self.seen.append("write")

        def handle_read(self) -> None:
            super().handle_read()
            asyncore.loop(timeout=5, map=map)

    class Closer(Recorder):
        def handle_read(self) -> None:
            super().handle_read()
            asyncore.close_all(map)

    outer, far_outer = peers.channel(Outer, map)
    _, far = peers.channel(Closer, map)
    far_outer.send(b"x")
    far.send(b"x")
    asyncore.loop(timeout=5, map=map)
    assert map == {}
    assert not outer.connected


def test_counted_loop_called_thousands_of_times_serves(peers: Peers) -> None:
    map: dict[int, Any] = {}
    channel, far = peers.channel(Recorder, map)
    for number in range(3000):
        far.send(bytes([number % 256]))
        asyncore.loop(timeout=0.001, use_poll=bool(number & 1), map=map, count=1)
    assert channel.got == bytes(number % 256 for number in range(3000))
    channel.close()


def test_count_is_the_number_of_rounds(peers: Peers) -> None:
    map: dict[int, Any] = {}
    channel, far = peers.channel(Recorder, map, size=1)
    far.send(b"0123456789")
    asyncore.loop(timeout=1, map=map, count=4)
    assert channel.got == b"0123"
    asyncore.loop(timeout=1, map=map, count=0)
    assert channel.got == b"0123"
    channel.close()


# Ways out


@pytest.mark.parametrize("kind", [asyncore.ExitNow, KeyboardInterrupt, SystemExit])
def test_exit_leaves_the_loop_and_loses_no_event(peers: Peers, kind: type[BaseException]) -> None:
    map: dict[int, Any] = {}

    class Leaver(Recorder):
        left = False

        def handle_read(self) -> None:
            if not any(channel.left for channel in map.values()):
                self.left = True
                raise kind("out")
            super().handle_read()

    channels = [peers.channel(Leaver, map) for _ in range(5)]
    for _, far in channels:
        far.send(b"data")
    with pytest.raises(kind, match="out"):
        asyncore.loop(timeout=5, map=map)
    assert len(map) == 5
    for _ in range(5):
        asyncore.poll(0, map)
    assert [channel.got for channel, _ in channels] == [b"data"] * 5
    asyncore.close_all(map)


def test_error_in_handle_error_leaves_the_loop(peers: Peers) -> None:
    map: dict[int, Any] = {}

    class Fatal(Recorder):
        def handle_read(self) -> None:
            raise ValueError("told")

        def handle_error(self) -> None:
            raise

    _, far = peers.channel(Fatal, map)
    far.send(b"data")
    with pytest.raises(ValueError, match="told"):
        asyncore.loop(timeout=5, map=map)
    asyncore.close_all(map)


def test_negative_timeout_is_refused(peers: Peers) -> None:
    map: dict[int, Any] = {}
    peers.channel(Recorder, map)
    with pytest.raises(ValueError, match="-1"):
        asyncore.poll(-1, map)
    asyncore.close_all(map)
