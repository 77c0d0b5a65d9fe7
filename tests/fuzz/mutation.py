# SPDX-License-Identifier: MIT
"""Inputs made of those of a corpus: the same seed makes the same ones."""

from __future__ import annotations

import random
from collections.abc import Sequence

LONGEST = 4096  # bytes


class Mutation:
    """Makes inputs. ``tokens``: words that mean something to what is tried."""

    def __init__(self, corpus: Sequence[bytes], tokens: Sequence[bytes], seed: int) -> None:
        self._corpus = list(corpus) or [b""]
        self._tokens = tokens
        self._chance = random.Random(seed)

    def next(self) -> bytes:
        """One input: one of the corpus, changed once to eight times."""
        chance = self._chance
        data = bytearray(chance.choice(self._corpus))
        for _ in range(chance.randint(1, 8)):
            self._change(data)
        return bytes(data[:LONGEST])

    def _change(self, data: bytearray) -> None:
        chance = self._chance
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(8)
        if kind == 0 and data:
            data[min(at, len(data) - 1)] ^= 1 << chance.randrange(8)
        elif kind == 1 and data:
            data[min(at, len(data) - 1)] = chance.randrange(256)
        elif kind in (2, 3):
            data[at:at] = chance.choice(self._tokens)
        elif kind == 4:
            del data[at : at + chance.randint(1, 16)]
        elif kind == 5:
            data[at:at] = data[at : at + chance.randint(1, 64)]
        elif kind == 6:
            other = chance.choice(self._corpus)
            data[at:] = other[chance.randrange(len(other) + 1) :]
        else:
            data[at:at] = bytes((chance.choice((0, 1, 2, 12, 13, 64, 127, 128, 255)),)) * chance.randint(1, 3)
