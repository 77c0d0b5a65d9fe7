# SPDX-License-Identifier: MIT
"""Descriptor: what a stream uses in the place of a socket where it serves a pipe, a terminal or a file.

Facts that shape it:
- O_NONBLOCK belongs to the open file description. All processes that hold it have it together: the shell, and the other
  programs on a terminal. So it is set on nobody's standard input or output. These are opened once more, by the name of
  the terminal or in /proc; where that cannot be done, the kernel is asked before each step, which then does not block.
- A pipe goes one way. At its writing end an error is reported when nobody reads any more.
- Reading the master of a pseudo-terminal fails with EIO when nobody has the other side open.
"""

from __future__ import annotations

import os
import stat
from errno import EAGAIN, EBADF, EIO, ENOTSOCK, ENOTSUP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any
else:
    Any = object

HAS_READV = hasattr(os, "readv")  # and writev: PyPy has neither
_select: Any = None  # Python's own module, made when it is needed first


class Descriptor:
    """An open descriptor with the methods of a socket that a stream calls. It is closed with the stream.

    ``file``: what is closed in its place: a file object. ``is_shared``: the descriptor blocks, and stays so.
    """

    __slots__ = ("__weakref__", "_fd", "_file", "_is_terminal", "can_read", "can_write", "is_pipe", "is_shared")

    def __init__(self, fd: int, can_read: bool, can_write: bool, *, file: Any = None, is_shared: bool = False) -> None:
        self._fd = fd
        self._file = file
        self._is_terminal = os.isatty(fd)
        self.is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
        self.can_read = can_read
        self.can_write = can_write
        self.is_shared = is_shared

    def __repr__(self) -> str:
        ways = [name for name, can in (("reads", self.can_read), ("writes", self.can_write)) if can]
        return f"<Descriptor {self._fd} {' and '.join(ways)}>"

    def fileno(self) -> int:
        return self._fd

    def setblocking(self, flag: bool) -> None:
        if not self.is_shared:
            os.set_blocking(self._fd, flag)

    # Input

    def recv(self, size: int) -> bytes:
        if not self._may_read():
            return b""
        try:
            return os.read(self._fd, size)
        except OSError as error:
            if error.errno == EIO and self._is_terminal:
                return b""
            raise

    def recv_into(self, buffer: Any) -> int:
        if not self._may_read():
            return 0
        try:
            if HAS_READV:
                return os.readv(self._fd, [buffer])
            data = os.read(self._fd, len(buffer))
            buffer[: len(data)] = data
            return len(data)
        except OSError as error:
            if error.errno == EIO and self._is_terminal:
                return 0
            raise

    def _may_read(self) -> bool:
        """Returns False where the other end of what is only written is closed. BlockingIOError: there is nothing."""
        if self.can_read:
            if self.is_shared and not _ready(self._fd, "POLLIN"):
                raise BlockingIOError(EAGAIN, os.strerror(EAGAIN))
            return True
        if _ready(self._fd, None):
            return False
        raise BlockingIOError(EAGAIN, os.strerror(EAGAIN))

    def has_input(self) -> bool:
        """Would reading tell anything now: bytes, or the end?"""
        return self._fd >= 0 and _ready(self._fd, "POLLIN")

    # Output

    def send(self, data: Any) -> int:
        if self.is_shared:
            if not _ready(self._fd, "POLLOUT"):
                raise BlockingIOError(EAGAIN, os.strerror(EAGAIN))
            data = memoryview(data)[: _own_select().PIPE_BUF]  # so many it takes without blocking, if it has room
        if not self.can_write:
            raise OSError(EBADF, f"{os.strerror(EBADF)}: {self!r} cannot be written")
        return os.write(self._fd, data)

    def sendmsg(self, pieces: Sequence[bytes]) -> int:
        if self.is_shared or len(pieces) == 1 or not HAS_READV:
            return self.send(b"".join(pieces) if len(pieces) > 1 else pieces[0])
        return os.writev(self._fd, pieces)

    def shutdown(self, how: int) -> None:
        """Ends the output. There is none where it is only read; what is only written is closed by its stream."""
        if self.can_write:
            raise OSError(ENOTSUP, f"{os.strerror(ENOTSUP)}: the output of {self!r} does not end by itself")

    # Facts

    def getsockopt(self, level: int, name: int) -> int:
        return 0  # no error is kept here: reading and writing tell it

    def getpeername(self) -> Any:
        raise OSError(ENOTSOCK, os.strerror(ENOTSOCK))

    getsockname = getpeername

    # Its end

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        file, self._file = self._file, None
        if file is not None:
            file.close()
        elif fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()


def _own_select() -> Any:
    global _select
    if _select is None:
        from ._patched import own_select

        _select = own_select()
    return _select


def _ready(fd: int, what: str | None) -> bool:
    """Is it ready for ``what``, a name in `select`? Or, with None, gone: there is an error or a hang-up."""
    select = _own_select()
    if not hasattr(select, "poll"):  # pragma: no cover - where there is no poll(2)
        found = select.select([fd] if what == "POLLIN" else [], [fd] if what == "POLLOUT" else [], [], 0)
        return bool(found[0] or found[1])
    poller = select.poll()
    poller.register(fd, 0 if what is None else getattr(select, what))
    return bool(poller.poll(0))


def descriptor_of(file: Any, method: str) -> Descriptor:
    """A descriptor or an open file, taken over for a stream. Standard input and output stay open: 0, 1 and 2.

    Of these the first is only read, and the others are only written.

    TypeError for what is neither, ValueError for a socket or a folder, OSError for what is not open.
    """
    import fcntl

    if isinstance(file, bool) or not (isinstance(file, int) or hasattr(file, "fileno")):
        raise TypeError(f"{method}() serves a descriptor or an open file, not {file!r}")
    fd: int = file if isinstance(file, int) else file.fileno()
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        raise ValueError(f"{method}(): {file!r} is a socket: give it to a stream itself, Stream(sock, loop=loop)")
    if stat.S_ISDIR(mode):
        raise ValueError(f"{method}(): {file!r} is a folder, which is not read like a file")
    access = fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR)  # PyPy has no O_ACCMODE
    if fd <= 2 and access == os.O_RDWR:  # a terminal: all three are the same one there
        access = os.O_WRONLY if fd else os.O_RDONLY
    ways = (access != os.O_WRONLY, access != os.O_RDONLY)
    if fd > 2:
        os.set_blocking(fd, False)
        return Descriptor(fd, *ways, file=None if isinstance(file, int) else file)
    again = _opened_again(fd, access, mode)
    if again is None:
        return Descriptor(os.dup(fd), *ways, is_shared=not stat.S_ISREG(mode))
    return Descriptor(again, *ways)


def _opened_again(fd: int, access: int, mode: int) -> int | None:
    """Another open file description of the same terminal or pipe, which does not block; None: it cannot be had."""
    import sys

    if os.isatty(fd):
        name = os.ttyname(fd)
    elif stat.S_ISFIFO(mode) and sys.platform == "linux":
        name = f"/proc/self/fd/{fd}"  # elsewhere such a name is the same description
    else:
        return None
    try:
        return os.open(name, access | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # another user's, or there is no /proc
        return None
