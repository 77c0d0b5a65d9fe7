# SPDX-License-Identifier: MIT
"""What a channel wants: which predicates are asked, when, and what their answers count for."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

import cyncore.asyncore as asyncore
from cyncore import Loop, dispatcher, dispatcher_with_send
from tests.support.peers import Peers, Recorder, poll_until


class Writer(Recorder):
    """Handles write events, and says nothing of when it wants them."""

    def handle_write(self) -> None:
        self.seen.append("write")


class Asked(Recorder):
    """Counts how often it is asked."""

    asked = 0
    wants = True

    def readable(self) -> bool:
        self.asked += 1
        return self.wants


class Buffered(Recorder):
    """Sends what others put into its buffer: the old way, by a predicate over state that the loop does not see."""

    buffer = b""

    def writable(self) -> bool:
        return bool(self.buffer)

    def handle_write(self) -> None:
        self.buffer = self.buffer[self.send(self.buffer) :]


class Foreign:
    """Nothing of ours: what the loop needs, and no more."""

    accepting = False

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.wants_read = True
        self.wants_write = False
        self.seen: list[str] = []

    def readable(self) -> bool:
        return self.wants_read

    def writable(self) -> bool:
        return self.wants_write

    def handle_read_event(self) -> None:
        self.seen.append("read")
        self.socket.recv(100)

    def handle_write_event(self) -> None:
        self.seen.append("write")

    def handle_expt_event(self) -> None:
        self.seen.append("expt")

    def handle_close(self) -> None:
        self.seen.append("close")

    def handle_error(self) -> None:
        raise


# Classes that define no predicate


def test_a_class_without_a_write_handler_gets_no_write_events(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    assert loop.poll() == 0


def test_a_class_with_a_write_handler_gets_write_events_while_there_is_room(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Writer, loop.map)
    assert [loop.poll() for _ in range(3)] == [1, 1, 1]
    assert channel.seen == ["write"] * 3


def test_a_write_handler_put_on_the_channel_counts(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Recorder, loop.map)
    loop.poll()
    channel.handle_write = lambda: channel.seen.append("own write")
    loop.poll()
    assert channel.seen == ["own write"]


def test_a_buffered_class_gets_write_events_while_output_waits(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(dispatcher_with_send, loop.map)
    assert loop.poll() == 0
    size = 0
    while not channel.out_buffer:
        channel.send(b"x" * 65536)
        size += 65536
    peer.setblocking(False)
    got = 0
    for _ in range(10_000):
        try:
            got += len(peer.recv(65536))
        except BlockingIOError:
            pass
        loop.poll()
        if got == size:
            break
    assert got == size
    assert loop.poll() == 0


def test_a_connecting_channel_hears_that_it_is_connected(loop: Loop, peers: Peers) -> None:
    class Client(dispatcher):
        told = 0

        def handle_connect(self) -> None:
            self.told += 1

    listener = socket.create_server(("127.0.0.1", 0))
    peers.keep(listener)
    client = Client(None, loop.map)
    client.create_socket()
    client.connect(listener.getsockname())
    poll_until(loop, lambda: client.told)
    assert client.connected
    assert loop.poll() == 0  # no write events any more
    client.close()


def test_a_listener_is_never_writable(loop: Loop) -> None:
    class Listener(Writer):
        def writable(self) -> bool:
            return True

    listener = Listener(None, loop.map)
    listener.create_socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    assert loop.poll() == 0
    listener.close()


# Classes that define a predicate


def test_a_predicate_that_says_no_holds_events_back(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Asked, loop.map)
    channel.wants = False
    peer.send(b"x")
    assert loop.poll() == 0
    channel.wants = True
    assert loop.poll(5) == 1


def test_writable_counts_only_where_someone_handles_writing(loop: Loop, peers: Peers) -> None:
    class Eager(Recorder):
        def writable(self) -> bool:
            return True

    peers.channel(Eager, loop.map)
    assert loop.poll() == 0


def test_a_predicate_put_on_the_channel_counts(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, loop.map)
    channel.readable = lambda: False
    peer.send(b"x")
    assert loop.poll() == 0
    del channel.readable
    assert loop.poll(5) == 1


def test_every_public_poll_asks_everyone(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Asked, loop.map)
    loop.poll()
    for call in (loop.poll, lambda: asyncore.poll(0, loop.map), lambda: asyncore.loop(0, map=loop.map, count=1)):
        before = channel.asked
        call()
        assert channel.asked > before


def test_a_channels_own_event_asks_it_again(loop: Loop, peers: Peers) -> None:
    class Once(Asked):
        def handle_read(self) -> None:
            Asked.handle_read(self)
            self.wants = False
            loop.call_soon(loop.stop)

    channel, peer = peers.channel(Once, loop.map, size=1)
    peer.send(b"xy")
    loop.run()
    assert channel.got == b"x"


def test_a_predicate_over_anothers_doing_is_asked_before_the_loop_waits(loop: Loop, peers: Peers) -> None:
    buffered, far = peers.channel(Buffered, loop.map)

    class Source(Recorder):
        def handle_read(self) -> None:
            buffered.buffer += self.recv(100)

    class Sink(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            loop.stop()

    _, peer = peers.channel(Source, loop.map)
    sink = Sink(far, loop.map)
    peer.send(b"x")
    loop.run()  # would wait without end if nobody asked
    assert sink.got == b"x"


def test_a_predicate_over_a_callbacks_doing_is_asked_before_the_loop_waits(loop: Loop, peers: Peers) -> None:
    buffered, far = peers.channel(Buffered, loop.map)

    class Sink(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            loop.stop()

    sink = Sink(far, loop.map)
    loop.call_later(0.01, setattr, buffered, "buffer", b"x")
    loop.run()
    assert sink.got == b"x"


def test_a_wake_up_asks_everyone(loop: Loop, peers: Peers) -> None:
    buffered, far = peers.channel(Buffered, loop.map)
    entered = threading.Event()

    class Sink(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            loop.stop()

    def fill() -> None:
        entered.wait()
        buffered.buffer = b"x"
        loop.wake()

    sink = Sink(far, loop.map)
    loop.call_soon(entered.set)
    helper = threading.Thread(target=fill)
    helper.start()
    loop.run()
    helper.join()
    assert sink.got == b"x"


def test_events_of_one_channel_do_not_keep_another_from_being_asked(loop: Loop, peers: Peers) -> None:
    """Sweeps are rationed while events keep coming, not left out."""
    buffered, far = peers.channel(Buffered, loop.map)

    class Busy(Writer):
        def handle_write(self) -> None:
            buffered.buffer = buffered.buffer or b"x"

    class Sink(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            loop.stop()

    peers.channel(Busy, loop.map)
    sink = Sink(far, loop.map)
    loop.run()
    assert sink.got.startswith(b"x")


# pause_reading()


@pytest.mark.parametrize("kind", [Recorder, Asked])
def test_a_paused_channel_gets_no_read_events(loop: Loop, peers: Peers, kind: Any) -> None:
    channel, peer = peers.channel(kind, loop.map)
    peer.send(b"x")
    channel.pause_reading()
    channel.pause_reading()
    assert loop.poll() == 0
    channel.resume_reading()
    assert loop.poll(5) == 1
    assert channel.got == b"x"


def test_a_channel_paused_by_another_of_the_batch_gets_no_event(loop: Loop, peers: Peers) -> None:
    class Pauser(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            for channel, _ in made:
                if channel is not self:
                    channel.pause_reading()

    made = [peers.channel(Pauser, loop.map) for _ in range(2)]
    for _, peer in made:
        peer.send(b"x")
    assert loop.poll(5) == 1
    assert sorted(channel.got for channel, _ in made) == [b"", b"x"]


# Foreign objects and foreign maps


def test_a_foreign_object_gets_the_events_it_wants(loop: Loop, peers: Peers) -> None:
    ours, theirs = peers.pair()
    thing = Foreign(ours)
    loop.map[ours.fileno()] = thing
    theirs.send(b"x")
    assert loop.poll(5) == 1
    thing.wants_write = True
    assert loop.poll(5) == 1
    thing.wants_write = False
    thing.wants_read = False
    theirs.send(b"x")
    assert loop.poll() == 0
    assert thing.seen == ["read", "write"]


def test_a_foreign_object_taken_out_by_hand_gets_no_more_events(loop: Loop, peers: Peers) -> None:
    ours, theirs = peers.pair()
    loop.map[ours.fileno()] = thing = Foreign(ours)
    loop.poll()
    del loop.map[ours.fileno()]
    theirs.send(b"x")
    assert loop.poll() == 0
    assert thing.seen == []


def test_a_channel_put_in_by_hand_gets_events(loop: Loop, peers: Peers) -> None:
    channel, peer = peers.channel(Recorder, {})
    channel.del_channel()
    loop.map[channel.socket.fileno()] = channel
    peer.send(b"x")
    assert loop.poll(5) == 1
    assert channel.got == b"x"


def test_an_entry_exchanged_by_hand_gets_the_events(loop: Loop, peers: Peers) -> None:
    ours, theirs = peers.pair()
    loop.map[ours.fileno()] = first = Foreign(ours)
    loop.poll()
    loop.map[ours.fileno()] = second = Foreign(ours)
    theirs.send(b"x")
    assert loop.poll(5) == 1
    assert (first.seen, second.seen) == ([], ["read"])


class Mapping:
    """The least that a map must be."""

    def __init__(self) -> None:
        self.entries: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def __setitem__(self, key: int, value: Any) -> None:
        self.entries[key] = value

    def __getitem__(self, key: int) -> Any:
        return self.entries[key]

    def __delitem__(self, key: int) -> None:
        del self.entries[key]

    def get(self, key: int, default: Any = None) -> Any:
        return self.entries.get(key, default)

    def items(self) -> list[tuple[int, Any]]:
        return list(self.entries.items())


def test_any_mapping_will_do(peers: Peers) -> None:
    mine = Mapping()
    with Loop(mine) as loop:
        channel, peer = peers.channel(Recorder, mine)
        peer.send(b"x")
        assert loop.poll(5) == 1
        mine[channel.socket.fileno()] = thing = Foreign(channel.socket)
        peer.send(b"y")
        assert loop.poll(5) == 1
        del mine[channel.socket.fileno()]
        peer.send(b"z")
        assert loop.poll() == 0
        assert (channel.got, thing.seen) == (b"x", ["read"])


def test_a_key_that_is_no_descriptor_costs_its_object_only(loop: Loop, peers: Peers) -> None:
    bad, _ = peers.channel(Recorder, {})
    bad.del_channel()
    good, peer = peers.channel(Recorder, loop.map)
    loop.map[-1] = bad
    peer.send(b"x")
    loop.poll(5)
    assert good.got == b"x"
    assert -1 not in loop.map
    assert [word.split()[0] for word in bad.seen] == ["error"]


class Meddler(Asked):
    """Does something to another channel while it is asked itself, once."""

    meddle: Any = None

    def readable(self) -> bool:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()
        return True


def test_what_a_predicate_leaves_to_be_sent_by_a_channel_asked_before_leaves_in_this_tick(
    loop: Loop, peers: Peers
) -> None:
    buffered, far = peers.channel(dispatcher_with_send, loop.map)
    meddler, _ = peers.channel(Meddler, loop.map)
    left = []

    def send_more_than_fits() -> None:
        buffered.send(b"x" * 4_000_000)
        left.append(len(buffered.out_buffer))
        far.setblocking(False)
        while True:
            try:
                far.recv(1 << 20)
            except BlockingIOError:
                break

    loop.poll(0)
    meddler.meddle = send_more_than_fits
    assert loop.poll(1) == 1
    assert 0 < len(buffered.out_buffer) < left[0]


def test_channel_that_a_predicate_of_another_resumes_has_its_event_in_this_tick(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Recorder, loop.map)
    meddler, _ = peers.channel(Meddler, loop.map)
    channel.pause_reading()
    loop.poll(0)
    far.send(b"x")
    meddler.meddle = channel.resume_reading
    assert loop.poll(1) == 1


def test_channel_that_a_predicate_of_another_closes_is_not_asked_any_more(loop: Loop, peers: Peers) -> None:
    meddler, _ = peers.channel(Meddler, loop.map)
    victim, _ = peers.channel(Asked, loop.map)
    loop.poll(0)
    asked = victim.asked
    meddler.meddle = victim.close
    loop.poll(0)
    assert victim.asked == asked


@pytest.mark.parametrize("where", ["class", "instance"])
def test_handler_of_urgent_data_that_comes_late_is_called(where: str, loop: Loop) -> None:
    class Late(Asked):
        pass

    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as far:
        channel = Late(server.accept()[0], loop.map)
        loop.poll(0)
        loop.poll(0)
        urgent: list[bytes] = []
        holder: Any = Late if where == "class" else channel
        holder.handle_expt = lambda *_: urgent.append(channel.socket.recv(1, socket.MSG_OOB))
        far.send(b"!", socket.MSG_OOB)
        poll_until(loop, lambda: urgent)
        assert urgent == [b"!"]
        channel.close()


@pytest.mark.parametrize("where", ["class", "instance"])
def test_predicate_that_comes_late_is_asked(where: str, loop: Loop, peers: Peers) -> None:
    class Late(Recorder):
        pass

    channel, far = peers.channel(Late, loop.map)
    loop.poll(0)
    loop.poll(0)
    holder: Any = Late if where == "class" else channel
    holder.readable = lambda *_: False
    far.send(b"x")
    assert loop.poll(0) == 0
    del holder.readable
    assert loop.poll(5) == 1
