"""A process in which something fails: what it does, how it ended, and what of that is a fault."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import scenes
from scenes import SCENES, Unserved

SECONDS = 8  # that a process may take
FINE, UNLIKE, UNSERVED, UNUSABLE = 0, 1, 3, 4
ENDS = {
    UNSERVED: "leaves somebody unserved",
    UNUSABLE: "does not work afterwards",
}
said = Path(tempfile.gettempdir(), f"faults-{os.getpid()}.txt")  # what the last process wrote


def go_on() -> None:
    """What a program that goes on would need. Raises where it does not work any more."""
    scenes.prepare()
    for name in ("echo", "lines", "threads"):
        SCENES[name](0)


def child(attack: Callable[[], int]) -> int:
    """The status of a process that does it, and then goes on where that returned FINE."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(SECONDS)
        with said.open("w") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
        ended = UNUSABLE
        try:
            scenes.prepare()
            faulthandler.dump_traceback_later(SECONDS - 1)
            try:
                ended = attack()
            except Unserved:
                traceback.print_exc()
                ended = UNSERVED
            if ended == FINE:
                ended = UNUSABLE
                go_on()
                ended = FINE
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(ended)
    return os.waitpid(pid, 0)[1]


def explain(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "hangs" if number == signal.SIGALRM else f"dies by {signal.Signals(number).name}"
    code = os.WEXITSTATUS(status)
    return ENDS.get(code, f"ends with {code}")


def words(lines: int = 12) -> list[str]:
    """The last that the last process said."""
    return said.read_text(errors="replace").splitlines()[-lines:]
