# SPDX-License-Identifier: MIT
"""FilePart: a part of a file in the output of a stream, which the kernel sends (sendfile(2))."""

from __future__ import annotations

import os
import stat
from errno import EAGAIN, EINTR, EINVAL, ENOSYS, ENOTSUP, EWOULDBLOCK, EXDEV

from .._descriptor import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final
else:
    Any = object

AT_ONCE: Final = 1 << 20  # bytes that one call may send: a stream must not keep the others waiting
COPIED: Final = 65536  # bytes that are read at once where the kernel cannot send the file
PROGRESS: Final = 65536  # bytes that put the write deadline off
LAST_OFFSET: Final = 2**63 - 1  # off_t has 64 bits

_CANNOT: Final = frozenset({EINVAL, ENOSYS, ENOTSUP, EXDEV})  # this file, or this socket, is none for sendfile


class FilePart:
    """``count`` bytes of a file from ``offset`` on. It has a descriptor of its own, until it is sent or dropped."""

    __slots__ = ("copies", "fd", "left", "offset", "taken", "waiting")

    def __init__(self, file: Any, offset: int, count: int | None) -> None:
        if not isinstance(file, int) and not hasattr(file, "fileno"):
            raise TypeError(f"sendfile() sends an open file, or a descriptor, not {file!r}")
        for name, value in (("offset", offset), ("count", 0 if count is None else count)):
            if not isinstance(value, int):
                raise TypeError(f"sendfile(): {name} must be an int, not {value!r}")
        fd = file if isinstance(file, int) else file.fileno()
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"sendfile() sends regular files, and {file!r} is none")
        if offset < 0 or (count is not None and count < 0):
            raise ValueError(f"sendfile(): offset and count must not be below zero: {offset!r}, {count!r}")
        if offset + (count or 0) > LAST_OFFSET:
            raise ValueError(f"sendfile(): no file is as long as that: {offset!r}, {count!r}")
        self.offset = offset
        self.left = max(status.st_size - offset, 0) if count is None else count
        self.copies = not hasattr(os, "sendfile")
        self.taken = 0  # bytes that the peer has taken since progress was noted
        self.waiting = b""  # read from the file, and not sent yet
        self.fd = os.dup(fd)

    def send(self, stream: Any) -> bool:
        """Sends what the socket takes now. Returns True when all of it was sent, or the stream has ended."""
        budget = AT_ONCE
        while (self.left or self.waiting) and not stream._is_gone:
            if budget <= 0:
                return False
            try:
                sent = self._send_copy(stream) if self._must_copy(stream) else self._send(stream)
            except OSError as error:
                return self._failed(stream, error)
            if sent is None:
                return False
            budget -= sent
            stream._note_bytes(0, sent)
            self.taken += sent
            if self.taken >= PROGRESS or not (self.left or self.waiting):
                self.taken = 0
                stream._note_progress(False)
        self.close()
        return True

    def _must_copy(self, stream: Any) -> bool:
        return self.copies or stream._session is not None or isinstance(stream.socket, Descriptor)

    def _send(self, stream: Any) -> int | None:
        sent = os.sendfile(stream.socket.fileno(), self.fd, self.offset, min(self.left, AT_ONCE))
        if sent == 0:
            self._end_early(stream)
            return None
        self._moved(sent)
        return sent

    def _send_copy(self, stream: Any) -> int | None:
        if not self.waiting:
            self.waiting = os.pread(self.fd, min(self.left, COPIED), self.offset)
            if not self.waiting:
                self._end_early(stream)
                return None
            self._moved(len(self.waiting))
        send = stream.socket.send if stream._session is None else stream._session.write
        sent = int(send(self.waiting))
        self.waiting = self.waiting[sent:]
        return sent

    def _moved(self, count: int) -> None:
        self.offset += count
        self.left -= count

    def _end_early(self, stream: Any) -> None:
        stream._end(
            OSError(f"{stream!r}: the file has become shorter while it was sent: {self.left} bytes are missing")
        )

    def _failed(self, stream: Any, error: OSError) -> bool:
        """Returns what `send` returns."""
        if stream._session is not None:
            return bool(stream._session_cannot_write(error))
        if error.errno in (EAGAIN, EWOULDBLOCK, EINTR):
            return False
        if error.errno in _CANNOT and not self.copies:
            self.copies = True
            return self.send(stream)
        stream._lost(error)
        return True

    def close(self) -> None:
        """Gives the descriptor back."""
        fd, self.fd = self.fd, -1
        self.left = 0
        self.waiting = b""
        if fd >= 0:
            os.close(fd)
