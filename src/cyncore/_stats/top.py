# SPDX-License-Identifier: MIT
"""``python -m cyncore top PID|SOCKET`` shows a loop of another process, live in the terminal.

With `rich` (the extra ``cyncore[top]``) it is drawn in colour; without it, it is plain text.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from typing import Any

from .look import clean, text
from .place import paths_of

DESCRIPTION = "Shows what a loop of another process does, live in the terminal."
EPILOG = "The process must have called Loop.serve_stats(). Ctrl-C ends it."
MOST_DIGITS = 18  # of the number of a process
MOST_LINE = 1 << 22  # bytes of a look: a server that sends more is none of ours


def main(argv: list[str]) -> int:
    """Returns 0 when the user or the process has ended it, 1 where no loop is reached, 2 for wrong arguments."""
    parser = argparse.ArgumentParser("python -m cyncore top", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("loop", metavar="PID|SOCKET", help="the number of the process, or the path of its socket")
    parser.add_argument("--once", action="store_true", help="print one look, and end")
    parser.add_argument("--plain", action="store_true", help="plain text, also where rich is installed")
    parser.add_argument("--rows", type=int, metavar="N", help="channels to show; as many as fit if not given")
    options = parser.parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # names may have letters that this terminal has not
    try:
        path = find(options.loop)
        looks = watch(path)
        if options.once:
            print(text(_second(looks), 80, options.rows or 10))
            return 0
        screen = None if options.plain else _rich_screen()
        (screen or plain_screen)(looks, options.rows)
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # whoever read this has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at its end
        return 0
    except OSError as error:
        print(f"cyncore top: {clean(str(error))}", file=sys.stderr)
        return 1
    return 0


def find(words: str) -> str:
    """The path of the socket. FileNotFoundError if the process has none."""
    if not (words.isascii() and words.isdigit() and len(words) <= MOST_DIGITS) or os.path.exists(words):
        return words
    found = paths_of(int(words))
    if not found:
        raise FileNotFoundError(
            f"process {words} has no socket cyncore-{words}.sock: its program must call Loop.serve_stats()"
        )
    return found[0]


def watch(path: str) -> Iterator[dict[str, Any]]:
    """What the loop tells, once a second. Ends when the process does. OSError if it cannot be reached."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        try:
            sock.connect(path)
        except OSError as error:
            raise OSError(f"{path}: {error.strerror or error}") from None
        sock.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with sock.makefile("rb") as stream:
            status = stream.readline(MOST_LINE).decode("latin-1").split(" ", 2)
            if status[1:2] != ["200"]:
                raise OSError(f"{path}: {' '.join(status[1:]).strip() or 'no cyncore answers there'}")
            sock.settimeout(None)
            for line in iter(lambda: stream.readline(MOST_LINE), b""):
                if line.startswith(b"data: "):
                    yield _look(path, line[6:])


def _look(path: str, data: bytes) -> dict[str, Any]:
    """A look, of which all that is shown is there. OSError if it is none: whoever listens there is no cyncore."""
    try:
        look: dict[str, Any] = json.loads(data)
        text(look, 100, len(look["top"]))
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise OSError(f"{path}: what answers there does not tell of a loop") from None
    return look


def _second(looks: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """The second look, which has rates."""
    look = next(looks, None)
    if look is None:
        raise OSError("the process has ended")
    return next(looks, look)


# Screens


def _draws() -> bool:
    """Is the output a terminal in which text can be put in place of another?"""
    return sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def plain_screen(looks: Iterator[dict[str, Any]], rows: int | None) -> None:
    """Prints each look; on a terminal in place of the one before."""
    is_terminal = _draws()
    for look in looks:
        width, height = shutil.get_terminal_size()
        shown = text(look, width, rows or max(height - 6, 3))
        if is_terminal:
            shown = "\x1b[H\x1b[2J" + shown  # to the top, and clear
        print(shown, end="\n" if is_terminal else "\n\n", flush=True)


def _rich_screen() -> Any:
    """What draws with rich, or None where it is not installed, or nothing can be drawn."""
    if not _draws():
        return None
    try:
        from .rich_screen import screen
    except ImportError:  # the extra is not installed: plain text does
        return None
    return screen
