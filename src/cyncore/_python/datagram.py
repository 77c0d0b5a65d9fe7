# SPDX-License-Identifier: MIT
"""DatagramChannel in plain Python: receives datagrams one by one. What it sends is in `datagram_output`.

What both engines offer to the class `Datagram` above them, besides the methods that docs/datagrams.md describes:

- `_adopt(loop, has_remote)`: it has a loop, and no socket yet. `_open(sock, loop, remote)`: joins the loop with a
  non-blocking socket. `_ready()`: the program may use it.
- `_end(error)`: closes the socket; `_fail(error)`, which is `Datagram`'s: a handler of the program has raised.
- `_gso`, `_gro`: whether the kernel cuts up and joins datagrams for it. Here it never does: the socket module can ask
  for it, but what is gained by it is lost in Python.

The facts of the kernel are in csrc/cyn_datagram.h.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from errno import EBADF, EINTR, EINVAL, ENOBUFS, ENOMEM, ENOTSOCK, EOPNOTSUPP
from typing import TYPE_CHECKING, Any, Final

from .._rules import EXITS
from .datagram_output import (
    AF_INET6,
    CONTROL,
    IP_PKTINFO,
    IP_RECVERR,
    IPPROTO_IPV6,
    IPV6_PKTINFO,
    IPV6_RECVERR,
    IS_LINUX,
    NOT_NOW,
    DatagramOutput,
)
from .poller import READ, WRITE, hung_up_now

BATCH: Final = 64  # datagrams that are received for one event
ROOM: Final = 65536  # bytes of the largest that is received whole
HAS_RECVMSG: Final = hasattr(socket.socket, "recvmsg")  # Windows has none
BROKEN: Final = frozenset((EBADF, ENOTSOCK, EOPNOTSUPP, EINVAL))  # of receiving: the socket is of no use
MSG_TRUNC: Final = getattr(socket, "MSG_TRUNC", 0)
IPV6_RECVPKTINFO: Final = getattr(socket, "IPV6_RECVPKTINFO", None)


class DatagramChannel(DatagramOutput):
    """A channel of datagrams."""

    _cyncore_tells_interest = True
    _cyncore_takes_errors = True

    max_size = 65535
    offload = True
    wants_destination = False

    _has_destination = False
    _busy = False
    _draining = False
    _delivering = False
    _held: list[tuple[bytes, Any, Any, int]] | None = None  # data, address, destination, and the size of what is cut

    if TYPE_CHECKING:  # Datagram's

        def handle_ready(self) -> None: ...
        def handle_datagram(self, data: bytes, address: Any, destination: Any = None) -> None: ...
        def handle_datagrams(self, batch: list[Any]) -> None: ...
        def handle_truncated(self, data: bytes, address: Any, size: int) -> None: ...
        def _check_class(self) -> None: ...

    def __new__(cls, *args: Any, **options: Any) -> Any:
        made = super().__new__(cls)
        made._cyncore_output = deque()
        made._crossing = deque()
        return made

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
        return not (self._cyncore_paused or self.closing)

    @property
    def busy(self) -> bool:
        """True while the program works on a request: set by the program, for a loop that drains."""
        return self._busy

    @busy.setter
    def busy(self, value: Any) -> None:
        self._busy = bool(value)
        if self._draining and not value:
            self.close()

    def _cyncore_kept_output(self) -> int:
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
        if self._loop_kept is None or self._loop_kept.closed or not (self._cyncore_output or self._stuck):
            self._end(None)
        else:
            self._cyncore_interest_changed()

    def abort(self) -> None:
        """Closes the socket now, and drops what is queued. Does nothing when it is gone already."""
        self._end(None)

    # What the loop calls

    def _cyncore_interest(self) -> int:
        wants = READ if self.reading and self._held is None else 0
        return wants | WRITE if self._room_wanted else wants

    def handle_read_event(self) -> None:
        for _ in range(BATCH):
            if not self.reading or self._held is not None:
                break
            batch = self._receive_batch() if self._takes_batches() else self._receive_one()
            if not batch:
                break
            self._cyncore_last_recv = "data"
            self._deliver(batch)
            if self._takes_batches():
                break
        self._cyncore_interest_changed()

    def handle_write_event(self) -> None:
        self._room_wanted = False
        self._flush()
        self._cyncore_interest_changed()

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

    def resume_reading(self) -> None:
        """Goes on with the input, first with what was received before. Does nothing if reading is not paused."""
        super().resume_reading()
        self._hold([])

    def _takes_batches(self) -> bool:
        return getattr(self, "handle_datagrams", None) is not None

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
        self._cyncore_note_bytes(len(data), 0)
        if self._has_remote:
            address = self._remote
        whole = 0
        most = max(self.max_size, 0)
        if len(data) > most or flags & MSG_TRUNC:
            whole = max(len(data), most + 1)
            data = data[:most]
        return [(data, address or None, _destination(ancillary), whole)]

    def _receive_failed(self, error: OSError) -> None:
        number = error.errno or 0
        if number in NOT_NOW or number == EINTR:
            self._take_mishaps(0)
        elif number in BROKEN:
            self._end(error)
        elif number not in (ENOMEM, ENOBUFS) and not self._take_mishaps(0):
            self._tell(number, self._remote)

    # Delivering

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
        if self._held is not None and not self._cyncore_paused and not self._delivering:
            self._delivering = True
            self._loop_kept.call_soon(self._deliver_held)
        self._cyncore_interest_changed()

    def _deliver_held(self) -> None:
        self._delivering = False
        if self._held is None or not self.reading:
            return
        held, self._held = self._held, None
        self._deliver(held)
        self._cyncore_interest_changed()


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
