# SPDX-License-Identifier: MIT
"""Connect: a client's way to a connection. It tries the addresses of a name in turn, and overlapping (RFC 8305)."""

from __future__ import annotations

import os
import socket
import sys
from errno import EALREADY, EINPROGRESS, EISCONN, EWOULDBLOCK
from typing import Any, Final

from .._dispatcher import dispatcher
from .._report import WARNING, report
from .._stream.stream import Stream
from .address import check_pair, interleaved, is_path, numeric, path_family, words
from .resolver import resolve

_PENDING: Final = (EINPROGRESS, EALREADY, EWOULDBLOCK)


NAME_LIMIT: Final = 300
"""Seconds that a name may take, where no deadline says less. The system's own resolver takes 30 at most by default."""


class Attempt(dispatcher):
    """A connect to one address."""

    def __init__(self, race: Connect, family: int, target: Any) -> None:
        dispatcher.__init__(self, None, race.loop.map)
        self.race = race
        self.target = target
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if race.local_address is not None:
                sock.bind(race.local_address)
            self.set_socket(sock)
        except BaseException:
            sock.close()
            raise

    def start(self) -> None:
        error = self.socket.connect_ex(self.target)
        if error in (0, EISCONN):
            self.race.won(self)
        elif error in _PENDING:
            self.connecting = True
        else:
            self.race.lost(self, error)

    def handle_connect_event(self) -> None:
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.race.lost(self, error)
        else:
            self.race.won(self)

    def handle_close(self) -> None:
        self.handle_connect_event()

    def handle_error(self) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self.race.lost(self, error.errno or 0)
        else:
            self.race.fail(error)


class Connect:
    """The connects of one stream that are going on. The first that succeeds ends the others."""

    def __init__(self, stream: Any, loop: Any, local_address: Any, delay: float) -> None:
        self.stream = stream
        self.loop = loop
        self.local_address = local_address
        self.delay = delay
        self.attempts: list[Attempt] = []
        self.left: list[tuple[Any, ...]] = []
        self.errors: list[OSError] = []
        self.timer: Any = None
        self.is_over = False

    def start(self, address: Any) -> None:
        if is_path(address):
            self.found([(path_family(address), socket.SOCK_STREAM, 0, "", os.fspath(address))], None)
            return
        host, port = check_pair(address)
        known = numeric(host, port)
        if known is None:
            # The timer also keeps `Loop.run` from ending: nothing else of this connect is in the loop meanwhile.
            late = TimeoutError(f"{host!r} was not found within {NAME_LIMIT} seconds")
            self.timer = self.loop.call_later(NAME_LIMIT, self.found, [], late)
            resolve(self.loop, host, port, self.found)
        else:
            self.found(known, None)

    def found(self, addresses: list[tuple[Any, ...]], error: BaseException | None) -> None:
        """The addresses of the name are known, or could not be found."""
        if self.is_over or self.left or self.attempts:
            return
        if error is not None or not addresses:
            self.fail(error or OSError(0, "the name has no address"))
            return
        try:
            self.left = interleaved(addresses)
        except (LookupError, TypeError, ValueError) as wrong:  # a resolver of the program has made them
            self.fail(wrong)
            return
        self.next()

    def next(self) -> None:
        """Tries the next address, beside those that are being tried."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        while self.left and not self.is_over:
            count = len(self.errors)
            target: Any = None
            try:
                family, _, _, _, target = self.left.pop(0)
                attempt = Attempt(self, family, target)
            except OSError as error:
                self.errors.append(OSError(error.errno, f"{error.strerror}: {words(target)}"))
                continue
            except (LookupError, TypeError, ValueError) as wrong:  # the family, or `local_address`, makes no sense
                self.fail(wrong)
                return
            self.attempts.append(attempt)
            if self.left:
                self.timer = self.loop.call_later(self.delay, self.next)
            try:
                attempt.start()
            except (LookupError, TypeError, ValueError) as wrong:  # the address makes no sense
                self.fail(wrong)
                return
            if len(self.errors) == count:
                return
        if not self.attempts and not self.left and not self.is_over:
            self.fail(None)

    def lost(self, attempt: Attempt, error: int) -> None:
        """One address has failed: the next one is tried at once."""
        if attempt not in self.attempts:
            return
        self.attempts.remove(attempt)
        attempt.close()
        self.errors.append(OSError(error, f"{os.strerror(error)}: {words(attempt.target)}"))
        self.loop.call_soon(self.go_on)

    def go_on(self) -> None:
        if self.is_over:
            return
        if self.left:
            self.next()
        elif not self.attempts:
            self.fail(None)

    def won(self, attempt: Attempt) -> None:
        """The first connection: the stream gets its socket."""
        sock = attempt.socket
        self.attempts.remove(attempt)
        attempt.del_channel()
        self.cancel()
        self.stream._connected(sock, attempt.target)

    def fail(self, error: BaseException | None) -> None:
        self.cancel()
        if error is None:
            if len(self.errors) == 1:
                error = self.errors[0]
            else:
                error = OSError(self.errors[-1].errno, "; ".join(str(each.strerror) for each in self.errors))
        stream = self.stream
        if type(stream).handle_close is Stream.handle_close and stream._pipe is None:  # nobody would hear of it
            name = type(stream).__qualname__
            report(WARNING, "%r could not connect (%s), which %s.handle_close() does not tell", stream, error, name)
        stream._end(error)

    def cancel(self) -> None:
        """Ends all that is going on."""
        self.is_over = True
        if self.timer is not None:
            self.timer.cancel()
        while self.attempts:
            self.attempts.pop().close()
