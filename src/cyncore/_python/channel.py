# SPDX-License-Identifier: MIT
"""The part of a channel that the engine owns: its place in a map, its state, and the calls on its socket."""

from __future__ import annotations

import os
import socket as _socket
import time
from errno import EAGAIN, EBADF, EWOULDBLOCK
from typing import TYPE_CHECKING, Any, Final

from .._attributes import adopt
from .._patched import plain_socket
from .._rules import (
    ACCEPT_BURST,
    DISCONNECTED,
    EARLIER,
    EARLIER_MOST,
    LOST_IN_BACKLOG,
    OUT_OF_DESCRIPTORS,
    called_elsewhere,
    failure,
    no_deadlines,
    no_socket,
    not_begun,
)
from .maps import Serving, loop_of, registry_of
from .poller import readable_now
from .traits import Root, default, defines

PLAIN_SOCKET: Final = plain_socket() or _socket.socket


def is_open(fd: int) -> bool:
    """Is it a descriptor that is open, as far as the platform tells?"""
    if os.name != "posix":  # a socket is none that fstat() knows
        return fd >= 0
    try:
        os.fstat(fd)
    except (OSError, OverflowError):  # the answer to the question
        return False
    return True


class Channel(Root):
    """What `dispatcher` stands on. Not for use by itself: the handlers are dispatcher's."""

    socket: Any = None
    connected: bool = False
    accepting: bool = False
    connecting: bool = False
    closing: bool = False
    addr: Any = None
    _map: Any = None
    _fileno: int | None = None

    _cyncore_loop: Serving | None = None  # keeps alive the loop that nobody else holds
    _cyncore_place: int | None = None  # the descriptor that it was added under last
    _cyncore_nameless = False  # was it added without a descriptor?
    _cyncore_paused = False
    _cyncore_muted_in: tuple[bool, ...] | None = None  # the state in which a read event found nobody who reads
    _cyncore_last_recv: str = ""  # what the last recv found: "data", "end" or "again"
    _cyncore_accept_errno = 0  # of the last accept
    __timed: Any = None  # its deadlines, where it is a dispatcher that has some
    __received = __sent = 0  # bytes
    __active = 0.0  # when bytes moved last, by the clock of the loop

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__setattr__ is not object.__setattr__:
            adopt(cls, Channel)

    def _take(self, sock: Any, map: Any) -> bool:
        """Begins with a connected socket, all in one. False: it is to be done step by step."""
        return False

    def _disconnect(self) -> bool:
        """Neither connected nor connecting nor accepting any more. False: to be said in assignments, one by one."""
        return False

    def set_socket(self, sock: Any, map: Any = None) -> None:
        """Takes ``sock`` (anything with ``fileno()``) as the channel's own and adds the channel to ``map``."""
        self.socket = sock
        self._fileno = sock.fileno()
        self.add_channel(map)

    def _find_peer(self, sock: Any) -> None:
        """Takes the address of the peer of ``sock`` as `addr`. OSError where it has none."""
        self.addr = sock.getpeername()

    # Its place in a map

    def add_channel(self, map: Any = None) -> None:
        """Joins ``map`` (None: its own) under its descriptor, and the loop that serves it.

        Without a descriptor it is put into the map under None, and the loop passes it over. ValueError where it is in
        the map of another loop; OSError (EBADF) where its descriptor is not open.
        """
        if map is None:
            map = self._map
            if map is None:
                raise AttributeError(not_begun(self))
            if not hasattr(map, "__setitem__"):
                raise TypeError(
                    f"{type(self).__qualname__}._map is {map!r}: a map of channels must be a dict, or behave like one"
                )
        if self._fileno is None:
            self._cyncore_nameless = True
            map[None] = self
            return
        self._cyncore_join(map, self._fileno)
        if self._cyncore_nameless:
            self._cyncore_nameless = False
            if map.get(None) is self:
                del map[None]

    def _cyncore_join(self, map: Any, fd: int) -> None:
        loop: Serving = loop_of(map)
        old, place = self._cyncore_loop, self._cyncore_place
        if old is not None and old is not loop and old.map.get(place) is self:
            raise ValueError(f"{self!r} fd {place} is in {old!r} already: del_channel() comes first")
        loop._check("add_channel")
        made_up = self.socket is not None and type(self.socket) is not PLAIN_SOCKET  # what stands for one may do that
        if not made_up and not is_open(fd):
            raise failure(EBADF, f"{self!r} fd {fd} cannot be added")
        if place is not None and place != fd and old is loop and map.get(place) is self:
            del map[place]  # it has another descriptor now
            loop._detach(place)
        map[fd] = self
        self._cyncore_place = fd
        loop._detach(fd)
        self._cyncore_loop = loop
        self._cyncore_muted_in = None

    def del_channel(self, map: Any = None) -> None:
        """Leaves ``map`` (None: its own), whether it was in it or not."""
        self._cyncore_check_caller("del_channel")
        if map is None:
            map = self._map
        fd = self._fileno
        entry = None if map is None else map.get(fd)
        if entry is self or (fd is not None and entry is not None and not isinstance(entry, Channel)):
            del map[fd]  # another channel's entry means that the number was given away behind our back
            loop = registry_of(map)
            if loop is not None and fd is not None:
                loop._detach(fd)
        self._fileno = None
        self._cyncore_loop = None
        if self.__timed is not None:
            set_timed(self, None)

    # What it wants

    @default
    def readable(self) -> bool:
        """Does it want read events? Asked only where a class defines its own."""
        return True

    @default
    def writable(self) -> bool:
        """Does it want write events? Asked only where a class defines its own."""
        return True

    def pause_reading(self) -> None:
        """No more read events until `resume_reading`, whatever `readable` says."""
        self._cyncore_check("pause_reading")
        self._cyncore_paused = True
        self._cyncore_muted_in = None
        self._cyncore_interest_changed()

    def resume_reading(self) -> None:
        """Ends `pause_reading`."""
        self._cyncore_check("resume_reading")
        self._cyncore_paused = False
        self._cyncore_muted_in = None
        self._cyncore_interest_changed()

    def _cyncore_interest_changed(self) -> None:
        """What it wants has changed without a question."""
        if self._cyncore_loop is not None:
            self._cyncore_loop._interest_changed(self._fileno)

    def _cyncore_tell_of_assignment(self, name: str, value: object) -> None:
        """`__setattr__` as soon as a loop is hosted."""
        super().__setattr__(name, value)
        if self._cyncore_loop is not None:
            self._cyncore_loop._changed()

    def _cyncore_tell_of_deletion(self, name: str) -> None:
        super().__delattr__(name)
        if self._cyncore_loop is not None:
            self._cyncore_loop._changed()

    def _cyncore_check(self, method: str) -> None:
        if (
            self._cyncore_loop is not None and not self._cyncore_loop.closed
        ):  # closed: it was taken out of the map by hand before that
            self._cyncore_loop._check(method)

    def _cyncore_check_caller(self, method: str) -> None:
        """In debug mode: is this the thread that runs the loop?"""
        loop = self._cyncore_loop
        if loop is not None and loop.debug and loop._turn.is_foreign():
            called_elsewhere(method, self, loop, loop._turn.owner)

    def _cyncore_state(self) -> tuple[bool, ...]:
        return bool(self.connected), bool(self.accepting), bool(self.connecting), bool(self.closing)

    # Calls on its socket

    def _cyncore_plain_socket(self) -> Any:
        """The socket, for the engine's own use."""
        return self.socket

    def _cyncore_method_of(self, sock: Any, name: str) -> Any:
        method = getattr(sock, name, None)
        if method is None:
            raise no_socket(self, sock, name)
        return method

    def recv(self, buffer_size: int) -> bytes:
        """At most ``buffer_size`` bytes. b"" after the peer has closed or is lost, and `handle_close` was called."""
        self._cyncore_check_caller("recv")
        if self._cyncore_muted_in is not None:
            self._cyncore_muted_in = None
        self._cyncore_last_recv = ""
        try:
            data: bytes = self._cyncore_method_of(self._cyncore_plain_socket(), "recv")(buffer_size)
        except OSError as error:
            if error.errno not in DISCONNECTED:
                if isinstance(error, BlockingIOError):
                    self._cyncore_last_recv = "again"
                raise
            data = b""
        self._cyncore_last_recv = "data" if data else "end"
        if self.__timed is not None:
            self.__timed.input_at = time.monotonic()
        if not data:  # or None, of what only stands for a socket
            self.handle_close()
            return b""
        self._cyncore_note_bytes(len(data), 0)
        return data

    def send(self, data: Any) -> int:
        """Sends what the socket takes now and returns how much. 0 where it takes nothing, or the peer is lost."""
        self._cyncore_check_caller("send")
        try:
            sent = int(self._cyncore_method_of(self.socket, "send")(data))
            self._cyncore_note_bytes(0, sent)
            return sent
        except OSError as error:
            if error.errno in (EWOULDBLOCK, EAGAIN):
                return 0
            if error.errno in DISCONNECTED:
                self.handle_close()
                return 0
            raise

    def recvfrom(self, buffer_size: int) -> tuple[bytes, Any]:
        """Receives a datagram of at most ``buffer_size`` bytes, and returns it with the address of its sender.

        An empty one is no end, and `handle_close` is never called. BlockingIOError if there is none yet. OSError for
        any other error; but while the channel is not connected, the errors of datagrams that were sent earlier are
        passed over.
        """
        self._cyncore_muted_in = None
        self._cyncore_last_recv = ""
        try:
            data, address = self._cyncore_call_on_datagram("recvfrom", buffer_size)
        except BlockingIOError:
            self._cyncore_last_recv = "again"
            raise
        self._cyncore_last_recv = "data"
        if self.__timed is not None:
            self.__timed.input_at = time.monotonic()
        self._cyncore_note_bytes(len(data), 0)
        return data, address

    def sendto(self, data: Any, address: Any) -> int:
        """Sends ``data`` (bytes-like) to ``address`` as one datagram, and returns its size; 0 if there is no room now.

        OSError for any other error; but while the channel is not connected, the errors of datagrams that were sent
        earlier are passed over, and this one is sent.
        """
        try:
            sent = int(self._cyncore_call_on_datagram("sendto", data, address))
        except BlockingIOError:
            return 0
        self._cyncore_note_bytes(0, sent)
        return sent

    def _cyncore_call_on_datagram(self, name: str, *arguments: Any) -> Any:
        """Calls a method of the socket, and again where it has only told of an earlier datagram."""
        for _ in range(EARLIER_MOST):
            try:
                return self._cyncore_method_of(self._cyncore_plain_socket(), name)(*arguments)
            except OSError as error:
                if error.errno not in EARLIER or self.connected:
                    raise
        return self._cyncore_method_of(self._cyncore_plain_socket(), name)(*arguments)

    def accept(self) -> tuple[_socket.socket, Any] | None:
        """A waiting connection and its peer's address, or None where it has gone already."""
        self._cyncore_accept_errno = 0
        try:
            connection, address = self._cyncore_method_of(self.socket, "accept")()
        except TypeError:  # as before: None for a socket whose accept() returns no pair
            return None
        except OSError as error:
            if error.errno in LOST_IN_BACKLOG:
                return None
            self._cyncore_accept_errno = error.errno or 0
            raise
        if self._cyncore_loop is not None:
            self._cyncore_loop._figures.accepts += 1
        return connection, address

    def _cyncore_note_bytes(self, received: int, sent: int) -> None:
        """Bytes have passed."""
        if not (received or sent):
            return
        self.__received += received
        self.__sent += sent
        if self._cyncore_loop is not None:
            figures = self._cyncore_loop._figures
            figures.received += received
            figures.sent += sent
            self.__active = figures.stamp

    # What the loop calls

    @default
    def handle_read_event(self) -> None:
        """Called when the socket is readable: a listener accepts, others end a connect and call `handle_read`."""
        if self.accepting:
            self._cyncore_accept_burst()
        elif self._cyncore_connect_ended():
            self.handle_read()

    @default
    def handle_write_event(self) -> None:
        """Calls `handle_connect_event` where a connect has ended, and `handle_write`."""
        if not self.accepting and self._cyncore_connect_ended():
            self.handle_write()

    def _cyncore_connect_ended(self) -> bool:
        """Reports the end of a connect, if there was one. False: the channel was closed meanwhile."""
        if self.connected or not self.connecting:
            return True
        sock, fd = self.socket, self._fileno
        self.handle_connect_event()
        note_connected(self)
        return self.socket is sock and self._fileno == fd

    def _cyncore_accept_burst(self) -> None:
        sock, fd = self.socket, self._fileno
        self.handle_accept()
        if defines(self, "handle_accept") or type(sock) is not PLAIN_SOCKET or fd is None:
            return
        if defines(self, "readable"):  # it may not want another
            return
        for _ in range(ACCEPT_BURST - 1):
            if not (self.accepting and self.socket is sock and self._fileno == fd and not self._cyncore_paused):
                return
            if self._cyncore_accept_errno in OUT_OF_DESCRIPTORS or not readable_now(fd):
                return
            self.handle_accept()

    if TYPE_CHECKING:  # dispatcher's

        def handle_accept(self) -> None: ...
        def handle_close(self) -> None: ...
        def handle_connect_event(self) -> None: ...
        def handle_error(self) -> None: ...
        def handle_read(self) -> None: ...
        def handle_write(self) -> None: ...

        # Of those that tell themselves what they want

        def _cyncore_interest(self) -> int: ...
        def _fail(self, error: BaseException) -> None: ...
        def _on_close(self) -> None: ...


def traffic(channel: Channel) -> tuple[int, int, float]:
    """The bytes that it has received, and sent, and when bytes moved last."""
    return channel._Channel__received, channel._Channel__sent, channel._Channel__active  # type: ignore[attr-defined]


# Deadlines of dispatchers


def timed(channel: Channel) -> Any:
    """The deadlines of the channel, or None."""
    return channel._Channel__timed  # type: ignore[attr-defined]


def set_timed(channel: Channel, deadlines: Any) -> None:
    """Has the times of the channel's events noted in ``deadlines``; None: no more. RuntimeError if it has no socket.

    Deadlines that it had before are cancelled.
    """
    if deadlines is not None and channel._cyncore_loop is None:
        raise no_deadlines(channel)
    if timed(channel) is not None:
        timed(channel).cancel()
    channel._Channel__timed = deadlines  # type: ignore[attr-defined]


def has_deadlines(channel: Channel, deadlines: Any) -> bool:
    """Are these the deadlines of the channel now?"""
    return timed(channel) is deadlines


def note_connected(channel: Channel) -> None:
    """Tells the deadlines of the channel, if it has some, that a connect has succeeded."""
    if timed(channel) is not None:
        timed(channel).opened()


def wants_to_write(channel: Channel) -> bool:
    """Does the channel want write events, as far as its predicates have said?"""
    return channel._cyncore_loop is not None and channel._cyncore_loop._wants_to_write(channel._fileno)


def is_paused(channel: Channel) -> bool:
    """Has `pause_reading` been called, and `resume_reading` not since?"""
    return channel._cyncore_paused


class BufferedChannel(Channel):
    """A channel that knows itself whether output waits, so that nobody needs to ask it."""

    _cyncore_tells_output = True
    _cyncore_output = False

    @default
    def writable(self) -> bool:
        """Does output wait, or is the channel not connected yet?"""
        return self._cyncore_output or not self.connected


def tell_of_assignments() -> None:
    """From now on a host is told when an attribute of a channel is set, as predicates may look at it."""
    setattr(Channel, "__setattr__", Channel._cyncore_tell_of_assignment)  # noqa: B010 - mypy takes it for a mistake
    setattr(Channel, "__delattr__", Channel._cyncore_tell_of_deletion)  # noqa: B010
