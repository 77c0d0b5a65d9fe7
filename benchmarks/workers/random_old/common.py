"""The globals of a program, which its channels read and change. No attribute of a channel tells a loop of that."""

from __future__ import annotations

import queue
import random
from typing import Any

CHANNELS: list[Any] = []  # those that are open
QUEUE: list[tuple[Any, bytes]] = []  # answers, with the channels to which they belong
JOBS: queue.Queue[tuple[Any, bytes]] = queue.Queue()  # the same, for the threads
STATE = {"full": False, "messages": 0, "asked": 0}
CHANCE = random.Random(1)


class Count:
    """What programs count in a class of its own."""

    total = 0
    enabled = True
