# SPDX-License-Identifier: MIT
"""Watches folders, and all that is below them, and prints what changes there (inotify(7), so on Linux only).

    python examples/inotify.py FOLDER...

What is made in a new folder before it is watched is not told. SIGTERM and SIGINT end it.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import struct
import sys

from cyncore import Loop, Stream

EVENT = struct.Struct("iIII")  # the watch, what has happened, which move it belongs to, the size of the name

MODIFY, ATTRIB = 0x2, 0x4
MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x40, 0x80, 0x100, 0x200
OVERFLOW, IGNORED, IS_FOLDER = 0x4000, 0x8000, 0x40000000
ONLY_FOLDERS, NO_LINKS = 0x1000000, 0x2000000
WORDS = {
    MODIFY: "written",
    ATTRIB: "attributes",
    MOVED_FROM: "moved away",
    MOVED_TO: "moved here",
    CREATE: "made",
    DELETE: "removed",
}
ALL = sum(WORDS)

kernel = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)
    return result


class Changes(Stream):
    """What the kernel tells of the folders. Reading gives whole events, as many as fit."""

    def __init__(self, fd: int) -> None:
        self.inotify = fd
        self.folders: dict[int, str] = {}  # by the number of the watch

    def watch(self, folder: str) -> None:
        """Watches a folder and all that is below it. OSError if it is none, or the user has no watches left."""
        number = kernel.inotify_add_watch(self.inotify, os.fsencode(folder), ALL | ONLY_FOLDERS | NO_LINKS)
        self.folders[checked(number, folder)] = folder
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    self.watch_below(entry.path)

    def watch_below(self, folder: str) -> None:
        try:
            self.watch(folder)
        except FileNotFoundError:
            pass  # it is gone already, which an event tells
        except OSError as error:
            print(f"not watched: {error}", file=sys.stderr, flush=True)

    def handle_data(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            watch, mask, _, size = EVENT.unpack_from(data, at)
            at += EVENT.size
            self.tell(watch, mask, os.fsdecode(data[at : at + size].rstrip(b"\0")))
            at += size

    def tell(self, watch: int, mask: int, name: str) -> None:
        if mask & OVERFLOW:
            print("changes were lost: there were too many at once", file=sys.stderr, flush=True)
            return
        if mask & IGNORED:  # the folder is gone
            self.folders.pop(watch, None)
            return
        path = os.path.join(self.folders.get(watch, "?"), name)
        for bit, word in WORDS.items():
            if mask & bit:
                print(word, path, flush=True)
        if mask & IS_FOLDER and mask & (CREATE | MOVED_TO):
            self.watch_below(path)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", nargs="+")
    folders = options.parse_args().folder
    fd = checked(kernel.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")
    with Loop() as loop:
        changes = loop.open_pipe(fd, lambda: Changes(fd))
        for folder in folders:
            changes.watch(folder)
        loop.drain_on_signals(1)
        print("ready", flush=True)
        loop.run()


if __name__ == "__main__":
    main()
