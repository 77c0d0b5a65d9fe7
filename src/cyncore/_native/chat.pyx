# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""ChatChannel: what `chat_input` cuts up, and a queue of output.

Facts that shape it:
- A program may put anything into `producer_fifo`, or another queue in its place, in any callback.
- A producer is asked for more only when there is room for it, and may do anything while it is asked.
- Other threads push, too: what they do is handed to the thread that runs the loop.
- A handler may block behind a push until its peer has answered, so what is pushed is sent at once: by the shortest way,
  past the queue, where that is empty. It is held back only while the next piece of input is there already.
"""

import os
from collections import deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno

from .channel cimport (
    CONNECTED,
    CONNECTING,
    DIRECT,
    DISCONNECTED,
    FLUSH_QUEUED,
    CROSS_THREAD,
    LEAVING,
    NOT_OURS,
    OUTPUT,
    SEND_NOW,
    SENT_LATER,
    UNSENT,
    BufferedChannel,
    LoopBase,
    _fileno,
)
from .csrc cimport CYN_WRITE, MSG_DONTWAIT, MSG_NOSIGNAL, cyn_send
from .fifo cimport PIECES, Fifo, PyList_GET_ITEM, is_piece, put_last
from .chat_input cimport (
    A_PIECE,
    GATHERS,
    INSTANCE_OVERRIDES,
    OTHER_QUEUE,
    OWN_INITIATE,
    OWN_SEND,
    OWN_WRITE,
    GENERIC,
    ChatInput,
    piece_follows,
    refresh,
)
from .traits cimport ASK_WRITE, BUFFERED, STATE, WRITE_EVENT

from . import chat_input
from .. import _plain_chat

cdef enum:
    USUAL = 65536  # bytes sent at once where the class does not say


cdef inline int _when(ChatChannel self) except -1:
    return SEND_NOW if self.loop is None else self.loop.sending()


cdef inline bint _is_usual(ChatChannel self) except -1:
    """Is what is pushed just put into the queue? So it is where nothing but the class's handlers is the program's."""
    return (
        refresh(self) == 0 and self.chat.max_outgoing < 0
        and not self.overrides & (GENERIC | OTHER_QUEUE | OWN_INITIATE | INSTANCE_OVERRIDES)
    )


cdef inline bint _gathers(ChatChannel self) except -1:
    if self.overrides & INSTANCE_OVERRIDES:
        return bool(getattr(self, "gather_pushes", False))
    return self.overrides & GATHERS != 0


cdef inline bint _waits(ChatChannel self, Py_ssize_t size) except -1:
    """Are so many bytes (0: nobody knows) that a handler of the loop pushes now to wait, for more of them?"""
    cdef Py_ssize_t most = self.chat.out_size
    if self.overrides & INSTANCE_OVERRIDES:
        most = self.size_of("ac_out_buffer_size", USUAL)
    if self.is_held and (size == 0 or self.fifo is None or self.fifo.waiting < 0 or self.fifo.waiting + size > most):
        self.send_held()  # with this it could not leave in one call
    if self.behind and 0 < size <= most and not self.flags & OUTPUT and piece_follows(self):
        self.is_held = True
        return True
    return _gathers(self)


cdef inline int _sent_later(ChatChannel self) except -1:
    """Sees to it that what was put into the queue leaves before the loop waits next."""
    cdef Fifo fifo = self.fifo
    if self.flags & OUTPUT and self.defines & BUFFERED:
        return 0  # the kernel will tell when there is room
    if self.flags & FLUSH_QUEUED:
        if fifo.waiting >= self.chat.out_size or fifo.length() >= PIECES:
            return self.send_queue(False, False, True)  # as much as leaves at once
        return 0
    if self.state(CONNECTED, "connected") and not self.overrides & OWN_INITIATE:
        return self.loop.gather(self)
    return self.output_changed()


cdef class ChatChannel(ChatInput):
    """The engine's part of `asynchat.async_chat`."""

    def __dealloc__(self):
        # Not through `fifo`: the collector may have emptied that already, while a program still holds the queue.
        if self.fifo_at is not NULL:
            (<Fifo> self.fifo_at).channel = NULL
            (<Fifo> self.fifo_at).place = NULL

    # What its class, and it itself, define

    cdef int look_again(self) except -1:
        ChatInput.look_again(self)
        if self.other_queue is not None:
            self.overrides |= OTHER_QUEUE
        return 0

    cdef int classify(self) except -1:
        BufferedChannel.classify(self)
        if self.loop is not None:
            refresh(self)
            if self.overrides & (OTHER_QUEUE | GENERIC):
                self.defines = (self.defines | ASK_WRITE) & ~BUFFERED  # nobody tells when something is put there
                self.loop.polled_add(self)
        return 0

    # Attributes

    @property
    def producer_fifo(self):
        """What is queued to be sent, as a deque: bytes, producers, and None where the channel is to be closed."""
        if self.flags & FLUSH_QUEUED:
            self.flush(False)  # a program that looks, or clears it, counts on what it has pushed being sent
        return self.queue() if self.other_queue is None else self.other_queue

    @producer_fifo.setter
    def producer_fifo(self, value):
        if self.flags & UNSENT:
            self.flush(False)
        if value is None:
            value = Fifo()  # None is no queue, so that an empty one takes its place
        self.take_queue(value if isinstance(value, Fifo) else None)
        if isinstance(value, Fifo):
            value = None
        self.other_queue = value
        self.overrides_stamp = self.overrides_version = 0
        self.classify()
        self.output_changed()

    def _start_buffers(self):
        """Empties the buffers, and makes those that the class keeps in attributes of its own."""
        self.empty()
        if self.fifo is not None:
            self.producer_fifo = None
        self.other_queue = None
        self.overrides_stamp = self.overrides_version = 0
        refresh(self)
        if self.overrides & GENERIC:
            for name, empty in (("ac_in_buffer", bytes), ("incoming", list), ("producer_fifo", deque)):
                if getattr(type(self), name) is not getattr(ChatChannel, name):
                    setattr(self, name, empty())

    def discard_buffers(self):
        """Forgets what was received and what is queued to be sent."""
        self.ac_in_buffer = b""
        del self.incoming[:]
        self.producer_fifo.clear()

    cdef unsigned interest(self) except? 0xFFFFFFFF:
        cdef unsigned wanted = BufferedChannel.interest(self)
        if wanted & CYN_WRITE and not self.flags & (CONNECTED | CONNECTING) and not self.can_write():
            wanted &= ~CYN_WRITE
        return wanted

    cdef bint can_write(self) except -1:
        """Is there a connection, or one to come, or has the class methods of its own that may make one?"""
        if self.defines & STATE and (self.state(CONNECTED, "connected") or self.state(CONNECTING, "connecting")):
            return True
        refresh(self)
        if self.overrides & (OWN_WRITE | OWN_INITIATE) or self.defines & WRITE_EVENT:
            return True
        return type(self).writable is not BufferedChannel.writable or "writable" in getattr(self, "__dict__", ())

    # Output

    cdef int take_queue(self, Fifo fifo) except -1:
        if self.fifo_at is not NULL:
            (<Fifo> self.fifo_at).channel = NULL
            (<Fifo> self.fifo_at).place = NULL
        self.fifo = fifo
        self.fifo_at = <void *> fifo if fifo is not None else NULL
        if fifo is not None:
            if fifo.place is not NULL:
                fifo.place[0] = NULL  # another channel's until now
            fifo.channel = <void *> self
            fifo.place = &self.fifo_at
        return 0

    cdef Fifo queue(self):
        if self.fifo is None:
            self.take_queue(Fifo.__new__(Fifo))
        return self.fifo

    cdef bint has_output(self) except -1:
        return self.output_left()

    cdef bint output_left(self) except -1:
        if self.overrides & GENERIC:
            return bool(self.producer_fifo)
        if self.other_queue is not None:
            return bool(self.other_queue)
        return self.fifo is not None and not self.fifo.is_empty()

    cdef int output_changed(self) except -1:
        cdef bint left = self.output_left()
        if left != (self.flags & OUTPUT != 0):
            self.set_state(OUTPUT, left)
        return 0

    def push(self, data):
        """Sends ``data`` (bytes, bytearray or memoryview; a copy is made of what may change).

        It leaves at once, or with what the last `found_terminator` pushes where several pieces of input came together;
        with `gather_pushes`, when all handlers of this tick have run. What the socket does not take waits. From another
        thread than the running loop's, it is handed to that.
        TypeError for anything else. Where more than `max_outgoing` bytes would wait, ``data`` is not sent, and
        `handle_error` is called with `LimitExceeded` being handled.
        """
        cdef Py_ssize_t size
        cdef int when
        if not PyBytes_CheckExact(data):
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"push() sends bytes, a bytearray or a memoryview, not {type(data)!r}")
            data = bytes(data)
        size = PyBytes_GET_SIZE(data)
        if size:
            when = _when(self)
            if when != SENT_LATER or not _is_usual(self):
                self.put_item(data, size, when)
            elif (
                self.behind == A_PIECE and self.loop.depth == self.depth and self.fifo is not None
                and 0 <= self.fifo.waiting <= self.chat.out_size - size and not self.flags & OUTPUT
            ):
                put_last(self.fifo, data)  # as below, of what is held back: it is pushed often
                self.is_held = True
                _sent_later(self)
            elif _waits(self, size):
                put_last(self.queue() if self.fifo is None else self.fifo, data)
                _sent_later(self)
            else:
                self.send_now(data, size)

    cdef int send_now(self, bytes data, Py_ssize_t size) except -1:
        """Past the queue, where nothing is in that and nobody has a say in it."""
        cdef Fifo fifo = self.queue() if self.fifo is None else self.fifo
        cdef Py_ssize_t sent = 0
        cdef int fd = -1, error = 0
        if (
            fifo.is_empty() and self.flags & (DIRECT | CONNECTED | OUTPUT | LEAVING) == DIRECT | CONNECTED
            and not self.defines & STATE and not self.overrides & OWN_SEND and not self.is_sending
            and size <= self.chat.out_size
        ):
            fd = _fileno(self.sock)
        if fd < 0:
            put_last(fifo, data)
            return self.send_queue(False, False, True)
        sent = cyn_send(fd, PyBytes_AS_STRING(data), <size_t> size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent == size:
            return 0
        error = errno
        put_last(fifo, data)
        if sent >= 0:
            fifo.sent(sent)
            return self.output_changed()
        return self.tell_failed(error)

    cdef int tell_failed(self, int error) except -1:
        self.is_sending = True
        try:
            self.send_failed(error)
        finally:
            self.is_sending = False
            self.output_changed()
        return 0

    def push_with_producer(self, producer):
        """Queues an object whose ``more()`` gives the next bytes to send, and empty ones at its end. Else as `push`."""
        self.put_item(producer, 0, _when(self))

    def close_when_done(self):
        """Calls `handle_close` when everything pushed so far is sent."""
        self.put_item(None, 0, _when(self))

    def _take_handed(self):
        """In the loop's thread: what other threads have pushed."""
        cdef LoopBase loop = self.loop
        cdef int when = SEND_NOW if loop is None else loop.sending()
        if when == NOT_OURS:
            loop.call_soon_threadsafe(self._take_handed)  # it has come into another loop meanwhile
            return
        try:
            self.put_handed(when)
        except Exception:
            self.handle_error()
        finally:
            if loop is not None and when == SEND_NOW:
                loop.sent()

    cdef int hand_over(self, object item, Py_ssize_t size) except -1:
        """To the thread that runs the loop."""
        cdef LoopBase loop = self.loop
        cdef Py_ssize_t most = self.size_of("max_outgoing", -1)
        cdef Py_ssize_t waiting = self.handed_size
        if self.fifo is not None and self.fifo.waiting > 0:
            waiting += self.fifo.waiting
        if most >= 0 and size and waiting + size > most:
            if not self.is_refusing:
                self.is_refusing = True
                loop.call_soon_threadsafe(self._refuse_handed, most)
            return 0
        self.handed_size += size
        self.handed.append(item)
        if not self.flags & CROSS_THREAD:
            self.flags |= CROSS_THREAD
            loop.call_soon_threadsafe(self._take_handed)
        return 0

    def _refuse_handed(self, most):
        self.is_refusing = False
        self.too_much("output that waits, max_outgoing", most)

    cdef int put_handed(self, int when) except -1:
        self.flags &= ~CROSS_THREAD
        self.handed_size = 0
        while self.handed:
            item = self.handed.popleft()
            self.put_here(item, PyBytes_GET_SIZE(item) if PyBytes_CheckExact(item) else 0, when, True)
        return 0

    cdef int queue_handed(self) except -1:
        """As it is, for a flush, which sends it."""
        self.flags &= ~CROSS_THREAD
        self.handed_size = 0
        queue = self.producer_fifo
        while self.handed:
            queue.append(self.handed.popleft())
        return 0

    cdef int put_item(self, object item, Py_ssize_t size, int when) except -1:
        cdef LoopBase loop = self.loop
        if when == SENT_LATER:
            return self.put_here(item, size, when, False)  # what was handed over has its turn among the loop's calls
        if when == NOT_OURS:
            if self.handed is None:
                self.handed = deque()
            return self.hand_over(item, size)
        try:
            self.put_handed(when)  # a thread's earlier pushes come before its later ones, wherever the loop is
            return self.put_here(item, size, when, False)
        finally:
            if loop is not None:
                loop.sent()

    cdef int put_here(self, object item, Py_ssize_t size, int when, bint gathers) except -1:
        """`gathers`: more may follow, and nobody waits for this."""
        cdef Fifo fifo
        refresh(self)
        if self.overrides & (GENERIC | OTHER_QUEUE):
            if _plain_chat.has_room(self, item):
                _plain_chat.put(self, item)
            return self.output_changed()
        cdef bint is_limited = self.chat.max_outgoing >= 0 or self.overrides & INSTANCE_OVERRIDES
        if size and is_limited and not self.has_room_for(size):
            return 0
        if when == SENT_LATER and not gathers:
            gathers = _gathers(self) if item is None else _waits(self, size)
        fifo = self.queue() if self.fifo is None else self.fifo
        put_last(fifo, item)
        if self.overrides & OWN_INITIATE and item is not None:
            self.initiate_send()
            return self.output_changed()
        if when == SENT_LATER and gathers:
            return _sent_later(self)
        if item is not None:
            return self.send_queue(False, False, True)
        return self.output_changed()

    cdef bint has_room_for(self, Py_ssize_t size) except -1:
        """May so many bytes more be queued? Tells the channel where they may not."""
        cdef Fifo fifo = self.queue()
        cdef Py_ssize_t most = self.chat.max_outgoing
        if self.overrides & INSTANCE_OVERRIDES:
            most = self.size_of("max_outgoing", -1)
        if most >= 0 and fifo.count_waiting() + size > most:
            self.send_queue(False, False, True)
            if self.fifo is not fifo or fifo.count_waiting() + size > most:
                self.too_much("output that waits, max_outgoing", most)
                return False
        return True

    def send(self, data):
        """Sends what the socket takes now of ``data`` (bytes-like), past the queue, and returns how many bytes that
        was. Else as `dispatcher.send`.
        """
        if self.flags & UNSENT:
            self.flush(False)  # it comes first
        return self.send_some(data)

    def handle_write(self):
        """Sends more of the queue."""
        self.initiate_send()

    def initiate_send(self):
        """Sends what the socket takes now of the queue: at most `ac_out_buffer_size` bytes, in one system call."""
        self.send_queue(False, False, True)

    def refill_buffer(self):
        """Asks the producers at the front of the queue, so that it begins with bytes if there are any."""
        refresh(self)
        if self.other_queue is None and not self.overrides & GENERIC:
            self.prepare(1)
            self.output_changed()

    cdef int on_room(self) except -1:
        refresh(self)
        if self.overrides & OWN_WRITE:
            BufferedChannel.on_room(self)
        elif self.overrides & OWN_INITIATE:
            self.initiate_send()
        else:
            return self.send_queue(False, True, True)
        return self.output_changed()

    cdef int flush(self, bint at_end) except -1:
        cdef Fifo fifo
        cdef Py_ssize_t size, sent
        cdef PyObject *item
        cdef int fd
        self.flags &= ~FLUSH_QUEUED
        if self.flags & CROSS_THREAD:
            self.queue_handed()
        fifo = self.fifo
        if fifo is None:
            return self.send_queue(True, False, at_end)
        if self.loop is not None and self.loop.is_copy():
            fifo.wipe()  # the parent sends it
            return self.output_changed()
        refresh(self)
        if (
            fifo.is_one_piece() and self.flags & (DIRECT | OUTPUT) == DIRECT and not self.is_sending
            and not self.overrides & (OWN_SEND | OTHER_QUEUE | GENERIC | INSTANCE_OVERRIDES)
            and fifo.waiting <= self.chat.out_size
        ):
            # An answer of one push: the commonest of all, and worth a way of its own.
            fd = _fileno(self.sock)
            if fd >= 0:
                item = PyList_GET_ITEM(fifo.items, fifo.head)
                size = fifo.waiting
                sent = cyn_send(fd, PyBytes_AS_STRING(<object> item), <size_t> size, MSG_DONTWAIT | MSG_NOSIGNAL)
                if sent == size:
                    return fifo.wipe()
                if sent < 0:
                    return self.tell_failed(errno)  # which another attempt might not find again
                if sent > 0:
                    fifo.sent(sent)
                    return self.output_changed()
        self.send_queue(True, False, at_end and _gathers(self))
        if not at_end and self.flags & OUTPUT and not self.is_sending and not self.overrides & (OTHER_QUEUE | GENERIC):
            return self.send_all()
        return 0

    cdef int send_held(self) except -1:
        self.is_held = False
        if not self.flags & FLUSH_QUEUED or _gathers(self):
            return 0  # it has left, or more is to go with it
        return self.send_queue(True, False, False)

    cdef int send_all(self) except -1:
        """What the program does next comes after all of it, or as much as the socket takes."""
        cdef Fifo fifo = self.fifo
        self.is_sending = True
        try:
            while self.fifo is fifo and not fifo.is_empty() and is_piece(fifo.items[fifo.head]):
                if self.send_front(USUAL) <= 0:
                    break
        finally:
            self.is_sending = False
        return self.output_changed()

    cdef int send_queue(self, bint connected, bint room, bint closes) except -1:
        """`connected`: it was when this was queued, whatever it is said to be now. `room`: the kernel says so.
        `closes`: where a None comes next, the channel is closed.
        """
        self.flags &= ~FLUSH_QUEUED
        refresh(self)
        if self.is_sending:
            return 0  # called by a `send`, or a producer, of the program's: what is under way goes on
        self.is_sending = True
        try:
            if self.overrides & (GENERIC | OTHER_QUEUE):
                _plain_chat.send(self, connected, closes)
            elif self.fifo is not None and not self.fifo.is_empty():
                if connected or self.state(CONNECTED, "connected"):
                    self.send_fifo(room, closes)
        finally:
            self.is_sending = False
            self.output_changed()  # whatever was raised: what is left is to be sent
        return 0

    def _sending_ends(self):
        self.is_sending = False

    cdef int send_fifo(self, bint room, bint closes) except -1:
        cdef Fifo fifo = self.fifo
        cdef Py_ssize_t most = self.chat.out_size
        cdef object failed = None
        cdef bint was_open = self.fileno >= 0
        if self.overrides & INSTANCE_OVERRIDES:
            most = self.size_of("ac_out_buffer_size", USUAL)
        if most <= 0:
            most = USUAL
        if fifo.waiting >= 0 and not fifo.others:
            pass  # bytes, all of it
        elif not self.flags & OUTPUT or room or not is_piece(fifo.items[fifo.head]):
            try:
                self.prepare(most)  # where there may be no room, no producer is asked before its turn
            except BaseException as error:  # what it gave, and what comes before it, leaves all the same
                failed = error
            if was_open and self.fileno < 0:
                if failed is not None:
                    raise failed
                return 0  # closed by a producer
        if self.fifo is fifo and not fifo.is_empty() and is_piece(fifo.items[fifo.head]):
            if self.send_front(most) < 0 or not _gathers(self):
                closes = False  # the close has a turn of its own, and before that there may be more to read
        if failed is not None:
            raise failed
        if closes and self.fifo is fifo and not fifo.is_empty() and fifo.items[fifo.head] is None:
            fifo.drop(1)
            self.is_sending = False
            self.output_changed()
            if not self.flags & LEAVING:
                self.handle_close()
        return 0

    cdef int send_front(self, Py_ssize_t most) except -2:
        """1: the socket has taken all that it was offered; 0: less; -1: the channel has been told that it failed."""
        if self.flags & DIRECT and not self.overrides & OWN_SEND:
            return self.send_directly(most)
        return self.send_through(most)

    cdef int prepare(self, Py_ssize_t most) except -1:
        """Makes the front of the queue bytes: up to `most` of them, or up to its end or a None."""
        cdef Fifo fifo = self.fifo
        cdef Py_ssize_t at, total
        cdef bint was_open = self.fileno >= 0
        while fifo is not None and self.fifo is fifo and (self.fileno >= 0 or not was_open):
            total = -fifo.offset
            at = fifo.head
            while at < len(fifo.items) and at - fifo.head < PIECES and total < most:
                item = fifo.items[at]
                if not PyBytes_CheckExact(item) or PyBytes_GET_SIZE(item) == 0:
                    break
                total += PyBytes_GET_SIZE(item)
                at += 1
            else:
                return 0
            if item is None:
                return 0
            self.resolve(at, most)
        return 0

    cdef int resolve(self, Py_ssize_t at, Py_ssize_t most) except -1:
        """One step from what is at that place of the queue to bytes. Every call here may change the queue."""
        cdef Fifo fifo = self.fifo
        cdef object item = fifo.items[at], data, rest = None
        fifo.waiting = -1
        if isinstance(item, str):
            if not self.use_encoding:
                raise TypeError(f"{self!r}: str is queued to be sent, and use_encoding is not set: {item!r}")
            data = bytes(item.encode(self.encoding))
        elif isinstance(item, (bytes, bytearray, memoryview)):
            data = bytes(item)
        else:
            try:
                data = item[:most]
            except TypeError:
                data = item.more()
                rest = item  # asked again, unless that was the end
                if data is None or not len(data):
                    data = rest = None
            else:
                rest = item[most:]
                if not len(rest):
                    rest = None
        if data is not None and not isinstance(data, (bytes, bytearray, memoryview, str)):
            data = bytes(memoryview(data))
        if data is not None and not len(data):
            data = None
        if self.fifo is fifo:
            fifo.put_in_place_of(item, at, data, rest)
        return 0

    cdef int send_directly(self, Py_ssize_t most) except -2:
        """`send_front`, in one system call."""
        cdef Fifo fifo = self.fifo
        cdef Py_ssize_t offered, sent
        cdef int fd = _fileno(self.sock)
        if fd < 0:
            return self.send_through(most)
        sent = fifo.offer(fd, most, &offered)
        if sent < 0:
            return self.send_failed(errno)
        fifo.sent(sent)
        return sent == offered

    cdef int send_failed(self, int error) except -2:
        """What `send_front` says of that errno, which the channel is told."""
        if error == EAGAIN or error == EINTR:
            return 0
        if self.flags & LEAVING:
            return -1
        if error in DISCONNECTED:
            self.handle_close()
            return -1
        try:
            raise OSError(error, os.strerror(error))
        except OSError:
            self.handle_error()
        return -1

    cdef int send_through(self, Py_ssize_t most) except -2:
        """`send_front`, through the class's own `send`, an item a call, or the methods of what stands for a socket."""
        cdef Fifo fifo = self.fifo
        cdef Py_ssize_t total = 0, sent, place, room
        while total < most and self.fifo is fifo and not fifo.is_empty():
            item = fifo.items[fifo.head]
            if not PyBytes_CheckExact(item) or PyBytes_GET_SIZE(item) == 0:
                break
            data = item if not fifo.offset and PyBytes_GET_SIZE(item) <= most else item[fifo.offset:fifo.offset + most]
            if not self.overrides & OWN_SEND and PyBytes_GET_SIZE(data) < most:
                data = [data]
                room = most - len(data[0])
                for place in range(fifo.head + 1, len(fifo.items)):
                    other = fifo.items[place]
                    if room <= 0 or not PyBytes_CheckExact(other):
                        break
                    data.append(other[:room])
                    room -= PyBytes_GET_SIZE(other)
                data = b"".join(data)
            try:
                count = self.send(data) if self.overrides & OWN_SEND else self.send_some(data)
            except OSError as error:
                if _plain_chat.wants_more(error):
                    return 0
                if not self.flags & LEAVING:
                    self.handle_error()
                return -1
            if not count or self.fifo is not fifo or fifo.is_empty() or fifo.items[fifo.head] is not item:
                return 0  # closed by that, or the queue is another
            sent = min(<Py_ssize_t> count, PyBytes_GET_SIZE(data))
            fifo.sent(sent)
            if sent < PyBytes_GET_SIZE(data):
                return 0
            total += sent
        return 1


chat_input.set_base(ChatChannel)
