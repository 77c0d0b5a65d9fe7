# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""DatagramOutput: what a channel of datagrams sends, what has failed on its way, and how its socket ends.

Facts that shape it (those of the kernel are in csrc/cyn_datagram.h):
- An idle channel is small. What handlers send in a tick is in memory of the loop: that of one channel at a time. When
  another one begins to send, what the first has sent leaves.
- An error of the socket is that of an earlier datagram, nearly always. It costs nobody the socket: it is told, and what
  was being sent is sent again.
- An unconnected Unix socket is always writable, also when its receiver has no room (unix(7)). So a timer tries again.
- Nothing of a channel calls the program from inside a call of the program. What has failed comes by a queued call.
- The handler of a signal may run wherever Python code does, and a finalizer wherever an object is made. Either may send
  while something is being sent. That is kept, and a queued call sends it.
"""

import os
import socket as _socket
from _thread import RLock
from collections import deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_CLEAR, Py_INCREF
from libc.errno cimport EAGAIN, EBADF, ECONNREFUSED, EINTR, ENOTSOCK
from libc.string cimport memcpy, memset

from .addresses cimport Addresses, known, read_source
from .channel cimport Channel, count_sent
from .csrc cimport (
    CYN_DATAGRAMS,
    CYN_TELL_FAILURES,
    cyn_inbound_close,
    cyn_inbound_open,
    cyn_mishap,
    cyn_mishap_take,
    cyn_name,
    cyn_outbound_send,
    cyn_peer,
    sockaddr,
)
from .plain_socket cimport fileno_of
from .registry cimport NOT_OURS, SEND_NOW, Registry, registry_of
from .watcher cimport CONNECTED, DIRECT, FLUSH_QUEUED, OUTPUT

from .. import _destination, _rules

cdef int AF_UNIX = getattr(_socket, "AF_UNIX", -1)
cdef object EXITS = _rules.EXITS
cdef object _first_crossing = RLock()
cdef enum:
    RETRY_MS = 10        # until a Unix socket without a peer tries again to send
    MISHAPS = 64         # failures that are taken at once
    TRIES = 16           # sends in a row that fail for what was sent earlier


cdef class Inbound:

    def __cinit__(self):
        if cyn_inbound_open(&self.raw) < 0:
            raise MemoryError

    def __dealloc__(self):
        cyn_inbound_close(&self.raw)


cdef class Outbound:

    def __dealloc__(self):
        self.clear()

    cdef int clear(self) except -1:
        """Forgets all of it."""
        cdef int at, count = self.raw.count
        self.is_leaving = True
        self.raw.count = 0
        self.size = 0
        for at in range(count):
            Py_CLEAR(self.data[at])
            Py_CLEAR(self.addresses[at])
            Py_CLEAR(self.sources[at])
        self.is_leaving = False
        self.sender = None
        return 0


cdef class Datagrams:

    def __cinit__(self):
        self.addresses = Addresses()
        self.outbound = Outbound()


cdef class DatagramOutput(Channel):
    """The part of a channel of datagrams that sends, and that ends it."""

    cdef Registry its_loop(self):
        if self.loop is not None:
            return self.loop
        return None if self.map is None else registry_of(self.map)

    cdef object its_socket(self):
        return self.sock

    cdef int descriptor(self) except? -1:
        return fileno_of(self.sock) if self.flags & DIRECT else self.sock.fileno()

    # Its end

    cdef int end(self, object error) except -1:
        cdef Registry loop = self.its_loop()
        cdef int fd = self.fileno
        if self.life & GONE:
            return 0
        self.life = self.life & ~READY | GONE
        self.flags &= ~(CONNECTED | OUTPUT | FLUSH_QUEUED)
        self.held = self.queue = self.crossing = None
        if self.stuck is not None:
            self.stuck.clear()
        self.waiting = 0
        if loop is not None and loop.datagrams is not None and datagrams_of(loop).outbound.sender is self:
            if not datagrams_of(loop).outbound.is_leaving:
                datagrams_of(loop).outbound.clear()
        self.fileno = -1
        if fd >= 0:
            self.leave(self.map, fd)
        if self.sock is not None:
            try:
                self.sock.close()
            except OSError as failure:  # it was closed behind our back
                error = failure if error is None else error
        self._gone()
        if loop is not None and not loop.is_closed:
            loop.queue(self._tell_close, (error,))
        return 0

    def _tell_close(self, error):
        try:
            self.handle_close(error)
        except BaseException as failure:
            self.caught(failure)

    cdef int caught(self, object error) except -1:
        """A handler has raised ``error``, which is being handled."""
        if isinstance(error, EXITS):
            raise error
        self._fail(error)
        return 0

    cdef int failed(self, object error) except -1:
        return self.caught(error)

    # Sending

    def send(self, data, address=None, source=None):
        """Queues ``data`` (bytes, bytearray or memoryview), a datagram that leaves at the end of the tick. Any thread.

        ``address``: where to, with a host in digits; None: to `remote`. ``source``: what to send it from, an address
        and an interface, as a handler is given them where `wants_destination` is set. TypeError and ValueError for what
        is no address; RuntimeError before there is a loop. Dropped after `close`, or when the socket is gone.
        """
        cdef Registry loop = self.loop
        if not PyBytes_CheckExact(data):
            data = _rules.check_bytes(data)
        if (
            self.queue is None and self.crossing is None and loop is not None
            and self.life & (READY | CLOSE_WANTED | GONE) == READY and loop.is_sending_later()
        ):
            self.queue_one(datagrams_of(loop), data, address, source)
            if not self.flags & FLUSH_QUEUED:
                loop.gather(self)
                self.flags |= FLUSH_QUEUED
        else:
            self.send_specially(data, address, source)

    cdef int send_specially(self, object data, object address, object source) except -1:
        """Queues a datagram where this thread is not in a tick of the loop, or where others wait already."""
        cdef Registry loop = self.its_loop()
        cdef cyn_peer unused
        cdef int turn
        if self.life & (CLOSE_WANTED | GONE):
            return 0
        if loop is None:
            if self.map is not None:
                return 0  # it is closed
            raise RuntimeError(f"{self!r}: send() needs a loop")
        self._check_target(address)
        if address is not None:
            _destination.checked(self.family, address)
        if source is not None:
            read_source(&unused, self.family, source)
        if loop.is_closed:
            return 0
        turn = loop.sending()
        if turn == NOT_OURS:
            if self.crossing is None:
                with _first_crossing:  # two threads may both be the first
                    if self.crossing is None:
                        self.crossing = deque()
            self.crossing.append((data, address, source))
            loop.call_soon_threadsafe(self._take_crossing)
            return 0
        try:
            self.take_crossing()  # what was sent before comes first
            self.queue_or_keep(loop, data, address, source)
            self.flush_soon(loop)
        finally:
            if turn == SEND_NOW:
                loop.sent()
        return 0

    cdef int queue_or_keep(self, Registry loop, object data, object address, object source) except -1:
        if self.life & (CLOSE_WANTED | GONE):
            return 0
        if self.queue is not None or not self.life & READY:
            return self.keep(data, address, source)
        return self.queue_one(datagrams_of(loop), data, address, source)

    def _take_crossing(self):
        try:
            self.take_crossing()
        except BaseException as error:
            self.caught(error)

    cdef int take_crossing(self) except -1:
        """Queues what other threads have sent."""
        cdef Registry loop
        if not self.crossing:
            return 0
        loop = self.its_loop()
        if loop is None or loop.is_closed:
            self.crossing.clear()
            return 0
        while self.crossing:
            data, address, source = self.crossing.popleft()
            self.queue_or_keep(loop, data, address, source)
        return self.flush_soon(loop)

    cdef int flush_soon(self, Registry loop) except -1:
        """Has what was queued sent at the end of the tick, or now if there is none."""
        if not loop.is_sending_later():
            return self.flush(True)
        if not self.flags & FLUSH_QUEUED:
            loop.gather(self)
            self.flags |= FLUSH_QUEUED
        return 0

    def _check_target(self, address):
        """ValueError where an address is missing, or one is too many."""
        if (address is None) == (self.life & HAS_REMOTE == 0):
            raise _rules.wrong_target(self, address, self.remote_address)

    cdef int queue_one(self, Datagrams shared, object data, object address, object source) except -1:
        """Puts a datagram to those that leave together: now if there are so many, else when the caller has it so."""
        cdef Outbound out = shared.outbound
        cdef const known *place = NULL
        cdef cyn_name name
        cdef cyn_peer peer
        cdef int at
        if self.life & HAS_REMOTE or address is None:
            self._check_target(address)
            name.size = 0
        else:
            place = shared.addresses.place(address)
            if place is not NULL and (<const sockaddr *> <const void *> place.name).sa_family != self.family:
                place = NULL
            if place is NULL:
                shared.addresses.read(&name, self.family, address)
        if source is not None:
            read_source(&peer, self.family, source)
        if self.stuck is not None and address is not None and self.stuck.has(address):
            if out.sender is not self:  # else what was gathered before comes first
                return self.wait_for_receiver(data, address)
        # From here on no code of the program runs. What others have sent leaves before what this channel does.
        if out.sender is not self and out.raw.count and not out.is_leaving:
            out.sender.send_gathered(out)
        if out.is_leaving:
            return self.keep_for_later(data, address, source)
        at = out.raw.count
        if place is not NULL:
            out.raw.names[at].size = place.size
            memcpy(&out.raw.names[at].any, place.name, place.size)
        else:
            out.raw.names[at].size = name.size
            if name.size:
                memcpy(&out.raw.names[at].any, &name.any, name.size)
        if source is None:
            memset(&out.raw.sources[at], 0, sizeof(cyn_peer))
        else:
            out.raw.sources[at] = peer
            Py_INCREF(source)
            out.sources[at] = <PyObject *> source
        out.raw.pieces[at].iov_base = PyBytes_AS_STRING(data)
        out.raw.pieces[at].iov_len = PyBytes_GET_SIZE(data)
        Py_INCREF(data)
        out.data[at] = <PyObject *> data
        if address is not None:
            Py_INCREF(address)
            out.addresses[at] = <PyObject *> address
        out.sender = self
        out.raw.count = at + 1
        out.size += PyBytes_GET_SIZE(data)
        self.waiting += PyBytes_GET_SIZE(data)
        return self.send_gathered(out) if at + 1 == CYN_DATAGRAMS else 0

    cdef int flush(self, bint at_end) except -1:
        cdef Outbound out
        cdef Registry loop = self.its_loop()
        self.flags &= ~FLUSH_QUEUED
        if loop is None or loop.datagrams is None:
            return 0
        out = datagrams_of(loop).outbound
        if out.is_leaving:
            return 0
        if out.sender is self and out.raw.count:
            self.send_gathered(out)
        if self.life & (CLOSE_WANTED | GONE) == CLOSE_WANTED and self.is_empty():
            self.end(None)
        return 0

    cdef bint is_empty(self) except -1:
        """Returns True if nothing waits for room any more."""
        return self.queue is None and not self.stuck

    cdef bint is_leaving(self):
        """Returns True while what it has gathered is being sent."""
        cdef Registry loop = self.its_loop()
        if loop is None or loop.datagrams is None:
            return False
        return datagrams_of(loop).outbound.is_leaving and datagrams_of(loop).outbound.sender is self

    cdef int flush_leaving(self) except -1:
        return 0

    cdef Py_ssize_t output_waiting(self) except -1:
        return self.waiting

    cdef int send_gathered(self, Outbound out) except -1:
        """Sends what is gathered, which is this channel's, and keeps what the socket has no room for."""
        cdef int fd = self.descriptor()  # first, as it may be a method of the program's
        cdef int first = 0, sent = 0, count = out.raw.count, end = count, at
        cdef unsigned tries = 0
        self.waiting -= out.size
        out.is_leaving = True
        try:
            while first < count and not self.life & GONE:
                if self.stuck is not None:  # before a destination that has no room, the call must end
                    end = self.stuck_end(out, first, count)
                    if end == first:
                        self.wait_for_receiver(<object> out.data[first], object_at(out.addresses[first], None))
                        first += 1
                        continue
                out.raw.count = end
                sent = cyn_outbound_send(&out.raw, fd, first, &self.segment_most)
                out.raw.count = count
                if sent > 0:
                    for at in range(first, first + sent):
                        count_sent(self, PyBytes_GET_SIZE(<object> out.data[at]))
                    first += sent
                    tries = 0
                elif sent == -EAGAIN and self.family == AF_UNIX and not self.life & HAS_REMOTE:
                    self.wait_for_receiver(<object> out.data[first], object_at(out.addresses[first], None))
                    first += 1
                    sent = 0
                elif sent == -EAGAIN or sent == -EBADF or sent == -ENOTSOCK:
                    break
                elif sent != -EINTR and not self.is_earlier(-sent, &tries):
                    self.tell(-sent, object_at(out.addresses[first], self.remote_address))
                    first += 1
            if sent == -EAGAIN and not self.life & GONE:
                later, self.queue = self.queue, None  # what was sent in the meantime
                for at in range(first, count):
                    address, source = object_at(out.addresses[at], None), object_at(out.sources[at], None)
                    self.keep(<object> out.data[at], address, source)
                if later is not None:
                    self.queue = later if self.queue is None else self.queue + later
        finally:
            out.clear()
        if sent == -EAGAIN and not self.life & GONE:
            self.wait_for_room()
        elif sent == -EBADF or sent == -ENOTSOCK:
            self.end(OSError(-sent, os.strerror(-sent)))
        return 0

    cdef int stuck_end(self, Outbound out, int first, int count) except -1:
        """Returns the place of the first datagram from ``first`` on whose destination has no room."""
        while first < count and not self.stuck.has(object_at(out.addresses[first], None)):
            first += 1
        return first

    cdef int wait_for_receiver(self, object data, object address) except -1:
        """Has a datagram wait until a Unix socket has room, or drops it where too much waits."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if self.stuck is None:
            from .._stuck import Stuck

            self.stuck = Stuck()
        if not self.stuck.add(data, address, None if self.most_waiting < 0 else self.most_waiting):
            return self.lost(size)
        self.waiting += size
        return self.retry_later()

    cdef int retry_later(self) except -1:
        cdef Registry loop = self.its_loop()
        if not self.life & RETRYING and self.stuck and loop is not None and not loop.is_closed:
            self.life |= RETRYING
            loop.later(RETRY_MS, self._retry, ())
        return 0

    cdef int keep(self, object data, object address, object source) except -1:
        """Keeps a datagram until the socket has room, or is there. Drops it where too much is kept."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if 0 <= self.most_waiting < self.waiting + size:
            return self.lost(size)
        if self.queue is None:
            self.queue = deque()
        self.queue.append((data, address, source))
        self.waiting += size
        return 0

    cdef int keep_for_later(self, object data, object address, object source) except -1:
        """Keeps a datagram, and has it sent by a queued call."""
        cdef Registry loop = self.its_loop()
        cdef bint is_first = self.queue is None
        if loop is None or loop.is_closed:
            return 0
        self.keep(data, address, source)
        if is_first and self.queue is not None:
            loop.queue(self._send_kept, ())
        return 0

    cdef int lost(self, Py_ssize_t size) except -1:
        cdef Registry loop = self.its_loop()
        self.lost_count += 1
        self.lost_size += size
        if not self.life & LOSS_QUEUED and loop is not None and not loop.is_closed:
            self.life |= LOSS_QUEUED
            loop.queue(self._tell_loss, ())
        return 0

    def _tell_loss(self):
        count, size = self.lost_count, self.lost_size
        self.life &= ~LOSS_QUEUED
        self.lost_count = self.lost_size = 0
        self._tell_failure(_rules.too_much_output(self, count, size, self.most_waiting), None)

    cdef int wait_for_room(self) except -1:
        """Has what is kept sent when there is room for it."""
        cdef Registry loop = self.its_loop()
        if loop is None or loop.is_closed:
            return 0
        self.flags |= OUTPUT
        return self.arm()

    def _retry(self):
        """Tries again to send to those that had no room."""
        self.life &= ~RETRYING
        if self.life & GONE or self.loop is None or self.stuck is None:
            return
        self.stuck.send(self._send_again)
        if self.life & GONE:
            return
        if self.life & CLOSE_WANTED and self.is_empty() and not self.flags & FLUSH_QUEUED and not self.is_leaving():
            self.end(None)
        else:
            self.retry_later()

    def _send_again(self, data, address):
        """Sends one that waited. False: there is no room still."""
        try:
            self.sock.sendto(data, address)
        except OSError as error:
            if self.life & GONE or error.errno == EAGAIN:
                return False
            if error.errno == EBADF or error.errno == ENOTSOCK:
                self.end(error)
                return False
            self.tell(error.errno, address)
        else:
            count_sent(self, len(data))
        if self.life & GONE:
            return False
        self.waiting -= len(data)
        return True

    def _send_kept(self):
        if self.life & GONE or self.loop is None:
            return
        try:
            self.send_kept()
        except BaseException as error:
            self.caught(error)

    cdef int send_kept(self) except -1:
        """Sends what was kept, as far as there is room."""
        cdef Datagrams shared
        cdef object kept = self.queue
        self.queue = None
        self.flags &= ~OUTPUT
        if kept is None:
            return 0
        shared = datagrams_of(self.loop)
        while kept and self.queue is None and not self.life & GONE:
            data, address, source = kept.popleft()
            self.waiting -= PyBytes_GET_SIZE(data)
            self.queue_one(shared, data, address, source)
            if not kept and shared.outbound.sender is self and not shared.outbound.is_leaving:
                self.send_gathered(shared.outbound)
        if self.life & GONE:
            return 0
        if kept:
            self.queue.extend(kept)
        elif self.life & CLOSE_WANTED and self.is_empty():
            self.end(None)
        return 0

    # What has failed

    cdef bint is_earlier(self, int error, unsigned *tries) except -1:
        """Returns True if a send has failed because of what was sent earlier, which is told: it is to be repeated."""
        tries[0] += 1
        if tries[0] > TRIES:
            return False
        if self.take_mishaps(error):
            return True
        if error != ECONNREFUSED or self.family == AF_UNIX:
            return False
        self.tell(error, self.remote_address)  # of a kernel that keeps no queue
        return True

    cdef int take_mishaps(self, int own_error) except -1:
        """Tells what the kernel has queued, and returns how much. This host's own refusal of what is being sent is left
        to the caller.
        """
        cdef Registry loop = self.its_loop()
        cdef cyn_mishap mishap
        cdef int count = 0, _at
        if not self.granted & CYN_TELL_FAILURES or loop is None:
            return 0
        for _at in range(MISHAPS):
            if cyn_mishap_take(self.descriptor(), &mishap) <= 0:
                break
            if not mishap.is_local or mishap.error != own_error:
                self.tell(mishap.error, datagrams_of(loop).addresses.find(&mishap.to))
                count += 1
        return count

    cdef int tell(self, int error, object address) except -1:
        """Has the program told in the next tick: nothing of a channel calls it from inside a call of the program."""
        cdef Registry loop = self.its_loop()
        if loop is not None and not loop.is_closed:
            loop.queue(self._tell_failure, (_rules.send_failure(error, address), address))
        return 0

    def _tell_failure(self, error, address):
        if self.life & GONE:
            return
        try:
            self.handle_send_error(error, address)
        except BaseException as failure:
            self.caught(failure)


cdef inline object object_at(PyObject *found, object otherwise):
    return otherwise if found is NULL else <object> found
