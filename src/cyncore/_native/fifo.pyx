# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Fifo: the queue of what a channel has to send, which behaves as a deque.

Programs append to it, count it and clear it at any time, and the channel has to notice. A deque notifies nobody, so
this is a class of its own. If the first item is sent in part, an offset says how much; when a program reads the item,
that part is cut off.

A *piece* is an item of bytes that is not empty. The pieces at the front are offered to the socket in one system call.
Short ones are copied into one block before, because the kernel takes longer for a list of them than the copy takes.

Numbers and items are the program's objects: an ``__index__``, an ``__eq__`` or a finalizer may use the queue, or run
the loop, which sends of it. So none is called between two steps of a change.
"""

from collections import deque
from collections.abc import MutableSequence
from operator import index

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.string cimport memcpy, memset

from .channel cimport BufferedChannel
from .csrc cimport MSG_DONTWAIT, MSG_NOSIGNAL, cyn_send, cyn_sendmsg, iovec, msghdr
from .internals cimport cyn_list_empty
from .traits import guard

cdef enum:
    MAX_GAP = 64     # places before the first item that may stay empty, if most of the list is in use
    SHORT = 512      # the average size of pieces, in bytes, up to which a copy takes less time than a list
    BLOCK = 16384    # bytes that are copied into one block at most


cdef Py_ssize_t _send_copied(int fd, const iovec *pieces, Py_ssize_t count) noexcept:
    cdef char room[BLOCK]
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
    """`producer_fifo`: behaves as a deque of bytes, producers and None (which closes the channel)."""

    def __cinit__(self):
        self.items = []

    def __dealloc__(self):
        if self.owner_pointer is not NULL:
            self.owner_pointer[0] = NULL

    # For the channel

    cdef int drop(self, Py_ssize_t count) except -1:
        """Removes so many items from the front."""
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
        if self.head > MAX_GAP and self.head * 2 > len(items):
            del items[:self.head]
            self.head = 0
        return 0

    cdef Py_ssize_t offer(self, int fd, Py_ssize_t most, Py_ssize_t *offered) noexcept:
        """Sends what the socket takes of the pieces at the front, `most` bytes at most.

        Returns how many bytes it took, or -1 with errno set. `offered` is set to how many bytes it was offered.
        """
        cdef iovec pieces[MAX_PIECES]
        cdef Py_ssize_t count = 0, total = 0, size, place = self.head, offset = self.offset
        cdef Py_ssize_t end = min(PyList_GET_SIZE(self.items), self.head + MAX_PIECES)
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
        if total <= count * SHORT and total <= BLOCK:
            return _send_copied(fd, pieces, count)
        return _send_listed(fd, pieces, count)

    cdef bytes join(self, bytes first, Py_ssize_t most):
        """Returns `first`, the bytes of the first item, with those of the pieces behind it: `most` bytes at most."""
        cdef list parts = [first]
        cdef Py_ssize_t place, room = most - len(first)
        for place in range(self.head + 1, len(self.items)):
            item = self.items[place]
            if room <= 0 or not PyBytes_CheckExact(item):
                break
            parts.append(item[:room])
            room -= PyBytes_GET_SIZE(item)
        return b"".join(parts)

    cdef int sent(self, Py_ssize_t count) except -1:
        """Removes so many bytes from the front."""
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

    cdef Py_ssize_t find_producer(self, Py_ssize_t most) except -2:
        """Returns the place of the first item that is no piece. -1: `most` bytes, or all there are, come before it."""
        cdef Py_ssize_t total = -self.offset, at = self.head
        while at < len(self.items) and at - self.head < MAX_PIECES and total < most:
            if not is_piece(self.items[at]):
                return at
            total += PyBytes_GET_SIZE(self.items[at])
            at += 1
        return -1

    cdef Py_ssize_t count_waiting(self) except -1:
        """Returns the bytes in all pieces."""
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
        """Removes everything, without a notification."""
        cdef bint are_pieces = self.waiting >= 0 and self.others == 0 and self.head == 0
        self.head = self.offset = self.waiting = self.others = 0
        if not are_pieces or not cyn_list_empty(self.items):
            self.items.clear()
        return 0

    cdef int replace_item(self, object item, Py_ssize_t at, object data, object rest) except -1:
        """Puts `data` and then `rest`, if they are not None, in the place of `item`, which was found at `at`."""
        cdef list items = self.items
        cdef Py_ssize_t place
        self.waiting = -1
        for place in range(self.head, len(items)):
            if items[place] is item:
                del items[place]
                break
        else:  # the program has taken the item out meanwhile
            place = min(max(at, self.head), <Py_ssize_t> len(items))
            rest = None
        if rest is not None:
            items.insert(place, rest)
        if data is not None:
            items.insert(place, data)
        return 0

    # For its users

    cdef list compact(self):
        """Cuts off what is sent already, and returns the list of items."""
        if self.offset:
            self.items[self.head] = self.items[self.head][self.offset:]
            self.offset = 0
        if self.head:
            del self.items[:self.head]
            self.head = 0
        return self.items

    cdef int changed(self) except -1:
        """Tells the channel of a change after which the bytes have to be counted again."""
        self.waiting = -1
        return self.notify()

    cdef int notify(self) except -1:
        """Tells the channel of a change."""
        if self.channel is not NULL:
            (<BufferedChannel> self.channel).output_changed()
        return 0

    cdef int put_first(self, object item) except -1:
        if self.offset:
            self.compact()
        if self.head == 0:  # makes room for as many items again, so that repeated calls stay cheap
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
        """None: its length has no limit."""
        return None

    def __len__(self):
        return len(self.items) - self.head

    def __bool__(self):
        return self.head < len(self.items)

    def __iter__(self):
        return iter(list(self.compact()))

    def __reversed__(self):
        return reversed(list(self.compact()))

    def __contains__(self, item):
        return item in self.compact()

    def __getitem__(self, Py_ssize_t at):
        at = self.index_of(at, "producer_fifo")
        if at == 0 and self.offset:
            self.compact()
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
        _item = self.items[self.head + at]  # kept until the queue is whole again, since its finalizer may use it
        if at == 0:
            self.drop(1)
        else:
            items = self.compact()
            del items[at]
        self.changed()

    def __eq__(self, other):
        if isinstance(other, (Fifo, deque)):
            return self is other or self.compact() == list(other)
        return NotImplemented

    __hash__ = None

    def __repr__(self):
        return f"Fifo({self.compact()!r})"

    def __iadd__(self, other):
        self.extend(other)
        return self

    def __imul__(self, count):
        cdef object times = index(count)
        cdef list items = self.compact()
        items *= times
        self.changed()
        return self

    def __copy__(self):
        return deque(self.compact())

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
        """Puts ``item`` before the one at ``at``."""
        cdef object place = index(at)
        self.compact().insert(place, item)
        self.changed()

    def extend(self, items):
        """Puts each of ``items`` last."""
        cdef list more = list(items)
        self.items.extend(more)
        self.changed()

    def extendleft(self, items):
        """Puts each of ``items`` first, so that the last one of them is the first in the queue."""
        for item in list(items):
            self.put_first(item)
        self.changed()

    def pop(self):
        """Takes out the last item and returns it. IndexError if the queue is empty."""
        cdef list items = self.compact()
        cdef Py_ssize_t at = self.index_of(-1, "pop")
        item = items[at]
        del items[at]
        self.changed()
        return item

    def popleft(self):
        """Takes out the first item and returns it. IndexError if the queue is empty."""
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
        """Takes out the first one that equals ``item``. ValueError if there is none; IndexError if the comparison has
        changed the queue.
        """
        cdef list items = self.compact()
        cdef list before = list(items)
        cdef Py_ssize_t at = before.index(item)
        if self.items is not items or self.head or self.offset or not _are_same(items, before):
            raise IndexError("remove: the queue was changed by a comparison")
        _item = before[at]
        del items[at]
        self.changed()

    def reverse(self):
        """Reverses the order."""
        self.compact().reverse()
        self.changed()

    def rotate(self, n=1):
        """Moves ``n`` items from the end to the front; if ``n`` is below zero, from the front to the end."""
        cdef object count = index(n)
        turned = deque(self.compact())
        turned.rotate(count)
        self.items = list(turned)
        self.changed()

    def index(self, item, *bounds):
        """Returns the place of the first one that equals ``item``. ValueError if there is none."""
        return self.compact().index(item, *bounds)

    def count(self, item):
        """Returns how many equal ``item``."""
        return self.compact().count(item)


cdef bint _are_same(list one, list other) noexcept:
    """Returns True if both hold the same objects."""
    cdef Py_ssize_t at
    if PyList_GET_SIZE(one) != PyList_GET_SIZE(other):
        return False
    for at in range(PyList_GET_SIZE(one)):
        if PyList_GET_ITEM(one, at) is not PyList_GET_ITEM(other, at):
            return False
    return True


MutableSequence.register(Fifo)
guard(Fifo)
