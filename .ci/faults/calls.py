"""One call of the C library fails: each kind that cyncore makes, with each errno of its man page, each in turn.

python calls.py [--every N] [--scene NAME] [--call NAME]

calls.c is compiled and preloaded; only what cyncore's own modules call fails. A crash, a hang, a spin, somebody
unserved who has nothing to do with the failure, and a scene that does not work afterwards are faults.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import scenes
from child import FINE, child, explain, words
from scenes import SCENES, Unserved

PATIENCE = 1.0  # seconds of a scene
WAITS = 1000  # of a scene: five milliseconds each, and some at once; more is a spin
# What its man page allows here, whatever state the descriptor is in: EAGAIN of a wake-up's write would mean that the
# other end has something to read already, and EBADF that the descriptor is closed.
ERRORS = {
    "malloc": ["ENOMEM"],
    "calloc": ["ENOMEM"],
    "realloc": ["ENOMEM"],
    "epoll_create1": ["EMFILE", "ENFILE", "ENOMEM"],
    "epoll_ctl": ["ENOMEM", "ENOSPC"],
    "epoll_wait": ["EINTR"],
    "epoll_pwait2": ["EINTR", "ENOSYS", "EPERM"],
    "eventfd": ["EMFILE", "ENFILE", "ENOMEM"],
    "accept4": ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EAGAIN", "EINTR", "EPROTO", "EPERM"],
    "getpeername": ["ENOTCONN", "ENOBUFS"],
    "recv": ["EAGAIN", "EINTR", "ECONNRESET", "ETIMEDOUT", "ENOMEM", "EHOSTUNREACH"],
    "send": ["EAGAIN", "EINTR", "ECONNRESET", "EPIPE", "ENOBUFS", "ENOMEM"],
    "sendmsg": ["EAGAIN", "EINTR", "ECONNRESET", "EPIPE", "ENOBUFS", "ENOMEM"],
    "recvmmsg": ["EAGAIN", "EINTR", "ECONNREFUSED", "ENOMEM", "EHOSTUNREACH"],
    "sendmmsg": ["EAGAIN", "EINTR", "ECONNREFUSED", "EMSGSIZE", "EPERM", "ENOBUFS", "ENOMEM", "EIO", "EINVAL"],
    "read": ["EAGAIN", "EINTR"],
    "write": ["EINTR"],
    "poll": ["EINTR", "ENOMEM"],
    "close": ["EINTR", "EIO"],
    "fcntl": ["EINTR"],
    "ioctl": ["EINVAL", "ENOTTY"],
}
NAMES = {call: call.encode() for call in ERRORS}  # calls.c keeps what it is given
# What says "not now" loses nobody.
PASSING = {"EAGAIN", "EINTR"}


def load() -> ctypes.CDLL:
    """What is preloaded, told where cyncore's code is."""
    library = ctypes.CDLL(None)
    library.fault_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int]
    library.fault_range.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    library.fault_seen.restype = library.fault_waits.restype = ctypes.c_long
    for line in Path("/proc/self/maps").read_text().splitlines():
        words = line.split()
        if "x" in words[1] and "/cyncore/_" in words[-1]:
            low, high = (int(word, 16) for word in words[0].split("-"))
            library.fault_range(low, high)
    return library


def attack(library: ctypes.CDLL, scene: Callable[[int], None], call: str, k: int, name: str) -> int:
    scenes.PATIENCE = PATIENCE
    spare = 0 if name in PASSING or call == "accept4" else 1
    library.fault_arm(NAMES[call], k, getattr(errno, name))
    try:
        scene(spare)
    except (OSError, MemoryError):
        return FINE  # told to whoever made the call
    finally:
        waits = library.fault_waits()
        library.fault_arm(None, 0, 0)
    if waits > WAITS:
        raise Unserved(f"waited {waits} times")
    return FINE


def attack_all(library: ctypes.CDLL, name: str, calls: list[str], every: int) -> tuple[int, int]:
    """Lets a scene's calls fail. Returns how many were tried, and how many faults were found."""
    tried = faults = 0
    for call in calls:
        library.fault_arm(NAMES[call], 0, 0)
        SCENES[name](0)
        number = library.fault_seen()
        library.fault_arm(None, 0, 0)
        for error in ERRORS[call]:
            for k in range(1 + random.randrange(every), number + 1, every):
                tried += 1
                status = child(partial(attack, library, SCENES[name], call, k, error))
                if status:
                    faults += 1
                    print(f"{name}: {explain(status)} where {call} {k} of {number} fails with {error}", flush=True)
                    for line in words():
                        print(f"    {line}", flush=True)
    print(f"{name}: {tried} calls failed, {faults} faults", flush=True)
    return tried, faults


def preload(folder: str) -> None:
    """Begins again, with calls.c in the way."""
    library = Path(folder, "calls.so")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    source = Path(__file__).with_suffix(".c")
    flags = ["-O2", "-shared", "-fPIC", "-fno-builtin", "-o", str(library), str(source), "-ldl"]
    subprocess.run([*compiler, *flags], check=True)
    done = subprocess.run(
        [sys.executable, *sys.argv], env={**os.environ, "LD_PRELOAD": str(library)}, check=False, timeout=7200
    )
    sys.exit(done.returncode)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="let each Nth fail only (1: all)")
    parser.add_argument("--scene", choices=list(SCENES), action="append", help="only this one")
    parser.add_argument("--call", choices=list(ERRORS), action="append", help="only calls of this name")
    parser.add_argument("--seed", type=int, default=0, help="of where each Nth begins")
    options = parser.parse_args()
    if "calls.so" not in os.environ.get("LD_PRELOAD", ""):
        with tempfile.TemporaryDirectory() as folder:
            preload(folder)
    random.seed(options.seed)
    scenes.prepare()
    for scene in SCENES.values():  # what is made once is made now
        scene(0)
    library = load()
    began = time.monotonic()
    names, calls = options.scene or list(SCENES), options.call or list(ERRORS)
    results = [attack_all(library, name, calls, options.every) for name in names]
    tried, faults = (sum(one) for one in zip(*results, strict=True))
    print(f"{tried} single failed calls in {time.monotonic() - began:.0f} s: {faults} faults")
    return 1 if faults or not tried else 0


if __name__ == "__main__":
    sys.exit(main())
