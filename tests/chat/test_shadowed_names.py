# SPDX-License-Identifier: MIT
"""A class of chats may have a method of its own under any name that only our `async_chat` has.

The names are read from the class, so that a helper that comes later is tested, too. A name that Python has mangled
(`_Class__name`), or that begins with `_cyncore_`, is no name that a program has by accident.
"""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from cyncore import Loop, asynchat
from cyncore._engine import BufferedChannel
from tests.support.chat import receive
from tests.support.old import load_asynchat
from tests.support.peers import Peers, poll_until

# What the documentation names is for programs to override, and does what they say then.
PUBLIC = frozenset({"gather_pushes", "max_incoming", "max_outgoing", "pause_reading", "resume_reading"})
MANGLED = re.compile(r"_[A-Za-z]\w*?__\w+|_cyncore_\w+|__\w+__")


def of_ours_alone() -> list[str]:
    """The names of `async_chat` that the old one, on the old `dispatcher`, does not have, without those of channels."""
    try:
        old = set(dir(load_asynchat()[1].async_chat))
    except ImportError:
        old = set()
    attributes = {"_fileno", "_map", "ac_in_buffer", "incoming", "producer_fifo", "socket", "terminator"}  # instances'
    names = set(dir(asynchat.async_chat)) - old - attributes - PUBLIC - set(dir(BufferedChannel))
    return sorted(name for name in names if not MANGLED.fullmatch(name)) if old else []


def shadowed(name: str) -> type[Any]:
    def fail(self: Any, *arguments: Any, **options: Any) -> None:
        raise AssertionError(f"{name} was called")

    class Shout(asynchat.async_chat):
        def __init__(self, sock: Any, map: Any) -> None:
            super().__init__(sock, map)
            self.set_terminator(b"\n")

        collect_incoming_data = asynchat.async_chat._collect_incoming_data

        def found_terminator(self) -> None:
            self.push(self._get_data() + b";")

        def handle_error(self) -> None:
            raise

    return type("Shadowing", (Shout,), {name: fail})


def attributes_of_the_other_engine() -> list[str]:
    """Names that one of the engines once looked up on the channel itself."""
    return [
        "_blocked", "_collected", "_flush", "_gathered", "_handed", "_is_sending", "_leaving", "_put", "_put_handed",
        "_refuse_handed", "_send", "_sending_ends", "_start_buffers", "_take_handed",
    ]  # fmt: skip


NAMES = sorted({*of_ours_alone(), *attributes_of_the_other_engine()})


@pytest.mark.parametrize("name", NAMES)
def test_method_of_the_program_is_not_called(loop: Loop, peers: Peers, name: str) -> None:
    channel, far = peers.channel(shadowed(name), loop.map)
    far.sendall(b"one\ntwo\nthree\n")
    assert receive(loop, far, 14) == b"one;two;three;"
    thread = threading.Thread(target=channel.push, args=(b"from a thread",))
    thread.start()
    thread.join()
    channel.push_with_producer(asynchat.simple_producer(b", produced"))
    assert receive(loop, far, 23) == b"from a thread, produced"
    channel.close_when_done()
    poll_until(loop, lambda: channel not in loop.map.values())


@pytest.mark.parametrize("name", NAMES)
def test_attribute_of_the_class_s_own_buffers_is_served_without_it(loop: Loop, peers: Peers, name: str) -> None:
    """Such a class is served by the code in plain Python."""
    kind = shadowed(name)
    kind.ac_in_buffer = b""
    kind.gather_pushes = True
    kind.max_incoming = 3
    channel, far = peers.channel(kind, loop.map)
    far.sendall(b"one\ntwo\n")
    assert receive(loop, far, 8) == b"one;two;"
    channel.close_when_done()
    poll_until(loop, lambda: channel not in loop.map.values())
