# SPDX-License-Identifier: MIT
"""The order among the channels of one turn: with select, all were read before any was written to."""

from __future__ import annotations

import pytest

from cyncore import Loop
from tests.support.loops import every_backend
from tests.support.peers import Peers, Recorder


class Writer(Recorder):
    """Always wants to write, and sends what others have left here."""

    out = b""

    def writable(self) -> bool:
        return True

    def handle_write(self) -> None:
        if self.out:
            self.out = self.out[self.send(self.out) :]


@every_backend
@pytest.mark.parametrize("turns", [1, 100])  # in which the poller hears of the writer before the other one has data
def test_what_is_read_is_written_in_the_same_turn(loop: Loop, peers: Peers, turns: int) -> None:
    writer, answers = peers.channel(Writer, loop.map)

    class Reader(Recorder):
        def writable(self) -> bool:
            return False

        def handle_read(self) -> None:
            writer.out += self.recv(100)

    _, far = peers.channel(Reader, loop.map)
    for _ in range(turns):
        loop.poll()
    far.send(b"data")
    loop.poll()
    answers.setblocking(False)
    assert answers.recv(100) == b"data"
