# SPDX-License-Identifier: MIT
"""Where the Unix socket of a process is, by which its loop is looked into: for the server, and for whoever looks."""

from __future__ import annotations

import os
import stat
import sys
import tempfile

NUMBERS = 16  # loops of one process that have a socket each


def folder() -> str:
    """The folder for the sockets of this user, which nobody else can enter. PermissionError if it is somebody else's.

    It is the runtime folder of the session where there is one, or one in the folder for temporary files.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and _is_private(runtime):
        return runtime
    path = os.path.join(tempfile.gettempdir(), f"cyncore-{os.getuid()}")
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:  # an earlier process has made it, unless somebody wants to see what comes there
        pass
    if not _is_private(path):
        raise PermissionError(f"{path} is not a folder that belongs to this user alone: sockets cannot be put there")
    return path


def _is_private(path: str) -> bool:
    """Is it a folder of this user alone?"""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def name(pid: int, number: int) -> str:
    return f"cyncore-{pid}.sock" if number == 0 else f"cyncore-{pid}-{number + 1}.sock"


def free_path() -> str:
    """The first path for this process that no loop of it has. OSError if there are too many."""
    at = folder()
    for number in range(NUMBERS):
        path = os.path.join(at, name(os.getpid(), number))
        if not _serves(path):
            return path
    raise OSError(f"{NUMBERS} loops of this process have a socket already")


def _serves(path: str) -> bool:
    """Does anybody listen there? A process that had this number before may have left the file."""
    import socket

    if not os.path.exists(path) or not hasattr(socket, "AF_UNIX"):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(path)
        except BlockingIOError:  # its queue is full, so there is one
            return True
        except ConnectionRefusedError:  # an earlier process has left it
            os.unlink(path)
            return False
        except OSError:  # whatever it is, it is not ours
            return True
    return True


def paths_of(pid: int) -> list[str]:
    """The sockets of that process that are there, the first loop's first."""
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:  # a system without /proc, or no such process
        uid = os.getuid()
    folders = [os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{uid}", f"{tempfile.gettempdir()}/cyncore-{uid}"]
    found: list[str] = []
    for at in folders:
        for number in range(NUMBERS):
            path = os.path.join(at or os.curdir, name(pid, number))
            if at and path not in found and os.path.exists(path):
                found.append(path)
    return found


def program() -> str:
    """What this process is called, for people."""
    first = sys.argv[0] if sys.argv else ""
    return os.path.basename(first) or "python"
