# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""ChatInput: cuts what a channel receives at terminators, and delivers it piece by piece.

Facts that shape it:
- A program reads and assigns `ac_in_buffer`, `incoming` and `terminator` as plain attributes, in any callback. So a C
  variable never holds one of them across a call into Python.
- A terminator may be split over any number of reads. The channel waits for more input only while the last bytes may be
  the beginning of a terminator, and holds back nothing but these.
- A class is read once (`ChatTraits`), as `traits` does. After a change another object takes its place, as chats in
  other threads may be using this one. A class that has one of these attributes, or a get_terminator, of its own is
  served by `_plain_chat`, which works on plain attributes and is slower.
"""

from types import FunctionType

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from libc.string cimport memchr, memcmp

from .channel cimport BufferedChannel, note_time
from .endpoint cimport watch
from .internals cimport cyn_call_one, cyn_call_two, cyn_see_count, cyn_version_of_type
from .traits cimport traits_of
from .watcher cimport TIMED

from .. import _plain_chat
from .._rules import LimitExceeded

cdef extern from "<string.h>":
    void *memmem(const void *data, size_t size, const void *wanted, size_t wanted_size)

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    char *text_of "PyBytes_AS_STRING"(PyObject *text) noexcept
    object PyObject_CallMethodNoArgs(object self, object name)
    object PyObject_CallMethodOneArg(object self, object name, object argument)

cdef enum:  # places where no terminator begins
    NOWHERE = -1  # there is none in the input
    UNKNOWN = -2  # nobody has searched

cdef str TRAITS = "_cyncore_chat"              # where a class keeps its ChatTraits
cdef str DEFAULTS = "_cyncore_chat_defaults"   # marks ChatChannel, whose methods and attributes are the engine's own
cdef dict METHODS = {
    "recv": OWN_RECV,
    "send": OWN_SEND,
    "initiate_send": OWN_INITIATE,
    "handle_read": OWN_READ,
    "handle_write": OWN_WRITE,
    "get_terminator": GENERIC,
}
cdef enum:
    ALL_METHODS = OWN_RECV | OWN_SEND | OWN_INITIATE | OWN_READ | OWN_WRITE
cdef tuple BUFFERS = ("ac_in_buffer", "incoming", "producer_fifo", "terminator", "_fileno")
cdef tuple OPTIONS = ("max_incoming", "max_outgoing", "gather_pushes")  # which the old module did not have
cdef frozenset WATCHED = frozenset(METHODS) | frozenset(OPTIONS) | {
    "collect_incoming_data", "found_terminator", "ac_in_buffer_size", "ac_out_buffer_size", "__class__",
}
FOLLOWED = (WATCHED | frozenset(BUFFERS) | {"_collect_incoming_data"}) - {"__class__"}

watch(WATCHED)


cdef object _defaults_of(type kind):
    """Returns the base of a class that has the engine's own methods and attributes."""
    for base in kind.__mro__:
        if DEFAULTS in base.__dict__:
            return base
    raise TypeError(f"{kind!r} is not derived from the engine's class of chats")


cdef object _plain_function(type kind, str name):
    """Returns the method of a class if it is a plain function. None: it has to be looked up at every call."""
    for base in kind.__mro__:
        if name in base.__dict__:
            method = base.__dict__[name]
            return method if type(method) is FunctionType else None
    return None


cdef class ChatTraits:
    """What a class of chats defines of its own."""

    cdef int read_class(self) except -1:
        cdef unsigned long stamp = cyn_see_count(&self.base.stamp)  # first, so that a change meanwhile is noticed later
        cdef type kind = self.kind
        cdef object defaults = _defaults_of(kind)
        cdef unsigned overrides = 0
        cdef tuple settings
        for name, flag in METHODS.items():
            if getattr(kind, name) is not getattr(defaults, name):
                overrides |= flag
        for name in BUFFERS:
            if getattr(kind, name) is not getattr(defaults, name):
                overrides |= GENERIC
        if getattr(kind, "collect_incoming_data", None) is defaults._collect_incoming_data:
            overrides |= PLAIN_COLLECT
        self.collect_function = _plain_function(kind, "collect_incoming_data")
        self.found_function = _plain_function(kind, "found_terminator")
        settings = _plain_chat.settings_of(
            kind, (GATHER_PUSHES, INSTANCE_OVERRIDES, OWN_SEND, GENERIC | ALL_METHODS)
        )
        self.in_size, self.out_size = settings[0], settings[1]
        self.max_incoming, self.max_outgoing = settings[2], settings[3]
        overrides |= <unsigned> settings[4]
        self.overrides = overrides
        self.stamp = stamp
        return 0


cdef ChatTraits _traits_of(type kind):
    cdef ChatTraits traits = kind.__dict__.get(TRAITS)
    if traits is not None and traits.kind is not kind:  # another class, if this one was made of a copy of its __dict__
        traits = None
    if traits is not None:
        traits.base.check()
    if traits is None or traits.stamp != cyn_see_count(&traits.base.stamp):
        traits = ChatTraits.__new__(ChatTraits)
        traits.kind = kind
        traits.base = traits_of(kind)
        traits.read_class()
        if DEFAULTS not in kind.__dict__:  # ChatChannel is an extension type, which takes no new attributes
            setattr(kind, TRAITS, traits)
    return traits


cdef class PieceOf:
    """Gives `_plain_chat` access to `piece_size`, as `_plain_chat.Piece`."""

    cdef ChatInput channel

    def __cinit__(self, ChatInput channel not None):
        self.channel = channel

    @property
    def size(self):
        return self.channel.piece_size

    @size.setter
    def size(self, value):
        self.channel.piece_size = value

    def ended(self):
        """A piece is whole, and is about to be delivered."""
        if self.channel.flags & TIMED:
            note_time(self.channel, "piece_at")


cdef class ChatInput(BufferedChannel):
    """The part of `asynchat.async_chat` that receives."""

    def __cinit__(self):
        self.gather_override = -1

    # What the class, and the channel itself, define

    cdef int read_overrides(self) except -1:
        cdef ChatTraits chat = self.chat
        if chat is None or <void *> chat.kind is not <void *> Py_TYPE(self):
            chat = self.chat = _traits_of(type(self))
            self.overrides_stamp = 0
        chat.base.check()
        if chat.stamp != cyn_see_count(&chat.base.stamp):
            chat = self.chat = _traits_of(type(self))
            self.overrides_stamp = 0
        if self.overrides_stamp != chat.stamp:
            self.overrides = chat.overrides | (self.overrides & INSTANCE_OVERRIDES)
            if self.gather_override == 1:
                self.overrides |= GATHER_PUSHES
            elif self.gather_override == 0:
                self.overrides &= ~GATHER_PUSHES
            self.overrides_stamp = chat.stamp
            if self.overrides & INSTANCE_OVERRIDES:
                own = getattr(self, "__dict__", ())
                for name, flag in METHODS.items():
                    if name in own:
                        self.overrides |= flag
        self.overrides_version = cyn_version_of_type(<PyTypeObject *> chat.kind)
        return 0

    cdef int attribute_changed(self, object name, bint is_set) except -1:
        BufferedChannel.attribute_changed(self, name, is_set)
        if name in WATCHED:
            if name == "gather_pushes":  # it has a field of its own, so that the channel stays on the fast paths
                self.gather_override = -1
                if name in getattr(self, "__dict__", ()):
                    self.gather_override = _plain_chat.gathers_pushes(self)
            else:
                self.overrides |= INSTANCE_OVERRIDES
            self.overrides_stamp = self.overrides_version = 0
            check_overrides(self)
            if self.loop is not None:
                self.interest_changed()
        return 0

    cdef Py_ssize_t size_setting(self, str name) except -2:
        """Looks up a number of bytes. TypeError if it is something else."""
        value = getattr(self, name, None)
        if value is not None and not hasattr(value, "__index__"):
            raise TypeError(f"{type(self).__qualname__}.{name} is {value!r}: a number of bytes is wanted")
        return DEFAULT_SIZE if value is None else <Py_ssize_t> value

    cdef Py_ssize_t limit_setting(self, str name) except -2:
        """Looks up `max_incoming` or `max_outgoing`; -1: there is no limit."""
        limit = _plain_chat.limit_of(self, name)
        return -1 if limit is None else <Py_ssize_t> limit

    # Attributes

    @property
    def terminator(self):
        """What ends the next piece of input; see `set_terminator`."""
        if self.terminator_kind == UNSET:
            raise AttributeError(f"{self!r} has no terminator: set_terminator() was not called")
        return self.terminator_value

    @terminator.setter
    def terminator(self, value):
        self.set_terminator_value(value)

    @terminator.deleter
    def terminator(self):
        self.terminator_value = None
        self.terminator_kind = UNSET

    cdef int set_terminator_value(self, object value) except -1:
        cdef object before = self.terminator_value
        self.terminator_value = value
        if PyBytes_CheckExact(value):
            self.terminator_bytes = value
            self.terminator_size = PyBytes_GET_SIZE(value)
            self.terminator_kind = TEXT if self.terminator_size else UNENDING
        elif not value:
            self.terminator_kind = UNENDING
        elif isinstance(value, int):
            self.terminator_kind = COUNTED
            try:
                self.terminator_size = value
            except OverflowError:
                self.terminator_size = PY_SSIZE_T_MAX if value > 0 else -1
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self.terminator_bytes = bytes(value)
            self.terminator_size = len(self.terminator_bytes)
            self.terminator_kind = TEXT if self.terminator_size else UNENDING
        else:
            self.terminator_kind = IMPOSSIBLE
        if self.piece_size == DROPPED and before != value:
            self.piece_size = 0  # after LimitExceeded, a new terminator begins a new piece
        return self.input_changed()

    def set_terminator(self, term):
        """Sets what ends the next piece of input: bytes (or str, where `use_encoding` is set), or a number of bytes.

        None, 0 and empty bytes mean that the input has no end. ValueError for a number below zero.
        """
        if isinstance(term, str) and self.use_encoding:
            term = term.encode(self.encoding)
        elif isinstance(term, int) and term < 0:
            raise ValueError(f"a terminator counts bytes, from 0 on: {term!r}")
        self.terminator = term

    def get_terminator(self):
        """Returns what `set_terminator` was given. A number of bytes is reduced by those that have come."""
        return self.terminator

    @property
    def ac_in_buffer(self):
        """The bytes that were received and not delivered yet."""
        return b"" if self.in_data is None else _input_left(self)

    @ac_in_buffer.setter
    def ac_in_buffer(self, value):
        _set_input(self, bytes(value) if value else None)
        self.input_changed()

    @property
    def incoming(self):
        """The list of bytes to which `_collect_incoming_data` appends."""
        if self.parts is None:
            self.parts = []
        return self.parts

    @incoming.setter
    def incoming(self, value):
        self.parts = value

    # Input

    cdef int forget_input(self) except -1:
        """Forgets what was received and what was collected."""
        self.parts = None
        self.piece_size = 0
        return _set_input(self, None)

    cdef int on_data(self) except -1:
        check_overrides(self)
        if self.overrides & OWN_READ:
            return BufferedChannel.on_data(self)
        return self.read_input()

    def handle_read(self):
        """Receives once, and delivers what came piece by piece."""
        check_overrides(self)
        self.read_input()

    cdef object receive(self):
        """Receives once and returns the bytes, or None if there were none. An error was passed to handle_error then."""
        size = self.chat.in_size
        if self.overrides & INSTANCE_OVERRIDES:
            size = self.size_setting("ac_in_buffer_size")
        try:
            data = self.recv(size) if self.overrides & OWN_RECV else self.recv_some(size)
        except BlockingIOError:
            return None
        except OSError as error:
            if not _plain_chat.wants_more(error):
                self.handle_error()
            return None
        if PyBytes_CheckExact(data):
            return data
        if isinstance(data, str) and self.use_encoding:
            return bytes(data.encode(self.encoding))
        return b"" + data

    cdef int read_input(self) except -1:
        """Receives once, and delivers what came. `overrides` has just been checked."""
        if self.overrides & GENERIC:
            _plain_chat.read(self, PieceOf(self))
            return 0
        cdef bint was_open = self.fileno >= 0
        data = self.receive()
        if data is None:
            return 0
        if self.in_at < self.in_end:
            data = self.in_data[self.in_at:] + data
        _set_input(self, data)
        self.input_depth = 0 if self.loop is None else self.loop.depth
        self.next_terminator = UNKNOWN
        try:
            return _deliver(self, was_open)
        finally:
            self.next_piece = NOT_CALLED
            if self.is_held:
                self.send_held()

    cdef int input_changed(self) except -1:
        """Sends what is held back if the piece for which it waits is not complete any more."""
        cdef bint was_complete = self.next_piece == NEXT_COMPLETE
        self.next_terminator = UNKNOWN
        if self.next_piece != NOT_CALLED:
            self.next_piece = NOT_SEARCHED
            if was_complete and self.is_held and not piece_follows(self):
                self.send_held()
        return 0

    cdef int find_next_piece(self) noexcept:
        """Searches the input behind the piece whose found_terminator is running, and sets `next_piece`."""
        self.next_piece = NEXT_INCOMPLETE
        if self.in_at < self.in_end and not self.overrides & GENERIC:
            if self.terminator_kind == TEXT:
                self.next_terminator = _find_next(self)
                if self.next_terminator >= 0:
                    self.next_piece = NEXT_COMPLETE
            elif self.terminator_kind == COUNTED and 0 < self.terminator_size <= self.in_end - self.in_at:
                self.next_piece = NEXT_COMPLETE
        return 0

    cdef int send_held(self) except -1:
        """Sends what was held back for the next found_terminator, which does not come or has returned."""
        return 0

    cdef int limit_exceeded(self, str what, Py_ssize_t limit) except -1:
        """Calls handle_error with a `LimitExceeded` being handled."""
        try:
            raise LimitExceeded(f"{self!r} fd {self.fileno}: {what} {limit} bytes")
        except LimitExceeded:
            self.handle_error()
        return 0

    def _collect_incoming_data(self, data):
        """Appends ``data`` to `incoming`."""
        check_overrides(self)
        if self.overrides & GENERIC:
            self.incoming.append(data)
        else:
            _append(self, data)

    def _get_data(self):
        """Empties `incoming`, and returns what was in it, joined."""
        incoming = self.incoming
        data = incoming[0] if len(incoming) == 1 and PyBytes_CheckExact(incoming[0]) else b"".join(incoming)
        del incoming[:]
        return data


# Delivery. Every call of a handler may close the channel, or change its terminator, its buffers and its class.


cdef int _deliver(ChatInput self, bint was_open) except -1:
    """Delivers the input, until nothing is left of it but, perhaps, the beginning of a terminator.

    `was_open`: the channel was open before. If it is closed now, a handler has closed it, and no other is called.
    """
    while self.in_at < self.in_end:
        if was_open and self.fileno < 0:
            return 0
        check_overrides(self)
        if self.overrides & GENERIC:
            _plain_chat.deliver(self, PieceOf(self), was_open)
            return 0
        if self.terminator_kind == TEXT:
            if not _deliver_line(self, was_open):
                return 0
        elif self.terminator_kind == COUNTED:
            if not _deliver_counted(self, was_open):
                return 0
        elif self.terminator_kind == UNSET:
            self.get_terminator()  # raises the error
        elif self.terminator_kind == IMPOSSIBLE:
            raise TypeError(f"{self!r}: a terminator is bytes, a number or None, not {self.terminator_value!r}")
        else:
            _collect(self, _input_left(self), False)
            _set_input(self, None)
    _set_input(self, None)
    return 0


cdef bint _deliver_line(ChatInput self, bint was_open) except -1:
    """One step of `_deliver` for a terminator of bytes. False: what is left may be the beginning of a terminator."""
    cdef bytes data = self.in_data
    cdef Py_ssize_t begin = self.in_at, length = self.terminator_size, size = self.in_end - begin
    cdef Py_ssize_t at = self.next_terminator
    cdef char *start = PyBytes_AS_STRING(data) + begin
    if at == UNKNOWN:
        at = _find_next(self)
    self.next_terminator = UNKNOWN
    if at >= 0:
        if at:
            _collect(self, PyBytes_FromStringAndSize(start, at), True)
        self.in_at += at + length
        if not was_open or self.fileno >= 0:
            if self.terminator_kind == TEXT and self.in_at < self.in_end:  # the next step takes over what is found here
                self.next_terminator = _find_next(self)
                _call_found(self, NEXT_COMPLETE if self.next_terminator >= 0 else NEXT_INCOMPLETE)
            else:
                _call_found(self, NOT_SEARCHED if self.in_at < self.in_end else NEXT_INCOMPLETE)
        return True
    at = _partial(start, size, text_of(<PyObject *> self.terminator_bytes), length)
    if at == 0:
        _collect(self, _input_left(self), True)
        _set_input(self, None)
        return True
    if at != size:
        _collect(self, PyBytes_FromStringAndSize(start, size - at), True)
        if self.in_data is data and self.in_at == begin:
            self.in_at += size - at
        else:  # the handler has changed the input: the same number of bytes at its end waits for more
            _set_input(self, self.ac_in_buffer[-at:])
    return False


cdef bint _deliver_counted(ChatInput self, bint was_open) except -1:
    """One step of `_deliver` for a terminator that is a number of bytes. False: more bytes have to come."""
    cdef Py_ssize_t length = self.terminator_size, size = self.in_end - self.in_at
    if length < 0:
        raise ValueError(f"{self!r}: a terminator counts bytes, from 0 on: {self.terminator_value!r}")
    if size < length:
        _collect(self, _input_left(self), False)
        _set_input(self, None)
        self.terminator = self.terminator - size
        return False
    if size == length:
        _collect(self, _input_left(self), False)
    else:
        _collect(self, PyBytes_FromStringAndSize(text_of(<PyObject *> self.in_data) + self.in_at, length), False)
    self.in_at += length
    self.terminator = 0
    if not was_open or self.fileno >= 0:
        _call_found(self, NOT_SEARCHED)
    return True


cdef inline int _set_input(ChatInput self, bytes data) except -1:
    self.in_data = data
    self.in_at = 0
    self.in_end = 0 if data is None else PyBytes_GET_SIZE(data)
    return 0


cdef object _input_left(ChatInput self):
    if self.in_data is None:
        return b""  # an attribute of the class has emptied it, when the class was read
    return self.in_data[self.in_at:] if self.in_at else self.in_data


cdef inline Py_ssize_t _find_next(ChatInput self) noexcept:
    """Returns where the terminator begins, counted from `in_at`, or NOWHERE."""
    cdef char *start = PyBytes_AS_STRING(self.in_data) + self.in_at
    return _find(start, self.in_end - self.in_at, text_of(<PyObject *> self.terminator_bytes), self.terminator_size)


cdef inline Py_ssize_t _find(char *data, Py_ssize_t size, char *wanted, Py_ssize_t length) noexcept:
    """Returns where `wanted` begins in `data`, or NOWHERE."""
    cdef char *at = data
    cdef char *end = data + size
    if length == 1:
        at = <char *> memchr(data, <unsigned char> wanted[0], <size_t> size)
    elif length == 2:
        at += 1
        while True:
            at = NULL if at >= end else <char *> memchr(at, <unsigned char> wanted[1], <size_t> (end - at))
            if at is NULL:
                return NOWHERE
            if (at - 1)[0] == wanted[0]:
                return at - 1 - data
            at += 1
    else:
        at = <char *> memmem(data, <size_t> size, wanted, <size_t> length)
    return NOWHERE if at is NULL else at - data


cdef Py_ssize_t _partial(char *data, Py_ssize_t size, char *wanted, Py_ssize_t length) noexcept:
    """Returns how many bytes at the end of `data` may be the beginning of a terminator."""
    cdef char *end = data + size
    cdef char *at = end - min(size, length - 1)
    while at < end:
        at = <char *> memchr(at, <unsigned char> wanted[0], <size_t> (end - at))
        if at is NULL:
            return 0
        if memcmp(at, wanted, <size_t> (end - at)) == 0:
            return end - at
        at += 1
    return 0


cdef inline int _collect(ChatInput self, object data, bint counts) except -1:
    """Delivers a part of a piece. `counts`: max_incoming limits the piece, which ends with bytes."""
    if self.piece_size == DROPPED or self.chat.max_incoming >= 0 or self.overrides & INSTANCE_OVERRIDES:
        return _collect_limited(self, data, counts)
    self.piece_size = self.piece_size + PyBytes_GET_SIZE(data) if counts else 0
    return _call_collect(self, data)


cdef int _collect_limited(ChatInput self, object data, bint counts) except -1:
    cdef Py_ssize_t limit = self.chat.max_incoming
    if self.piece_size == DROPPED:
        return 0
    if self.overrides & INSTANCE_OVERRIDES:
        limit = self.limit_setting("max_incoming")
    if counts and limit >= 0 and self.piece_size + PyBytes_GET_SIZE(data) > limit:
        self.piece_size = DROPPED
        if type(self.parts) is list:
            self.parts.clear()
        return self.limit_exceeded("input without a terminator, max_incoming", limit)
    self.piece_size = self.piece_size + PyBytes_GET_SIZE(data) if counts else 0
    return _call_collect(self, data)


cdef inline int _call_collect(ChatInput self, object data) except -1:
    cdef object function = self.chat.collect_function
    if self.overrides & INSTANCE_OVERRIDES or (function is None and not self.overrides & PLAIN_COLLECT):
        PyObject_CallMethodOneArg(self, "collect_incoming_data", data)
    elif self.overrides & PLAIN_COLLECT:
        _append(self, data)
    else:
        cyn_call_two(function, self, data)
    return 0


cdef inline int _call_found(ChatInput self, int next_piece) except -1:
    """Calls found_terminator, unless the piece was longer than max_incoming. `next_piece`: what comes behind it."""
    if self.piece_size == DROPPED:
        self.piece_size = 0
        return 0
    self.piece_size = 0
    if self.flags & TIMED:
        note_time(self, "piece_at")
    self.next_piece = next_piece
    if self.overrides & INSTANCE_OVERRIDES or self.chat.found_function is None:
        PyObject_CallMethodNoArgs(self, "found_terminator")
    else:
        cyn_call_one(self.chat.found_function, self)
    self.next_piece = NOT_CALLED
    return 0


cdef inline int _append(ChatInput self, object data) except -1:
    if self.parts is None:
        self.parts = []
    self.parts.append(data)
    return 0
