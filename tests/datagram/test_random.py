# SPDX-License-Identifier: MIT
"""Handlers that do anything at any time: nothing crashes, and what was sent between sockets that live arrives once."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cyncore import Loop
from tests.support.datagrams import LOOPBACK, Recorder, nobody
from tests.support.loops import every_backend
from tests.support.peers import poll_until

FEW = 150  # datagrams on their way at once: less than a receive buffer holds


class Wild(Recorder):
    """Does something at random for each datagram that it gets."""

    others: list[Any]
    dice: random.Random
    numbers: dict[str, int]
    takes_batches = False

    def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None:
        self.got.append(data)
        self.act()

    def act(self) -> None:
        choice = self.dice.randrange(12)
        if choice < 5:
            self.send_on()
        elif choice == 5:
            self.pause_reading()
            self.loop.call_soon(self.resume_reading)
        elif choice == 6 and self.numbers["depth"] < 3:
            self.numbers["depth"] += 1
            self.loop.poll(0)
            self.numbers["depth"] -= 1
        elif choice == 7:
            self.send(b"lost", self.numbers["nobody"])
        elif choice == 8:
            raise ValueError("at random")
        elif choice == 9:
            self.max_output = self.dice.choice([None, 10**6])

    def send_on(self) -> None:
        for other in self.dice.sample(self.others, self.dice.randrange(1, len(self.others))):
            if self.numbers["sent"] < self.numbers["most"]:
                self.numbers["sent"] += 1
                data = b"%d" % self.numbers["sent"] * self.dice.choice([1, 1, 1, 30])
                self.send(data, other.address)

    def handle_error(self, error: BaseException) -> None:
        assert isinstance(error, ValueError)


class WildBatches(Wild):
    def handle_datagrams(self, batch: list[Any]) -> None:
        for data, _ in batch:
            self.got.append(data)
        self.act()


@every_backend
@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_or_comes_twice(loop: Loop, seed: int) -> None:
    dice = random.Random(seed)
    channels = [loop.bind(LOOPBACK, dice.choice([Wild, WildBatches])) for _ in range(4)]
    numbers: dict[str, Any] = {"sent": 0, "most": 0, "depth": 0, "nobody": nobody()}
    for channel in channels:
        channel.others, channel.dice, channel.numbers = channels, dice, numbers
    for _ in range(10):
        numbers["most"] += FEW
        for channel in channels:
            channel.send_on()
        poll_until(loop, lambda: sum(len(each.got) for each in channels) >= numbers["sent"])
    for _ in range(5):
        loop.poll(0)
    got = sorted(data for channel in channels for data in channel.got)
    assert len(got) == len(set(got)) == numbers["sent"]
    for channel in channels:
        channel.abort()


@every_backend
@pytest.mark.parametrize("seed", range(6))
def test_sockets_that_close_at_random(loop: Loop, seed: int) -> None:
    dice = random.Random(seed)
    numbers: dict[str, Any] = {"sent": 0, "most": 2000, "depth": 0, "nobody": nobody()}
    channels: list[Any] = []

    def replace(channel: Any) -> None:
        dice.choice([channel.close, channel.abort])()
        channels[channels.index(channel)] = begin()

    def begin() -> Any:
        made = loop.bind(LOOPBACK, dice.choice([Closing, WildBatches]))
        made.others, made.dice, made.numbers = channels, dice, numbers
        return made

    class Closing(Wild):
        def act(self) -> None:
            if dice.randrange(20) == 0 and self in channels:
                replace(self)
            else:
                super().act()

    channels += [begin() for _ in range(4)]
    for _ in range(200):
        if numbers["sent"] >= numbers["most"]:
            break
        for channel in list(channels):
            channel.send_on()
        loop.poll(0)
    assert numbers["sent"] > 100
    for channel in channels:
        channel.abort()
