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


class Reader(Recorder):
    """Leaves what it reads to its writer."""

    writer: Writer

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.writer.out += self.recv(100)


@every_backend
@pytest.mark.parametrize("turns", [1, 100])  # in which the poller hears of the writer before the other one has data
@pytest.mark.parametrize("kinds", [(Writer, Reader), (Reader, Writer)], ids=["writer first", "reader first"])
def test_what_is_read_is_written_in_the_same_turn(
    loop: Loop, peers: Peers, turns: int, kinds: tuple[type[Recorder], type[Recorder]]
) -> None:
    made = {kind: peers.channel(kind, loop.map) for kind in kinds}
    (writer, answers), (reader, far) = made[Writer], made[Reader]
    assert isinstance(writer, Writer)
    assert isinstance(reader, Reader)
    reader.writer = writer
    for _ in range(turns):
        loop.poll()
    far.send(b"data")
    loop.poll()
    answers.setblocking(False)
    assert answers.recv(100) == b"data"
