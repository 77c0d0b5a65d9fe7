# SPDX-License-Identifier: MIT
"""What the calls of a row leave behind: blocks of memory, references (of a debug build) and descriptors."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

WARMING = 8  # calls that fill what is kept for later
BATCHES = 3
# Without the GIL, the memory of dicts and lists that a collection has let go is given back by the next one. PyPy's next
# one finds what finalizers have let go.
COLLECTIONS = 2 if sys.implementation.name == "cpython" else 3
FDS = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"


class Growth(NamedTuple):
    """The least that one of the batches has left behind. What grows with every call has grown in all of them."""

    blocks: int
    references: int
    descriptors: int


def blocks() -> int:
    """The blocks of memory that are in use: the objects, where nobody counts blocks."""
    if hasattr(sys, "getallocatedblocks"):
        return sys.getallocatedblocks()
    return len(gc.get_objects())  # PyPy's collector knows every object


def _holdings() -> tuple[int, int, int]:
    for _ in range(COLLECTIONS):
        gc.collect()
    references = getattr(sys, "gettotalrefcount", int)()
    return blocks(), references, len(os.listdir(FDS))


def growth(call: Callable[[], object], count: int) -> Growth:
    """Calls it so often, three times."""
    for _ in range(WARMING):
        call()
    batches = []
    for _ in range(BATCHES):
        before = _holdings()
        for _ in range(count):
            call()
        after = _holdings()
        batches.append([new - old for new, old in zip(after, before, strict=True)])
    return Growth(*(min(values) for values in zip(*batches, strict=True)))


def is_leak(found: Growth, count: int) -> bool:
    """Is that one block or reference in five calls, or any descriptor at all?"""
    return found.descriptors > 0 or 5 * max(found.blocks, found.references) >= count
