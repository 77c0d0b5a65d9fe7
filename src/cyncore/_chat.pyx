# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""ChatChannel: input cut up at terminators, and a queue of output that leaves in one system call a tick.

Facts that shape it:
- Programs touch `ac_in_buffer`, `incoming`, `terminator` and `producer_fifo` as plain attributes, in any callback. So
  nothing of them is kept in a C variable over a call into Python.
- A terminator may be split over any number of reads; what may be the beginning of one is all that is held back.
- A producer is asked for more only when there is room for it, and may do anything while it is asked.
- What a class defines of its own is read once (`ChatTraits`), as `_traits` does; what this file cannot serve at speed
  (a class with such an attribute of its own) goes through `_plain_chat`, which takes no shortcut.
"""

import os
from collections import deque
from types import FunctionType

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from libc.errno cimport EAGAIN, EBADF, ECONNABORTED, ECONNRESET, EINTR, ENOTCONN, EPIPE, ESHUTDOWN, errno
from libc.string cimport memchr, memcmp, memset

from ._channel cimport (
    CONNECTED,
    DIRECT,
    GATHERED,
    HANDED,
    LEAVING,
    NOT_OURS,
    OUTPUT,
    SEND_NOW,
    SENT_LATER,
    UNSENT,
    BufferedChannel,
    LoopBase,
    _fileno,
    watch,
)
from ._csrc cimport MSG_DONTWAIT, MSG_NOSIGNAL, cyn_send, cyn_sendmsg, iovec, msghdr
from ._fifo cimport Fifo
from ._traits cimport ASK_WRITE, BUFFERED

from . import _plain_chat
from ._plain_chat import LimitExceeded

cdef extern from *:
    """
    static inline unsigned cyn_chat_version(PyTypeObject *kind) {
    #if PY_VERSION_HEX < 0x030B0000
        /* 3.10 leaves the old number behind and clears a flag. */
        if (!PyType_HasFeature(kind, Py_TPFLAGS_VALID_VERSION_TAG)) return 0;
    #endif
        return kind->tp_version_tag;
    }
    """
    unsigned cyn_chat_version(type kind)

cdef extern from "<string.h>":
    void *memmem(const void *data, size_t size, const void *wanted, size_t wanted_size)

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    PyTypeObject *Py_TYPE(object one)
    Py_UCS4 PyUnicode_READ_CHAR(object text, Py_ssize_t at)
    object PyObject_CallOneArg(object function, object argument)
    object PyObject_Vectorcall(object function, PyObject *const *arguments, size_t count, PyObject *names)
    object PyObject_CallMethodNoArgs(object self, object name)
    object PyObject_CallMethodOneArg(object self, object name, object argument)

cdef enum:
    PIECES = 64          # parts of the queue that one system call sends
    USUAL = 65536        # bytes read, and sent, at once where the class does not say

cdef frozenset LOST = frozenset({ECONNRESET, ENOTCONN, ESHUTDOWN, ECONNABORTED, EPIPE, EBADF})
cdef str ATTRIBUTE = "_cyncore_chat"
cdef dict OWN = {
    "recv": OWN_RECV,
    "send": OWN_SEND,
    "initiate_send": OWN_INITIATE,
    "handle_read": OWN_READ,
    "handle_write": OWN_WRITE,
    "get_terminator": SLOWLY,
}
cdef tuple BUFFERS = ("ac_in_buffer", "incoming", "producer_fifo", "terminator")
cdef frozenset WATCHED = frozenset(OWN) | {
    "collect_incoming_data", "found_terminator", "ac_in_buffer_size", "ac_out_buffer_size", "max_incoming",
    "max_outgoing", "__class__",
}


watch(WATCHED)


cdef object _plain(type kind, str name):
    """A method of the class that may be called with the channel before its arguments, or None: to be looked up."""
    for base in kind.__mro__:
        if name in base.__dict__:
            method = base.__dict__[name]
            return method if type(method) is FunctionType else None
    return None


cdef Py_ssize_t _size(object value, Py_ssize_t usual) except -2:
    return usual if value is None else <Py_ssize_t> value


cdef class ChatTraits:
    """What a class defines of its own."""

    cdef int read_class(self) except -1:
        cdef type kind = self.kind
        cdef unsigned ways = 0
        for name, way in OWN.items():
            if getattr(kind, name) is not getattr(ChatChannel, name):
                ways |= way
        for name in BUFFERS:
            if getattr(kind, name) is not getattr(ChatChannel, name):
                ways |= SLOWLY
        if getattr(kind, "collect_incoming_data", None) is ChatChannel._collect_incoming_data:
            ways |= PLAIN_COLLECT
        self.collect = _plain(kind, "collect_incoming_data")
        self.found = _plain(kind, "found_terminator")
        sizes = []
        for name, usual in (
            ("ac_in_buffer_size", USUAL), ("ac_out_buffer_size", USUAL), ("max_incoming", -1), ("max_outgoing", -1),
        ):
            value = getattr(kind, name, None)
            if value is not None and not isinstance(value, int):
                ways |= INSTANCE_WAYS  # a property, perhaps: each channel is asked
                value = None
            sizes.append(_size(value, usual))
        self.in_size, self.out_size, self.max_incoming, self.max_outgoing = sizes
        self.ways = ways
        self.version = cyn_chat_version(kind)
        return 0


cdef ChatTraits _traits_of(type kind):
    cdef ChatTraits traits = kind.__dict__.get(ATTRIBUTE)
    if traits is None or traits.kind is not kind:  # of a class whose __dict__ was copied to make this one
        traits = ChatTraits.__new__(ChatTraits)
        traits.kind = kind
        traits.read_class()
        if kind is not ChatChannel:
            setattr(kind, ATTRIBUTE, traits)
            traits.version = 0  # moved on by that
    return traits


cdef bint _is_bytes(object item):
    return PyBytes_CheckExact(item) and PyBytes_GET_SIZE(item) > 0


cdef bint _wants_more(object error):
    """Does TLS have to read or write something of its own first?"""
    return type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")


cdef class ChatChannel(BufferedChannel):
    """The engine's part of `asynchat.async_chat`."""

    def __dealloc__(self):
        # Not through `fifo`: the collector may have emptied that already, while a program still holds the queue.
        if self.fifo_at is not NULL:
            (<Fifo> self.fifo_at).channel = NULL
            (<Fifo> self.fifo_at).place = NULL

    # What its class, and it itself, define

    cdef int refresh(self) except -1:
        cdef ChatTraits chat = self.chat
        if (
            self.ways_version != 0 and self.ways_version == chat.version
            and <void *> chat.kind is <void *> Py_TYPE(self) and chat.version == cyn_chat_version(chat.kind)
        ):
            return 0
        return self.look_again()

    cdef int look_again(self) except -1:
        cdef ChatTraits chat = self.chat
        if chat is None or <void *> chat.kind is not <void *> Py_TYPE(self):
            chat = self.chat = _traits_of(type(self))
            self.ways_version = 0
        if chat.version == 0 or chat.version != cyn_chat_version(chat.kind):
            chat.read_class()
        if self.ways_version == 0 or self.ways_version != chat.version:
            self.ways = chat.ways | (self.ways & INSTANCE_WAYS)
            self.ways_version = chat.version
            if self.ways & INSTANCE_WAYS:
                own = getattr(self, "__dict__", ())
                for name, way in OWN.items():
                    if name in own:
                        self.ways |= way
            if self.other_queue is not None:
                self.ways |= OTHER_QUEUE
        return 0

    cdef int attribute_changed(self, object name) except -1:
        BufferedChannel.attribute_changed(self, name)
        if name in WATCHED:
            self.ways |= INSTANCE_WAYS
            self.ways_version = 0
            self.refresh()
        return 0

    cdef int classify(self) except -1:
        BufferedChannel.classify(self)
        if self.loop is not None:
            self.refresh()
            if self.ways & (OTHER_QUEUE | SLOWLY):
                self.defines = (self.defines | ASK_WRITE) & ~BUFFERED  # nobody tells when something is put there
                self.loop.join_asked(self)
        return 0

    cdef Py_ssize_t size_of(self, str name, Py_ssize_t usual) except -2:
        return _size(getattr(self, name, None), usual)

    # Attributes

    @property
    def terminator(self):
        """What ends the next piece of input; see `set_terminator`."""
        if self.until_kind == UNSET:
            raise AttributeError(f"{self!r} has no terminator: set_terminator() was not called")
        return self.until

    @terminator.setter
    def terminator(self, value):
        self.set_until(value)

    @terminator.deleter
    def terminator(self):
        self.until = None
        self.until_kind = UNSET

    cdef int set_until(self, object value) except -1:
        cdef object before = self.until
        self.until = value
        if PyBytes_CheckExact(value):
            self.until_text = value
            self.until_size = PyBytes_GET_SIZE(value)
            self.until_kind = TEXT if self.until_size else UNENDING
        elif not value:
            self.until_kind = UNENDING
        elif isinstance(value, int):
            self.until_kind = COUNTED
            try:
                self.until_size = value
            except OverflowError:
                self.until_size = PY_SSIZE_T_MAX if value > 0 else -1
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self.until_text = bytes(value)
            self.until_size = len(self.until_text)
            self.until_kind = TEXT
        else:
            self.until_kind = IMPOSSIBLE
        if self.collected < 0 and before != value:
            self.collected = 0  # who has refused a line has found another way to go on
        return 0

    def set_terminator(self, term):
        """Sets what ends the next piece of input: bytes (and str where `use_encoding` is set); a number of bytes; or,
        for input without an end, None, 0 or empty bytes. ValueError for a number below zero.
        """
        if isinstance(term, str) and self.use_encoding:
            term = term.encode(self.encoding)
        elif isinstance(term, int) and term < 0:
            raise ValueError(f"a terminator counts bytes, from 0 on: {term!r}")
        self.terminator = term

    def get_terminator(self):
        """What `set_terminator` was told; of a number, what is left of it."""
        return self.terminator

    @property
    def ac_in_buffer(self):
        """Bytes received and not handed on yet."""
        if self.in_data is None:
            return b""
        return self.in_data[self.in_at:] if self.in_at else self.in_data

    @ac_in_buffer.setter
    def ac_in_buffer(self, value):
        self.in_data = bytes(value) if value else None
        self.in_at = 0

    @property
    def incoming(self):
        """What `_collect_incoming_data` has collected: a list of bytes."""
        if self.collecting is None:
            self.collecting = []
        return self.collecting

    @incoming.setter
    def incoming(self, value):
        self.collecting = value

    @property
    def producer_fifo(self):
        """What is queued to be sent, as a deque: bytes, producers, and None where the channel is to be closed."""
        if self.flags & GATHERED:
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
        self.ways_version = 0
        self.classify()
        self.output_changed()

    @property
    def _collected(self):
        return self.collected

    @_collected.setter
    def _collected(self, value):
        self.collected = value

    def _start_buffers(self):
        """Empties the buffers, and makes those that the class keeps in attributes of its own."""
        self.in_data = self.collecting = None
        self.in_at = self.collected = 0
        if self.fifo is not None:
            self.producer_fifo = None
        self.other_queue = None
        self.ways_version = 0
        self.refresh()
        if self.ways & SLOWLY:
            for name, empty in (("ac_in_buffer", bytes), ("incoming", list), ("producer_fifo", deque)):
                if getattr(type(self), name) is not getattr(ChatChannel, name):
                    setattr(self, name, empty())

    # Input

    cdef int on_data(self) except -1:
        self.refresh()
        if self.ways & OWN_READ:
            return BufferedChannel.on_data(self)
        return self.read_chat()  # the traits are fresh

    def handle_read(self):
        """Takes what came and hands it on, piece by piece, up to each terminator."""
        self.refresh()
        self.read_chat()

    cdef object received(self):
        """Bytes, or None where there were none and it has been said."""
        cdef Py_ssize_t size = self.chat.in_size
        if self.ways & INSTANCE_WAYS:
            size = self.size_of("ac_in_buffer_size", USUAL)
        try:
            data = self.recv(size) if self.ways & OWN_RECV else self.recv_some(size)
        except BlockingIOError:
            return None
        except OSError as error:
            if not _wants_more(error):
                self.handle_error()
            return None
        if PyBytes_CheckExact(data):
            return data
        if isinstance(data, str) and self.use_encoding:
            return data.encode(self.encoding)
        return b"" + data

    cdef int read_chat(self) except -1:
        if self.ways & SLOWLY:
            _plain_chat.read(self)
            return 0
        cdef bint was_open = self.number >= 0
        data = self.received()
        if data is None:
            return 0
        if self.in_data is not None and self.in_at < PyBytes_GET_SIZE(self.in_data):
            self.in_data = self.in_data[self.in_at:] + data
        else:
            self.in_data = data
        self.in_at = 0
        return self.parse(was_open)

    cdef int parse(self, bint was_open) except -1:
        """Hands on what can be: until nothing is left but, perhaps, the beginning of a terminator.

        `was_open`: a channel that is closed now was closed meanwhile, and is told nothing more.
        """
        cdef bytes data
        cdef char *start
        cdef Py_ssize_t size, at, length, begin
        while self.in_data is not None:
            data = self.in_data
            size = PyBytes_GET_SIZE(data) - self.in_at
            if size <= 0:
                self.in_data = None
                return 0
            if was_open and self.number < 0:
                return 0
            self.refresh()  # a callback may have changed the class
            if self.ways & SLOWLY:
                _plain_chat.deliver(self, was_open)
                return 0
            start = PyBytes_AS_STRING(data) + self.in_at
            if self.until_kind == TEXT:
                length = self.until_size
                at = self.find(start, size)
                if at >= 0:
                    if at:
                        self.collect(PyBytes_FromStringAndSize(start, at))
                    self.in_at += at + length
                    if not was_open or self.number >= 0:
                        self.found()
                    continue
                at = self.partial(start, size)
                if at:
                    if at != size:
                        begin = self.in_at
                        self.collect(PyBytes_FromStringAndSize(start, size - at))
                        if self.in_data is data and self.in_at == begin:
                            self.in_at += size - at
                        else:  # changed by that: what is held back are the last bytes, whatever they are now
                            self.in_data, self.in_at = self.ac_in_buffer[-at:], 0
                    return 0
            elif self.until_kind == COUNTED:
                length = self.until_size
                if length < 0:
                    raise ValueError(f"{self!r}: a terminator counts bytes, from 0 on: {self.until!r}")
                if size >= length:
                    self.collect(data if length == PyBytes_GET_SIZE(data) else PyBytes_FromStringAndSize(start, length))
                    self.in_at += length
                    self.terminator = 0
                    if not was_open or self.number >= 0:
                        self.found()
                    continue
                self.collect(data if self.in_at == 0 else PyBytes_FromStringAndSize(start, size))
                self.in_data = None
                self.terminator = self.terminator - size
                return 0
            elif self.until_kind == UNSET:
                self.get_terminator()  # says so
            elif self.until_kind == IMPOSSIBLE:
                raise TypeError(f"{self!r}: a terminator is bytes, a number or None, not {self.until!r}")
            self.collect(data if self.in_at == 0 else PyBytes_FromStringAndSize(start, size))
            self.in_data = None
        return 0

    cdef Py_ssize_t find(self, char *data, Py_ssize_t size) except -2:
        """Where the terminator begins, or -1."""
        cdef char *wanted = PyBytes_AS_STRING(self.until_text)
        cdef Py_ssize_t length = self.until_size
        cdef char *at = data
        cdef char *end = data + size
        if length == 1:
            at = <char *> memchr(data, <unsigned char> wanted[0], <size_t> size)
        elif length == 2:
            at += 1
            while True:
                at = NULL if at >= end else <char *> memchr(at, <unsigned char> wanted[1], <size_t> (end - at))
                if at is NULL:
                    return -1
                if (at - 1)[0] == wanted[0]:
                    return at - 1 - data
                at += 1
        else:
            at = <char *> memmem(data, <size_t> size, wanted, <size_t> length)
        return -1 if at is NULL else at - data

    cdef Py_ssize_t partial(self, char *data, Py_ssize_t size) except -1:
        """How many bytes at the end may be the beginning of a terminator."""
        cdef char *wanted = PyBytes_AS_STRING(self.until_text)
        cdef char *end = data + size
        cdef char *at = end - min(size, self.until_size - 1)
        while at < end:
            at = <char *> memchr(at, <unsigned char> wanted[0], <size_t> (end - at))
            if at is NULL:
                return 0
            if memcmp(at, wanted, <size_t> (end - at)) == 0:
                return end - at
            at += 1
        return 0

    cdef int collect(self, object data) except -1:
        cdef PyObject *arguments[2]
        cdef Py_ssize_t most = self.chat.max_incoming
        if self.collected < 0:
            return 0  # the rest of a line that was refused
        if self.ways & INSTANCE_WAYS:
            most = self.size_of("max_incoming", -1)
        if self.until_kind != TEXT:
            self.collected = -PyBytes_GET_SIZE(data)  # only what may end with a line counts
        elif most >= 0 and self.collected + PyBytes_GET_SIZE(data) > most:
            self.collected = -1
            if type(self.collecting) is list:
                self.collecting.clear()
            return self.too_much("input without a terminator, max_incoming", most)
        self.collected += PyBytes_GET_SIZE(data)
        if self.ways & INSTANCE_WAYS or (self.chat.collect is None and not self.ways & PLAIN_COLLECT):
            PyObject_CallMethodOneArg(self, "collect_incoming_data", data)
        elif self.ways & PLAIN_COLLECT:
            self._take(data)
        else:
            arguments[0] = <PyObject *> self
            arguments[1] = <PyObject *> data
            PyObject_Vectorcall(self.chat.collect, arguments, 2, NULL)
        return 0

    cdef int found(self) except -1:
        if self.collected < 0:
            self.collected = 0  # of the line that was refused
            return 0
        self.collected = 0
        if self.ways & INSTANCE_WAYS or self.chat.found is None:
            PyObject_CallMethodNoArgs(self, "found_terminator")
        else:
            PyObject_CallOneArg(self.chat.found, self)
        return 0

    cdef int too_much(self, str what, Py_ssize_t most) except -1:
        try:
            raise LimitExceeded(f"{self!r} fd {self.number}: {what} {most} bytes")
        except LimitExceeded:
            self.handle_error()
        return 0

    cdef int _take(self, object data) except -1:
        if self.collecting is None:
            self.collecting = []
        self.collecting.append(data)
        return 0

    def _collect_incoming_data(self, data):
        """Appends ``data`` to `incoming`."""
        self.refresh()
        if self.ways & SLOWLY:
            self.incoming.append(data)
        else:
            self._take(data)

    def _get_data(self):
        """What `incoming` holds, joined; it is empty then."""
        incoming = self.incoming
        data = incoming[0] if len(incoming) == 1 and PyBytes_CheckExact(incoming[0]) else b"".join(incoming)
        del incoming[:]
        return data

    def discard_buffers(self):
        """Forgets what was received and what is queued to be sent."""
        self.ac_in_buffer = b""
        del self.incoming[:]
        self.producer_fifo.clear()

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
        if self.ways & SLOWLY:
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

        In a handler of the loop it is gathered, and leaves when all handlers of this tick have run; anywhere else, at
        once. What the socket does not take waits. From another thread than the running loop's, it is handed to that.
        TypeError for anything else. Where more than `max_outgoing` bytes would wait, ``data`` is not sent, and
        `handle_error` is called with `LimitExceeded` being handled.
        """
        if not PyBytes_CheckExact(data):
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"push() sends bytes, a bytearray or a memoryview, not {type(data)!r}")
            data = bytes(data)
        if PyBytes_GET_SIZE(data):
            self.put_item(data, PyBytes_GET_SIZE(data))

    def push_with_producer(self, producer):
        """Queues an object whose ``more()`` gives the next bytes to send, and empty ones at its end. Else as `push`."""
        self.put_item(producer, 0)

    def close_when_done(self):
        """Calls `handle_close` when everything pushed so far is sent."""
        self.put_item(None, 0)

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
        if not self.flags & HANDED:
            self.flags |= HANDED
            loop.call_soon_threadsafe(self._take_handed)
        return 0

    def _refuse_handed(self, most):
        self.is_refusing = False
        self.too_much("output that waits, max_outgoing", most)

    cdef int put_handed(self, int when) except -1:
        self.flags &= ~HANDED
        self.handed_size = 0
        while self.handed:
            item = self.handed.popleft()
            self.put_here(item, PyBytes_GET_SIZE(item) if PyBytes_CheckExact(item) else 0, when)
        return 0

    cdef int put_item(self, object item, Py_ssize_t size) except -1:
        cdef LoopBase loop = self.loop
        cdef int when = SEND_NOW if loop is None else loop.sending()
        if when == NOT_OURS:
            if self.handed is None:
                self.handed = deque()
            return self.hand_over(item, size)
        if when == SENT_LATER:
            return self.put_here(item, size, when)  # what was handed over has its turn among the loop's calls
        try:
            self.put_handed(when)  # a thread's earlier pushes come before its later ones, wherever the loop is
            return self.put_here(item, size, when)
        finally:
            if loop is not None and when == SEND_NOW:
                loop.sent()

    cdef int put_here(self, object item, Py_ssize_t size, int when) except -1:
        cdef Py_ssize_t most
        cdef Fifo fifo
        self.refresh()
        if self.ways & (SLOWLY | OTHER_QUEUE):
            if _plain_chat.has_room(self, item):
                _plain_chat.put(self, item)
            return self.output_changed()
        fifo = self.queue()
        most = self.chat.max_outgoing
        if self.ways & INSTANCE_WAYS:
            most = self.size_of("max_outgoing", -1)
        if most >= 0 and size and fifo.count_waiting() + size > most:
            self.send_queue(False, False, True)
            if self.fifo is not fifo or fifo.count_waiting() + size > most:
                return self.too_much("output that waits, max_outgoing", most)
        fifo.add(item)
        if self.ways & OWN_INITIATE and item is not None:
            self.initiate_send()
            return self.output_changed()
        if when == SENT_LATER:
            if self.flags & OUTPUT and self.defines & BUFFERED:
                return 0  # the kernel will tell when there is room
            if self.flags & GATHERED:
                if fifo.waiting >= self.chat.out_size or fifo.length() >= PIECES:
                    return self.send_queue(False, False, True)  # as much as leaves at once
                return 0
            if self.state(CONNECTED, "connected") and not self.ways & OWN_INITIATE:
                return self.loop.gather(self)
        elif item is not None:
            return self.send_queue(False, False, True)
        return self.output_changed()

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
        self.refresh()
        if self.other_queue is None and not self.ways & SLOWLY:
            self.prepare(1)
            self.output_changed()

    cdef int on_room(self) except -1:
        self.refresh()
        if self.ways & OWN_WRITE:
            BufferedChannel.on_room(self)
        elif self.ways & OWN_INITIATE:
            self.initiate_send()
        else:
            return self.send_queue(False, True, True)
        return self.output_changed()

    cdef int flush(self, bint at_end) except -1:
        cdef Fifo fifo = self.fifo
        cdef Py_ssize_t size, sent
        cdef int fd
        self.flags &= ~GATHERED
        if self.flags & HANDED:
            self.flags &= ~HANDED
            self.handed_size = 0
            queue = self.producer_fifo
            while self.handed:
                queue.append(self.handed.popleft())
            fifo = self.fifo
        if fifo is None:
            return self.send_queue(True, False, at_end)
        if self.loop is not None and self.loop.is_copy():
            fifo.wipe()  # the parent sends it
            return self.output_changed()
        self.refresh()
        if (
            fifo.is_one_piece() and self.flags & (DIRECT | OUTPUT) == DIRECT and not self.is_sending
            and not self.ways & (OWN_SEND | OTHER_QUEUE | SLOWLY | INSTANCE_WAYS) and fifo.waiting <= self.chat.out_size
        ):
            # An answer of one push: the commonest of all, and worth a way of its own.
            fd = _fileno(self.sock)
            if fd >= 0:
                item = fifo.items[fifo.head]
                size = PyBytes_GET_SIZE(item)
                sent = cyn_send(fd, PyBytes_AS_STRING(item), <size_t> size, MSG_DONTWAIT | MSG_NOSIGNAL)
                if sent == size:
                    return fifo.drop(1)
                if sent > 0:
                    fifo.sent(sent)
                    return self.output_changed()
        self.send_queue(True, False, at_end)
        if not at_end and self.flags & OUTPUT and not self.is_sending and not self.ways & (OTHER_QUEUE | SLOWLY):
            # What the program does next comes after all of it, or as much as the socket takes.
            self.is_sending = True
            try:
                while self.fifo is fifo and not fifo.is_empty() and _is_bytes(fifo.items[fifo.head]):
                    if self.send_front(USUAL) <= 0:
                        break
            finally:
                self.is_sending = False
            self.output_changed()
        return 0

    cdef int send_queue(self, bint connected, bint room, bint closes) except -1:
        """`connected`: it was when this was queued, whatever it is said to be now. `room`: the kernel says so.
        `closes`: where a None comes next, the channel is closed.
        """
        self.flags &= ~GATHERED
        self.refresh()
        if self.is_sending:
            return 0  # called by a `send`, or a producer, of the program's: what is under way goes on
        self.is_sending = True
        try:
            if self.ways & (SLOWLY | OTHER_QUEUE):
                _plain_chat.send(self, connected, closes)
            elif self.fifo is not None and not self.fifo.is_empty():
                if connected or self.state(CONNECTED, "connected"):
                    self.send_fifo(room, closes)
        finally:
            self.is_sending = False
        return self.output_changed()

    def _sending_ends(self):
        self.is_sending = False

    cdef int send_fifo(self, bint room, bint closes) except -1:
        cdef Fifo fifo = self.fifo
        cdef Py_ssize_t most = self.chat.out_size
        cdef object failed = None
        cdef bint was_open = self.number >= 0
        if self.ways & INSTANCE_WAYS:
            most = self.size_of("ac_out_buffer_size", USUAL)
        if most <= 0:
            most = USUAL
        if fifo.waiting >= 0 and not fifo.others:
            pass  # bytes, all of it
        elif not self.flags & OUTPUT or room or not _is_bytes(fifo.items[fifo.head]):
            try:
                self.prepare(most)  # where there may be no room, no producer is asked before its turn
            except BaseException as error:  # what it gave, and what comes before it, leaves all the same
                failed = error
            if was_open and self.number < 0:
                if failed is not None:
                    raise failed
                return 0  # closed by a producer
        if self.fifo is fifo and not fifo.is_empty() and _is_bytes(fifo.items[fifo.head]):
            if self.send_front(most) < 0:
                closes = False
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
        if self.flags & DIRECT and not self.ways & OWN_SEND:
            return self.send_directly(most)
        return self.send_through(most)

    cdef int prepare(self, Py_ssize_t most) except -1:
        """Makes the front of the queue bytes: up to `most` of them, or up to its end or a None."""
        cdef Fifo fifo = self.fifo
        cdef Py_ssize_t at, total
        cdef bint was_open = self.number >= 0
        while fifo is not None and self.fifo is fifo and (self.number >= 0 or not was_open):
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
        cdef iovec pieces[PIECES]
        cdef msghdr message
        cdef Fifo fifo = self.fifo
        cdef Py_ssize_t count = 0, total = 0, size, sent, place = fifo.head, offset = fifo.offset
        cdef int fd = _fileno(self.sock), error
        if fd < 0:
            return self.send_through(most)
        while place < len(fifo.items) and count < PIECES and total < most:
            item = fifo.items[place]
            if not PyBytes_CheckExact(item):
                break
            size = min(PyBytes_GET_SIZE(item) - offset, most - total)
            pieces[count].iov_base = PyBytes_AS_STRING(item) + offset
            pieces[count].iov_len = <size_t> size
            total += size
            count += 1
            place += 1
            offset = 0
        if count == 1:
            sent = cyn_send(fd, pieces[0].iov_base, pieces[0].iov_len, MSG_DONTWAIT | MSG_NOSIGNAL)
        else:
            memset(&message, 0, sizeof(message))
            message.msg_iov = &pieces[0]
            message.msg_iovlen = count
            sent = cyn_sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
        error = errno
        if sent >= 0:
            fifo.sent(sent)
            return sent == total
        if error == EAGAIN or error == EINTR:
            return 0
        if self.flags & LEAVING:
            return -1
        if error in LOST:
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
            if not self.ways & OWN_SEND and PyBytes_GET_SIZE(data) < most:
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
                count = self.send(data) if self.ways & OWN_SEND else self.send_some(data)
            except OSError as error:
                if _wants_more(error):
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
