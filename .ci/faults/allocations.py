"""One allocation fails: every one of a scene in turn, each in a process of its own. Needs CPython's _testcapi.

python allocations.py [--every N] [--span N] [--scene NAME] [--at K]

A crash, a hang, and a scene that does not work afterwards are faults; exceptions are not, and nor is whoever goes
unserved where memory is missing. --at runs one failure in this process, for a debugger.
"""

from __future__ import annotations

import _testcapi
import argparse
import faulthandler
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import scenes
from child import FINE, UNLIKE, child, explain, go_on, words
from scenes import SCENES

SHORT = 0.1  # seconds of patience where it does not matter who is served
MOST = 1 << 17  # allocations of a scene
# What CPython itself does when memory is missing is not ours to mend: crashes in whose C stack, down to the
# interpreter's loop, no function of cyncore is.
OURS = "cyncore"
INTERPRETER = "_PyEval_EvalFrameDefault"


def is_library(error: BaseException) -> bool:
    """Whether the standard library raised it, or a function that is no compiled one."""
    if str(error).startswith("<function "):
        return True
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename if trace else ""
    return file.startswith(("<frozen", os.path.dirname(os.__file__)))


def fail(scene: Callable[[int], None], first: int, last: int) -> bool:
    """The scene, where allocations from `first` until `last` fail (0: all). Returns whether it ran to its end.

    Raises SystemError, which says that a function failed and did not say why, unless that was Python's own.
    """
    patience, scenes.PATIENCE = scenes.PATIENCE, SHORT
    _testcapi.set_nomemory(first, last)
    try:
        scene(9)  # whoever goes unserved
        return True
    except SystemError as error:
        if not is_library(error):
            raise
        return False
    except BaseException:
        return False
    finally:
        _testcapi.remove_mem_hooks()
        scenes.PATIENCE = patience


def one(scene: Callable[[int], None], k: int, span: int) -> int:
    fail(scene, k, k + span)
    return FINE


def all_after(scene: Callable[[int], None], k: int) -> int:
    return FINE if fail(scene, k + 1, 0) else UNLIKE


def count(scene: Callable[[int], None]) -> int:
    """How many allocations it makes: where all from one on fail it ends otherwise until there are no more."""
    low, high = 0, MOST
    while low < high:
        middle = (low + high) // 2
        if child(partial(all_after, scene, middle)) == FINE:
            high = middle
        else:
            low = middle + 1
    return low


def stack(name: str, k: int, span: int) -> list[str]:
    """The functions of the C stack of the crash, innermost first; empty where there is no debugger."""
    if not shutil.which("gdb"):
        return []
    command = ["gdb", "-batch", "-ex", "run", "-ex", "bt 40", "--args", sys.executable, __file__]
    said = subprocess.run(
        [*command, "--scene", name, "--at", str(k), "--span", str(span)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return [line for line in said.stdout.splitlines() if line.startswith("#")]


def is_ours(frames: list[str]) -> bool:
    """Whether cyncore is in it; where nobody can tell, it is."""
    for frame in frames:
        if OURS in frame:
            return True
        if INTERPRETER in frame:
            return False
    return True


def attack(name: str, every: int, span: int) -> tuple[int, int]:
    """Lets a scene's allocations fail. Returns how many were tried, and how many faults were found."""
    scene = SCENES[name]
    number = count(scene)
    tried = faults = 0
    for k in range(1 + random.randrange(every), number + 1, every):
        tried += 1
        status = child(partial(one, scene, k, span))
        if status == 0:
            continue
        frames = stack(name, k, span) if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGALRM else []
        whose = "" if is_ours(frames) else " (CPython's own: not counted)"
        faults += not whose
        print(f"{name}: {explain(status)} where allocation {k} of {number} fails{whose}", flush=True)
        for line in frames[:12] or words():
            print(f"    {line}", flush=True)
    print(f"{name}: {tried} of {number} allocations failed, {faults} faults", flush=True)
    return tried, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="let each Nth fail only (1: all)")
    parser.add_argument("--span", type=int, default=1, help="let so many in a row fail (1)")
    parser.add_argument("--scene", choices=list(SCENES), action="append", help="only this one")
    parser.add_argument("--at", type=int, help="only this allocation, in this process")
    parser.add_argument("--seed", type=int, default=0, help="of where each Nth begins")
    options = parser.parse_args()
    random.seed(options.seed)
    names = options.scene or list(SCENES)
    scenes.prepare()
    for scene in SCENES.values():  # what is made once is made now
        scene(0)
    if options.at:
        faulthandler.enable()
        fail(SCENES[names[0]], options.at, options.at + options.span)
        go_on()
        return 0
    began = time.monotonic()
    results = [attack(name, options.every, options.span) for name in names]
    tried, faults = (sum(one) for one in zip(*results, strict=True))
    print(f"{tried} single failed allocations in {time.monotonic() - began:.0f} s: {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
