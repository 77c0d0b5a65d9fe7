# SPDX-License-Identifier: MIT
"""DatagramChannel in plain Python: receives and sends datagrams one by one, and tells what has failed.

What both engines offer to the class `Datagram` above them, besides the methods that docs/datagrams.md describes:

- `_adopt(loop, has_remote)`: it has a loop, and no socket yet. `_open(sock, loop, remote)`: joins the loop with a
  non-blocking socket. `_ready()`: the program may use it.
- `_end(error)`: closes the socket; `_fail(error)`, which is `Datagram`'s: a handler of the program has raised.
- `_gso`, `_gro`: whether the kernel cuts up and joins datagrams for it. Here it never does: the socket module can ask
  for it, but what is gained by it is lost in Python.

The facts of the kernel are in csrc/cyn_datagram.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from errno import EAGAIN, EBADF, ECONNREFUSED, EINTR, EINVAL, ENOBUFS, ENOMEM, ENOTSOCK, EOPNOTSUPP, EWOULDBLOCK
from typing import TYPE_CHECKING, Any, Final

from .._destination import checked, is_for_many, packed
from .._rules import EXITS, check_bytes, send_failure, too_much_output, wrong_target
from .._stuck import Stuck
from .channel import Channel
from .maps import NOT_OURS, SEND_NOW, SENT_LATER
from .poller import READ, WRITE, hung_up_now

BATCH: Final = 64  # datagrams that are received for one event
ROOM: Final = 65536  # bytes of the largest that is received whole
CONTROL: Final = 512
HAS_RECVMSG: Final = hasattr(socket.socket, "recvmsg")  # Windows has none
MISHAPS: Final = 64  # failures that are taken at once
TRIES: Final = 16  # sends in a row that fail for what was sent earlier
RETRY: Final = 0.01  # seconds until a Unix socket without a peer tries again to send
BROKEN: Final = frozenset((EBADF, ENOTSOCK, EOPNOTSUPP, EINVAL))  # of receiving: the socket is of no use
NOT_NOW: Final = (EAGAIN, EWOULDBLOCK)

AF_UNIX: Final = getattr(socket, "AF_UNIX", None)
AF_INET6: Final = getattr(socket, "AF_INET6", None)
IPPROTO_IPV6: Final = getattr(socket, "IPPROTO_IPV6", 41)
MSG_ERRQUEUE: Final = getattr(socket, "MSG_ERRQUEUE", 0)
MSG_TRUNC: Final = getattr(socket, "MSG_TRUNC", 0)
IS_LINUX: Final = os.name == "posix" and os.uname().sysname == "Linux"
IP_RECVERR: Final = getattr(socket, "IP_RECVERR", 11)  # the numbers of Linux, where the socket module has no name
IPV6_RECVERR: Final = getattr(socket, "IPV6_RECVERR", 25)
IP_PKTINFO: Final = getattr(socket, "IP_PKTINFO", 8 if IS_LINUX else None)
IPV6_RECVPKTINFO: Final = getattr(socket, "IPV6_RECVPKTINFO", None)
IPV6_PKTINFO: Final = getattr(socket, "IPV6_PKTINFO", None)
ORIGIN_LOCAL: Final = 1  # struct sock_extended_err (ip(7))
ORIGINS_OF_FAILURES: Final = (ORIGIN_LOCAL, 2, 3)  # and those of ICMP and ICMPv6


class DatagramChannel(Channel):
    """A channel of datagrams."""

    _tells_interest = True
    _takes_errors = True

    max_output: int | None = 1048576
    max_size = 65535
    offload = True
    wants_destination = False

    _loop_kept: Any = None
    _remote: Any = None
    _family = 0
    _is_open_for_use = False
    _close_wanted = False
    _has_gone = False
    _has_remote = False
    _has_destination = False
    _tells_failures = False
    _busy = False
    _draining = False
    _delivering = False
    _retrying = False
    _flush_queued = False
    _flushing = False
    _loss_queued = False
    _lost_count = 0
    _lost_size = 0
    _waiting = 0
    _held: list[tuple[bytes, Any, Any, int]] | None = None  # data, address, destination, and the size of what is cut
    _room_wanted = False
    _stuck: Stuck | None = None  # what Unix sockets have no room for; none ever had: None

    if TYPE_CHECKING:  # Datagram's

        def handle_ready(self) -> None: ...
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None: ...
        def handle_datagrams(self, batch: list[Any]) -> None: ...
        def handle_truncated(self, data: bytes, address: Any, size: int) -> None: ...
        def handle_send_error(self, error: Exception, address: Any) -> None: ...
        def handle_close(self, error: BaseException | None) -> None: ...  # type: ignore[override]
        def _gone(self) -> None: ...
        def _check_class(self) -> None: ...

    def __new__(cls, *args: Any, **options: Any) -> Any:
        made = super().__new__(cls)
        made._output = deque()
        made._crossing = deque()
        return made

    _crossing: deque[tuple[bytes, Any, Any]]  # what other threads have sent
    _output: deque[tuple[bytes, Any, Any]]

    # What it is

    @property
    def loop(self) -> Any:
        """The loop that serves it, or served it last; None before it has one."""
        return self._loop_kept

    @property
    def remote(self) -> Any:
        """The only address that it sends to and receives from, or None."""
        return self._remote

    @property
    def closing(self) -> bool:  # type: ignore[override]
        """True after `close` or `abort`, and when the socket is gone."""
        return self._close_wanted or self._has_gone

    @property
    def output_size(self) -> int:
        """The bytes that wait to be sent."""
        return self._waiting

    @property
    def reading(self) -> bool:
        """False after `pause_reading` until `resume_reading`, and after `close`."""
        return not (self._paused or self.closing)

    @property
    def busy(self) -> bool:
        """True while the program works on a request: set by the program, for a loop that drains."""
        return self._busy

    @busy.setter
    def busy(self, value: Any) -> None:
        self._busy = bool(value)
        if self._draining and not value:
            self.close()

    def _kept_output(self) -> int:
        """The bytes that wait to be sent."""
        return self._waiting

    @property
    def _is_gone(self) -> bool:
        return self._has_gone

    @property
    def _gro(self) -> bool:
        return False

    @property
    def _gso(self) -> bool:
        return False

    # Its life

    def _adopt(self, loop: Any, has_remote: bool) -> None:
        """It belongs to ``loop`` from now on; its socket comes with `_open`."""
        self._loop_kept = loop
        self._has_remote = has_remote

    def _open(self, sock: Any, loop: Any, remote: Any) -> None:
        """Takes a non-blocking socket, and joins the loop. ``remote``: the peer of the socket, or None."""
        self._check_class()
        self._loop_kept = loop
        self._map = loop.map
        self._family = int(sock.family)
        self._has_remote = remote is not None
        self._remote = remote
        if self._family in (socket.AF_INET, AF_INET6):
            self._set_options(sock)
        self.set_socket(sock, loop.map)

    def _set_options(self, sock: Any) -> None:
        is_six = self._family == AF_INET6
        if IS_LINUX:
            self._tells_failures = _turn_on(sock, socket.IPPROTO_IP, IP_RECVERR)
            if is_six:
                self._tells_failures |= _turn_on(sock, IPPROTO_IPV6, IPV6_RECVERR)
        if self.wants_destination:
            option = IPV6_RECVPKTINFO if is_six else IP_PKTINFO
            self._has_destination = option is not None
            if option is not None:
                _turn_on(sock, IPPROTO_IPV6 if is_six else socket.IPPROTO_IP, option)

    def _ready(self) -> None:
        """It may be used: tells the program, and sends what has waited for that."""
        if self._is_open_for_use or self._has_gone:
            return
        self._is_open_for_use = True
        self.connected = True
        if not self._close_wanted:
            try:
                self.handle_ready()
            except BaseException as error:
                self._caught(error)
        if not self._is_gone and not self._flush_queued:
            self._flush()

    def close(self) -> None:
        """Stops receiving, and closes the socket when everything queued is sent. Does nothing the second time."""
        if self.closing:
            return
        self._take_crossing()
        self._close_wanted = True
        self._held = None
        if self._loop_kept is None or self._loop_kept.closed or not (self._output or self._stuck):
            self._end(None)
        else:
            self._interest_changed()

    def abort(self) -> None:
        """Closes the socket now, and drops what is queued. Does nothing when it is gone already."""
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        """Closes the socket, and has `handle_close(error)` called in the next tick. The first call counts."""
        if self._has_gone:
            return
        self._has_gone = True
        self._is_open_for_use = self.connected = False
        self._held = None
        self._output.clear()
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

    # What the loop calls

    def _interest(self) -> int:
        wants = READ if self.reading and self._held is None else 0
        return wants | WRITE if self._room_wanted else wants

    def handle_read_event(self) -> None:
        for _ in range(BATCH):
            if not self.reading or self._held is not None:
                break
            batch = self._receive_batch() if self._takes_batches() else self._receive_one()
            if not batch:
                break
            self._last_recv = "data"
            self._deliver(batch)
            if self._takes_batches():
                break
        self._interest_changed()

    def handle_write_event(self) -> None:
        self._room_wanted = False
        self._flush()
        self._interest_changed()

    def _on_close(self) -> None:
        """The kernel reports an error or a hang-up: of datagrams, or of the socket."""
        taken = self._take_mishaps(0)
        try:
            number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError as error:  # it was closed behind our back
            self._end(error)
            return
        if number and not taken:
            self._tell(number, self._remote)
        if hung_up_now(self.socket.fileno()):  # the program has shut it down
            self._end(None)

    # Receiving

    def _takes_batches(self) -> bool:
        return getattr(self, "handle_datagrams", None) is not None

    def resume_reading(self) -> None:
        """Goes on with the input, first with what was received before. Does nothing if reading is not paused."""
        super().resume_reading()
        self._hold([])

    def _receive_batch(self) -> list[tuple[bytes, Any, Any, int]]:
        batch: list[tuple[bytes, Any, Any, int]] = []
        while len(batch) < BATCH and (more := self._receive_one()):
            batch += more
        return batch

    def _receive_one(self) -> list[tuple[bytes, Any, Any, int]]:
        """A datagram, or none: there is none, or an error was told."""
        try:
            if HAS_RECVMSG:
                data, ancillary, flags, address = self.socket.recvmsg(ROOM, CONTROL if self._has_destination else 0)
            else:
                data, address = self.socket.recvfrom(ROOM)
                ancillary, flags = [], 0
        except OSError as error:
            self._receive_failed(error)
            return []
        self._note_bytes(len(data), 0)
        if self._has_remote:
            address = self._remote
        whole = 0
        if len(data) > self.max_size or flags & MSG_TRUNC:
            whole = max(len(data), self.max_size + 1)
            data = data[: self.max_size]
        return [(data, address or None, _destination(ancillary), whole)]

    def _receive_failed(self, error: OSError) -> None:
        number = error.errno or 0
        if number in NOT_NOW or number == EINTR:
            self._take_mishaps(0)
        elif number in BROKEN:
            self._end(error)
        elif number not in (ENOMEM, ENOBUFS) and not self._take_mishaps(0):
            self._tell(number, self._remote)

    def _deliver(self, batch: list[tuple[bytes, Any, Any, int]]) -> None:
        """Calls the handlers. Where one raises, the next ones are called all the same."""
        if self._takes_batches():
            whole_ones = [self._shown(item) for item in batch if not item[3]]
            batch = [item for item in batch if item[3]]
            if whole_ones:
                self._guarded(self.handle_datagrams, whole_ones)
        for at, (data, address, destination, whole) in enumerate(batch):
            if not self.reading:
                self._hold(batch[at:])
                return
            try:
                if whole:
                    self.handle_truncated(data, address, whole)
                else:
                    self.handle_datagram(*self._shown((data, address, destination, whole)))
            except EXITS:
                self._hold(batch[at + 1 :])
                raise
            except BaseException as error:
                self._caught(error)

    def _shown(self, item: tuple[bytes, Any, Any, int]) -> Any:
        """A datagram as handlers get it."""
        return item[:3] if self.wants_destination else item[:2]

    def _hold(self, rest: list[tuple[bytes, Any, Any, int]]) -> None:
        """Keeps datagrams that no handler has got yet, and delivers them when reading goes on."""
        if self.closing:
            return
        if rest:
            self._held = [*(self._held or ()), *rest]
        if self._held is not None and not self._paused and not self._delivering:
            self._delivering = True
            self._loop_kept.call_soon(self._deliver_held)
        self._interest_changed()

    def _deliver_held(self) -> None:
        self._delivering = False
        if self._held is None or not self.reading:
            return
        held, self._held = self._held, None
        self._deliver(held)
        self._interest_changed()

    # Sending

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
        if self._stuck is not None and not self._output and self._stuck.has(address):
            self._wait_for_receiver(data, address)
            return
        held_back = self._room_wanted or not self._is_open_for_use
        if held_back and self.max_output is not None and self._waiting + len(data) > self.max_output:
            self._lose(len(data))
            return
        self._output.append((data, address, source))
        self._waiting += len(data)
        if is_gathered and not held_back:
            self._flush_later()

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
        while self._output and self._is_open_for_use:
            data, address, source = self._output[0]
            if self._stuck is not None and self._stuck.has(address):
                self._output.popleft()
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
                    self._output.popleft()
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
                self._note_bytes(0, len(data))
            tries = 0
            if self._has_gone:
                return
            self._output.popleft()
            self._waiting -= len(data)
        if self._close_wanted and not self._output and not self._stuck:
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
            data, _, _ = self._output.pop()
            self._waiting -= len(data)
            self._lose(len(data))
        self._room_wanted = True
        self._interest_changed()

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
        if self._close_wanted and not self._output and not self._stuck:
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
            self._note_bytes(0, len(data))
        if self._has_gone:
            return False
        self._waiting -= len(data)
        return True

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

    # What has failed

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


def _turn_on(sock: Any, level: int, option: int) -> bool:
    try:
        sock.setsockopt(level, option, 1)
    except OSError:  # the kernel has no such option
        return False
    return True


def _destination(ancillary: list[Any]) -> Any:
    """(host, interface) out of what came with a datagram; None if it is not told."""
    found = None
    for level, kind, content in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            found = socket.inet_ntoa(content[8:12]), struct.unpack_from("@i", content)[0]
        elif level == IPPROTO_IPV6 and kind == IPV6_PKTINFO:
            found = socket.inet_ntop(AF_INET6 or 0, content[:16]), struct.unpack_from("@I", content, 16)[0]
    return found


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
