# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""DatagramChannel: a channel of datagrams, which receives and sends many of them in one system call.

Facts that shape it (those of the kernel are in csrc/cyn_datagram.h):
- What is received is in memory of the loop. A handler may close or pause its channel, raise, or run the loop. While it
  is given what one call has received, other channels receive into other memory. What is left of a batch when it is
  paused is held by the channel.

What is offered to the layers above is listed in `_python/datagram.py`, which has the same interface.
"""

import os
import socket as _socket

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EBADF, EINTR, EINVAL, ENOBUFS, ENOMEM, ENOTSOCK, EOPNOTSUPP

from .channel cimport Channel, count_received
from .csrc cimport (
    CYN_CAN_SEGMENT,
    CYN_DATAGRAMS,
    CYN_JOIN_SEGMENTS,
    CYN_READ,
    CYN_TELL_DESTINATION,
    CYN_TELL_FAILURES,
    CYN_WANT_CONTROL,
    CYN_WANT_SENDER,
    CYN_WRITE,
    POLLHUP,
    cyn_datagram,
    cyn_datagram_options,
    cyn_inbound_read,
    cyn_inbound_size,
    cyn_inbound_take,
    cyn_poll,
    pollfd,
)
from .datagram_output cimport (
    BUSY,
    CLOSE_WANTED,
    DELIVERING,
    DRAINING,
    GONE,
    HAS_REMOTE,
    READY,
    TAKES_BATCHES,
    WANTS_DESTINATION,
    Datagrams,
    DatagramOutput,
    Inbound,
    datagrams_of,
)
from .endpoint cimport watch
from .plain_socket cimport is_plain
from .registry cimport Registry
from .traits cimport flags_of
from .watcher cimport CONNECTED, DATAGRAM, DIRECT, FLUSH_QUEUED, OUTPUT, PAUSED, STREAM

from .. import _rules
from .traits import guard

cdef object EXITS = _rules.EXITS
cdef frozenset SETTINGS = frozenset(("max_output", "max_size", "handle_datagrams"))
cdef frozenset BROKEN = frozenset((EBADF, ENOTSOCK, EOPNOTSUPP, EINVAL))  # of receiving: the socket is of no use
watch(SETTINGS)


cdef class DatagramChannel(DatagramOutput):
    """The engine's part of `Datagram`: receives, sends, and tells what has failed."""

    _cyncore_role = "datagram"

    max_output = 1048576
    max_size = 65535
    offload = True
    wants_destination = False

    def __cinit__(self):
        self.flags |= STREAM | DATAGRAM
        self.most_waiting = -1

    # What it is

    @property
    def loop(self):
        """The loop that serves it, or served it last; None before it has one."""
        return self.its_loop()

    @property
    def socket(self):
        """The socket, or None before there is one. To look at, and to set options."""
        return self.sock

    @property
    def remote(self):
        """The only address that it sends to and receives from, or None."""
        return self.remote_address

    @property
    def closing(self):
        """True after `close` or `abort`, and when the socket is gone."""
        return self.life & (CLOSE_WANTED | GONE) != 0

    @property
    def output_size(self):
        """The bytes that wait to be sent."""
        return self.waiting

    @property
    def reading(self):
        """False after `pause_reading` until `resume_reading`, and after `close`."""
        return not self.flags & PAUSED and not self.life & (CLOSE_WANTED | GONE)

    @property
    def busy(self):
        """True while the program works on a request: set by the program, for a loop that drains."""
        return self.life & BUSY != 0

    @busy.setter
    def busy(self, value):
        if value:
            self.life |= BUSY
        else:
            self.life &= ~BUSY
            if self.life & DRAINING:
                self.close()

    @property
    def _draining(self):
        return self.life & DRAINING != 0

    @_draining.setter
    def _draining(self, value):
        self.life = self.life | DRAINING if value else self.life & ~DRAINING

    @property
    def _is_gone(self):
        return self.life & GONE != 0

    @property
    def _gro(self):
        return self.granted & CYN_JOIN_SEGMENTS != 0

    @property
    def _gso(self):
        return self.granted & CYN_CAN_SEGMENT != 0 and self.segment_most > 0

    cdef int classify(self) except -1:
        self.defines = flags_of(self.traits)
        return 0

    cdef int attribute_changed(self, object name, bint is_set) except -1:
        if name not in SETTINGS:
            return Channel.attribute_changed(self, name, is_set)
        return self.read_settings()

    cdef int read_settings(self) except -1:
        most = self.max_output
        self.most_waiting = -1 if most is None else most
        self.largest = max(<Py_ssize_t> self.max_size, 0)
        self.life &= ~TAKES_BATCHES
        if getattr(self, "handle_datagrams", None) is not None:
            self.life |= TAKES_BATCHES
        return 0

    # Its life

    def _adopt(self, Registry loop not None, bint has_remote):
        """It belongs to ``loop`` from now on; its socket comes with `_open`."""
        self.map = loop.map
        self.read_settings()
        if has_remote:
            self.life |= HAS_REMOTE

    def _open(self, sock, Registry loop not None, remote):
        """Takes a non-blocking socket, and joins the loop. ``remote``: the peer of the socket, or None."""
        cdef unsigned wanted = CYN_TELL_FAILURES
        self._check_class()
        self.read_settings()
        self.map = loop.map
        self.sock = sock
        self.family = sock.family
        self.flags = self.flags | DIRECT if is_plain(sock) else self.flags & ~DIRECT
        if self.wants_destination:
            wanted |= CYN_TELL_DESTINATION
            self.life |= WANTS_DESTINATION
        if self.offload:
            wanted |= CYN_JOIN_SEGMENTS | CYN_CAN_SEGMENT
        self.fileno = sock.fileno()
        self.granted = cyn_datagram_options(self.fileno, self.family, wanted)
        self.segment_most = 65535 if self.granted & CYN_CAN_SEGMENT else 0
        self.wanted = CYN_WANT_CONTROL if self.granted & (CYN_TELL_DESTINATION | CYN_JOIN_SEGMENTS) else 0
        self.remote_address = remote
        if remote is None:
            self.life &= ~HAS_REMOTE
            self.wanted |= CYN_WANT_SENDER
        else:
            self.life |= HAS_REMOTE
        self.put(loop, self.fileno)

    def _ready(self):
        """It may be used: tells the program, and sends what has waited for that."""
        if self.life & (READY | GONE):
            return
        self.life |= READY
        self.flags |= CONNECTED
        if not self.life & CLOSE_WANTED:
            try:
                self.handle_ready()
            except BaseException as error:
                self.caught(error)
        if self.life & GONE or self.loop is None:
            return
        self.send_kept()
        if self.life & CLOSE_WANTED and self.is_empty() and not self.flags & FLUSH_QUEUED:
            self.end(None)

    def close(self):
        """Stops receiving, and closes the socket when everything queued is sent. Does nothing the second time."""
        if self.life & (CLOSE_WANTED | GONE):
            return
        cdef Registry loop = self.its_loop()  # where the name of its remote is looked for, `loop` is None still
        self.take_crossing()
        self.life |= CLOSE_WANTED
        self.held = None
        if not self.is_empty() or self.flags & FLUSH_QUEUED or self.is_leaving():
            if loop is not None and not loop.is_closed:
                self.arm()
                return
        self.end(None)

    def abort(self):
        """Closes the socket now, and drops what is queued. Does nothing when it is gone already."""
        self.end(None)

    def _end(self, error):
        """Closes the socket, and has ``handle_close(error)`` called in the next tick. The first call counts."""
        self.end(error)

    def del_channel(self, map=None):
        """Leaves the loop, and closes the socket."""
        self.end(None)

    # What the loop calls

    cdef unsigned interest(self) except? 0xFFFFFFFF:
        cdef unsigned wanted = 0
        if self.life & GONE:
            return 0
        if not self.flags & PAUSED and not self.life & CLOSE_WANTED and self.held is None:
            wanted = CYN_READ
        if self.flags & OUTPUT:
            wanted |= CYN_WRITE
        return wanted

    cdef int on_read(self) except -1:
        cdef Datagrams shared
        cdef Inbound inbound
        cdef int count
        if self.life & (CLOSE_WANTED | GONE) or self.flags & PAUSED or self.held is not None:
            return 0
        shared = datagrams_of(self.loop)
        inbound = shared.inbound
        shared.inbound = None
        if inbound is None:
            inbound = Inbound()
        try:
            count = cyn_inbound_take(&inbound.raw, self.descriptor(), CYN_DATAGRAMS, self.wanted)
            if count > 0:
                count_received(self, self.loop, cyn_inbound_size(&inbound.raw, count))
                if self.life & TAKES_BATCHES:
                    self.deliver_batch(shared, inbound, count)
                else:
                    self.deliver_each(shared, inbound, count)
        finally:
            shared.inbound = inbound
        return self.read_failed(-count) if count < 0 else 0

    cdef int on_write(self) except -1:
        self.send_kept()
        return self.arm()

    cdef int on_close(self) except -1:
        """The kernel reports an error or a hang-up: of datagrams, or of the socket."""
        cdef pollfd one
        cdef int taken = self.take_mishaps(0), number
        try:
            number = self.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        except OSError as error:  # it was closed behind our back
            return self.end(error)
        if number and not taken:
            self.tell(number, self.remote_address)
        one.fd = self.descriptor()
        one.events = one.revents = 0
        if cyn_poll(&one, 1, 0) > 0 and one.revents & POLLHUP:  # the program has shut it down
            return self.end(None)
        return 0

    # Receiving

    def resume_reading(self):
        """Goes on with the input, first with what was received before. Does nothing if reading is not paused."""
        Channel.resume_reading(self)
        if self.held is not None:
            self.hold([])

    cdef int read_failed(self, int error) except -1:
        if error == EAGAIN or error == EINTR:
            self.take_mishaps(0)
        elif error in BROKEN:
            self.end(OSError(error, os.strerror(error)))
        elif error != ENOMEM and error != ENOBUFS and not self.take_mishaps(0):
            self.tell(error, self.remote_address)
        return 0

    cdef int deliver_each(self, Datagrams shared, Inbound inbound, int count) except -1:
        """Calls `handle_datagram` for each. Where that raises, the next ones are delivered all the same."""
        cdef cyn_datagram found
        cdef int at = 0
        cdef size_t offset = 0, size, whole  # of the datagram, in what has come as one
        cdef const char *begin
        cdef object address = self.remote_address, destination = None
        while at < count:
            try:
                while at < count:
                    cyn_inbound_read(&inbound.raw, at, &found)
                    if not self.life & HAS_REMOTE:
                        address = shared.addresses.find(found.from_)
                    if self.life & WANTS_DESTINATION:
                        destination = shared.addresses.destination(&found.to)
                    begin = found.data + offset
                    size = found.size - offset
                    whole = found.whole - offset
                    if 0 < found.segment < size:
                        size = whole = found.segment
                        offset += size
                    else:
                        offset = 0
                        at += 1
                    if <Py_ssize_t> whole > self.largest:
                        data = PyBytes_FromStringAndSize(begin, min(<Py_ssize_t> size, self.largest))
                        self.handle_truncated(data, address, whole)
                    elif self.life & WANTS_DESTINATION:
                        self.handle_datagram(PyBytes_FromStringAndSize(begin, size), address, destination)
                    else:
                        self.handle_datagram(PyBytes_FromStringAndSize(begin, size), address)
                    if self.flags & PAUSED or self.life & (CLOSE_WANTED | GONE):
                        return self.hold(self.listed(shared, inbound, at, count, offset, None))
            except EXITS:
                self.hold(self.listed(shared, inbound, at, count, offset, None))
                raise
            except BaseException as error:
                self.caught(error)
                if self.flags & PAUSED or self.life & (CLOSE_WANTED | GONE):
                    return self.hold(self.listed(shared, inbound, at, count, offset, None))
        return 0

    cdef int deliver_batch(self, Datagrams shared, Inbound inbound, int count) except -1:
        cdef list cut = []
        cdef list batch = self.listed(shared, inbound, 0, count, 0, cut)
        if cut:
            self.hold(cut)
        if batch:
            self.handle_datagrams(batch)
        return 0

    cdef list listed(self, Datagrams shared, Inbound inbound, int at, int count, size_t offset, list cut):
        """Lists what was received, from a place on: as `handle_datagrams` has it, and in ``cut`` what was cut; without
        that, all of it as `held` has it.
        """
        cdef cyn_datagram found
        cdef size_t size, whole
        cdef list batch = []
        cdef object address = self.remote_address, destination = None
        cdef bint is_cut
        while at < count:
            cyn_inbound_read(&inbound.raw, at, &found)
            if not self.life & HAS_REMOTE:
                address = shared.addresses.find(found.from_)
            if self.life & WANTS_DESTINATION:
                destination = shared.addresses.destination(&found.to)
            size = found.size - offset
            whole = found.whole - offset
            if 0 < found.segment < size:
                size = whole = found.segment
            is_cut = <Py_ssize_t> whole > self.largest
            data = PyBytes_FromStringAndSize(
                found.data + offset, min(<Py_ssize_t> size, self.largest) if is_cut else <Py_ssize_t> size
            )
            if cut is None or is_cut:
                (batch if cut is None else cut).append((data, address, destination, whole if is_cut else 0))
            elif self.life & WANTS_DESTINATION:
                batch.append((data, address, destination))
            else:
                batch.append((data, address))
            offset += size
            if offset >= found.size:
                offset = 0
                at += 1
        return batch

    cdef int hold(self, list rest) except -1:
        """Keeps datagrams that no handler has got yet, and delivers them when reading goes on."""
        cdef Registry loop = self.its_loop()  # a handler may have put another channel in its place: `loop` is None then
        if self.life & (CLOSE_WANTED | GONE) or loop is None or loop.is_closed:
            return 0
        if rest:
            self.held = rest if self.held is None else [*self.held, *rest]
        if self.held is not None and not self.flags & PAUSED and not self.life & DELIVERING:
            self.life |= DELIVERING
            loop.queue(self._deliver_held, ())
        return self.arm()

    def _deliver_held(self):
        self.life &= ~DELIVERING
        held = self.held
        if held is None or self.flags & PAUSED or self.life & (CLOSE_WANTED | GONE):
            return
        self.held = None
        cdef bint has_destination = self.life & WANTS_DESTINATION != 0
        cdef Py_ssize_t at = 0
        while at < len(held) and not (self.flags & PAUSED or self.life & (CLOSE_WANTED | GONE)):
            data, address, destination, whole = held[at]
            at += 1
            try:
                if whole:
                    self.handle_truncated(data, address, whole)
                elif self.life & TAKES_BATCHES:
                    self.handle_datagrams([(data, address, destination) if has_destination else (data, address)])
                elif has_destination:
                    self.handle_datagram(data, address, destination)
                else:
                    self.handle_datagram(data, address)
            except EXITS:
                self.hold(held[at:])
                raise
            except BaseException as error:
                self.caught(error)
        if self.life & GONE:
            return
        self.hold(held[at:])


guard(DatagramChannel)
