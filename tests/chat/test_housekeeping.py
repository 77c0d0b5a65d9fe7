# SPDX-License-Identifier: MIT
"""The module's names, the class as a base, and what is left when a channel goes."""

from __future__ import annotations

import gc
import socket
import sys
import weakref
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyncore import Loop
from tests.support.chat import OLD, Lines, asynchat, asyncore, beyond_the_old, feed, poll, receive, receive_all
from tests.support.coverage import not_measured
from tests.support.peers import Peers

ATTRIBUTES = (
    "ac_in_buffer", "ac_in_buffer_size", "ac_out_buffer_size", "incoming", "producer_fifo", "use_encoding", "encoding",
    "addr", "connected", "accepting", "connecting", "closing", "socket", "debug",
)  # fmt: skip
METHODS = (
    "collect_incoming_data", "_collect_incoming_data", "_get_data", "found_terminator", "set_terminator",
    "get_terminator", "push", "push_with_producer", "close_when_done", "initiate_send", "discard_buffers",
    "handle_read", "handle_write", "handle_close", "handle_error", "handle_connect", "readable", "writable", "send",
    "recv", "close", "add_channel", "del_channel", "create_socket", "set_socket", "connect", "bind", "listen", "log",
    "log_info",
)  # fmt: skip

# The module


def test_module_has_the_old_names() -> None:
    for name in ("async_chat", "simple_producer", "find_prefix_at_end", "asyncore"):
        assert hasattr(asynchat, name), name
    assert asynchat.asyncore is asyncore
    assert asynchat.async_chat.__name__ == "async_chat"
    assert asynchat.simple_producer.__name__ == "simple_producer"


def test_class_is_a_dispatcher() -> None:
    assert issubclass(asynchat.async_chat, asyncore.dispatcher)
    assert isinstance(Lines(None, {}), asyncore.dispatcher)
    assert not issubclass(asyncore.dispatcher, asynchat.async_chat)


@pytest.mark.parametrize("name", [*ATTRIBUTES, *METHODS])
def test_channel_has_the_old_names(name: str) -> None:
    channel = Lines(None, {})
    assert hasattr(channel, name)
    assert name in dir(channel)
    assert callable(getattr(channel, name)) == (name in METHODS)


def test_defaults_are_the_old_ones() -> None:
    kind = asynchat.async_chat
    assert (kind.ac_in_buffer_size, kind.ac_out_buffer_size) == (65536, 65536)
    assert (kind.use_encoding, kind.encoding) == (0, "latin-1")
    channel = kind(None, {})
    assert (channel.ac_in_buffer, channel.incoming, len(channel.producer_fifo)) == (b"", [], 0)


def test_repr_names_the_class_and_its_state(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Lines, loop.map)
    assert "Lines" in repr(channel)
    channel.close()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text("ab-", max_size=12), st.text("ab-", min_size=1, max_size=7))
def test_find_prefix_at_end_finds_the_longest(haystack: str, needle: str) -> None:
    for turn in (str, str.encode):
        first, second = turn(haystack), turn(needle)
        while second in first:  # "the rest", as where it is used: an exact match has been looked for
            first = first[first.index(second) + 1 :]
        expected = max(size for size in range(len(second)) if first.endswith(second[:size]))
        assert asynchat.find_prefix_at_end(first, second) == expected


@pytest.mark.parametrize(("haystack", "needle", "size"), [
    (b"qwerty\r", b"\r\n", 1), (b"qwerty", b"\r\n", 0), (b"", b"\r\n", 0), (b"x", b"x", 0),
    (b"a\r\n.", b"\r\n.\r\n", 3), (b"\r\n.\r", b"\r\n.\r\n", 4), ("text\r", "\r\n", 1),
])  # fmt: skip
def test_find_prefix_at_end_of_known_texts(haystack: Any, needle: Any, size: int) -> None:
    assert asynchat.find_prefix_at_end(haystack, needle) == size


# As a base


def test_mixin_before_the_class_wins(loop: Loop, peers: Peers) -> None:
    class Shouting:
        def push(self, data: bytes) -> None:
            super().push(data.upper())  # type: ignore[misc]

        def found_terminator(self) -> None:
            self.push(b"found")

    class Mixed(Shouting, Lines):
        pass

    channel, far = peers.channel(Mixed, loop.map)
    feed(loop, far, b"a\n")
    assert receive(loop, far, 5) == b"FOUND"
    channel.close()


def test_mixin_after_the_class_fills_what_is_missing(loop: Loop, peers: Peers) -> None:
    class Extra:
        extra = 5

        def found_terminator(self) -> None:
            raise AssertionError("the channel's own comes first")

        def more(self) -> int:
            return self.extra

    class Mixed(Lines, Extra):
        pass

    channel, far = peers.channel(Mixed, loop.map)
    feed(loop, far, b"a\n")
    assert (channel.lines, channel.more()) == ([b"a"], 5)
    channel.close()


def test_mixin_with_an_init_of_its_own(loop: Loop, peers: Peers) -> None:
    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

    class Mixed(asynchat.async_chat, Named):
        def __init__(self, sock: Any, map: Any) -> None:
            Named.__init__(self, "channel")
            asynchat.async_chat.__init__(self, sock, map=map)
            self.set_terminator(b"\n")
            self.collect_incoming_data = self._collect_incoming_data

        def found_terminator(self) -> None:
            self.push(self.name.encode() + self._get_data())

    channel, far = peers.channel(Mixed, loop.map)
    feed(loop, far, b"!\n")
    assert receive(loop, far, 8) == b"channel!"
    channel.close()


def test_subclass_with_slots(loop: Loop, peers: Peers) -> None:
    class Slotted(Lines):
        __slots__ = ("other",)

    channel, far = peers.channel(Slotted, loop.map)
    channel.other = 5
    channel.anything = 6
    feed(loop, far, b"a\n")
    assert (channel.lines, channel.other, channel.anything) == ([b"a"], 5, 6)
    channel.close()


def test_properties_may_stand_for_the_settings(loop: Loop, peers: Peers) -> None:
    class Computed(Lines):
        @property
        def ac_in_buffer_size(self) -> int:
            return 2

        @property
        def terminator(self) -> bytes:
            return b"|"

        @terminator.setter
        def terminator(self, value: Any) -> None:
            pass

    channel, far = peers.channel(Computed, loop.map)
    for _ in range(3):
        feed(loop, far, b"ab")
    far.sendall(b"|cd|")
    for _ in range(3):
        poll(loop)
    assert channel.calls == [b"ab", b"ab", b"ab", "end", b"c", b"d", "end"]
    channel.close()


def test_dispatcher_s_init_alone_makes_a_channel_that_sends_nothing(loop: Loop, peers: Peers) -> None:
    """A subclass that forgot async_chat.__init__ gets an exception, as ever, and no crash."""

    class Forgetful(asynchat.async_chat):
        def __init__(self, sock: Any, map: Any) -> None:
            asyncore.dispatcher.__init__(self, sock, map)

        def handle_error(self) -> None:
            errors.append(sys.exc_info()[0])

        def collect_incoming_data(self, data: bytes) -> None:
            pass

    errors: list[Any] = []
    channel, far = peers.channel(Forgetful, loop.map)
    try:
        channel.push(b"data")
    except AttributeError:
        pass
    channel.set_terminator(None)
    far.sendall(b"x")
    try:
        poll(loop)
    except AttributeError:  # out of the old module's writable()
        pass
    assert errors in ([], [AttributeError])
    channel.close()


def test_without_any_init_there_is_no_crash() -> None:
    class Bare(asynchat.async_chat):
        def __init__(self) -> None:
            pass

    channel = Bare()
    for name, args in (
        ("push", (b"data",)), ("handle_read", ()), ("handle_write", ()), ("close_when_done", ()), ("_get_data", ()),
        ("initiate_send", ()), ("discard_buffers", ()), ("writable", ()), ("get_terminator", ()),
    ):  # fmt: skip
        try:
            getattr(channel, name)(*args)
        except (AttributeError, TypeError, OSError):
            pass


def test_channel_initialised_again_starts_anew(loop: Loop, peers: Peers) -> None:
    """As clients do that connect again."""
    channel = Lines(None, loop.map)
    channel.push(b"lost")
    channel.ac_in_buffer = b"lost"
    channel.incoming.append(b"lost")
    near, far = peers.pair()
    channel.__init__(near, loop.map)
    assert (channel.ac_in_buffer, channel.incoming, len(channel.producer_fifo)) == (b"", [], 0)
    channel.push(b"data")
    feed(loop, far, b"a\n")
    assert (receive(loop, far, 4), channel.lines) == (b"data", [b"a"])
    channel.close()


def test_closed_channel_may_be_given_another_socket(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    feed(loop, far, b"par")
    channel.close()
    near, second = peers.pair()
    channel.set_socket(near, loop.map)
    channel.connected = True
    feed(loop, second, b"tial\n")
    channel.push(b"data")
    assert (channel.lines, receive(loop, second, 4)) == ([b"partial"], b"data")
    channel.close()


# What is left


class Big:
    """A producer that can be watched."""

    def __init__(self, channel: Any = None) -> None:
        self.channel = channel

    def more(self) -> bytes:
        return b""


def test_closed_channel_is_collected(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    feed(loop, far, b"line\nrest")
    channel.push(b"data")
    channel.close()
    gone = weakref.ref(channel)
    del channel
    gc.collect()
    assert gone() is None


def test_producer_in_a_cycle_with_its_channel_is_collected(loop: Loop) -> None:
    channel = Lines(None, loop.map)
    producer = Big(channel)
    channel.push_with_producer(producer)
    channel.producer_fifo.append(channel.push)
    channel.incoming.append(channel)
    channel.set_terminator(b"\n")
    channel.on_end = channel.found_terminator
    gone = weakref.ref(channel), weakref.ref(producer)
    del channel, producer
    gc.collect()
    assert [one() for one in gone] == [None, None]


def test_queue_that_outlives_its_channel_is_harmless(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Lines, loop.map)
    queue = channel.producer_fifo
    channel.close()
    gone = weakref.ref(channel)
    del channel
    gc.collect()
    assert gone() is None
    queue.append(b"late")
    queue.appendleft(b"later")
    assert list(queue) == [b"later", b"late"]
    queue.clear()


def test_queue_in_a_cycle_with_itself_is_collected() -> None:
    channel = Lines(None, {})
    queue = channel.producer_fifo
    holder = Big(queue)
    queue.append(holder)
    gone = weakref.ref(holder)
    del channel, queue, holder
    gc.collect()
    assert gone() is None


def test_sent_data_and_ended_producers_are_let_go(loop: Loop, peers: Peers) -> None:
    class Data(bytearray):
        pass

    channel, far = peers.channel(Lines, loop.map)
    data, producer = Data(b"data"), Big()
    gone = weakref.ref(data), weakref.ref(producer)
    channel.push(data)
    channel.push_with_producer(producer)
    channel.push(b".")
    assert receive(loop, far, 5) == b"data."
    del data, producer
    gc.collect()
    assert [one() for one in gone] == [None, None]
    channel.close()


@not_measured("what it collects is memory that stays")
@pytest.mark.parametrize("size", [10, 3000])
def test_memory_stays_the_same_over_many_lines(loop: Loop, peers: Peers, size: int) -> None:
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy does not trace allocations", exc_type=ImportError)

    class Echo(asynchat.async_chat):
        lines = 0

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.set_terminator(b"\n")

        def collect_incoming_data(self, data: bytes) -> None:
            self._collect_incoming_data(data)

        def found_terminator(self) -> None:
            self.lines += 1
            self.push(self._get_data())
            self.push(b"\n")

    channel, far = peers.channel(Echo, loop.map)
    many = 20_000 // size
    text = (b"x" * (size - 1) + b"\n") * many

    def rounds(count: int) -> None:
        for _ in range(count):
            far.setblocking(True)
            far.sendall(text)
            assert len(receive(loop, far, len(text))) == len(text)

    rounds(3)
    tracemalloc.start()
    try:
        rounds(1)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        rounds(5 if OLD else 15)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000
    assert channel.lines >= many * 9
    assert (channel.ac_in_buffer, channel.incoming, len(channel.producer_fifo)) == (b"", [], 0)
    channel.close()


@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="PyPy counts no references")
def test_references_are_even_after_a_hundred_thousand_lines(loop: Loop, peers: Peers) -> None:
    class Counting(asynchat.async_chat):
        ends = 0

        def collect_incoming_data(self, data: bytes) -> None:
            pass

        def found_terminator(self) -> None:
            self.ends += 1

    channel, far = peers.channel(Counting, loop.map)
    terminator, unique = b"\r\n--\r\n", object()
    channel.set_terminator(terminator)
    watched = (terminator, channel, unique, None, Counting)
    channel.unique = unique
    text = b"line\r\n--\r\n" * 5000
    feed(loop, far, text)
    before = [sys.getrefcount(one) for one in watched]
    for _ in range(20):
        feed(loop, far, text)
    after = [sys.getrefcount(one) for one in watched]
    assert channel.ends == 105_000
    assert all(abs(late - early) < 50 for early, late in zip(before, after, strict=True))
    channel.close()


def test_many_channels_come_and_go(loop: Loop, peers: Peers) -> None:

    kept: list[Any] = []
    for _ in range(300):
        near, far = socket.socketpair()
        channel = Lines(near, loop.map)
        kept.append(weakref.ref(channel))
        channel.push(b"hello")
        far.sendall(b"quit\n")
        channel.on_end = channel.close_when_done
        assert receive_all(loop, far) == b"hello"
        far.close()
        del channel
    gc.collect()
    assert not [ref for ref in kept if ref() is not None]


@beyond_the_old
def test_queue_is_let_go_of_with_its_channel_in_any_order(loop: Loop) -> None:
    for first in ("channel", "queue"):
        channel = Lines(None, loop.map)
        queue = channel.producer_fifo
        queue.append(b"data")
        if first == "channel":
            del channel
            queue.append(b"more")
            del queue
        else:
            del queue
            channel.producer_fifo = deque()
            channel.push(b"data")
            del channel
    gc.collect()


def test_a_class_changed_in_a_callback_counts_for_the_next_line(loop: Loop, peers: Peers) -> None:
    class Changing(Lines):
        def on_end(self) -> None:
            Changing.collect_incoming_data = collect  # type: ignore[method-assign]

    def collect(channel: Any, data: bytes) -> None:
        channel.calls.append(data.upper())

    channel, far = peers.channel(Changing, loop.map)
    feed(loop, far, b"one\ntwo\n")
    assert channel.calls == [b"one", "end", b"TWO", "end"]
    channel.close()


def test_a_class_made_of_anothers_dict_calls_its_own_methods(loop: Loop, peers: Peers) -> None:
    """As attrs, dataclass(slots=True) and six.add_metaclass make them."""

    class First(asynchat.async_chat):  # type: ignore[misc, name-defined]
        def collect_incoming_data(self, data: bytes) -> None:
            pass

        def found_terminator(self) -> None:
            found.append("first")

    def serve(kind: Any) -> None:
        channel, far = peers.channel(kind, loop.map)
        channel.set_terminator(b"\n")
        feed(loop, far, b"x\n")
        channel.close()

    found: list[str] = []
    serve(First)
    names = {name: value for name, value in vars(First).items() if name not in ("__dict__", "__weakref__")}
    names["found_terminator"] = lambda channel: found.append("second")
    serve(type("Second", First.__bases__, names))
    assert found == ["first", "second"]
