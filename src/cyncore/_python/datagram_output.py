# SPDX-License-Identifier: MIT
"""DatagramOutput: what a channel of datagrams sends, what has failed on its way, and how its socket ends.

An error of the socket is that of an earlier datagram, nearly always. It costs nobody the socket: it is told, and what
was being sent is sent again. Nothing here calls the program from inside a call of the program: what has failed comes by
a queued call.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from errno import EAGAIN, EBADF, ECONNREFUSED, EINTR, ENOTSOCK, EOPNOTSUPP, EWOULDBLOCK
from typing import TYPE_CHECKING, Any, Final

from .._destination import checked, is_for_many, packed
from .._rules import EXITS, check_bytes, send_failure, too_much_output, wrong_target
from .._stuck import Stuck
from .channel import Channel
from .maps import NOT_OURS, SEND_NOW, SENT_LATER

CONTROL: Final = 512  # bytes of what the kernel tells beside a datagram, at most
MISHAPS: Final = 64  # failures that are taken at once
TRIES: Final = 16  # sends in a row that fail for what was sent earlier
RETRY: Final = 0.01  # seconds until a Unix socket without a peer tries again to send
NOT_NOW: Final = (EAGAIN, EWOULDBLOCK)

AF_UNIX: Final = getattr(socket, "AF_UNIX", None)
AF_INET6: Final = getattr(socket, "AF_INET6", None)
IPPROTO_IPV6: Final = getattr(socket, "IPPROTO_IPV6", 41)
MSG_ERRQUEUE: Final = getattr(socket, "MSG_ERRQUEUE", 0)
IS_LINUX: Final = os.name == "posix" and os.uname().sysname == "Linux"
IP_RECVERR: Final = getattr(socket, "IP_RECVERR", 11)  # the numbers of Linux, where the socket module has no name
IPV6_RECVERR: Final = getattr(socket, "IPV6_RECVERR", 25)
IP_PKTINFO: Final = getattr(socket, "IP_PKTINFO", 8 if IS_LINUX else None)
IPV6_PKTINFO: Final = getattr(socket, "IPV6_PKTINFO", None)
ORIGIN_LOCAL: Final = 1  # struct sock_extended_err (ip(7))
ORIGINS_OF_FAILURES: Final = (ORIGIN_LOCAL, 2, 3)  # and those of ICMP and ICMPv6


class DatagramOutput(Channel):
    """The output of a `DatagramChannel`, and its end."""

    max_output: int | None = 1048576

    _loop_kept: Any = None
    _remote: Any = None
    _family = 0
    _is_open_for_use = False
    _close_wanted = False
    _has_gone = False
    _has_remote = False
    _tells_failures = False
    _retrying = False
    _flush_queued = False
    _flushing = False
    _loss_queued = False
    _lost_count = 0
    _lost_size = 0
    _waiting = 0
    _room_wanted = False
    _stuck: Stuck | None = None  # what Unix sockets have no room for; none ever had: None

    # Made with the channel
    _crossing: deque[tuple[bytes, Any, Any]]  # what other threads have sent
    _cyncore_output: deque[tuple[bytes, Any, Any]]

    # DatagramChannel's
    _held: list[tuple[bytes, Any, Any, int]] | None

    if TYPE_CHECKING:  # Datagram's

        def handle_send_error(self, error: Exception, address: Any) -> None: ...
        def handle_close(self, error: BaseException | None) -> None: ...  # type: ignore[override]
        def _gone(self) -> None: ...

    # Its end

    def _end(self, error: BaseException | None) -> None:
        """Closes the socket, and has `handle_close(error)` called in the next tick. The first call counts."""
        if self._has_gone:
            return
        self._has_gone = True
        self._is_open_for_use = self.connected = False
        self._held = None
        self._cyncore_output.clear()
        self._crossing.clear()
        if self._stuck is not None:
            self._stuck.clear()
        self._waiting = 0
        sock = self.socket
        self.del_channel()
        if sock is not None:
            try:
                sock.close()
            except OSError as failure:  # it was closed behind our back
                error = failure if error is None else error
        self._gone()
        if self._loop_kept is not None and not self._loop_kept.closed:
            self._loop_kept.call_soon(self._guarded, self.handle_close, error)

    def _guarded(self, handler: Callable[..., object], *args: Any) -> None:
        try:
            handler(*args)
        except BaseException as failure:
            self._caught(failure)

    def _caught(self, error: BaseException) -> None:
        if isinstance(error, EXITS):
            raise error
        self._fail(error)

    # What is to be sent

    def send(self, data: Any, address: Any = None, source: Any = None) -> None:  # type: ignore[override]
        """Queues ``data`` (bytes, bytearray or memoryview), a datagram that leaves at the end of the tick. Any thread.

        ``address``: where to, with a host in digits; None: to `remote`. ``source``: what to send it from, an address
        and an interface, as a handler is given them where `wants_destination` is set. TypeError and ValueError for what
        is no address; RuntimeError before there is a loop. Dropped after `close`, or when the socket is gone.
        """
        data = check_bytes(data)
        if self.closing:
            return
        loop = self._loop_kept
        if loop is None:
            raise RuntimeError(f"{self!r}: send() needs a loop")
        if (address is None) != self._has_remote:
            raise wrong_target(self, address, self._remote)
        if address is not None:
            address = checked(self._family, address)
        if source is not None:
            source = _source(self._family, source)
        if loop.closed:
            return
        turn = loop._sending()
        if turn == NOT_OURS:
            self._crossing.append((data, address, source))
            loop.call_soon_threadsafe(self._take_crossing)
            return
        try:
            self._take_crossing()  # what was sent before comes first
            self._queue(data, address, source, turn == SENT_LATER)
            if turn == SEND_NOW and not self._room_wanted:
                self._flush()
        finally:
            if turn == SEND_NOW:
                loop._sent()

    def _take_crossing(self) -> None:
        """Queues what other threads have sent."""
        while self._crossing:
            self._queue(*self._crossing.popleft(), self._loop_kept._sending_now())

    def _queue(self, data: bytes, address: Any, source: Any, is_gathered: bool) -> None:
        if self.closing:
            return
        if self._stuck is not None and not self._cyncore_output and self._stuck.has(address):
            self._wait_for_receiver(data, address)
            return
        held_back = self._room_wanted or not self._is_open_for_use
        if held_back and self.max_output is not None and self._waiting + len(data) > self.max_output:
            self._lose(len(data))
            return
        self._cyncore_output.append((data, address, source))
        self._waiting += len(data)
        if is_gathered and not held_back:
            self._flush_later()

    # Sending

    def _flush_later(self) -> None:
        if not self._flush_queued:
            self._flush_queued = True
            self._loop_kept._gather(self, self._flush_gathered)

    def _flush_gathered(self) -> None:
        self._flush_queued = False
        self._flush()

    def _flush(self) -> None:
        """Sends what the socket takes now. What a signal's handler or a finalizer sends meanwhile comes behind."""
        if self._flushing:
            return
        self._flushing = True
        try:
            self._flush_all()
        finally:
            self._flushing = False

    def _flush_all(self) -> None:
        tries = 0
        while self._cyncore_output and self._is_open_for_use:
            data, address, source = self._cyncore_output[0]
            if self._stuck is not None and self._stuck.has(address):
                self._cyncore_output.popleft()
                self._waiting -= len(data)
                self._wait_for_receiver(data, address)
                continue
            try:
                self._send_one(data, address, source)
            except OSError as error:
                number = error.errno or 0
                if self._has_gone:  # the same handler has ended it
                    return
                if number in NOT_NOW and self._family == AF_UNIX and not self._has_remote:
                    self._cyncore_output.popleft()
                    self._waiting -= len(data)
                    self._wait_for_receiver(data, address)
                    continue
                if number in NOT_NOW:
                    self._wait_for_room()
                    return
                if number in (EBADF, ENOTSOCK):
                    self._end(error)
                    return
                if number == EINTR:
                    continue
                tries += 1
                if tries <= TRIES and self._is_earlier(number):
                    continue  # nothing of this one was sent
                self._tell(number, self._remote if address is None else address)
            else:
                self._cyncore_note_bytes(0, len(data))
            tries = 0
            if self._has_gone:
                return
            self._cyncore_output.popleft()
            self._waiting -= len(data)
        if self._close_wanted and not self._cyncore_output and not self._stuck:
            self._end(None)

    def _send_one(self, data: bytes, address: Any, source: Any) -> None:
        if source is not None:
            self.socket.sendmsg([data], source, 0, *(() if address is None else (address,)))
        elif address is None:
            self.socket.send(data)
        else:
            self.socket.sendto(data, address)

    def _wait_for_room(self) -> None:
        """Has what waits sent when there is room for it, and drops what is too much to be kept."""
        while self.max_output is not None and self._waiting > self.max_output:
            data, _, _ = self._cyncore_output.pop()
            self._waiting -= len(data)
            self._lose(len(data))
        self._room_wanted = True
        self._cyncore_interest_changed()

    # Unix sockets whose receiver has no room

    def _wait_for_receiver(self, data: bytes, address: Any) -> None:
        """Has a datagram wait until a Unix socket has room, or drops it where too much waits."""
        if self._stuck is None:
            self._stuck = Stuck()
        if not self._stuck.add(data, address, self.max_output):
            self._lose(len(data))
            return
        self._waiting += len(data)
        self._retry_later()

    def _retry_later(self) -> None:
        if not self._retrying and self._stuck and not self._loop_kept.closed:
            self._retrying = True
            self._loop_kept.call_later(RETRY, self._retry)

    def _retry(self) -> None:
        """Tries again to send to those that had no room."""
        self._retrying = False
        if self._has_gone or self._stuck is None:
            return
        self._stuck.send(self._send_again)
        if self._close_wanted and not self._cyncore_output and not self._stuck:
            self._end(None)
        elif not self._has_gone:
            self._retry_later()

    def _send_again(self, data: bytes, address: Any) -> bool:
        """Sends one that waited. False: there is no room still."""
        try:
            self.socket.sendto(data, address)
        except OSError as error:
            number = error.errno or 0
            if self._has_gone or number in NOT_NOW:
                return False
            if number in (EBADF, ENOTSOCK):
                self._end(error)
                return False
            self._tell(number, address)
        else:
            self._cyncore_note_bytes(0, len(data))
        if self._has_gone:
            return False
        self._waiting -= len(data)
        return True

    # What has failed

    def _lose(self, size: int) -> None:
        self._lost_count += 1
        self._lost_size += size
        if not self._loss_queued:
            self._loss_queued = True
            self._loop_kept.call_soon(self._tell_loss)

    def _tell_loss(self) -> None:
        count, size, self._lost_count, self._lost_size = self._lost_count, self._lost_size, 0, 0
        self._loss_queued = False
        if not self._has_gone:
            self._guarded(self.handle_send_error, too_much_output(self, count, size, self.max_output or 0), None)

    def _is_earlier(self, number: int) -> bool:
        """Has a send failed because of what was sent earlier, which is told? Then it is to be repeated."""
        if self._take_mishaps(number):
            return True
        if number != ECONNREFUSED or self._family == AF_UNIX:
            return False
        self._tell(number, self._remote)  # of a kernel that keeps no queue
        return True

    def _take_mishaps(self, own_error: int) -> int:
        """Tells what the kernel has queued, and returns how much; but for this host's own refusal of what is being
        sent.
        """
        count = 0
        for _ in range(MISHAPS if self._tells_failures else 0):
            try:
                _, ancillary, _, address = self.socket.recvmsg(0, CONTROL, MSG_ERRQUEUE)
            except OSError:
                break
            for level, kind, content in ancillary:
                if (level, kind) not in ((socket.IPPROTO_IP, IP_RECVERR), (IPPROTO_IPV6, IPV6_RECVERR)):
                    continue
                number, origin = struct.unpack_from("@IB", content)
                if origin in ORIGINS_OF_FAILURES and not (origin == ORIGIN_LOCAL and number == own_error):
                    self._tell(number, address)
                    count += 1
        return count

    def _tell(self, number: int, address: Any) -> None:
        """Has the program told in the next tick: nothing of a channel calls it from inside a call of the program."""
        if not self._loop_kept.closed:
            self._loop_kept.call_soon(self._tell_failure, send_failure(number, address), address)

    def _tell_failure(self, error: OSError, address: Any) -> None:
        if not self._has_gone:
            self._guarded(self.handle_send_error, error, address)


def _source(family: int, given: Any) -> list[tuple[int, int, bytes]]:
    """The control message that sends from (host, interface). TypeError and ValueError for what is none."""
    if not isinstance(given, tuple) or len(given) != 2 or family not in (socket.AF_INET, AF_INET6):
        raise TypeError(f"the source of a datagram is (host, interface), not {given!r}")
    host = packed(family, given[0])
    if is_for_many(host):
        host = bytes(len(host))
    option = IPV6_PKTINFO if family == AF_INET6 else IP_PKTINFO
    if option is None:
        raise OSError(EOPNOTSUPP, f"{os.strerror(EOPNOTSUPP)}: the source of a datagram, on this system")
    if family == AF_INET6:
        return [(IPPROTO_IPV6, option, host + struct.pack("@I", given[1]))]
    return [(socket.IPPROTO_IP, option, struct.pack("@i", given[1]) + host + bytes(4))]
