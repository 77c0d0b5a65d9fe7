# SPDX-License-Identifier: MIT
"""Keep keys and values in memory for clients that speak RESP2, Redis' protocol: for redis-cli and its like.

    python examples/resp_server.py [--host HOST] [--port PORT]

It shows how a server is written that has much to do for each packet: split what one read brought into all the commands
that are in it, and answer them with one write. A client that does not read its answers is not read from either, so
for a connection no more is held than a command, and what `high_water` and `OUTPUT_LIMIT` allow. What is stored has no
such limit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from cyncore import Loop, Stream

LINE_LIMIT = 64 * 1024  # of a command on a line of its own
VALUE_LIMIT = 1024 * 1024
WORD_LIMIT = 1024  # of a command
COMMAND_LIMIT = 4 * VALUE_LIMIT  # of all its words together
OUTPUT_LIMIT = 1024 * 1024  # bytes of answers that are made ahead of what the client takes, and one more answer
LONGEST_EXPIRY = 10**9  # seconds
INTEGERS = range(-(2**63), 2**63)

OK, PONG, NIL = b"+OK\r\n", b"+PONG\r\n", b"$-1\r\n"
BYE = b"".join([b"+OK", b"\r\n"])  # another object than OK: it ends the session
LINES = {b"*%d" % words: 1 + 2 * words for words in range(1, 9)}  # of a command that begins with this one
SIZES = [b"$%d" % size for size in range(1024)]  # the line before a word of so many bytes
UNPRINTABLE = dict.fromkeys((*range(32), 127), "?")


class Refused(Exception):
    """What came is no command. Where the next one begins is unknown then, so the connection ends."""


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def array(items: list[bytes]) -> bytes:
    return b"*%d\r\n%b" % (len(items), b"".join(map(bulk, items)))


def failure(text: str) -> bytes:
    return f"-ERR {text}\r\n".encode()


def printable(word: bytes) -> str:
    return word[:128].decode("ascii", "replace").translate(UNPRINTABLE)


def count(line: bytes, limit: int, complaint: str) -> int:
    """The number behind the first letter of a line; raise Refused if it is none, or above the limit."""
    value = integer(line[1:])
    if value is None or value > limit:
        raise Refused(complaint)
    return value


def integer(word: bytes) -> int | None:
    """The number that a word is: of 64 bits, and written as numbers are. None: it is no such number."""
    if len(word) > 20 or not word.removeprefix(b"-").isdigit():
        return None
    value = int(word)
    return value if value in INTEGERS and b"%d" % value == word else None


# ---------------------------------------------------------------------------------------------------------------- Store


class Store:
    """The keys and their values. A command is a method: it takes the words of the command, and returns the answer.

    `call_later(seconds, function, *arguments)` returns something that has `cancel()`, as that of any loop does.
    """

    def __init__(self, call_later: Callable[..., Any]) -> None:
        self.call_later = call_later
        self.values: dict[bytes, bytes] = {}
        self.timers: dict[bytes, Any] = {}  # of the keys that expire
        self.commands: dict[bytes, tuple[Callable[[list[bytes]], bytes], int, int]] = {}
        for name, command, least, most in (
            (b"PING", self.ping, 1, 2),
            (b"ECHO", self.echo, 2, 2),
            (b"SET", self.set, 3, 5),
            (b"GET", self.get, 2, 2),
            (b"DEL", self.delete, 2, WORD_LIMIT),
            (b"EXISTS", self.exists, 2, WORD_LIMIT),
            (b"INCR", self.increment, 2, 2),
            (b"QUIT", self.quit, 1, WORD_LIMIT),
            (b"COMMAND", self.describe, 1, WORD_LIMIT),
            (b"CONFIG", self.configure, 2, WORD_LIMIT),
        ):
            self.commands[name] = self.commands[name.lower()] = command, least, most

    def answer(self, words: list[bytes]) -> bytes:
        """What a command of one word or more is answered with."""
        known = self.commands.get(words[0]) or self.commands.get(words[0].upper())
        if known is None:
            return failure(f"unknown command '{printable(words[0])}'")
        command, least, most = known
        if not least <= len(words) <= most:
            return failure(f"wrong number of arguments for '{words[0].decode().lower()}' command")
        return command(words)

    def ping(self, words: list[bytes]) -> bytes:
        return PONG if len(words) == 1 else bulk(words[1])

    def echo(self, words: list[bytes]) -> bytes:
        return bulk(words[1])

    def get(self, words: list[bytes]) -> bytes:
        value = self.values.get(words[1])
        return NIL if value is None else b"$%d\r\n%b\r\n" % (len(value), value)

    def set(self, words: list[bytes]) -> bytes:
        seconds = None
        if len(words) > 3:
            if len(words) != 5 or words[3].upper() != b"EX":
                return failure("syntax error")
            seconds = integer(words[4])
            if seconds is None:
                return failure("value is not an integer or out of range")
            if not 0 < seconds <= LONGEST_EXPIRY:
                return failure("invalid expire time in 'set' command")
        key = words[1]
        if self.timers:
            self.keep(key)
        self.values[key] = words[2]
        if seconds is not None:
            self.timers[key] = self.call_later(seconds, self.expire, key)
        return OK

    def keep(self, key: bytes) -> None:
        """The key does not expire any more."""
        timer = self.timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def expire(self, key: bytes) -> None:
        del self.timers[key], self.values[key]

    def delete(self, words: list[bytes]) -> bytes:
        before = len(self.values)
        for key in words[1:]:
            if self.values.pop(key, None) is not None:
                self.keep(key)
        return b":%d\r\n" % (before - len(self.values))

    def exists(self, words: list[bytes]) -> bytes:
        return b":%d\r\n" % sum(key in self.values for key in words[1:])

    def increment(self, words: list[bytes]) -> bytes:
        value = integer(self.values.get(words[1], b"0"))
        if value is None or value + 1 not in INTEGERS:
            return failure("value is not an integer or out of range")
        self.values[words[1]] = b"%d" % (value + 1)  # when it expires stays as it was
        return b":%d\r\n" % (value + 1)

    def quit(self, words: list[bytes]) -> bytes:
        return BYE

    def describe(self, words: list[bytes]) -> bytes:
        return b"*0\r\n"  # redis-cli asks at its start what there is, and does without an answer

    def configure(self, words: list[bytes]) -> bytes:
        if words[1].upper() != b"GET":
            return failure("CONFIG has nothing but GET")
        settings = {b"save": b"", b"appendonly": b"no"}  # nothing is ever written to a disk
        return array([text for name in words[2:] if name in settings for text in (name, settings[name])])


# ------------------------------------------------------------------------------------------------------------- Commands


class Session:
    """What a connection has received, as commands. It knows no socket: any loop can use it."""

    def __init__(self, store: Store) -> None:
        self.answer = store.answer
        self.rest = b""  # what is no whole word or line yet, or was not looked at
        self.pieces: list[bytes] = []  # what came after it, while that is not enough:
        self.wanted = 0  # so many bytes must come first
        self.words: list[bytes] = []  # of a command that has not come as a whole,
        self.missing = 0  # and how many more there will be
        self.stopped = False  # the client must take its answers first: `feed(b"")` when it has
        self.ended = False  # nothing that comes is looked at any more: hang up

    def feed(self, data: bytes) -> list[bytes]:
        """The answers to all commands that are whole with these bytes, or to some where all would be too much."""
        if self.ended:
            return []
        if self.wanted > len(data):  # the rest of a big value is put together once, and not with every piece
            self.wanted -= len(data)
            self.pieces.append(data)
            return []
        if self.rest:
            data, self.pieces = b"".join([self.rest, *self.pieces, data]), []
        self.wanted = 0
        answers: list[bytes] = []
        try:
            self.run(data.split(b"\r\n"), answers)
        except Refused as refusal:
            answers.append(failure(f"Protocol error: {refusal}"))
            self.ended = True
        if self.ended:
            self.rest, self.words, self.stopped = b"", [], False
        return answers

    def run(self, lines: list[bytes], answers: list[bytes]) -> None:
        """Answer the commands that are in the lines, the last of which has no end yet, and keep what is left.

        A word with a line end in it is in pieces here. Nearly none has: so a command is a slice, and if its words are
        as long as the lines before them say, that is all. What is otherwise is left to `take`.
        """
        here, last, size = 0, len(lines) - 1, 0
        answer, missing = self.answer, self.missing
        self.stopped = False
        while here < last or (b"\n" in lines[here] and not missing and not lines[here].startswith(b"*")):
            place, after = here + 1, here + LINES.get(lines[here], 0)
            words = lines[here + 2 : after : 2]
            if after <= last and not missing:
                try:
                    for word in words:
                        if SIZES[len(word)] != lines[place]:
                            break
                        place += 2
                except IndexError:
                    pass  # a long one
            if place == after:
                here = after
            else:
                here, words = self.take(lines, here)
                missing = self.missing
                if missing:
                    break
                if not words:
                    continue
            reply = answer(words)
            answers.append(reply)
            size += len(reply)
            if size > OUTPUT_LIMIT or reply is BYE:
                self.stopped, self.ended = True, reply is BYE
                break
        self.rest = b"\r\n".join(lines[here:])
        if here == last and len(self.rest) > LINE_LIMIT:
            raise Refused("too big inline request")

    def take(self, lines: list[bytes], here: int) -> tuple[int, list[bytes]]:
        """Take one command, word by word: the line behind it, and the words, of which an empty one has none.

        If it has not come as a whole, `missing` says how many words will follow; those that are there are remembered.
        """
        if not self.missing:
            line = lines[here]
            if not line.startswith(b"*"):
                first, end, lines[here] = line.partition(b"\n")  # a line that somebody types may have no CR
                if len(first) > LINE_LIMIT:
                    raise Refused("too big inline request")
                return here + (not end), first.split()[:WORD_LIMIT]
            self.missing = max(0, count(line, WORD_LIMIT, "invalid multibulk length"))
            here += 1
        while self.missing and here < len(lines) - 1:
            behind = self.take_word(lines, here)
            if behind == here:
                break
            here = behind
            self.missing -= 1
        if self.missing:
            return here, []
        words, self.words = self.words, []
        return here, words

    def take_word(self, lines: list[bytes], here: int) -> int:
        """Take a word with its size before it: the line behind it, or `here` if it has not come as a whole."""
        if not lines[here].startswith(b"$"):
            raise Refused(f"expected '$', got '{printable(lines[here][:1])}'")
        size = left = count(lines[here], VALUE_LIMIT, "invalid bulk length")
        if size < 0 or size + sum(map(len, self.words)) > COMMAND_LIMIT:
            raise Refused("invalid bulk length")
        for place in range(here + 1, len(lines)):
            left -= len(lines[place])
            if left <= 0:
                break
            left -= 2  # the line end is a part of the word
        else:
            self.wanted = left + 4  # one line end too many was counted, and another will follow
            return here
        ends = place < len(lines) - 1
        if left == 0 and ends:
            self.words.append(b"\r\n".join(lines[here + 1 : place + 1]))
            return place + 1
        if left < -1 or ends or (left == -1 and not lines[place].endswith(b"\r")):
            raise Refused("a bulk is longer than it says")
        self.wanted = 2 + left
        return here


# ---------------------------------------------------------------------------------------------------------- Connections


class Connection(Stream):
    def __init__(self, store: Store) -> None:
        self.session = Session(store)

    def handle_data(self, data: bytes) -> None:
        session = self.session
        self.write(b"".join(session.feed(data)))
        if session.stopped:
            self.pause_reading()
            self.loop.call_soon(self.go_on)  # the other clients come first
        elif session.ended:
            self.close()

    def handle_full(self) -> None:
        self.pause_reading()

    def handle_drained(self) -> None:
        """The client has taken its answers, nearly all."""
        self.resume_reading()
        if self.session.stopped:
            self.handle_data(b"")

    def go_on(self) -> None:
        """Takes the commands that were left, unless `handle_drained` will do so."""
        if self.output_size <= self.high_water and not self.closing:
            self.handle_drained()


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep keys and values in memory for clients that speak RESP2.")
    parser.add_argument("--host", default="127.0.0.1", help="address or name to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=6379, help="0: any that is free (default: %(default)s)")
    options = parser.parse_args()
    with Loop() as loop:
        store = Store(loop.call_later)
        loop.drain_on_signals(5)
        try:
            server = loop.listen((options.host, options.port), lambda: Connection(store))
        except OSError as error:
            sys.exit(f"resp_server: cannot listen on {options.host} port {options.port}: {error.strerror}")
        print("ready {}:{}".format(*server.address), flush=True)
        loop.run()


if __name__ == "__main__":
    main()
