"""A thread that computes without a pause, beside the loop of a server in the thread table."""

from __future__ import annotations

import threading


def burn() -> None:
    number = 0
    while True:
        number = (number + 1) % 1000


def start_burning() -> None:
    threading.Thread(target=burn, daemon=True).start()
