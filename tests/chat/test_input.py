# SPDX-License-Identifier: MIT
"""What callbacks do to the input beside setting a terminator: they read its buffer, edit it, raise and close."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from cyncore import Loop
from tests.support.chat import Lines, asynchat, beyond_the_old, feed, poll, poll_until
from tests.support.peers import Peers

# The buffer


def test_buffer_holds_the_rest_when_a_terminator_is_found(loop: Loop, peers: Peers) -> None:
    rests: list[bytes] = []

    class Peeking(Lines):
        def on_end(self) -> None:
            rests.append(self.ac_in_buffer)

    channel, far = peers.channel(Peeking, loop.map, terminator=b"\r\n")
    feed(loop, far, b"a\r\nbc\r\n\r\nd\r", b"\ne")
    assert rests == [b"bc\r\n\r\nd\r", b"\r\nd\r", b"d\r", b"e"]
    assert (channel.ac_in_buffer, {type(rest) for rest in rests}) == (b"", {bytes})
    channel.close()


def test_buffer_holds_the_rest_after_a_number(loop: Loop, peers: Peers) -> None:
    rests: list[bytes] = []

    class Peeking(Lines):
        def on_end(self) -> None:
            rests.append(self.ac_in_buffer)

    channel, far = peers.channel(Peeking, loop.map, terminator=3)
    feed(loop, far, b"abcdef")
    assert rests == [b"def"]
    channel.close()


def test_handler_may_take_the_rest_of_the_input_over(loop: Loop, peers: Peers) -> None:
    class Upgrading(Lines):
        rest = b""

        def on_end(self) -> None:
            self.rest, self.ac_in_buffer = self.ac_in_buffer, b""

    channel, far = peers.channel(Upgrading, loop.map)
    feed(loop, far, b"upgrade\nraw\nbytes\n")
    assert (channel.calls, channel.rest) == ([b"upgrade", "end"], b"raw\nbytes\n")
    channel.close()


def test_handler_may_put_input_before_the_rest(loop: Loop, peers: Peers) -> None:
    class Expanding(Lines):
        def on_end(self) -> None:
            if self.lines[-1] == b"macro":
                self.ac_in_buffer = b"one\ntwo\n" + self.ac_in_buffer

    channel, far = peers.channel(Expanding, loop.map)
    feed(loop, far, b"macro\nthree\n")
    assert channel.lines == [b"macro", b"one", b"two", b"three"]
    channel.close()


def test_buffer_set_between_reads_comes_before_the_next_data(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.ac_in_buffer = b"he"
    assert channel.calls == []
    feed(loop, far, b"ad\n")
    assert channel.lines == [b"head"]
    channel.close()


def test_part_of_a_terminator_may_be_taken_out_of_the_buffer(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=b"\r\n")
    feed(loop, far, b"a\r")
    assert channel.ac_in_buffer == b"\r"
    channel.ac_in_buffer = b""
    feed(loop, far, b"\nb\r\n")
    assert channel.lines == [b"a\nb"]
    channel.close()


@pytest.mark.parametrize("edit", [bytearray(b"x\n"), b"x\n"])
def test_buffer_may_be_assigned_anything_bytes_like(loop: Loop, peers: Peers, edit: Any) -> None:
    class Editing(Lines):
        def on_end(self) -> None:
            if len(self.lines) == 1:
                self.ac_in_buffer = edit

    channel, far = peers.channel(Editing, loop.map)
    feed(loop, far, b"a\nlost\n")
    assert [bytes(call) for call in channel.calls if call != "end"] == [b"a", b"x"]
    assert channel.calls[-1] == "end"
    channel.close()


def test_discard_buffers_at_a_terminator_drops_the_rest(loop: Loop, peers: Peers) -> None:
    class Discarding(Lines):
        def on_end(self) -> None:
            self.discard_buffers()

    channel, far = peers.channel(Discarding, loop.map)
    feed(loop, far, b"a\nlost\nlo", b"b\n")
    assert channel.calls == [b"a", "end", b"b", "end"]
    channel.close()


def test_discard_buffers_while_collecting_drops_the_rest(loop: Loop, peers: Peers) -> None:
    class Discarding(Lines):
        def on_data(self, data: bytes) -> None:
            self.discard_buffers()

    channel, far = peers.channel(Discarding, loop.map)
    feed(loop, far, b"a\nlost\nlost", b"b")
    assert channel.calls == [b"a", "end", b"b"]
    channel.close()


def test_default_collection_is_joined_and_emptied(loop: Loop, peers: Peers) -> None:
    class Default(asynchat.async_chat):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.set_terminator(b"\n")
            self.lines: list[bytes] = []

        collect_incoming_data = asynchat.async_chat._collect_incoming_data

        def found_terminator(self) -> None:
            self.lines.append(self._get_data())
            assert self.incoming == []

    channel, far = peers.channel(Default, loop.map)
    feed(loop, far, b"on", b"e\ntwo\nth")
    assert channel.lines == [b"one", b"two"]
    assert channel.incoming == [b"th"]
    channel.incoming.append(b"!")
    assert channel._get_data() == b"th!"
    assert channel._get_data() == b""
    channel.close()


def test_incoming_may_be_another_list(loop: Loop, peers: Peers) -> None:
    channel = Lines(None, {})
    channel.incoming = [b"a", b"b"]
    channel._collect_incoming_data(b"c")
    assert channel._get_data() == b"abc"
    channel.discard_buffers()
    assert channel.incoming == []


@pytest.mark.parametrize("name", ["collect_incoming_data", "found_terminator"])
def test_callback_that_nobody_wrote_is_an_error(name: str) -> None:
    channel = asynchat.async_chat(None, {})
    with pytest.raises(NotImplementedError):
        getattr(channel, name)(*([b"data"] if name.startswith("collect") else []))


# Exceptions and ends


def test_exception_at_a_terminator_leaves_the_rest_for_the_next_data(loop: Loop, peers: Peers) -> None:
    class Failing(Lines):
        def on_end(self) -> None:
            if self.lines[-1] == b"bad":
                raise ValueError("bad line")

    channel, far = peers.channel(Failing, loop.map)
    feed(loop, far, b"a\nbad\nb\nc")
    assert channel.calls == [b"a", "end", b"bad", "end", "error ValueError('bad line')"]
    assert channel.ac_in_buffer == b"b\nc"
    feed(loop, far, b"d\n")
    assert channel.lines == [b"a", b"bad", b"b", b"cd"]
    channel.close()


def test_exception_while_collecting_leaves_the_data_for_the_next_time(loop: Loop, peers: Peers) -> None:
    class Failing(Lines):
        failed = False

        def on_data(self, data: bytes) -> None:
            if data == b"bad" and not self.failed:
                self.failed = True
                raise ValueError("bad data")

    channel, far = peers.channel(Failing, loop.map)
    feed(loop, far, b"a\nbad\nb")
    assert channel.calls == [b"a", "end", b"bad", "error ValueError('bad data')"]
    assert channel.ac_in_buffer == b"bad\nb"
    feed(loop, far, b"c\n")
    assert channel.calls[4:] == [b"bad", "end", b"bc", "end"]
    channel.close()


def test_exit_leaves_the_loop_and_the_rest_is_kept(loop: Loop, peers: Peers) -> None:
    class Leaving(Lines):
        def on_end(self) -> None:
            if self.lines[-1] == b"quit":
                raise KeyboardInterrupt

    channel, far = peers.channel(Leaving, loop.map)
    far.sendall(b"quit\nrest")
    with pytest.raises(KeyboardInterrupt):
        poll(loop)
    feed(loop, far, b"\n")
    assert channel.calls == [b"quit", "end", b"rest", "end"]
    channel.close()


def test_default_handle_error_closes(loop: Loop, peers: Peers, capsys: pytest.CaptureFixture[str]) -> None:
    class Failing(Lines):
        handle_error = asynchat.async_chat.handle_error

        def on_end(self) -> None:
            raise ValueError("bad line")

    _, far = peers.channel(Failing, loop.map)
    feed(loop, far, b"a\nb\n")
    assert loop.map == {}
    assert "ValueError'>:bad line" in capsys.readouterr().out
    assert far.recv(10) == b""


@beyond_the_old
@pytest.mark.parametrize("terminator", [b"\n", 2])
def test_closed_at_a_terminator_it_is_told_nothing_more(loop: Loop, peers: Peers, terminator: Any) -> None:
    class Closing(Lines):
        def on_end(self) -> None:
            self.close()

    channel, far = peers.channel(Closing, loop.map, terminator=terminator)
    feed(loop, far, b"ab\ncd\n")
    assert channel.calls == [b"ab", "end"]


@beyond_the_old
def test_closed_while_collecting_it_is_told_nothing_more(loop: Loop, peers: Peers) -> None:
    class Closing(Lines):
        def on_data(self, data: bytes) -> None:
            self.close()

    channel, far = peers.channel(Closing, loop.map)
    feed(loop, far, b"ab\ncd\n")
    assert channel.calls == [b"ab"]


@beyond_the_old
def test_rest_of_a_failed_callback_is_not_served_after_the_end(loop: Loop, peers: Peers) -> None:
    class Failing(Lines):
        def on_end(self) -> None:
            raise ValueError("bad line")

    channel, far = peers.channel(Failing, loop.map)
    feed(loop, far, b"a\nb\n")
    far.close()
    poll_until(loop, lambda: not loop.map)
    assert channel.calls == [b"a", "end", "error ValueError('bad line')", "close"]


def test_line_without_its_end_is_not_ended_by_the_end_of_the_stream(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=b"\r\n")
    far.sendall(b"a\r\nb\r")
    far.close()
    poll_until(loop, lambda: not loop.map)
    assert channel.calls == [b"a", "end", b"b", "close"]
    assert channel.ac_in_buffer == b"\r"


def test_lines_before_a_hang_up_are_served(loop: Loop, peers: Peers) -> None:
    class Small(Lines):
        ac_in_buffer_size = 7

    channel, far = peers.channel(Small, loop.map)
    far.sendall(b"line\n" * 100)
    far.shutdown(socket.SHUT_WR)
    poll_until(loop, lambda: not loop.map)
    assert channel.lines == [b"line"] * 100
    assert channel.calls.count("close") == 1


def test_loop_within_a_callback_in_which_the_channel_reads_hands_the_part_on_again(loop: Loop, peers: Peers) -> None:
    """As in the old module; who pauses reading around it is not told anything meanwhile."""

    class Nesting(Lines):
        def on_data(self, data: bytes) -> None:
            if data == b"one":
                far.sendall(b"two\n")
                poll(loop)

    channel, far = peers.channel(Nesting, loop.map)
    far.sendall(b"one\n")
    for _ in range(3):
        poll(loop)
    assert channel.calls.count(b"one") > 1
    channel.close()


@beyond_the_old
def test_pause_around_a_loop_within_a_callback_keeps_the_channel_from_reading(loop: Loop, peers: Peers) -> None:
    class Waiting(Lines):
        def on_data(self, data: bytes) -> None:
            if data == b"one":
                far.sendall(b"two\n")
                self.pause_reading()
                poll(loop)
                self.resume_reading()

    channel, far = peers.channel(Waiting, loop.map)
    far.sendall(b"one\n")
    poll_until(loop, lambda: len(channel.lines) == 2)
    assert channel.calls == [b"one", "end", b"two", "end"]
    channel.close()


# Callbacks that are no methods of the class


def test_callbacks_that_getattribute_answers_with_are_called(loop: Loop, peers: Peers) -> None:
    calls: list[Any] = []

    class Computed(asynchat.async_chat):  # type: ignore[misc, name-defined]
        def __getattribute__(self, name: str) -> Any:
            if name == "collect_incoming_data":
                return calls.append
            if name == "found_terminator":
                return lambda: calls.append(name)
            return super().__getattribute__(name)

    channel, far = peers.channel(Computed, loop.map)
    channel.set_terminator(b"\n")
    feed(loop, far, b"one\ntwo", b"\n")
    assert calls == [b"one", "found_terminator", b"two", "found_terminator"]
    channel.close()


def test_every_step_of_a_chat_is_looked_up_through_getattribute(loop: Loop, peers: Peers) -> None:
    looked_up: set[str] = set()

    class Traced(Lines):
        def __getattribute__(self, name: str) -> Any:
            looked_up.add(name)
            return super().__getattribute__(name)

        def on_end(self) -> None:
            self.push(b"answer")

    channel, far = peers.channel(Traced, loop.map)
    looked_up.clear()
    feed(loop, far, b"line\n")
    poll_until(loop, lambda: not channel.producer_fifo)
    assert far.recv(100) == b"answer"
    steps = {
        "handle_read",
        "recv",
        "get_terminator",
        "collect_incoming_data",
        "found_terminator",
        "initiate_send",
        "send",
    }
    assert steps <= looked_up
    channel.close()
