# SPDX-License-Identifier: MIT
"""inherited: the sockets that systemd has opened for the program, by the protocol of sd_listen_fds(3)."""

from __future__ import annotations

import os
import socket
from typing import Final

FIRST: Final = 3  # the descriptor of the first one

_passed: list[tuple[str, int]] = []  # name and descriptor of those that nobody has asked for yet


class Inherited:
    """Sockets for `Loop.listen`. ``descriptors``: theirs, which `sockets` takes."""

    def __init__(self, name: str | None, descriptors: list[int]) -> None:
        self.name = name
        self._descriptors = descriptors

    def __repr__(self) -> str:
        return f"<inherited({'' if self.name is None else repr(self.name)}) descriptors {self._descriptors}>"

    def sockets(self) -> list[socket.socket]:
        """Makes the sockets. OSError, which names the descriptor, for one that is no stream socket.

        RuntimeError the second time: a server has them.
        """
        descriptors, self._descriptors = self._descriptors, []
        if not descriptors:
            raise RuntimeError(f"{self!r}: its sockets were taken already")
        made: list[socket.socket] = []
        try:
            for number in descriptors:
                try:
                    made.append(socket.socket(fileno=number))
                except OSError as error:
                    raise OSError(error.errno, f"{error.strerror}: inherited descriptor {number}") from None
                if made[-1].type != socket.SOCK_STREAM:
                    raise OSError(0, f"inherited descriptor {number} is no stream socket")
                if made[-1].family != getattr(socket, "AF_UNIX", None):
                    made[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as of a server's own sockets
        except BaseException:
            for sock in made:
                sock.close()
            raise
        return made


def inherited(name: str | None = None) -> Inherited:
    """Returns the sockets that systemd has passed under ``name`` (None: all that are left), for `Loop.listen`.

    The first call takes them all out of the environment, and keeps them from programs that this one starts. LookupError
    where none was passed, or all are taken. To be called from one thread.
    """
    _passed.extend(_take_environment())
    found = [number for known, number in _passed if name is None or known == name]
    if not found:
        raise LookupError("systemd has passed no socket" + ("" if name is None else f" by the name of {name!r}"))
    _passed[:] = [(known, number) for known, number in _passed if number not in found]
    return Inherited(name, found)


def _take_environment() -> list[tuple[str, int]]:
    """Reads and removes LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES. Nothing if they are for another process."""
    pid, count, names = (os.environ.pop(key, "") for key in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()):
        return []
    if not (count.isascii() and count.isdigit()):
        raise ValueError(f"LISTEN_FDS is no number: {count!r}")
    numbers = range(FIRST, FIRST + int(count))
    for number in numbers:
        os.set_inheritable(number, False)
    known = names.split(":") if names else []  # without that variable, one socket has the name "unknown" as well
    if len(known) != len(numbers):
        known = ["unknown"] * len(numbers)
    return list(zip(known, numbers, strict=True))
