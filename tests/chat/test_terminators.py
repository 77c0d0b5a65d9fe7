# SPDX-License-Identifier: MIT
"""Terminators: every kind, changed at any time, split anywhere."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from cyncore import Loop
from tests.support.chat import Lines, asynchat, beyond_the_old, feed
from tests.support.peers import Peers

TERMINATORS = [
    b"\n", b"\0", b"\r\n", b"aa", b"--", b"\r\r\n", b"aab", b"aba", b"aaa", b"\r\n.\r\n", b"--x--", b"abcabcd",
    b"aaaaaab",
]  # fmt: skip


def traps(terminator: bytes) -> bytes:
    """Lines full of what almost is the terminator, each with its end."""
    first, last = terminator[:1], terminator[-1:]
    bodies = [b"", b"ab", first, terminator[:-1], last + terminator[:-1], terminator[1:], terminator[:-1] * 2]
    text = terminator.join([*bodies, b""])
    return text.removesuffix(text.split(terminator)[-1])


def ends(calls: list[Any]) -> list[Any]:
    """The calls, with neighbouring data joined: where a stream is cut is not what a test is about."""
    joined: list[Any] = []
    for call in calls:
        if isinstance(call, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += call
        else:
            joined.append(call)
    return joined


def expected(text: bytes, terminator: bytes) -> list[Any]:
    calls: list[Any] = []
    for line in text.split(terminator)[:-1]:
        calls += [line, "end"] if line else ["end"]
    return calls


# Bytes


@pytest.mark.parametrize("terminator", TERMINATORS)
def test_terminator_may_be_split_anywhere(loop: Loop, peers: Peers, terminator: bytes) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=terminator)
    text = traps(terminator)
    want = expected(text, terminator)
    for cut, second in itertools.combinations_with_replacement(range(len(text)), 2):
        if second - cut > len(terminator):
            continue  # two cuts that far apart are in no terminator together
        feed(loop, far, *filter(None, (text[:cut], text[cut:second], text[second:])))
        assert ends(channel.calls) == want, (cut, second)
        assert channel.ac_in_buffer == b""
        channel.calls.clear()
    channel.close()


@pytest.mark.parametrize("terminator", TERMINATORS)
def test_terminator_may_come_byte_by_byte(loop: Loop, peers: Peers, terminator: bytes) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=terminator)
    text = traps(terminator)
    for number in range(len(text)):
        feed(loop, far, text[number : number + 1])
    assert ends(channel.calls) == expected(text, terminator)
    channel.close()


@pytest.mark.parametrize("terminator", TERMINATORS)
def test_only_what_may_begin_a_terminator_is_kept_back(loop: Loop, peers: Peers, terminator: bytes) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=terminator)
    for length in range(len(terminator)):
        feed(loop, far, b"zz" + terminator[:length])
        kept = b"".join(channel.calls)
        assert kept + channel.ac_in_buffer == b"zz" + terminator[:length]
        assert channel.ac_in_buffer == terminator[:length]
        feed(loop, far, b"zz" + terminator)
        assert channel.calls[-1] == "end"
        channel.calls.clear()
    channel.close()


def test_data_comes_before_its_terminator_and_as_bytes(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=b"\r\n")
    feed(loop, far, b"one\r\ntwo\r", b"\nth", b"ree\r", b"x\r\n")
    assert channel.calls == [b"one", "end", b"two", "end", b"th", b"ree", b"\rx", "end"]
    assert {type(call) for call in channel.calls if call != "end"} == {bytes}
    channel.close()


def test_empty_line_collects_nothing(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    feed(loop, far, b"\n\nx\n\n")
    assert channel.calls == ["end", "end", b"x", "end", "end"]
    channel.close()


def test_nothing_in_a_line_is_special(loop: Loop, peers: Peers) -> None:
    """NULs, a bare LF, a bare CR, bytes that are no text."""
    channel, far = peers.channel(Lines, loop.map, terminator=b"\r\n")
    feed(loop, far, b"a\0b\nc\rd\xff\xfe\r\n\0\r\n\n\r\r\n")
    assert channel.lines == [b"a\0b\nc\rd\xff\xfe", b"\0", b"\n\r"]
    channel.close()


def test_line_longer_than_any_buffer_comes_in_pieces(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=b"\r\n")
    line = bytes(range(256)).replace(b"\r\n", b"") * 4000
    for start in range(0, len(line), 50_000):
        feed(loop, far, line[start : start + 50_000])
    feed(loop, far, b"\r\n")
    assert channel.lines == [line]
    assert len(channel.calls) > 10
    channel.close()


@pytest.mark.parametrize("terminator", [bytearray(b"\r\n"), memoryview(b"\r\n")])
def test_terminator_may_be_anything_bytes_like(loop: Loop, peers: Peers, terminator: Any) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=terminator)
    feed(loop, far, b"one\r", b"\ntwo\r\n")
    assert channel.lines == [b"one", b"two"]
    assert channel.get_terminator() is terminator
    channel.close()


# Str


def test_str_is_encoded_where_the_class_says_so(loop: Loop, peers: Peers) -> None:
    class Encoding(Lines):
        use_encoding = True

    channel, far = peers.channel(Encoding, loop.map, terminator="\xe9\n")
    assert channel.get_terminator() == b"\xe9\n"
    feed(loop, far, b"one\xe9", b"\ntwo\xe9\n")
    assert channel.lines == [b"one", b"two"]
    channel.close()


def test_str_is_encoded_as_the_class_says(loop: Loop, peers: Peers) -> None:
    class Encoding(Lines):
        use_encoding = 1
        encoding = "utf-16-le"

    channel, _ = peers.channel(Encoding, loop.map, terminator="\n")
    assert channel.get_terminator() == b"\n\0"
    channel.close()


def test_str_elsewhere_is_an_error_of_the_channel(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator="\n")
    assert channel.get_terminator() == "\n"
    feed(loop, far, b"line\n")
    assert len(channel.calls) == 1
    assert channel.calls[0].startswith("error TypeError(")
    channel.set_terminator(b"\n")  # nothing is lost by it
    feed(loop, far, b"next\n")
    assert channel.lines == [b"line", b"next"]
    channel.close()


@pytest.mark.parametrize("terminator", [1.5, object()])
def test_what_is_no_terminator_is_an_error_of_the_channel(loop: Loop, peers: Peers, terminator: Any) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=terminator)
    feed(loop, far, b"line\n")
    assert channel.calls[0].startswith("error TypeError(")
    channel.close()


def test_channel_without_a_terminator_has_an_error(loop: Loop, peers: Peers) -> None:
    class Bare(asynchat.async_chat):
        errors = 0

        def handle_error(self) -> None:
            self.errors += 1

    channel, far = peers.channel(Bare, loop.map)
    with pytest.raises(AttributeError):
        channel.get_terminator()
    feed(loop, far, b"data")
    assert channel.errors == 1
    channel.close()


# Numbers


def test_number_of_bytes_ends_what_it_counts(loop: Loop, peers: Peers) -> None:
    class Counting(Lines):
        def on_end(self) -> None:
            assert self.get_terminator() == 0
            self.set_terminator(3)

    channel, far = peers.channel(Counting, loop.map, terminator=3)
    feed(loop, far, b"abcdefghij")
    assert channel.calls == [b"abc", "end", b"def", "end", b"ghi", "end", b"j"]
    assert channel.terminator == 2
    channel.close()


def test_number_counts_down_over_several_reads(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=10)
    left = []
    for chunk in (b"abc", b"d", b"efghi"):
        feed(loop, far, chunk)
        left.append(channel.terminator)
    assert left == [7, 6, 1]
    feed(loop, far, b"jklm")
    assert channel.calls == [b"abc", b"d", b"efghi", b"j", "end", b"klm"]
    assert channel.terminator == 0
    channel.close()


@pytest.mark.parametrize("cut", range(11))
def test_number_may_be_split_anywhere(loop: Loop, peers: Peers, cut: int) -> None:
    class Frames(Lines):
        """A length of one digit, then so many bytes."""

        def on_end(self) -> None:
            self.counting = not self.counting
            self.set_terminator(int(self.lines[-1]) if self.counting else 1)

        counting = False

    channel, far = peers.channel(Frames, loop.map, terminator=1)
    text = b"3abc1d4efgh"
    feed(loop, far, *filter(None, (text[:cut], text[cut:])))
    assert channel.lines == [b"3", b"abc", b"1", b"d", b"4", b"efgh"]
    channel.close()


def test_true_is_one_byte(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=True)
    feed(loop, far, b"abc")
    assert channel.calls == [b"a", "end", b"bc"]
    channel.close()


@pytest.mark.parametrize("terminator", [None, 0, b"", "", False])
def test_no_terminator_collects_everything(loop: Loop, peers: Peers, terminator: Any) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=terminator)
    feed(loop, far, b"a\nb", b"\r\n")
    assert channel.calls == [b"a\nb", b"\r\n"]
    assert channel.get_terminator() is terminator
    channel.close()


@pytest.mark.parametrize("number", [-1, -(2**70)])
def test_negative_number_is_refused(number: int) -> None:
    channel = Lines(None, {}, terminator=b"kept")
    with pytest.raises(ValueError, match=r"number|bytes"):
        channel.set_terminator(number)
    assert channel.get_terminator() == b"kept"


def test_number_may_be_larger_than_any_machine_word(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=2**70)
    feed(loop, far, b"abc")
    assert (channel.calls, channel.terminator) == ([b"abc"], 2**70 - 3)
    channel.close()


# Changed at any time


def test_terminator_changed_at_its_end_counts_for_the_rest(loop: Loop, peers: Peers) -> None:
    class Changing(Lines):
        def on_end(self) -> None:
            self.set_terminator(next(self.following))

        following = iter([4, b"|", None])

    channel, far = peers.channel(Changing, loop.map)
    feed(loop, far, b"head\nbodytail|rest\n|")
    assert channel.calls == [b"head", "end", b"body", "end", b"tail", "end", b"rest\n|"]
    channel.close()


def test_terminator_changed_while_collecting_counts_from_the_next_one(loop: Loop, peers: Peers) -> None:
    class Changing(Lines):
        def on_data(self, data: bytes) -> None:
            self.set_terminator(b"|")

    channel, far = peers.channel(Changing, loop.map)
    feed(loop, far, b"one\ntwo\nthree|four")
    assert channel.calls == [b"one", "end", b"two\nthree", "end", b"four"]
    channel.close()


def test_terminator_changed_while_a_part_of_it_is_kept_back(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=b"\r\n")
    feed(loop, far, b"data\r")
    channel.set_terminator(None)
    assert channel.calls == [b"data"]
    feed(loop, far, b"\nmore")
    assert channel.calls == [b"data", b"\r\nmore"]
    channel.close()


def test_number_changed_to_bytes_between_reads(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map, terminator=10)
    feed(loop, far, b"abc")
    channel.set_terminator(b"\n")
    feed(loop, far, b"def\n")
    assert channel.lines == [b"abcdef"]
    channel.close()


def test_terminator_of_the_class_serves_until_another_is_set(loop: Loop, peers: Peers) -> None:
    class Fixed(Lines):
        terminator = b"|"

        def set_terminator(self, term: Any) -> None:
            pass  # Lines would set one

    channel, far = peers.channel(Fixed, loop.map)
    assert channel.get_terminator() == b"|"
    feed(loop, far, b"one|two\n|")
    assert channel.lines == [b"one", b"two\n"]
    asynchat.async_chat.set_terminator(channel, b"\n")
    feed(loop, far, b"three\n")
    assert channel.lines[2:] == [b"three"]
    assert Fixed.terminator == b"|"
    channel.close()


def test_number_of_the_class_counts_down_on_the_instance(loop: Loop, peers: Peers) -> None:
    class Fixed(Lines):
        terminator = 5

        def set_terminator(self, term: Any) -> None:
            pass  # as above

    channel, far = peers.channel(Fixed, loop.map)
    feed(loop, far, b"abc", b"de")
    assert channel.lines == [b"abcde"]
    assert (Fixed.terminator, channel.terminator) == (5, 0)
    channel.close()


def test_terminator_may_be_assigned(loop: Loop, peers: Peers) -> None:
    class Assigning(Lines):
        def on_end(self) -> None:
            self.terminator = b"|" if self.terminator == b"\n" else 2

    channel, far = peers.channel(Assigning, loop.map)
    feed(loop, far, b"one\nt\no|abc")
    assert channel.calls == [b"one", "end", b"t\no", "end", b"ab", "end", b"c"]
    channel.close()


def test_own_get_terminator_is_asked_every_time(loop: Loop, peers: Peers) -> None:
    class Asked(Lines):
        def get_terminator(self) -> Any:
            return b"|" if "end" in self.calls else b";"

    channel, far = peers.channel(Asked, loop.map)
    feed(loop, far, b"a|b;c;d|e\n|")
    assert channel.lines == [b"a|b", b"c;d", b"e\n"]
    channel.close()


def test_get_terminator_put_on_the_instance_is_asked(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    feed(loop, far, b"a\n")
    channel.get_terminator = lambda: b"|"
    feed(loop, far, b"b\n|")
    assert channel.lines == [b"a", b"b\n"]
    channel.close()


def test_own_set_terminator_may_call_the_old_one(loop: Loop, peers: Peers) -> None:
    class Upper(Lines):
        def set_terminator(self, term: Any) -> None:
            super().set_terminator(term.upper())

    channel, far = peers.channel(Upper, loop.map, terminator=b"end")
    assert channel.terminator == b"END"
    feed(loop, far, b"one END")
    assert channel.lines == [b"one "]
    channel.close()


def test_terminator_is_an_attribute_like_any_other() -> None:
    channel = Lines(None, {}, terminator=b"\n")
    channel.terminator = b"|"
    assert channel.get_terminator() == b"|"
    del channel.terminator
    with pytest.raises(AttributeError):
        channel.get_terminator()


def test_channels_do_not_share_a_terminator(loop: Loop, peers: Peers) -> None:
    one, far = peers.channel(Lines, loop.map, terminator=b"\n")
    other, other_far = peers.channel(Lines, loop.map, terminator=2)
    feed(loop, far, b"ab\n")
    feed(loop, other_far, b"cd\n")
    assert (one.calls, other.calls) == ([b"ab", "end"], [b"cd", "end", b"\n"])
    one.close()
    other.close()


def test_number_that_became_bytes_while_collecting_is_an_error_that_loses_nothing(loop: Loop, peers: Peers) -> None:
    """What came is still to be subtracted from it."""

    class Changing(Lines):
        def on_data(self, data: bytes) -> None:
            self.set_terminator(b"\n")

    channel, far = peers.channel(Changing, loop.map, terminator=10)
    feed(loop, far, b"abc", b"def\n")
    assert [call for call in channel.calls if not str(call).startswith("error TypeError")] == [b"abc", b"def", "end"]
    assert len(channel.calls) == 4
    channel.close()


@beyond_the_old
def test_number_below_zero_that_was_assigned_is_an_error_of_the_channel(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Lines, loop.map)
    channel.terminator = -5
    feed(loop, far, b"data")
    assert channel.calls
    assert "ValueError" in channel.calls[0]
    channel.close()


@beyond_the_old
def test_channel_that_closes_at_a_counted_piece_is_told_of_no_end(loop: Loop, peers: Peers) -> None:
    class Closing(Lines):
        def on_data(self, data: bytes) -> None:
            self.close()

    channel, far = peers.channel(Closing, loop.map)
    channel.set_terminator(4)
    feed(loop, far, b"data")
    assert channel.calls == [b"data"]
