# SPDX-License-Identifier: MIT
"""What a program may replace in `smtpd`, and the old module's constants. Each part of the server reads them here."""

from __future__ import annotations

from typing import Any

__version__ = "Python SMTP proxy version 0.3"  # it stands in the greeting, and programs look for it there

NEWLINE = "\n"
COMMASPACE = ", "
DATA_SIZE_DEFAULT = 33554432


class Devnull:
    """A stream that keeps nothing. While `DEBUGSTREAM` is one, nothing is written to it."""

    def write(self, msg: str) -> None:
        pass

    def flush(self) -> None:
        pass


DEBUGSTREAM: Any = Devnull()


def is_debugged() -> bool:
    """Is there anybody who reads what `debug` writes? Asked where the words cost something to make."""
    return type(DEBUGSTREAM) is not Devnull


def debug(*words: object) -> None:
    """Prints ``words`` to `DEBUGSTREAM`."""
    if is_debugged():
        print(*words, file=DEBUGSTREAM)
