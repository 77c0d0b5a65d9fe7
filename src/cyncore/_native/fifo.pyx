# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Fifo: what a channel has to send, a deque to its users.

Programs append to it, count it and clear it whenever they like, and the channel must know: so it is no deque, which
tells nobody, but behaves as one. Bytes that were sent of the first item are an offset until a program looks.

What waits is offered to the socket in one system call. Short pieces are copied together for it: the kernel takes longer
over a list of them than that lasts.
"""

from collections import deque
from collections.abc import MutableSequence

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.string cimport memcpy, memset

from .channel cimport BufferedChannel
from .csrc cimport MSG_DONTWAIT, MSG_NOSIGNAL, cyn_send, cyn_sendmsg, iovec, msghdr
from .internals cimport cyn_list_empty

cdef enum:
    COMPACT = 64    # places before the front that may stay empty
    SHORT = 512     # bytes that are sooner copied than listed
    COPIED = 16384  # bytes copied at once


cdef Py_ssize_t _send_copied(int fd, const iovec *pieces, Py_ssize_t count) noexcept:
    cdef char room[COPIED]
    cdef char *end = room
    cdef Py_ssize_t place
    for place in range(count):
        memcpy(end, pieces[place].iov_base, pieces[place].iov_len)
        end += pieces[place].iov_len
    return cyn_send(fd, room, <size_t> (end - room), MSG_DONTWAIT | MSG_NOSIGNAL)


cdef Py_ssize_t _send_listed(int fd, iovec *pieces, Py_ssize_t count) noexcept:
    cdef msghdr message
    memset(&message, 0, sizeof(message))
    message.msg_iov = pieces
    message.msg_iovlen = count
    return cyn_sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)


cdef class Fifo:
    """`producer_fifo`: a deque to its users, of bytes, producers and None (which closes the channel)."""

    def __cinit__(self):
        self.items = []

    def __dealloc__(self):
        if self.place is not NULL:
            self.place[0] = NULL

    # For the channel

    cdef int drop(self, Py_ssize_t count) except -1:
        """Takes so many off the front."""
        cdef Py_ssize_t end = self.head + count
        cdef list items = self.items
        self.offset = 0
        if end >= len(items):
            return self.wipe()
        while self.head < end:
            if not is_piece(items[self.head]):
                self.others -= 1
            items[self.head] = None
            self.head += 1
        if self.head > COMPACT and self.head * 2 > len(items):
            del items[:self.head]
            self.head = 0
        return 0

    cdef Py_ssize_t offer(self, int fd, Py_ssize_t most, Py_ssize_t *offered) noexcept:
        """Sends what the socket takes of the bytes at the front, `most` at most: how many it was, -1 with errno set."""
        cdef iovec pieces[PIECES]
        cdef Py_ssize_t count = 0, total = 0, size, place = self.head, offset = self.offset
        cdef Py_ssize_t end = min(PyList_GET_SIZE(self.items), self.head + PIECES)
        cdef PyObject *item
        while place < end and total < most:
            item = PyList_GET_ITEM(self.items, place)
            if not PyBytes_CheckExact(<object> item):
                break
            size = min(PyBytes_GET_SIZE(<object> item) - offset, most - total)
            pieces[count].iov_base = PyBytes_AS_STRING(<object> item) + offset
            pieces[count].iov_len = <size_t> size
            total += size
            count += 1
            place += 1
            offset = 0
        offered[0] = total
        if count == 1:
            return cyn_send(fd, pieces[0].iov_base, pieces[0].iov_len, MSG_DONTWAIT | MSG_NOSIGNAL)
        if total <= count * SHORT and total <= COPIED:
            return _send_copied(fd, pieces, count)
        return _send_listed(fd, pieces, count)

    cdef int sent(self, Py_ssize_t count) except -1:
        """So many bytes of the front are gone."""
        cdef Py_ssize_t size, whole = 0, place = self.head
        if count == self.waiting and not self.others:
            return self.wipe()
        if self.waiting >= 0:
            self.waiting -= count
        count += self.offset
        while place < len(self.items):
            item = self.items[place]
            size = PyBytes_GET_SIZE(item) if PyBytes_CheckExact(item) else 0
            if size == 0 or count < size:
                break
            count -= size
            place += 1
            whole += 1
        if whole:
            self.drop(whole)
        self.offset = count
        return 0

    cdef Py_ssize_t count_waiting(self) except -1:
        cdef Py_ssize_t place
        if self.waiting < 0:
            self.waiting = -self.offset
            self.others = 0
            for place in range(self.head, len(self.items)):
                if is_piece(self.items[place]):
                    self.waiting += PyBytes_GET_SIZE(self.items[place])
                else:
                    self.others += 1
        return self.waiting

    cdef int wipe(self) except -1:
        cdef bint are_pieces = self.waiting >= 0 and self.others == 0 and self.head == 0
        self.head = self.offset = self.waiting = self.others = 0
        if not are_pieces or not cyn_list_empty(self.items):
            self.items.clear()
        return 0

    cdef int put_in_place_of(self, object item, Py_ssize_t at, object data, object rest) except -1:
        """`data` and then `rest`, those that are not None, instead of `item`, which was at that place."""
        cdef list items = self.items
        cdef Py_ssize_t place
        self.waiting = -1
        for place in range(self.head, len(items)):
            if items[place] is item:
                del items[place]
                break
        else:  # taken out meanwhile
            place = min(max(at, self.head), <Py_ssize_t> len(items))
            rest = None
        if rest is not None:
            items.insert(place, rest)
        if data is not None:
            items.insert(place, data)
        return 0

    # For its users

    cdef list tidy(self):
        """What is queued, as a list of just that."""
        if self.offset:
            self.items[self.head] = self.items[self.head][self.offset:]
            self.offset = 0
        if self.head:
            del self.items[:self.head]
            self.head = 0
        return self.items

    cdef int changed(self) except -1:
        self.waiting = -1
        return self.notify()

    cdef int notify(self) except -1:
        if self.channel is not NULL:
            (<BufferedChannel> self.channel).output_changed()
        return 0

    cdef int put_first(self, object item) except -1:
        if self.offset:
            self.tidy()
        if self.head == 0:  # room for as many again, so that a program that does this often pays for it once
            self.head = len(self.items) + 8
            self.items[0:0] = [None] * self.head
        self.head -= 1
        self.items[self.head] = item
        return 0

    cdef Py_ssize_t index_of(self, Py_ssize_t at, str what) except -1:
        cdef Py_ssize_t count = self.length()
        if at < 0:
            at += count
        if not 0 <= at < count:
            raise IndexError(f"{what}: index out of range" if count else f"{what}: the queue is empty")
        return at

    @property
    def maxlen(self):
        """None: it has no bound."""
        return None

    def __len__(self):
        return len(self.items) - self.head

    def __bool__(self):
        return self.head < len(self.items)

    def __iter__(self):
        return iter(list(self.tidy()))

    def __reversed__(self):
        return reversed(list(self.tidy()))

    def __contains__(self, item):
        return item in self.tidy()

    def __getitem__(self, Py_ssize_t at):
        at = self.index_of(at, "producer_fifo")
        if at == 0 and self.offset:
            self.tidy()
        return self.items[self.head + at]

    def __setitem__(self, Py_ssize_t at, item):
        at = self.index_of(at, "producer_fifo")
        if at == 0:
            self.offset = 0
        self.items[self.head + at] = item
        self.changed()

    def __delitem__(self, Py_ssize_t at):
        cdef list items
        at = self.index_of(at, "producer_fifo")
        if at == 0:
            self.drop(1)
        else:
            items = self.tidy()
            del items[at]
        self.changed()

    def __eq__(self, other):
        if isinstance(other, (Fifo, deque)):
            return self is other or self.tidy() == list(other)
        return NotImplemented

    __hash__ = None

    def __repr__(self):
        return f"Fifo({self.tidy()!r})"

    def __iadd__(self, other):
        self.extend(other)
        return self

    def __copy__(self):
        return deque(self.tidy())

    copy = __copy__

    def append(self, item):
        """Puts ``item`` last."""
        put_last(self, item)
        self.notify()

    def appendleft(self, item):
        """Puts ``item`` first."""
        self.put_first(item)
        self.changed()

    def insert(self, at, item):
        """Puts ``item`` before the place ``at``."""
        self.tidy().insert(at, item)
        self.changed()

    def extend(self, items):
        """Puts each of ``items`` last."""
        self.items.extend(list(items))
        self.changed()

    def extendleft(self, items):
        """Puts each of ``items`` first, one after the other."""
        for item in list(items):
            self.put_first(item)
        self.changed()

    def pop(self):
        """Takes the last out. IndexError where there is none."""
        cdef list items = self.tidy()
        cdef Py_ssize_t at = self.index_of(-1, "pop")
        item = items[at]
        del items[at]
        self.changed()
        return item

    def popleft(self):
        """Takes the first out. IndexError where there is none."""
        if self.head >= len(self.items):
            raise IndexError("popleft: the queue is empty")
        item = self.items[self.head]
        if self.offset:
            item = item[self.offset:]
        self.drop(1)
        self.changed()
        return item

    def clear(self):
        """Takes everything out."""
        self.wipe()
        self.changed()

    def remove(self, item):
        """Takes out the first that equals ``item``. ValueError where there is none."""
        self.tidy().remove(item)
        self.changed()

    def reverse(self):
        """Turns the order round."""
        self.tidy().reverse()
        self.changed()

    def rotate(self, n=1):
        """Moves ``n`` from the end to the front; below zero: from the front to the end."""
        turned = deque(self.tidy())
        turned.rotate(n)
        self.items = list(turned)
        self.changed()

    def index(self, item, *bounds):
        """The place of the first that equals ``item``. ValueError where there is none."""
        return self.tidy().index(item, *bounds)

    def count(self, item):
        """How many equal ``item``."""
        return self.tidy().count(item)


MutableSequence.register(Fifo)
