# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""ChatInput: what a channel has received, cut up at terminators and handed on piece by piece.

Facts that shape it:
- Programs touch `ac_in_buffer`, `incoming` and `terminator` as plain attributes, in any callback. So nothing of them is
  kept in a C variable over a call into Python.
- A terminator may be split over any number of reads; what may be the beginning of one is all that is held back.
- What a class defines of its own is read once (`ChatTraits`), as `_traits` does; what this file cannot serve at speed
  (a class with such an attribute of its own) goes through `_plain_chat`, which takes no shortcut.
"""

from types import FunctionType

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from libc.string cimport memchr, memcmp

from .channel cimport BufferedChannel
from .endpoint cimport watch
from .internals cimport cyn_call_one, cyn_call_two, cyn_version_of_type
from .traits cimport follow, traits_of

from .. import _plain_chat
from .._plain_chat import LimitExceeded

cdef extern from "<string.h>":
    void *memmem(const void *data, size_t size, const void *wanted, size_t wanted_size)

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    char *text_of "PyBytes_AS_STRING"(PyObject *text) noexcept
    object PyObject_CallMethodNoArgs(object self, object name)
    object PyObject_CallMethodOneArg(object self, object name, object argument)

cdef enum:
    USUAL = 65536        # bytes read, and sent, at once where the class does not say
    NOWHERE = -1         # a terminator is not in what was received,
    UNKNOWN = -2         # or nobody has looked

cdef str ATTRIBUTE = "_cyncore_chat"
cdef dict OWN = {
    "recv": OWN_RECV,
    "send": OWN_SEND,
    "initiate_send": OWN_INITIATE,
    "handle_read": OWN_READ,
    "handle_write": OWN_WRITE,
    "get_terminator": GENERIC,
}
cdef tuple BUFFERS = ("ac_in_buffer", "incoming", "producer_fifo", "terminator", "_fileno")
cdef frozenset WATCHED = frozenset(OWN) | {
    "collect_incoming_data", "found_terminator", "ac_in_buffer_size", "ac_out_buffer_size", "max_incoming",
    "max_outgoing", "gather_pushes", "__class__",
}

watch(WATCHED)

# Set by _chat, which defines the class that everything is compared with.
_base = None


def set_base(base):
    """Tells which class's own methods and attributes are those that the engine knows."""
    global _base
    _base = base
    follow(base, (WATCHED | frozenset(BUFFERS) | {"_collect_incoming_data"}) - {"__class__"})


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
        cdef unsigned overrides = 0
        for name, way in OWN.items():
            if getattr(kind, name) is not getattr(_base, name):
                overrides |= way
        for name in BUFFERS:
            if getattr(kind, name) is not getattr(_base, name):
                overrides |= GENERIC
        if getattr(kind, "collect_incoming_data", None) is _base._collect_incoming_data:
            overrides |= PLAIN_COLLECT
        self.collect = _plain(kind, "collect_incoming_data")
        self.found = _plain(kind, "found_terminator")
        sizes = []
        for name, usual in (
            ("ac_in_buffer_size", USUAL), ("ac_out_buffer_size", USUAL), ("max_incoming", -1), ("max_outgoing", -1),
        ):
            value = getattr(kind, name, None)
            if value is not None and not isinstance(value, int):
                overrides |= INSTANCE_OVERRIDES  # a property, perhaps: each channel is asked
                value = None
            sizes.append(_size(value, usual))
        self.in_size, self.out_size, self.max_incoming, self.max_outgoing = sizes
        gathers = getattr(kind, "gather_pushes", False)
        if hasattr(type(gathers), "__get__"):
            overrides |= INSTANCE_OVERRIDES
        elif gathers:
            overrides |= GATHERS
        self.overrides = overrides
        self.stamp = self.base.stamp
        return 0


cdef ChatTraits _traits_of(type kind):
    cdef ChatTraits traits = kind.__dict__.get(ATTRIBUTE)
    if traits is None or traits.kind is not kind:  # of a class whose __dict__ was copied to make this one
        traits = ChatTraits.__new__(ChatTraits)
        traits.kind = kind
        traits.base = traits_of(kind)
        traits.read_class()
        if kind is not _base:
            setattr(kind, ATTRIBUTE, traits)
    return traits


cdef class ChatInput(BufferedChannel):
    """The engine's part of `asynchat.async_chat` that receives."""

    # What its class, and it itself, define

    def __cinit__(self):
        self.gathers = -1

    cdef int look_again(self) except -1:
        cdef ChatTraits chat = self.chat
        if chat is None or <void *> chat.kind is not <void *> Py_TYPE(self):
            chat = self.chat = _traits_of(type(self))
            self.overrides_stamp = 0
        chat.base.check()
        if chat.stamp != chat.base.stamp:
            chat.read_class()
        if self.overrides_stamp != chat.stamp:
            self.overrides = chat.overrides | (self.overrides & INSTANCE_OVERRIDES)
            if self.gathers >= 0:
                self.overrides = self.overrides | GATHERS if self.gathers else self.overrides & ~GATHERS
            self.overrides_stamp = chat.stamp
            if self.overrides & INSTANCE_OVERRIDES:
                own = getattr(self, "__dict__", ())
                for name, way in OWN.items():
                    if name in own:
                        self.overrides |= way
        self.overrides_version = cyn_version_of_type(<PyTypeObject *> chat.kind)
        return 0

    cdef int attribute_changed(self, object name, bint is_set) except -1:
        BufferedChannel.attribute_changed(self, name, is_set)
        if name in WATCHED:
            if name == "gather_pushes":  # which costs the channel none of its speed
                self.gathers = -1
                if name in getattr(self, "__dict__", ()):
                    self.gathers = bool(self.gather_pushes)
            else:
                self.overrides |= INSTANCE_OVERRIDES
            self.overrides_stamp = self.overrides_version = 0
            refresh(self)
            if self.loop is not None:
                self.interest_changed()
        return 0

    cdef Py_ssize_t size_of(self, str name, Py_ssize_t usual) except -2:
        value = getattr(self, name, None)
        if value is not None and not hasattr(value, "__index__"):
            raise TypeError(f"{type(self).__qualname__}.{name} is {value!r}: a number of bytes is wanted")
        return _size(value, usual)

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
            self.terminator_kind = TEXT
        else:
            self.terminator_kind = IMPOSSIBLE
        if self.collected < 0 and before != value:
            self.collected = 0  # who has refused a line has found another way to go on
        return self.look_behind()

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
        return b"" if self.in_data is None else _rest(self)

    @ac_in_buffer.setter
    def ac_in_buffer(self, value):
        _hold(self, bytes(value) if value else None)
        self.look_behind()

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
    def _collected(self):
        return self.collected

    @_collected.setter
    def _collected(self, value):
        self.collected = value

    # Input

    cdef int empty(self) except -1:
        """Forgets what was received and what was collected."""
        self.collecting = None
        self.collected = 0
        return _hold(self, None)

    cdef int on_data(self) except -1:
        refresh(self)
        if self.overrides & OWN_READ:
            return BufferedChannel.on_data(self)
        return self.take_in()

    def handle_read(self):
        """Takes what came and hands it on, piece by piece, up to each terminator."""
        refresh(self)
        self.take_in()

    cdef object received(self):
        """Bytes, or None where there were none and it has been said."""
        size = self.chat.in_size
        if self.overrides & INSTANCE_OVERRIDES:
            size = self.size_of("ac_in_buffer_size", USUAL)
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

    cdef int take_in(self) except -1:
        """Reads once and hands on what can be. What the class defines has just been looked at."""
        if self.overrides & GENERIC:
            _plain_chat.read(self)
            return 0
        cdef bint was_open = self.fileno >= 0
        data = self.received()
        if data is None:
            return 0
        if self.in_at < self.in_end:
            data = self.in_data[self.in_at:] + data
        _hold(self, data)
        self.depth = 0 if self.loop is None else self.loop.depth
        self.next_at = UNKNOWN
        try:
            return _hand_on(self, was_open)
        finally:
            self.behind = NOTHING
            if self.is_held:
                self.send_held()

    cdef int look_behind(self) except -1:
        """What was a whole piece of input when this found_terminator pushed may be none any more."""
        cdef bint was_piece = self.behind == A_PIECE
        self.next_at = UNKNOWN
        if self.behind:
            self.behind = SOMETHING
            if was_piece and self.is_held and not piece_follows(self):
                self.send_held()
        return 0

    cdef int look_ahead(self) noexcept:
        """Finds out what comes behind the piece whose found_terminator runs."""
        self.behind = NO_PIECE
        if self.in_at < self.in_end and not self.overrides & GENERIC:
            if self.terminator_kind == TEXT:
                self.next_at = _find_next(self)
                if self.next_at >= 0:
                    self.behind = A_PIECE
            elif self.terminator_kind == COUNTED and 0 < self.terminator_size <= self.in_end - self.in_at:
                self.behind = A_PIECE
        return 0

    cdef int send_held(self) except -1:
        """What was held back for a piece of input that has come, or does not come any more."""
        return 0

    cdef int too_much(self, str what, Py_ssize_t most) except -1:
        try:
            raise LimitExceeded(f"{self!r} fd {self.fileno}: {what} {most} bytes")
        except LimitExceeded:
            self.handle_error()
        return 0

    def _collect_incoming_data(self, data):
        """Appends ``data`` to `incoming`."""
        refresh(self)
        if self.overrides & GENERIC:
            self.incoming.append(data)
        else:
            _append(self, data)

    def _get_data(self):
        """What `incoming` holds, joined; it is empty then."""
        incoming = self.incoming
        data = incoming[0] if len(incoming) == 1 and PyBytes_CheckExact(incoming[0]) else b"".join(incoming)
        del incoming[:]
        return data


# Handing on. Every call of a handler may change the channel: its terminator, its buffers, its class; it may close it.


cdef int _hand_on(ChatInput self, bint was_open) except -1:
    """Hands on what can be: until nothing is left but, perhaps, the beginning of a terminator.

    `was_open`: a channel that is closed now was closed meanwhile, and is told nothing more.
    """
    while self.in_at < self.in_end:
        if was_open and self.fileno < 0:
            return 0
        refresh(self)
        if self.overrides & GENERIC:
            _plain_chat.deliver(self, was_open)
            return 0
        if self.terminator_kind == TEXT:
            if not _hand_on_line(self, was_open):
                return 0
        elif self.terminator_kind == COUNTED:
            if not _hand_on_counted(self, was_open):
                return 0
        elif self.terminator_kind == UNSET:
            self.get_terminator()  # says so
        elif self.terminator_kind == IMPOSSIBLE:
            raise TypeError(f"{self!r}: a terminator is bytes, a number or None, not {self.terminator_value!r}")
        else:
            _collect(self, _rest(self), False)
            _hold(self, None)
    _hold(self, None)
    return 0


cdef bint _hand_on_line(ChatInput self, bint was_open) except -1:
    """One step with a terminator of bytes. False: the rest may be the beginning of one."""
    cdef bytes data = self.in_data
    cdef Py_ssize_t begin = self.in_at, length = self.terminator_size, size = self.in_end - begin
    cdef Py_ssize_t at = self.next_at
    cdef char *start = PyBytes_AS_STRING(data) + begin
    if at == UNKNOWN:
        at = _find_next(self)
    self.next_at = UNKNOWN
    if at >= 0:
        if at:
            _collect(self, PyBytes_FromStringAndSize(start, at), True)
        self.in_at += at + length
        if not was_open or self.fileno >= 0:
            if self.terminator_kind == TEXT and self.in_at < self.in_end:  # what is found now is not looked for again
                self.next_at = _find_next(self)
                _found(self, A_PIECE if self.next_at >= 0 else NO_PIECE)
            else:
                _found(self, SOMETHING if self.in_at < self.in_end else NO_PIECE)
        return True
    at = _partial(start, size, text_of(<PyObject *> self.terminator_bytes), length)
    if at == 0:
        _collect(self, _rest(self), True)
        _hold(self, None)
        return True
    if at != size:
        _collect(self, PyBytes_FromStringAndSize(start, size - at), True)
        if self.in_data is data and self.in_at == begin:
            self.in_at += size - at
        else:  # changed by that: what is held back are the last bytes, whatever they are now
            _hold(self, self.ac_in_buffer[-at:])
    return False


cdef bint _hand_on_counted(ChatInput self, bint was_open) except -1:
    """One step with a number of bytes as the terminator. False: more are needed."""
    cdef Py_ssize_t length = self.terminator_size, size = self.in_end - self.in_at
    if length < 0:
        raise ValueError(f"{self!r}: a terminator counts bytes, from 0 on: {self.terminator_value!r}")
    if size < length:
        _collect(self, _rest(self), False)
        _hold(self, None)
        self.terminator = self.terminator - size
        return False
    if size == length:
        _collect(self, _rest(self), False)
    else:
        _collect(self, PyBytes_FromStringAndSize(text_of(<PyObject *> self.in_data) + self.in_at, length), False)
    self.in_at += length
    self.terminator = 0
    if not was_open or self.fileno >= 0:
        _found(self, SOMETHING)
    return True


cdef inline int _hold(ChatInput self, bytes data) except -1:
    self.in_data = data
    self.in_at = 0
    self.in_end = 0 if data is None else PyBytes_GET_SIZE(data)
    return 0


cdef object _rest(ChatInput self):
    return self.in_data[self.in_at:] if self.in_at else self.in_data


cdef inline Py_ssize_t _find_next(ChatInput self) noexcept:
    """Where the terminator begins in what is left, or NOWHERE."""
    cdef char *start = PyBytes_AS_STRING(self.in_data) + self.in_at
    return _find(start, self.in_end - self.in_at, text_of(<PyObject *> self.terminator_bytes), self.terminator_size)


cdef inline Py_ssize_t _find(char *data, Py_ssize_t size, char *wanted, Py_ssize_t length) noexcept:
    """Where the terminator begins, or NOWHERE."""
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
    """How many bytes at the end may be the beginning of a terminator."""
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


cdef inline int _collect(ChatInput self, object data, bint line) except -1:
    """`line`: it counts as input that may end with one."""
    if self.collected < 0 or self.chat.max_incoming >= 0 or self.overrides & INSTANCE_OVERRIDES:
        return _collect_limited(self, data, line)
    self.collected = self.collected + PyBytes_GET_SIZE(data) if line else 0
    return _give(self, data)


cdef int _collect_limited(ChatInput self, object data, bint line) except -1:
    cdef Py_ssize_t most = self.chat.max_incoming
    if self.collected < 0:
        return 0  # the rest of a line that was refused
    if self.overrides & INSTANCE_OVERRIDES:
        most = self.size_of("max_incoming", -1)
    if line and most >= 0 and self.collected + PyBytes_GET_SIZE(data) > most:
        self.collected = -1
        if type(self.collecting) is list:
            self.collecting.clear()
        return self.too_much("input without a terminator, max_incoming", most)
    self.collected = self.collected + PyBytes_GET_SIZE(data) if line else 0
    return _give(self, data)


cdef inline int _give(ChatInput self, object data) except -1:
    if self.overrides & INSTANCE_OVERRIDES or (self.chat.collect is None and not self.overrides & PLAIN_COLLECT):
        PyObject_CallMethodOneArg(self, "collect_incoming_data", data)
    elif self.overrides & PLAIN_COLLECT:
        _append(self, data)
    else:
        cyn_call_two(self.chat.collect, self, data)
    return 0


cdef inline int _found(ChatInput self, int behind) except -1:
    if self.collected < 0:
        self.collected = 0  # of the line that was refused
        return 0
    self.collected = 0
    self.behind = behind
    if self.overrides & INSTANCE_OVERRIDES or self.chat.found is None:
        PyObject_CallMethodNoArgs(self, "found_terminator")
    else:
        cyn_call_one(self.chat.found, self)
    self.behind = NOTHING
    return 0


cdef inline int _append(ChatInput self, object data) except -1:
    if self.collecting is None:
        self.collecting = []
    self.collecting.append(data)
    return 0
